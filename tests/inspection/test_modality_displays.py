"""Diagnostics of blocks: wrong arguments and pictures."""

import re
import sys

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from skvae import MultimodalVAE, VAETransformer
from skvae.inspection import (
    CrossPredictionDisplay,
    ExpertPrecisionDisplay,
    PosteriorAgreementDisplay,
    cross_prediction,
    expert_precisions,
    posterior_agreement,
)


def linear(blocks, n_components=1):
    return MultimodalVAE(
        blocks, n_components, hidden_layer_sizes=(), prior="normal", random_state=0
    )


@pytest.fixture(scope="module")
def toy(tables):
    """A model of three blocks, and its rows."""
    X = tables.two_factors(80, 8)
    return linear({"a": [0, 1, 2], "b": [3, 4], "c": [5, 6, 7]}, 2).fit(X), X


# Bad input ----------------------------------------------------------------------------------------

TAKERS = [
    expert_precisions,
    cross_prediction,
    posterior_agreement,
    ExpertPrecisionDisplay.from_estimator,
    CrossPredictionDisplay.from_estimator,
    PosteriorAgreementDisplay.from_estimator,
]
BLIND = {expert_precisions, ExpertPrecisionDisplay.from_estimator}


def look_at(look, model, X):
    return look(model) if look in BLIND else look(model, X)


@pytest.mark.parametrize("look", TAKERS)
def test_not_fitted(look):
    with pytest.raises(NotFittedError):
        look_at(look, MultimodalVAE(), np.zeros((5, 2)))


@pytest.mark.parametrize("look", TAKERS)
@pytest.mark.parametrize(
    "other", [VAETransformer(), MultimodalVAE, make_pipeline(MultimodalVAE()), "vae"]
)
def test_other_estimators(look, other):
    with pytest.raises(ValueError, match="must be a fitted MultimodalVAE"):
        look_at(look, other, np.zeros((5, 2)))


@pytest.mark.parametrize("look", [cross_prediction, posterior_agreement])
def test_one_block(look, toy):
    model = linear(None).fit(toy[1])
    with pytest.raises(ValueError, match=r"block 'all' only.*modalities="):
        look(model, toy[1])
    assert expert_precisions(model).shape == (1, 1)


@pytest.mark.parametrize("look", [cross_prediction, posterior_agreement])
def test_other_tables(look, toy):
    with pytest.raises(ValueError, match="features"):
        look(toy[0], np.zeros((5, 3)))
    with pytest.raises(ValueError, match="fit was given one table"):
        look(toy[0], {"a": np.zeros((5, 3))})


