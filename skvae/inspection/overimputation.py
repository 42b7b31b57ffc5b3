"""Observed entries hidden, filled and compared with what they were."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from skvae.inspection.fitted import index_of
from skvae.inspection.hiding import Trial, hide_entries


@dataclass(frozen=True, eq=False)
class Overimputation:
    """Entries that were hidden on purpose, beside what they were filled with.

    Attributes
    ----------
    entries : DataFrame of shape (n_hidden, 7)
        One row for each hidden entry: "repeat", "row" (label in the table's index, position in an
        array), "column", "true", "imputed", and the ends of the interval, "lower" and "upper",
        which levels have not (NaN). "true" and "imputed" are objects where columns have levels.
    levels : dict of hashable to ndarray
        Levels of the binary, ordinal and categorical columns, by column.
    coverage : float
        What the intervals promise.
    refit : bool
        Whether the imputer was fitted without the hidden entries.
    """

    entries: pd.DataFrame
    levels: dict[Hashable, np.ndarray]
    coverage: float
    refit: bool

    @property
    def columns(self) -> list[Hashable]:
        """Columns of which entries were hidden, in the table's order."""
        return list(self.entries["column"].cat.categories)

    def of_column(self, name: Hashable) -> pd.DataFrame:
        """Entries of one column, "true" and "imputed" being floats if they are numbers.

        Parameters
        ----------
        name : hashable

        Returns
        -------
        DataFrame

        Raises
        ------
        KeyError
            If no entry of such a column was hidden.
        """
        if name not in self.columns:
            raise KeyError(f"No entry of a column {name!r} was hidden; columns: {self.columns}.")
        part = self.entries[self.entries["column"].cat.codes == self.columns.index(name)]
        return part if name in self.levels else part.astype({"true": float, "imputed": float})

    def confusion(self, name: Hashable) -> pd.DataFrame:
        """How often each level was filled with each.

        Parameters
        ----------
        name : hashable
            Of a binary, ordinal or categorical column.

        Returns
        -------
        DataFrame of shape (n_levels, n_levels)
            Counts; true levels down, imputed ones across.

        Raises
        ------
        KeyError
            If no entry of such a column was hidden, or it holds numbers.
        """
        part = self.of_column(name)
        if name not in self.levels:
            raise KeyError(f"Column {name!r} holds numbers, which have no confusion matrix.")
        levels = pd.Index(self.levels[name], dtype=object)
        counts = np.zeros((len(levels), len(levels)), dtype=int)
        true, imputed = (levels.get_indexer(part[side]) for side in ("true", "imputed"))
        known = imputed >= 0
        np.add.at(counts, (true[known], imputed[known]), 1)
        return pd.DataFrame(counts, levels.rename("true"), levels.rename("imputed"))

    def summary(self) -> pd.DataFrame:
        """Errors and intervals by column.

        Returns
        -------
        DataFrame of shape (n_columns, 6)
            "n" entries; for numbers "rmse" and "mae" (root mean squared and mean absolute error),
            the "coverage" of the intervals and their mean "width", in the column's units; for
            levels the "share_right". NaN where a measure does not apply.
        """
        rows = [self._measures(name) for name in self.columns]
        index = pd.Index(self.columns, name="column", tupleize_cols=False)
        return pd.DataFrame(rows, index=index)

    def _measures(self, name: Hashable) -> dict[str, float]:
        part = self.of_column(name)
        nothing = dict.fromkeys(("rmse", "mae", "share_right", "coverage", "width"), np.nan)
        found: dict[str, float] = {"n": len(part), **nothing}
        if name in self.levels:
            return found | {"share_right": float((part["true"] == part["imputed"]).mean())}
        error = part["imputed"] - part["true"]
        inside = part["true"].between(part["lower"], part["upper"])
        return found | {
            "rmse": float(np.sqrt((error**2).mean())),
            "mae": float(error.abs().mean()),
            "coverage": float(inside.mean()),
            "width": float((part["upper"] - part["lower"]).mean()),
        }


