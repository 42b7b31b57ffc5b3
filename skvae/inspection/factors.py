"""Which latent tells of which known factor: disentanglement, completeness, informativeness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestRegressor
from sklearn.utils import check_random_state

from skvae.inspection.agreement import check_latents
from skvae.inspection.fitted import check_real

# Variance over rows below which a latent says nothing of them (Burda et al. 2016).
INACTIVE = 0.01
# Deep trees follow noise, and share importance out among latents that have none.
N_TREES, LEAST_LEAF = 100, 5
FEWEST_ROWS = 10


@dataclass(frozen=True, eq=False)
class DCI:
    """How latents and known factors belong together, see `disentanglement`.

    Attributes
    ----------
    disentanglement : float
        Whether each latent tells of one factor only; 1 where it does.
    completeness : float
        Whether each factor is told by one latent only; 1 where it is.
    informativeness : float
        Mean R2 with which factors are predicted from the latents, on rows held out.
    importance : DataFrame of shape (n_latents, n_factors)
        Of each latent for the prediction of each factor; columns add up to 1.
    latents : DataFrame with one row per latent
        ``disentanglement``, NaN for latents that no prediction uses, and ``weight``: its share of
        all importance.
    factors : DataFrame with one row per factor
        ``completeness`` and ``informativeness``.
    """

    disentanglement: float
    completeness: float
    informativeness: float
    importance: pd.DataFrame
    latents: pd.DataFrame
    factors: pd.DataFrame

    def __str__(self) -> str:
        return (
            f"Disentanglement {self.disentanglement:.2f}, completeness {self.completeness:.2f}, "
            f"informativeness {self.informativeness:.2f}\n{self.importance.round(3)}"
        )


def disentanglement(
    Z: Any,
    factors: Any,
    *,
    threshold: float = INACTIVE,
    random_state: int | np.random.RandomState | None = 0,
) -> DCI:
    """Compare latents with known factors by what predicts what [1]_.

    Parameters
    ----------
    Z : array-like of shape (n_samples, n_latents)
        Latents, such as `VAETransformer.transform` returns.
    factors : DataFrame or array-like of shape (n_samples, n_factors)
        Numbers without holes.
    threshold : float, default=0.01
        Variance over rows that latents have to exceed; the others are inactive and have importance
        0. It suits latents with a standard normal prior: with others give 0.
    random_state : int, RandomState instance or None, default=0
        Of the random forests.

    Returns
    -------
    DCI

    Raises
    ------
    ValueError
        If arrays hold no finite numbers or differ in length, rows are fewer than 10, a factor is
        constant or no latent varies.

    Notes
    -----
    A random forest predicts each factor j from all latents; ``R_ij`` is the importance of latent i
    in it. A latent's disentanglement is ``1 - H(R_i. / sum R_i.)`` with the entropy to the base of
    the number of factors, a factor's completeness ``1 - H(R_.j / sum R_.j)`` to that of the number
    of latents. Their means weigh each latent and factor by its share of all importance.
    Informativeness is the R2 of predictions of the rows that each tree has not seen; it is
    negative where the mean of the factor would predict better.

    With a single factor every latent tells of that factor only: disentanglement is 1 and says
    nothing. So is completeness with a single latent. Importances mean little for factors that are
    not predicted well, and correlated latents share them.

    References
    ----------
    .. [1] Eastwood and Williams (2018), A Framework for the Quantitative Evaluation of
       Disentangled Representations.

    Examples
    --------
    >>> import numpy as np
    >>> from skvae.inspection import disentanglement
    >>> factors = np.random.default_rng(0).normal(size=(300, 2))
    >>> turned = factors @ np.array([[1, 1], [1, -1]])
    >>> found, mixed = disentanglement(factors, factors), disentanglement(turned, factors)
    >>> bool(found.disentanglement > 0.9), bool(mixed.disentanglement < 0.2)
    (True, True)
    """
    threshold = check_real(threshold, "threshold")
    latents, known = check_latents(Z, as_columns(factors), "factors")
    names = factor_names(factors, known.shape[1])
    active = latents.var(axis=0) > threshold
    _check_variation(latents, known, active, names, threshold)
    random = check_random_state(random_state)
    importance = np.zeros((latents.shape[1], known.shape[1]))
    informativeness = np.zeros(known.shape[1])
    for j, factor in enumerate(known.T):
        forest = RandomForestRegressor(
            N_TREES,
            min_samples_leaf=LEAST_LEAF,
            oob_score=True,
            random_state=random.randint(np.iinfo(np.int32).max),
        ).fit(latents[:, active], factor)
        importance[active, j] = forest.feature_importances_
        informativeness[j] = forest.oob_score_
    rows = pd.RangeIndex(len(importance), name="dimension")
    return _scores(pd.DataFrame(importance, rows, names), informativeness)


def _scores(importance: pd.DataFrame, informativeness: np.ndarray) -> DCI:
    R = importance.to_numpy()
    total = max(R.sum(), np.finfo(float).tiny)
    of_latents, of_factors = R.sum(axis=1) / total, R.sum(axis=0) / total
    pure, whole = _concentration(R), _concentration(R.T)
    latents = pd.DataFrame({"disentanglement": pure, "weight": of_latents}, importance.index)
    factors = {"completeness": whole, "informativeness": informativeness}
    return DCI(
        float(np.nansum(of_latents * pure)),
        float(np.nansum(of_factors * whole)),
        float(informativeness.mean()),
        importance,
        latents,
        pd.DataFrame(factors, importance.columns),
    )


def _concentration(weights: np.ndarray) -> np.ndarray:
    """One minus the entropy of each row, to the base of its length; NaN for rows of zeros."""
    n, total = weights.shape[1], weights.sum(axis=1)
    share = weights / np.where(total > 0, total, 1.0)[:, None]
    entropy = -(share * np.log(np.where(share > 0, share, 1.0))).sum(axis=1)
    return np.where(total > 0, 1.0 - entropy / np.log(n) if n > 1 else 1.0, np.nan)


def as_columns(values: Any) -> Any:
    """One column for a sequence of numbers; tables as they are."""
    return np.asarray(values).reshape(-1, 1) if np.ndim(values) == 1 else values


def factor_names(factors: Any, n_factors: int) -> pd.Index:
    """Columns of a frame, or positions."""
    if isinstance(factors, pd.DataFrame):
        return factors.columns
    return pd.RangeIndex(n_factors, name="factor")


def _check_variation(
    latents: np.ndarray, known: np.ndarray, active: np.ndarray, names: pd.Index, threshold: float
) -> None:
    if len(latents) < FEWEST_ROWS:
        raise ValueError(
            f"Z has {len(latents)} rows: forests need at least {FEWEST_ROWS} to learn and be held "
            "to account."
        )
    if not active.any():
        raise ValueError(
            f"No latent of Z has a variance above {threshold:g}: none tells of any factor. If Z "
            "has another scale than a standard normal prior, give threshold=0."
        )
    constant = np.flatnonzero(np.ptp(known, axis=0) == 0)
    if constant.size:
        raise ValueError(
            f"factors: column {names[constant[0]]!r} is constant, there is nothing to predict. "
            "Leave it out."
        )
