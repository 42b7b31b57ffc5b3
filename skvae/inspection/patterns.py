"""Which cells of a table are absent together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skvae.inspection.figures import (
    MOST_TICKS,
    axes_for,
    import_matplotlib,
    name_across,
    plain,
    some_ticks,
)
from skvae.inspection.fitted import check_integer
from skvae.tabular.holes import find_holes
from skvae.tabular.table import as_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Letters of all names that fit side by side.
MOST_LETTERS = 50


def missingness_patterns(X: Any, *, missing_values: Any = np.nan) -> pd.DataFrame:
    """Distinct patterns of holes, and how many rows have each.

    As `md.pattern` of [1]_ shows them.

    Parameters
    ----------
    X : DataFrame or array-like of shape (n_samples, n_features)
        Whatever its columns hold.
    missing_values : object, default=nan
        A value that marks holes. NaN, None and `pd.NA` always do.

    Returns
    -------
    DataFrame of bool, shape (n_patterns, n_features)
        True where a pattern has a hole. The index, named "n_rows", holds the number of rows of
        each pattern, the most frequent first; of equally frequent ones, those with fewer holes.
        Columns are those of `X`, or positions.

    Raises
    ------
    ValueError, TypeError
        If `X` is no table, has no rows or no columns, is sparse, or has two columns of one name.

    References
    ----------
    .. [1] van Buuren and Groothuis-Oudshoorn (2011), mice: Multivariate Imputation by Chained
       Equations in R.

    Examples
    --------
    >>> import numpy as np
    >>> from skvae.inspection import missingness_patterns
    >>> patterns = missingness_patterns([[1.0, 2.0], [np.nan, 3.0], [4.0, 5.0]])
    >>> patterns.index.tolist(), patterns.to_numpy().tolist()
    ([2, 1], [[False, False], [True, False]])
    """
    holes = find_holes(X, missing_values)
    # Eight cells a byte: rows are compared as short strings of bytes.
    _, first, counts = np.unique(
        np.packbits(holes, axis=1), axis=0, return_index=True, return_counts=True
    )
    patterns = holes[first]
    order = np.lexsort((patterns.sum(axis=1), -counts))
    names = as_table(X).names
    columns = X.columns if isinstance(X, pd.DataFrame) else pd.Index(names)
    return pd.DataFrame(patterns[order], pd.Index(counts[order], name="n_rows"), columns)


class MissingnessPatternDisplay:
    """Patterns of holes as a matrix, with their numbers of rows and the columns' shares of holes.

    Parameters
    ----------
    patterns : DataFrame of bool, shape (n_patterns, n_features)
        As `missingness_patterns` returns it.
    max_patterns : int, default=20
        Patterns to draw, the most frequent ones.

    Attributes
    ----------
    image_ : AxesImage
        1 where a pattern has a hole, 0 elsewhere.
    shares_ : Series of float, shape (n_features,)
        Share of the rows, of all patterns, in which each column has a hole.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    """

    ax_: Axes
    figure_: Any

    def __init__(self, patterns: pd.DataFrame, max_patterns: int = 20) -> None:
        self.patterns = patterns
        self.max_patterns = max_patterns

    @classmethod
    def from_data(
        cls,
        X: Any,
        *,
        max_patterns: int = 20,
        missing_values: Any = np.nan,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> MissingnessPatternDisplay:
        """Count the patterns of a table and draw them.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
        max_patterns : int, default=20
            Patterns to draw, the most frequent ones.
        missing_values : object, default=nan
            A value that marks holes. NaN, None and `pd.NA` always do.
        ax : matplotlib Axes, optional
            New ones by default.
        **kwargs
            Of `Axes.imshow`.

        Returns
        -------
        MissingnessPatternDisplay

        Raises
        ------
        ValueError, TypeError
            As of `missingness_patterns`, or if `max_patterns` is no positive integer.
        """
        max_patterns = check_integer(max_patterns, "max_patterns")
        patterns = missingness_patterns(X, missing_values=missing_values)
        return cls(patterns, max_patterns).plot(ax, **kwargs)

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> MissingnessPatternDisplay:
        """Draw the patterns, the most frequent one on top.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            New ones by default.
        **kwargs
            Of `Axes.imshow`.

        Returns
        -------
        MissingnessPatternDisplay
        """
        plt = import_matplotlib(type(self).__name__)
        shown, n_rows = self.patterns.iloc[: self.max_patterns], self.patterns.index.to_numpy()
        if ax is None:
            width, height = (min(n, MOST_TICKS) for n in shown.shape[::-1])
            size = (min(2.5 + 0.7 * width, 12), 2.2 + 0.28 * height)
            _, ax = plt.subplots(figsize=size, layout="constrained")
        ax = axes_for(self, ax)
        style = {"cmap": "Blues", "vmin": 0, "vmax": 1.4, "aspect": "auto", **kwargs}
        self.image_ = ax.imshow(shown.to_numpy(float), **{"interpolation": "nearest", **style})
        self._draw_grid(shown.shape)
        rows = some_ticks(len(shown))
        ax.set_yticks(rows, [f"{n_rows[k]} ({n_rows[k] / n_rows.sum():.1%})" for k in rows])
        self.shares_ = pd.Series(
            n_rows @ self.patterns.to_numpy(float) / n_rows.sum(), self.patterns.columns
        )
        self._name_columns()
        ax.set(ylabel="rows with the pattern")
        n_others, words = len(self.patterns) - len(shown), "dark cells are absent"
        if n_others:
            left = n_rows[len(shown) :].sum()
            words += f"; {n_others} rarer pattern{'s' * (n_others > 1)} of {left} rows left out"
        ax.set_xlabel(words)
        return self

    def _draw_grid(self, shape: tuple[int, ...]) -> None:
        """White lines between cells."""
        for axis, n in zip((self.ax_.yaxis, self.ax_.xaxis), shape, strict=True):
            if n <= MOST_TICKS:
                axis.set_ticks(np.arange(n + 1) - 0.5, minor=True)
        self.ax_.grid(which="minor", color="white", linewidth=1.2)
        self.ax_.tick_params(which="minor", length=0)

    def _name_columns(self) -> None:
        """Names below, shares of holes above."""
        ticks = some_ticks(len(self.shares_))
        names = [plain(self.shares_.index[k]) for k in ticks]
        name_across(self.ax_, ticks, names, MOST_LETTERS)
        above = self.ax_.secondary_xaxis("top")
        shares = self.shares_.to_numpy()[ticks]
        turned: dict[str, Any] = {"rotation": 90} if len(ticks) > 12 else {}
        above.set_xticks(ticks, [f"{share:.1%}" for share in shares], fontsize="small", **turned)
        above.tick_params(length=0)
        above.set_xlabel("share missing", fontsize="small")
