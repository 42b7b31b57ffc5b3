"""State that machines without the accelerator can read, and that goes back to it elsewhere."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def on_cpu(owner: Any, state: dict[str, Any]) -> dict[str, Any]:
    """An object's state with all tensors in main memory.

    Parameters
    ----------
    owner : object
        Whose state it is; references back to it stay.
    state : dict

    Returns
    -------
    dict
        `state` itself where no tensor is elsewhere. Otherwise a copy that shares tensors where
        `state` does; it also shares with `state` the arrays and the tensors that need not move.
    """
    return _moved(owner, state, torch.device("cpu"), lambda tensor: is_elsewhere(tensor))


def on(owner: Any, state: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """An object's state with all tensors on a device; else as `on_cpu`."""
    return _moved(owner, state, device, lambda tensor: tensor.device != device)


def _moved(
    owner: Any, state: dict[str, Any], device: torch.device, moves: Callable[[Tensor], bool]
) -> dict[str, Any]:
    memo, seen, todo = {id(owner): owner}, {id(owner)}, [state]
    elsewhere = False
    while todo:
        value = todo.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Tensor):
            memo[id(value)] = _there(value, device) if moves(value) else value
            elsewhere |= memo[id(value)] is not value
        elif isinstance(value, np.ndarray) and value.dtype != object:
            memo[id(value)] = value
        else:
            todo += _parts(value)
    return copy.deepcopy(state, memo) if elsewhere else state


def is_elsewhere(tensor: Tensor) -> bool:
    """Whether a tensor lies on an accelerator."""
    return tensor.device.type != "cpu"


def _there(tensor: Tensor, device: torch.device) -> Tensor:
    moved = tensor.detach().to(device)
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(moved, tensor.requires_grad)
    return moved.requires_grad_(tensor.requires_grad)


def _parts(value: Any) -> list[Any]:
    """What a value holds, one step down."""
    if isinstance(value, dict):
        held = [*value.keys(), *value.values()]
    elif isinstance(value, list | tuple | set | frozenset):
        held = list(value)
    elif isinstance(value, np.ndarray):
        held = value.ravel().tolist()
    else:
        held = []
    if not isinstance(value, type):
        held += getattr(value, "__dict__", {}).values()
    return held
