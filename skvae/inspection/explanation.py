"""Which columns made a row odd, as bars."""

from __future__ import annotations

from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from skvae.inspection.figures import axes_for
from skvae.inspection.fitted import check_integer

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class ExplanationDisplay:
    """Contributions of a row's columns, with the values beside what was expected.

    Parameters
    ----------
    explanation : DataFrame
        Of one row, indexed by column: ``VAEOutlierDetector.explain(X).loc[label]``.
    n_columns : int, default=10
        Columns to draw, those with the largest contributions.

    Attributes
    ----------
    bars_ : BarContainer
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    """

    ax_: Axes
    figure_: Any

    def __init__(self, explanation: pd.DataFrame, n_columns: int = 10) -> None:
        self.explanation = explanation
        self.n_columns = n_columns

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        row: int = 0,
        n_columns: int = 10,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> ExplanationDisplay:
        """Explain one row and draw it.

        Parameters
        ----------
        estimator : VAEOutlierDetector
            Fitted.
        X : DataFrame or array-like of shape (n_samples, n_features)
        row : int, default=0
            Position of the row in `X`.
        n_columns : int, default=10
        ax : matplotlib Axes, optional
            New ones by default.
        **kwargs
            Of `Axes.barh`.

        Returns
        -------
        ExplanationDisplay

        Raises
        ------
        NotFittedError, ValueError
            If the estimator is not a fitted detector, or `X` has no such row.
        """
        if not hasattr(type(estimator), "explain"):
            raise ValueError(
                f"estimator must be a fitted VAEOutlierDetector, got {str(estimator)[:80]}."
            )
        check_is_fitted(estimator)
        row = check_integer(row, "row", least=0)
        if row >= len(X):
            raise ValueError(f"row={row} is past the last of the {len(X)} rows of X.")
        one = X.iloc[row : row + 1] if isinstance(X, pd.DataFrame) else X[row : row + 1]
        table = estimator.explain(one).droplevel("row")
        return cls(table, check_integer(n_columns, "n_columns")).plot(ax, **kwargs)

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> ExplanationDisplay:
        """Draw one bar for each column, the largest contribution on top.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            New ones by default.
        **kwargs
            Of `Axes.barh`.

        Returns
        -------
        ExplanationDisplay
        """
        ax = axes_for(self, ax)
        table = self.explanation.dropna(subset="contribution")
        table = table.nlargest(self.n_columns, "contribution").iloc[::-1]
        height = table["contribution"].to_numpy(float)
        style = {"color": np.where(height > 0, "C3", "C0"), **kwargs}
        self.bars_ = ax.barh(np.arange(len(table)), height, **style)
        words = [f"{line.Index}\n{_in_words(line)}" for line in table.itertuples()]
        # Dollar signs would begin a formula.
        ax.set_yticks(np.arange(len(table)), [text.replace("$", r"\$") for text in words])
        ax.axvline(0, color="0.5", linewidth=0.8)
        ax.set(xlabel="contribution, nats")
        return self


def _in_words(line: Any) -> str:
    """Like ``600, expected 110 ± 25``."""
    text = f"{_number(line.value)}, expected {_number(line.expected)}"
    return text if pd.isna(line.std) else f"{text} ± {_number(line.std, 2)}"


def _number(value: Any, digits: int = 4) -> str:
    if isinstance(value, Real) and not isinstance(value, Integral):
        return np.format_float_positional(float(value), digits, fractional=False, trim="-")
    return str(value)
