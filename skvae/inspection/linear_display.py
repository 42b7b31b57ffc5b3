"""The picture of `linear_report`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skvae.inspection.figures import axes_for, some_ticks
from skvae.inspection.linear import LinearReport, linear_report

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Directions beyond the latent dimensions that are shown, and the lowest eigenvalue that is.
MORE_DIRECTIONS, LOWEST = 5, 1e-3


class LinearReportDisplay:
    """Scree plot: eigenvalues against the noise level, collapsed dimensions hollow.

    Parameters
    ----------
    report : LinearReport

    Attributes
    ----------
    points_ : dict of Line2D
        Eigenvalues: "in use", "collapsed", and "beyond n_components".
    decoder_ : Line2D
        What the decoder makes of them: its columns' squared norms plus the noise.
    level_ : Line2D
        The noise level.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    """

    ax_: Axes
    figure_: Any

    def __init__(self, report: LinearReport) -> None:
        self.report = report

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, *, ax: Axes | None = None
    ) -> LinearReportDisplay:
        """Compute `linear_report` and draw it.

        Parameters
        ----------
        estimator : VAETransformer
            Fitted, with ``hidden_layer_sizes=()``.
        X : DataFrame or array-like of shape (n_samples, n_features)
        ax : matplotlib Axes, optional
            New ones by default.

        Returns
        -------
        LinearReportDisplay
        """
        return cls(linear_report(estimator, X)).plot(ax)

    def plot(self, ax: Axes | None = None) -> LinearReportDisplay:
        """Draw the eigenvalues, in standardised units where all columns share one noise variance.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            New ones by default.

        Returns
        -------
        LinearReportDisplay
        """
        ax = axes_for(self, ax)
        report, frame = self.report, self.report.dimensions
        unit = 1.0 if report.noise_variance is None else report.noise_variance
        k, q = len(frame), len(report.eigenvalues)
        shown = min(q, k + max(k, MORE_DIRECTIONS))
        # A logarithm has no place for the zeros beyond the rank.
        heights = unit * report.eigenvalues[:shown].clip(min=LOWEST)
        at, gone = np.arange(shown), np.zeros(shown, dtype=bool)
        gone[:k] = frame["collapsed"]
        self.decoder_ = ax.plot(
            at[:k],
            unit * (1 + frame["decoder_norm"] ** 2),
            "_",
            color="0.2",
            markersize=16,
            label="decoder and noise",
        )[0]
        styles: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
            "in use": (~gone & (at < k), {"marker": "o", "color": "C0"}),
            "collapsed": (gone, {"marker": "o", "color": "C0", "markerfacecolor": "none"}),
            "beyond n_components": (at >= k, {"marker": ".", "color": "0.6"}),
        }
        self.points_ = {}
        for name, (where, style) in styles.items():
            label = name if where.any() else None
            line = ax.plot(at[where], heights[where], linestyle="none", label=label, **style)[0]
            self.points_[name] = line
        level = "noise level" if report.noise_variance is None else f"noise level {unit:.3g}"
        self.level_ = ax.axhline(unit, color="C3", linestyle="--", linewidth=1, label=level)
        ticks = some_ticks(shown)
        ax.set_xticks(ticks, [str(j) for j in ticks])
        what = "of the noise-scaled" if report.noise_variance is None else "of the standardised"
        ax.set(yscale="log", xlabel="dimension", ylabel=f"eigenvalue {what} covariance")
        ax.legend(fontsize="small")
        return self
