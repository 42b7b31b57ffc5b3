"""Cells that hold what no training row did."""

import numpy as np
import pandas as pd
import pytest

from skvae.tabular import TableCodec
from skvae.tabular.novelty import novel_cells


def test_levels_never_seen_and_broken_constants_are_novel():
    frame = pd.DataFrame({"number": [1.0, 2.0, 3.0], "kind": ["a", "b", "a"], "same": ["x"] * 3})
    codec = TableCodec().fit(frame)
    other = pd.DataFrame(
        {"number": [9.0, None, 1.0], "kind": ["c", None, "b"], "same": ["x", "y", None]}
    )
    expected = [[False, True, False], [False, False, True], [False, False, False]]
    np.testing.assert_array_equal(novel_cells(codec, other), expected)


@pytest.mark.parametrize(
    ("same", "now"), [(3, [3, 4]), (0.1, [0.1 + 1e-17, 0.2]), (True, [True, False])]
)
def test_constants_of_any_sort(same, now):
    frame = pd.DataFrame({"number": [1.0, 2.0], "same": [same, same]})
    codec = TableCodec().fit(frame)
    mask = novel_cells(codec, pd.DataFrame({"number": [1.0, 2.0], "same": now}))
    np.testing.assert_array_equal(mask[:, 1], [False, True])


def test_rare_levels_and_empty_columns_are_not_novel():
    levels = ["a"] * 5 + ["b"] * 4 + ["c"]
    frame = pd.DataFrame({"kind": levels, "number": range(10), "empty": [None] * 10})
    with pytest.warns(UserWarning, match="max_categories=2|observed values"):
        codec = TableCodec(max_categories=2, fills=False).fit(frame)
    other = frame.assign(empty=7.0)
    assert not novel_cells(codec, other).any()


def test_arrays_have_novel_cells_too():
    codec = TableCodec().fit(np.array([[1.0, 5.0], [2.0, 5.0]]))
    mask = novel_cells(codec, np.array([[7.0, 5.0], [7.0, 6.0], [np.nan, np.nan]]))
    np.testing.assert_array_equal(mask, [[False, False], [False, True], [False, False]])
