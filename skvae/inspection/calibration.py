"""Do intervals of an imputer hold what they promise?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skvae.inspection.figures import axes_for, import_matplotlib, plain
from skvae.inspection.hiding import hide_entries
from skvae.inspection.overimputation import check_coverage

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
# Columns that the legend names.
NAMED_LINES = 10


@dataclass(frozen=True, eq=False)
class IntervalCalibration:
    """Nominal against actual coverage.

    Attributes
    ----------
    by_column : DataFrame of shape (n_levels, n_columns)
        Share of the hidden entries of each numeric column that lie within their intervals, by
        nominal level.
    n_entries : Series of int, shape (n_columns,)
        Hidden entries of each.
    refit : bool
        Whether the imputer was fitted without the hidden entries.
    """

    by_column: pd.DataFrame
    n_entries: pd.Series
    refit: bool

    @property
    def overall(self) -> pd.Series:
        """Share of all hidden entries within their intervals, by nominal level."""
        weight = self.n_entries.to_numpy() / self.n_entries.sum()
        shares = self.by_column.to_numpy() @ weight
        return pd.Series(shares, self.by_column.index, name="coverage")

    @property
    def error(self) -> float:
        """Mean distance of the overall coverage from the nominal one."""
        nominal = self.by_column.index.to_numpy(dtype=float)
        return float(np.abs(self.overall.to_numpy() - nominal).mean())


def interval_calibration(
    imputer: Any,
    X: Any,
    levels: Iterable[float] = LEVELS,
    *,
    share: float = 0.1,
    n_repeats: int = 1,
    refit: bool = True,
    columns: Any = None,
    random_state: int | np.random.RandomState | None = None,
) -> IntervalCalibration:
    """Hide observed numbers at random and count how many lie within their intervals.

    Parameters
    ----------
    imputer : VAEImputer
        Fitted.
    X : DataFrame or array-like of shape (n_samples, n_features)
    levels : sequence of float, default=(0.1, 0.2, ..., 0.9, 0.95)
        Nominal coverages, each strictly between 0 and 1.
    share : float, default=0.1
        Of each column's observed entries, which is hidden; at least one entry.
    n_repeats : int, default=1
        How often to hide, each time other entries.
    refit : bool, default=True
        Whether to fit a copy of the imputer to `X` with the entries hidden, as in `overimpute`:
        without, intervals of rows that were used in fit are those of entries that fit has seen.
    columns : list of column names (positions for arrays) or None, default=None
        Numeric columns of which entries are hidden; by default all that the imputer models.
    random_state : int, RandomState instance or None, default=None
        Of the choice of entries: with the same one, the same are hidden as by `overimpute` of the
        same columns.

    Returns
    -------
    IntervalCalibration

    Raises
    ------
    NotFittedError, ValueError
        As of `overimpute`, or if levels are not between 0 and 1, columns have no intervals, or the
        imputer models no numeric column.

    Notes
    -----
    Chance alone moves a coverage ``p`` of ``n`` entries by about ``sqrt(p (1 - p) / n)``. Intervals
    of whole numbers are rounded outwards: where numbers are small they cover more than they
    promise, at low levels above all.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import VAEImputer
    >>> from skvae.inspection import interval_calibration
    >>> X = load_iris(as_frame=True).data
    >>> imputer = VAEImputer(hidden_layer_sizes=(), random_state=0).fit(X)
    >>> found = interval_calibration(imputer, X, (0.5, 0.9), random_state=0)
    >>> found.by_column.shape
    (2, 4)
    """
    nominal = _check_levels(levels)
    hidden, trials = hide_entries(
        imputer,
        X,
        share=share,
        n_repeats=n_repeats,
        refit=refit,
        columns=columns,
        random_state=random_state,
        numbers_only=True,
    )
    covered = np.zeros((len(nominal), len(hidden)))
    n_entries = np.zeros(len(hidden), dtype=int)
    for trial in trials:
        n_entries += [len(true) for true in trial.truth.values()]
        for at, level in enumerate(nominal):
            lower, upper = trial.imputer.predict_interval(trial.table, coverage=level)
            for k, (place, true) in enumerate(trial.truth.items()):
                inside = (trial.read(lower, place) <= true) & (true <= trial.read(upper, place))
                covered[at, k] += inside.sum()
    names = pd.Index([one.name for one in hidden.values()], name="column", tupleize_cols=False)
    by_column = pd.DataFrame(covered / n_entries, pd.Index(nominal, name="level"), names)
    return IntervalCalibration(by_column, pd.Series(n_entries, names, name="n"), bool(refit))


def _check_levels(levels: Any) -> list[float]:
    if isinstance(levels, str) or not isinstance(levels, Iterable):
        raise ValueError(f"levels must be a sequence of numbers, got {levels!r}.")
    nominal = [check_coverage(level, "levels") for level in levels]
    if not nominal or len(set(nominal)) < len(nominal):
        raise ValueError(f"levels must be one or more distinct numbers, got {levels!r}.")
    return sorted(nominal)


class IntervalCalibrationDisplay:
    """Reliability of intervals: actual against nominal coverage, beside the diagonal.

    Parameters
    ----------
    calibration : IntervalCalibration
        As `interval_calibration` returns it.

    Attributes
    ----------
    lines_ : list of Line2D
        The overall coverage, then each column's where there are several.
    band_ : PolyCollection
        Where two standard errors around the diagonal lie for as many entries as there are.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    """

    ax_: Axes
    figure_: Any

    def __init__(self, calibration: IntervalCalibration) -> None:
        self.calibration = calibration

    @classmethod
    def from_estimator(
        cls,
        imputer: Any,
        X: Any,
        *,
        levels: Iterable[float] = LEVELS,
        share: float = 0.1,
        n_repeats: int = 1,
        refit: bool = True,
        columns: Any = None,
        random_state: int | np.random.RandomState | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> IntervalCalibrationDisplay:
        """Compute `interval_calibration` and draw it.

        Parameters
        ----------
        imputer : VAEImputer
            Fitted.
        X : DataFrame or array-like of shape (n_samples, n_features)
        levels, share, n_repeats, refit, columns, random_state
            As of `interval_calibration`.
        ax : matplotlib Axes, optional
            New ones by default.
        **kwargs
            Of `Axes.plot`, for the overall coverage.

        Returns
        -------
        IntervalCalibrationDisplay

        Raises
        ------
        NotFittedError, ValueError
            As of `interval_calibration`.
        """
        import_matplotlib(cls.__name__)  # before anything is fitted
        calibration = interval_calibration(
            imputer,
            X,
            levels,
            share=share,
            n_repeats=n_repeats,
            refit=refit,
            columns=columns,
            random_state=random_state,
        )
        return cls(calibration).plot(ax, **kwargs)

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> IntervalCalibrationDisplay:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            New ones by default.
        **kwargs
            Of `Axes.plot`, for the overall coverage.

        Returns
        -------
        IntervalCalibrationDisplay
        """
        ax = axes_for(self, ax)
        found = self.calibration
        promise = np.linspace(0, 1, 101)
        away = 2 * np.sqrt(promise * (1 - promise) / found.n_entries.sum())
        low, high = np.maximum(promise - away, 0), np.minimum(promise + away, 1)
        self.band_ = ax.fill_between(
            promise, low, high, color="0.88", linewidth=0, label="two standard errors"
        )
        ax.plot(promise, promise, color="0.5", linewidth=0.8)
        nominal = found.by_column.index.to_numpy(dtype=float)
        style = {"color": "black", "marker": "o", "zorder": 3, "label": "all columns", **kwargs}
        self.lines_ = ax.plot(nominal, found.overall, **style)
        if found.by_column.shape[1] > 1:
            self._draw_columns(nominal)
        ax.set(xlabel="nominal coverage", ylabel="actual coverage", xlim=(0, 1), ylim=(0, 1))
        ax.set_aspect("equal")
        # Outside, where lines cannot run beneath it.
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize="small")
        return self

    def _draw_columns(self, nominal: np.ndarray) -> None:
        shares = self.calibration.by_column
        for k, name in enumerate(shares):
            named = k < NAMED_LINES
            style: dict[str, Any] = {"linewidth": 1.0, "alpha": 0.8}
            style |= {"label": plain(name)} if named else {"color": "0.75"}
            self.lines_ += self.ax_.plot(nominal, shares.iloc[:, k], **style)
        more = shares.shape[1] - NAMED_LINES
        if more > 0:
            self.lines_[-1].set_label(f"{more} other columns")
