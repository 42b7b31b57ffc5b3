"""Several fitted VAEs of one table as one predictor."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from skvae.distributions.columns import ColumnLikelihoods
from skvae.inference.importance import ImportanceSample, mixture_sample
from skvae.inference.proposals import Amortized, Proposal, divided
from skvae.models.vae import VAE

# Rows times samples times members that are decoded at once; keeps memory flat in the table.
DECODED_AT_ONCE = 65_536


@dataclass(frozen=True, eq=False)
class Table:
    """Rows to predict for.

    Attributes
    ----------
    features : Tensor of shape (n, q)
    targets : Tensor of shape (n, p)
        Generative targets.
    observed : bool Tensor of shape (n, p) or (n_replicas, n, p)
        With a leading dimension, every replica has its own mask.
    feature_columns : LongTensor of shape (q,)
    context : Tensor of shape (n, n_context) or None
        What conditional models are given.
    missing : bool Tensor of shape (n, p) or None
        Entries that the table lacks, for models of the mask: what is not observed and not missing
        was hidden on purpose. None where no model asks.
    """

    features: Tensor
    targets: Tensor
    observed: Tensor
    feature_columns: Tensor
    context: Tensor | None = None
    missing: Tensor | None = None

    def take(self, rows: Tensor | slice) -> Table:
        """Some of the rows."""
        context = None if self.context is None else self.context[rows]
        return Table(
            self.features[rows],
            self.targets[rows],
            self.observed[..., rows, :],
            self.feature_columns,
            context,
            None if self.missing is None else self.missing[rows],
        )

    def chunks(self, size: int) -> Iterator[Table]:
        """Pieces of at most `size` rows; one empty piece of an empty table."""
        for start in range(0, max(len(self.features), 1), size):
            yield self.take(slice(start, start + size))

    @property
    def masks(self) -> tuple[Tensor, Tensor]:
        """Masks over columns and features with a leading replica dimension."""
        mask = self.observed if self.observed.ndim == 3 else self.observed.unsqueeze(0)
        return mask, mask.index_select(-1, self.feature_columns)


@dataclass(frozen=True, eq=False)
class GenerativeSource:
    """Members with a density: predictions by self-normalised importance sampling.

    Attributes
    ----------
    model : VAE
    noise : Tensor of shape (n_samples, k)
        One block for all rows.
    order : LongTensor of shape (n_statistics,)
        Puts statistics in column order.
    slope, intercept : Tensor of shape (n_statistics,)
        Take statistics in column order to regression units.
    slope_columns, intercept_columns : Tensor of shape (p,)
        The same by column.
    proposal : Proposal
        What samples come from.
    """

    model: VAE
    noise: Tensor
    order: Tensor
    slope: Tensor
    intercept: Tensor
    slope_columns: Tensor
    intercept_columns: Tensor
    proposal: Proposal = field(default_factory=Amortized)

    @property
    def chunk_size(self) -> int:
        """Rows at a time."""
        return max(16, DECODED_AT_ONCE // (self.model.n_members * len(self.noise)))

    def sample(self, table: Table) -> ImportanceSample:
        """Weighted posterior samples for a chunk of rows."""
        posteriors = self.proposal.propose(self.model, table).mixture
        noises = divided(self.noise, len(posteriors))
        observed = table.masks[0]
        return mixture_sample(self.model, posteriors, noises, table.targets, observed)

    def statistics_of(self, sample: ImportanceSample) -> Tensor:
        """Expected statistics in regression units, (n_members, batch, n_statistics)."""
        expected = sample.expect(self.model.statistics(sample.driven))
        return expected.index_select(-1, self.order) * self.slope + self.intercept

    def statistics(self, table: Table) -> Tensor:
        """Of every row, shape (n_members, n, n_statistics)."""
        parts = [self.statistics_of(self.sample(part)) for part in table.chunks(self.chunk_size)]
        return torch.cat(parts, dim=1)

    def moments(self, table: Table) -> tuple[Tensor, Tensor]:
        """Mean and variance of each numeric column under each member.

        In regression units, both (n_members, n, p); meaningless for categories.
        """
        means, variances = [], []
        likelihoods, free = self.model.likelihoods, self.model.free_parameters
        for part in table.chunks(self.chunk_size):
            sample = self.sample(part)
            within = likelihoods.variance(sample.driven, free) * self.slope_columns.square()
            location = likelihoods.mean(sample.driven, free)
            location = location * self.slope_columns + self.intercept_columns
            mean = sample.expect(location)
            between = (location - mean.unsqueeze(-2)).square()
            means.append(mean)
            variances.append(sample.expect(within + between))
        return torch.cat(means, dim=1), torch.cat(variances, dim=1)

    def log_prob(self, table: Table) -> Tensor:
        """Log-density of the observed targets under the mixture of members, float64 (n,)."""
        parts = [self.sample(part).log_prob for part in table.chunks(self.chunk_size)]
        return torch.logsumexp(torch.cat(parts, dim=1), 0) - math.log(self.model.n_members)

    def log_jacobian(self, table: Table) -> Tensor:
        """Nothing is between the model's densities and those of targets; zeros, shape (n,)."""
        return torch.zeros(len(table.features))

    def effective_sample_size(self, table: Table) -> Tensor:
        """Mean over members, shape (n,)."""
        parts = [self.sample(part).effective_sample_size for part in table.chunks(self.chunk_size)]
        return torch.cat(parts, dim=1).mean(0)

    def draw(self, table: Table, n_draws: int, generator: torch.Generator) -> Iterator[Tensor]:
        """Draws of all targets given the observed ones, (n_draws, batch, p) per chunk of rows.

        A member, then ``z`` by sampling-importance-resampling (Rubin 1987), then ``x`` given z.
        """
        for part in table.chunks(self.chunk_size):
            sample = self.sample(part)
            at = resample(sample.weights, n_draws, generator)
            driven = sample.driven[at]
            free = self.model.free_parameters[:, 0, 0][at[0]]
            yield self.model.likelihoods.sample(driven, free, generator).transpose(0, 1)


