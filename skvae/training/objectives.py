"""Objectives: one number per member and row, larger is better."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from skvae.inference.importance import importance_sample
from skvae.models.vae import VAE
from skvae.training.data import Batch, TrainingTable

# (model, table, batch, generator) -> (n_members, batch). Those whose `by_rows` is true may be given
# a part of a batch: a row's number does not depend on the others'.
Objective = Callable[[VAE, TrainingTable, Batch, torch.Generator], Tensor]


@dataclass(frozen=True)
class ImportanceWeightedBound:
    """IWAE (Burda et al. 2016); with one sample the ELBO (Kingma and Welling 2014).

    Over the visible entries only, which makes it MIWAE (Mattei and Frellsen 2019).

    Attributes
    ----------
    n_samples : int
    beta : float
        Weight of the divergence (Higgins et al. 2017); unless it is 1, the bound is the ELBO,
        averaged over the samples.
    free_bits : float
        With one sample: a batch's mean divergence counts as no less than so many nats per latent
        dimension (Kingma et al. 2016), so that none is saved by giving dimensions up.
    """

    n_samples: int = 8
    beta: float = 1.0
    free_bits: float = 0.0

    @property
    def by_rows(self) -> bool:
        """Whether a row's bound depends on the row alone."""
        return not self.free_bits

    def __call__(
        self, model: VAE, table: TrainingTable, batch: Batch, generator: torch.Generator
    ) -> Tensor:
        after = (self.n_samples, model.n_components)
        noise = batch.draw(torch.randn, (model.n_members,), after, generator)
        sample = importance_sample(
            model,
            batch.features,
            batch.targets,
            batch.visible,
            table.on_features(batch.visible),
            noise,
            self.beta,
            batch.context,
        )
        if self.beta == 1:
            bound = torch.logsumexp(sample.log_weights, -1) - math.log(self.n_samples)
        else:
            # Only the ELBO has a divergence to weigh: in the tighter bound a weight on it would
            # reward posteriors that are wider than the prior.
            bound = sample.log_weights.mean(-1)
        if not self.free_bits:
            return bound
        least = self.free_bits * model.n_components
        mean = sample.divergence.mean((1, 2))[:, None]
        # Below the least, the divergence is taken out of the bound.
        return bound + self.beta * torch.where(mean < least, mean - least, 0.0)


@dataclass
class WarmUp:
    """A bound whose divergence counts more from step to step (Bowman et al. 2016).

    Attributes
    ----------
    bound : ImportanceWeightedBound
    n_steps : int
        Steps until it counts in full; 0 for from the start.
    """

    bound: ImportanceWeightedBound
    n_steps: int
    taken: int = 0

    @property
    def by_rows(self) -> bool:
        """As of the bound."""
        return self.bound.by_rows

    def __call__(
        self, model: VAE, table: TrainingTable, batch: Batch, generator: torch.Generator
    ) -> Tensor:
        bound = self.bound
        if self.taken < self.n_steps:
            self.taken += 1
            bound = replace(bound, beta=bound.beta * self.taken / self.n_steps)
        return bound(model, table, batch, generator)

    def state_dict(self) -> dict[str, int]:
        """Steps taken."""
        return {"taken": self.taken}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """The reverse of `state_dict`."""
        self.taken = state["taken"]


@dataclass(frozen=True)
class MaskedReconstruction:
    """Predict entries that were hidden on purpose, from the centre of ``q(z | rest)``.

    The beta = 0 end of the family, on masked copies: a masked autoencoder whose ``z`` is trained
    for prediction from incomplete rows rather than for a density. Each row loses a random share of
    its entries, uniform up to `most`.
    """

    most: float = 0.4
    weight_of_shown: float = 0.1
    by_rows: ClassVar[bool] = True

    def __call__(
        self, model: VAE, table: TrainingTable, batch: Batch, generator: torch.Generator
    ) -> Tensor:
        share = self.most * batch.draw(torch.rand, (), (1,), generator)
        hidden = batch.draw(torch.rand, (), batch.observed.shape[1:], generator) < share
        shown = batch.visible & ~hidden
        posterior = model.posterior(batch.features, table.on_features(shown))
        driven = model.decode(posterior.centre.unsqueeze(-2))
        log_likelihood = model.log_likelihood(driven, batch.targets, batch.visible).squeeze(-2)
        return (log_likelihood * torch.where(hidden, 1.0, self.weight_of_shown)).sum(-1)
