"""The pictures: what is drawn, where, and that nothing else is touched."""

import ast
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skvae import VAETransformer, inspection
from skvae.inspection import (
    AmortizationGapDisplay,
    BoundCurveDisplay,
    LatentMapDisplay,
    LatentReportDisplay,
    LossCurveDisplay,
    TraversalDisplay,
)

CASES = [
    (LatentReportDisplay, {}),
    (BoundCurveDisplay, {"n_samples": (1, 4)}),
    (AmortizationGapDisplay, {"n_samples": 16, "max_iter": 5}),
    (LatentMapDisplay, {}),
    (LossCurveDisplay, {}),
    (TraversalDisplay, {}),
]


def draw(display, case, **options):
    rows = () if display is LossCurveDisplay else case[1:]
    return display.from_estimator(case[0], *rows, **options)


@pytest.mark.parametrize(("display", "options"), CASES)
def test_given_axes_are_used(plt, cases, display, options):
    _, (left, right) = plt.subplots(1, 2)
    drawn = draw(display, cases.bent, ax=right, **options)
    assert drawn.ax_ is right
    assert drawn.figure_ is right.figure
    assert right.has_data()
    assert not left.has_data()
    assert right.get_xlabel() or isinstance(drawn, AmortizationGapDisplay)
    again = drawn.plot()
    assert again is drawn
    assert drawn.ax_ is not right
    drawn.figure_.canvas.draw()


@pytest.mark.parametrize(("display", "options"), CASES)
def test_settings_of_matplotlib_stay(plt, cases, display, options, monkeypatch):
    monkeypatch.setattr(plt, "show", lambda: pytest.fail("shows"))
    before = dict(plt.rcParams)
    draw(display, cases.bent, **options)
    assert dict(plt.rcParams) == before


@pytest.mark.parametrize(("display", "options"), CASES)
def test_without_matplotlib(cases, display, options, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r'pip install "skvae\[examples\]"'):
        draw(display, cases.bent, **options)


@pytest.mark.parametrize("path", sorted(Path(inspection.__file__).parent.glob("*.py")))
def test_matplotlib_is_imported_late(path):
    # At the top of a file nothing is imported from it; `if TYPE_CHECKING:` never runs.
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            assert "import matplotlib" not in ast.unparse(node)
            assert "from matplotlib" not in ast.unparse(node)


# Report and bounds ------------------------------------------------------------------------------


def test_report_has_two_bars_for_each_dimension(plt, cases):
    drawn = LatentReportDisplay.from_estimator(*cases.bent)
    kl, information = drawn.bars_
    frame = drawn.report.dimensions
    assert_allclose([bar.get_height() for bar in kl], frame["kl"])
    assert_allclose([bar.get_height() for bar in information], frame["mutual_information"])
    assert drawn.ax_.get_xlabel() == "latent dimension"
    assert drawn.ax_.get_ylabel() == "nats per row"


def test_report_marks_inactive_dimensions_and_layers(plt, cases):
    drawn = LatentReportDisplay.from_estimator(*cases.layered, threshold=10)
    labels = [text.get_text() for text in drawn.ax_.get_legend().get_texts()]
    assert labels.count("inactive") == 1
    assert [text.get_text() for text in drawn.ax_.texts] == ["layer 0", "layer 1"]


def test_bounds_have_a_logarithmic_axis(plt, cases):
    drawn = BoundCurveDisplay.from_estimator(*cases.bent, n_samples=(1, 4, 16), color="C3")
    line = drawn.errorbar_.lines[0]
    assert_array_equal(line.get_xdata(), [1, 4, 16])
    assert_allclose(line.get_ydata(), drawn.curve["bound"])
    assert line.get_color() == "C3"
    assert drawn.ax_.get_xscale() == "log"
    assert [text.get_text() for text in drawn.ax_.get_xticklabels()] == ["1", "4", "16"]


def test_gaps_are_stacked(plt, cases):
    drawn = AmortizationGapDisplay.from_estimator(*cases.bent, n_samples=32, max_iter=20)
    mean = drawn.gap.mean()
    first, second = drawn.bars_
    assert first.get_y() == pytest.approx(mean["elbo"])
    assert first.get_height() == pytest.approx(mean["amortization_gap"])
    assert second.get_y() == pytest.approx(mean["elbo_optimised"])
    assert second.get_y() + second.get_height() == pytest.approx(mean["log_prob"])
    assert len(drawn.lines_.get_segments()) == 3