def overimpute(
    imputer: Any,
    X: Any,
    share: float = 0.1,
    *,
    coverage: float = 0.9,
    n_repeats: int = 1,
    refit: bool = True,
    columns: Any = None,
    random_state: int | np.random.RandomState | None = None,
) -> Overimputation:
    """Hide observed entries at random, fill them as `transform` does and compare.

    Overimputation, as it is called in [1]_.

    Parameters
    ----------
    imputer : VAEImputer
        Fitted.
    X : DataFrame or array-like of shape (n_samples, n_features)
    share : float, default=0.1
        Of each column's observed entries, which is hidden; at least one entry.
    coverage : float, default=0.9
        Of the intervals.
    n_repeats : int, default=1
        How often to hide and fill, each time other entries.
    refit : bool, default=True
        Whether to fit a copy of the imputer to `X` with the entries hidden, each time, and let that
        fill. Without, the imputer fills as it is.
    columns : list of column names (positions for arrays) or None, default=None
        Columns of which entries are hidden; by default all that the imputer models.
    random_state : int, RandomState instance or None, default=None
        Of the choice of entries.

    Returns
    -------
    Overimputation
        With a `summary`.

    Raises
    ------
    NotFittedError, ValueError
        If the imputer is not fitted or not a `VAEImputer`, arguments do not suit, columns do not
        exist, or too few entries are observed for some to be hidden.

    Notes
    -----
    An imputer that was fitted to the rows of `X` has seen the entries that are then hidden:
    ``refit=False`` is honest for rows that were not used in fit, and flatters it otherwise. The
    copy that ``refit=True`` fits has seen none of them. It knows the other holes of the rows as
    well as the imputer does, but has a share fewer entries to learn from, weighs all rows the same,
    and its errors are those of the settings rather than of the very model at hand.

    Entries are hidden completely at random. Where real holes are of another kind (the large values,
    say), errors at them may be others.

    Levels that the imputer does not model (not seen at fit, or too rare) are never hidden. Where
    the copy fills in one of them, "imputed" is None, and counts as wrong.

    References
    ----------
    .. [1] Blackwell, Honaker and King (2017), A Unified Approach to Measurement Error and Missing
       Data: Overview and Applications.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import VAEImputer
    >>> from skvae.inspection import overimpute
    >>> X = load_iris(as_frame=True).data
    >>> imputer = VAEImputer(hidden_layer_sizes=(), random_state=0).fit(X)
    >>> table = overimpute(imputer, X, random_state=0).summary()
    >>> bool(table.loc["petal length (cm)", "rmse"] < X["petal length (cm)"].std() / 2)
    True
    """
    check_coverage(coverage, "coverage")
    hidden, trials = hide_entries(
        imputer,
        X,
        share=share,
        n_repeats=n_repeats,
        refit=refit,
        columns=columns,
        random_state=random_state,
    )
    names = pd.Index([one.name for one in hidden.values()], dtype=object, tupleize_cols=False)
    parts = []
    for trial in trials:
        filled = trial.imputer.transform(trial.table)
        ends = trial.imputer.predict_interval(trial.table, coverage=float(coverage))
        index = index_of(X, len(trial.table))
        for code, place in enumerate(hidden):
            part = _entries(trial, place, filled, ends, index)
            part.insert(2, "column", pd.Categorical.from_codes(np.full(len(part), code), names))
            parts.append(part)
    levels = {one.name: one.categories for one in hidden.values() if one.categories is not None}
    entries = pd.concat(parts, ignore_index=True)
    return Overimputation(entries, levels, float(coverage), bool(refit))


def _entries(
    trial: Trial,
    place: int,
    filled: Any,
    ends: tuple[Any, Any],
    index: pd.Index,
) -> pd.DataFrame:
    """The hidden entries of one column."""
    rows, column = trial.rows[place], trial.columns[place]
    true: Any = trial.truth[place]
    imputed: Any = trial.read(filled, place)
    if column.categories is None:
        lower, upper = (trial.read(end, place) for end in ends)
    else:
        lower = upper = np.full(len(rows), np.nan)
        true, imputed = (_level_names(column.categories, side) for side in (true, imputed))
    found = {
        "repeat": trial.repeat,
        "row": np.asarray(index[rows]),
        "true": true,
        "imputed": imputed,
        "lower": lower,
        "upper": upper,
    }
    return pd.DataFrame(found)


def _level_names(levels: np.ndarray, codes: np.ndarray) -> pd.Series:
    """Levels by code; None where there is no code."""
    named = np.full(len(codes), None, dtype=object)
    known = ~np.isnan(codes)
    named[known] = levels[codes[known].astype(int)].tolist()
    return pd.Series(named, dtype=object)


def check_coverage(value: Any, name: str) -> float:
    """A number strictly between 0 and 1."""
    if not isinstance(value, Real) or isinstance(value, bool) or not 0 < float(value) < 1:
        raise ValueError(f"{name} must lie strictly between 0 and 1, got {value!r}.")
    return float(value)
