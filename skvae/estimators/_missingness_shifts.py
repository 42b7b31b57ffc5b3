"""Departures from a model of hidden values: what is asked for, and draws under it."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import numpy as np

from skvae.estimators._prediction import LARGEST, TablePredictor, within_domain
from skvae.tabular import Column
from skvae.tabular.callers import user_level


def scenarios_of(
    shifts: Mapping[Hashable, Any], columns: Sequence[Column]
) -> list[dict[Hashable, float]]:
    """Shifts by column, one dict per place of their sequences; `shifts` names modelled columns."""
    by_name = {column.name: column for column in columns}
    wrong = [name for name in shifts if by_name[name].is_discrete]
    if wrong:
        raise ValueError(f"shifts are for columns of numbers; these have levels: {wrong}.")
    each = {name: _as_shifts(by_name[name], by) for name, by in shifts.items()}
    sizes = {len(by) for by in each.values() if by.ndim}
    if len(sizes) > 1:
        lengths = {name: len(by) for name, by in each.items() if by.ndim}
        raise ValueError(
            f"Sequences of shifts must have one length, a scenario for each place; got {lengths}."
        )
    n = max(sizes, default=1)
    spread = {name: np.broadcast_to(by, n) for name, by in each.items()}
    return [{name: float(by[place]) for name, by in spread.items()} for place in range(n)]


def _as_shifts(column: Column, by: Any) -> np.ndarray:
    try:
        found = np.asarray(by, dtype=float)
    except (TypeError, ValueError):
        found = np.array(np.nan)
    if found.ndim > 1 or not found.size or not np.isfinite(found).all():
        raise ValueError(
            f"shifts[{column.name!r}] must be a finite number or a sequence of them, got {by!r}."
        )
    if column.kind == "count" and (found % 1).any():
        raise ValueError(
            f"Column {column.name!r} holds counts: shift it by whole numbers, got {by!r}."
        )
    return found


def shifted_draws(
    predictors: Sequence[TablePredictor],
    columns: Sequence[Column],
    values: np.ndarray,
    observed: np.ndarray,
    shift: np.ndarray,
    named: np.ndarray,
    first: Sequence[np.ndarray],
    random: np.random.RandomState,
) -> list[np.ndarray]:
    """Draws with shifted columns, the rest drawn given these.

    Parameters
    ----------
    predictors : sequence of TablePredictor
        In the order in which they gave `first`.
    columns : sequence of Column
    values, observed : ndarray of shape (n, p)
    shift : ndarray of shape (p,)
    named : bool ndarray of shape (p,)
        Columns that are shifted in any scenario, so that all have the same draws of these.
    first : sequence of ndarray of shape (n, p)
        Draws without a shift.
    random : RandomState
        Left as it is.
    """
    if not ((shift != 0) & ~observed).any():
        return list(first)
    random, tables = deepcopy(random), []
    counts = np.array([column.kind == "count" for column in columns])
    stopped = np.zeros(len(shift), dtype=bool)
    for place, draw in enumerate(first):
        predictor = predictors[place % len(predictors)]
        # Draws of hidden counts have fractions, of which likelihoods know nothing.
        draw = np.where(counts, np.round(draw), draw)
        moved = np.where(observed, values, draw + shift)
        kept = _kept(predictor, moved, draw)
        stopped |= (kept != moved).any(axis=0)
        tables += predictor.draws(kept, observed | named, 1, random)
    if stopped.any():
        names = [columns[j].name for j in np.flatnonzero(stopped)]
        warnings.warn(
            f"Shifts take hidden values of {names} further down than their columns are taken to go "
            "(half the smallest value seen of kind 'positive', else 0); these stay there. Choose "
            "smaller shifts.",
            UserWarning,
            stacklevel=user_level(),
        )
    return tables


def _kept(predictor: TablePredictor, moved: np.ndarray, draw: np.ndarray) -> np.ndarray:
    """No further down than columns can be, unless a draw was there before."""
    floor = within_domain(predictor.scaler, np.full(moved.shape[1], -LARGEST))
    return np.maximum(moved, np.minimum(floor, draw))
