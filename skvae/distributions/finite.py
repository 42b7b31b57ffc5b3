"""Likelihoods of columns with finitely many values, stored as codes 0, 1, ..., C - 1."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from skvae.distributions.base import Likelihood
from skvae.distributions.sampling import fresh_generator, uniform_like

# Probabilities that rounding alone may tell apart, relative to the largest.
EQUAL = 1e-5


class FiniteLikelihood(Likelihood):
    """What binary, nominal and ordered columns share: predictions are ``C`` probabilities."""

    discrete = True
    n_categories: int

    @property
    def n_statistics(self) -> int:
        return self.n_categories

    @abstractmethod
    def probs(self, driven: Tensor, free: Tensor) -> Tensor:
        """Probability of every category, shape (..., g, C)."""

    def mean(self, driven: Tensor, free: Tensor) -> Tensor:
        """Expected code, shape (..., g)."""
        probs = self.probs(driven, free)
        return probs @ torch.arange(self.n_categories, dtype=probs.dtype, device=probs.device)

    def statistics(self, driven: Tensor, free: Tensor) -> Tensor:
        return self.probs(driven, free)

    def point(self, statistics: Tensor) -> Tensor:
        """The most probable code, the lowest of equals."""
        top = statistics.amax(-1, keepdim=True)
        among = statistics >= top - EQUAL * top.abs()
        return (among.cumsum(-1) == 0).sum(-1).to(statistics.dtype)  # those before the first

    def sample(
        self, driven: Tensor, free: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        # Inverse distribution function. Leaving the last step out makes rounding harmless, and
        # >= never chooses a category of probability zero.
        steps = self.probs(driven, free).cumsum(-1)[..., :-1]
        uniform = uniform_like(steps[..., 0], fresh_generator(generator))
        return (uniform.unsqueeze(-1) >= steps).sum(-1).to(steps.dtype)

    def _codes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Integer codes with a harmless zero wherever `x` is none, and where it is one."""
        inside = (x >= 0) & (x < self.n_categories) & (x == x.floor())
        return x.where(inside, 0.0).long(), inside

    def _frequencies(self, x: Tensor, observed: Tensor) -> Tensor:
        """Share of every category among the observed entries, shape (g, C), none of them zero.

        Half a row more per category (Jeffreys' prior) keeps logits finite.
        """
        counts = torch.stack(
            [(observed & (x == code)).sum(0) for code in range(self.n_categories)], dim=-1
        ).to(x.dtype)
        counts = counts + 0.5
        return counts / counts.sum(-1, keepdim=True)


@dataclass(frozen=True)
class Bernoulli(FiniteLikelihood):
    """Binary columns, codes 0 and 1; driven: logit of the probability of 1."""

    n_driven = 1
    n_free = 0
    n_categories = 2

    def log_prob(self, driven: Tensor, free: Tensor, x: Tensor) -> Tensor:
        codes, inside = self._codes(x)
        log_mass = F.logsigmoid((2 * codes - 1) * driven.squeeze(-1))
        return log_mass.masked_fill(~inside, -math.inf)

    def mean(self, driven: Tensor, free: Tensor) -> Tensor:
        """Probability of 1, shape (..., g)."""
        return driven.squeeze(-1).sigmoid()

    def probs(self, driven: Tensor, free: Tensor) -> Tensor:
        return torch.cat([driven.neg(), driven], dim=-1).sigmoid()

    def init_driven(self, x: Tensor, observed: Tensor) -> Tensor:
        return self._frequencies(x, observed)[..., 1:].logit()

    def init_free(self, x: Tensor, observed: Tensor) -> Tensor:
        return x.new_zeros(x.shape[1], 0)


@dataclass(frozen=True)
class Categorical(FiniteLikelihood):
    """Nominal columns; driven: one logit per category.

    Parameters
    ----------
    n_categories : int
        ``C``, at least 1.
    """

    n_categories: int
    n_free = 0

    def __post_init__(self) -> None:
        if self.n_categories < 1:
            raise ValueError(f"n_categories must be at least 1, got {self.n_categories}.")

    @property
    def n_driven(self) -> int:
        return self.n_categories

    def log_prob(self, driven: Tensor, free: Tensor, x: Tensor) -> Tensor:
        codes, inside = self._codes(x)
        # Down the columns of the transpose: torch's softmax along a short last dimension (few
        # categories) is three to four times slower than across a longer one.
        log_probs = driven.mT.log_softmax(-2).mT
        return _pick(log_probs, codes).masked_fill(~inside, -math.inf)

    def mean(self, driven: Tensor, free: Tensor) -> Tensor:
        """Not defined: codes of nominal categories are names.

        Raises
        ------
        TypeError
            Always; use `probs`.
        """
        raise TypeError("Nominal categories have no mean; use probs() or statistics().")

    def probs(self, driven: Tensor, free: Tensor) -> Tensor:
        return driven.mT.softmax(-2).mT

    def init_driven(self, x: Tensor, observed: Tensor) -> Tensor:
        return self._frequencies(x, observed).log()

    def init_free(self, x: Tensor, observed: Tensor) -> Tensor:
        return x.new_zeros(x.shape[1], 0)


