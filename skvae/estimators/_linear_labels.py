"""The linear start of a classifier: logistic regression, its strength by held-out labels."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

# Inverse strengths of the ridge to choose from.
STRENGTHS = (0.01, 0.1, 1.0)
# Labelled rows that decide on the strength, and that the start learns from.
MOST_DECIDING, MOST_LEARNING = 1000, 4000


def linear_start(
    vectors: np.ndarray,
    codes: np.ndarray,
    fold: np.ndarray,
    weight: np.ndarray,
    random: np.random.RandomState,
) -> tuple[np.ndarray, np.ndarray]:
    """One regression for each fold, without its labels, and one with all.

    Parameters
    ----------
    vectors : ndarray of shape (n, width)
        Of labelled rows.
    codes : ndarray of int, shape (n,)
    fold : ndarray of int, shape (n,)
    weight : ndarray of shape (n,)
    random : RandomState

    Returns
    -------
    coefficients : ndarray of shape (n_folds + 1, width, n_classes)
        Those of all labels last.
    intercepts : ndarray of shape (n_folds + 1, n_classes)
    """
    n_classes = int(codes.max()) + 1
    n_folds = max(int(fold.max()) + 1, 1)  # without labels to hold out, one that sees them all
    some = random.permutation(len(codes))[:MOST_LEARNING]
    # Every class stays, however few its labels.
    first = np.unique(codes, return_index=True)[1]
    some = np.union1d(some, first)
    vectors, codes, fold, weight = vectors[some], codes[some], fold[some], weight[some]
    few = random.permutation(len(codes))[:MOST_DECIDING]
    few = np.union1d(few, np.unique(codes, return_index=True)[1])
    best, best_score = STRENGTHS[-1], -np.inf
    for strength in STRENGTHS:
        fits = _fits(vectors[few], codes[few], fold[few], weight[few], strength, n_folds, n_classes)
        score = _held_out(fits, vectors[few], codes[few], fold[few], weight[few])
        if score > best_score:
            best, best_score = strength, score
    fits = _fits(vectors, codes, fold, weight, best, n_folds, n_classes)
    fits.append(_fit(vectors, codes, weight, best, n_classes))
    return np.stack([w for w, _ in fits]), np.stack([b for _, b in fits])


def _fits(
    vectors: np.ndarray,
    codes: np.ndarray,
    fold: np.ndarray,
    weight: np.ndarray,
    strength: float,
    n_folds: int,
    n_classes: int,
) -> list[tuple[np.ndarray, np.ndarray]]:
    return [
        _fit(vectors[fold != f], codes[fold != f], weight[fold != f], strength, n_classes)
        for f in range(n_folds)
    ]


def _fit(
    vectors: np.ndarray, codes: np.ndarray, weight: np.ndarray, strength: float, n_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients (width, n_classes) and intercepts; log-odds of absent classes are low."""
    present = np.unique(codes)
    coefficients = np.zeros((vectors.shape[1], n_classes))
    intercepts = np.full(n_classes, -10.0)
    if len(present) == 1:
        intercepts[present] = 0.0
        return coefficients, intercepts
    regression = LogisticRegression(C=strength, max_iter=1000, tol=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is a start
        regression.fit(vectors, codes, sample_weight=weight)
    w, b = regression.coef_.T, regression.intercept_
    if len(present) == 2:  # one set of log-odds for two classes
        w, b = np.hstack([-0.5 * w, 0.5 * w]), np.array([-0.5 * b[0], 0.5 * b[0]])
    coefficients[:, present], intercepts[present] = w, b
    return coefficients, intercepts


def _held_out(
    fits: list[tuple[np.ndarray, np.ndarray]],
    vectors: np.ndarray,
    codes: np.ndarray,
    fold: np.ndarray,
    weight: np.ndarray,
) -> float:
    """Log-likelihood of the labels under the regressions that did without them."""
    total = 0.0
    for f, (w, b) in enumerate(fits):
        mine = fold == f
        logits = vectors[mine] @ w + b
        logits -= logits.max(axis=1, keepdims=True)
        log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        total += float(weight[mine] @ log_p[np.arange(mine.sum()), codes[mine]])
    return total
