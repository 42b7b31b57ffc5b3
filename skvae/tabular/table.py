"""The containers that a user may pass behind one face: a frame, or a 2-D array."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import issparse
from sklearn.utils import check_array

from skvae.tabular.natives import Native, is_native_frame, read_native, refuse_lazy


@dataclass(frozen=True, eq=False)
class Table:
    """A checked table: column access by position, whatever the container.

    Attributes
    ----------
    data : DataFrame or ndarray
    is_frame : bool
    native : Native or None
        The way back to a frame of another library; None for pandas and arrays.
    """

    data: Any
    is_frame: bool
    native: Native | None = None

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self.data.shape[0])

    @property
    def n_columns(self) -> int:
        """Number of columns."""
        return int(self.data.shape[1])

    @property
    def names(self) -> list[Hashable]:
        """Labels of a frame, positions of an array."""
        return list(self.data.columns) if self.is_frame else list(range(self.n_columns))

    def column(self, j: int) -> Any:
        """Column `j` as a Series (frames) or a 1-D view (arrays)."""
        return self.data.iloc[:, j] if self.is_frame else self.data[:, j]

    def take(self, rows: Any) -> Table:
        """Some of the rows: a slice, numbers or a mask."""
        data = self.data.iloc[rows] if self.is_frame else self.data[rows]
        return replace(self, data=data)

    def without(self, name: Hashable) -> Table:
        """All columns of a frame but one."""
        return replace(self, data=self.data.drop(columns=[name]))

    def as_given(self, frame: Any) -> Any:
        """A frame in the library that the table is of."""
        return frame if self.native is None else self.native.restore(frame)

    def block(self) -> np.ndarray | None:
        """Return the table as one numeric array, or None where its columns differ in dtype."""
        if not self.is_frame:
            return self.data if self.data.dtype.kind in "fiu" else None
        dtypes = set(self.data.dtypes)
        dtype = dtypes.pop()
        if dtypes or not isinstance(dtype, np.dtype) or dtype.kind != "f":
            return None
        return self.data.to_numpy()


def as_table(X: Any) -> Table:
    """Check the container, not the cells.

    Parameters
    ----------
    X : Table, or frame (of pandas, polars or pyarrow) or array of shape (n_samples, n_features)
        Of masked arrays, what is masked is absent.

    Returns
    -------
    Table

    Raises
    ------
    ValueError
        If `X` is not 2-D, is empty, is complex or has duplicate column names.
    TypeError
        If `X` is sparse, or a query that has not been run.
    ImportError
        If a library that reading it needs is not installed.
    """
    if isinstance(X, Table):
        return X
    refuse_lazy(X)
    if is_native_frame(X):
        frame, native = read_native(X)
        _check_frame(frame)
        return Table(frame, True, native)
    if isinstance(X, pd.DataFrame):
        _check_frame(X)
        return Table(X, True)
    return Table(_check_array(X), False)


def _check_frame(X: pd.DataFrame) -> None:
    # The sentences are scikit-learn's, so that its own checks and users recognise them.
    for size, what in zip(X.shape, ("sample", "feature"), strict=True):
        if size == 0:
            raise ValueError(
                f"Found array with 0 {what}(s) (shape={X.shape}) while a minimum of 1 is required."
            )
    if not X.columns.is_unique:
        twice = list(dict.fromkeys(X.columns[X.columns.duplicated()]))
        raise ValueError(
            f"X has duplicate column names: {twice}. Rename them, or drop the copies with "
            "X.loc[:, ~X.columns.duplicated()]."
        )


def _check_array(X: Any) -> np.ndarray:
    if isinstance(X, Mapping) and not issparse(X):
        raise TypeError(
            "X is a mapping of blocks, which only MultimodalVAE takes, and only whole: for "
            "partial_fit and in chunks give tables of all columns, and name the blocks by its "
            "modalities."
        )
    if np.ma.isMaskedArray(X):  # what is masked is absent
        X = X.astype(np.float64 if X.dtype.kind in "biuf" else object).filled(np.nan)
    if isinstance(X, (list, tuple)) and _would_become_text(X):
        # np.asarray([[1, "a"]]) turns the 1 into "1"; as objects each cell keeps its type.
        X = np.array(X, dtype=object)
    array = check_array(X, dtype=None, ensure_all_finite=False, input_name="X")
    # Variable-width strings (numpy's StringDType) are handled as the objects they hold.
    return array.astype(object) if array.dtype.kind == "T" else array


def _would_become_text(rows: list | tuple) -> bool:
    try:
        return np.asarray(rows).dtype.kind in "US"
    except (ValueError, TypeError):  # ragged or odd: check_array has the better words
        return False
