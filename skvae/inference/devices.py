"""Where tensors live: on the device that a user names, with the random numbers of the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

CPU = torch.device("cpu")
# Devices without double precision.
SINGLE = ("mps",)
# What makes tensors where the caller may name a device.
_FACTORIES = {
    *(torch.empty, torch.zeros, torch.ones, torch.full, torch.eye, torch.empty_strided),
    *(torch.arange, torch.linspace, torch.logspace, torch.tril_indices, torch.triu_indices),
    *(torch.tensor, torch.as_tensor, torch.asarray, torch.scalar_tensor),
    *(torch.rand, torch.randn, torch.randint, torch.randperm),
}
_TO_NUMPY: set[Any] = {Tensor.numpy, Tensor.__array__}


def find_device(name: str) -> torch.device:
    """The device of this machine that a user names, with its number.

    Parameters
    ----------
    name : str
        One of torch's names, or "auto" for the first of "cuda", "mps" and "cpu" that is here.

    Raises
    ------
    ValueError
        If torch does not know the name, or the machine lacks the device.
    """
    if name == "auto":
        name = next(one for one in ("cuda", "mps", "cpu") if _probe(one) is not None)
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"device={name!r} is no device that torch knows: use 'auto', 'cpu', 'cuda', 'cuda:1', "
            f"'mps' or another of torch's names. This machine has {_here()}."
        ) from error
    if device.type == "cpu":
        return CPU
    found = _probe(name)
    if found is None:
        raise ValueError(
            f"device={name!r} is not there: this machine, or its build of torch, has {_here()}. "
            "device='auto' takes what there is."
        )
    return found


def device_if_here(name: str) -> torch.device:
    """The device of a name where this machine has it, else the CPU."""
    return _probe(name) or CPU


def _probe(name: str) -> torch.device | None:
    """The device with its number, None where numbers cannot be put there and read back."""
    try:
        zero = torch.zeros(1, device=name)
        zero.item()
    except Exception:  # each kind of device fails in its own way
        return None
    return zero.device


def _here() -> list[str]:
    names = [f"cuda:{i}" for i in range(torch.cuda.device_count())] + ["mps"]
    return ["cpu", *(name for name in names if _probe(name) is not None)]


class OnDevice(TorchFunctionMode):
    """Inside, new tensors land on a device, and draws from generators of the CPU are moved there.

    Random numbers hence do not depend on the device, and results only by rounding. Tensors become
    arrays wherever they are. On devices that lack double precision, what is computed in it stays
    on the CPU; all else is moved back.

    Parameters
    ----------
    device : torch.device
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device
        self.single = device.type in SINGLE

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if function in _TO_NUMPY:
            return function(args[0].cpu(), *args[1:], **kwargs)
        generator = kwargs.get("generator")
        if generator is not None and generator.device != self.device:
            return self._away(function, args, kwargs, generator.device)
        if self.single and _is_wide(function, args, kwargs):
            return self._away(function, args, kwargs, CPU)
        if function in _FACTORIES and kwargs.get("device") is None:
            kwargs = {**kwargs, "device": self.device}
        return function(*args, **kwargs)

    def _away(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        where: torch.device,
    ) -> Any:
        """Call a function on another device, and bring back what belongs here."""
        placed = kwargs.get("device") is not None
        moved, named = tree_map(lambda x: x.to(where) if _is_tensor(x) else x, (args, kwargs))
        if function in _FACTORIES and not placed:
            named["device"] = where
        out = function(*moved, **named)
        if args and _is_tensor(args[0]) and moved[0] is not args[0] and _changes(function):
            args[0].copy_(moved[0])
            return args[0]
        return out if placed else tree_map(self._back, out)

    def _back(self, value: Any) -> Any:
        if not _is_tensor(value) or (self.single and value.dtype == torch.float64):
            return value
        return value.to(self.device)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def _changes(function: Callable[..., Any]) -> bool:
    """Whether a function changes its first argument."""
    name = function.__name__
    return name == "__setitem__" or (name.endswith("_") and not name.endswith("__"))


def _is_wide(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a function takes or makes numbers in double precision."""
    return function is Tensor.double or any(
        value is torch.float64
        or (isinstance(value, Tensor | np.ndarray) and value.dtype in (torch.float64, np.float64))
        for value in tree_leaves((args, kwargs))
    )


_active: ContextVar[torch.device] = ContextVar("skvae_device", default=CPU)


def active_device() -> torch.device:
    """Where new tensors land in the fit or the prediction under way."""
    return _active.get()


@contextmanager
def landing(device: torch.device | None = None) -> Iterator[None]:
    """Let new tensors land on a device, by default where they do already.

    Naming a device costs microseconds in every operation: only where it makes a difference.
    """
    device = device or _active.get()
    naming: Any = nullcontext()
    if device != _active.get():
        naming = OnDevice(device)
    elif device == CPU and torch.get_default_device() != CPU:
        naming = CPU  # the user's own default is elsewhere
    token = _active.set(device)
    try:
        with naming:
            yield
    finally:
        _active.reset(token)
