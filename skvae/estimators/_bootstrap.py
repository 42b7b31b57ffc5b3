"""Models of the same table from resampled rows: what a fit would have been with other rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from skvae.estimators._prediction import TablePredictor

# Times that rows are drawn until every column keeps two values that differ.
TRIES = 100


def bootstrap_counts(
    values: np.ndarray,
    observed: np.ndarray,
    weight: np.ndarray,
    names: Sequence[object],
    random: np.random.RandomState,
) -> np.ndarray:
    """How often a sample of rows with replacement (Efron 1979) has each row, shape (n,).

    Every column that varies varies in the sample too.

    Raises
    ------
    ValueError
        If next to no sample has two values of some column.
    """
    n = len(weight)
    varies = _varies(values, observed, weight > 0)
    lost = varies
    for _ in range(TRIES):
        counts = np.bincount(random.randint(n, size=n), minlength=n)
        lost = varies & ~_varies(values, observed, (counts > 0) & (weight > 0))
        if not lost.any():
            return counts
    name = names[int(np.flatnonzero(lost)[0])]
    raise ValueError(
        f"Samples of the rows keep no two values of column {name!r} that differ, so that models "
        "from samples cannot be fitted. Drop the column or set n_estimators=1."
    )


def _varies(values: np.ndarray, observed: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Which columns have two observed values that differ among some rows."""
    seen = observed & rows[:, None]
    high = np.where(seen, values, -np.inf).max(axis=0)
    return high > np.where(seen, values, np.inf).min(axis=0)


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
