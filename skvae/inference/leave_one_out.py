"""Every entry given the rest of its row: ``p(x_j | x_rest)``."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from skvae.inference.ensemble import DECODED_AT_ONCE, Table
from skvae.inference.importance import ImportanceSample, mixture_sample
from skvae.inference.proposals import Amortized, Proposal, divided
from skvae.models.vae import VAE


@dataclass(frozen=True, eq=False)
class LeaveOneOut:
    """What the rest of every row says about each entry, all (n, p) and float64.

    Attributes
    ----------
    surprise : Tensor
        ``-log p(x_j | x_rest) = log p(x_rest) - log p(x)`` in units of the targets, NaN where not
        observed.
    point : Tensor
        Conditional mean, or most probable code.
    std : Tensor
        Conditional standard deviation, NaN for levels.
    """

    surprise: Tensor
    point: Tensor
    std: Tensor


@torch.no_grad()
def leave_one_out(
    model: VAE,
    table: Table,
    noise: Tensor,
    prior_draws: Tensor,
    proposal: Proposal | None = None,
) -> LeaveOneOut:
    """Leave-one-column-out importance sampling.

    Parameters
    ----------
    model : VAE
        With one member.
    table : Table
    noise : Tensor of shape (n_samples, k)
    prior_draws : Tensor of shape (1, 1, n_draws, k)
    proposal : Proposal, optional
        Of the parts of rows; by default the encoder.
    """
    sampler = _Sampler(model, proposal or Amortized(), noise, prior_draws)
    n, p = table.targets.shape
    n_samples = len(noise) + prior_draws.shape[-2]
    size = max(1, DECODED_AT_ONCE // n_samples)
    whole = [sampler(part).log_prob[0] for part in table.chunks(size)]
    row = torch.arange(n).repeat_interleave(p)
    column = torch.arange(p).repeat(n)
    parts = [
        _entries(sampler, table.take(rows), columns)
        for rows, columns in zip(row.split(size), column.split(size), strict=True)
    ]
    rest, point, std = (torch.cat(part).unflatten(0, (n, p)) for part in zip(*parts, strict=True))
    surprise = rest - torch.cat(whole).unsqueeze(1)
    # Probabilities of levels are at most one; estimates of two densities do not know.
    surprise = torch.where(model.likelihoods.finite, surprise.clamp(min=0), surprise)
    return LeaveOneOut(surprise.where(table.observed, math.nan), point, std)


@dataclass(frozen=True, eq=False)
class _Sampler:
    """Weighted samples of rows."""

    model: VAE
    proposal: Proposal
    noise: Tensor
    draws: Tensor

    def __call__(self, part: Table) -> ImportanceSample:
        mixture = self.proposal.propose(self.model, part).mixture
        noises, observed = divided(self.noise, len(mixture)), part.masks[0]
        return mixture_sample(self.model, mixture, noises, part.targets, observed, self.draws)


def _entries(sampler: _Sampler, part: Table, columns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For one entry of each row: ``log p(x_rest)``, point and deviation, shape (n,)."""
    own = columns.unsqueeze(1)
    given = part.observed.scatter(1, own, False)
    rest = Table(part.features, part.targets, given, part.feature_columns)
    model, sample = sampler.model, sampler(rest)
    likelihoods = model.likelihoods
    statistics = model.statistics(sample.driven).double()
    point = likelihoods.point(sample.expect(statistics))[0].gather(1, own).squeeze(1)
    mean = likelihoods.point(statistics)
    within = likelihoods.variance(sample.driven, model.free_parameters).double()
    between = (mean - sample.expect(mean).unsqueeze(-2)).square()
    variance = sample.expect(within + between)[0].gather(1, own).squeeze(1)
    return sample.log_prob[0], point, variance.sqrt().where(~likelihoods.finite[columns], math.nan)
