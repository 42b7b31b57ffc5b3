"""Gaussians in natural parameters, where multiplying densities is adding numbers.

A normal density over ``z`` is ``exp(shift . z - z' precision z / 2)`` up to a constant, with
``shift = precision @ mean``. Products of such experts add both (Hinton 2002; Wu and Goodman 2018
for VAEs).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

LOG_TWO_PI = math.log(2 * math.pi)


@dataclass(frozen=True, eq=False)
class NaturalGaussian:
    """Normal distributions over ``z`` with full precision matrices.

    An expert by itself may be improper (singular precision, zero for one that knows nothing);
    moments, densities and samples need a proper one. What they have in common, one Cholesky
    factorisation, is computed at first use and kept.

    Parameters
    ----------
    precision : Tensor of shape (..., k, k)
        Inverse covariance, symmetric.
    shift : Tensor of shape (..., k)
        ``precision @ mean``.
    """

    precision: Tensor
    shift: Tensor

    @classmethod
    def from_moments(cls, mean: Tensor, covariance: Tensor) -> NaturalGaussian:
        """From a mean (..., k) and a positive definite covariance (..., k, k)."""
        precision = torch.cholesky_inverse(torch.linalg.cholesky(covariance))
        return cls(precision, _apply(precision, mean))

    @cached_property
    def cholesky(self) -> Tensor:
        """Lower factor ``L`` of the precision ``L L'``, shape (..., k, k)."""
        return torch.linalg.cholesky(self.precision)

    @cached_property
    def spread(self) -> Tensor:
        """``S = L^-T``, upper triangular with covariance ``S S'``, shape (..., k, k).

        One triangular inverse per row serves the covariance and all samples, and then the mean.
        """
        identity = torch.eye(
            self.shift.shape[-1], dtype=self.precision.dtype, device=self.precision.device
        )
        return torch.linalg.solve_triangular(self.cholesky, identity, upper=False).mT

    @cached_property
    def mean(self) -> Tensor:
        """Shape (..., k)."""
        if "spread" in self.__dict__:
            return _apply(self.spread, _apply(self.spread.mT, self.shift))
        return torch.cholesky_solve(self.shift.unsqueeze(-1), self.cholesky).squeeze(-1)

    @property
    def covariance(self) -> Tensor:
        """Shape (..., k, k)."""
        return self.spread @ self.spread.mT

    @property
    def log_det_precision(self) -> Tensor:
        """Shape (...)."""
        return 2 * self.cholesky.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def product(self, *experts: NaturalGaussian) -> NaturalGaussian:
        """The normalised product of this density and those of the experts."""
        precision, shift = self.precision, self.shift
        for expert in experts:
            precision, shift = precision + expert.precision, shift + expert.shift
        return NaturalGaussian(precision, shift)

    def power(self, weight: Tensor) -> NaturalGaussian:
        """The density raised to `weight` (...): 0 silences an expert, 1 leaves it as it is."""
        return NaturalGaussian(
            self.precision * weight[..., None, None], self.shift * weight[..., None]
        )

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density of `z` (..., k); extra leading dimensions are samples. Shape (...)."""
        whitened = _apply(self.cholesky.mT, z - self.mean)
        constant = self.log_det_precision - z.shape[-1] * LOG_TWO_PI
        return 0.5 * (constant - whitened.square().sum(-1))

    def rsample(self, noise: Tensor) -> Tensor:
        """``mean + S noise`` for standard normal noise (..., k), differentiable.

        Extra leading dimensions of `noise` are samples; (K, 1, k) gives all rows the same K.
        """
        return self.mean + _apply(self.spread, noise)

    def log_prob_of_noise(self, noise: Tensor) -> Tensor:
        """``log_prob(rsample(noise))`` without solving for the noise again, shape (...)."""
        constant = self.log_det_precision - noise.shape[-1] * LOG_TWO_PI
        return 0.5 * (constant - noise.square().sum(-1))

    def kl(self, other: NaturalGaussian) -> Tensor:
        """``KL(self || other)``, shape (...)."""
        return 0.5 * (
            (other.cholesky.mT @ self.spread).square().sum((-2, -1))
            + _apply(other.cholesky.mT, other.mean - self.mean).square().sum(-1)
            - self.shift.shape[-1]
            + self.log_det_precision
            - other.log_det_precision
        )


@dataclass(frozen=True, eq=False)
class DiagonalNaturalGaussian:
    """Normal distributions over ``z`` with independent coordinates.

    Parameters
    ----------
    precision : Tensor of shape (..., k)
        Inverse variances; zero for a coordinate about which an expert knows nothing.
    shift : Tensor of shape (..., k)
        ``precision * mean``.
    """

    precision: Tensor
    shift: Tensor

    @classmethod
    def from_moments(cls, mean: Tensor, variance: Tensor) -> DiagonalNaturalGaussian:
        """From a mean and positive variances, both (..., k)."""
        precision = variance.reciprocal()
        return cls(precision, precision * mean)

    @property
    def mean(self) -> Tensor:
        """Shape (..., k)."""
        return self.shift / self.precision

    @property
    def variance(self) -> Tensor:
        """Shape (..., k)."""
        return self.precision.reciprocal()

    @property
    def covariance(self) -> Tensor:
        """Shape (..., k, k)."""
        return torch.diag_embed(self.variance)

    @property
    def log_det_precision(self) -> Tensor:
        """Shape (...)."""
        return self.precision.log().sum(-1)

    def to_full(self) -> NaturalGaussian:
        """The same distributions with full precision matrices."""
        return NaturalGaussian(torch.diag_embed(self.precision), self.shift)

    def product(self, *experts: DiagonalNaturalGaussian) -> DiagonalNaturalGaussian:
        """The normalised product of this density and those of the experts."""
        precision, shift = self.precision, self.shift
        for expert in experts:
            precision, shift = precision + expert.precision, shift + expert.shift
        return DiagonalNaturalGaussian(precision, shift)

    def power(self, weight: Tensor) -> DiagonalNaturalGaussian:
        """The density raised to `weight` (...): 0 silences an expert, 1 leaves it as it is."""
        weight = weight.unsqueeze(-1)
        return DiagonalNaturalGaussian(self.precision * weight, self.shift * weight)

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density of `z` (..., k), shape (...)."""
        squares = (self.precision * (z - self.mean).square()).sum(-1)
        return 0.5 * (self.log_det_precision - z.shape[-1] * LOG_TWO_PI - squares)

    def rsample(self, noise: Tensor) -> Tensor:
        """``mean + noise / sqrt(precision)`` for standard normal noise (..., k)."""
        return self.mean + noise * self.precision.rsqrt()

    def log_prob_of_noise(self, noise: Tensor) -> Tensor:
        """``log_prob(rsample(noise))`` without solving for the noise again, shape (...)."""
        constant = self.log_det_precision - noise.shape[-1] * LOG_TWO_PI
        return 0.5 * (constant - noise.square().sum(-1))

    def kl(self, other: DiagonalNaturalGaussian) -> Tensor:
        """``KL(self || other)``, shape (...)."""
        ratio = other.precision / self.precision
        distance = other.precision * (other.mean - self.mean).square()
        return 0.5 * (ratio + distance - 1 - ratio.log()).sum(-1)


