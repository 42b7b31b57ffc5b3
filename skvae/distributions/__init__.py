"""Likelihoods per column kind, and the algebra of Gaussians in natural parameters.

Every column of a table has a :class:`Likelihood`, a small value object that turns what the decoder
computes into ``p(x_j | z)``. :class:`ColumnLikelihoods` holds the likelihoods of a whole table.
:class:`NaturalGaussian` is the form in which Gaussian experts on ``z`` simply add up.
"""

from skvae.distributions.base import Likelihood
from skvae.distributions.columns import ColumnLikelihoods, Group
from skvae.distributions.continuous import (
    Gaussian,
    HeteroscedasticGaussian,
    LogNormal,
    StudentT,
)
from skvae.distributions.counts import NegativeBinomial, Poisson
from skvae.distributions.finite import Bernoulli, Categorical, FiniteLikelihood, Ordinal
from skvae.distributions.natural import (
    DiagonalNaturalGaussian,
    NaturalGaussian,
    gaussian_experts,
)

__all__ = [
    "Bernoulli",
    "Categorical",
    "ColumnLikelihoods",
    "DiagonalNaturalGaussian",
    "FiniteLikelihood",
    "Gaussian",
    "Group",
    "HeteroscedasticGaussian",
    "Likelihood",
    "LogNormal",
    "NaturalGaussian",
    "NegativeBinomial",
    "Ordinal",
    "Poisson",
    "StudentT",
    "gaussian_experts",
]