def resample(
    weights: Tensor, n_draws: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Members, rows and samples of draws, all (batch, n_draws).

    A member with equal chances, then a sample by its weight; weights (n_members, batch, n_samples).
    """
    n_members, batch = weights.shape[:2]
    member = torch.randint(n_members, (batch, n_draws), generator=generator)
    rows = torch.arange(batch)[:, None].expand(-1, n_draws)
    chosen = weights[member, rows]  # (batch, n_draws, n_samples)
    pick = torch.multinomial(chosen.flatten(0, 1), 1, generator=generator)
    return member, rows, pick.view(batch, n_draws)


@dataclass(frozen=True, eq=False)
class MaskedSource:
    """Members trained on masked copies: predictions from the centre of the posterior."""

    model: VAE
    order: Tensor

    @property
    def chunk_size(self) -> int:
        """Rows at a time."""
        return max(64, DECODED_AT_ONCE // (16 * self.model.n_members))

    def statistics(self, table: Table) -> Tensor:
        """In regression units, shape (n_members, n, n_statistics)."""
        return self.predict(table)[0]

    def predict(self, table: Table) -> tuple[Tensor, Tensor]:
        """Statistics (n_members, n, n_statistics) and centres (n_members, n, k)."""
        statistics, centres = zip(*map(self._of_chunk, table.chunks(self.chunk_size)), strict=True)
        return torch.cat(statistics, dim=1), torch.cat(centres, dim=1)

    def _of_chunk(self, table: Table) -> tuple[Tensor, Tensor]:
        centre = self.model.posterior(table.features, table.masks[1]).centre
        driven = self.model.decode(centre.unsqueeze(-2))
        statistics = self.model.statistics(driven).squeeze(-2)
        return statistics.index_select(-1, self.order), centre


class Source(Protocol):
    """Members that predict."""

    @property
    def model(self) -> VAE:
        """The members."""

    def statistics(self, table: Table) -> Tensor:
        """In regression units, shape (n_members, n, n_statistics)."""


class Density(Source, Protocol):
    """Members with a density of rows."""

    def moments(self, table: Table) -> tuple[Tensor, Tensor]:
        """Mean and variance of numeric columns in regression units, both (n_members, n, p)."""

    def log_prob(self, table: Table) -> Tensor:
        """Of the mixture of members, float64 (n,)."""

    def log_jacobian(self, table: Table) -> Tensor:
        """What takes log-densities of the model itself to those of targets, (n,)."""

    def effective_sample_size(self, table: Table) -> Tensor:
        """Mean over members, (n,)."""

    def draw(self, table: Table, n_draws: int, generator: torch.Generator) -> Iterator[Tensor]:
        """Draws of all targets given the observed ones, (n_draws, batch, p) per chunk of rows."""


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Sources of predictions and the weights that held-out entries gave them.

    Attributes
    ----------
    density : Density
        The one that scores rows and draws values.
    sources : tuple
        All sources; each yields ``n_members // n_replicas`` predictors, the means over replicas.
    n_replicas : int
    weights : Tensor of shape (n_predictors, n_statistics)
    layout : ColumnLikelihoods
        What the statistics mean, in regression units.
    """

    density: Density
    sources: tuple[Source, ...]
    n_replicas: int
    weights: Tensor
    layout: ColumnLikelihoods

    @torch.no_grad()
    def statistics(self, table: Table) -> Tensor:
        """Weighted statistics of every row in regression units, shape (n, n_statistics)."""
        total = torch.zeros(())
        place = 0
        for source in self.sources:
            n_predictors = source.model.n_members // self.n_replicas
            weights = self.weights[place : place + n_predictors]
            place += n_predictors
            if not weights.any():
                continue
            each = source.statistics(table).unflatten(0, (n_predictors, self.n_replicas))
            total = total + torch.einsum("srne,se->ne", each, weights) / self.n_replicas
        return total

    @torch.no_grad()
    def log_prob(self, table: Table) -> Tensor:
        """Log-density of the observed targets, float64 of shape (n,)."""
        return self.density.log_prob(table)

    @torch.no_grad()
    def effective_sample_size(self, table: Table) -> Tensor:
        """Of the density's samples for each row, shape (n,)."""
        return self.density.effective_sample_size(table)

    @torch.no_grad()
    def moments(self, table: Table) -> tuple[Tensor, Tensor]:
        """Mean and variance of numeric columns under the density, regression units (n, p).

        Averages over members: intervals are calibrated with one member at a time.
        """
        mean, variance = self.density.moments(table)
        return mean.mean(0), variance.mean(0)

    def point(self, statistics: Tensor) -> Tensor:
        """Conditional means and most probable codes, (n, n_statistics) to (n, p)."""
        inverse = torch.argsort(self.layout.stat_order)
        return self.layout.point(statistics.index_select(-1, inverse))

    @torch.no_grad()
    def draw(self, table: Table, n_draws: int, generator: torch.Generator) -> Tensor:
        """Draws of all targets given the observed ones, shape (n_draws, n, p)."""
        return torch.cat(list(self.density.draw(table, n_draws, generator)), dim=1)