@pytest.mark.parametrize(
    ("subsets", "message"),
    [
        ([("a", "x")], "There is no block 'x'; the blocks are ['a', 'b', 'c']"),
        ([("a", "a")], "named twice"),
        ([()], "empty subset: name at least one of the blocks ['a', 'b', 'c']"),
        ([], "subsets is empty: name at least one"),
        ([("a",), ("a", "b", "c")], "leaves no block to predict: leave one out"),
        ("a", "'single', 'others', 'all' or a list of tuples of block names, got 'a'"),
        (2, "or a list of tuples of block names, got 2"),
    ],
)
@pytest.mark.parametrize("look", [cross_prediction, CrossPredictionDisplay.from_estimator])
def test_subsets_that_do_not_suit(look, toy, subsets, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        look(*toy, subsets=subsets)


def test_all_subsets_of_too_many_blocks(toy):
    X = toy[1][:, :7]
    model = linear({f"b{j}": [j] for j in range(7)}).fit(X)
    with pytest.raises(ValueError, match=r"at most 6 blocks, the model has 7\. Use 'single'"):
        cross_prediction(model, X, subsets="all")
    assert cross_prediction(model, X).shape == (8, 7)


@pytest.mark.parametrize("n_latents", [0, -1, 1.5, True, "all"])
def test_numbers_of_latents(toy, n_latents):
    with pytest.raises(ValueError, match="n_latents must be an integer of at least 1"):
        ExpertPrecisionDisplay.from_estimator(toy[0], n_latents=n_latents)


# Pictures -----------------------------------------------------------------------------------------

DISPLAYS = [ExpertPrecisionDisplay, CrossPredictionDisplay, PosteriorAgreementDisplay]


def draw(display, case, **options):
    rows = () if display is ExpertPrecisionDisplay else case[1:]
    return display.from_estimator(case[0], *rows, **options)


@pytest.mark.parametrize("display", DISPLAYS)
def test_given_axes_are_used(plt, toy, display, monkeypatch):
    monkeypatch.setattr(plt, "show", lambda: pytest.fail("shows"))
    before = dict(plt.rcParams)
    _, (left, right) = plt.subplots(1, 2)
    drawn = draw(display, toy, ax=right, cmap="Blues")
    assert drawn.ax_ is right
    assert drawn.figure_ is right.figure
    assert right.has_data()
    assert not left.has_data()
    assert right.get_xlabel()
    assert right.get_ylabel()
    assert drawn.image_.get_cmap().name == "Blues"
    again = drawn.plot()
    assert again is drawn
    assert drawn.ax_ is not right
    drawn.figure_.canvas.draw()
    assert dict(plt.rcParams) == before


@pytest.mark.parametrize("display", DISPLAYS)
def test_without_matplotlib(toy, display, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r'pip install "skvae\[examples\]"'):
        draw(display, toy)


def test_most_telling_latents_come_first(plt):
    table = pd.DataFrame(
        [[1.0, 0.0, 3.0, 9.0], [0.5, 0.0, 3.0, 0.0]], index=pd.Index(["a", "b"], name="block")
    )
    drawn = ExpertPrecisionDisplay(table, n_latents=3).plot()
    assert list(drawn.shares_.columns) == [3, 2, 0]
    expected = [[0.9, 0.75, 0.5], [0, 0.75, 1 / 3]]
    assert_allclose(drawn.image_.get_array(), expected)
    assert [text.get_text() for text in drawn.texts_[:3]] == ["0.90", "0.75", "0.50"]
    assert [label.get_text() for label in drawn.ax_.get_xticklabels()] == ["3", "2", "0"]


def test_cells_hold_their_numbers_and_absent_ones_are_grey(plt):
    table = pd.DataFrame(
        [[np.nan, 0.25], [-0.5, 1.0]],
        index=pd.Index(["a", "$b$"], name="given"),
        columns=pd.Index(["a", "$b$"], name="target"),
    )
    drawn = CrossPredictionDisplay(table).plot()
    assert [text.get_text() for text in drawn.texts_] == ["0.25", "-0.50", "1.00"]
    assert [text.get_position() for text in drawn.texts_] == [(1, 0), (0, 1), (1, 1)]
    assert [text.get_color() for text in drawn.texts_] == ["white", "white", "black"]
    assert drawn.colorbar_.extend == "min"
    assert drawn.image_.get_array().mask.tolist() == [[True, False], [False, False]]
    labels = [label.get_text() for label in drawn.ax_.get_yticklabels()]
    assert labels == ["a", r"\$b\$"]
    assert (drawn.ax_.get_xlabel(), drawn.ax_.get_ylabel()) == ("target", "given")
    drawn.figure_.canvas.draw()


def test_large_tables_are_drawn_without_numbers(plt):
    names = [f"a block with a long name {j}" for j in range(40)]
    drawn = PosteriorAgreementDisplay(pd.DataFrame(np.eye(40), index=names, columns=names)).plot()
    assert drawn.texts_ == []
    assert len(drawn.ax_.get_xticklabels()) == 20
    assert drawn.ax_.get_xticklabels()[0].get_rotation() == 45
    drawn.figure_.canvas.draw()
