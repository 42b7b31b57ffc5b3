"""Intervals whose width held-out entries have checked."""

from __future__ import annotations

from copy import copy

import numpy as np
from scipy.special import ndtri

# Held-out entries of a column that weigh as much as what all columns say together.
SHRINKAGE = 50.0


class ErrorCalibration:
    """Quantiles of standardised held-out errors, by column and over all columns.

    A conformal correction (Vovk et al. 2005; normalised by the model's own standard deviation, Lei
    et al. 2018): whatever the model believes, intervals cover held-out entries as often as asked.

    Parameters
    ----------
    error : ndarray of shape (n, p)
    variance : ndarray of shape (n, p)
    held_out : bool ndarray of shape (n, p)
    numeric : bool ndarray of shape (p,)
        Columns whose errors mean something.

    Attributes
    ----------
    inflation : ndarray of shape (p,)
        Root mean square of the standardised errors: above one where the model is too sure.
    """

    def __init__(
        self, error: np.ndarray, variance: np.ndarray, held_out: np.ndarray, numeric: np.ndarray
    ) -> None:
        ratio = error / np.sqrt(np.maximum(variance, 1e-12))
        usable = held_out & np.isfinite(ratio)
        self._by_column = [
            np.sort(ratio[usable[:, j], j]) if numeric[j] else np.empty(0)
            for j in range(len(numeric))
        ]
        # Single entries with a huge ratio would spread over all columns.
        inflation = np.array([_rms(r) for r in self._by_column])
        counts = np.array([len(r) for r in self._by_column])
        common = np.exp(np.average(np.log(inflation), weights=counts)) if counts.any() else 1.0
        mixed = (counts * inflation + SHRINKAGE * common) / (counts + SHRINKAGE)
        self.inflation = np.clip(mixed, 0.2, 5.0)
        pooled = [r / s for r, s in zip(self._by_column, mixed, strict=True)]
        self._pooled = np.concatenate([*pooled, np.empty(0)])
        self._scale = mixed

    def uninflated(self) -> ErrorCalibration:
        """The same, for draws as wide as the model has them."""
        plain = copy(self)
        plain.inflation = np.ones_like(self.inflation)
        return plain

    def bounds(self, coverage: float) -> tuple[np.ndarray, np.ndarray]:
        """How many standard deviations to go down and up, both of shape (p,)."""
        levels = [0.5 * (1 - coverage), 0.5 * (1 + coverage)]
        shared = _quantiles(self._pooled, levels) if len(self._pooled) else ndtri(levels)
        down, up = np.empty(len(self._by_column)), np.empty(len(self._by_column))
        for j, ratios in enumerate(self._by_column):
            whole, n = shared * self._scale[j], len(ratios)
            own = _quantiles(ratios, levels) if n else whole
            down[j], up[j] = (n * own + SHRINKAGE * whole) / (n + SHRINKAGE)
        return np.minimum(down, 0.0), np.maximum(up, 0.0)


def _quantiles(ratios: np.ndarray, levels: list[float]) -> np.ndarray:
    # One more error is as likely to fall between any two of n: levels are in units of n + 1.
    return np.quantile(ratios, levels, method="weibull")


def _rms(ratios: np.ndarray) -> float:
    # Never zero: a column without any error still has a logarithm.
    return max(float(np.sqrt(np.mean(np.minimum(ratios**2, 25.0)))), 1e-6) if len(ratios) else 1.0
