"""Where holes are, and making more of them."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from skvae.tabular import TableCodec
from skvae.tabular.holes import find_holes, with_holes

FRAME = pd.DataFrame(
    {
        "float": [1.5, np.nan, 3.0, 4.0],
        "int": [1, 2, 3, 4],
        "small": np.array([1, 2, 3, 4], dtype=np.uint8),
        "bool": [True, False, True, False],
        "nullable": pd.array([1, None, 3, 4], dtype="Int32"),
        "text": ["a", None, "b", "b"],
        "string": pd.array(["a", "b", pd.NA, "b"], dtype="string"),
        "category": pd.Categorical(["x", "y", "x", None]),
        "time": pd.to_datetime(["2020-01-01", None, "2020-01-03", "2020-01-04"]),
    },
    index=list("abcd"),
)


def test_holes_of_every_dtype():
    assert_array_equal(find_holes(FRAME), FRAME.isna().to_numpy())


@pytest.mark.parametrize(
    "X",
    [
        np.array([[1.0, np.nan], [-1.0, 2.0]]),
        np.array([[1, None], [-1, 2]], dtype=object),
        [[1, None], [-1, 2]],
        pd.DataFrame([[1, None], [-1, 2]]),
    ],
    ids=["floats", "objects", "list", "frame"],
)
def test_markers_count_beside_absent_ones(X):
    assert find_holes(X).tolist() == [[False, True], [False, False]]
    assert find_holes(X, -1).tolist() == [[False, True], [True, False]]


def test_markers_in_columns_that_no_model_takes():
    mixed = pd.DataFrame({"a": [1, "?", (2, 3), None], "b": list("??cd")})
    assert find_holes(mixed, "?").T.tolist() == [[False, True, False, True], [True, True, 0, 0]]


def test_hiding_keeps_everything_else():
    frame = FRAME.drop(columns="time")
    hidden = np.zeros(frame.shape, dtype=bool)
    hidden[0] = True
    before = frame.copy()
    holed = with_holes(frame, hidden)
    pd.testing.assert_frame_equal(frame, before)
    assert_array_equal(find_holes(holed), find_holes(frame) | hidden)
    for name in frame:
        assert holed[name].iloc[1:].dropna().tolist() == frame[name].iloc[1:].dropna().tolist()
    kept = ["float", "nullable", "text", "string", "category"]
    assert (holed.dtypes[kept] == frame.dtypes[kept]).all()
    assert holed.dtypes[["int", "small", "bool"]].astype(str).tolist() == [
        "Int64",
        "UInt64",
        "boolean",
    ]


@pytest.mark.parametrize("dtype", [float, np.float32, int, bool, str, object])
def test_arrays_hold_the_same_sort_of_cells(dtype):
    X = np.array([[1, 0], [0, 1], [1, 1], [0, 0]]).astype(dtype)
    hidden = np.zeros(X.shape, dtype=bool)
    hidden[3, 1] = True
    holed = with_holes(X, hidden)
    assert_array_equal(find_holes(holed), hidden)
    assert_array_equal(holed[~hidden].astype(dtype), X[~hidden])
    whole, less = (TableCodec().fit(table).columns for table in (X, holed))
    assert [(c.kind, c.integer) for c in whole] == [(c.kind, c.integer) for c in less]