def test_reach_of_adaptive_inference_is_drawn(plt, cases):
    drawn = AmortizationGapDisplay.from_estimator(*cases.bent, n_samples=32, max_iter=20)
    mean = drawn.gap.mean()
    (segment,) = drawn.adaptive_.get_segments()
    assert_allclose(segment[:, 1], mean["elbo_adaptive"])
    assert 0 < segment[0, 0] < segment[1, 0] < 1  # across the first gap
    share = (mean["elbo_adaptive"] - mean["elbo"]) / mean["amortization_gap"]
    texts = [text.get_text() for text in drawn.ax_.get_legend().get_texts()]
    assert f'inference="adaptive": {share:.0%} recovered' in texts
    # Nothing can be recovered of nothing.
    exact = AmortizationGapDisplay.from_estimator(*cases.linear, n_samples=8, max_iter=1)
    assert exact.adaptive_.get_label() == 'inference="adaptive"'


def test_gaps_of_zero_are_drawn(plt, cases):
    drawn = AmortizationGapDisplay.from_estimator(*cases.linear, n_samples=8, max_iter=1)
    low, high = drawn.ax_.get_ylim()
    assert high - low > 0.05


# Curves and maps --------------------------------------------------------------------------------


def test_loss_curves(plt, cases):
    model = cases.bent[0]
    drawn = LossCurveDisplay.from_estimator(model)
    training, held_out = drawn.lines_
    assert_array_equal(training.get_ydata(), model.loss_curve_)
    assert_allclose(held_out.get_ydata(), -np.array(model.validation_scores_))


def test_loss_curve_without_held_out_rows(plt):
    assert len(LossCurveDisplay([3.0, 2.0, 1.5]).plot().lines_) == 1


def test_map_shows_the_dimensions_that_vary_most(plt, cases):
    model, X = cases.bent
    z = model.transform(X)
    drawn = LatentMapDisplay.from_estimator(model, X)
    first, second = np.argsort(-z.var(axis=0))[:2]
    assert drawn.components == (first, second)
    assert_allclose(drawn.scatters_[0].get_offsets(), z[:, [first, second]])
    assert drawn.ax_.get_xlabel() == f"latent dimension {first}"
    assert LatentMapDisplay.from_estimator(model, X, components=(2, 0)).components == (2, 0)


def test_map_of_groups(plt, cases):
    model, X = cases.mixed
    y = X["group"].where(X["visits"] > 0)
    drawn = LatentMapDisplay.from_estimator(model, X, y, s=5)
    labels = [text.get_text() for text in drawn.ax_.get_legend().get_texts()]
    assert labels == ["absent", "high", "low"]
    assert drawn.ax_.get_legend().get_title().get_text() == "group"
    sizes = [len(scatter.get_offsets()) for scatter in drawn.scatters_]
    assert sizes == [y.isna().sum(), (y == "high").sum(), (y == "low").sum()]
    assert drawn.colorbar_ is None


def test_map_keeps_the_order_of_categories(plt, cases):
    model, X = cases.bent
    y = pd.Categorical(np.resize(["low", "mid", "high"], len(X)), ["low", "mid", "high"])
    drawn = LatentMapDisplay.from_estimator(model, X, y)
    labels = [text.get_text() for text in drawn.ax_.get_legend().get_texts()]
    assert labels == ["low", "mid", "high"]


def test_map_of_a_scale(plt, cases):
    model, X = cases.bent  # its columns have holes
    drawn = LatentMapDisplay.from_estimator(model, X, X[:, 0])
    holes = np.isnan(X[:, 0])
    assert [len(s.get_offsets()) for s in drawn.scatters_] == [holes.sum(), (~holes).sum()]
    assert_allclose(drawn.scatters_[1].get_array(), X[~holes, 0])
    assert drawn.colorbar_.ax.get_ylabel() == "y"


# Traversals -------------------------------------------------------------------------------------


