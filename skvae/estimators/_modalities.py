"""Which columns of a table belong to which block, and tables given block by block."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterable, Mapping
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import issparse
from scipy.sparse.csgraph import connected_components

from skvae.tabular import TableCodec
from skvae.tabular.callers import user_level
from skvae.tabular.table import as_table

# The block of all columns where no map is given.
ONLY_BLOCK = "all"


class Modalities:
    """A map from block names to columns, checked against a fitted table.

    Parameters
    ----------
    columns : mapping from block names to columns, or None
        Lists of names (positions of an array), slices of positions, boolean masks, or one column
        each. None is one block of all columns.
    codec : TableCodec
        Fitted on the whole table.

    Attributes
    ----------
    names : list of str
        Of the blocks, in the order of the map.
    places : list of ndarray of int
        Positions of each block's columns in the table.
    block_of : ndarray of int, shape (n_modelled,)
        The block of every modelled column.

    Raises
    ------
    ValueError
        If a block is empty or has nothing to model, columns are unknown, overlap or are left out.
    """

    def __init__(self, columns: Mapping[Any, Any] | None, codec: TableCodec) -> None:
        table = [column.name for column in codec.columns]
        if columns is None:
            columns = {ONLY_BLOCK: table}
        if not columns:
            raise ValueError("modalities is empty: name at least one block, or leave it None.")
        self.names = list(columns)
        self.places = [_positions(name, chosen, table) for name, chosen in columns.items()]
        owner = np.full(len(table), -1)
        for number, (name, places) in enumerate(zip(self.names, self.places, strict=True)):
            taken = places[owner[places] >= 0]
            if taken.size:
                other = self.names[owner[taken[0]]]
                raise ValueError(
                    f"modalities: column {table[taken[0]]!r} is in the blocks {other!r} and "
                    f"{name!r}. Give every column to one block."
                )
            owner[places] = number
        if (owner < 0).any():
            rest = [table[j] for j in np.flatnonzero(owner < 0)]
            raise ValueError(
                f"modalities: columns {rest} belong to no block. Add them to one, or drop them "
                "from X."
            )
        self.block_of = owner[codec.modelled]
        for number, (name, places) in enumerate(zip(self.names, self.places, strict=True)):
            if number in self.block_of:
                continue
            empty = all(codec.columns[j].status == "empty" for j in places)
            what = "is absent in all rows" if empty else "has no column that varies"
            raise ValueError(f"modalities: block {name!r} {what}. Leave its columns out of X.")

    def number(self, name: Any) -> int:
        """The place of a block.

        Raises
        ------
        ValueError
            If there is no such block.
        """
        if name not in self.names:
            raise ValueError(f"There is no block {name!r}; the blocks are {self.names}.")
        return self.names.index(name)

    def numbers(self, names: Any) -> list[int]:
        """The places of one block or of several."""
        if isinstance(names, str) or not isinstance(names, Iterable):
            return [self.number(names)]
        found = [self.number(name) for name in names]
        if len(set(found)) < len(found):
            raise ValueError(f"Blocks are named twice in {list(names)}.")
        return found

    def columns(self, numbers: Iterable[int]) -> np.ndarray:
        """Which modelled columns belong to the blocks, bool (n_modelled,)."""
        return np.isin(self.block_of, list(numbers))

    def present(self, observed: np.ndarray) -> np.ndarray:
        """Which blocks rows have something of, bool (n, n_blocks)."""
        member = self.block_of[:, None] == np.arange(len(self.names))
        return (observed.astype(np.float32) @ member) > 0

    def weights(self, given: Any) -> np.ndarray:
        """Weights of the blocks from `modality_weights`, shape (n_blocks,)."""
        sizes = np.bincount(self.block_of, minlength=len(self.names))
        if given is None:
            return np.ones(len(self.names))
        if isinstance(given, str):  # "balanced": blocks weigh the same, and no less in all
            return sizes.sum() / (len(sizes) * sizes)
        unknown = [name for name in given if name not in self.names]
        if unknown:
            raise ValueError(
                f"modality_weights names unknown blocks {unknown}; the blocks are {self.names}."
            )
        for name, weight in given.items():
            if not isinstance(weight, Real):
                raise TypeError(f"modality_weights[{name!r}] must be a number, got {weight!r}.")
        weights = np.array([given.get(name, 1.0) for name in self.names], dtype=np.float64)
        if not (np.isfinite(weights) & (weights > 0)).all():
            raise ValueError(
                f"modality_weights must be positive and finite, got {dict(given)}. Leave a block "
                "that should not count out of X."
            )
        return weights


def _positions(name: Any, chosen: Any, table: list[Hashable]) -> np.ndarray:
    """Positions of a block's columns."""
    if isinstance(chosen, slice):
        places = np.arange(len(table))[_of_positions(name, chosen, table)]
    elif np.ndim(chosen) == 1 and np.asarray(chosen).dtype == bool:
        if len(chosen) != len(table):
            raise ValueError(
                f"modalities: the mask of block {name!r} has {len(chosen)} entries, but X has "
                f"{len(table)} columns."
            )
        places = np.flatnonzero(chosen)
    else:
        single = isinstance(chosen, str) or not isinstance(chosen, Iterable)
        listed = [chosen] if single else list(chosen)
        known = {column: j for j, column in enumerate(table)}
        unknown = [column for column in listed if column not in known]
        if unknown:
            raise ValueError(
                f"modalities: block {name!r} names columns that X does not have: {unknown}. X has "
                f"{table if len(table) <= 30 else f'{len(table)} columns'}."
            )
        places = np.array([known[column] for column in listed], dtype=int)
    if not places.size:
        raise ValueError(
            f"modalities: block {name!r} has no columns of X, which has n_features={len(table)}. "
            "Leave the block out, or name its columns."
        )
    if len(set(places.tolist())) < len(places):
        raise ValueError(f"modalities: block {name!r} names a column twice.")
    return places


