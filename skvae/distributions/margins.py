"""Monotone transformations that make columns normal: the sinh-arcsinh family."""

from __future__ import annotations

import torch
from torch import Tensor


def sinh_arcsinh(x: Tensor, skew: Tensor, log_tail: Tensor) -> tuple[Tensor, Tensor]:
    """``y = sinh(tail asinh(x) - skew)`` and ``log dy/dx`` (Jones and Pewsey 2009).

    The identity where both parameters are 0; a positive skew makes a right-skewed x symmetric, a
    tail above one a heavy-tailed x normal. All arguments broadcast.
    """
    inner = log_tail.exp() * torch.asinh(x) - skew
    # log cosh without overflow
    log_cosh = inner.abs() + torch.log1p(torch.exp(-2 * inner.abs())) - 0.6931471805599453
    return torch.sinh(inner), log_tail + log_cosh - 0.5 * torch.log1p(x.square())


def inverse_sinh_arcsinh(y: Tensor, skew: Tensor, log_tail: Tensor) -> Tensor:
    """``x`` of `sinh_arcsinh`."""
    return torch.sinh((torch.asinh(y) + skew) * torch.exp(-log_tail))
