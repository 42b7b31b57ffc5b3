"""How much of the bound's gap is the encoder's fault, and how much the posterior family's."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from skvae.inference import Table, noise_block
from skvae.inference.refit import MIRRORED_PAIRS, PosteriorRefit, RefitSettings, log_weights
from skvae.inference.session import torch_defaults
from skvae.inspection.figures import axes_for
from skvae.inspection.fitted import (
    Encoded,
    check_integer,
    check_real,
    encode,
    rows_at_once,
)
from skvae.models.multimodal import BlockVAE
from skvae.models.vae import VAE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Samples under which rows are scored while their posteriors are optimised.
CHECK_SAMPLES = 64
# Columns of the three levels, and what a picture calls them and the gaps.
LEVELS = ("elbo", "elbo_optimised", "log_prob")
LEVEL_NAMES = ("ELBO,\nencoder", "ELBO,\nrow by row", "log p(x)")
GAP_NAMES = ("amortization gap", "approximation gap")


def amortization_gap(
    estimator: Any,
    X: Any,
    *,
    n_samples: int = 500,
    max_iter: int = 200,
    learning_rate: float = 0.02,
    tol: float = 1e-3,
) -> pd.DataFrame:
    """Split the gap between every row's bound and its log-density.

    The decoder stays as it is, while every row's own posterior is optimised, from the encoder's
    on. What the ELBO then gains the encoder has lost by having to serve all rows; what is still
    missing from ``log p(x)`` no posterior of this family can reach [1]_.

    Parameters
    ----------
    estimator : VAETransformer
        Fitted; it is not changed.
    X : DataFrame or array-like of shape (n_samples, n_features)
        Holes are welcome: everything is about the observed part.
    n_samples : int, default=500
        Of ``z`` for each row, for the three levels.
    max_iter : int, default=200
        Gradient steps at most, for all rows side by side.
    learning_rate : float, default=0.02
        Of Adam, in standard deviations of the linear posterior and nats of scale.
    tol : float, default=1e-3
        A row's optimisation ends when 40 steps have raised its ELBO by less than so many nats.

    Returns
    -------
    DataFrame with the index of `X`
        In nats and the units of the columns. ``elbo``: under the encoder's posterior.
        ``elbo_optimised``: under the row's own. ``log_prob``: importance sampling from the better
        of the two. ``amortization_gap``: the second minus the first. ``approximation_gap``: the
        third minus the second. No gap is negative.

    Raises
    ------
    NotFittedError, ValueError
        If the estimator is not fitted or not a `VAETransformer`, or arguments do not suit.

    Notes
    -----
    It is about the encoder, whatever `inference` is. All levels use the same noise, which
    optimisation has not seen; a row for which the optimised posterior is no better keeps the
    encoder's. ``log_prob`` is an importance-weighted bound: with few samples it reads low, and so
    does the approximation gap. Models trained with ``n_importance_samples > 1`` aim at another
    bound than the ELBO, so that their encoders' gaps are larger than those of models trained on it.

    References
    ----------
    .. [1] Cremer, Li and Duvenaud (2018), Inference Suboptimality in Variational Autoencoders.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import VAETransformer
    >>> from skvae.inspection import amortization_gap
    >>> X = load_iris(as_frame=True).data
    >>> linear = VAETransformer(n_components=2, hidden_layer_sizes=()).fit(X)
    >>> gap = amortization_gap(linear, X)  # its posterior is exact
    >>> bool(gap["amortization_gap"].max() < 1e-3)
    True
    """
    n_samples = check_integer(n_samples, "n_samples")
    settings = RefitSettings(
        check_integer(max_iter, "max_iter", least=0),
        check_real(learning_rate, "learning_rate", positive=True),
        check_real(tol, "tol"),
    )
    with torch_defaults():
        encoded = encode(estimator, X)
        if isinstance(encoded.model, BlockVAE):
            raise ValueError(
                "amortization_gap takes a VAETransformer: the posterior of MultimodalVAE mixes "
                "products of its blocks' experts, which no single Gaussian stands for."
            )
        levels = encoded.in_units(_levels(encoded, n_samples, settings))
    frame = pd.DataFrame(levels, index=encoded.index, columns=list(LEVELS))
    frame["amortization_gap"] = frame["elbo_optimised"] - frame["elbo"]
    frame["approximation_gap"] = frame["log_prob"] - frame["elbo_optimised"]
    return frame


def _levels(encoded: Encoded, n_samples: int, settings: RefitSettings) -> Tensor:
    """The three levels of every row, float64 of shape (n, 3)."""
    model, generator = encoded.model, encoded.generator(2)
    check = noise_block(CHECK_SAMPLES, model.n_components, encoded.seed + 3)
    fresh = noise_block(n_samples, model.n_components, encoded.seed + 4)
    parts = []
    for part in encoded.chunks(2 * MIRRORED_PAIRS):
        own = PosteriorRefit(model, part, check, generator).run(settings)
        some = torch.arange(len(part.features)).split(rows_at_once(n_samples))
        parts += [_three(model, part.take(rows), own[:, :, rows], fresh) for rows in some]
    return torch.cat(parts)


def _three(model: VAE, part: Table, own: Tensor, noise: Tensor) -> Tensor:
    """The levels (n, 3) of some rows, whose own posteriors are `own` (2, 1, n, k) away."""
    posterior = model.posterior(part.features, part.masks[1], part.context)
    encoder = log_weights(model, part, posterior, noise)[0].double()
    moved = log_weights(model, part, posterior.shifted(*own), noise)[0].double()
    # Comparing with NaN is false. The better posterior also is the better proposal: weights of a
    # poor one have heavy tails, and one point of the shared noise could mislead all rows.
    better = moved.mean(-1, keepdim=True) > encoder.mean(-1, keepdim=True)
    kept = torch.where(better, moved, encoder)
    log_prob = kept.logsumexp(-1) - math.log(len(noise))
    return torch.stack([encoder.mean(-1), kept.mean(-1), log_prob], dim=-1)


class AmortizationGapDisplay:
    """The mean levels as a staircase, the gaps as its steps.

    Parameters
    ----------
    gap : DataFrame
        As `amortization_gap` returns it.

    Attributes
    ----------
    bars_ : BarContainer
        The two gaps.
    lines_ : LineCollection
        The three levels.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    """

    ax_: Axes
    figure_: Any

    def __init__(self, gap: pd.DataFrame) -> None:
        self.gap = gap

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        n_samples: int = 500,
        max_iter: int = 200,
        learning_rate: float = 0.02,
        tol: float = 1e-3,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> AmortizationGapDisplay:
        """Compute `amortization_gap` and draw it.

        Parameters
        ----------
        estimator : VAETransformer
            Fitted.
        X : DataFrame or array-like of shape (n_samples, n_features)
        n_samples, max_iter, learning_rate, tol
            As of `amortization_gap`.
        ax : matplotlib Axes, optional
            New ones by default.
        **kwargs
            Of `Axes.bar`.

        Returns
        -------
        AmortizationGapDisplay
        """
        gap = amortization_gap(
            estimator,
            X,
            n_samples=n_samples,
            max_iter=max_iter,
            learning_rate=learning_rate,
            tol=tol,
        )
        return cls(gap).plot(ax, **kwargs)

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> AmortizationGapDisplay:
        """Draw the mean levels as lines and the gaps between them as bars.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            New ones by default.
        **kwargs
            Of `Axes.bar`.

        Returns
        -------
        AmortizationGapDisplay
        """
        ax = axes_for(self, ax)
        levels = self.gap[list(LEVELS)].mean().to_numpy()
        heights = np.diff(levels)
        names = [f"{name} {height:.3f}" for name, height in zip(GAP_NAMES, heights, strict=True)]
        style = {"width": 0.5, "color": ["C0", "C1"], **kwargs}
        self.bars_ = ax.bar([0.5, 1.5], heights, bottom=levels[:-1], label=names, **style)
        at = np.arange(3)
        self.lines_ = ax.hlines(levels, at - 0.3, at + 0.3, color="0.2", linewidth=2)
        for x, level in zip(at, levels, strict=True):
            place: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "va": "bottom"}
            ax.annotate(f"{level:.2f}", (x, level), (0, 2), **place)
        ax.set_xticks(at, LEVEL_NAMES)
        room = max(0.15 * (levels[-1] - levels[0]), 0.05)
        ax.set(ylabel="nats per row", ylim=(levels[0] - 2 * room, levels[-1] + room))
        ax.legend(loc="lower right", fontsize="small")  # below the staircase
        return self
