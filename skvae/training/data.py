"""Tensors of a training table and the batches drawn from them."""

from __future__ import annotations

from collections.abc import Callable
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
    part : slice or None
        Which rows of a larger batch these are; None for all of them.
    n_whole : int
        How many rows that has.
    """

    features: Tensor
    targets: Tensor
    observed: Tensor
    visible: Tensor
    weight: Tensor
    context: Tensor | None = None
    part: slice | None = None
    n_whole: int = 0

    def draw(
        self,
        make: Callable[..., Tensor],
        before: tuple[int, ...],
        after: tuple[int, ...],
        generator: torch.Generator,
    ) -> Tensor:
        """Random numbers (*before, batch, *after), the same for a row wherever it is computed.

        Parameters
        ----------
        make : callable
            ``torch.randn`` or ``torch.rand``.
        before, after : tuple of int
        generator : torch.Generator
        """
        if self.part is None:
            return make(*before, len(self.features), *after, generator=generator)
        whole = make(*before, self.n_whole, *after, generator=generator)
        return whole.narrow(len(before), self.part.start, self.part.stop - self.part.start)

    def choose(self, shares: Tensor, n: int, generator: torch.Generator) -> Tensor:
        """`n` categories (batch, n) for every row, by its shares (batch, n_categories)."""
        if self.part is None:
            return torch.multinomial(shares, n, True, generator=generator)
        if n == 1:  # as torch draws a single one: by a race of exponential variables
            race = torch.empty(self.n_whole, shares.shape[1]).exponential_(generator=generator)
            return (shares / race[self.part]).argmax(-1, keepdim=True)
        rows = (self.part.start, self.n_whole - self.part.stop)
        # It draws row by row: what belongs to the rows of others is drawn for nothing.
        blank = [torch.ones(count, 1, device=generator.device) for count in rows]
        _draw_blank(blank[0], n, generator)
        chosen = torch.multinomial(shares, n, True, generator=generator)
        _draw_blank(blank[1], n, generator)
        return chosen


def _draw_blank(shares: Tensor, n: int, generator: torch.Generator) -> None:
    if len(shares):
        torch.multinomial(shares, n, True, generator=generator)


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

    def batch(self, rows: Tensor, part: slice | None = None) -> Batch:
        """The given rows, by LongTensor, or a part of them."""
        n_whole = len(rows)
        rows = rows if part is None else rows[part]
        observed, fold = self.observed[rows], self.fold[rows]
        visible = torch.stack([observed & (fold != r) for r in range(self.n_replicas)])
        context = None if self.context is None else self.context[rows]
        weight = self.weight[rows]
        return Batch(
            self.features[rows],
            self.targets[rows],
            observed,
            visible,
            weight,
            context,
            part,
            n_whole,
        )

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
