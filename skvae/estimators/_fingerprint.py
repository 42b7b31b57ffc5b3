"""Which fit this is: the same data and parameters, the same fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import joblib
import torch
from torch import nn

# What changes nothing in what is learnt.
INDIFFERENT = {"verbose", "checkpoint"}


def fingerprint(estimator: Any, data: Iterable[Any]) -> str:
    """Of a fit, 16 hexadecimal digits.

    Parameters
    ----------
    estimator : estimator
    data : iterable of ndarray
        All that it learns from.
    """
    params = estimator.get_params(deep=False)
    told = [
        (name, _comparable(value))
        for name, value in sorted(params.items())
        if name not in INDIFFERENT
    ]
    # Other versions of torch may round otherwise, and their states be others.
    about = [type(estimator).__name__, torch.__version__, told, list(data)]
    return hashlib.sha256(joblib.hash(about).encode()).hexdigest()[:16]


def _comparable(value: Any) -> Any:
    """Something whose pickle says what it is rather than where it lies."""
    if isinstance(value, nn.Module):
        state = {name: tensor.cpu().numpy() for name, tensor in value.state_dict().items()}
        return repr(value), state
    return value