def test_traversal_passes_through_the_mean_latent(plt, cases):
    model, X = cases.bent
    drawn = TraversalDisplay.from_estimator(model, X, components=1, n_steps=5)
    z = model.transform(X).mean(axis=0, keepdims=True)
    scaler = model._latent.scaler
    expected = (model.inverse_transform(z)[0] - scaler.mean) / scaler.scale
    assert_allclose(drawn.values[0, 2], expected, atol=1e-5)
    assert len(drawn.lines_) == 4
    assert drawn.names == ["x0", "x1", "x2", "x3"]
    assert drawn.ax_.get_xlabel() == "latent dimension 1, standard deviations"


def test_linear_traversal_is_a_straight_line_along_the_loadings(plt, cases):
    model, X = cases.linear
    drawn = TraversalDisplay.from_estimator(model, X, components=[0, 1], row=7, span=1.0, n_steps=3)
    mean, deviation = model.posterior(X)
    step = np.sqrt(mean.var(axis=0) + (deviation**2).mean(axis=0))
    scale = model._latent.scaler.scale
    start, one, two = model.inverse_transform(np.vstack([np.zeros(2), np.eye(2)])) / scale
    slopes = np.stack([one - start, two - start])
    walked = np.diff(drawn.values, axis=1)
    for j in range(2):
        assert_allclose(walked[j], np.tile(step[j] * slopes[j], (2, 1)), atol=1e-4)


def test_traversal_of_several_dimensions_is_a_heat_map(plt, cases):
    drawn = TraversalDisplay.from_estimator(*cases.mixed, n_steps=5)
    assert drawn.image_.get_array().shape == (3, 10)  # three numeric columns, two dimensions
    labels = [text.get_text() for text in drawn.ax_.get_yticklabels()]
    assert labels == ["length", "visits", "weight"]
    assert_array_equal(drawn.components, [0, 1])


def test_traversal_of_images(plt):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2)) @ rng.normal(size=(2, 12))
    X[:, 0] = 7.0  # a pixel that never varies
    model = VAETransformer(2, hidden_layer_sizes=(), noise="isotropic").fit(X)
    drawn = TraversalDisplay.from_estimator(model, X, image_shape=(3, 4), n_steps=5, cmap="Blues")
    assert drawn.values.shape == (2, 5, 3, 4)
    assert_array_equal(drawn.values[..., 0, 0], 7.0)
    assert drawn.image_.get_array().shape == (2 * 4 - 1, 5 * 5 - 1)
    middle = model.inverse_transform(model.transform(X).mean(axis=0, keepdims=True))
    assert_allclose(drawn.values[0, 2].ravel(), middle[0], atol=1e-4)
    assert drawn.image_.get_cmap().name == "Blues"


def test_traversal_under_a_condition(plt, cases):
    model, X = cases.conditional
    high, low = (
        TraversalDisplay.from_estimator(model, X, condition={"group": [name]}).values
        for name in ("high", "low")
    )
    length = 0
    assert high[..., length].mean() > low[..., length].mean() + 0.5
    # A row brings its own condition, and may be looked at under another.
    name = X["group"].iloc[3]
    own = TraversalDisplay.from_estimator(model, X, row=3).values
    same = TraversalDisplay.from_estimator(model, X, row=3, condition=[[name]]).values
    assert_allclose(own, same, atol=1e-6)
    other = "low" if name == "high" else "high"
    counter = model.counterfactual(X.iloc[[3]], {"group": [other]})["length"].iloc[0]
    moved = TraversalDisplay.from_estimator(model, X, row=3, condition=other).values[0, 3, length]
    scaler = model._latent.scaler
    assert moved == pytest.approx((counter - scaler.mean[0]) / scaler.scale[0], abs=1e-4)


def test_lower_layers_follow_the_walk(plt, cases):
    model, X = cases.layered
    drawn = TraversalDisplay.from_estimator(model, X, components=[4], span=3.0)
    # The decoder sees the first layer only: without following, nothing would move.
    assert np.ptp(drawn.values[0], axis=0).max() > 1e-3
    below = TraversalDisplay.from_estimator(model, X, components=[0], n_steps=3)
    z = np.tile(model.transform(X).mean(axis=0), (3, 1))
    assert_allclose(
        below.values[0, 1],
        (model.inverse_transform(z)[0] - model._latent.scaler.mean) / model._latent.scaler.scale,
        atol=1e-4,
    )
