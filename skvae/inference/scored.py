"""What a fitted estimator scores rows by: one model of them, or a mixture of several."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from skvae.inference.ensemble import DECODED_AT_ONCE, Table
from skvae.models.joint import JointModel


@dataclass(frozen=True, eq=False)
class Share:
    """One model with its part in the mixture.

    Attributes
    ----------
    model : JointModel
    table : Table
        The rows as the model takes them.
    weight : float, default=1.0
        Its probability, which its members share.
    most_rows : int, optional
        Whose posteriors fit into memory together.
    """

    model: JointModel
    table: Table
    weight: float = 1.0
    most_rows: int | None = None

    def chunks(self, n_samples: int) -> Iterator[Table]:
        """Pieces with so few rows that all their samples fit into memory."""
        rows = rows_at_once(n_samples * self.model.n_members)
        return self.table.chunks(rows if self.most_rows is None else min(rows, self.most_rows))


@dataclass(frozen=True, eq=False)
class ScoredRows:
    """A user's rows beside the models whose mixture scores them.

    Attributes
    ----------
    shares : tuple of Share
    log_jacobian : ndarray of shape (n,)
        Adding it takes log-densities to the units of the columns.
    silent : bool ndarray of shape (n,)
        Rows that say nothing: they score 0.
    seed : int
        Of the estimator's own noise; diagnostics draw theirs from its successors.
    """

    shares: tuple[Share, ...]
    log_jacobian: np.ndarray
    silent: np.ndarray
    seed: int

    def mixed(self, log_probs: list[Tensor]) -> Tensor:
        """By share (n_members, n, ...), to those of the mixture, float64 (n, ...)."""
        terms = [
            each.double() + float(np.log(share.weight / share.model.n_members))
            for share, each in zip(self.shares, log_probs, strict=True)
        ]
        return torch.cat(terms).logsumexp(0)

    def in_units(self, log_prob: Tensor) -> np.ndarray:
        """Log-densities (n, ...) of scaled rows in the units of the columns, float64."""
        extra = (1,) * (log_prob.ndim - 1)
        whole = log_prob.double().numpy() + self.log_jacobian.reshape(-1, *extra)
        return np.where(self.silent.reshape(-1, *extra), 0.0, whole)

    def generator(self, successor: int) -> torch.Generator:
        """A source of noise that differs from the estimator's own."""
        return torch.Generator(device="cpu").manual_seed(self.seed + successor)


def rows_at_once(n_samples: int) -> int:
    """Rows whose samples are decoded together."""
    return max(1, DECODED_AT_ONCE // n_samples)