def gaussian_experts(
    loadings: Tensor,
    noise_variance: Tensor,
    centred: Tensor,
    observed: Tensor,
    prior_precision: Tensor | None = None,
) -> NaturalGaussian:
    """Exact posterior of a linear-Gaussian model under any mask.

    For ``x_j = mu_j + w_j . z + noise`` and normal ``z``, every observed column is an expert on
    ``z`` with precision ``w_j w_j' / psi_j`` and shift ``w_j (x_j - mu_j) / psi_j``; the posterior
    is their product with the prior (factor analysis with missing entries, Rubin and Thayer 1982;
    as a product of experts, Williams and Agakov 2002).

    Parameters
    ----------
    loadings : Tensor of shape (..., d, k)
        The ``w_j``; leading dimensions are models side by side.
    noise_variance : Tensor of shape (..., d)
        The ``psi_j``, positive.
    centred : Tensor of shape (..., d)
        ``x - mu``; anything, NaN included, where not observed.
    observed : bool Tensor of shape (..., d)
    prior_precision : Tensor of shape (k, k), optional
        Of ``z``; standard normal by default.

    Returns
    -------
    NaturalGaussian over (..., k)
        Rows that all have the same mask share one precision, of shape (..., 1, k, k).
    """
    n_components = loadings.shape[-1]
    if (
        observed.ndim > 1
        and observed.shape[-2] > 1
        and bool((observed == observed[..., :1, :]).all())
    ):
        observed = observed[..., :1, :]
    root = noise_variance.rsqrt()
    scaled = loadings * root.unsqueeze(-1)
    # A row's precision is the sum of its observed columns' outer products: one matrix product
    # between the mask and the table of all of them.
    outer = (scaled.unsqueeze(-1) * scaled.unsqueeze(-2)).flatten(-2)
    information = (observed.to(outer.dtype) @ outer).unflatten(-1, (n_components, n_components))
    if prior_precision is None:
        prior_precision = torch.eye(n_components, dtype=outer.dtype, device=outer.device)
    shift = centred.where(observed, 0.0) @ (scaled * root.unsqueeze(-1))
    return NaturalGaussian(information + prior_precision, shift)


def _apply(matrix: Tensor, vector: Tensor) -> Tensor:
    """Matrices (..., k, k) times vectors (..., k), which may have extra leading dimensions.

    Broadcasting the matrices over those would copy every one of them; treating the extra
    dimensions as columns of a right-hand side does not.
    """
    extra = vector.ndim - (matrix.ndim - 1)
    if extra <= 0:
        return (matrix @ vector.unsqueeze(-1)).squeeze(-1)
    flat = vector.flatten(0, extra - 1)
    result = torch.einsum("...ij,s...j->s...i", matrix, flat)
    return result.unflatten(0, vector.shape[:extra])
