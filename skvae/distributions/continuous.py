"""Likelihoods of real-valued columns."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from skvae.distributions.base import (
    Likelihood,
    masked_moments,
    soft_cap,
    spread_or_one,
    widen,
)
from skvae.distributions.sampling import (
    fresh_generator,
    normal_like,
    standard_gamma,
    uniform_like,
)

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
# exp(80) times anything reasonable still fits in single precision; beyond, values grow no further
# than by so many nats.
LOG_VALUE_CAP, LOG_VALUE_REST = 80.0, 4.0
# Log scales that depend on z: how far from the common one, and no lower than this in all.
LOG_RATIO_CAP, LOG_SCALE_FLOOR = 6.0, -8.0
# Median absolute deviation of a standard normal variable.
NORMAL_MAD = 0.6744897501960817


@dataclass(frozen=True)
class Gaussian(Likelihood):
    """Normal columns; driven: mean, free: log standard deviation."""

    n_driven = 1
    n_free = 1
    discrete = False

    def log_prob(self, driven: Tensor, free: Tensor, x: Tensor) -> Tensor:
        # Scale, 1/2 and constants are folded while tensors are small: this runs at every step on
        # every entry. squeeze rather than [..., 0], whose gradient would be copied.
        log_scale = free.squeeze(-1)
        inverse = torch.exp(-log_scale) * math.sqrt(0.5)
        residual = (x - driven.squeeze(-1)) * inverse
        return torch.addcmul(-HALF_LOG_TWO_PI - log_scale, residual, residual, value=-1)

    def mean(self, driven: Tensor, free: Tensor) -> Tensor:
        return driven.squeeze(-1)

    def variance(self, driven: Tensor, free: Tensor) -> Tensor:
        return (2 * free.squeeze(-1)).exp().expand(driven.shape[:-1])

    def sample(
        self, driven: Tensor, free: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        location = driven.squeeze(-1)
        noise = normal_like(location, fresh_generator(generator))
        return location + free.squeeze(-1).exp() * noise

    def init_driven(self, x: Tensor, observed: Tensor) -> Tensor:
        mean, _ = masked_moments(x, observed)
        return mean.unsqueeze(-1).to(x.dtype)

    def init_free(self, x: Tensor, observed: Tensor) -> Tensor:
        mean, variance = masked_moments(x, observed)
        return spread_or_one(variance.sqrt(), mean).log().unsqueeze(-1).to(x.dtype)


@dataclass(frozen=True)
class HeteroscedasticGaussian(Likelihood):
    """Normal columns whose spread depends on ``z``; driven: mean and log ratio of the scale.

    The free parameter is the log standard deviation that a ratio of zero stands for; ratios stay
    within a factor of ``exp(6)`` either way. Columns that are exact in some rows and noisy in
    others (zero or a reading, a dose or none) need it for a density.

    Where a column is nearly exact, one reading off would cost thousands of nats. So a small share
    of every entry is kept by a Student-t of unit scale around the same mean: a bounded price for
    what was never seen (a contaminated normal, Tukey 1960).

    Parameters
    ----------
    share : float, default=1e-3
        Weight of the Student-t.
    df : float, default=3.0
        Its degrees of freedom.
    """

    share: float = 1e-3
    df: float = 3.0

    n_driven = 2
    n_free = 1
    discrete = False

    @staticmethod
    def log_scale(driven: Tensor, free: Tensor) -> Tensor:
        """Log standard deviation of the normal part, shape (..., g)."""
        log_ratio = LOG_RATIO_CAP * torch.tanh(driven[..., 1] / LOG_RATIO_CAP)
        return (free.squeeze(-1) + log_ratio).clamp(min=LOG_SCALE_FLOOR)

    def log_prob(self, driven: Tensor, free: Tensor, x: Tensor) -> Tensor:
        log_scale = self.log_scale(driven, free)
        residual = x - driven[..., 0]
        normal = (residual * (-log_scale).exp()).square()
        normal = (math.log1p(-self.share) - HALF_LOG_TWO_PI) - log_scale - 0.5 * normal
        constant = math.lgamma((self.df + 1) / 2) - math.lgamma(self.df / 2)
        constant += math.log(self.share) - 0.5 * math.log(self.df * math.pi)
        tail = constant - (self.df + 1) / 2 * torch.log1p(residual.square() / self.df)
        return torch.logaddexp(normal, tail)

    def mean(self, driven: Tensor, free: Tensor) -> Tensor:
        return driven[..., 0]

    def variance(self, driven: Tensor, free: Tensor) -> Tensor:
        tail = self.share * self.df / (self.df - 2)
        return (1 - self.share) * (2 * self.log_scale(driven, free)).exp() + tail

    def sample(
        self, driven: Tensor, free: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        generator = fresh_generator(generator)
        location = driven[..., 0]
        noise = normal_like(location, generator)
        half_df = torch.full_like(location, self.df / 2)
        tail = (half_df / standard_gamma(half_df, generator)).sqrt()
        chosen = uniform_like(location, generator) < self.share
        return location + torch.where(chosen, tail, self.log_scale(driven, free).exp()) * noise

    def init_driven(self, x: Tensor, observed: Tensor) -> Tensor:
        mean = Gaussian().init_driven(x, observed)
        return torch.cat([mean, torch.zeros_like(mean)], dim=-1)

    def init_free(self, x: Tensor, observed: Tensor) -> Tensor:
        return Gaussian().init_free(x, observed)


@dataclass(frozen=True)
class StudentT(Likelihood):
    """Heavy-tailed columns; driven: location, free: log scale and raw degrees of freedom.

    Degrees of freedom are ``2 + softplus(raw)``: above one the mean exists, above two the variance
    does too, and a column's error stays measurable in squared units.
    """

    n_driven = 1
    n_free = 2
    discrete = False

    @staticmethod
    def degrees_of_freedom(free: Tensor) -> Tensor:
        """Shape (..., g), all above 2."""
        return 2 + F.softplus(free[..., 1])

    def log_prob(self, driven: Tensor, free: Tensor, x: Tensor) -> Tensor:
        log_scale = free[..., 0]
        df = self.degrees_of_freedom(free)
        wide = widen(df)
        normaliser = (
            torch.lgamma((wide + 1) / 2) - torch.lgamma(wide / 2) - 0.5 * torch.log(wide * math.pi)
        ).to(df.dtype)
        residual = (x - driven.squeeze(-1)) * (torch.exp(-log_scale) * df.rsqrt())
        return (normaliser - log_scale) - (df + 1) / 2 * torch.log1p(residual.square())

    def mean(self, driven: Tensor, free: Tensor) -> Tensor:
        return driven.squeeze(-1)

    def variance(self, driven: Tensor, free: Tensor) -> Tensor:
        df = self.degrees_of_freedom(free)
        return ((2 * free[..., 0]).exp() * df / (df - 2)).expand(driven.shape[:-1])

    def sample(
        self, driven: Tensor, free: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        generator = fresh_generator(generator)
        location = driven.squeeze(-1)
        half_df = (self.degrees_of_freedom(free) / 2).expand(location.shape)
        noise = normal_like(location, generator)
        # t = normal / sqrt(chi2 / df) and chi2 = 2 Gamma(df / 2).
        spread = (half_df / standard_gamma(half_df, generator)).sqrt()
        return location + free[..., 0].exp() * spread * noise

    def init_driven(self, x: Tensor, observed: Tensor) -> Tensor:
        return _masked_median(x, observed).unsqueeze(-1)

    def init_free(self, x: Tensor, observed: Tensor) -> Tensor:
        """Scale from the median absolute deviation, degrees of freedom from the kurtosis.

        A t variable has excess kurtosis ``6 / (df - 4)``; df is kept within 4.5 and 30, because
        the kurtosis itself is a shaky estimate.
        """
        mean, variance = masked_moments(x, observed)
        median = _masked_median(x, observed)
        mad = widen(_masked_median((x - median).abs(), observed)) / NORMAL_MAD
        # More than half of the entries may be equal: then the standard deviation has to do.
        scale = mad.where(mad > 1e-3 * variance.sqrt(), variance.sqrt())
        log_scale = spread_or_one(scale, widen(median)).log()

        safe_variance = variance.where(variance > 0, 1.0)
        # Fourth powers of standardised values: those of raw ones might overflow.
        fourth, _ = masked_moments(((widen(x) - mean) / safe_variance.sqrt()) ** 4, observed)
        excess = (fourth - 3).clamp(min=1e-3)
        df = (4 + 6 / excess).clamp(4.5, 30.0)
        raw = torch.log(torch.expm1(df - 2))
        return torch.stack([log_scale, raw], dim=-1).to(x.dtype)


@dataclass(frozen=True)
class LogNormal(Likelihood):
    """Positive columns; driven: mean of log x, free: log standard deviation of log x.

    The density is in the units of x, so the Jacobian ``-log x`` is part of it. Means and samples
    beyond ``exp(80)`` are capped softly, see :func:`skvae.distributions.base.soft_cap`, and at
    ``exp(84)``.
    """

    n_driven = 1
    n_free = 1
    discrete = False

    def log_prob(self, driven: Tensor, free: Tensor, x: Tensor) -> Tensor:
        inside = (x > 0) & torch.isfinite(x)
        log_x = x.where(inside, 1.0).log()
        jacobian = (-log_x).masked_fill(~inside, -math.inf)
        return Gaussian().log_prob(driven, free, log_x) + jacobian

    def mean(self, driven: Tensor, free: Tensor) -> Tensor:
        half_variance = 0.5 * (2 * free.squeeze(-1)).exp()
        return _bounded_exp(driven.squeeze(-1) + half_variance)

    def variance(self, driven: Tensor, free: Tensor) -> Tensor:
        # Half the cap, so that the square of the mean stays within single precision.
        log_mean = soft_cap(self.mean(driven, free).log(), LOG_VALUE_CAP / 2)
        ratio = torch.expm1((2 * free.squeeze(-1)).exp().clamp(max=20.0))
        return ((2 * log_mean).exp() * ratio).clamp(max=torch.finfo(driven.dtype).max)

    def sample(
        self, driven: Tensor, free: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        return _bounded_exp(Gaussian().sample(driven, free, generator))

    def init_driven(self, x: Tensor, observed: Tensor) -> Tensor:
        return Gaussian().init_driven(*self._log_positive(x, observed))

    def init_free(self, x: Tensor, observed: Tensor) -> Tensor:
        return Gaussian().init_free(*self._log_positive(x, observed))

    @staticmethod
    def _log_positive(x: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
        usable = observed & (x > 0)
        return x.where(usable, 1.0).log(), usable


def _bounded_exp(log_value: Tensor) -> Tensor:
    """A finite number, however large the logarithm."""
    return soft_cap(log_value, LOG_VALUE_CAP).clamp(max=LOG_VALUE_CAP + LOG_VALUE_REST).exp()


def _masked_median(x: Tensor, observed: Tensor) -> Tensor:
    """Lower median of the observed entries per column, 0 where there are none; shape (g,)."""
    if x.shape[0] == 0:
        return x.new_zeros(x.shape[1])
    return x.where(observed, math.nan).nanmedian(dim=0).values.nan_to_num(nan=0.0)
