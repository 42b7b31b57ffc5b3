"""Pictures of fillings, of hidden entries and of intervals."""

import sys

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skvae import VAEImputer
from skvae.inspection import (
    FilledColumn,
    ImputationDisplay,
    IntervalCalibrationDisplay,
    OverimputationDisplay,
    interval_calibration,
    overimpute,
)

DISPLAYS = [ImputationDisplay, OverimputationDisplay, IntervalCalibrationDisplay]


def table(n=120, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    frame = pd.DataFrame(
        {
            "length": 10 + 3 * z + rng.normal(size=n),
            "visits": pd.array(rng.poisson(np.exp(0.3 * z)), dtype="Int64"),
            "$mass$": pd.array((500 + 100 * z).round(), dtype="Int64"),
            "sex": np.where(z > 0, "male", "female"),
            "whole": z,
        }
    )
    for name in ("length", "visits", "$mass$", "sex"):
        frame[name] = frame[name].mask(rng.random(n) < 0.2)
    return frame


@pytest.fixture(scope="module")
def case():
    frame = table()
    return VAEImputer(1, hidden_layer_sizes=(), random_state=0).fit(frame), frame


def draw(display, case, **options):
    return display.from_estimator(*case, random_state=0, **options)


@pytest.mark.parametrize("display", DISPLAYS)
def test_settings_of_matplotlib_stay_and_pictures_are_drawn_again(plt, case, display, monkeypatch):
    monkeypatch.setattr(plt, "show", lambda: pytest.fail("shows"))
    before = dict(plt.rcParams)
    drawn = draw(display, case)
    figure = drawn.figure_
    assert drawn.plot() is drawn
    assert drawn.figure_ is not figure
    drawn.figure_.canvas.draw()
    assert dict(plt.rcParams) == before


@pytest.mark.parametrize("display", DISPLAYS)
def test_without_matplotlib(case, display, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r'pip install "skvae\[examples\]"'):
        draw(display, case)


@pytest.mark.parametrize("display", DISPLAYS[:2])
def test_panels_stand_where_they_are_told(plt, case, display):
    figure, (left, right) = plt.subplots(1, 2)
    within = draw(display, case, ax=right, columns=["length", "sex"])
    assert within.figure_ is figure
    assert len(within.axes_) == 2
    assert not left.has_data()
    assert all(panel.has_data() for panel in within.axes_)
    assert all(panel.get_position().x0 > 0.5 for panel in within.axes_)
    one = draw(display, case, ax=left, columns="length")
    assert one.axes_ == [left]
    _, axes = plt.subplots(2, 2)
    four = draw(display, case, ax=axes, columns=["length", "visits", "sex"])
    assert four.axes_ == axes.ravel().tolist()[:3]
    with pytest.raises(ValueError, match="2 axes for 3 panels"):
        four.plot(ax=axes[0])
    loose = plt.figure().add_axes((0, 0, 1, 1))
    with pytest.raises(ValueError, match="stands in no grid"):
        four.plot(ax=loose)


# Observed against imputed -------------------------------------------------------------------------


def test_values_are_those_of_the_table_and_of_the_draws(plt, case):
    imputer, frame = case
    drawn = draw(ImputationDisplay, case, n_draws=4)
    tables = imputer.sample_imputations(frame, n_draws=4, random_state=0)
    assert [one.name for one in drawn.columns] == ["length", "visits", "$mass$", "sex"]
    for one in drawn.columns:
        holes = frame[one.name].isna()
        assert one.imputed.shape == (4, holes.sum())
        assert one.observed.shape == ((~holes).sum(),)
        said = one.observed if one.levels is None else one.levels[one.observed.astype(int)]
        assert_array_equal(said, frame[one.name][~holes].to_numpy(dtype=said.dtype))
        for values, filled in zip(one.imputed, tables, strict=True):
            said = values if one.levels is None else one.levels[values.astype(int)]
            assert_array_equal(said, filled[one.name][holes].to_numpy(dtype=said.dtype))


def test_arrays_and_markers(plt):
    X = table()[["length", "whole"]].to_numpy()
    plain = VAEImputer(1, hidden_layer_sizes=(), random_state=0).fit(X)
    marked = np.where(np.isnan(X), -9.0, X)
    other = VAEImputer(1, hidden_layer_sizes=(), missing_values=-9.0, random_state=0).fit(marked)
    (a,), (b,) = (draw(ImputationDisplay, case).columns for case in ((plain, X), (other, marked)))
    assert a.name == b.name == 0
    assert_array_equal(a.observed, b.observed)
    assert_array_equal(a.imputed, b.imputed)


def test_histograms_share_bins_and_integrate_to_one(plt, case):
    drawn = draw(ImputationDisplay, case, columns=["length", "$mass$"])
    for one, panel in zip(drawn.columns, drawn.axes_, strict=True):
        (observed, edges, _), (imputed, same, _) = (patch.get_data() for patch in panel.patches)
        assert_array_equal(edges, same)
        width = np.diff(edges)
        assert (observed * width).sum() == pytest.approx(1)
        assert (imputed * width).sum() == pytest.approx(1)
        assert edges[0] <= min(one.observed.min(), one.imputed.min())
        assert edges[-1] >= max(one.observed.max(), one.imputed.max())
    assert (np.diff(edges) % 1 == 0).all()  # bins of whole numbers hold as many of them each
    assert drawn.axes_[1].get_title().startswith(r"\$mass\$: ")


def test_frequencies_are_shares(case, plt):
    drawn = draw(ImputationDisplay, case, columns=["visits", "sex"])
    frame = case[1]
    for one, panel in zip(drawn.columns, drawn.axes_, strict=True):
        shares = one.frequencies()
        assert one.in_bars
        assert_allclose(shares.sum(), 1)
        expected = frame[one.name].value_counts(normalize=True)
        assert_allclose(shares["observed"], expected.reindex(shares.index, fill_value=0))
        heights = [bar.get_height() for bar in panel.patches]
        assert_allclose(heights, shares.to_numpy().T.ravel())
    names = [label.get_text() for label in drawn.axes_[1].get_xticklabels()]
    assert names == ["female", "male"]


def test_rare_levels_are_drawn_as_one(plt):
    rng = np.random.default_rng(0)
    codes = np.minimum(rng.geometric(0.2, size=400) - 1, 29).astype(float)
    levels = np.array([f"level {k}" for k in range(30)], dtype=object)
    drawn = ImputationDisplay([FilledColumn("many", codes, codes[:50].reshape(2, 25), levels)])
    (panel,) = drawn.plot().axes_
    assert panel.get_xticklabels()[-1].get_text() == "19 others"
    assert sum(bar.get_height() for bar in panel.patches) == pytest.approx(2)
    drawn.figure_.canvas.draw()


def test_panels_are_those_with_most_holes(plt):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 1)) + rng.normal(size=(80, 15))
    X[rng.random(X.shape) < np.linspace(0.3, 0.05, 15)] = np.nan
    imputer = VAEImputer(1, hidden_layer_sizes=(), random_state=0).fit(X)
    drawn = draw(ImputationDisplay, (imputer, X), n_draws=2)
    n_holes = np.isnan(X).sum(axis=0)
    shown = [one.name for one in drawn.columns]
    assert len(shown) == 12
    assert shown == sorted(shown)
    assert n_holes[shown].min() >= np.delete(n_holes, shown).max()
    assert len(draw(OverimputationDisplay, (imputer, X)).axes_) == 12
    assert len(draw(OverimputationDisplay, (imputer, X), columns=range(14)).axes_) == 14


