"""Every entry given the rest of its row: ``p(x_j | x_rest)``."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from skvae.distributions.finite import FiniteLikelihood
from skvae.inference.ensemble import DECODED_AT_ONCE, Table
from skvae.inference.importance import defensive_sample
from skvae.models.vae import VAE

HALF_LOG_TWO_PI_E = 0.5 * math.log(2 * math.pi * math.e)
# Variance of rounding to whole numbers: what a count has at least.
ROUNDING = 1 / 12


@dataclass(frozen=True, eq=False)
class LeaveOneOut:
    """What the rest of every row says about each entry, all (n, p) and float64.

    Attributes
    ----------
    surprise : Tensor
        ``-log p(x_j | x_rest)`` in units of the targets, NaN where not observed.
    entropy : Tensor
        What that is on average, were the model right: of a normal distribution with the
        conditional variance, or of the conditional probabilities of levels.
    point : Tensor
        Conditional mean, or most probable code.
    std : Tensor
        Conditional standard deviation, NaN for levels.
    """

    surprise: Tensor
    entropy: Tensor
    point: Tensor
    std: Tensor


@torch.no_grad()
def leave_one_out(model: VAE, table: Table, noise: Tensor, prior_draws: Tensor) -> LeaveOneOut:
    """Leave-one-column-out importance sampling.

    Parameters
    ----------
    model : VAE
        With one member.
    table : Table
    noise : Tensor of shape (n_samples, k)
    prior_draws : Tensor of shape (1, 1, n_draws, k)
    """
    n, p = table.targets.shape
    row = torch.arange(n).repeat_interleave(p)
    column = torch.arange(p).repeat(n)
    size = max(1, DECODED_AT_ONCE // (len(noise) + prior_draws.shape[-2]))
    parts = [
        _entries(model, table.take(rows), columns, noise, prior_draws)
        for rows, columns in zip(row.split(size), column.split(size), strict=True)
    ]
    return LeaveOneOut(*(torch.cat(part).unflatten(0, (n, p)) for part in zip(*parts, strict=True)))


def _entries(
    model: VAE, part: Table, columns: Tensor, noise: Tensor, draws: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One entry of each row of `part`: surprise, entropy, point and deviation, shape (n,)."""
    own = columns.unsqueeze(1)
    given = part.observed.scatter(1, own, False)
    rest = Table(part.features, part.targets, given, part.feature_columns)
    observed, observed_features = rest.masks
    sample = defensive_sample(
        model, part.features, part.targets, observed, observed_features, noise, draws
    )
    log_weights = sample.log_weights.log_softmax(-1)[0]  # (n, n_samples)
    weights = log_weights.exp().unsqueeze(-1)
    entry = model.log_likelihood(sample.driven, part.targets, part.observed.unsqueeze(0))[0]
    entry = entry.gather(2, own.unsqueeze(1).expand(-1, entry.shape[1], 1)).squeeze(2)
    surprise = -(log_weights + entry.double()).logsumexp(-1)
    seen = part.observed.gather(1, own).squeeze(1)

    likelihoods, free = model.likelihoods, model.free_parameters
    statistics = (weights * model.statistics(sample.driven)[0].double()).sum(1)
    mean = likelihoods.mean(sample.driven, free)[0].double()
    within = likelihoods.variance(sample.driven, free)[0].double()
    centre = (weights * mean).sum(1, keepdim=True)
    variance = (weights * (within + (mean - centre).square())).sum(1).gather(1, own).squeeze(1)
    point = likelihoods.point(statistics).gather(1, own).squeeze(1)

    finite = torch.tensor([isinstance(x, FiniteLikelihood) for x in likelihoods.likelihoods])
    count = torch.tensor([x.discrete for x in likelihoods.likelihoods]) & ~finite
    levels = -torch.special.xlogy(statistics, statistics)
    of_levels = torch.zeros_like(centre.squeeze(1)).index_add_(1, likelihoods.stat_columns, levels)
    spread = variance + torch.where(count[columns], ROUNDING, 0.0)
    normal = HALF_LOG_TWO_PI_E + 0.5 * spread.clamp(min=1e-12).log()
    entropy = torch.where(finite[columns], of_levels.gather(1, own).squeeze(1), normal)
    return (
        surprise.where(seen, math.nan),
        entropy,
        point,
        variance.sqrt().where(~finite[columns], math.nan),
    )
