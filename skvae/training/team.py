"""Processes that train one model together: they share the rows of a batch out among them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

# Rows of a batch below which a process has nothing to do that is worth a message.
FEWEST_ROWS = 8

Value = TypeVar("Value")


class Team:
    """A process alone, which agrees with itself; processes of a group override all that talks.

    All processes run the same fit on the same rows with the same random numbers. So they come to
    the same steps, and only what rounding or a clock decides needs to be told.
    """

    rank = 0
    size = 1

    def part(self, n_rows: int) -> slice | None:
        """This process's share of the rows of a batch; None for all of them."""
        if self.size == 1 or n_rows < FEWEST_ROWS * self.size:
            return None
        return slice(self.rank * n_rows // self.size, (self.rank + 1) * n_rows // self.size)

    def autocast(self) -> AbstractContextManager[Any]:
        """Precision of the forward pass."""
        return nullcontext()

    def agree(self, value: Value) -> Value:
        """What the first process says; plain numbers and what can be made of them."""
        return value

    def align(self, tensors: Iterable[Tensor]) -> None:
        """Put the first process's numbers into tensors."""

    def any(self, flags: Sequence[bool]) -> list[bool]:
        """By flag, whether one process at least has raised it."""
        return list(flags)

    def add_up(self, parameters: Iterable[nn.Parameter], loss: Tensor) -> None:
        """Put sums over processes into the gradients of parameters and into their loss."""


class ProcessTeam(Team):
    """A process of a group that torch knows, as its default one.

    Parameters
    ----------
    autocast : callable
        Makes the context of a forward pass.
    device : torch.device
        Where messages are.
    """

    def __init__(self, autocast: Any, device: torch.device) -> None:
        self._autocast, self.device = autocast, device
        self.rank, self.size = 0, 1
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            self.rank = torch.distributed.get_rank()
            self.size = torch.distributed.get_world_size()

    def autocast(self) -> AbstractContextManager[Any]:
        """Precision of the forward pass."""
        context: AbstractContextManager[Any] = self._autocast()
        return context

    def agree(self, value: Value) -> Value:
        """What the first process says; plain numbers and what can be made of them."""
        if self.size == 1:
            return value
        said = [value]
        torch.distributed.broadcast_object_list(said, device=self.device)
        return said[0]

    def align(self, tensors: Iterable[Tensor]) -> None:
        """Put the first process's numbers into tensors."""
        if self.size == 1:
            return
        for tensor in tensors:
            own = tensor.detach()
            message = own.contiguous()
            torch.distributed.broadcast(message, 0)
            if message is not own:
                own.copy_(message)

    def any(self, flags: Sequence[bool]) -> list[bool]:
        """By flag, whether one process at least has raised it."""
        raised = torch.tensor(list(flags), dtype=torch.float32, device=self.device)
        self._add(raised)
        return [bool(flag) for flag in raised.tolist()]

    def add_up(self, parameters: Iterable[nn.Parameter], loss: Tensor) -> None:
        """Put sums over processes into the gradients of parameters and into their loss."""
        gradients = []
        for parameter in parameters:
            if parameter.grad is None and parameter.requires_grad:
                parameter.grad = torch.zeros_like(parameter)
            if parameter.grad is not None:
                gradients.append(parameter.grad)
        total = loss.detach()
        # One message: what many small ones cost is the waiting.
        message = torch.cat([*(g.flatten() for g in gradients), total.view(1)])
        self._add(message)
        *sums, of_loss = message.split([*(g.numel() for g in gradients), 1])
        for gradient, sum_ in zip(gradients, sums, strict=True):
            gradient.copy_(sum_.view_as(gradient))
        total.copy_(of_loss[0])

    def _add(self, message: Tensor) -> None:
        if self.size > 1:
            torch.distributed.all_reduce(message)
