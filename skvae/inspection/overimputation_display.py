"""True against imputed values of entries that were hidden on purpose."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skvae.inspection.figures import (
    MOST_PANELS,
    import_matplotlib,
    name_across,
    panels_for,
    plain,
    some_ticks,
)
from skvae.inspection.overimputation import Overimputation, overimpute

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Entries of one column that are drawn, evenly spaced among all.
MOST_POINTS = 300
# Levels whose shares are written into their cells, and letters of all that fit side by side.
MOST_NUMBERS, MOST_LETTERS = 6, 26


class OverimputationDisplay:
    """True against imputed values, with intervals, for each column (Blackwell et al., 2017).

    Numbers lie about the diagonal; intervals that do not reach it are red. Levels are a matrix of
    the share of each true level, down, that was filled with each level, across.

    Parameters
    ----------
    result : Overimputation
        As `overimpute` returns it.
    columns : list of hashable or None, default=None
        Columns to draw; by default the first 12 of those of which entries were hidden.

    Attributes
    ----------
    axes_ : list of matplotlib Axes
        One for each column.
    figure_ : matplotlib Figure
    """

    axes_: list[Axes]
    figure_: Any

    def __init__(self, result: Overimputation, columns: list[Hashable] | None = None) -> None:
        self.result = result
        self.columns = columns

    @classmethod
    def from_estimator(
        cls,
        imputer: Any,
        X: Any,
        *,
        share: float = 0.1,
        coverage: float = 0.9,
        n_repeats: int = 1,
        refit: bool = True,
        columns: Any = None,
        random_state: int | np.random.RandomState | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> OverimputationDisplay:
        """Compute `overimpute` and draw it.

        Parameters
        ----------
        imputer : VAEImputer
            Fitted.
        X : DataFrame or array-like of shape (n_samples, n_features)
        share, coverage, n_repeats, refit, columns, random_state
            As of `overimpute`.
        ax : matplotlib Axes or sequence of them, optional
            Axes in whose place a grid of panels is drawn, or one for each panel; a new figure by
            default.
        **kwargs
            Of `Axes.scatter`, for numbers.

        Returns
        -------
        OverimputationDisplay

        Raises
        ------
        NotFittedError, ValueError
            As of `overimpute`.
        """
        import_matplotlib(cls.__name__)  # before anything is fitted
        result = overimpute(
            imputer,
            X,
            share,
            coverage=coverage,
            n_repeats=n_repeats,
            refit=refit,
            columns=columns,
            random_state=random_state,
        )
        return cls(result, None if columns is None else result.columns).plot(ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> OverimputationDisplay:
        """Draw a panel for each column, of at most 300 of its entries.

        Parameters
        ----------
        ax : matplotlib Axes or sequence of them, optional
            Axes in whose place a grid of panels is drawn, or one for each panel; a new figure by
            default.
        **kwargs
            Of `Axes.scatter`, for numbers.

        Returns
        -------
        OverimputationDisplay
        """
        names = self.result.columns[:MOST_PANELS] if self.columns is None else self.columns
        axes = panels_for(self, ax, len(names))
        summary = self.result.summary()
        for name, panel in zip(names, axes, strict=True):
            measures = summary.iloc[self.result.columns.index(name)]
            if name in self.result.levels:
                _draw_confusion(panel, self.result.confusion(name))
                words = f"{measures['share_right']:.0%} right"
            else:
                _draw_numbers(panel, self.result.of_column(name), kwargs)
                words = f"{measures['coverage']:.0%} within {self.result.coverage:.0%} intervals"
            panel.set_title(f"{plain(name)}\n{words}", fontsize=10)
        return self


def _draw_numbers(panel: Axes, entries: pd.DataFrame, kwargs: dict[str, Any]) -> None:
    if len(entries) > MOST_POINTS:
        entries = entries.iloc[np.linspace(0, len(entries) - 1, MOST_POINTS).astype(int)]
    true, imputed, lower, upper = (
        entries[side].to_numpy(dtype=float) for side in ("true", "imputed", "lower", "upper")
    )
    inside = (lower <= true) & (true <= upper)
    colours = np.where(inside, "C0", "C3").tolist()
    panel.vlines(true, lower, upper, colors=colours, linewidth=0.9, alpha=0.4)
    style: dict[str, Any] = {"s": 10, "c": colours, "linewidths": 0, "zorder": 3, **kwargs}
    panel.scatter(true, imputed, **style)
    panel.axline((true[0], true[0]), slope=1, color="0.4", linewidth=0.8)
    panel.set(xlabel="true", ylabel="imputed")


def _draw_confusion(panel: Axes, counts: pd.DataFrame) -> None:
    totals = counts.to_numpy().sum(axis=1, keepdims=True)
    shares = np.divide(
        counts.to_numpy(), totals, out=np.full(counts.shape, np.nan), where=totals > 0
    )
    panel.set_facecolor("0.88")  # of levels that were never hidden
    panel.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    ticks = some_ticks(len(counts))
    names = [plain(counts.index[k]) for k in ticks]
    name_across(panel, ticks, names, MOST_LETTERS)
    panel.set_yticks(ticks, names)
    panel.set(xlabel="imputed", ylabel="true")
    if len(counts) > MOST_NUMBERS:
        return
    for row, column in np.argwhere(np.isfinite(shares)):
        share = shares[row, column]
        colour = "white" if share > 0.6 else "black"
        style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": "small"}
        panel.text(column, row, f"{share:.0%}", color=colour, **style)
