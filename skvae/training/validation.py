"""The held-out score that decides when training has gone far enough."""

from __future__ import annotations

import torch
from torch import Tensor

from skvae.inference.ensemble import DECODED_AT_ONCE, Table
from skvae.inference.importance import importance_sample
from skvae.models.vae import VAE
from skvae.training.data import TrainingTable


class HeldOut:
    """Mean log-likelihood of held-out entries given the rest of their row, by member.

    Parameters
    ----------
    table : TrainingTable
    noise : Tensor of shape (n_samples, k) or None
        For importance sampling; None predicts from the centre of the posterior.
    generator : torch.Generator
        Picks the rows once.
    most : int, default=500
        Rows to score.
    """

    def __init__(
        self,
        table: TrainingTable,
        noise: Tensor | None,
        generator: torch.Generator,
        most: int = 500,
    ) -> None:
        self.noise = noise
        rows = table.held_out_rows(most, generator)
        batch, fold = table.batch(rows), table.fold[rows]
        replicas = torch.arange(table.n_replicas)[:, None, None]
        self.held_out = fold.unsqueeze(0) == replicas
        self.count = self.held_out.sum((1, 2)).clamp(min=1)
        self.table = Table(batch.features, batch.targets, batch.visible, table.feature_columns)

    @torch.no_grad()
    def __call__(self, model: VAE) -> Tensor:
        """Score of every member, shape (n_members,)."""
        n_samples = 1 if self.noise is None else len(self.noise)
        size = max(16, DECODED_AT_ONCE // (model.n_members * n_samples))
        total = torch.zeros(model.n_members)
        start = 0
        for part in self.table.chunks(size):
            held_out = self.held_out[:, start : start + size]
            start += size
            total += self._score(model, part, held_out).double().sum((1, 2)).float()
        return total / self.count.repeat(model.n_members // len(self.count))

    def _score(self, model: VAE, part: Table, held_out: Tensor) -> Tensor:
        """Log-likelihood of held-out entries, zero elsewhere, (n_members, batch, p)."""
        visible, visible_features = part.masks
        if self.noise is None:
            z = model.posterior(part.features, visible_features).centre.unsqueeze(-2)
            return model.log_likelihood(model.decode(z), part.targets, held_out).squeeze(-2)
        sample = importance_sample(
            model, part.features, part.targets, visible, visible_features, self.noise
        )
        log_weights = sample.log_weights.log_softmax(-1).unsqueeze(-1)
        each = model.log_likelihood(sample.driven, part.targets, held_out)
        return torch.logsumexp(log_weights + each, dim=-2)
