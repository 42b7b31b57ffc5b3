"""Held-out entries decide, column by column, how far to trust each source of predictions."""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls


def stack_weights(
    predictions: np.ndarray,
    truth: np.ndarray,
    held_out: np.ndarray,
    stat_columns: np.ndarray,
    sample_weight: np.ndarray,
    strength: float = 30.0,
) -> np.ndarray:
    """Convex weights of several predictors, per column (stacking, Wolpert 1992; Breiman 1996).

    Non-negative least squares on held-out entries; numbers by squared error in standard
    deviations, categories by Brier score. Columns with few held-out entries lean on the weights
    that are best for the whole table, and these on equal ones.

    Parameters
    ----------
    predictions : ndarray of shape (n_sources, n, n_statistics)
    truth : ndarray of shape (n, n_statistics)
    held_out : bool ndarray of shape (n, n_columns)
    stat_columns : ndarray of int, shape (n_statistics,)
    sample_weight : ndarray of shape (n,)
    strength : float, default=30
        How many held-out entries the weights of the whole table count for.

    Returns
    -------
    ndarray of shape (n_sources, n_columns)
        Sums to one over sources.
    """
    n_sources, n_columns = len(predictions), held_out.shape[1]
    designs, answers = [], []
    for j in range(n_columns):
        rows, stats = held_out[:, j], np.flatnonzero(stat_columns == j)
        root = np.sqrt(sample_weight[rows])[:, None] / np.sqrt(max(len(stats) / 2, 1.0))
        own = predictions[:, rows][:, :, stats] * root
        designs.append(own.reshape(n_sources, -1).T)
        answers.append((truth[rows][:, stats] * root).ravel())
    equal = np.full(n_sources, 1 / n_sources)
    whole = _convex(np.concatenate(designs), np.concatenate(answers), equal, strength)
    weights = [_convex(d, a, whole, strength) for d, a in zip(designs, answers, strict=True)]
    return np.stack(weights, axis=1)


def _convex(
    design: np.ndarray, answer: np.ndarray, prior: np.ndarray, strength: float
) -> np.ndarray:
    """Least squares over the simplex, with `strength` pseudo-entries in favour of `prior`."""
    m = len(prior)
    if not len(answer):
        return prior
    variance = max(float(np.mean((answer - design @ prior) ** 2)), 1e-12)
    # Sources agree far more than their errors are large; the penalty is on what they disagree in.
    pull = np.sqrt(strength * variance) * np.eye(m)
    total = 1e3 * (np.sqrt(np.mean(answer**2) * len(answer)) + 1.0) * np.ones((1, m))
    stacked = np.vstack([design, pull, total])
    weights = nnls(stacked, np.concatenate([answer, pull @ prior, total[0, :1]]))[0]
    return weights / weights.sum() if weights.sum() > 0 else prior
