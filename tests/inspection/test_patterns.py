"""Patterns of holes: the numbers and the picture."""

import sys

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skvae.inspection import MissingnessPatternDisplay, missingness_patterns


def table(n=300, d=11, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    X[rng.random(X.shape) < rng.uniform(0, 0.15, size=d)] = np.nan
    return X


def test_patterns_add_up_to_the_table():
    X = table()
    patterns = missingness_patterns(X)
    n_rows = patterns.index.to_numpy()
    assert n_rows.sum() == len(X)
    assert_array_equal(n_rows @ patterns.to_numpy(int), np.isnan(X).sum(axis=0))
    assert not patterns.duplicated().any()
    assert set(patterns.dtypes.astype(str)) == {"bool"}
    expected = pd.DataFrame(np.isnan(X)).value_counts()
    for count, pattern in zip(n_rows, patterns.itertuples(index=False), strict=True):
        assert expected[tuple(pattern)] == count


def test_frequent_patterns_come_first_then_those_with_few_holes():
    patterns = missingness_patterns(table())
    n_rows, holes = patterns.index.to_numpy(), patterns.sum(axis=1).to_numpy()
    assert (np.diff(n_rows) <= 0).all()
    assert (np.diff(holes)[np.diff(n_rows) == 0] >= 0).all()


def test_order_of_rows_does_not_matter():
    X = table()
    shuffled = np.random.default_rng(1).permutation(X)
    pd.testing.assert_frame_equal(missingness_patterns(X), missingness_patterns(shuffled))


def test_frames_keep_their_names():
    frame = pd.DataFrame(
        {"n_rows": [1, None, 3], "when": pd.to_datetime(["2020-01-01", None, None]), 7: list("ab?")}
    )
    patterns = missingness_patterns(frame, missing_values="?")
    assert list(patterns.columns) == ["n_rows", "when", 7]
    assert patterns.index.name == "n_rows"
    assert patterns.to_numpy().tolist() == [
        [False, False, False],
        [False, True, True],
        [True, True, False],
    ]


def test_whole_tables_have_one_pattern():
    patterns = missingness_patterns(np.zeros((5, 3)))
    assert patterns.index.tolist() == [5]
    assert not patterns.to_numpy().any()


def test_bad_tables():
    with pytest.raises(ValueError, match="duplicate column names"):
        missingness_patterns(pd.DataFrame(np.zeros((2, 2)), columns=["a", "a"]))
    with pytest.raises(ValueError, match="minimum of 1"):
        missingness_patterns(np.zeros((0, 2)))
    with pytest.raises(ValueError, match="missing_values must be one value"):
        missingness_patterns(np.zeros((2, 2)), missing_values=[0, 1])
    with pytest.raises(ValueError, match="max_patterns must be an integer of at least 1"):
        MissingnessPatternDisplay.from_data(np.zeros((2, 2)), max_patterns=0)


def test_picture(plt):
    X = table()
    _, (left, right) = plt.subplots(1, 2)
    drawn = MissingnessPatternDisplay.from_data(X, max_patterns=6, ax=right)
    assert drawn.ax_ is right
    assert not left.has_data()
    assert_array_equal(drawn.image_.get_array(), drawn.patterns.iloc[:6].astype(float))
    assert_allclose(drawn.shares_, np.isnan(X).mean(axis=0))
    counts = drawn.patterns.index
    labels = [label.get_text() for label in drawn.ax_.get_yticklabels()]
    assert labels == [f"{count} ({count / 300:.1%})" for count in counts[:6]]
    rest = f"{len(counts) - 6} rarer patterns of {counts[6:].to_numpy().sum()} rows left out"
    assert rest in drawn.ax_.get_xlabel()
    assert drawn.plot(cmap="Reds") is drawn
    assert drawn.ax_ is not right
    drawn.figure_.canvas.draw()


def test_picture_of_all_patterns_and_of_many_columns(plt):
    drawn = MissingnessPatternDisplay.from_data(np.zeros((4, 2)))
    assert drawn.ax_.get_xlabel() == "dark cells are absent"
    wide = MissingnessPatternDisplay.from_data(table(d=70), max_patterns=40)
    assert len(wide.ax_.get_xticklabels()) <= 32
    wide.figure_.canvas.draw()


def test_names_are_no_formulas(plt):
    drawn = MissingnessPatternDisplay.from_data(pd.DataFrame({"$a$": [1.0, np.nan]}))
    assert drawn.ax_.get_xticklabels()[0].get_text() == r"\$a\$"
    drawn.figure_.canvas.draw()


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r'pip install "skvae\[examples\]"'):
        MissingnessPatternDisplay.from_data(np.zeros((2, 2)))
