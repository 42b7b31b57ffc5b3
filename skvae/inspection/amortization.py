"""How much of the bound's gap is the encoder's fault, and how much the posterior family's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from skvae.inference import Table, noise_block
from skvae.inference.session import torch_defaults
from skvae.inspection.figures import axes_for
from skvae.inspection.fitted import (
    Encoded,
    check_integer,
    check_real,
    encode,
    rows_at_once,
)
from skvae.models.hierarchical import LayeredPosterior
from skvae.models.vae import VAE, Posterior

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Samples of z in a gradient step: so many pairs of mirrored noise.
MIRRORED_PAIRS = 8
# Every so many steps all rows are scored, each keeps its best posterior, and progress is judged.
CHECK_EVERY = 20
CHECK_SAMPLES = 64
# Columns of the three levels, and what a picture calls them and the gaps.
LEVELS = ("elbo", "elbo_optimised", "log_prob")
LEVEL_NAMES = ("ELBO,\nencoder", "ELBO,\nrow by row", "log p(x)")
GAP_NAMES = ("amortization gap", "approximation gap")


@dataclass(frozen=True)
class _Settings:
    n_samples: int
    max_iter: int
    learning_rate: float
    tol: float


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
        Optimisation ends when 20 steps raise the mean ELBO by less than so many nats.

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
    All levels use the same noise, which optimisation has not seen; a row for which the optimised
    posterior is no better keeps the encoder's. ``log_prob`` is an importance-weighted bound: with
    few samples it reads low, and so does the approximation gap. Models trained with
    ``n_importance_samples > 1`` aim at another bound than the ELBO, so that their encoders' gaps
    are larger than those of models trained on it.

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
    settings = _Settings(
        check_integer(n_samples, "n_samples"),
        check_integer(max_iter, "max_iter", least=0),
        check_real(learning_rate, "learning_rate", positive=True),
        check_real(tol, "tol"),
    )
    with torch_defaults():
        encoded = encode(estimator, X)
        levels = encoded.in_units(_levels(encoded, settings))
    frame = pd.DataFrame(levels, index=encoded.index, columns=list(LEVELS))
    frame["amortization_gap"] = frame["elbo_optimised"] - frame["elbo"]
    frame["approximation_gap"] = frame["log_prob"] - frame["elbo_optimised"]
    return frame


def _levels(encoded: Encoded, settings: _Settings) -> Tensor:
    """The three levels of every row, float64 of shape (n, 3)."""
    model, generator = encoded.model, encoded.generator(2)
    check = noise_block(CHECK_SAMPLES, model.n_components, encoded.seed + 3)
    fresh = noise_block(settings.n_samples, model.n_components, encoded.seed + 4)
    parts = []
    for part in encoded.chunks(2 * MIRRORED_PAIRS):
        own = _Optimiser(model, part, check, generator).run(settings)
        some = torch.arange(len(part.features)).split(rows_at_once(settings.n_samples))
        parts += [_three(model, part.take(rows), own[:, :, rows], fresh) for rows in some]
    return torch.cat(parts)


def _three(model: VAE, part: Table, own: Tensor, noise: Tensor) -> Tensor:
    """The levels (n, 3) of some rows, whose own posteriors are `own` (2, 1, n, k) away."""
    posterior = model.posterior(part.features, part.masks[1], part.context)
    encoder = _log_weights(model, part, posterior, noise).double()
    moved = _log_weights(model, part, posterior.shifted(*own), noise).double()
    # Comparing with NaN is false. The better posterior also is the better proposal: weights of a
    # poor one have heavy tails, and one point of the shared noise could mislead all rows.
    better = moved.mean(-1, keepdim=True) > encoder.mean(-1, keepdim=True)
    kept = torch.where(better, moved, encoder)
    log_prob = kept.logsumexp(-1) - math.log(len(noise))
    return torch.stack([encoder.mean(-1), kept.mean(-1), log_prob], dim=-1)


def _log_weights(
    model: VAE, part: Table, posterior: Posterior | LayeredPosterior, noise: Tensor
) -> Tensor:
    """``log p(x_o, z) - log q(z)`` of every row's samples, (n, n_samples)."""
    z, log_q = posterior.rsample(noise)
    driven = model.decode(z, part.context)
    log_likelihood = model.log_likelihood(driven, part.targets, part.masks[0]).sum(-1)
    return (log_likelihood + model.log_prior(z, part.context) - log_q)[0]


class _Optimiser:
    """Every row's own posterior, found by gradient steps from the encoder's.

    Parameters
    ----------
    model : VAE
        Read only: gradients are taken with respect to the rows' own numbers.
    part : Table
        Rows that are optimised side by side.
    check : Tensor of shape (n_samples, k)
        Noise under which rows are scored.
    generator : torch.Generator
        Of the noise of the steps.
    """

    def __init__(self, model: VAE, part: Table, check: Tensor, generator: torch.Generator) -> None:
        self.model, self.part, self.check, self.generator = model, part, check, generator
        self.posterior = model.posterior(part.features, part.masks[1], part.context)
        # Move and log scale, added to the encoder's.
        self.own = torch.zeros(2, 1, len(part.features), model.n_components, requires_grad=True)

    def run(self, settings: _Settings) -> Tensor:
        """The best found, (2, 1, n, k)."""
        adam = torch.optim.Adam([self.own], lr=settings.learning_rate)
        best, score = self.own.detach().clone(), self._score()
        for step in range(1, settings.max_iter + 1):
            self.own.grad = self._gradient()
            adam.step()
            if step % CHECK_EVERY and step != settings.max_iter:
                continue
            now = self._score()
            better = now > score  # false for NaN
            gain = (now - score).where(better, 0.0).mean()
            score = now.where(better, score)
            best = self.own.detach().where(better[:, None], best)
            if gain < settings.tol:
                break
        return best

    def _gradient(self) -> Tensor:
        """Of the negative ELBO, with fresh noise in mirrored pairs."""
        shape = (1, len(self.part.features), MIRRORED_PAIRS, self.model.n_components)
        half = torch.randn(shape, generator=self.generator)
        with torch.enable_grad():
            loss = -self._bound(torch.cat([half, -half], dim=2)).sum()
            return torch.autograd.grad(loss, self.own)[0]

    def _score(self) -> Tensor:
        return self._bound(self.check).double()

    def _bound(self, noise: Tensor) -> Tensor:
        """ELBO of every row, (n,)."""
        posterior = self.posterior.shifted(*self.own)
        return _log_weights(self.model, self.part, posterior, noise).mean(-1)


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
