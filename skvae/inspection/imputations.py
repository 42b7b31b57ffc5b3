"""Observed against imputed values of each column."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skvae.inspection.figures import MOST_PANELS, import_matplotlib, panels_for, plain
from skvae.inspection.fitted import check_integer
from skvae.inspection.hiding import check_imputer, choose_columns, read_filled, read_values
from skvae.tabular import Column
from skvae.tabular.cells import normalise_missing
from skvae.tabular.table import as_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Bars side by side; rarer levels are drawn as one.
MOST_BARS = 12
# Bins of a histogram.
MOST_BINS = 40
# Letters of all levels that fit side by side.
MOST_LETTERS = 26


@dataclass(frozen=True, eq=False)
class FilledColumn:
    """What was observed of a column, and what its holes were filled with.

    Attributes
    ----------
    name : hashable
    observed : ndarray of float64, shape (n_observed,)
        Numbers, or codes of levels.
    imputed : ndarray of float64, shape (n_draws, n_holes)
    levels : ndarray or None
        What codes stand for; None for numbers.
    whole : bool
        Whether numbers are whole.
    counts : bool
        Whether they are counts.
    """

    name: Hashable
    observed: np.ndarray
    imputed: np.ndarray
    levels: np.ndarray | None = None
    whole: bool = False
    counts: bool = False

    @property
    def in_bars(self) -> bool:
        """Whether values are few enough to be drawn one by one: levels, and small counts."""
        if self.levels is not None:
            return True
        return self.counts and bool(self._high - self._low < MOST_BARS)

    def frequencies(self) -> pd.DataFrame:
        """Share of each value among the observed and among the imputed ones.

        Returns
        -------
        DataFrame of shape (n_values, 2)
            With columns "observed" and "imputed"; levels, or numbers in ascending order.
        """
        found = {"observed": self.observed, "imputed": self.imputed.ravel()}
        if self.levels is None:
            index = pd.Index(np.unique(np.concatenate(list(found.values()))))
        else:
            index = pd.Index(self.levels, tupleize_cols=False)
            index = index.astype(object) if index.dtype.kind == "b" else index
        codes = {
            side: index.get_indexer(values) if self.levels is None else values.astype(int)
            for side, values in found.items()
        }
        shares = {
            side: np.bincount(code, minlength=len(index)) / max(len(code), 1)
            for side, code in codes.items()
        }
        return pd.DataFrame(shares, index=index.rename("value"))

    def edges(self) -> np.ndarray:
        """Of the bins that observed and imputed numbers share."""
        # Rice's rule: twice the cube root of the number of values, here of the fewer.
        n = min(self.observed.size, self.imputed.size)
        n_bins = int(np.clip(np.ceil(2 * n ** (1 / 3)), 5, MOST_BINS))
        low, high = self._low, self._high
        if self.whole:  # as many whole numbers in each bin, lest some look twice as frequent
            step = 1.0 if high - low < MOST_BINS else np.ceil((high - low + 1) / n_bins)
            return np.arange(low - 0.5, high + step, step)
        return np.histogram_bin_edges([low, high], n_bins)

    @property
    def _low(self) -> float:
        return min(self.observed.min(), self.imputed.min())

    @property
    def _high(self) -> float:
        return max(self.observed.max(), self.imputed.max())


class ImputationDisplay:
    """Observed against imputed distribution of each column.

    Where holes are completely at random, the two are alike. Where they depend on other columns
    they may differ, and should by what these columns say.

    Parameters
    ----------
    columns : sequence of FilledColumn
        One for each panel.

    Attributes
    ----------
    axes_ : list of matplotlib Axes
        One for each column.
    figure_ : matplotlib Figure
    """

    axes_: list[Axes]
    figure_: Any

    def __init__(self, columns: Sequence[FilledColumn]) -> None:
        self.columns = list(columns)

    @classmethod
    def from_estimator(
        cls,
        imputer: Any,
        X: Any,
        *,
        columns: Any = None,
        n_draws: int = 10,
        random_state: int | np.random.RandomState | None = None,
        ax: Any = None,
    ) -> ImputationDisplay:
        """Draw fillings of the holes and compare them with what was observed.

        Parameters
        ----------
        imputer : VAEImputer
            Fitted.
        X : DataFrame or array-like of shape (n_samples, n_features)
            With holes.
        columns : list of column names (positions for arrays) or None, default=None
            By default those of the modelled ones with holes in `X`, at most the 12 with most.
        n_draws : int, default=10
            Fillings, by `sample_imputations`.
        random_state : int, RandomState instance or None, default=None
            Of the fillings.
        ax : matplotlib Axes or sequence of them, optional
            Axes in whose place a grid of panels is drawn, or one for each panel; a new figure by
            default.

        Returns
        -------
        ImputationDisplay

        Raises
        ------
        NotFittedError, ValueError
            If the imputer is not fitted or not a `VAEImputer`, columns do not exist or have
            nothing observed or nothing hidden in `X`, or arguments do not suit.
        """
        import_matplotlib(cls.__name__)
        check_imputer(imputer, X)
        n_draws = check_integer(n_draws, "n_draws")
        places = _places(imputer, X, columns)
        tables = imputer.sample_imputations(X, n_draws=n_draws, random_state=random_state)
        filled = [_filled_column(imputer, X, tables, int(place)) for place in places]
        return cls(filled).plot(ax)

    def plot(self, ax: Any = None) -> ImputationDisplay:
        """Draw a panel for each column: bars for levels and small counts, else histograms.

        Parameters
        ----------
        ax : matplotlib Axes or sequence of them, optional
            Axes in whose place a grid of panels is drawn, or one for each panel; a new figure by
            default.

        Returns
        -------
        ImputationDisplay
        """
        axes = panels_for(self, ax, len(self.columns))
        for one, panel in zip(self.columns, axes, strict=True):
            if one.in_bars:
                _draw_bars(panel, one)
            else:
                _draw_histograms(panel, one)
            n_holes = one.imputed.shape[1]
            panel.set_title(f"{plain(one.name)}: {n_holes} hole{'s' * (n_holes > 1)}", fontsize=10)
        axes[0].legend(fontsize="small")
        return self


def _places(imputer: Any, X: Any, columns: Any) -> np.ndarray:
    """Positions of the columns to draw."""
    codec = imputer._codec
    places = choose_columns(imputer, columns)
    observed = codec.observed(X)
    n_holes = (~observed).sum(axis=0)[places]
    n_observed = observed.sum(axis=0)[places]
    if columns is None:
        usable = (n_holes > 0) & (n_observed > 0)
        if not usable.any():
            raise ValueError(
                "X has no holes in columns that the imputer models and X has values of: nothing "
                "is imputed. Pass the table with its holes, and check missing_values."
            )
        order = np.argsort(-n_holes[usable], kind="stable")
        return np.sort(places[usable][order[:MOST_PANELS]])
    for place, holes, values in zip(places, n_holes, n_observed, strict=True):
        if not holes or not values:
            what = "no holes" if not holes else "no observed value"
            raise ValueError(
                f"Column {codec.columns[place].name!r} has {what} in X: there is nothing to "
                "compare. Leave it out of columns."
            )
    return places


def _filled_column(imputer: Any, X: Any, tables: list[Any], place: int) -> FilledColumn:
    codec = imputer._codec
    column: Column = codec.columns[place]
    values = read_values(column, as_table(X).column(place), normalise_missing(codec.missing_values))
    holes = np.flatnonzero(~codec.observed(X)[:, place])
    draws = [read_filled(imputer, table, place, column)[holes] for table in tables]
    return FilledColumn(
        column.name,
        values[~np.isnan(values)],
        np.stack(draws),
        column.categories,
        column.integer,
        column.kind == "count",
    )


def _draw_histograms(panel: Axes, one: FilledColumn) -> None:
    edges = one.edges()
    observed = np.histogram(one.observed, edges, density=True)[0]
    imputed = np.histogram(one.imputed, edges, density=True)[0]
    panel.stairs(observed, edges, fill=True, color="C0", alpha=0.35, label="observed")
    panel.stairs(imputed, edges, color="C1", linewidth=1.6, label="imputed")
    panel.set_yticks([])
    panel.set_ylabel("density")


def _draw_bars(panel: Axes, one: FilledColumn) -> None:
    shares = one.frequencies()
    if len(shares) > MOST_BARS:
        common = shares.sum(axis=1).nlargest(MOST_BARS - 1).index
        kept = shares.index.isin(common)
        rest = pd.DataFrame([shares[~kept].sum()], index=[f"{(~kept).sum()} others"])
        shares = pd.concat([shares[kept], rest])
    at, names = np.arange(len(shares)), [plain(value) for value in shares.index]
    if one.levels is None:
        names = [f"{value:g}" for value in shares.index]
    panel.bar(at - 0.2, shares["observed"], 0.4, color="C0", alpha=0.35, label="observed")
    panel.bar(at + 0.2, shares["imputed"], 0.4, color="C1", alpha=0.8, label="imputed")
    slanted = sum(map(len, names)) > MOST_LETTERS
    slant: dict[str, Any] = {"rotation": 45, "ha": "right"} if slanted else {}
    panel.set_xticks(at, names, **slant)
    panel.set_ylabel("share")
