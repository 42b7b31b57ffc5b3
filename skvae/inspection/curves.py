"""How training went."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skvae.inspection.figures import axes_for

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class LossCurveDisplay:
    """Training loss and held-out loss by validation.

    Parameters
    ----------
    loss_curve : sequence of float
        Negative training bound by validation.
    validation_scores : sequence of float, default=()
        Bound on held-out rows by validation; drawn with the sign changed.

    Attributes
    ----------
    lines_ : list of Line2D
        Of the training rows and, where there are any, of the held-out rows.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    """

    ax_: Axes
    figure_: Any

    def __init__(
        self, loss_curve: Sequence[float], validation_scores: Sequence[float] = ()
    ) -> None:
        self.loss_curve = loss_curve
        self.validation_scores = validation_scores

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, ax: Axes | None = None, **kwargs: Any
    ) -> LossCurveDisplay:
        """Draw how a fitted estimator was trained.

        Parameters
        ----------
        estimator : VAETransformer
            Fitted, with hidden layers.
        ax : matplotlib Axes, optional
            New ones by default.
        **kwargs
            Of `Axes.plot`, for both curves.

        Returns
        -------
        LossCurveDisplay

        Raises
        ------
        NotFittedError, ValueError
            If the estimator is not fitted, or was solved without gradient steps.
        """
        check_is_fitted(estimator)
        curve = getattr(estimator, "loss_curve_", None)
        name = type(estimator).__name__
        if not isinstance(curve, list):
            raise ValueError(
                f"{name} has no single loss curve. Give LossCurveDisplay the list to draw: "
                "LossCurveDisplay(loss_curve).plot()."
            )
        if not curve:
            raise ValueError(
                f"This {name} took no gradient steps (hidden_layer_sizes=() or max_iter=0): it has "
                "no loss curve."
            )
        return cls(curve, estimator.validation_scores_).plot(ax, **kwargs)

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> LossCurveDisplay:
        """Draw the curves; a ring marks the best validation.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            New ones by default.
        **kwargs
            Of `Axes.plot`, for both curves.

        Returns
        -------
        LossCurveDisplay
        """
        ax = axes_for(self, ax)
        style = {"marker": ".", **kwargs}
        steps = np.arange(1, len(self.loss_curve) + 1)
        self.lines_ = ax.plot(steps, self.loss_curve, label="training rows", **style)
        if len(self.validation_scores):
            held_out = -np.asarray(self.validation_scores, dtype=float)
            steps = np.arange(1, len(held_out) + 1)
            self.lines_ += ax.plot(steps, held_out, label="held-out rows", **style)
            best = int(np.nanargmin(held_out))
            ring: dict[str, Any] = {
                "marker": "o",
                "markersize": 9,
                "fillstyle": "none",
                "linestyle": "",
            }
            ax.plot(best + 1, held_out[best], color="0.3", label="best", **ring)
        ax.set(xlabel="validation", ylabel="negative bound, nats per row")
        ax.locator_params(axis="x", integer=True)
        ax.legend()
        return self
