"""Likelihoods of counts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from skvae.distributions.base import Likelihood, masked_moments, soft_cap, widen
from skvae.distributions.sampling import fresh_generator, poisson, standard_gamma

# Above exp(30), about 1e13, a rate grows linearly with what the decoder says and no longer
# exponentially: losses and squared gradients then stay finite in single precision.
LOG_RATE_CAP = 30.0
# Within exp(-20) and exp(20) the dispersion is what it says. Beyond, a negative binomial is a
# Poisson for all purposes, or all its mass but 1e-8 is at zero.
LOG_DISPERSION_CAP = 20.0


class _Counts(Likelihood):
    """Columns of counts 0, 1, ... whose first driven number is the log mean."""

    n_driven = 1
    discrete = True

    def mean(self, driven: Tensor, free: Tensor) -> Tensor:
        return _log_rate(driven).exp()

    def init_driven(self, x: Tensor, observed: Tensor) -> Tensor:
        mean, _ = masked_moments(x, observed)
        # Half a count more keeps columns of zeros finite.
        count = observed.sum(0).clamp(min=1)
        return (mean + 0.5 / count).log().unsqueeze(-1).to(x.dtype)


@dataclass(frozen=True)
class Poisson(_Counts):
    """Counts whose variance equals their mean; driven: log rate, no free parameter.

    Rates beyond ``exp(30)`` are capped softly, see :func:`skvae.distributions.base.soft_cap`.
    """

    n_free = 0

    def variance(self, driven: Tensor, free: Tensor) -> Tensor:
        return self.mean(driven, free)

    def log_prob(self, driven: Tensor, free: Tensor, x: Tensor) -> Tensor:
        # x log(rate) - rate - log x! written around its maximum at rate = x: the plain form is a
        # small difference of numbers as large as x log x, which single precision cannot hold.
        counts, inside = _counts(x)
        peak = counts.clamp(min=1)
        wide = widen(counts)
        at_peak = torch.xlogy(wide, wide) - widen(peak) - torch.lgamma(wide + 1)
        at_peak = at_peak.to(x.dtype).masked_fill(~inside, -math.inf)
        deviation = _log_rate(driven) - peak.log()
        return at_peak + (counts * deviation - peak * torch.expm1(deviation))

    def sample(
        self, driven: Tensor, free: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        return poisson(self.mean(driven, free), fresh_generator(generator))

    def init_free(self, x: Tensor, observed: Tensor) -> Tensor:
        return x.new_zeros(x.shape[1], 0)


@dataclass(frozen=True)
class NegativeBinomial(_Counts):
    """Overdispersed counts; driven: log mean, free: log dispersion ``r``.

    The variance is ``mean + mean**2 / r`` (the NB2 form, Cameron and Trivedi 1986). Means beyond
    ``exp(30)`` and dispersions outside ``exp(-20), exp(20)`` are capped softly.
    """

    n_free = 1

    def variance(self, driven: Tensor, free: Tensor) -> Tensor:
        mean = self.mean(driven, free)
        return mean + mean.square() / _log_dispersion(free).exp()

    def log_prob(self, driven: Tensor, free: Tensor, x: Tensor) -> Tensor:
        # Gamma(x + r) / (Gamma(r) x!) sigma(t)^x sigma(-t)^r with t = log(mean / r).
        counts, inside = _counts(x)
        log_dispersion = _log_dispersion(free)
        dispersion = log_dispersion.exp()
        wide, wide_dispersion = widen(counts), widen(dispersion)
        coefficient = (
            torch.lgamma(wide + wide_dispersion)
            - torch.lgamma(wide_dispersion)
            - torch.lgamma(wide + 1)
        )
        coefficient = coefficient.to(x.dtype).masked_fill(~inside, -math.inf)
        logit = _log_rate(driven) - log_dispersion
        return coefficient + counts * F.logsigmoid(logit) + dispersion * F.logsigmoid(-logit)

    def sample(
        self, driven: Tensor, free: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        # A Poisson count whose rate is itself a gamma variable (Greenwood and Yule 1920).
        generator = fresh_generator(generator)
        mean = self.mean(driven, free)
        dispersion = _log_dispersion(free).exp().expand(mean.shape)
        return poisson(mean * standard_gamma(dispersion, generator) / dispersion, generator)

    def init_free(self, x: Tensor, observed: Tensor) -> Tensor:
        """Method of moments, ``r = mean**2 / (variance - mean)``, kept within 0.1 and 100."""
        mean, variance = masked_moments(x, observed)
        excess = (variance - mean).clamp(min=1e-12)
        dispersion = (mean.square() / excess).clamp(0.1, 100.0)
        # Without overdispersion (or without data) start close to a Poisson.
        dispersion = dispersion.where(variance > mean, 100.0)
        return dispersion.log().unsqueeze(-1).to(x.dtype)


def _log_rate(driven: Tensor) -> Tensor:
    return soft_cap(driven.squeeze(-1), LOG_RATE_CAP)


def _log_dispersion(free: Tensor) -> Tensor:
    return soft_cap(-soft_cap(-free.squeeze(-1), LOG_DISPERSION_CAP), LOG_DISPERSION_CAP)


def _counts(x: Tensor) -> tuple[Tensor, Tensor]:
    """Counts with a harmless zero wherever `x` is none, and where it is one."""
    inside = (x >= 0) & (x == x.floor()) & torch.isfinite(x)
    return x.where(inside, 0.0), inside
