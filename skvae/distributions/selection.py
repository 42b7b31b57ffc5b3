"""Normal variables of which a logistic law hides some: shares, and values given that they are hid.

The logistic curve is a mixture of normal distribution functions (Monahan and Stefanski 1992), and a
normal variable that survives a probit law has known moments and is easily drawn (Azzalini 1985).
Hidden values can so be integrated out, at any slope, up to a step.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Weights and scales of ``sigmoid(t) = sum_k weight_k Phi(scale_k t)``, right to 6e-6 everywhere.
WEIGHTS = (0.0601096, 0.3702607, 0.4601352, 0.1094945)
SCALES = (0.3206313, 0.4737677, 0.6960914, 1.0193926)


def log_share(slope: Tensor, threshold: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """``log E sigmoid(slope (y - threshold))`` for ``y ~ N(mean, variance)``; all broadcast."""
    return torch.logsumexp(_components(slope, threshold, mean, variance)[0], -1)


def hidden_value(
    slope: Tensor,
    threshold: Tensor,
    mean: Tensor,
    variance: Tensor,
    component: Tensor,
    uniform: Tensor,
    noise: Tensor,
) -> Tensor:
    """A draw from ``p(y) ~ N(y; mean, variance) sigmoid(slope (y - threshold))``.

    Parameters
    ----------
    slope, threshold, mean, variance : Tensor
        Broadcast against each other.
    component, uniform : Tensor
        Uniform between 0 and 1.
    noise : Tensor
        Standard normal.
    """
    log_parts, reach, along = _components(slope, threshold, mean, variance)
    share = log_parts.softmax(-1).cumsum(-1)
    which = (share[..., :-1] < component.unsqueeze(-1)).sum(-1, keepdim=True)
    reach = reach.gather(-1, which).squeeze(-1)
    along = along.expand(log_parts.shape).gather(-1, which).squeeze(-1)
    # A probit law hides y where ``reach + e`` is positive, e being standard normal and correlated
    # with y: e is drawn from its upper tail, then y given e.
    tail = torch.special.ndtr(reach)
    e = -torch.special.ndtri((uniform * tail).clamp(min=1e-30))
    # In the far tail, where the share has no digits, it is exponential (Robert 1995).
    far = -reach - uniform.clamp(min=1e-30).log() / (-reach).clamp(min=1.0)
    e = torch.where(reach < -10, far, torch.maximum(e, -reach))
    rest = (variance - along.square()).clamp(min=0.0)
    return mean + along * e + rest.sqrt() * noise


def _components(
    slope: Tensor, threshold: Tensor, mean: Tensor, variance: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """By component, last: log of weight times share, reach, covariance of y with e."""
    weights = torch.tensor(WEIGHTS, dtype=mean.dtype, device=mean.device)
    scales = torch.tensor(SCALES, dtype=mean.dtype, device=mean.device)
    steep = slope.unsqueeze(-1) * scales
    size = (1 + steep.square() * variance.unsqueeze(-1)).sqrt()
    reach = steep * (mean - threshold).unsqueeze(-1) / size
    log_parts = weights.log() + torch.special.log_ndtr(reach)
    return log_parts, reach, steep * variance.unsqueeze(-1) / size


def log_interval(lower: Tensor, upper: Tensor) -> Tensor:
    """``log(Phi(upper) - Phi(lower))`` for lower < upper, accurate in both tails."""
    mirrored = lower + upper > 0
    low, high = torch.where(mirrored, -upper, lower), torch.where(mirrored, -lower, upper)
    log_high = torch.special.log_ndtr(high)
    gap = (torch.special.log_ndtr(low) - log_high).clamp(max=-1e-6)
    return log_high + torch.log(-torch.expm1(gap))
