"""Self-normalised importance sampling from ``q(z | x_o)``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.stats import qmc
from torch import Tensor

from skvae.models.hierarchical import LayeredPosterior
from skvae.models.posterior import Posterior
from skvae.models.vae import VAE

AnyPosterior = Posterior | LayeredPosterior


def noise_block(n_samples: int, n_components: int, seed: int) -> Tensor:
    """Quasi-Monte-Carlo standard normal noise, shape (n_samples, n_components).

    One block serves all rows, so that an estimate does not depend on who else is in the batch.
    Its mean is exactly zero: the linear VAE's conditional means then are exact.
    """
    # Owen-scrambled Sobol points (Owen 1998); powers of two keep their balance.
    sampler = qmc.Sobol(n_components, scramble=True, rng=seed)
    uniform = sampler.random(1 << math.ceil(math.log2(n_samples)))[:n_samples]
    normal = torch.special.ndtri(torch.as_tensor(uniform).clamp(1e-9, 1 - 1e-9))
    return (normal - normal.mean(0)).float()


@dataclass(frozen=True, eq=False)
class ImportanceSample:
    """Weighted samples of ``z`` given the observed part of each row.

    Attributes
    ----------
    driven : Tensor of shape (n_members, batch, n_samples, n_driven)
        Decoder outputs at the samples.
    log_weights : Tensor of shape (n_members, batch, n_samples)
        ``log p(x_o, z) - log q(z | x_o)``.
    divergence : Tensor of shape (n_members, batch, n_samples)
        ``log q(z | x_o) - log p(z)``: on average the Kullback-Leibler divergence.
    """

    driven: Tensor
    log_weights: Tensor
    divergence: Tensor

    @property
    def weights(self) -> Tensor:
        """Normalised over samples, shape (n_members, batch, n_samples)."""
        return self.log_weights.softmax(-1)

    @property
    def log_prob(self) -> Tensor:
        """Estimate of ``log p(x_o)`` (Burda et al. 2016), float64, (n_members, batch)."""
        wide = self.log_weights.double()
        return torch.logsumexp(wide, -1) - math.log(wide.shape[-1])

    @property
    def effective_sample_size(self) -> Tensor:
        """``1 / sum(weights**2)`` (Kong 1992), shape (n_members, batch)."""
        return 1 / self.weights.square().sum(-1)

    def expect(self, values: Tensor) -> Tensor:
        """Weighted mean over samples of (n_members, batch, n_samples, s)."""
        return (self.weights.to(values.dtype).unsqueeze(-2) @ values).squeeze(-2)


def mixture_sample(
    model: VAE,
    posteriors: Sequence[AnyPosterior],
    noises: Sequence[Tensor],
    targets: Tensor,
    observed: Tensor,
    prior_draws: Tensor | None = None,
    context: Tensor | None = None,
) -> ImportanceSample:
    """Samples from posteriors of every row, and draws from the prior, as one mixture.

    All are weighed by the mixture that they come from (the balance heuristic of Veach and Guibas
    1995; defensive in the sense of Hesterberg 1995), so that weights are bounded by the likelihood
    over the prior's share. A posterior that an odd cell has led astray then does not decide alone.
    The `divergence` is that of the first posterior.

    Parameters
    ----------
    model, targets, observed, context
        As in `importance_sample`.
    posteriors : sequence of Posterior or LayeredPosterior
    noises : sequence of Tensor of shape (n_samples, k)
        For each of them; samples come in this order.
    prior_draws : Tensor of shape (n_members, 1 or batch, n_draws, k), optional
        The last of the samples.
    """
    drawn = [one.rsample(noise) for one, noise in zip(posteriors, noises, strict=True)]
    blocks = [z for z, _ in drawn]
    if prior_draws is not None:
        blocks.append(prior_draws.expand(-1, blocks[0].shape[1], -1, -1))
    log_q = [
        torch.cat(
            [drawn[i][1] if i == j else one.log_prob_at(z) for j, z in enumerate(blocks)], dim=-1
        ).double()
        for i, one in enumerate(posteriors)
    ]
    z = torch.cat(blocks, dim=-2)
    log_p = model.log_prior(z, context).double()
    sources = [*log_q, log_p][: len(blocks)]
    shares = [block.shape[-2] / z.shape[-2] for block in blocks]
    parts = [log + math.log(share) for log, share in zip(sources, shares, strict=True) if share]
    mixture = parts[0] if len(parts) == 1 else torch.stack(parts).logsumexp(0)
    driven = model.decode(z, context)
    log_likelihood = model.log_likelihood(driven, targets, observed).sum(-1).double()
    return ImportanceSample(driven, log_likelihood + log_p - mixture, log_q[0] - log_p)


def importance_sample(
    model: VAE,
    features: Tensor,
    targets: Tensor,
    observed: Tensor,
    observed_features: Tensor,
    noise: Tensor,
    beta: float = 1.0,
    context: Tensor | None = None,
) -> ImportanceSample:
    """Sample ``z`` from the encoder and weigh it by the model.

    Parameters
    ----------
    model : VAE
    features : Tensor of shape (batch, q)
    targets : Tensor of shape (batch, p)
    observed : bool Tensor of shape (n_replicas or 1, batch, p)
    observed_features : bool Tensor of shape (n_replicas or 1, batch, q)
    noise : Tensor of shape (n_samples, k) or (n_members, batch, n_samples, k)
    beta : float, default=1.0
        Weight of ``log p(z) - log q(z | x_o)`` (Higgins et al. 2017).
    context : Tensor of shape (batch, n_context), optional
        What conditional models are given.
    """
    z, log_q = model.posterior(features, observed_features, context).rsample(noise)
    driven = model.decode(z, context)
    log_likelihood = model.log_likelihood(driven, targets, observed).sum(-1)
    divergence = log_q - model.log_prior(z, context)
    return ImportanceSample(driven, log_likelihood - beta * divergence, divergence)
