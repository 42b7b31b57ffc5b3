"""Held-out labels decide how far to trust each source of class probabilities."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar

# Probabilities below this are the opinion of nobody.
FLOOR = 1e-6
# Temperatures lie within a factor of e to this power.
LOG_TEMPERATURE_RANGE = 2.0
# Labels in favour of leaving probabilities as they are.
TEMPERATURE_PULL = 3.0


def mixture_weights(
    probabilities: np.ndarray,
    codes: np.ndarray,
    weight: np.ndarray,
    prior: np.ndarray,
    n_iter: int = 300,
) -> np.ndarray:
    """Convex weights of several classifiers that make held-out labels most likely.

    The mixture proportions' maximum a posteriori by expectation maximisation: stacking (Wolpert
    1992) with the logarithmic score.

    Parameters
    ----------
    probabilities : ndarray of shape (n_sources, n, n_classes)
        Of held-out rows.
    codes : ndarray of int, shape (n,)
        Their labels.
    weight : ndarray of shape (n,)
    prior : ndarray of shape (n_sources,)
        Labels that each source is granted before it is looked at.

    Returns
    -------
    ndarray of shape (n_sources,)
        Summing to one.
    """
    each = np.maximum(probabilities[:, np.arange(len(codes)), codes], FLOOR)
    share = prior / prior.sum()
    for _ in range(n_iter):
        joint = share[:, None] * each
        share = (joint / joint.sum(axis=0) * weight).sum(axis=1) + prior
        share /= share.sum()
    return share


def temperature(probabilities: np.ndarray, codes: np.ndarray, weight: np.ndarray) -> float:
    """The power that calibrates probabilities (n, C) on held-out labels (Guo et al. 2017)."""
    log_p = np.log(np.maximum(probabilities, FLOOR))

    def loss(log_power: float) -> float:
        logits = np.exp(log_power) * log_p
        top = logits.max(axis=1)
        log_norm = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
        fit = weight @ (log_norm - logits[np.arange(len(codes)), codes])
        return float(fit + TEMPERATURE_PULL * log_power**2)

    bounds = (-LOG_TEMPERATURE_RANGE, LOG_TEMPERATURE_RANGE)
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def sharpen(probabilities: np.ndarray, power: float) -> np.ndarray:
    """Probabilities (n, C) to a power, rows summing to one."""
    raised = np.maximum(probabilities, FLOOR) ** power
    return raised / raised.sum(axis=1, keepdims=True)


def reweigh(probabilities: np.ndarray, odds: np.ndarray) -> np.ndarray:
    """Probabilities (n, C) times class odds (C,), rows summing to one."""
    raised = np.maximum(probabilities, FLOOR * FLOOR) * odds
    return raised / raised.sum(axis=1, keepdims=True)


def shifted_prior(
    probabilities: np.ndarray,
    prior: np.ndarray,
    weight: np.ndarray,
    strength: float,
    n_iter: int = 500,
    tol: float = 1e-6,
) -> np.ndarray:
    """Class frequencies among rows, from probabilities that assume others.

    Expectation maximisation of Saerens, Latinne and Decaestecker (2002), with a Dirichlet prior.

    Parameters
    ----------
    probabilities : ndarray of shape (n, n_classes)
    prior : ndarray of shape (n_classes,)
        What the probabilities assume.
    weight : ndarray of shape (n,)
    strength : float
        Rows that speak for `prior`.

    Returns
    -------
    ndarray of shape (n_classes,)
    """
    ratio = np.maximum(probabilities, FLOOR) / prior
    current = prior
    for _ in range(n_iter):
        joint = ratio * current
        joint /= joint.sum(axis=1, keepdims=True)
        new = weight @ joint + strength * prior
        new /= new.sum()
        if np.abs(new - current).max() < tol:
            return new
        current = new
    return current
