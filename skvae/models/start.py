"""From a linear VAE over features to the parameters of every column's likelihood."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from skvae.distributions.columns import ColumnLikelihoods
from skvae.distributions.continuous import Gaussian, HeteroscedasticGaussian, LogNormal, StudentT
from skvae.distributions.counts import NegativeBinomial, Poisson
from skvae.distributions.finite import Bernoulli, Categorical, Ordinal
from skvae.models.linear import LinearVAE

# A one-to-one relation between z and a category has infinite log-odds; this bounds them.
LOG_ODDS_SCALE = 4.0
LOGISTIC_VARIANCE = math.pi**2 / 3


@dataclass(frozen=True)
class FeatureSpec:
    """Where a column's standardised features are, and what they were before.

    Parameters
    ----------
    features : slice
        One feature, or one indicator per category.
    location, scale : float
        A single feature is ``(g(x) - location) / scale`` with ``g`` the identity, the logarithm
        (positive), ``log1p`` (count) or the code.
    offset : float
        Constant to add for the location of the generative target (see `DecoderStart`).
    probabilities : tuple of float
        Marginal frequency of each category; empty for numbers.
    """

    features: slice
    location: float
    scale: float
    offset: float = 0.0
    probabilities: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class DecoderStart:
    """Linear decoder: driven parameters are ``z @ weight + bias``.

    Parameters
    ----------
    weight : Tensor of shape (k, n_driven)
    bias : Tensor of shape (n_driven,)
    free : Tensor of shape (n_free,)
    """

    weight: Tensor
    bias: Tensor
    free: Tensor

    def along(self, axes: Tensor) -> DecoderStart:
        """The same decoder of ``axes @ z``, where axes (k, k) may leave out given columns."""
        k = len(axes)
        own = torch.linalg.solve(axes.to(self.weight).mT, self.weight[:k])
        return replace(self, weight=torch.cat([own, self.weight[k:]]))


def decoder_start(
    linear: LinearVAE,
    likelihoods: ColumnLikelihoods,
    specs: Sequence[FeatureSpec],
    free: Tensor,
    log_noise_scale: float | None = None,
) -> DecoderStart:
    """The generalised linear decoder that a linear VAE implies.

    Numbers keep their loadings on the scale of their link. For categories, the linear VAE gives
    ``E[z | category]``; with a shared covariance the log-odds given ``z`` are then linear, which
    is Fisher's discriminant. Ordered categories read their code's loading as the location of a
    logistic variable and place the cut points so that the marginal frequencies stay.

    Parameters
    ----------
    linear : LinearVAE
    likelihoods : ColumnLikelihoods
    specs : sequence of FeatureSpec
        One per column.
    free : Tensor of shape (n_free,)
        Marginal start of the free parameters.
    log_noise_scale : float, optional
        Fix the log noise scale of Gaussian columns here instead of at the linear VAE's.
    """
    k = linear.n_components
    weight = linear.loadings.new_zeros(k, likelihoods.n_driven)
    bias = linear.loadings.new_zeros(likelihoods.n_driven)
    free = free.clone().to(linear.loadings)
    for group in likelihoods.groups:
        width, n_free = group.likelihood.n_driven, group.likelihood.n_free
        for place, column in enumerate(group.columns.tolist()):
            at = slice(group.driven.start + place * width, group.driven.start + (place + 1) * width)
            fr = slice(group.free.start + place * n_free, group.free.start + (place + 1) * n_free)
            spec = specs[column]
            kind = group.likelihood
            if isinstance(kind, Categorical):
                weight[:, at], bias[at] = _nominal(linear, spec)
            elif isinstance(kind, Bernoulli):
                w, b = _nominal(linear, spec)
                weight[:, at], bias[at] = w[:, 1:] - w[:, :1], b[1:] - b[:1]
            elif isinstance(kind, Ordinal):
                w, cuts = _ordinal(linear, spec)
                weight[:, at], free[fr] = w[:, None], cuts
            else:
                w, b, log_scale = _numeric(linear, spec, kind)
                weight[:, at.start], bias[at.start] = w, b
                if isinstance(kind, Gaussian | HeteroscedasticGaussian | StudentT | LogNormal):
                    free[fr.start] = log_scale if log_noise_scale is None else log_noise_scale
    return DecoderStart(weight, bias, free)


def _numeric(linear: LinearVAE, spec: FeatureSpec, kind: object) -> tuple[Tensor, Tensor, Tensor]:
    j = spec.features.start
    loading, mean, noise = linear.loadings[j], linear.mean[j], linear.noise_variance[j]
    if isinstance(kind, LogNormal | Poisson | NegativeBinomial):
        location = spec.location + spec.offset
        log_scale = 0.5 * noise.log() + math.log(spec.scale)
        return spec.scale * loading, location + spec.scale * mean, log_scale
    return loading, mean, 0.5 * noise.log()


def _nominal(linear: LinearVAE, spec: FeatureSpec) -> tuple[Tensor, Tensor]:
    """Weights (k, C) and biases (C,) of the log-odds."""
    p = torch.tensor(spec.probabilities, dtype=linear.loadings.dtype).clamp(min=1e-4)
    p = p / p.sum()
    rows = linear.loadings[spec.features]
    if len(p) == 2 and rows.shape[0] == 1:  # one feature for two categories
        sd = (p[0] * p[1]).sqrt()
        means = torch.stack([-rows[0] * sd / p[0], rows[0] * sd / p[1]])
    else:
        sd = (p * (1 - p)).sqrt()
        means = rows * (sd / p)[:, None]
    k = means.shape[1]
    between = (means * p[:, None]).mT @ means
    within = torch.eye(k, dtype=means.dtype) - between
    # Estimated moments need not fit together: keep the covariance within categories positive.
    values, vectors = torch.linalg.eigh(0.5 * (within + within.mT))
    values = values.clamp(min=0.1)
    directions = means @ (vectors / values) @ vectors.mT
    size = directions.norm(dim=1, keepdim=True).clamp(min=1e-12)
    shrink = (LOG_ODDS_SCALE / size).clamp(max=1.0)
    bias = p.log() - 0.5 * (directions * shrink * means).sum(1)
    return (directions * shrink).mT, bias


def _ordinal(linear: LinearVAE, spec: FeatureSpec) -> tuple[Tensor, Tensor]:
    """Weights (k,) of the location and raw cut points (C - 1,)."""
    j = spec.features.start
    loading, noise = linear.loadings[j], linear.noise_variance[j]
    weight = loading * (LOGISTIC_VARIANCE / noise.clamp(min=0.05)).sqrt()
    stretch = (1 + weight.square().sum() / LOGISTIC_VARIANCE).sqrt()
    p = torch.tensor(spec.probabilities, dtype=loading.dtype).clamp(min=1e-4)
    below = (p / p.sum()).cumsum(0)[:-1].clamp(1e-4, 1 - 1e-4)
    cuts = torch.logit(below) * stretch
    gaps = cuts.diff().clamp(min=1e-3)
    raw = gaps + torch.log(-torch.expm1(-gaps))  # the inverse of softplus
    return weight, torch.cat([cuts[:1], raw])
