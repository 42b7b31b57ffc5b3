"""Rubin's rules: one answer from analyses of several filled tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

# Estimates that differ by less than so much of their size are the same.
ROUNDING = 1e-14


@dataclass(frozen=True, eq=False)
class PooledEstimates:
    """Estimates over several filled tables, with what the holes cost in certainty.

    Attributes
    ----------
    estimate : ndarray of shape (n_estimates,)
        Means over the tables.
    std_error : ndarray of shape (n_estimates,)
        Square roots of the total variance ``within + (1 + 1 / m) between``.
    within : ndarray of shape (n_estimates,)
        Mean variance of an estimate on a filled table.
    between : ndarray of shape (n_estimates,)
        Variance of the estimates over the m tables.
    df : ndarray of shape (n_estimates,)
        Degrees of freedom of the t distribution of ``(estimate - truth) / std_error``.
    fmi : ndarray of shape (n_estimates,)
        Fraction of the information that is missing.
    n_tables : int
        m.
    names : list or None
        Of the estimates.
    """

    estimate: np.ndarray
    std_error: np.ndarray
    within: np.ndarray
    between: np.ndarray
    df: np.ndarray
    fmi: np.ndarray
    n_tables: int
    names: list[Any] | None = None

    def interval(self, coverage: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Ends of confidence intervals, both of shape (n_estimates,)."""
        if not isinstance(coverage, Real) or not 0 < coverage < 1:
            raise ValueError(f"coverage must lie between 0 and 1, got {coverage!r}.")
        reach = stats.t.ppf(0.5 + coverage / 2, self.df) * self.std_error
        return self.estimate - reach, self.estimate + reach

    def p_value(self, null: Any = 0.0) -> np.ndarray:
        """Of two-sided tests that estimates are equal to `null`, shape (n_estimates,)."""
        away = np.abs(self.estimate - np.asarray(null, dtype=float))
        with np.errstate(divide="ignore", invalid="ignore"):
            steps = np.where(away == 0, 0.0, away / self.std_error)
        return 2 * stats.t.sf(steps, self.df)

    def to_frame(self, coverage: float = 0.95) -> pd.DataFrame:
        """One row per estimate."""
        lower, upper = self.interval(coverage)
        columns = {
            "estimate": self.estimate,
            "std_error": self.std_error,
            "lower": lower,
            "upper": upper,
            "df": self.df,
            "p_value": self.p_value(),
            "fmi": self.fmi,
        }
        return pd.DataFrame(columns, index=self.names)


