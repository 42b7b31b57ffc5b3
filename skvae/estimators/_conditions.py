"""Columns that are given rather than modelled: the condition of a conditional VAE."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from skvae.tabular import TableCodec
from skvae.tabular.chunks import is_frame
from skvae.tabular.scaling import TableScaler
from skvae.tabular.table import as_table

# Training rows whose conditions are kept, for draws without a given one.
MOST_KEPT = 10_000


class Conditions:
    """The columns of `condition_on`, and every row's numbers for the networks.

    Parameters
    ----------
    names : sequence of hashable
        Columns of a frame, positions of an array.
    codec : TableCodec
        Fitted on the whole table.
    values, observed : ndarray of shape (n, n_modelled)
        The training table as the codec encodes it.

    Attributes
    ----------
    places, rest : ndarray of int
        The given columns among the codec's modelled ones, and the others.
    scaler : TableScaler
    known : ndarray of shape (at most 10,000, n_conditions)
        Conditions of training rows.

    Raises
    ------
    ValueError
        If a column is unknown, named twice, constant or has holes, or none is left to model.
    """

    def __init__(
        self, names: Iterable[Hashable], codec: TableCodec, values: Any, observed: Any
    ) -> None:
        self.codec = codec
        self.names = _column_names(names, codec)
        columns = {column.name: column for column in codec.columns}
        modelled = [codec.columns[j].name for j in codec.modelled]
        for name in self.names:
            if name not in modelled:
                what = "no values" if columns[name].status == "empty" else "a single value"
                raise ValueError(
                    f"Column {name!r} of condition_on has {what} in X: there is nothing to "
                    "condition on. Leave it out of condition_on."
                )
        self.places = np.array([modelled.index(name) for name in self.names])
        self.rest = np.setdiff1d(np.arange(len(modelled)), self.places)
        if not self.rest.size:
            raise ValueError(
                f"condition_on={self.names} takes every column of X that varies: none is left to "
                "model. Shorten it."
            )
        self._refuse_holes(observed, "X")
        self.scaler = TableScaler().fit(
            values[:, self.places], observed[:, self.places], [columns[name] for name in self.names]
        )
        self.known = values[:MOST_KEPT, self.places]

    def split(self, values: np.ndarray, observed: np.ndarray) -> np.ndarray:
        """The given columns of encoded rows (n, n_modelled), shape (n, n_conditions)."""
        self._refuse_holes(observed, "X")
        return values[:, self.places]

    def read(self, condition: Any) -> np.ndarray:
        """Encode a user's conditions, shape (n, n_conditions).

        Parameters
        ----------
        condition : DataFrame, dict, array-like of shape (n, n_conditions), or scalar
        """
        table = self._whole_table(condition)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # unseen levels are refused below
            try:
                values, observed = self.codec.encode(table)
            except (ValueError, TypeError) as error:
                raise type(error)(f"condition: {error}") from error
        self._refuse_holes(observed, "condition")
        self._refuse_changes(table, values)
        return values[:, self.places]

    def features(self, given: np.ndarray) -> Tensor:
        """Standardised numbers of conditions (n, n_conditions), shape (n, n_context)."""
        everywhere = np.ones(given.shape, dtype=bool)
        self.scaler.targets(given, everywhere)  # refuses what single precision cannot hold
        return torch.as_tensor(self.scaler.features(given, everywhere))

    def join(self, values: np.ndarray, given: np.ndarray) -> np.ndarray:
        """Modelled and given columns in the codec's order, shape (n, n_modelled)."""
        whole = np.empty((len(values), self.places.size + self.rest.size))
        whole[:, self.rest], whole[:, self.places] = values, given
        return whole

    def _whole_table(self, condition: Any) -> Any:
        """The conditions in a table of all columns, the others absent."""
        if is_frame(condition):
            condition = as_table(condition).data
        if isinstance(condition, Mapping) and not isinstance(condition, pd.DataFrame):
            columns = {k: np.atleast_1d(np.asarray(v, dtype=object)) for k, v in condition.items()}
            n = max((len(v) for v in columns.values()), default=1)
            columns = {k: np.resize(v, n) for k, v in columns.items()}
            condition = pd.DataFrame(columns).infer_objects()
        if isinstance(condition, pd.DataFrame):
            missing = [name for name in self.names if name not in condition.columns]
            if missing:
                raise ValueError(
                    f"condition lacks the columns {missing} of condition_on={self.names}."
                )
            own = [condition[name] for name in self.names]
            n = len(condition)
        else:
            cells = np.asarray(condition, dtype=object)
            if cells.ndim < 2:  # one condition in many rows, or one row of many conditions
                cells = cells.reshape(-1, 1) if len(self.names) == 1 else np.atleast_2d(cells)
            if cells.ndim != 2 or cells.shape[1] != len(self.names):
                raise ValueError(
                    f"condition must have one column for each of condition_on={self.names}, got "
                    f"shape {cells.shape}."
                )
            own, n = [pd.Series(list(cells[:, j])) for j in range(len(self.names))], len(cells)
        if not n:
            raise ValueError("condition has no rows.")
        given = dict(zip(self.names, own, strict=True))
        absent = np.full(n, np.nan)
        columns = [
            given[column.name].to_numpy() if column.name in given else absent
            for column in self.codec.columns
        ]
        if self.codec.is_frame:
            names = [column.name for column in self.codec.columns]
            index = pd.RangeIndex(n)
            series = [
                given[name].set_axis(index) if name in given else pd.Series(absent, index=index)
                for name in names
            ]
            frame = pd.concat(series, axis=1)
            frame.columns = pd.Index(names, tupleize_cols=False)
            return frame
        whole = np.empty((n, len(columns)), dtype=object)
        for j, column in enumerate(columns):
            whole[:, j] = column
        return whole

    def _refuse_changes(self, table: Any, values: np.ndarray) -> None:
        """Whole-number columns take no fractions: nobody asked for the number next to them."""
        names = [column.name for column in self.codec.columns]
        for name, place in zip(self.names, self.places, strict=True):
            j = names.index(name)
            if not self.codec.columns[j].integer or self.codec.columns[j].is_discrete:
                continue
            asked = table[name].to_numpy() if self.codec.is_frame else table[:, j]
            asked = pd.to_numeric(pd.Series(asked), errors="coerce").to_numpy(float)
            changed = np.flatnonzero((asked != np.round(asked)) | (asked != values[:, place]))
            if changed.size:
                raise ValueError(
                    f"Column {name!r} of condition_on cannot be {asked[changed[0]]:g}: at fit it "
                    "held whole numbers, as its dtype says. Give one of these, or convert the "
                    "column to floats before the fit."
                )

    def _refuse_holes(self, observed: np.ndarray, what: str) -> None:
        for name, place in zip(self.names, self.places, strict=True):
            holes = np.flatnonzero(~observed[:, place])
            if holes.size:
                column = next(c for c in self.codec.columns if c.name == name)
                known = ""
                if column.categories is not None:
                    shown = ", ".join(repr(level) for level in column.categories[:10].tolist())
                    known = f" or unknown (known: {shown})"
                if column.rare is not None:
                    known += " or past max_categories, which you may raise,"
                raise ValueError(
                    f"Column {name!r} of condition_on is absent{known} in {holes.size} row(s) of "
                    f"{what}, the first at position {holes[0]}. Conditions must be given: fill or "
                    "drop these rows, or take the column out of condition_on to model it."
                )


def _column_names(names: Iterable[Hashable], codec: TableCodec) -> list[Hashable]:
    known = [column.name for column in codec.columns]
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise ValueError(f"condition_on must be a list of columns, got {names!r}.")
    wanted = list(names)
    if not wanted:
        raise ValueError("condition_on is empty: name at least one column, or pass None.")
    for name in wanted:
        if name not in known:
            shown = ", ".join(map(str, known[:20]))
            raise ValueError(f"condition_on names the unknown column {name!r}; X has: {shown}.")
    twice = [name for name in dict.fromkeys(wanted) if wanted.count(name) > 1]
    if twice:
        raise ValueError(f"condition_on names columns twice: {twice}.")
    return wanted
