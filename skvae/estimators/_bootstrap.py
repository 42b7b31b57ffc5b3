"""Models of the same table from resampled rows: what a fit would have been with other rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from skvae.estimators._prediction import TablePredictor


def bootstrap_counts(
    values: np.ndarray, observed: np.ndarray, random: np.random.RandomState
) -> np.ndarray:
    """How often a sample of rows with replacement (Efron 1979) has each row, shape (n,).

    Two rows that differ in it are added for a column that varies, but not in the sample.
    """
    n = len(values)
    counts = np.bincount(random.randint(n, size=n), minlength=n)
    lost = _varies(values, observed) & ~_varies(values, observed & (counts > 0)[:, None])
    for j in np.flatnonzero(lost):
        held = np.flatnonzero(observed[:, j])
        one = random.choice(held)
        other = random.choice(held[values[held, j] != values[one, j]])
        counts[[one, other]] = np.maximum(counts[[one, other]], 1)
    return counts


def _varies(values: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Which columns have two observed values that differ."""
    high = np.where(observed, values, -np.inf).max(axis=0)
    return high > np.where(observed, values, np.inf).min(axis=0)


def draws_of_all(
    predictors: Sequence[TablePredictor],
    values: np.ndarray,
    observed: np.ndarray,
    n_draws: int,
    random: np.random.RandomState,
) -> Iterator[np.ndarray]:
    """Filled tables from each model in turn."""
    shares = np.bincount(np.arange(n_draws) % len(predictors), minlength=len(predictors))
    sources = [
        predictor.draws(values, observed, int(share), random)
        for predictor, share in zip(predictors, shares, strict=True)
    ]
    for place in range(n_draws):
        yield next(sources[place % len(sources)])
