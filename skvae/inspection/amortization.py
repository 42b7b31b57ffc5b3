"""How much of the bound's gap is the encoder's fault, and how much the posterior family's."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from skvae.inference import Table, noise_block
from skvae.inference.adaptive import Adaptive
from skvae.inference.proposals import encode
from skvae.inference.refit import MIRRORED_PAIRS, PosteriorRefit, RefitSettings, log_weights
from skvae.inference.scored import ScoredRows, Share, rows_at_once
from skvae.inference.session import torch_defaults
from skvae.inspection.figures import axes_for
from skvae.inspection.fitted import (
    check_integer,
    check_real,
    device_of,
    index_of,
    scored_rows,
)
from skvae.models.joint import JointModel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Samples under which rows are scored while their posteriors are optimised.
CHECK_SAMPLES = 64
# Of smaller amortization gaps, in nats, nobody can say what share is recovered.
LEAST_GAP = 1e-3
# Columns of the three levels, and what a picture calls them and the gaps.
LEVELS = ("elbo", "elbo_optimised", "log_prob")
LEVEL_NAMES = ("ELBO,\nencoder", "ELBO,\nrow by row", "log p(x)")
GAP_NAMES = ("amortization gap", "approximation gap")
ADAPTIVE_NAME = 'inference="adaptive"'


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
    missing from ``log p(x)`` no posterior of this family can reach [1]_. How much of the former
    ``inference="adaptive"`` gets back, which takes fewer steps and leaves rows alone that the
    encoder serves well, is measured too.

    Parameters
    ----------
    estimator : any estimator of skvae
        Fitted; it is not changed. What is looked into is what `score_samples` scores rows by:

        - `VAETransformer`, `VAEOutlierDetector`: the autoencoder. (The detector's "elbo" and
          "log_likelihood" scores are its own; "neighbours" and others only use its posteriors.)
        - `VAEImputer`: the members of the density, mixed. With "mnar" that of values and holes
          together, if it is used. Members that only predict have no posterior.
        - `SemiSupervisedVAEClassifier`: ``p(x | y)`` of all classes, mixed by `label_prior_`; of
          "m1" the autoencoder. Latents of several layers ("m1+m2") and auxiliary ones are
          optimised together.
        - `MultimodalVAE`: the product of the experts of all blocks that a row has, whatever
          `fusion` makes of these for `transform`.
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
        third minus the second. No gap is negative. ``elbo_adaptive``: under the posterior that
        ``inference="adaptive"`` gives the row. ``recovered``: the share of the amortization gap
        that this closes; NaN below a thousandth of a nat, and above 1 where it finds more.

    Raises
    ------
    NotFittedError, ValueError
        If the estimator is not fitted, not one of skvae, or has no model because no column varied,
        or arguments do not suit.

    Notes
    -----
    It is about the encoder, whatever `inference` is. All levels use the same noise, which
    optimisation has not seen; a row for which the optimised posterior is no better keeps the
    encoder's, but not in ``elbo_adaptive``.

    Of a mixture of models ``p(x) = sum_m w_m p_m(x)``, each has its posterior of ``z``, and every
    level is ``log sum_m w_m exp(level_m)``: the bound under the best probabilities of the models
    themselves [2]_. Posteriors of `MultimodalVAE` are mixtures over the prior's clusters, which
    are moved and scaled together.

    ``log_prob`` is an importance-weighted bound: with few samples it reads low, and so does the
    approximation gap. Models trained with ``n_importance_samples > 1`` aim at another bound than
    the ELBO, so that their encoders' gaps are larger than those of models trained on it.

    Classifiers take the time of all their classes. "m1+m2", "auxiliary" and "skip_auxiliary" encode
    every sample anew, which takes minutes for a thousand rows: some of them tell as much.

    References
    ----------
    .. [1] Cremer, Li and Duvenaud (2018), Inference Suboptimality in Variational Autoencoders.
    .. [2] Kingma, Rezende, Mohamed and Welling (2014), Semi-Supervised Learning with Deep
       Generative Models.

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
    with torch_defaults(device=device_of(estimator)):
        scored = scored_rows(estimator, X)
        each = [_levels(share, scored, n_samples, settings) for share in scored.shares]
        *levels, adaptive = scored.in_units(scored.mixed(each)).T
    index = index_of(X, len(adaptive))
    frame = pd.DataFrame(dict(zip(LEVELS, levels, strict=True)), index=index)
    frame["amortization_gap"] = frame["elbo_optimised"] - frame["elbo"]
    frame["approximation_gap"] = frame["log_prob"] - frame["elbo_optimised"]
    frame["elbo_adaptive"] = adaptive
    gap = frame["amortization_gap"].where(frame["amortization_gap"] >= LEAST_GAP)
    frame["recovered"] = (frame["elbo_adaptive"] - frame["elbo"]) / gap
    return frame


def _levels(share: Share, scored: ScoredRows, n_samples: int, settings: RefitSettings) -> Tensor:
    """Of every row under every member, float64 of shape (n_members, n, 4); adaptive ones last."""
    model, generator = share.model, scored.generator(2)
    check = noise_block(CHECK_SAMPLES, model.n_components, scored.seed + 3)
    fresh = noise_block(n_samples, model.n_components, scored.seed + 4)
    adaptive = Adaptive(scored.seed)
    parts = []
    for part in share.chunks(2 * MIRRORED_PAIRS):
        own = PosteriorRefit(model, part, check, generator).run(settings)
        found = adaptive.find(model, part)
        some = torch.arange(len(part.features)).split(rows_at_once(n_samples * model.n_members))
        parts += [
            _of_rows(model, part.take(rows), own[:, :, rows], found[:, :, rows], fresh)
            for rows in some
        ]
    return torch.cat(parts, dim=1)


def _of_rows(model: JointModel, part: Table, own: Tensor, found: Tensor, noise: Tensor) -> Tensor:
    """Levels (n_members, n, 4) of some rows.

    Their own posteriors, and those that adaptive inference finds, are `own` and `found` away from
    the encoder's, both (2, n_members, n, k).
    """
    posterior = encode(model, part)
    encoder = log_weights(model, part, posterior, noise).double()
    moved = log_weights(model, part, posterior.shifted(*own), noise).double()
    adaptive = log_weights(model, part, posterior.shifted(*found), noise).double()
    # Comparing with NaN is false. The better posterior also is the better proposal: weights of a
    # poor one have heavy tails, and one point of the shared noise could mislead all rows.
    better = moved.mean(-1, keepdim=True) > encoder.mean(-1, keepdim=True)
    kept = torch.where(better, moved, encoder)
    log_prob = kept.logsumexp(-1) - math.log(len(noise))
    return torch.stack([encoder.mean(-1), kept.mean(-1), log_prob, adaptive.mean(-1)], dim=-1)


class AmortizationGapDisplay:
    """The mean levels as a staircase, the gaps as its steps, and how far adaptive inference climbs.

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
    adaptive_ : LineCollection
        The level of adaptive inference, across the first gap.
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
        estimator : any estimator of skvae
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

        A dashed line across the amortization gap is where adaptive inference gets to.

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
        reached = float(self.gap["elbo_adaptive"].mean())
        name = ADAPTIVE_NAME
        if heights[0] >= LEAST_GAP:
            name += f": {(reached - levels[0]) / heights[0]:.0%} recovered"
        dashed: dict[str, Any] = {"color": "0.2", "linestyle": "--", "label": name}
        self.adaptive_ = ax.hlines([reached], [0.15], [0.85], **dashed)
        ax.set_xticks(at, LEVEL_NAMES)
        low, high = min(levels[0], reached), max(levels[-1], reached)
        room = max(0.15 * (high - low), 0.05)
        ax.set(ylabel="nats per row", ylim=(low - 2 * room, high + room))
        ax.legend(loc="lower right", fontsize="small")  # below the staircase
        return self
