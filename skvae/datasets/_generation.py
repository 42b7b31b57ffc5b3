"""What generators of tables share: their options and the frames that they return."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd


def as_frame(values: np.ndarray) -> pd.DataFrame:
    """Columns x1, x2 and so on."""
    return pd.DataFrame(values, columns=[f"x{j + 1}" for j in range(values.shape[1])])


def standardised(values: np.ndarray) -> np.ndarray:
    """Columns of mean 0 and standard deviation 1 over the rows; constant ones are 0."""
    spread = values.std(axis=0)
    return (values - values.mean(axis=0)) / np.where(spread > 0, spread, 1.0)


def check_count(value: Any, name: str, least: int = 1) -> int:
    """A whole number of at least `least`."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}.")
    return int(value)


def check_scale(value: Any, name: str) -> float:
    """A finite number that is not negative."""
    if not _is_number(value) or not 0 <= value < np.inf:
        raise ValueError(f"{name} must be a finite number of at least 0, got {value!r}.")
    return float(value)


def check_share(value: Any, name: str, *, zero: bool = False) -> float:
    """A number up to 1, above 0 or from it."""
    if not _is_number(value) or not 0 <= value <= 1 or (value == 0 and not zero):
        span = "between 0 and 1" if zero else "above 0 and at most 1"
        raise ValueError(f"{name} must be a number {span}, got {value!r}.")
    return float(value)


def check_choice(value: Any, name: str, choices: tuple[str, ...]) -> str:
    """One of the names."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {list(choices)}, got {value!r}.")
    return value


def check_correlation(value: Any, name: str) -> float:
    """A number from -1 to 1."""
    if not _is_number(value) or not -1 <= value <= 1:
        raise ValueError(f"{name} must be a number between -1 and 1, got {value!r}.")
    return float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