# Hidden entries -----------------------------------------------------------------------------------


def test_points_and_intervals(plt, case):
    result = overimpute(*case, share=0.3, columns=["length", "sex"], random_state=0)
    drawn = OverimputationDisplay(result).plot(s=4)
    numbers, levels = drawn.axes_
    part = result.of_column("length")
    segments, points = numbers.collections
    assert_allclose(points.get_offsets(), part[["true", "imputed"]])
    ends = np.array(segments.get_segments())
    assert_allclose(ends[:, :, 1], part[["lower", "upper"]])
    assert_allclose(ends[:, :, 0], part[["true", "true"]])
    outside = ~part["true"].between(part["lower"], part["upper"]).to_numpy()
    red = points.get_facecolors()[:, 0] > 0.5
    assert_array_equal(red, outside)
    counts = result.confusion("sex").to_numpy()
    assert_allclose(levels.images[0].get_array(), counts / counts.sum(axis=1, keepdims=True))
    right = result.summary().loc["sex", "share_right"]
    assert levels.get_title() == f"sex\n{right:.0%} right"


def test_points_are_thinned(plt):
    X = np.random.default_rng(0).normal(size=(900, 2))
    imputer = VAEImputer(1, hidden_layer_sizes=(), random_state=0).fit(X)
    drawn = draw(OverimputationDisplay, (imputer, X), share=0.5, refit=False)
    assert len(drawn.result.of_column(0)) == 450
    assert len(drawn.axes_[0].collections[1].get_offsets()) == 300


def test_columns_may_be_chosen_again(plt, case):
    result = overimpute(*case, random_state=0)
    drawn = OverimputationDisplay(result, columns=["sex"]).plot()
    assert len(drawn.axes_) == 1


# Calibration --------------------------------------------------------------------------------------


def test_reliability_curves(plt, case):
    _, (left, right) = plt.subplots(1, 2)
    options = {"levels": (0.2, 0.5, 0.8), "share": 0.3}
    drawn = draw(IntervalCalibrationDisplay, case, ax=right, color="C3", **options)
    expected = interval_calibration(*case, random_state=0, **options)
    assert drawn.ax_ is right
    assert not left.has_data()
    overall, *single = drawn.lines_
    assert_array_equal(overall.get_xdata(), [0.2, 0.5, 0.8])
    assert_allclose(overall.get_ydata(), expected.overall)
    assert overall.get_color() == "C3"
    assert len(single) == 4
    for line, name in zip(single, expected.by_column, strict=True):
        assert_allclose(line.get_ydata(), expected.by_column[name])
    labels = [text.get_text() for text in drawn.ax_.get_legend().get_texts()]
    assert labels == [
        "two standard errors",
        "all columns",
        "length",
        "visits",
        r"\$mass\$",
        "whole",
    ]


def test_a_single_column_has_one_curve(plt, case):
    assert len(draw(IntervalCalibrationDisplay, case, columns=["length"]).lines_) == 1
