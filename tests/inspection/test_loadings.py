"""The picture of how columns hang on latents."""

import sys

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from skvae import MultimodalVAE, VAEOutlierDetector, VAETransformer
from skvae.inspection import LoadingsDisplay

# Two latents that columns hang on, with an empty one between them; nothing moves "still".
TABLE = pd.DataFrame(
    [[0.0, 0.0, -0.9], [0.5, 0.0, 0.4], [0.0, 0.0, 0.0], [0.2, 0.0, -0.3], [1.1, 0.0, 0.001]],
    index=pd.Index(["a", "b", "still", "$d$", "e"], name="column"),
    columns=pd.Index(["body", "empty", "taste"], name="latent"),
)


def test_columns_stand_with_the_latent_that_moves_them_most(plt):
    drawn = LoadingsDisplay(TABLE).plot()
    assert list(drawn.ordered_.index) == ["e", "b", "a", "$d$", "still"]
    assert list(drawn.ordered_.columns) == ["body", "taste", "empty"]
    for column in TABLE.index:
        for latent in TABLE.columns:
            here = drawn.ordered_.loc[column, latent]
            assert here == TABLE.loc[column, latent] or (
                np.isnan(here) and TABLE.loc[column, latent] == 0
            )


def test_order_of_the_table_can_stay(plt):
    drawn = LoadingsDisplay(TABLE, sort=False).plot()
    assert list(drawn.ordered_.index) == list(TABLE.index)
    assert list(drawn.ordered_.columns) == list(TABLE.columns)


def test_zeros_are_blank_and_colours_are_even_about_zero(plt):
    drawn = LoadingsDisplay(TABLE, sort=False).plot()
    assert_array_equal(drawn.image_.get_array().mask, TABLE == 0)
    written = [text.get_text() for text in drawn.texts_]
    assert written == ["-0.90", "0.50", "0.40", "0.20", "-0.30", "1.10", "0.00"]
    assert drawn.image_.get_clim() == (-1, 1)
    assert drawn.colorbar_.extend == "max"
    assert drawn.colorbar_.ax.get_ylabel() == "standard deviations of the column"
    names = [label.get_text() for label in drawn.ax_.get_yticklabels()]
    assert names == ["a", "b", "still", r"\$d\$", "e"]
    drawn.figure_.canvas.draw()


def test_nothing_rounds_to_a_negative_zero(plt):
    drawn = LoadingsDisplay(pd.DataFrame([[-0.001, -0.006]])).plot()
    assert [text.get_text() for text in drawn.texts_] == ["0.00", "-0.01"]


def test_figures_of_many_columns_are_higher(plt):
    usual = plt.rcParams["figure.figsize"]
    heights = []
    for n in (3, 30, 300):
        figure = LoadingsDisplay(pd.DataFrame(np.full((n, 2), 0.5))).plot().figure_
        assert figure.get_figwidth() == usual[0]
        heights.append(figure.get_figheight())
    assert heights[0] == usual[1]
    assert usual[1] < heights[1] < heights[2] < 10


def test_a_table_without_loadings_is_blank(plt):
    drawn = LoadingsDisplay(0 * TABLE).plot()
    assert drawn.texts_ == []
    assert list(drawn.ordered_.index) == list(TABLE.index)
    drawn.figure_.canvas.draw()


@pytest.mark.parametrize("name", ["linear", "layered", "mixed", "conditional"])
def test_what_is_drawn_are_the_loadings_of_the_estimator(plt, cases, name):
    model = getattr(cases, name)[0]
    drawn = LoadingsDisplay.from_estimator(model, sort=False)
    assert_allclose(drawn.ordered_.fillna(0), model.loadings_)
    assert list(drawn.ordered_.index) == list(model.loadings_.index)
    ticks = [label.get_text() for label in drawn.ax_.get_xticklabels()]
    assert ticks == [str(k) for k in range(model.n_components_)]
    assert (drawn.ax_.get_xlabel(), drawn.ax_.get_ylabel()) == ("latent dimension", "column")


def test_given_axes_are_used(plt, cases, monkeypatch):
    monkeypatch.setattr(plt, "show", lambda: pytest.fail("shows"))
    before = dict(plt.rcParams)
    _, (left, right) = plt.subplots(1, 2)
    drawn = LoadingsDisplay.from_estimator(cases.linear[0], ax=right, cmap="PiYG", vmax=2)
    assert drawn.ax_ is right
    assert not left.has_data()
    assert drawn.image_.get_cmap().name == "PiYG"
    assert drawn.image_.get_clim() == (-1, 2)
    again = drawn.plot()
    assert again is drawn
    assert drawn.ax_ is not right
    assert dict(plt.rcParams) == before


def test_not_fitted():
    with pytest.raises(NotFittedError):
        LoadingsDisplay.from_estimator(VAETransformer())


@pytest.mark.parametrize(
    "other",
    [
        VAETransformer,
        MultimodalVAE(),
        VAEOutlierDetector(),
        make_pipeline(VAETransformer()),
        "vae",
    ],
)
def test_other_estimators(other):
    with pytest.raises(ValueError, match=r"fitted VAETransformer, got .* pass the last step\."):
        LoadingsDisplay.from_estimator(other)


def test_without_matplotlib(cases, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r'pip install "skvae\[examples\]"'):
        LoadingsDisplay.from_estimator(cases.linear[0])
