"""Rows of several tables in one: columns take the dtype that holds them all."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import union_categoricals

from skvae.tabular.restore import join_frame


def join_rows(tables: Sequence[Any]) -> Any:
    """Rows of frames, or of arrays, one after the other.

    Dtypes are those of `pandas.concat`, but that categories of different chunks are united.

    Parameters
    ----------
    tables : sequence of DataFrame, or of ndarray of one or two dimensions
        Frames have the same columns.

    Raises
    ------
    ValueError
        If ordered categories of a column differ: names it.
    """
    if len(tables) == 1:
        return tables[0]
    if isinstance(tables[0], np.ndarray):
        return _join_arrays(tables)
    names = tables[0].columns
    columns = [
        join_columns([table.iloc[:, j] for table in tables], name) for j, name in enumerate(names)
    ]
    return join_frame(columns, names, pd.RangeIndex(sum(map(len, tables))))


def join_columns(parts: Sequence[pd.Series], name: Hashable) -> pd.Series:
    """One column from its parts."""
    dtypes = list(dict.fromkeys(part.dtype for part in parts))
    if len(dtypes) > 1 and all(isinstance(dtype, pd.CategoricalDtype) for dtype in dtypes):
        return pd.Series(_united(parts, name))
    return pd.concat(parts, ignore_index=True)


def _united(parts: Sequence[pd.Series], name: Hashable) -> pd.Categorical:
    """Categories in the order in which they come."""
    dtypes = [part.dtype for part in parts]
    if any(dtype.ordered for dtype in dtypes):
        one, other = next((d, e) for d, e in pairwise(dtypes) if d != e)
        raise ValueError(
            f"Column {name!r} has ordered categories that differ between chunks: "
            f"{list(one.categories)} and {list(other.categories)}. Give all chunks one "
            "pd.CategoricalDtype([lowest, ..., highest], ordered=True)."
        )
    if len({dtype.categories.dtype for dtype in dtypes}) > 1:
        # union_categoricals asks for one dtype; strings alone are kept in several.
        parts = [_retyped(part) for part in parts]
    return union_categoricals(list(parts))


def _retyped(part: pd.Series) -> pd.Series:
    return part.cat.rename_categories(pd.Index(part.cat.categories.to_list(), dtype=object))


def _join_arrays(arrays: Sequence[np.ndarray]) -> np.ndarray:
    # numpy would make strings of the numbers beside them.
    if len({array.dtype.kind in "US" for array in arrays}) > 1:
        arrays = [array.astype(object) for array in arrays]
    return np.concatenate(arrays)