def _of_positions(name: Any, chosen: slice, table: list[Hashable]) -> slice:
    """A slice of positions; slices of labels include their end, as in pandas."""
    bounds = []
    for end, label in ((False, chosen.start), (True, chosen.stop)):
        if label is None or isinstance(label, int | np.integer):
            bounds.append(label)
        elif label in table:
            bounds.append(table.index(label) + end)
        else:
            raise ValueError(f"modalities: block {name!r} has no column {label!r} in X.")
    return slice(*bounds, chosen.step)


class BlockTables:
    """A table given as a mapping from block names to tables of the same rows.

    Parameters
    ----------
    blocks : mapping from block names to DataFrame or array-like
        As given to fit.

    Attributes
    ----------
    columns : dict from block names to lists of column names
        Of the joined frame.
    """

    def __init__(self, blocks: Mapping[Any, Any]) -> None:
        if not blocks:
            raise ValueError("X is an empty mapping: give at least one block.")
        frames = {name: _frame(name, block) for name, block in blocks.items()}
        labels = [column for frame in frames.values() for column in frame.columns]
        # Names that several blocks use need their block's.
        clash = len(set(labels)) < len(labels)
        self.frames = {name: isinstance(block, pd.DataFrame) for name, block in blocks.items()}
        self.own = {name: list(frame.columns) for name, frame in frames.items()}
        self.columns = {
            name: [
                f"{name}__{column}" if clash or not self.frames[name] else column
                for column in frame.columns
            ]
            for name, frame in frames.items()
        }

    def join(self, blocks: Any) -> pd.DataFrame:
        """One frame of all blocks; blocks that are not there are absent in all rows."""
        unknown = [name for name in blocks if name not in self.columns]
        if unknown:
            raise ValueError(f"X has unknown blocks {unknown}; fitted were {list(self.columns)}.")
        frames = {name: _frame(name, block) for name, block in blocks.items()}
        if not frames:
            raise ValueError("X is an empty mapping: give at least one block.")
        sizes = {name: len(frame) for name, frame in frames.items()}
        if len(set(sizes.values())) != 1:
            raise ValueError(
                f"Blocks must have the same rows, got {sizes} rows. Give a row without a block "
                "NaN in all of its columns."
            )
        index = self._index(blocks, next(iter(sizes.values())))
        parts = []
        for name, columns in self.columns.items():
            if name not in frames:
                parts.append(pd.DataFrame(np.nan, index=index, columns=columns))
                continue
            frame = frames[name]
            if list(frame.columns) != self.own[name]:
                raise ValueError(
                    f"Block {name!r} has the columns {list(frame.columns)[:20]}, fitted were "
                    f"{self.own[name][:20]}."
                )
            parts.append(frame.set_axis(columns, axis=1).set_axis(index, axis=0))
        return pd.concat(parts, axis=1)

    def _index(self, blocks: Any, n: int) -> pd.Index:
        indices = [block.index for block in blocks.values() if isinstance(block, pd.DataFrame)]
        if any(not index.equals(indices[0]) for index in indices[1:]):
            raise ValueError(
                "Blocks have different indices. Align them first, for instance with "
                "pandas.concat(blocks, axis=1), which gives rows without a block NaN."
            )
        return indices[0] if indices else pd.RangeIndex(n)

    def split(self, frame: pd.DataFrame) -> dict[Any, Any]:
        """A joined frame as blocks, each in its own container."""
        out = {}
        for name, columns in self.columns.items():
            kept = [column for column in columns if column in frame.columns]
            own = [self.own[name][columns.index(column)] for column in kept]
            block = frame[kept].set_axis(own, axis=1)
            out[name] = block if self.frames[name] else block.to_numpy()
        return out


def _frame(name: Any, block: Any) -> pd.DataFrame:
    try:
        table = as_table(block)
    except (ValueError, TypeError) as error:
        raise type(error)(f"Block {name!r}: {error}") from error
    return table.data if table.is_frame else pd.DataFrame(table.data)


def is_blocks(X: Any) -> bool:
    """Whether X is a mapping of blocks; some sparse matrices are mappings too."""
    return isinstance(X, Mapping) and not issparse(X)


def warn_of_empty_rows(present: np.ndarray, targets: list[Any] | None = None) -> None:
    """Say how many rows have no block at all, or none besides the targets."""
    n_empty = int((~present.any(axis=1)).sum())
    if n_empty:
        have = "no block at all" if targets is None else f"nothing besides the target {targets}"
        warnings.warn(
            f"{n_empty} rows of X have {have}: for them the model knows the prior only.",
            UserWarning,
            stacklevel=user_level(),
        )


def warn_of_islands(present: np.ndarray, names: list[Any]) -> None:
    """Say which blocks no row links to the others, not even by way of third blocks."""
    together = present.astype(float).T @ present
    n_islands, island = connected_components(together > 0, directed=False)
    if n_islands > 1:
        parts = [
            [name for name, own in zip(names, island, strict=True) if own == k]
            for k in range(n_islands)
        ]
        warnings.warn(
            f"No row has blocks of more than one of {parts}: nothing says how these relate, and "
            "predictions of one from the other are no better than means. Add rows that have both.",
            UserWarning,
            stacklevel=user_level(),
        )
