"""Which rows of a long table show what a sample of it may lack."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd

from skvae.tabular.cells import Cells, read_column
from skvae.tabular.schema import DISCRETE_KINDS, scalars
from skvae.tabular.table import Table


class ColumnWitnesses:
    """The first rows of one column to show its levels, its ends, a fraction and a hole.

    Parameters
    ----------
    name : hashable
    coded : bool
        Whether numbers count as levels, too.
    most_levels : int or None
        So many levels have a row each; None is all.
    """

    def __init__(self, name: Hashable, coded: bool, most_levels: int | None) -> None:
        self.name, self.coded, self.most_levels = name, coded, most_levels
        self.levels: dict[Any, int] = {}
        # Value and row; infinities are ends, too.
        self.low: tuple[float, int] | None = None
        self.high: tuple[float, int] | None = None
        self.fraction: int | None = None
        self.hole: int | None = None

    def look(self, cells: Cells, first: int) -> None:
        """Learn from the rows numbered `first`, `first` + 1, ..."""
        observed = cells.observed
        if self.hole is None and not observed.all():
            self.hole = first + int(np.argmin(observed))
        if not observed.any():
            return
        if cells.numbers is not None and cells.sort != "boolean":
            self._look_at_numbers(cells, first)
        coded = self.coded or cells.numbers is None or cells.sort == "boolean"
        if coded and (self.most_levels is None or len(self.levels) < self.most_levels):
            self._add(*cells.factorize(), first)

    def _look_at_numbers(self, cells: Cells, first: int) -> None:
        numbers = cells.numbers
        low, high = int(np.nanargmin(numbers)), int(np.nanargmax(numbers))
        if self.low is None or numbers[low] < self.low[0]:
            self.low = float(numbers[low]), first + low
        if self.high is None or numbers[high] > self.high[0]:
            self.high = float(numbers[high]), first + high
        if self.fraction is None and cells.sort == "float":
            broken = cells.observed & (np.floor(numbers) != numbers)
            if broken.any():
                self.fraction = first + int(broken.argmax())

    def look_at(self, labels: np.ndarray, known: np.ndarray, first: int) -> None:
        """Learn from labels of rows, those that are known."""
        codes, levels = pd.factorize(labels[known])
        own = np.full(len(labels), -1)
        own[known] = codes
        self._add(own, np.asarray(levels), first)

    def _add(self, codes: np.ndarray, levels: np.ndarray, first: int) -> None:
        """Levels that are not known yet, in the order of rows, whichever way the table is cut."""
        present, place = np.unique(codes, return_index=True)
        present, place = present[present >= 0], place[present >= 0]
        order = np.argsort(place)
        for level, row in zip(scalars(levels[present[order]]), place[order].tolist(), strict=True):
            if self.most_levels is not None and len(self.levels) >= self.most_levels:
                return
            self.levels.setdefault(level, first + row)

    def rows(self) -> list[int]:
        """Numbers of all rows that are witnesses."""
        ends = [end[1] for end in (self.low, self.high) if end is not None]
        single = [row for row in (self.fraction, self.hole) if row is not None]
        return [*self.levels.values(), *ends, *single]

    def lacked_by(self, sample: ColumnWitnesses) -> list[int]:
        """Numbers of the rows that show what a sample's own rows do not."""
        rows = [row for level, row in self.levels.items() if level not in sample.levels]
        for own, other in ((self.low, sample.low), (self.high, sample.high)):
            if own is not None and (other is None or own[0] != other[0]):
                rows.append(own[1])
        for row, known in ((self.fraction, sample.fraction), (self.hole, sample.hole)):
            if row is not None and known is None:
                rows.append(row)
        return rows


class TableWitnesses:
    """Witnesses of all columns of a table.

    Parameters
    ----------
    names : list of hashable
    column_types : dict of hashable to str
        Kinds that the user declares.
    sentinel : object
        A value that marks holes, besides NaN; None where there is none.
    most_levels : int or None
        Of one column.
    """

    def __init__(
        self,
        names: list[Hashable],
        column_types: dict[Hashable, str],
        sentinel: Any,
        most_levels: int | None,
    ) -> None:
        self.sentinel = sentinel
        self.columns = [
            ColumnWitnesses(name, column_types.get(name) in DISCRETE_KINDS, most_levels)
            for name in names
        ]

    def look(self, table: Table, first: int) -> None:
        """Learn from the rows numbered `first`, `first` + 1, ..."""
        for j, column in enumerate(self.columns):
            column.look(read_column(table.column(j), column.name, self.sentinel), first)

    def rows(self) -> list[int]:
        """Numbers of all rows that are witnesses."""
        return [row for column in self.columns for row in column.rows()]

    def lacked_by(self, sample: TableWitnesses) -> list[int]:
        """Numbers of the rows that show what a sample's own rows do not."""
        pairs = zip(self.columns, sample.columns, strict=True)
        return [row for own, other in pairs for row in own.lacked_by(other)]
