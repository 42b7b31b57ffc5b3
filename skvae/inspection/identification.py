"""Whether a refit finds the same latents: what of them is worth plotting."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import check_array

from skvae.inspection.agreement import (
    METHODS,
    canonical_correlations,
    chance_correlations,
    match_latents,
    mean_correlation_coefficient,
)
from skvae.inspection.factors import (
    DCI,
    FEWEST_ROWS,
    INACTIVE,
    as_columns,
    disentanglement,
    factor_names,
)
from skvae.inspection.fitted import check_estimator, check_integer
from skvae.inspection.identification_words import STABLE, in_words
from skvae.inspection.refits import refits, said_once
from skvae.tabular.table import as_table

# Mean correlation with refits from which a latent drifts; below it is arbitrary.
DRIFTS = 0.7
# Of z for each row, for the likelihood of refits.
SCORE_SAMPLES = 64


@dataclass(frozen=True, eq=False)
class IdentifiabilityReport:
    """What refits agree on, see `identifiability`.

    Attributes
    ----------
    mcc : float
        Mean absolute correlation of matched latents over all pairs of fits, the estimator among
        them. NaN if no latent is active.
    linear_mcc : float
        The same after the best linear maps: mean canonical correlation.
    chance_mcc : float
        What `mcc` would be if fits shared the space and turned its axes at random; 0 for a single
        latent.
    stable_from : float
        Mean correlation with refits from which a latent is stable.
    latents : DataFrame with one row per latent dimension of the estimator
        ``correlation``, ``least_correlation``: mean and minimum over refits of the absolute
        correlation with the refit's matched latent. ``variance_of_mean``: of the posterior means
        over rows. ``verdict``: "stable", "drifts", "arbitrary" or "inactive".
    refits : DataFrame with one row per refit
        ``mcc``, ``linear_mcc``: with the estimator. ``n_active``: latents. ``score``: mean
        log-likelihood of all rows. With a truth, ``truth_mcc`` and ``truth_linear_mcc``.
    correlations : ndarray of shape (n_refits, n_components)
        Absolute correlation of each latent with the refit's matched one; 0 without a match.
    truth_mcc, truth_linear_mcc : float or None
        Of the estimator with the truth.
    dci : DCI or None
        Disentanglement of the estimator's latents, with a truth.
    verdict : str
        In words, with remedies.
    """

    mcc: float
    linear_mcc: float
    chance_mcc: float
    stable_from: float
    latents: pd.DataFrame
    refits: pd.DataFrame
    correlations: np.ndarray
    truth_mcc: float | None
    truth_linear_mcc: float | None
    dci: DCI | None
    verdict: str

    def __str__(self) -> str:
        return f"{self.verdict}\n{self.latents.round(3)}"


def identifiability(
    estimator: Any,
    X: Any,
    n_refits: int = 5,
    *,
    truth: Any = None,
    fraction: float = 0.8,
    method: str = "pearson",
    random_state: int | np.random.RandomState | None = 0,
) -> IdentifiabilityReport:
    """Fit the estimator's settings again and see which latents come back.

    Parameters
    ----------
    estimator : VAETransformer
        Fitted; it is not changed.
    X : DataFrame or array-like of shape (n_samples, n_features)
        The rows to refit to, at least 10 and more than twice as many as there are latents. Holes
        are welcome.
    n_refits : int, default=5
        Each takes as long as the fit did.
    truth : array-like of shape (n_samples, n_factors) or None, default=None
        Known factors behind the rows, where there are any.
    fraction : float, default=0.8
        Of the rows, drawn without replacement, that each refit sees.
    method : {"pearson", "spearman"}, default="pearson"
        Of the correlations of matched latents.
    random_state : int, RandomState instance or None, default=0
        Of the seeds and rows of the refits.

    Returns
    -------
    IdentifiabilityReport

    Raises
    ------
    NotFittedError, ValueError
        If the estimator is not fitted or not a `VAETransformer`, arguments do not suit, rows are
        too few, or a refit fails on its part of the rows.

    Warns
    -----
    As the refits do, every warning once.

    Notes
    -----
    Refits differ from the estimator in seed and rows. Models with networks also start at axes of
    their own (``rotation="random"``): all starts are the same linear model, so that axes could
    agree without having been learnt. What agrees from there, the objective has found. Linear
    models keep their `rotation`, a convention which fixes their axes. Modules given as `encoder`
    or `decoder` start with the weights that they have. Numbers of latents that were chosen at fit
    are kept, as are kinds of columns; weights of rows are not known. Parts of the rows hold all
    levels of every column, if need be by a few rows more than the fraction.

    Posterior means of all rows of `X` are compared, latent by latent in the best order, whatever
    their signs and scales: weak identifiability leaves a linear map open, the strong one only order
    and scale [1]_. A latent of one fit without a partner in the other counts as 0. Latents whose
    means have a variance of 0.01 or less are inactive [2]_, and not counted.

    A latent is "stable" if its mean correlation with refits is at least 0.9, "drifts" if at least
    0.7, else is "arbitrary". But few latents agree by chance: two of the same space, turned at
    random, correlate by 0.90 on average. So latents that drift are also above that average, and
    stable ones above what turned axes reach in 1 of 100 sets with as many refits: 0.98 for two
    latents and five refits, 0.94 for three. With two latents, a single refit proves nothing.

    References
    ----------
    .. [1] Khemakhem, Kingma, Monti and Hyvarinen (2020), Variational Autoencoders and Nonlinear
       ICA: A Unifying Framework.
    .. [2] Burda, Grosse and Salakhutdinov (2016), Importance Weighted Autoencoders.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import VAETransformer
    >>> from skvae.inspection import identifiability
    >>> X = load_iris(as_frame=True).data
    >>> linear = VAETransformer(n_components=1, hidden_layer_sizes=()).fit(X)
    >>> identifiability(linear, X, n_refits=2).verdict
    'The latents are identified: 1 of 1 comes back in refits (mean correlation 1.00).'
    """
    n_refits = check_integer(n_refits, "n_refits")
    n = _check(estimator, X, fraction, method)
    known = None if truth is None else _check_truth(truth, n, estimator.n_components_)
    reference = np.asarray(estimator.transform(X))
    fits, rows = [_silenced(reference)], []
    with said_once():
        for model, latents, own in refits(estimator, X, n_refits, float(fraction), random_state):
            fits.append(_silenced(latents))
            score = model.score_samples(own, n_samples=SCORE_SAMPLES).mean()
            rows.append({"n_active": _n_active(latents), "score": float(score)})
    pairs = [_compare(one, other, method) for one, other in combinations(fits, 2)]
    firsts = pairs[:n_refits]  # the estimator with every refit
    table = pd.DataFrame(rows, index=pd.RangeIndex(n_refits, name="refit"))
    table.insert(0, "mcc", [pair.mcc for pair in firsts])
    table.insert(1, "linear_mcc", [pair.linear_mcc for pair in firsts])
    ours: tuple[float | None, float | None] = (None, None)
    if known is not None:
        ours, *theirs = [_truth_scores(fit, known, method) for fit in fits]
        table[["truth_mcc", "truth_linear_mcc"]] = theirs
    n_active = _n_active(reference)
    chance, level = chance_correlations(n_active, n_refits)
    stable_from = max(STABLE, level)
    correlations = np.stack([pair.correlations for pair in firsts])
    latents = _latents(reference, correlations, stable_from, max(DRIFTS, chance))
    mcc, linear_mcc = _mean([p.mcc for p in pairs]), _mean([p.linear_mcc for p in pairs])
    return IdentifiabilityReport(
        mcc,
        linear_mcc,
        chance,
        stable_from,
        latents,
        table,
        correlations,
        *ours,
        disentanglement(reference, known) if known is not None and n_active else None,
        in_words(latents, mcc, linear_mcc, chance, n_refits, estimator),
    )


# Comparison -----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Agreement:
    """Of two fits: each latent of the first with its partner (k,), and the means."""

    correlations: np.ndarray
    mcc: float
    linear_mcc: float


def _compare(first: np.ndarray, second: np.ndarray, method: str) -> _Agreement:
    """Compare two fits whose inactive latents are 0.

    What only one fit has did not come back, and counts as 0.
    """
    ours, theirs = np.flatnonzero(first.any(axis=0)), np.flatnonzero(second.any(axis=0))
    correlations = np.zeros(first.shape[1])
    if not ours.size or not theirs.size:
        nothing = 0.0 if ours.size or theirs.size else np.nan
        return _Agreement(correlations, nothing, nothing)
    match = match_latents(first[:, ours], second[:, theirs], method=method)
    correlations[ours[match.rows]] = match.matched
    linear = canonical_correlations(first[:, ours], second[:, theirs])
    most = max(ours.size, theirs.size)
    return _Agreement(correlations, float(match.matched.sum()) / most, float(linear.sum()) / most)


def _truth_scores(fit: np.ndarray, known: pd.DataFrame, method: str) -> tuple[float, float]:
    """The MCC of a fit whose inactive latents are 0, and the linear one."""
    return (
        mean_correlation_coefficient(fit, known, method=method),
        mean_correlation_coefficient(fit, known, linear=True),
    )


def _active(Z: np.ndarray) -> np.ndarray:
    return Z.var(axis=0) > INACTIVE


def _n_active(Z: np.ndarray) -> int:
    return int(_active(Z).sum())


def _silenced(Z: np.ndarray) -> np.ndarray:
    """Latents, the inactive ones 0: what is left of them is noise, and correlates as such."""
    return np.where(_active(Z), Z, 0.0)


def _mean(values: list[float]) -> float:
    """Over pairs of fits that have anything to compare."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else np.nan


