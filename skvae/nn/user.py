"""A user's own module as the body of an encoder or a decoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class UserNetwork(nn.Module):
    """A user's module with a linear head of the library's own on top.

    The head starts at zero, so that whatever the network corrects starts uncorrected. For models
    with one member.

    Parameters
    ----------
    body : torch.nn.Module
        Takes tensors of shape (batch, width) and returns one of shape (batch, any width).
    example : sequence of Tensor
        What it will be called with, for a few rows.
    n_outputs : int
    role : str
        Its name in messages.

    Raises
    ------
    ValueError
        If the body cannot take the example, or returns anything but (batch, any width).
    """

    def __init__(self, body: nn.Module, example: Sequence[Tensor], n_outputs: int, role: str):
        super().__init__()
        self.body, self.role = body, role
        given = ", ".join(str(tuple(part.shape)) for part in example)
        training = body.training
        body.eval()  # layers that count batches must not count this one
        try:
            with torch.no_grad():
                out = body(*example)
        except (RuntimeError, TypeError, ValueError, IndexError, AssertionError) as error:
            raise ValueError(
                f"{role} failed on inputs of shape {given}: {error}. See the documentation of "
                f"`{role}` for what it is given."
            ) from error
        finally:
            body.train(training)
        n = len(example[0])
        if not isinstance(out, Tensor) or out.ndim != 2 or len(out) != n or not out.shape[1]:
            got = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
            raise ValueError(
                f"{role} must return a tensor of shape ({n}, any width) for inputs of shape "
                f"{given}, got {got}. Flatten what it returns, for example with .flatten(1)."
            )
        if not out.is_floating_point():
            raise ValueError(f"{role} must return floating point numbers, got {out.dtype}.")
        if not torch.isfinite(out).all():
            raise ValueError(f"{role} returned NaN or infinity for inputs of shape {given}.")
        self.weight = nn.Parameter(torch.zeros(1, out.shape[1], n_outputs))
        self.bias = nn.Parameter(torch.zeros(1, 1, n_outputs))

    @property
    def width(self) -> int:
        """Numbers that the body returns per row."""
        return self.weight.shape[1]

    @property
    def weights(self) -> list[nn.Parameter]:
        """What weight decay pulls to zero."""
        return [self.weight]

    def forward(self, *inputs: Tensor) -> Tensor:
        """Head on body: (batch, width) each to (1, batch, n_outputs)."""
        return torch.baddbmm(self.bias, self.features(*inputs), self.weight)

    def features(self, *inputs: Tensor) -> Tensor:
        """What the body returns, (1, batch, width)."""
        shape = (len(inputs[0]), self.width)
        try:
            out: Tensor = self.body(*inputs)
        except (RuntimeError, TypeError, ValueError, IndexError, AssertionError) as error:
            raise ValueError(f"{self.role} failed on {shape[0]} rows: {error}.") from error
        if out.shape != shape:
            raise ValueError(
                f"{self.role} returned a tensor of shape {tuple(out.shape)} where {shape} was "
                "expected: its width must not depend on the rows."
            )
        return out.float().unsqueeze(0)
