"""What a likelihood is: the contract every column kind fulfils."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor


class Likelihood(ABC):
    """``p(x_j | z)`` for a group of ``g`` columns of the same kind.

    A likelihood is a value: frozen, hashable, picklable, without state. Its parameters arrive as
    tensors at every call, in two parts:

    driven : Tensor of shape (..., g, n_driven)
        What the decoder computes from ``z``.
    free : Tensor of shape (..., g, n_free)
        Constants learned per column (noise scale, cut points); leading dimensions broadcast to
        those of ``driven``.
    x : Tensor of shape (..., g)
        Values in the column's own units; categories are codes 0, 1, ... stored as floats. Leading
        dimensions broadcast against those of ``driven``, so one table serves K samples of ``z``.

    Values outside the support (a negative count, NaN in a discrete column) have log-probability
    ``-inf`` and gradient zero rather than NaN, so that masking them afterwards is safe.
    """

    @property
    @abstractmethod
    def n_driven(self) -> int:
        """Numbers per column that the decoder computes."""

    @property
    @abstractmethod
    def n_free(self) -> int:
        """Numbers per column that do not depend on ``z``."""

    @property
    @abstractmethod
    def discrete(self) -> bool:
        """Whether ``log_prob`` is the logarithm of a mass rather than of a density."""

    @property
    def n_statistics(self) -> int:
        """Numbers per column in a prediction, see :meth:`statistics`."""
        return 1

    @abstractmethod
    def log_prob(self, driven: Tensor, free: Tensor, x: Tensor) -> Tensor:
        """Log-density or log-mass of ``x``, shape (..., g)."""

    @abstractmethod
    def mean(self, driven: Tensor, free: Tensor) -> Tensor:
        """Expected value, shape (..., g); the expected code for ordered categories."""

    def variance(self, driven: Tensor, free: Tensor) -> Tensor:
        """Variance of a number or count given ``z``, shape (..., g)."""
        raise TypeError(f"{type(self).__name__} has categories, whose variance means nothing.")

    def probs(self, driven: Tensor, free: Tensor) -> Tensor:
        """Probability of every category, shape (..., g, C); finite discrete kinds only."""
        raise TypeError(f"{type(self).__name__} does not have finitely many values.")

    @abstractmethod
    def sample(
        self, driven: Tensor, free: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """One draw per entry, shape (..., g).

        Draws come from ``generator``, on whichever device it lives; without one, from a fresh one
        seeded by the operating system. torch's global random state is never read nor moved.
        """

    def statistics(self, driven: Tensor, free: Tensor) -> Tensor:
        """What may be averaged over samples of ``z`` before deciding, (..., g, n_statistics)."""
        return self.mean(driven, free).unsqueeze(-1)

    def point(self, statistics: Tensor) -> Tensor:
        """The single value that averaged statistics stand for, shape (..., g)."""
        return statistics.squeeze(-1)

    @abstractmethod
    def init_driven(self, x: Tensor, observed: Tensor) -> Tensor:
        """Driven parameters that fit the columns without any help from ``z``: a decoder's bias.

        Parameters
        ----------
        x : Tensor of shape (n, g)
        observed : bool Tensor of shape (n, g)
            Entries of ``x`` where this is false are never looked at.

        Returns
        -------
        Tensor of shape (g, n_driven)
        """

    @abstractmethod
    def init_free(self, x: Tensor, observed: Tensor) -> Tensor:
        """Free parameters to start from, shape (g, n_free); arguments as in `init_driven`."""


def soft_cap(log_value: Tensor, cap: float) -> Tensor:
    """Keep ``exp(log_value)`` from overflowing: the identity up to `cap`, logarithmic beyond.

    In other words ``exp`` continues as its tangent line. Unlike a clamp, the result still grows
    beyond `cap`, so a runaway decoder keeps a gradient that brings it back; unlike a tanh, nothing
    changes below `cap`, so densities there are exact.
    """
    return log_value.clamp(max=cap) + torch.log1p(torch.relu(log_value - cap))


def widen(tensor: Tensor) -> Tensor:
    """In double precision, where the device has it (Apple's MPS does not).

    For differences of log-gammas: in single precision they lose all digits for large arguments.
    They only ever have the shape of the data or of the free parameters, so this costs little.
    """
    return tensor if tensor.device.type == "mps" else tensor.double()


def masked_moments(x: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of the observed entries per column, in double precision, shape (g,).

    A column without observed entries has mean 0 and variance 0.
    """
    count = observed.sum(0).clamp(min=1)
    x = widen(x)
    mean = x.where(observed, 0.0).sum(0) / count
    variance = (x - mean).where(observed, 0.0).square().sum(0) / count
    return mean, variance


def spread_or_one(scale: Tensor, location: Tensor) -> Tensor:
    """`scale`, or 1 where it is nothing but rounding error around `location`.

    A constant column says nothing about its scale; starting at zero would start at an infinite
    density.
    """
    return scale.where(scale > 1e-6 * location.abs() + 1e-12, 1.0)