@dataclass(frozen=True)
class Ordinal(FiniteLikelihood):
    """Ordered categories by the cumulative logit model of McCullagh (1980).

    ``P(x <= k) = sigmoid(cut_k - location)``: a logistic variable around a location, cut into
    ``C`` intervals. Driven: the location. Free: the first cut point, then the ``C - 2`` gaps to
    the following ones before a softplus makes them positive.

    Parameters
    ----------
    n_categories : int
        ``C``, at least 2.
    """

    n_categories: int
    n_driven = 1

    def __post_init__(self) -> None:
        if self.n_categories < 2:
            raise ValueError(f"n_categories must be at least 2, got {self.n_categories}.")

    @property
    def n_free(self) -> int:
        return self.n_categories - 1

    @staticmethod
    def cut_points(free: Tensor) -> Tensor:
        """Increasing cut points, shape (..., g, C - 1)."""
        return torch.cat([free[..., :1], F.softplus(free[..., 1:])], dim=-1).cumsum(-1)

    def log_prob(self, driven: Tensor, free: Tensor, x: Tensor) -> Tensor:
        codes, inside = self._codes(x)
        lower, upper, log_gap = (_pick(table, codes) for table in self._intervals(free))
        log_mass = _log_interval(driven.squeeze(-1), lower, upper, log_gap)
        return log_mass.masked_fill(~inside, -math.inf)

    def probs(self, driven: Tensor, free: Tensor) -> Tensor:
        return _log_interval(driven, *self._intervals(free)).exp()

    def point(self, statistics: Tensor) -> Tensor:
        """The median code: the best guess when errors count by the number of steps."""
        median = (statistics.cumsum(-1) < 0.5 * (1 - EQUAL)).sum(-1)
        return median.clamp(max=self.n_categories - 1).to(statistics.dtype)

    def init_driven(self, x: Tensor, observed: Tensor) -> Tensor:
        """Zero: the cut points alone reproduce the frequencies."""
        return x.new_zeros(x.shape[1], 1)

    def init_free(self, x: Tensor, observed: Tensor) -> Tensor:
        """Cut points at the logits of the cumulative frequencies."""
        cuts = self._frequencies(x, observed).cumsum(-1)[..., :-1].logit()
        gaps = cuts.diff(dim=-1)
        inverse_softplus = gaps + torch.log(-torch.expm1(-gaps))
        return torch.cat([cuts[..., :1], inverse_softplus], dim=-1)

    def _intervals(self, free: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Lower end, upper end and log(1 - exp(-width)) per category, each (..., g, C).

        The width is ``softplus(raw)``, so the third is ``logsigmoid(raw)`` exactly, however narrow
        the interval.
        """
        cuts = self.cut_points(free)
        edge = torch.full_like(cuts[..., :1], math.inf)
        unbounded = torch.zeros_like(edge)
        lower = torch.cat([-edge, cuts], dim=-1)
        upper = torch.cat([cuts, edge], dim=-1)
        log_gap = torch.cat([unbounded, F.logsigmoid(free[..., 1:]), unbounded], dim=-1)
        return lower, upper, log_gap


def _log_interval(location: Tensor, lower: Tensor, upper: Tensor, log_gap: Tensor) -> Tensor:
    """Log mass of a logistic variable in an interval, accurate far out in the tails.

    With a and b the ends minus the location,
    ``log(sigmoid(a) - sigmoid(b)) = logsigmoid(a) + logsigmoid(-b) + log(1 - exp(b - a))``.
    """
    return F.logsigmoid(upper - location) + F.logsigmoid(location - lower) + log_gap


def _pick(table: Tensor, codes: Tensor) -> Tensor:
    """Entry number `codes` (..., g) along the last dimension of `table` (..., g, C)."""
    shape = torch.broadcast_shapes(table.shape[:-1], codes.shape)
    chosen = codes.expand(shape).unsqueeze(-1)
    return table.expand(*shape, table.shape[-1]).gather(-1, chosen).squeeze(-1)
