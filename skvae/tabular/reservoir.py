"""The rows that a model is learnt from, of a table that may not fit into memory."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import check_random_state

from skvae.tabular.cells import normalise_missing
from skvae.tabular.joining import join_rows
from skvae.tabular.table import Table
from skvae.tabular.witnesses import ColumnWitnesses, TableWitnesses

# One in so many kept rows may be there for a level of one column.
ROWS_PER_LEVEL = 20
# Of the random numbers that rows get: not those of the fit.
STREAM = 1
# So many times the rows that must be held are, before the others are dropped.
SLACK = 1.5


@dataclass(frozen=True, eq=False)
class KeptRows:
    """What a model is learnt from.

    Attributes
    ----------
    table : Table
    labels : ndarray of shape (n,) or None
    weight : ndarray of shape (n,) or None
    """

    table: Table
    labels: np.ndarray | None
    weight: np.ndarray | None


@dataclass(frozen=True, eq=False)
class _Piece:
    """Rows that are held, in their order.

    Attributes
    ----------
    data : DataFrame or ndarray
    number : ndarray of int, shape (n,)
        Of the rows, over all chunks.
    key : ndarray of shape (n,)
        Random; NaN until there are more rows than are kept.
    labels, known, weight : ndarray of shape (n,) or None
    """

    data: Any
    number: np.ndarray
    key: np.ndarray
    labels: np.ndarray | None
    known: np.ndarray | None
    weight: np.ndarray | None

    def take(self, rows: np.ndarray) -> _Piece:
        """Those of a mask."""
        own = (getattr(self, field.name) for field in fields(self))
        return _Piece(*(None if part is None else part[rows] for part in own))

    @classmethod
    def join(cls, pieces: Sequence[_Piece]) -> _Piece:
        """All rows of several."""
        own = zip(*([getattr(p, field.name) for field in fields(p)] for p in pieces), strict=True)
        return cls(*(None if parts[0] is None else join_rows(parts) for parts in own))


class Reservoir:
    """A uniform sample of the rows seen so far, and rows that show what it lacks.

    Every row gets a random number in the order of rows, and those with the smallest ones are the
    sample: it does not hang on where the table is cut (reservoir sampling, Vitter 1985). Beside it
    are the first rows to show each level of a column of text or categories, and the ends of a
    column of numbers, a fraction among them and a hole.

    Rows with labels are a uniform sample of all such rows too, but where they are few they stay:
    all of them, up to half of the sample.

    Parameters
    ----------
    size : int or None
        Rows of the sample; None keeps all rows.
    random_state : int, RandomState instance or None
        Asked once, and only if there are more rows.
    column_types : mapping of hashable to str, or None
        Kinds that the user declares.
    missing_values : object
        A value that marks holes, besides NaN.
    max_categories : int
    """

    def __init__(
        self,
        size: int | None,
        random_state: Any,
        column_types: Mapping[Hashable, str] | None = None,
        missing_values: Any = np.nan,
        max_categories: int = 100,
    ) -> None:
        self.size, self.random_state = size, random_state
        self._kinds = dict(column_types or {})
        self._sentinel = normalise_missing(missing_values)
        self._most_levels = max(max_categories + 1, (size or 0) // ROWS_PER_LEVEL)
        self._n_seen = 0
        self._pieces: list[_Piece] = []
        self._room = SLACK * (np.inf if size is None else size)
        self._keys: np.random.Generator | None = None
        # Rows with larger keys are not in the sample, nor are rows with labels if they are few.
        self._last_key = self._last_labelled = np.inf
        # One row in the dtypes that hold all chunks.
        self._model: Table | None = None
        self._columns: TableWitnesses | None = None
        self._classes = ColumnWitnesses("y", True, self._most_levels)
        self._announced: list[Any] | None = None

    def copy(self) -> Reservoir:
        """Another one, which may see other rows."""
        twin = copy(self)
        twin._pieces = list(self._pieces)
        for name in ("_keys", "_columns", "_classes"):
            setattr(twin, name, deepcopy(getattr(self, name)))
        return twin

    @property
    def model(self) -> Table | None:
        """One row of what was seen; None for nothing."""
        return self._model

    def announce(self, classes: Any) -> None:
        """Take labels that are not among these for errors.

        Raises
        ------
        ValueError
            If others were announced before.
        """
        known = np.unique(np.asarray(classes)).tolist()
        if self._announced not in (None, known):
            raise ValueError(
                f"classes={known} were {self._announced} in an earlier call. Give the same, or "
                "none."
            )
        self._announced = known

    # Rows in --------------------------------------------------------------------------------

    def add(
        self,
        table: Table,
        labels: np.ndarray | None = None,
        known: np.ndarray | None = None,
        weight: np.ndarray | None = None,
    ) -> None:
        """See the next rows.

        Parameters
        ----------
        table : Table of shape (n, n_columns)
        labels : ndarray of shape (n,) or None
        known : ndarray of bool, shape (n,) or None
            Where there is a label.
        weight : ndarray of shape (n,) or None
            Rows without weight are not there.
        """
        self._see_dtypes(table)
        rows = np.arange(table.n_rows)
        piece = _Piece(table.data, rows, np.full(len(rows), np.nan), labels, known, weight)
        if weight is not None:
            piece = piece.take(weight > 0)
        if not len(piece.number):
            return
        piece = replace(piece, number=np.arange(len(piece.number)) + self._n_seen)
        self._see_values(replace(table, data=piece.data), piece)
        self._n_seen += len(piece.number)
        if self.size is not None and self._n_seen > self.size:
            piece = self._with_key(piece)
            piece = piece.take(self._may_stay(piece))
        if len(piece.number):
            self._pieces.append(piece)
        if sum(len(one.number) for one in self._pieces) > self._room:
            self._drop()

    def _see_dtypes(self, table: Table) -> None:
        if self._model is None:
            self._model = table.take(slice(1))
            return
        if table.is_frame != self._model.is_frame:
            raise ValueError(
                "X is a frame where an array was given before, or the other way round. Give all "
                "rows alike."
            )
        one = join_rows([self._model.data, table.data[:1]])[:1]
        self._model = replace(self._model, data=one)

    def _see_values(self, table: Table, piece: _Piece) -> None:
        if piece.labels is not None:
            self._classes.look_at(piece.labels, piece.known, self._n_seen)
            self._refuse_strange()
        if self.size is not None:
            if self._columns is None:
                self._columns = self._blank(table.names, self._most_levels)
            self._columns.look(table, self._n_seen)

    def _refuse_strange(self) -> None:
        known = self._announced
        strange = [level for level in self._classes.levels if known and level not in known]
        if strange:
            raise ValueError(f"y has the labels {strange[:10]}, which are not in classes={known}.")

    def _blank(self, names: list[Hashable], most_levels: int | None) -> TableWitnesses:
        return TableWitnesses(names, self._kinds, self._sentinel, most_levels)

    def _with_key(self, piece: _Piece) -> _Piece:
        """Draw numbers for new rows; at first, for those that are held too."""
        if self._keys is None:
            seed = int(check_random_state(self.random_state).randint(2**31 - 1))
            self._keys = np.random.default_rng([seed, STREAM])
            self._pieces = [self._drawn(one) for one in self._pieces]
        return self._drawn(piece)

    def _drawn(self, piece: _Piece) -> _Piece:
        return replace(piece, key=self._keys.random(len(piece.number)))

    def _may_stay(self, piece: _Piece) -> np.ndarray:
        """Rows that may be in the sample, or show what it lacks, bool (n,)."""
        near = piece.key <= self._last_key
        if piece.known is not None:
            near |= piece.known & (piece.key <= self._last_labelled)
        shown = [*self._columns.rows(), *self._classes.rows()]
        return near | np.isin(piece.number, shown)

    def _drop(self) -> None:
        """Let go of the rows that no longer can be in the sample."""
        held = _Piece.join(self._pieces)
        self._last_key = _smallest(held.key, self.size)
        if held.known is not None:
            self._last_labelled = _smallest(held.key[held.known], self.size // 2)
        held = held.take(self._may_stay(held))
        self._pieces, self._room = [held], SLACK * len(held.number)

    # Rows out -------------------------------------------------------------------------------

    def rows(self) -> KeptRows:
        """What was kept of the rows seen so far, in their order.

        Raises
        ------
        ValueError
            If there are none.
        """
        if not self._pieces:
            raise ValueError("sample_weight must be non-negative and not zero everywhere.")
        if self._keys is not None:
            self._drop()
        held = _Piece.join(self._pieces)
        if self._keys is not None:
            held = held.take(self._chosen(held))
        # The dtypes are those of all chunks, of whose rows none may be left.
        data = join_rows([self._model.data, held.data])[1:]
        if self._model.is_frame:
            data = data.set_axis(pd.RangeIndex(len(data)), axis=0)
        return KeptRows(replace(self._model, data=data), held.labels, held.weight)

    def _chosen(self, held: _Piece) -> np.ndarray:
        """The sample, and rows that show what it lacks, bool (n,)."""
        chosen = sample_of(held.key, held.known, self.size)
        sample = held.take(chosen)
        shown = self._blank(self._model.names, None)
        shown.look(replace(self._model, data=sample.data), 0)
        lacking = self._columns.lacked_by(shown)
        if sample.labels is not None:
            classes = ColumnWitnesses("y", True, None)
            classes.look_at(sample.labels, sample.known, 0)
            lacking += self._classes.lacked_by(classes)
        return chosen | np.isin(held.number, lacking)


def sample_of(key: np.ndarray, known: np.ndarray | None, size: int) -> np.ndarray:
    """The rows with the smallest keys, bool (n,).

    Where fewer of them have labels than could, all rows that have them are chosen, or the first of
    these for half of the size.
    """
    chosen = np.zeros(len(key), dtype=bool)
    order = np.argsort(key, kind="stable")
    chosen[order[:size]] = True
    if known is None:
        return chosen
    labelled = order[known[order]][: size // 2]
    if chosen[known].sum() < len(labelled):
        others = order[~known[order]][: size - len(labelled)]
        chosen[:] = False
        chosen[labelled] = chosen[others] = True
    return chosen


def _smallest(keys: np.ndarray, n: int) -> float:
    """The largest of the n smallest; infinity where there are not so many."""
    if len(keys) < n:
        return np.inf
    return float(np.partition(keys, n - 1)[n - 1]) if n else -np.inf
