"""Tensors of a training table and the batches drawn from them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from skvae.distributions.base import Likelihood
from skvae.models.start import FeatureSpec


@dataclass(frozen=True, eq=False)
class Tensors:
    """A training table as tensors.

    Attributes
    ----------
    features : Tensor of shape (n, q)
    targets, regression_targets : Tensor of shape (n, p)
    observed : bool Tensor of shape (n, p)
    weight : Tensor of shape (n,)
    feature_columns : LongTensor of shape (q,)
    likelihoods, regression_likelihoods : sequence of Likelihood
        One per column, for the two kinds of targets.
    specs : sequence of FeatureSpec
    slope, intercept : Tensor of shape (p,)
        From generative to regression units.
    context : Tensor of shape (n, n_context) or None
        Standardised features of what is given rather than modelled.
    """

    features: Tensor
    targets: Tensor
    regression_targets: Tensor
    observed: Tensor
    weight: Tensor
    feature_columns: Tensor
    likelihoods: tuple[Likelihood, ...]
    regression_likelihoods: tuple[Likelihood, ...]
    specs: tuple[FeatureSpec, ...]
    slope: Tensor
    intercept: Tensor
    context: Tensor | None = None

    def take(self, rows: Tensor) -> Tensors:
        """Some of the rows, by LongTensor; weights then have mean one again."""
        weight = self.weight[rows]
        return replace(
            self,
            features=self.features[rows],
            targets=self.targets[rows],
            regression_targets=self.regression_targets[rows],
            observed=self.observed[rows],
            weight=weight / weight.mean(),
            context=None if self.context is None else self.context[rows],
        )

    def table(self, rows: Tensor) -> TrainingTable:
        """Some of the rows, by LongTensor, with nothing held out of them."""
        observed = self.observed[rows]
        return TrainingTable(
            self.features[rows],
            self.targets[rows],
            observed,
            torch.full_like(observed, -1, dtype=torch.int8),
            self.weight[rows],
            self.feature_columns,
            1,
            None if self.context is None else self.context[rows],
        )


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows of a table.

    Attributes
    ----------
    features : Tensor of shape (batch, q)
        Standardised; what the encoder and the linear VAE read.
    targets : Tensor of shape (batch, p)
        What the likelihoods score.
    observed : bool Tensor of shape (batch, p)
    visible : bool Tensor of shape (n_replicas, batch, p)
        Observed entries that are not held out for the replica.
    weight : Tensor of shape (batch,)
    context : Tensor of shape (batch, n_context) or None
    """

    features: Tensor
    targets: Tensor
    observed: Tensor
    visible: Tensor
    weight: Tensor
    context: Tensor | None = None


@dataclass(frozen=True, eq=False)
class TrainingTable:
    """A table with folds of held-out observed entries.

    Attributes
    ----------
    features : Tensor of shape (n, q)
    targets : Tensor of shape (n, p)
    observed : bool Tensor of shape (n, p)
    fold : int8 Tensor of shape (n, p)
        Replica from which an observed entry is held out, -1 for none.
    weight : Tensor of shape (n,)
        With mean one.
    feature_columns : LongTensor of shape (q,)
        Column that each feature belongs to.
    n_replicas : int
    context : Tensor of shape (n, n_context) or None
        What conditional models are given.
    """

    features: Tensor
    targets: Tensor
    observed: Tensor
    fold: Tensor
    weight: Tensor
    feature_columns: Tensor
    n_replicas: int
    context: Tensor | None = None

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self.features.shape[0]

    def take(self, rows: Tensor) -> TrainingTable:
        """Some of the rows, by LongTensor."""
        return replace(
            self,
            features=self.features[rows],
            targets=self.targets[rows],
            observed=self.observed[rows],
            fold=self.fold[rows],
            weight=self.weight[rows],
            context=None if self.context is None else self.context[rows],
        )

    def batch(self, rows: Tensor) -> Batch:
        """The given rows, by LongTensor."""
        observed, fold = self.observed[rows], self.fold[rows]
        visible = torch.stack([observed & (fold != r) for r in range(self.n_replicas)])
        context = None if self.context is None else self.context[rows]
        weight = self.weight[rows]
        return Batch(self.features[rows], self.targets[rows], observed, visible, weight, context)

    def on_features(self, mask: Tensor) -> Tensor:
        """A mask (..., p) over columns as one (..., q) over features."""
        return mask.index_select(-1, self.feature_columns)

    def held_out_rows(self, most: int, generator: torch.Generator) -> Tensor:
        """At most `most` rows that have held-out entries."""
        rows = (self.fold >= 0).any(1).nonzero().squeeze(1)
        order = torch.randperm(len(rows), generator=generator)[:most]
        return rows[order.sort().values]


def hold_out(
    observed: Tensor, fraction: float, n_replicas: int, generator: torch.Generator
) -> Tensor:
    """Assign a share of the observed entries to each replica, disjointly.

    Parameters
    ----------
    observed : bool Tensor of shape (n, p)
    fraction : float
        Expected share per replica.

    Returns
    -------
    int8 Tensor of shape (n, p)
        Replica that does not see the entry, -1 for none.
    """
    uniform = torch.rand(observed.shape, generator=generator)
    fold = (uniform / fraction).floor().clamp(max=n_replicas).to(torch.int8)
    fold[(fold == n_replicas) | ~observed] = -1
    return fold