def _latents(
    reference: np.ndarray, correlations: np.ndarray, stable_from: float, drifts_from: float
) -> pd.DataFrame:
    mean = correlations.mean(axis=0)
    below = np.where(mean >= drifts_from, "drifts", "arbitrary")
    verdict = np.where(mean >= stable_from, "stable", below)
    return pd.DataFrame(
        {
            "correlation": mean,
            "least_correlation": correlations.min(axis=0),
            "variance_of_mean": reference.var(axis=0),
            "verdict": np.where(_active(reference), verdict, "inactive"),
        },
        index=pd.RangeIndex(len(mean), name="dimension"),
    )


def _check(estimator: Any, X: Any, fraction: Any, method: Any) -> int:
    """Refuse what does not suit; the number of rows."""
    check_estimator(estimator)
    params = estimator.get_params(deep=False)
    if "rotation" not in params:
        raise ValueError(
            f"estimator must be a fitted VAETransformer, got {type(estimator).__name__}, whose "
            "fits all start at the same axes: that they agree would say nothing."
        )
    estimator._check_input(X)
    if not isinstance(fraction, Real) or isinstance(fraction, bool) or not 0 < float(fraction) <= 1:
        raise ValueError(f"fraction must be above 0 and at most 1, got {fraction!r}.")
    if method not in METHODS:
        raise ValueError(f"method must be 'pearson' or 'spearman', got {method!r}.")
    n = as_table(X).n_rows
    least = max(FEWEST_ROWS, 2 * estimator.n_components_ + 1)
    if n < least:
        raise ValueError(
            f"X has {n} rows, too few to compare {estimator.n_components_} latents: give at least "
            f"{least}, the training rows for instance."
        )
    return n


def _check_truth(truth: Any, n: int, n_latents: int) -> pd.DataFrame:
    """Known factors as a frame of n rows."""
    known = check_array(as_columns(truth), dtype=np.float64, input_name="truth")
    if len(known) != n:
        raise ValueError(f"truth must have a row for each of the {n} rows of X, got {len(known)}.")
    n_factors = known.shape[1]
    if n <= n_latents + n_factors:
        raise ValueError(
            f"X has {n} rows, too few to compare {n_latents} latents with {n_factors} columns of "
            f"truth: give at least {n_latents + n_factors + 1}."
        )
    frame = pd.DataFrame(known, columns=factor_names(truth, n_factors))
    constant = np.flatnonzero(np.ptp(known, axis=0) == 0)
    if constant.size:
        raise ValueError(
            f"truth: column {frame.columns[constant[0]]!r} is constant over the rows of X, nothing "
            "can tell of it. Leave it out."
        )
    return frame
