"""Numbers and codes of a table in the units in which models work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from skvae.models.start import FeatureSpec
from skvae.tabular.schema import Column

LINKS = {"positive": np.log, "count": np.log1p}
# Of the standard deviation in half ranges, should one row outweigh all others.
SMALLEST_SCALE = 1e-8
# Generative targets beyond these have no square, or no logarithm, in single precision.
LARGEST_SCORE, LARGEST_RATIO = 1e15, 1e30
LARGEST, SMALLEST = float(np.finfo(np.float64).max), float(np.finfo(np.float64).smallest_subnormal)
# Beyond so many different values the gaps between them matter little, and a column is continuous.
MOST_LEVELS = 4096


class TableScaler:
    """Features, generative targets and regression targets of the modelled columns.

    ==============  ==================  ====================  =================
    kind            feature             generative target     regression target
    ==============  ==================  ====================  =================
    continuous      z-score             z-score               z-score
    positive        z-score of log x    x / geometric mean    z-score
    count           z-score of log1p x  x                     z-score
    binary          z-score of code     code                  code
    ordinal         z-score of code     code                  code
    categorical     indicator z-scores  code                  code
    ==============  ==================  ====================  =================

    Attributes
    ----------
    specs : tuple of FeatureSpec
        One per column.
    feature_columns : ndarray of int, shape (n_features,)
    numeric : ndarray of bool, shape (n_columns,)
    mean, scale : ndarray of float, shape (n_columns,)
        Of the raw numbers; 0 and 1 for coded columns.
    levels : tuple of ndarray
        The different values of each column of numbers that repeat, ascending; else empty.
    """

    def fit(
        self,
        values: np.ndarray,
        observed: np.ndarray,
        columns: Sequence[Column],
        sample_weight: np.ndarray | None = None,
    ) -> TableScaler:
        """Learn locations and scales from the observed entries of `values` (n, p)."""
        self.names = tuple(column.name for column in columns)
        self.kinds = tuple(column.kind for column in columns)
        self.n_categories = tuple(column.n_categories for column in columns)
        self.numeric = np.array([not column.is_discrete for column in columns], dtype=bool)
        p = len(columns)
        self.mean, self.scale = np.zeros(p), np.ones(p)
        self.low, self.high = np.zeros(p), np.zeros(p)
        levels = [np.empty(0)] * p
        specs: list[FeatureSpec] = []
        owners: list[int] = []
        weight = np.ones(len(values)) if sample_weight is None else sample_weight
        for j, kind in enumerate(self.kinds):
            seen = observed[:, j]
            x, w = values[seen, j], weight[seen]
            if self.numeric[j]:
                self.mean[j], self.scale[j] = _moments(x, w)
                self.low[j], self.high[j] = x.min(), x.max()
                levels[j] = repeated_levels(x)
            location, scale = _moments(LINKS[kind](x) if kind in LINKS else x, w)
            n_categories = self.n_categories[j]
            frequency: tuple[float, ...] = ()
            if not self.numeric[j]:
                counts = np.bincount(x.astype(int), weights=w, minlength=n_categories)
                frequency = tuple(counts / counts.sum())
            width = n_categories if kind == "categorical" else 1
            at = slice(len(owners), len(owners) + width)
            owners.extend([j] * width)
            offset = -location if kind == "positive" else 0.0
            specs.append(FeatureSpec(at, location, scale, offset, frequency))
        self.specs, self.levels = tuple(specs), tuple(levels)
        self.feature_columns = np.array(owners, dtype=np.int64)
        return self

    def features(self, values: np.ndarray, observed: np.ndarray) -> np.ndarray:
        """Standardised features, float32 of shape (n, n_features), 0 where not observed."""
        out = np.empty((len(values), len(self.feature_columns)), dtype=np.float32)
        for j, (kind, spec) in enumerate(zip(self.kinds, self.specs, strict=True)):
            seen, x = observed[:, j], values[:, j]
            if kind == "categorical":
                p = np.asarray(spec.probabilities)
                hit = x[:, None] == np.arange(len(p))
                scores = (hit - p) / np.sqrt(np.maximum(p * (1 - p), 1e-4))
                out[:, spec.features] = np.where(seen[:, None], scores, 0.0)
                continue
            if kind in LINKS:
                x = LINKS[kind](np.where(seen, x, 1.0))
            scores = standardised(x, spec.location, spec.scale)
            out[:, spec.features.start] = np.where(seen, scores, 0.0)
        return out

    def targets(self, values: np.ndarray, observed: np.ndarray) -> np.ndarray:
        """Generative targets, float32 of shape (n, n_columns); see the class.

        Raises
        ------
        ValueError
            If a value is too far from those seen at fit for single precision.
        """
        with np.errstate(over="ignore"):
            targets = np.where(observed, standardised(values, self._shift, self._unit), 1.0)
        kinds = np.array(self.kinds)
        size = np.abs(targets)
        strange = size > np.where(kinds == "continuous", LARGEST_SCORE, LARGEST_RATIO)
        strange |= (size < 1 / LARGEST_RATIO) & (kinds == "positive")
        if strange.any():
            self._refuse(values, strange)
        return targets.astype(np.float32)

    def _refuse(self, values: np.ndarray, strange: np.ndarray) -> None:
        j = int(np.flatnonzero(strange.any(axis=0))[0])
        low, high = self.low[j], self.high[j]
        raise ValueError(
            f"Column {self.names[j]!r} holds {values[strange[:, j], j][0]:g}, which single "
            f"precision cannot model: the column was fitted as {self.kinds[j]!r} on values from "
            f"{low:g} to {high:g}. Correct the value or make it absent (NaN); if it is right, fit "
            "on the column's logarithm or ranks instead."
        )

    def regression_targets(self, values: np.ndarray, observed: np.ndarray) -> np.ndarray:
        """Regression targets, float32 of shape (n, n_columns); see the class."""
        scores = standardised(values, self.mean, self.scale)
        return np.where(observed, scores, 0.0).astype(np.float32)

    @property
    def _shift(self) -> np.ndarray:
        return np.where([kind == "continuous" for kind in self.kinds], self.mean, 0.0)

    @property
    def _unit(self) -> np.ndarray:
        unit = np.ones(len(self.kinds))
        for j, (kind, spec) in enumerate(zip(self.kinds, self.specs, strict=True)):
            if kind == "continuous":
                unit[j] = self.scale[j]
            elif kind == "positive":
                unit[j] = np.exp(spec.location)
        return unit

    def from_targets(self, targets: np.ndarray) -> np.ndarray:
        """Raw numbers and codes from generative targets (..., n_columns), none infinite."""
        with np.errstate(over="ignore"):
            return np.clip(targets * self._unit + self._shift, -LARGEST, LARGEST)

    @property
    def regression_from_targets(self) -> tuple[np.ndarray, np.ndarray]:
        """Slope and intercept, per column, from generative to regression units."""
        return self._unit / self.scale, (self._shift - self.mean) / self.scale

    @property
    def log_jacobian(self) -> np.ndarray:
        """``log |d target / d x|`` per column: add it for densities in the units of the table."""
        return -np.log(self._unit)

    def log_jacobians(self, observed: np.ndarray) -> np.ndarray:
        """Of every row, over what is observed of it, bool (n, p); shape (n,)."""
        return np.where(observed, self.log_jacobian, 0.0).sum(axis=1)


def standardised(x: np.ndarray, location: Any, scale: Any) -> np.ndarray:
    """``(x - location) / scale``, also of numbers further apart than any number is large."""
    with np.errstate(over="ignore", invalid="ignore"):
        away = x - location
        scores = away / scale
        far = np.isinf(away)
        return np.where(far, x / scale - location / scale, scores) if far.any() else scores


def repeated_levels(x: np.ndarray) -> np.ndarray:
    """The different values of `x` (n,) where most hidden ones are among them; else none.

    The share of entries whose value occurs only once estimates the probability that another one
    is new (Good 1953). Readings on a scale and amounts that are often zero repeat; measurements
    that coincide by chance, when rounded, seldom do.
    """
    levels, counts = np.unique(x, return_counts=True)
    repeat = 2 * (counts == 1).sum() < len(x) and len(levels) <= MOST_LEVELS
    return levels if repeat else np.empty(0)


def _moments(x: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """Weighted mean and standard deviation, the latter 1 for a constant."""
    low, high = float(x.min()), float(x.max())
    middle, half = 0.5 * low + 0.5 * high, 0.5 * high - 0.5 * low
    if half <= 0:
        return low, 1.0
    # In units of half the range nothing overflows, cancels or vanishes.
    y = (x - middle) / half
    weight = weight / weight.max()
    weight = weight / weight.sum()
    mean = float(weight @ y)
    scale = max(float(np.sqrt(weight @ (y - mean) ** 2)), SMALLEST_SCALE)
    # Among the smallest numbers there are, a scale must not vanish.
    return mean * half + middle, max(scale * half, SMALLEST)
