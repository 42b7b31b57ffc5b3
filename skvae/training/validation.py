"""The held-out score that decides when training has gone far enough."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from skvae.inference.ensemble import GenerativeSource, Table
from skvae.inference.importance import importance_sample
from skvae.models.vae import VAE
from skvae.training.data import TrainingTable


class HeldOutEntries:
    """Rows with held-out entries, each replica under its own mask.

    Parameters
    ----------
    table : TrainingTable
    generator : torch.Generator
        Picks the rows once.
    most : int, default=500
        Rows to score.
    """

    def __init__(self, table: TrainingTable, generator: torch.Generator, most: int = 500) -> None:
        self.rows = table.held_out_rows(most, generator)
        batch, fold = table.batch(self.rows), table.fold[self.rows]
        replicas = torch.arange(table.n_replicas)[:, None, None]
        self.held_out = fold.unsqueeze(0) == replicas
        self.table = Table(batch.features, batch.targets, batch.visible, table.feature_columns)

    def mean(self, each: Tensor, held_out: Tensor) -> Tensor:
        """Mean of (n_members, n, s) over the entries where `held_out` (n_replicas, n, s)."""
        mask = held_out.repeat(len(each) // len(held_out), 1, 1)
        count = mask.sum((1, 2)).clamp(min=1)
        return each.where(mask, 0.0).double().sum((1, 2)).float() / count


class HeldOutLikelihood(HeldOutEntries):
    """Mean log-likelihood of held-out entries given the rest, from the centre of the posterior."""

    @torch.no_grad()
    def __call__(self, model: VAE) -> Tensor:
        """Score of every member, shape (n_members,)."""
        _, visible_features = self.table.masks
        z = model.posterior(self.table.features, visible_features).centre.unsqueeze(-2)
        driven = model.decode(z)
        each = model.log_likelihood(driven, self.table.targets, self.held_out).squeeze(-2)
        return self.mean(each, self.held_out)


class HeldOutError(HeldOutEntries):
    """Mean squared error of a density's predictions at held-out entries, with the sign changed.

    Not their log-likelihood: where columns determine each other, a handful of samples decides the
    latter by its tails.

    Parameters
    ----------
    table, generator, most
        As in `HeldOutEntries`.
    source_of : callable
        Makes a `GenerativeSource` of a model.
    truth : Tensor of shape (n, n_statistics)
        What perfect predictions would be, see `Ensemble`.
    stat_columns : LongTensor of shape (n_statistics,)
    """

    def __init__(
        self,
        table: TrainingTable,
        generator: torch.Generator,
        source_of: Callable[[VAE], GenerativeSource],
        truth: Tensor,
        stat_columns: Tensor,
    ) -> None:
        super().__init__(table, generator)
        self.source_of = source_of
        self.truth = truth[self.rows]
        self.held_out_statistics = self.held_out.index_select(-1, stat_columns)

    @torch.no_grad()
    def __call__(self, model: VAE) -> Tensor:
        """Score of every member, shape (n_members,)."""
        predicted = self.source_of(model).statistics(self.table)
        # One entry in a heavy tail must not decide for all.
        error = (predicted - self.truth).square().clamp(max=25.0)
        return -self.mean(error, self.held_out_statistics)


@dataclass(frozen=True, eq=False)
class HeldOutBound:
    """Mean bound of held-out rows, always with the same noise; shape (n_members,)."""

    table: Table
    weight: Tensor
    noise: Tensor
    beta: float

    def __call__(self, model: VAE) -> Tensor:
        return (self.each(model) * self.weight).mean(1).float()

    @torch.no_grad()
    def each(self, model: VAE) -> Tensor:
        """The bound of every row, (n_members, n)."""
        observed, observed_features = self.table.masks
        sample = importance_sample(
            model,
            self.table.features,
            self.table.targets,
            observed,
            observed_features,
            self.noise,
            self.beta,
            self.table.context,
        )
        return sample.log_prob if self.beta == 1 else sample.log_weights.double().mean(-1)
