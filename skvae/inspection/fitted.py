"""What diagnostics need of a fitted estimator, and how they compute."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from skvae.inference import Table
from skvae.inference.ensemble import DECODED_AT_ONCE
from skvae.models.vae import VAE


@dataclass(frozen=True, eq=False)
class Encoded:
    """A user's rows beside the model that is to be looked at.

    Attributes
    ----------
    model : VAE
        With one member.
    table : Table
        The rows as the model takes them.
    index : Index of length n
        Of the user's rows.
    log_jacobian : ndarray of shape (n,)
        Adding it takes log-densities to the units of the columns.
    seed : int
        Of the estimator's own noise; diagnostics draw theirs from its successors.
    """

    model: VAE
    table: Table
    index: pd.Index
    log_jacobian: np.ndarray
    seed: int

    def chunks(self, n_samples: int) -> Iterator[Table]:
        """Pieces with so few rows that all their samples fit in memory."""
        return self.table.chunks(rows_at_once(n_samples))

    def in_units(self, log_prob: Tensor) -> np.ndarray:
        """Log-densities (n, ...) of scaled rows in the units of the columns, float64."""
        extra = (1,) * (log_prob.ndim - 1)
        whole = log_prob.double().numpy() + self.log_jacobian.reshape(-1, *extra)
        seen = self.table.observed.any(dim=1).numpy().reshape(-1, *extra)
        return np.where(seen, whole, 0.0)  # saying nothing is certain

    def generator(self, successor: int) -> torch.Generator:
        """A source of noise that differs from the estimator's own."""
        return torch.Generator(device="cpu").manual_seed(self.seed + successor)


def rows_at_once(n_samples: int) -> int:
    """Rows whose samples are decoded together."""
    return max(1, DECODED_AT_ONCE // n_samples)


def encode(estimator: Any, X: Any) -> Encoded:
    """Check and encode a user's rows.

    Parameters
    ----------
    estimator : VAETransformer
        Fitted.
    X : DataFrame or array-like of shape (n_samples, n_features)

    Raises
    ------
    NotFittedError, ValueError
    """
    check_estimator(estimator)
    rows, latent = estimator._rows(X), estimator._latent
    return Encoded(
        latent.model,
        latent.table(rows),
        index_of(X, len(rows.values)),
        np.where(rows.observed, latent.scaler.log_jacobian, 0.0).sum(axis=1),
        latent.seed,
    )


def index_of(X: Any, n: int) -> pd.Index:
    """Index of a frame, or positions."""
    return X.index if isinstance(X, pd.DataFrame) else pd.RangeIndex(n)


def check_estimator(estimator: Any) -> None:
    """Raise unless `estimator` is fitted and has one latent space.

    Raises
    ------
    ValueError
        If it is not a `VAETransformer`.
    NotFittedError
        If it has not been fitted.
    """
    if not hasattr(type(estimator), "_rows"):
        raise ValueError(
            f"estimator must be a fitted VAETransformer, got {str(estimator)[:80]}. Of a pipeline, "
            "pass the last step, and X as that step sees it."
        )
    check_is_fitted(estimator)


def check_integer(value: Any, name: str, least: int = 1) -> int:
    """A whole number of at least `least`."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}.")
    return int(value)


def check_real(value: Any, name: str, *, positive: bool = False) -> float:
    """A finite number that is not negative, or positive."""
    fine = isinstance(value, Real) and not isinstance(value, bool) and np.isfinite(float(value))
    if not fine or value < 0 or (positive and value == 0):
        what = "positive" if positive else "non-negative"
        raise ValueError(f"{name} must be a {what} number, got {value!r}.")
    return float(value)


def check_components(components: Any, n_components: int, least: int, most: int) -> np.ndarray:
    """Distinct positions of latent dimensions, from `least` to `most` of them."""
    chosen = np.atleast_1d(np.asarray(components))
    whole = chosen.ndim == 1 and chosen.dtype.kind in "iu"
    if not whole or not ((chosen >= 0) & (chosen < n_components)).all():
        raise ValueError(
            f"components must be positions of latent dimensions, 0 to {n_components - 1}, got "
            f"{components!r}."
        )
    if len(np.unique(chosen)) != len(chosen) or not least <= len(chosen) <= most:
        how_many = f"{least}" if least == most else f"{least} to {most}"
        raise ValueError(f"components must be {how_many} distinct positions, got {components!r}.")
    return chosen
