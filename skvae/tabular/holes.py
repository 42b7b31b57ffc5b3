"""Where a table has holes, and tables with more of them."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd

from skvae.tabular.cells import normalise_missing, numeric_holes, read_column
from skvae.tabular.table import as_table


def find_holes(X: Any, missing_values: Any = np.nan) -> np.ndarray:
    """Where a table has no values, whatever its columns hold.

    Parameters
    ----------
    X : DataFrame or array-like of shape (n_samples, n_features)
    missing_values : object, default=nan
        A value that marks holes. NaN, None and `pd.NA` always do.

    Returns
    -------
    ndarray of bool, shape (n_samples, n_features)
    """
    table, sentinel = as_table(X), normalise_missing(missing_values)
    block = table.block()
    if block is not None:
        return numeric_holes(block, sentinel)
    holes = np.empty((table.n_rows, table.n_columns), dtype=bool)
    for j, name in enumerate(table.names):
        holes[:, j] = _column_holes(table.column(j), name, sentinel)
    return holes


def _column_holes(column: Any, name: Hashable, sentinel: Any) -> np.ndarray:
    try:
        return ~read_column(column, name, sentinel).observed
    except TypeError:  # times, mixed objects: no models of them, but holes among them
        holes = np.asarray(pd.isna(column))
        return holes if sentinel is None else holes | np.asarray(column == sentinel, dtype=bool)


def with_holes(X: Any, hidden: np.ndarray) -> Any:
    """A copy of a table without the values at some of its cells.

    Parameters
    ----------
    X : DataFrame or array-like of shape (n_samples, n_features)
    hidden : bool ndarray of shape (n_samples, n_features)

    Returns
    -------
    DataFrame or ndarray
        Columns are of the same sort as before: whole numbers do not become decimal ones, for lack
        of NaN, but nullable integers in a frame and objects in an array.
    """
    table = as_table(X)
    if not table.is_frame:
        array = table.data
        holed = np.array(array, dtype=array.dtype if array.dtype.kind == "f" else object)
        holed[hidden] = np.nan if array.dtype.kind == "f" else None
        return holed
    frame = table.data.copy()
    for j in np.flatnonzero(hidden.any(axis=0)):
        column = _nullable(frame.iloc[:, j])
        frame.isetitem(j, column.mask(hidden[:, j]))
    return frame


def _nullable(column: pd.Series) -> pd.Series:
    """The same cells in a dtype that has holes."""
    kind = column.dtype.kind if isinstance(column.dtype, np.dtype) else ""
    dtype = {"i": "Int64", "u": "UInt64", "b": "boolean"}.get(kind)
    return column if dtype is None else column.astype(dtype)
