"""A fitted state from one device to another."""

from __future__ import annotations

import copy
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def moved(owner: Any, state: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """An object's state with all of its tensors on a device.

    Parameters
    ----------
    owner : object
        Whose state it is; references back to it stay.
    state : dict
    device : torch.device

    Returns
    -------
    dict
        A copy that shares tensors where `state` does. Arrays, and tensors that are on the device
        already, it shares with `state`.
    """
    memo, todo = {id(owner): owner}, [state]
    seen = {id(owner)}
    while todo:
        value = todo.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Tensor):
            memo[id(value)] = _on(value, device)
        elif isinstance(value, np.ndarray) and value.dtype != object:
            memo[id(value)] = value
        else:
            todo += _parts(value)
    return copy.deepcopy(state, memo)


def _on(tensor: Tensor, device: torch.device) -> Tensor:
    if tensor.device == device:
        return tensor
    there = tensor.detach().to(device)
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(there, tensor.requires_grad)
    return there.requires_grad_(tensor.requires_grad)


def _parts(value: Any) -> list[Any]:
    """What a value holds, one step down."""
    held: list[Any] = []
    if isinstance(value, dict):
        held = [*value.keys(), *value.values()]
    elif isinstance(value, list | tuple | set | frozenset):
        held = list(value)
    elif isinstance(value, np.ndarray):
        held = value.ravel().tolist()
    if not isinstance(value, type | ModuleType):
        held += getattr(value, "__dict__", {}).values()
    return held
