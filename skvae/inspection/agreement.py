"""Whether two sets of latents are the same ones: matched and canonical correlations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.stats import rankdata
from sklearn.utils import check_array

METHODS = ("pearson", "spearman")
# Deviation of a column, relative to its largest number, below which it is constant.
CONSTANT = 1e-10
# Relative size of a singular value below which a direction is no direction.
NO_DIRECTION = 1e-8
# Random rotations behind the level of chance, their numbers in all, and means of some of them.
FEWEST_ROTATIONS, MOST_ROTATIONS, MOST_TURNED, N_MEANS = 10, 2000, 2_000_000, 20_000
# Share of sets of latents turned at random of which one looks as if it had come back.
MISTAKEN = 0.01


@dataclass(frozen=True, eq=False)
class LatentMatching:
    """Which latent of one array is which of another, see `match_latents`.

    Attributes
    ----------
    correlations : ndarray of shape (k1, k2)
        Absolute correlations between all columns; 0 for constant ones.
    rows, columns : ndarray of int, shape (min(k1, k2),)
        Matched columns of the first and of the second array.
    matched : ndarray of shape (min(k1, k2),)
        Absolute correlations of the pairs.
    """

    correlations: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    matched: np.ndarray

    @property
    def mean(self) -> float:
        """Mean over the pairs: the MCC."""
        return float(self.matched.mean())


def match_latents(Z: Any, other: Any, *, method: str = "pearson") -> LatentMatching:
    """Match columns one to one, so that the sum of their absolute correlations is largest.

    Parameters
    ----------
    Z : array-like of shape (n_samples, k1)
    other : array-like of shape (n_samples, k2)
        Latents of the same rows.
    method : {"pearson", "spearman"}, default="pearson"
        Spearman's correlations are those of ranks: a latent may then be bent monotonically.

    Returns
    -------
    LatentMatching

    Raises
    ------
    ValueError
        If the arrays hold no finite numbers, differ in length, or `method` is unknown.

    Notes
    -----
    The Hungarian algorithm finds the pairs. Where ``k1`` and ``k2`` differ, the columns that are
    left over are in no pair.

    Examples
    --------
    >>> import numpy as np
    >>> from skvae.inspection import match_latents
    >>> Z = np.random.default_rng(0).normal(size=(100, 2))
    >>> match_latents(Z, -3 * Z[:, ::-1]).columns
    array([1, 0])
    """
    Z, other = check_latents(Z, other, "other")
    if method not in METHODS:
        raise ValueError(f"method must be 'pearson' or 'spearman', got {method!r}.")
    if method == "spearman":
        Z, other = rankdata(Z, axis=0), rankdata(other, axis=0)
    correlations = np.clip(np.abs(_standardised(Z).T @ _standardised(other)), 0.0, 1.0)
    rows, columns = linear_sum_assignment(correlations, maximize=True)
    return LatentMatching(correlations, rows, columns, correlations[rows, columns])


def mean_correlation_coefficient(
    Z: Any, truth: Any, *, method: str = "pearson", linear: bool = False
) -> float:
    """How well latents are known up to order, sign and scale, or up to a linear map: the MCC.

    Parameters
    ----------
    Z : array-like of shape (n_samples, k1)
        Latents, such as `VAETransformer.transform` returns.
    truth : array-like of shape (n_samples, k2)
        The true ones of the same rows, or those of another fit.
    method : {"pearson", "spearman"}, default="pearson"
        Of the correlations of matched columns; without effect where `linear`.
    linear : bool, default=False
        Whether any linear map is allowed, rather than order, sign and scale only.

    Returns
    -------
    float
        From 0 to 1.

    Raises
    ------
    ValueError
        If the arrays hold no finite numbers, differ in length or, for linear maps, have too few
        rows; or if `method` is unknown.

    Notes
    -----
    Columns are matched one to one by `match_latents`; the result is the mean of their absolute
    correlations [1]_. It is 1 where latents are identified up to order, sign and scale. Where only
    their space is, the mean of the canonical correlations is 1 [2]_: they are the correlations
    after the best linear maps of both sides. Where ``k1`` and ``k2`` differ, means are over the
    smaller of them. Constant columns count as 0.

    Few latents correlate by chance: axes of the very same space, turned at random, have a mean of
    0.90 with two latents, 0.83 with three and 0.59 with ten. Canonical correlations of noise are
    about ``sqrt((k1 + k2) / n_samples)`` and less.

    References
    ----------
    .. [1] Hyvarinen and Morioka (2016), Unsupervised Feature Extraction by Time-Contrastive
       Learning and Nonlinear ICA.
    .. [2] Khemakhem, Kingma, Monti and Hyvarinen (2020), Variational Autoencoders and Nonlinear
       ICA: A Unifying Framework.

    Examples
    --------
    >>> import numpy as np
    >>> from skvae.inspection import mean_correlation_coefficient
    >>> truth = np.random.default_rng(0).normal(size=(1000, 2))
    >>> turned = truth @ np.array([[1, 1], [1, -1]])
    >>> round(mean_correlation_coefficient(turned, truth), 1)
    0.7
    >>> round(mean_correlation_coefficient(turned, truth, linear=True), 1)
    1.0
    """
    Z, truth = check_latents(Z, truth, "truth")
    matching = match_latents(Z, truth, method=method)
    if not linear:
        return matching.mean
    return float(canonical_correlations(Z, truth).mean())


def canonical_correlations(Z: Any, other: Any) -> np.ndarray:
    """Correlations after the best linear maps (Hotelling 1936), descending, (min(k1, k2),).

    By the singular vectors of both sides (Bjoerck and Golub 1973). Directions that are none, of
    constant columns or of sums of others, count as 0.

    Raises
    ------
    ValueError
        If there are no more rows than latents: linear maps then turn anything into anything.
    """
    Z, other = check_latents(Z, other, "other")
    n, k = len(Z), Z.shape[1] + other.shape[1]
    if n <= k:
        raise ValueError(
            f"{n} rows are too few for linear maps between {Z.shape[1]} and {other.shape[1]} "
            f"latents, which fit any: give more than {k} rows, or leave linear=False."
        )
    found = np.linalg.svd(_basis(Z).T @ _basis(other), compute_uv=False)
    padded = np.zeros(min(Z.shape[1], other.shape[1]))
    padded[: len(found)] = np.clip(found, 0.0, 1.0)
    return padded


def chance_correlations(n_latents: int, n_fits: int) -> tuple[float, float]:
    """What matched correlations are where fits share the space and turn its axes at random.

    Parameters
    ----------
    n_latents : int
    n_fits : int
        Over which a latent's correlation is averaged.

    Returns
    -------
    mean, level : float
        Of a latent's matched correlation, and what none of the latents' averages exceeds in 99 of
        100 cases (Bonferroni). Both 0 for a single latent, which has nowhere to turn.
    """
    if n_latents < 2:
        return 0.0, 0.0
    rng = np.random.default_rng(0)  # a number of the method, the same whoever asks
    n_turns = int(np.clip(MOST_TURNED // n_latents**2, FEWEST_ROTATIONS, MOST_ROTATIONS))
    turns = np.abs(np.linalg.qr(rng.normal(size=(n_turns, n_latents, n_latents)))[0])
    matched = np.stack([turn[linear_sum_assignment(turn, maximize=True)] for turn in turns])
    means = rng.choice(matched.ravel(), size=(N_MEANS, n_fits)).mean(axis=1)
    return float(matched.mean()), float(np.quantile(means, 1 - MISTAKEN / n_latents))


def check_latents(Z: Any, other: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Two finite float64 arrays with the same number of rows, at least two.

    Raises
    ------
    ValueError
        If they are not.
    """
    Z = check_array(Z, dtype=np.float64, ensure_min_samples=2, input_name="Z")
    other = check_array(other, dtype=np.float64, ensure_min_samples=2, input_name=name)
    if len(Z) != len(other):
        raise ValueError(
            f"{name} must have a row for each of the {len(Z)} rows of Z, got {len(other)}."
        )
    return Z, other


def _standardised(Z: np.ndarray) -> np.ndarray:
    """Centred columns of length 1; constant ones are 0."""
    largest = np.abs(Z).max(axis=0)
    # Scaled first, so that squares stay within what a float holds.
    centred = Z / np.where(largest > 0, largest, 1.0)
    centred = centred - centred.mean(axis=0)
    varies = centred.std(axis=0) > CONSTANT
    length = np.where(varies, np.linalg.norm(centred, axis=0), 1.0)
    return np.where(varies, centred, 0.0) / length


def _basis(Z: np.ndarray) -> np.ndarray:
    """Orthonormal columns that span the centred ones."""
    vectors, sizes, _ = np.linalg.svd(_standardised(Z), full_matrices=False)
    return vectors[:, sizes > NO_DIRECTION * max(sizes[0], CONSTANT)]
