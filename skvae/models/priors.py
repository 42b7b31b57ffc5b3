"""Priors over ``z``: what an autoencoder holds to be likely before it sees a row."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from skvae.distributions.natural import LOG_TWO_PI

if TYPE_CHECKING:
    from skvae.models.vae import VAE, Posterior


class StandardNormal(nn.Module):
    """``N(0, I)`` (Kingma and Welling 2014)."""

    def log_prob(self, z: Tensor, model: VAE) -> Tensor:
        """Log-density of (n_members, ..., k), shape (n_members, ...)."""
        return standard_normal_log_prob(z)

    def sample(self, n: int, model: VAE, generator: torch.Generator) -> Tensor:
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

    def log_prob(self, z: Tensor, model: VAE) -> Tensor:
        """Log-density of (n_members, ..., k), shape (n_members, ...)."""
        flat = z.flatten(1, -2).unsqueeze(2)
        scale = self.log_scale.unsqueeze(1)
        each = standard_normal_log_prob((flat - self.mean.unsqueeze(1)) * (-scale).exp())
        each = each - scale.sum(-1) + self.logits.log_softmax(-1).unsqueeze(1)
        return each.logsumexp(-1).unflatten(1, z.shape[1:-1])

    def sample(self, n: int, model: VAE, generator: torch.Generator) -> Tensor:
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
    """

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self.rows = nn.Parameter(rows.unsqueeze(0).clone())
        self.logits = nn.Parameter(torch.zeros(1, len(rows)))

    def log_prob(self, z: Tensor, model: VAE) -> Tensor:
        """Log-density of (n_members, ..., k), shape (n_members, ...)."""
        each = self._posterior(model).log_prob(z.flatten(1, -2))  # (n_members, n, n_mixture)
        return (each + self.logits.log_softmax(-1)).logsumexp(-1).unflatten(1, z.shape[1:-1])

    def sample(self, n: int, model: VAE, generator: torch.Generator) -> Tensor:
        """Draws, shape (n_members, n, k)."""
        weights = self.logits.softmax(-1)
        chosen = torch.multinomial(weights, n, replacement=True, generator=generator)
        return self._posterior(model).take(chosen).sample(generator)

    def _posterior(self, model: VAE) -> Posterior:
        seen = torch.ones(self.rows.shape, dtype=torch.bool)
        return model.posterior(self.rows[0], seen)


Prior = StandardNormal | MixtureOfGaussians | VampPrior


def standard_normal_log_prob(z: Tensor) -> Tensor:
    """Standard normal log-density of (..., k), shape (...)."""
    return -0.5 * z.square().sum(-1) - 0.5 * z.shape[-1] * LOG_TWO_PI