def pool(estimates: Any, variances: Any, *, df_complete: float | None = None) -> PooledEstimates:
    """Combine estimates from several filled tables by Rubin's rules.

    Fit the same model on every table that `VAEImputer.sample_imputations` draws, and give what each
    says about its parameters, and how uncertain that is. The pooled uncertainty adds what the
    tables disagree about to what each is unsure of by itself [1]_. Whatever the analysis uses, its
    outcome too, must be part of the table that is filled: relations that the imputer does not see
    are lost from its draws. Where rows are few, draw from several models (`n_estimators`).

    Parameters
    ----------
    estimates : sequence of length n_tables, of float, array, Series or dict of n_estimates
        One entry for every filled table; or a DataFrame with a row for every one.
    variances : sequence of length n_tables, of the same shapes
        Squared standard errors.
    df_complete : float, optional
        Degrees of freedom that the analysis of a complete table has: for a regression the number of
        rows less that of coefficients, the intercept among them. With it the pooled ones are
        those of Barnard and Rubin [2]_; without, those for many rows, too many where rows are few.

    Returns
    -------
    PooledEstimates

    Raises
    ------
    ValueError, TypeError
        If there are fewer than two tables, shapes or names disagree, entries are no finite numbers,
        or a variance is negative.

    References
    ----------
    .. [1] Rubin (1987), Multiple Imputation for Nonresponse in Surveys.
    .. [2] Barnard and Rubin (1999), Small-Sample Degrees of Freedom with Multiple Imputation.

    Examples
    --------
    >>> from skvae import pool
    >>> pooled = pool([1.0, 1.2, 1.1], [0.04, 0.05, 0.045], df_complete=50)
    >>> round(float(pooled.estimate[0]), 3), round(float(pooled.std_error[0]), 3)
    (1.1, 0.242)
    """
    q, names = _table(estimates, "estimates")
    u, other = _table(variances, "variances")
    if q.shape != u.shape:
        raise ValueError(
            f"estimates have shape {q.shape} (tables, estimates), variances {u.shape}: give one "
            "variance for every estimate of every table."
        )
    if names is not None and other is not None and names != other:
        if sorted(names, key=str) == sorted(other, key=str):
            u = u[:, [other.index(name) for name in names]]
        else:
            raise ValueError(f"estimates are of {names}, but variances of {other}.")
    if (u < 0).any():
        raise ValueError("variances has negative entries: give squared standard errors.")
    if df_complete is not None and not (isinstance(df_complete, Real) and df_complete > 0):
        raise ValueError(f"df_complete must be a positive number, got {df_complete!r}.")
    m = len(q)
    within, between = u.mean(axis=0), q.var(axis=0, ddof=1)
    between = np.where(between > (ROUNDING * q.mean(axis=0)) ** 2, between, 0.0)
    extra = (1 + 1 / m) * between
    total = within + extra
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(total > 0, extra / total, 0.0)
        df = np.where(share > 0, (m - 1) / share**2, np.inf)
        if df_complete is not None and np.isfinite(df_complete):
            # Never quite 0: where a table is sure by itself, nothing is known about the sum.
            left = np.maximum(1 - share, 1e-9)
            seen = (df_complete + 1) / (df_complete + 3) * df_complete * left
            df = np.where(np.isinf(df), seen, df * seen / (df + seen))
        ratio = extra / within
        fmi = np.where(np.isfinite(ratio), (ratio + 2 / (df + 3)) / (ratio + 1), 1.0)
    fmi = np.where(extra == 0, 0.0, fmi)
    return PooledEstimates(q.mean(axis=0), np.sqrt(total), within, between, df, fmi, m, names)


def _table(each: Any, what: str) -> tuple[np.ndarray, list[Any] | None]:
    """Numbers (n_tables, n_estimates) and the names of the estimates."""
    if isinstance(each, pd.DataFrame):
        return _numbers(list(each.to_numpy()), what), list(each.columns)
    labelled = isinstance(each, pd.Series) and not pd.api.types.is_integer_dtype(each.index)
    if labelled or isinstance(each, str | Mapping | Set) or not isinstance(each, Iterable):
        raise TypeError(f"{what} must be a sequence with one entry for every table, got {each!r}.")
    each = [pd.Series(one) if isinstance(one, Mapping) else one for one in each]
    names = None
    if each and all(isinstance(one, pd.Series) for one in each):
        names = list(each[0].index)
        for one in each[1:]:
            if sorted(one.index, key=str) != sorted(names, key=str):
                raise ValueError(f"{what} have different names: {names} and {list(one.index)}.")
        if len(set(names)) == len(names):
            each = [one.reindex(names) for one in each]
    return _numbers(each, what), names


def _numbers(each: list[Any], what: str) -> np.ndarray:
    """One row for every table, (n_tables, n_estimates)."""
    if len(each) < 2:
        raise ValueError(f"{what} must come from at least two filled tables, got {len(each)}.")
    try:
        rows = [np.atleast_1d(np.asarray(one, dtype=float)) for one in each]
    except (TypeError, ValueError) as error:
        raise TypeError(f"{what} must be numbers: {error}") from error
    if len({row.shape for row in rows}) > 1 or rows[0].ndim != 1:
        shapes = sorted({row.shape for row in rows})
        raise ValueError(
            f"{what} must be one vector for every table, all as long (of a covariance matrix the "
            f"diagonal); got {shapes}."
        )
    table = np.stack(rows)
    if not np.isfinite(table).all():
        raise ValueError(f"{what} has NaN or infinite entries.")
    return table
