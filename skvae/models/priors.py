"""Priors over ``z``: what an autoencoder holds to be likely before it sees a row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from skvae.distributions.natural import LOG_TWO_PI
from skvae.models.layers import LayeredNormal, bounded, draw_loose, loosened
from skvae.nn.mlp import MemberMLP

if TYPE_CHECKING:
    from skvae.models.posterior import Posterior
    from skvae.models.sources import LinearEffect
    from skvae.models.vae import VAE


class StandardNormal(nn.Module):
    """``N(0, I)`` (Kingma and Welling 2014)."""

    def log_prob(self, z: Tensor, model: VAE, context: Tensor | None = None) -> Tensor:
        """Log-density of (n_members, ..., k), shape (n_members, ...)."""
        return standard_normal_log_prob(z)

    def sample(
        self, n: int, model: VAE, generator: torch.Generator, context: Tensor | None = None
    ) -> Tensor:
        """Draws, shape (n_members, n, k)."""
        return torch.randn(model.n_members, n, model.n_components, generator=generator)


class MixtureOfGaussians(nn.Module):
    """Weighted Gaussians with diagonal covariances (Dilokthanakul et al. 2016).

    Parameters
    ----------
    centres : Tensor of shape (n_members, n_mixture, k)
        Rows of the aggregated posterior to start around. Halfway to the origin and with the
        spread that is then missing, the mixture starts close to the standard normal.
    """

    def __init__(self, centres: Tensor) -> None:
        super().__init__()
        self.mean = nn.Parameter(0.5 * centres)
        self.log_scale = nn.Parameter(torch.full_like(centres, 0.5 * math.log(0.75)))
        self.logits = nn.Parameter(torch.zeros(centres.shape[:2]))

    def log_prob(self, z: Tensor, model: VAE, context: Tensor | None = None) -> Tensor:
        """Log-density of (n_members, ..., k), shape (n_members, ...)."""
        flat = z.flatten(1, -2).unsqueeze(2)
        scale = self.log_scale.unsqueeze(1)
        each = standard_normal_log_prob((flat - self.mean.unsqueeze(1)) * (-scale).exp())
        each = each - scale.sum(-1) + self.logits.log_softmax(-1).unsqueeze(1)
        return each.logsumexp(-1).unflatten(1, z.shape[1:-1])

    def sample(
        self, n: int, model: VAE, generator: torch.Generator, context: Tensor | None = None
    ) -> Tensor:
        """Draws, shape (n_members, n, k)."""
        chosen = torch.multinomial(
            self.logits.softmax(-1), n, replacement=True, generator=generator
        )
        member = torch.arange(len(chosen))[:, None]
        noise = torch.randn(*chosen.shape, self.mean.shape[-1], generator=generator)
        return self.mean[member, chosen] + self.log_scale[member, chosen].exp() * noise


class VampPrior(nn.Module):
    """Mixture of the posteriors of learnt pseudo-rows (Tomczak and Welling 2018).

    For models with one member.

    Parameters
    ----------
    rows : Tensor of shape (n_mixture, q)
        Features of training rows, where the pseudo-rows start.
    context : Tensor of shape (n_mixture, n_context), optional
        Their context, for conditional models.
    """

    def __init__(self, rows: Tensor, context: Tensor | None = None) -> None:
        super().__init__()
        self.rows = nn.Parameter(rows.unsqueeze(0).clone())
        self.logits = nn.Parameter(torch.zeros(1, len(rows)))
        self.context = None if context is None else nn.Parameter(context.unsqueeze(0).clone())

    def log_prob(self, z: Tensor, model: VAE, context: Tensor | None = None) -> Tensor:
        """Log-density of (n_members, ..., k), shape (n_members, ...)."""
        each = self._posterior(model).log_prob(z.flatten(1, -2))  # (n_members, n, n_mixture)
        return (each + self.logits.log_softmax(-1)).logsumexp(-1).unflatten(1, z.shape[1:-1])

    def sample(
        self, n: int, model: VAE, generator: torch.Generator, context: Tensor | None = None
    ) -> Tensor:
        """Draws, shape (1, n, k)."""
        weights = self.logits.softmax(-1)[0]
        chosen = torch.multinomial(weights, n, replacement=True, generator=generator)
        return self._posterior(model, chosen).sample(generator)

    def _posterior(self, model: VAE, chosen: Tensor | slice = slice(None)) -> Posterior:
        rows = self.rows[0][chosen]
        context = None if self.context is None else self.context[0][chosen]
        return model.posterior(rows, torch.ones_like(rows, dtype=torch.bool)[None], context)


class ConditionalNormal(nn.Module):
    """Gaussian whose mean and covariance are functions of the context (Sohn et al. 2015).

    A linear function and a network give the mean and the lower triangular ``A`` that whitens:
    ``A (z - mean)`` is standard normal. Both start at zero, that is, at the standard normal for
    every context. A factorial one has a diagonal ``A``: given enough different contexts, only one
    set of axes then fits (Khemakhem et al. 2020). For models with one member.

    Parameters
    ----------
    n_context, n_components : int
    hidden_layer_sizes : sequence of int
    generator : torch.Generator
    factorial : bool, default=False
    """

    def __init__(
        self,
        n_context: int,
        n_components: int,
        hidden_layer_sizes: Sequence[int],
        generator: torch.Generator,
        *,
        factorial: bool = False,
    ) -> None:
        super().__init__()
        k = n_components
        self.n_below = 0 if factorial else k * (k - 1) // 2
        self.n_components, self.n_context = k, n_context
        n_outputs = 2 * k + self.n_below
        self.network = MemberMLP(1, [n_context, *hidden_layer_sizes, n_outputs], generator)
        self.effect = nn.Parameter(torch.zeros(n_context, n_outputs))
        self.base = nn.Parameter(torch.zeros(n_outputs))

    @torch.no_grad()
    def start_at(self, mean: LinearEffect, log_scale: LinearEffect) -> None:
        """Begin, again, at moments that are linear in the context, of a factorial prior."""
        self.network.weights[-1].zero_()
        self.network.biases[-1].zero_()
        self.effect.copy_(torch.cat([mean.slope, log_scale.slope], dim=1))
        self.base.copy_(torch.cat([mean.intercept, log_scale.intercept]))

    def log_prob(self, z: Tensor, model: VAE, context: Tensor | None = None) -> Tensor:
        """Log-density of (1, batch, ..., k) given the context (batch, n_context)."""
        noise, log_det = self._whiten(z, context)
        return loosened(standard_normal_log_prob(noise) + log_det, z)

    def sample(
        self, n: int, model: VAE, generator: torch.Generator, context: Tensor | None = None
    ) -> Tensor:
        """One draw for each of the n rows of the context, shape (1, n, k)."""
        noise = torch.randn(1, n, self.n_components, generator=generator)
        return self.place(noise, context, self.draw_loose((1, n), generator))

    def draw_loose(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Which draws are standard normal, ``(*shape, 1)``."""
        return draw_loose((*shape, 1), generator)

    def place(
        self, noise: Tensor, context: Tensor | None = None, loose: Tensor | None = None
    ) -> Tensor:
        """Latents from standard normal noise, both (1, batch, ..., k).

        Where `loose` (1, batch, ..., 1), the noise is the latent.
        """
        mean, whiten, _ = self._moments(context)
        rows = noise.view(*noise.shape[:2], -1, self.n_components)
        solved = torch.linalg.solve_triangular(whiten, rows.mT, upper=False).mT
        placed = (solved + mean.unsqueeze(-2)).view(noise.shape)
        return placed if loose is None else torch.where(loose, noise, placed)

    def whiten(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """The noise that `place` would turn into z."""
        return self._whiten(z, context)[0]

    def _whiten(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        mean, whiten, log_det = self._moments(context)
        rows = z.reshape(*z.shape[:2], -1, self.n_components)
        noise = (rows - mean.unsqueeze(-2)) @ whiten.mT
        return noise.view(z.shape), log_det.view(*log_det.shape, *(1,) * (z.ndim - 3))

    def _moments(self, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Mean (1, batch, k), whitening matrix (1, batch, k, k) and its log-determinant."""
        if context is None:
            raise ValueError("A conditional prior needs its context.")
        k = self.n_components
        given = context.unsqueeze(0)
        moments = self.network(given) + (given @ self.effect + self.base)
        mean, raw, below = moments.split([k, k, self.n_below], dim=-1)
        log_scale = bounded(raw)
        whiten = torch.diag_embed((-log_scale).exp())
        if self.n_below:
            row, column = torch.tril_indices(k, k, offset=-1)
            whiten[..., row, column] = below
        return mean, whiten, -log_scale.sum(-1)


class CorrelatedNormal(nn.Module):
    """``N(0, R)`` with a learnt correlation matrix R. For models with one member.

    Parameters
    ----------
    n_components : int
    """

    def __init__(self, n_components: int) -> None:
        super().__init__()
        self.below = nn.Parameter(torch.zeros(n_components * (n_components - 1) // 2))
        self.n_components = n_components

    @torch.no_grad()
    def start_at(self, correlation: Tensor) -> None:
        """Begin at a correlation matrix (k, k)."""
        factor = torch.linalg.cholesky(correlation)
        row, column = torch.tril_indices(self.n_components, self.n_components, offset=-1)
        self.below.copy_((factor / factor.diagonal().unsqueeze(-1))[row, column])

    @property
    def factor(self) -> Tensor:
        """Lower triangular L with ``L L' = R``, shape (k, k)."""
        k = self.n_components
        row, column = torch.tril_indices(k, k, offset=-1)
        factor = torch.eye(k).index_put((row, column), self.below)
        return factor / factor.norm(dim=1, keepdim=True)

    @property
    def correlation(self) -> Tensor:
        """R, shape (k, k)."""
        return self.factor @ self.factor.mT

    def log_prob(self, z: Tensor, model: VAE, context: Tensor | None = None) -> Tensor:
        """Log-density of (1, ..., k), shape (1, ...)."""
        factor = self.factor
        flat = z.flatten(0, -2)
        noise = torch.linalg.solve_triangular(factor, flat.mT, upper=False).mT
        log_det = factor.diagonal().log().sum()
        return (standard_normal_log_prob(noise) - log_det).view(z.shape[:-1])

    def sample(
        self, n: int, model: VAE, generator: torch.Generator, context: Tensor | None = None
    ) -> Tensor:
        """Draws, shape (1, n, k)."""
        noise = torch.randn(1, n, self.n_components, generator=generator)
        return noise @ self.factor.mT


Prior = (
    StandardNormal
    | CorrelatedNormal
    | MixtureOfGaussians
    | VampPrior
    | ConditionalNormal
    | LayeredNormal
)


def standard_normal_log_prob(z: Tensor) -> Tensor:
    """Standard normal log-density of (..., k), shape (...)."""
    return -0.5 * z.square().sum(-1) - 0.5 * z.shape[-1] * LOG_TWO_PI
