"""How far out values lie: tail probabilities of columns and of scores, from training rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Beyond this quantile of the training scores their tail is taken for exponential.
TAIL_START = 0.95
# Scores this close, in units of their typical size, are tied: rounding tells such rows apart.
TIED = 1e-4
# The same, of what rounding can do to a score.
HAIR = 1e-5


class MarginalTails:
    """Surprise of every row's entries, each column by itself.

    An entry's surprise is ``-log`` of the empirical probability of a value at least as far out, in
    the left tail, in the right tail, or in the one that the column's skewness says is the long
    one; a row's is the largest of the three sums (Li et al. 2022, ECOD). For levels without an
    order, "as far out" means no more frequent. Nothing about columns together is known here, which
    is what makes it robust: outliers cannot hide each other.

    Parameters
    ----------
    values : ndarray of shape (n, p)
        Encoded training rows.
    observed : bool ndarray of shape (n, p)
    nominal : sequence of bool
        Which columns hold levels without an order.
    weight : ndarray of shape (n,)

    Attributes
    ----------
    rare : float
        Surprise of a value that no training row has.
    """

    def __init__(
        self,
        values: np.ndarray,
        observed: np.ndarray,
        nominal: Sequence[bool],
        weight: np.ndarray,
    ) -> None:
        # A training row more or less is what the smallest probabilities cannot tell.
        self.rare = float(np.log(2 * len(weight) + 1))
        self._columns = []
        for j, by_level in enumerate(nominal):
            seen = observed[:, j]
            self._columns.append(_Tails.fit(values[seen, j], weight[seen], by_level, self.rare))
        surprise = self._surprise(values, observed)
        # What an entry says on average: absent ones count as much.
        total = (weight[:, None] * observed).sum(axis=0)
        self._mean = (surprise * weight[:, None] * observed).sum(axis=1) / np.maximum(total, 1e-300)

    def score(self, values: np.ndarray, observed: np.ndarray) -> np.ndarray:
        """Surprise of encoded rows (n, p) in nats, shape (n,)."""
        surprise = np.where(observed, self._surprise(values, observed), self._mean[:, None])
        return surprise.sum(axis=2).max(axis=0)

    def _surprise(self, values: np.ndarray, observed: np.ndarray) -> np.ndarray:
        """By tail (left, right, long), row and column: shape (3, n, p)."""
        out = np.zeros((3, *values.shape))
        for j, column in enumerate(self._columns):
            out[:, :, j] = np.where(observed[:, j], column.surprise(values[:, j]), 0.0)
        return out


@dataclass(frozen=True, eq=False)
class _Tails:
    """One column: sorted distinct values, and the surprise of each to the left and right."""

    points: np.ndarray
    below: np.ndarray  # probability of values before the i-th point, i = 0, ..., n
    rare: float
    long_left: bool
    by_level: np.ndarray | None = None

    @classmethod
    def fit(cls, x: np.ndarray, weight: np.ndarray, nominal: bool, rare: float) -> _Tails:
        points, place = np.unique(x, return_inverse=True)
        mass = np.bincount(place, weights=weight, minlength=len(points))
        mass = mass / max(mass.sum(), 1e-300)
        below = np.concatenate([[0.0], np.cumsum(mass)])
        by_level = None
        if nominal:
            no_more = mass[None, :] <= mass[:, None] * (1 + 1e-9)
            by_level = np.minimum(-np.log((no_more * mass).sum(axis=1).clip(1e-300)), rare)
        half = 0.5 * points  # whose differences never overflow
        centre = half - mass @ half if len(points) else points
        centre = centre / max(np.abs(centre).max(initial=0.0), 1e-300)  # cubes must not overflow
        return cls(points, below, rare, bool(mass @ centre**3 < 0), by_level)

    def surprise(self, x: np.ndarray) -> np.ndarray:
        """Left, right and long tail, shape (3, n)."""
        first = np.searchsorted(self.points, x, "left")
        last = np.searchsorted(self.points, x, "right")
        if self.by_level is not None:
            at = np.minimum(first, len(self.points) - 1)
            known = np.where(first < last, self.by_level[at], self.rare)
            return np.stack([known] * 3)
        left = self._nats(self.below[last])
        right = self._nats(1 - self.below[first])
        return np.stack([left, right, left if self.long_left else right])

    def _nats(self, probability: np.ndarray) -> np.ndarray:
        return -np.log(np.maximum(probability, np.exp(-self.rare)))


@dataclass(frozen=True, eq=False)
class ScoreTail:
    """``-log`` of the probability that a training row scores at least as high.

    Empirical up to a high quantile, with straight lines between training scores, and exponential
    beyond, where training rows are too few to count: there, surprise grows in a straight line (the
    peaks over a threshold of Pickands 1975, without a shape parameter), so that no two rows far
    out are tied.

    Attributes
    ----------
    points, nats : ndarray of shape (n,)
        Distinct training scores up to the threshold, the last one, and their surprise.
    scale : float
        Mean excess over the threshold.
    """

    points: np.ndarray
    nats: np.ndarray
    scale: float

    @classmethod
    def fit(cls, scores: np.ndarray, weight: np.ndarray) -> ScoreTail:
        """From training scores, large where rows are odd."""
        unit = TIED * max(float(np.median(np.abs(scores))), 1.0)
        points, place = np.unique(np.round(scores / unit) * unit, return_inverse=True)
        mass = np.bincount(place, weights=weight) / weight.sum()
        below = np.cumsum(mass)
        last = min(int(np.searchsorted(below, TAIL_START)), len(points) - 1)
        # Of a tie half lies above, so that tied scores do not look far out.
        above = np.maximum(1 - below + 0.5 * mass, 0.5 * mass)
        far = slice(last, None)
        excess = mass[far] @ (points[far] - points[last]) / mass[far].sum()
        smallest = 1e-9 * max(float(np.abs(points).max()), 1.0)
        return cls(points[: last + 1], -np.log(above[: last + 1]), max(float(excess), smallest))

    def surprise(self, scores: np.ndarray) -> np.ndarray:
        """In nats, shape (n,)."""
        near = np.interp(scores, self.points, self.nats)
        return near + np.maximum(scores - self.points[-1], 0.0) / self.scale


def weighted_quantiles(
    values: np.ndarray, weight: np.ndarray, levels: Sequence[float]
) -> np.ndarray:
    """The smallest values below or at which so much of the weight lies."""
    order, below = _weight_below(values, weight)
    return values[order][np.minimum(np.searchsorted(below, levels), len(values) - 1)]


def smallest_above(values: np.ndarray, weight: np.ndarray, share: float) -> float:
    """A number below which `share` of the weight lies, or less where values are tied.

    A hair less than the next value: rounding then never takes that one below.
    """
    order, below = _weight_below(values, weight)
    n = int(np.searchsorted(below, share * (1 + 1e-9), side="right"))
    value = values[order][min(n, len(values) - 1)]
    gap = value - np.max(values, where=values < value, initial=-np.inf)
    return float(value - min(0.5 * gap, HAIR * max(abs(value), 1.0)))


def lowest(values: np.ndarray, weight: np.ndarray, share: float) -> np.ndarray:
    """Places of the lowest values that have `share` of the weight, in order."""
    order, below = _weight_below(values, weight)
    return np.sort(order[: int(np.searchsorted(below, share * (1 - 1e-9))) + 1])


def _weight_below(values: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places of values from low to high, and the share of the weight up to each."""
    order = np.argsort(values, kind="stable")
    return order, np.cumsum(weight[order]) / weight.sum()
