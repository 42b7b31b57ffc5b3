"""`TableCodec`: the estimators' way from a user's table to numbers, and back."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from skvae.tabular.callers import user_level
from skvae.tabular.cells import Cells, normalise_missing, numeric_holes, read_column
from skvae.tabular.coding import (
    check_sort,
    encode_cells,
    is_infinite,
    refuse_infinite,
    to_fill,
)
from skvae.tabular.restore import (
    Patch,
    join_frame,
    new_series,
    patch_array,
    patch_from_constant,
    patch_from_model,
    patch_series,
)
from skvae.tabular.schema import (
    Column,
    admit,
    check_column_types,
    default_fill,
    learn_column,
    warn_of_columns,
)
from skvae.tabular.table import Table, as_table


class TableCodec:
    """Turn a table with holes into numbers and a mask, and fill it back exactly.

    Parameters
    ----------
    column_types : mapping or None, default=None
        Kind by column name (by position for arrays), one of `KINDS`; the others are inferred
        from their dtype.
    missing_values : object, default=nan
        A value that marks holes. NaN, None and `pd.NA` always do.
    keep_empty_features : bool, default=False
        Whether columns with every entry absent at fit stay in the output, filled with a
        default (0, False, the first declared category or "missing_value").
    max_categories : int, default=100
        At most this many levels of a column are modelled, the most frequent ones.
    fills : bool, default=True
        Whether holes will be filled; warnings then say how.
    unseen : str, default="count as absent"
        What becomes of levels that were not seen at fit, for the warning.

    Attributes
    ----------
    columns : tuple of Column
        One per input column.
    modelled : ndarray of int
        Positions of the columns the model sees: neither constant nor empty.
    kept : ndarray of int
        Positions of the columns in the output.
    is_frame : bool
        Whether the codec was fitted on a DataFrame.

    Notes
    -----
    A level that was never seen at fit counts as absent: `encode` warns and `decode` replaces it.
    A level that was seen but is past `max_categories` counts as absent for the model only:
    `decode` keeps it. `observed` reports neither, it is about the user's holes.
    """

    columns: tuple[Column, ...]
    modelled: np.ndarray
    kept: np.ndarray
    is_frame: bool

    def __init__(
        self,
        column_types: Mapping[Hashable, str] | None = None,
        missing_values: Any = np.nan,
        keep_empty_features: bool = False,
        max_categories: int = 100,
        fills: bool = True,
        unseen: str = "count as absent",
    ) -> None:
        self.column_types = column_types
        self.missing_values = missing_values
        self.keep_empty_features = keep_empty_features
        self.max_categories = max_categories
        self.fills = fills
        self.unseen = unseen

    def fit(self, X: Any) -> TableCodec:
        """Learn each column's kind, levels and status.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)

        Returns
        -------
        TableCodec
            The codec itself.

        Raises
        ------
        ValueError
            If the container, `column_types` or the values do not suit; names the column.
        TypeError
            If a column holds what cannot be modelled (times, mixed objects, ...).
        """
        if self.max_categories < 2:
            raise ValueError(f"max_categories must be at least 2, got {self.max_categories!r}.")
        table = as_table(X)
        wanted = check_column_types(self.column_types, table.names)
        self._sentinel = normalise_missing(self.missing_values)
        self.is_frame = table.is_frame
        self._frame_columns = table.data.columns if table.is_frame else None
        self._array_dtype = None if table.is_frame else table.data.dtype
        self._native = table.native
        self.columns = self._learn(table, wanted)
        self._set_positions()
        warn_of_columns(self.columns, self.max_categories, self.keep_empty_features, self.fills)
        return self

    def encode(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Numbers and mask of the modelled columns.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)

        Returns
        -------
        values : ndarray of float64, shape (n_samples, n_modelled)
            Raw numbers for numeric kinds, level codes for the others, 0 where absent.
        observed : ndarray of bool, shape (n_samples, n_modelled)

        Raises
        ------
        ValueError
            If a value is infinite, or outside what its column's kind allows.
        TypeError
            If a column was numeric at fit and holds text now, or the other way round.

        Warns
        -----
        UserWarning
            Once, if there are levels that were not seen at fit.
        """
        table = self._table(X)
        block = table.block()
        coded = any(column.is_discrete and column.status != "empty" for column in self.columns)
        if block is not None and not coded:
            return self._encode_block(block)
        return self._encode_columns(table)

    def observed(self, X: Any) -> np.ndarray:
        """Where the user gave a value, over all input columns.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of bool, shape (n_samples, n_features)
        """
        table = self._table(X)
        block = table.block()
        if block is not None:
            return ~numeric_holes(block, self._sentinel)
        mask = np.empty((table.n_rows, table.n_columns), dtype=bool)
        for j in range(table.n_columns):
            mask[:, j] = self._read(table, j).observed
        return mask

    def decode(self, values: np.ndarray, X: Any) -> Any:
        """Fill the holes of `X`.

        Parameters
        ----------
        values : ndarray of shape (n_samples, n_modelled)
            Coded as `encode` does; codes and integer columns are rounded.
        X : DataFrame or array-like of shape (n_samples, n_features)
            The user's table. Its observed cells come back as they are.

        Returns
        -------
        DataFrame or ndarray of shape (n_samples, n_kept)
            In the container of `X`, with its index and dtypes; a dtype changes only where it
            cannot hold the filled values. Values past the range of a narrow dtype become its
            largest or smallest one.

        Raises
        ------
        ValueError
            If `values` has the wrong shape or is NaN at a hole.
        """
        table = self._table(X)
        values = self._check_values(values, table.n_rows)
        patches = [self._patch(table, int(j), values) for j in self.kept]
        if not table.is_frame:
            every = self.kept.size == table.n_columns
            return patch_array(table.data if every else table.data[:, self.kept], patches)
        filled = [patch_series(table.column(p), q) for p, q in zip(self.kept, patches, strict=True)]
        names = table.data.columns[self.kept]
        return table.as_given(join_frame(filled, names, table.data.index))

    def decode_all(self, values: np.ndarray, index: Any = None, like: Any = None) -> Any:
        """Make a table in which every entry comes from `values`.

        Parameters
        ----------
        values : ndarray of shape (n_rows, n_modelled)
            Coded as `encode` does. Constant and empty columns hold their fill.
        index : Index or None
            Of the frame; that of `like`, or 0, 1, ... where None.
        like : DataFrame, array or None
            A table whose container and index are wanted; the fitted container where None.

        Returns
        -------
        DataFrame or ndarray of shape (n_rows, n_kept)
            With the names and dtypes seen at fit.

        Raises
        ------
        ValueError
            If `values` has the wrong shape or contains NaN.
        """
        patches = self._full_patches(self._check_values(values, len(values)))
        wanted = None if like is None else as_table(like)
        as_frame = self.is_frame if wanted is None else wanted.is_frame
        if not as_frame and not self.is_frame:
            return patch_array(np.empty((len(values), self.kept.size), self._array_dtype), patches)
        framed = wanted is not None and wanted.is_frame
        if index is None:
            index = wanted.data.index if framed else pd.RangeIndex(len(values))
        names: pd.Index = self._frame_columns if self.is_frame else wanted.data.columns
        filled = [new_series(patch, index) for patch in patches]
        frame = join_frame(filled, names[self.kept], index)
        native = self._native if wanted is None else wanted.native
        if not as_frame:
            return frame.to_numpy()
        return frame if native is None else native.restore(frame)

    def feature_names_out(self) -> np.ndarray:
        """Names of the output columns: the frame's where all are strings, else x0, x1, ...

        Returns
        -------
        ndarray of object, shape (n_kept,)
        """
        names = [column.name for column in self.columns]
        if not all(isinstance(name, str) for name in names):
            names = [f"x{j}" for j in range(len(names))]
        return np.array([names[j] for j in self.kept], dtype=object)

    # Fit ------------------------------------------------------------------------------------

    def _learn(self, table: Table, wanted: dict[Hashable, str]) -> tuple[Column, ...]:
        columns, infinite = [], []
        for j, name in enumerate(table.names):
            cells = read_column(table.column(j), name, self._sentinel)
            if is_infinite(cells):
                infinite.append(name)
                continue
            dtype = table.column(j).dtype
            kind = wanted.get(name)
            columns.append(
                learn_column(cells, name, dtype, kind, self.max_categories, self._sentinel)
            )
        refuse_infinite(infinite)
        return tuple(columns)

    def _set_positions(self) -> None:
        status = np.array([column.status for column in self.columns])
        if (status == "empty").all():
            names = [column.name for column in self.columns]
            raise ValueError(
                f"No column of X has an observed value: {names}. Give at least one column with "
                "values, and check missing_values."
            )
        self.modelled = np.flatnonzero(status == "modelled")
        self._place = {int(j): k for k, j in enumerate(self.modelled)}
        keep_all = np.full(status.shape, self.keep_empty_features)
        self.kept = np.flatnonzero(keep_all | (status != "empty"))

    # Encode ---------------------------------------------------------------------------------

    def _table(self, X: Any) -> Table:
        if not hasattr(self, "columns"):
            raise ValueError("This TableCodec is not fitted yet; call fit first.")
        table = as_table(X)
        if table.n_columns != len(self.columns):
            raise ValueError(
                f"X has {table.n_columns} features, but TableCodec is expecting "
                f"{len(self.columns)} features as input."
            )
        return table

    def _read(self, table: Table, j: int) -> Cells:
        return read_column(table.column(j), self.columns[j].name, self._sentinel)

    def _encode_block(self, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # One pass over a homogeneous array: by columns each pass would walk all of memory.
        values = np.array(block, dtype=np.float64, order="C")
        # Sentinels are compared in the user's precision, so only a like copy may stand in.
        source = values if block.dtype == np.float64 else block
        holes = np.ascontiguousarray(numeric_holes(source, self._sentinel))
        self._refuse_infinite_block(source, holes)
        if self.modelled.size < block.shape[1]:
            values, holes = values.take(self.modelled, axis=1), holes.take(self.modelled, axis=1)
        # Domains are checked before zeros take the holes' place: a 0 is not "positive".
        if self._sentinel is not None:
            np.copyto(values, np.nan, where=holes)
        for k, j in enumerate(self.modelled):
            values[:, k] = admit(self.columns[j], values[:, k])
        np.copyto(values, 0.0, where=holes)
        return values, np.logical_not(holes, out=holes)

    def _refuse_infinite_block(self, block: np.ndarray, holes: np.ndarray) -> None:
        if block.dtype.kind != "f":
            return
        infinite = np.isinf(block)
        if infinite.any():
            infinite &= ~holes
            guilty = np.flatnonzero(infinite.any(axis=0))
            refuse_infinite([self.columns[j].name for j in guilty])

    def _encode_columns(self, table: Table) -> tuple[np.ndarray, np.ndarray]:
        shape = (table.n_rows, self.modelled.size)
        values, observed = np.zeros(shape), np.zeros(shape, dtype=bool)
        infinite: list[Hashable] = []
        unseen: list[str] = []
        k = 0
        for j, column in enumerate(self.columns):
            cells = self._read(table, j)
            if is_infinite(cells):
                infinite.append(column.name)
            check_sort(column, cells)
            if column.status != "modelled":
                continue
            # Of columns with levels that are not modelled, unseen ones stay too: no news.
            stays = self.fills and column.rare is not None
            numbers, mask = encode_cells(column, cells, [] if stays else unseen)
            np.copyto(values[:, k], numbers, where=mask)
            observed[:, k] = mask
            k += 1
        refuse_infinite(infinite)
        if unseen:
            warnings.warn(
                f"Values not seen during fit {self.unseen}: {'; '.join(unseen)}.",
                UserWarning,
                stacklevel=user_level(),
            )
        return values, observed

    # Decode ---------------------------------------------------------------------------------

    def _check_values(self, values: np.ndarray, n_rows: int) -> np.ndarray:
        values = np.asarray(values, dtype=np.float64)
        shape = (n_rows, self.modelled.size)
        if values.shape != shape:
            raise ValueError(f"values must have shape {shape}, got {values.shape}.")
        return values

    def _patch(self, table: Table, j: int, values: np.ndarray) -> Patch:
        column = self.columns[j]
        cells = self._read(table, j)
        check_sort(column, cells)
        rows = np.flatnonzero(to_fill(column, cells))
        if column.status == "modelled":
            return patch_from_model(column, rows, values[rows, self._place[j]])
        fill = column.fill
        if column.status == "empty" and cells.observed.any():
            # Nothing was known of this column at fit, so what it holds now decides.
            fill = default_fill(cells, None, self._sentinel)
        return patch_from_constant(column, rows, fill)

    def _full_patches(self, values: np.ndarray) -> list[Patch]:
        rows = np.arange(len(values))
        patches = []
        for j in self.kept:
            column = self.columns[j]
            if column.status == "modelled":
                patches.append(patch_from_model(column, rows, values[:, self._place[int(j)]]))
            else:
                patches.append(patch_from_constant(column, rows, column.fill))
        return patches
