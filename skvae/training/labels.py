"""Labelled and unlabelled rows as classifier and class-conditional model take them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from skvae.training.data import Tensors


class RowSource(Protocol):
    """Rows as both models take them; what is random about a row is drawn anew each time."""

    def draw(self, rows: Tensor, generator: torch.Generator) -> Rows:
        """The given rows, by LongTensor."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of a table.

    Attributes
    ----------
    features : Tensor of shape (batch, q)
    targets : Tensor of shape (batch, p)
    observed : bool Tensor of shape (batch, p + q)
        Masks over columns, then over features.
    vectors : Tensor of shape (batch, width)
        What the classifier reads.
    """

    features: Tensor
    targets: Tensor
    observed: Tensor
    vectors: Tensor

    def repeated(self, n: int) -> Rows:
        """Every row `n` times in a row."""
        parts = (self.features, self.targets, self.observed, self.vectors)
        return Rows(*(part.repeat_interleave(n, 0) for part in parts))


@dataclass(frozen=True, eq=False)
class TableRows:
    """Rows of a table with what the classifier reads of them, several versions of each.

    Attributes
    ----------
    data : Tensors
    vectors : Tensor of shape (n_versions, n, width)
        Versions differ where a row has holes: each is filled in another way.
    """

    data: Tensors
    vectors: Tensor

    def draw(self, rows: Tensor, generator: torch.Generator) -> Rows:
        """The given rows, each in one version."""
        data, n_versions = self.data, len(self.vectors)
        version = torch.zeros(len(rows), dtype=torch.long)
        if n_versions > 1:
            version = torch.randint(n_versions, (len(rows),), generator=generator)
        observed = data.observed[rows]
        both = torch.cat([observed, observed.index_select(1, data.feature_columns)], dim=1)
        vectors = self.vectors[version, rows]
        return Rows(data.features[rows], data.targets[rows], both, vectors)


@dataclass(frozen=True, eq=False)
class LatentRows:
    """Latents of another model as a table (M1 below M2, Kingma et al. 2014), drawn anew each time.

    Attributes
    ----------
    mean, std : Tensor of shape (n, width)
        Of the posteriors, standardised over rows.
    n_own : int
        The model is one of the first so many; the classifier reads all.
    """

    mean: Tensor
    std: Tensor
    n_own: int

    def draw(self, rows: Tensor, generator: torch.Generator) -> Rows:
        """A draw from each row's posterior."""
        mean = self.mean[rows]
        z = mean + self.std[rows] * torch.randn(mean.shape, generator=generator)
        own = z[:, : self.n_own]
        return Rows(own, own, torch.ones(len(z), 2 * self.n_own, dtype=torch.bool), z)


@dataclass(frozen=True, eq=False)
class Labels:
    """What is known of the rows' classes.

    Attributes
    ----------
    codes : LongTensor of shape (n,)
        -1 for unlabelled.
    fold : LongTensor of shape (n,)
        Members that do not see the label, -1 for none.
    weight : Tensor of shape (n,)
    prior : Tensor of shape (n_classes,)
        ``p(y)``.
    assumed : Tensor of shape (n_classes,)
        Class frequencies among labelled rows.
    teacher : Tensor of shape (n, n_classes)
        What is believed before training.
    """

    codes: Tensor
    fold: Tensor
    weight: Tensor
    prior: Tensor
    assumed: Tensor
    teacher: Tensor

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.prior)
