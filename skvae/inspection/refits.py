"""An estimator's settings fitted again: from other seeds, other axes and other rows."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral
from typing import Any

import numpy as np
import sklearn
from sklearn.utils import check_random_state

from skvae.tabular.table import Table, as_table


def refits(
    estimator: Any, X: Any, n_refits: int, fraction: float, random_state: Any
) -> Iterator[tuple[Any, np.ndarray, Any]]:
    """Fit copies of a `VAETransformer` to parts of the rows.

    Parameters
    ----------
    estimator : VAETransformer
        Fitted; it is not changed.
    X : DataFrame or array-like of shape (n_samples, n_features)
    n_refits : int
    fraction : float
        Of the rows, for each fit, without replacement.
    random_state : int, RandomState instance or None

    Yields
    ------
    model, latents, table
        A fitted copy, the posterior means (n_samples, n_components) that it finds for all rows,
        and these as it takes them.

    Raises
    ------
    ValueError
        If a copy cannot be fitted to its part.
    """
    random = check_random_state(random_state)
    table = as_table(X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `transform` has said it
        values, observed = estimator._codec.encode(X)
    codec = estimator._codec
    levels = np.array([codec.columns[j].is_discrete for j in codec.modelled])
    changes = _settings(estimator)
    for number in range(n_refits):
        # Both are drawn before the fit: the first refits are the same however many follow.
        seed = random.randint(np.iinfo(np.int32).max)
        rows = part_of_rows(values, observed, levels, fraction, random)
        model = sklearn.clone(estimator).set_params(**changes, random_state=seed)
        with _named(number, n_refits, len(rows), len(values)):
            latents = np.asarray(model.fit(_take(table, rows)).transform(table.data))
        yield model, latents, table.data


def part_of_rows(
    values: np.ndarray,
    observed: np.ndarray,
    levels: np.ndarray,
    fraction: float,
    random: np.random.RandomState,
) -> np.ndarray:
    """A random fraction of the rows, in order, in which every column has all it is made of.

    Levels are there, and numbers vary: the first rows of the random order that the part lacks for
    that are added. Without them a copy would not know some levels, and refuse conditions.

    Parameters
    ----------
    values : ndarray of shape (n, n_columns)
        Numbers and codes.
    observed : ndarray of bool, shape (n, n_columns)
    levels : ndarray of bool, shape (n_columns,)
        Which columns hold codes.
    fraction : float
    random : RandomState

    Returns
    -------
    ndarray of int
    """
    n = len(values)
    order = random.permutation(n)
    kept = np.zeros(n, dtype=bool)
    kept[order[: max(1, round(fraction * n))]] = True
    for column, seen, coded in zip(values.T, observed.T, levels, strict=True):
        shown = order[seen[order]]  # where it is observed, the kept rows first
        if not shown.size:
            continue
        cells = column[shown]
        # Of numbers it is enough that one differs from the first.
        groups = cells if coded else cells != cells[0]
        kept[shown[np.unique(groups, return_index=True)[1]]] = True
    return np.flatnonzero(kept)


def _settings(estimator: Any) -> dict[str, Any]:
    """What a copy is told beyond the estimator's parameters."""
    params = estimator.get_params(deep=False)
    changes: dict[str, Any] = {"verbose": False, "checkpoint": None}
    if estimator._latent.model.encoder is not None:
        # All fits start at the axes of the same linear model. Where they agree in spite of another
        # start they have learnt it; a linear model has no more than its start.
        changes["rotation"] = "random"
    n_components = params["n_components"]
    if n_components is None or isinstance(n_components, str | Integral):
        changes["n_components"] = estimator.n_components_
    # Whole numbers are counts or not by their spread, which differs between parts of the rows.
    kinds = {
        column.name: column.kind
        for column in estimator._codec.columns
        if column.status == "modelled" and column.integer and not column.is_discrete
    }
    changes["column_types"] = {**kinds, **(params["column_types"] or {})}
    return changes


def _take(table: Table, rows: np.ndarray) -> Any:
    return table.data.iloc[rows] if table.is_frame else table.data[rows]


@contextmanager
def _named(number: int, n_refits: int, n_rows: int, n: int) -> Iterator[None]:
    """Say in what an error tells which refit it comes from."""
    try:
        yield
    except (ValueError, TypeError) as error:
        remedy = "" if n_rows == n else " fraction=1.0 lets every refit see all rows."
        raise ValueError(
            f"Refit {number + 1} of {n_refits}, on {n_rows} of {n} rows, failed: {error}{remedy}"
        ) from error


@contextmanager
def said_once() -> Iterator[None]:
    """Pass on warnings that differ in more than their numbers, each once, at the end."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    passed = set()
    for one in caught:
        kind = (one.category, re.sub(r"\d+", "0", str(one.message)))
        if kind not in passed:
            passed.add(kind)
            warnings.warn(f"In refits: {one.message}", one.category, stacklevel=4)
