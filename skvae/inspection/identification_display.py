"""How far each latent comes back in refits, drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skvae.inspection.figures import axes_for, import_matplotlib, some_ticks
from skvae.inspection.identification import IdentifiabilityReport, identifiability

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"stable": "C0", "drifts": "C1", "arbitrary": "C3"}
# Widths in latents: of the line at a mean, and of the refits' dots beside each other.
LINE, DOTS = 0.7, 0.4


class IdentifiabilityDisplay:
    """Correlation of each latent with those of refits: a dot for each refit, a line at the mean.

    Parameters
    ----------
    report : IdentifiabilityReport

    Attributes
    ----------
    dots_ : dict of str to PathCollection
        By verdict.
    means_ : dict of str to LineCollection
        By verdict.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    """

    ax_: Axes
    figure_: Any

    def __init__(self, report: IdentifiabilityReport) -> None:
        self.report = report

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        n_refits: int = 5,
        *,
        fraction: float = 0.8,
        method: str = "pearson",
        random_state: int | np.random.RandomState | None = 0,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> IdentifiabilityDisplay:
        """Compute `identifiability` and draw it.

        Parameters
        ----------
        estimator : VAETransformer
            Fitted.
        X : DataFrame or array-like of shape (n_samples, n_features)
        n_refits, fraction, method, random_state
            As of `identifiability`.
        ax : matplotlib Axes, optional
            New ones by default.
        **kwargs
            Of `Axes.scatter`.

        Returns
        -------
        IdentifiabilityDisplay

        Raises
        ------
        NotFittedError, ValueError
            As of `identifiability`.
        """
        import_matplotlib(cls.__name__)  # before anything is fitted
        report = identifiability(
            estimator,
            X,
            n_refits,
            fraction=fraction,
            method=method,
            random_state=random_state,
        )
        return cls(report).plot(ax, **kwargs)

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> IdentifiabilityDisplay:
        """Draw dots and means, coloured by verdict; inactive latents stand on grey, without dots.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            New ones by default.
        **kwargs
            Of `Axes.scatter`.

        Returns
        -------
        IdentifiabilityDisplay
        """
        ax = axes_for(self, ax)
        report, verdicts = self.report, self.report.latents["verdict"].to_numpy()
        n_refits, k = report.correlations.shape
        self.dots_, self.means_ = {}, {}
        beside = np.linspace(-DOTS / 2, DOTS / 2, n_refits) if n_refits > 1 else np.zeros(1)
        for verdict, colour in COLOURS.items():
            at = np.flatnonzero(verdicts == verdict)
            if not at.size:
                continue
            mean = report.latents["correlation"].to_numpy()[at]
            self.means_[verdict] = ax.hlines(
                mean, at - LINE / 2, at + LINE / 2, color=colour, linewidth=2.5, label=verdict
            )
            style: dict[str, Any] = {"s": 16, "color": colour, "alpha": 0.6, "linewidths": 0}
            places = at + beside[:, None]
            drawn = ax.scatter(places, report.correlations[:, at], **{**style, **kwargs})
            self.dots_[verdict] = drawn
        for n, j in enumerate(np.flatnonzero(verdicts == "inactive")):
            label = None if n else "inactive"
            ax.axvspan(j - 0.5, j + 0.5, color="0.88", zorder=0, linewidth=0, label=label)
        line: dict[str, Any] = {"color": "0.4", "linewidth": 0.8, "zorder": 0}
        ax.axhline(report.stable_from, label="least of stable ones", **line)
        if report.chance_mcc:
            ax.axhline(report.chance_mcc, linestyle=":", label="axes turned at random", **line)
        ticks = some_ticks(k)
        ax.set_xticks(ticks, [str(j) for j in ticks])
        ax.set(xlabel="latent dimension", ylabel="correlation with refits")
        ax.set(xlim=(-0.5, k - 0.5), ylim=(0.0, 1.03))
        if not np.isnan(report.mcc):
            figures = f"{report.mcc:.2f}, {report.linear_mcc:.2f} after a linear map"
            ax.set_title(f"mean correlation {figures}", fontsize=10)
        ax.legend(loc="best", fontsize="small")
        return self
