"""What a conditional model knows besides ``z``."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Context:
    """How many numbers a model is given per row, and what it does with them (Sohn et al. 2015).

    Attributes
    ----------
    width : int
        Numbers per row.
    decoded : bool
        Whether the decoder sees them: ``p(x | z, c)`` rather than ``p(x | z)``.
    loadings : Tensor of shape (n_replicas, width, q) or None
        Linear effect on the features, which the linear posterior takes off first.
    n_decoded : int or None
        The decoder sees only so many of the numbers, the first; None for all.
    encoded : bool
        Whether the encoder's network sees them.
    """

    width: int
    decoded: bool = False
    loadings: Tensor | None = None
    n_decoded: int | None = None
    encoded: bool = True


def beside(z: Tensor, context: Tensor | None) -> Tensor:
    """Append to z (n_members, batch, ..., k) the context (batch, n_context) of each row."""
    if context is None:
        return z
    middle = (1,) * (z.ndim - 3)
    own = context.view(1, len(context), *middle, -1).expand(*z.shape[:-1], -1)
    return torch.cat([z, own], dim=-1)
