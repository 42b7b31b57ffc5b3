"""What diagnostics need of a fitted estimator, and how they compute."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.utils.validation import check_is_fitted

from skvae.inference import Table
from skvae.inference.devices import CPU
from skvae.inference.scored import ScoredRows
from skvae.models.vae import VAE


class Encoded(ScoredRows):
    """A user's rows beside the one VAE, with one member, that is to be looked at."""

    @property
    def model(self) -> VAE:
        """The VAE."""
        model = self.shares[0].model
        assert isinstance(model, VAE)
        return model

    @property
    def table(self) -> Table:
        """The rows as it takes them."""
        return self.shares[0].table

    def chunks(self, n_samples: int) -> Iterator[Table]:
        """Pieces with so few rows that all their samples fit into memory."""
        return self.shares[0].chunks(n_samples)


def device_of(estimator: Any) -> torch.device:
    """Where a fitted estimator is; the CPU for whatever is none."""
    device = getattr(estimator, "_device", CPU)
    return device if isinstance(device, torch.device) else CPU


def encode(estimator: Any, X: Any) -> Encoded:
    """Check and encode rows of a user whose estimator has one latent space.

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
    scored: ScoredRows = estimator._latent.scored(estimator._rows(X))
    return Encoded(scored.shares, scored.log_jacobian, scored.silent, scored.seed)


def scored_rows(estimator: Any, X: Any) -> ScoredRows:
    """Check and encode a user's rows for whatever models the estimator scores them by.

    Parameters
    ----------
    estimator : any estimator of skvae
        Fitted.
    X : DataFrame or array-like of shape (n_samples, n_features)

    Raises
    ------
    NotFittedError, ValueError
    """
    if not hasattr(type(estimator), "_scored_rows"):
        raise ValueError(
            f"estimator must be a fitted estimator of skvae, got {str(estimator)[:80]}. Of a "
            "pipeline, pass the last step, and X as that step sees it."
        )
    check_is_fitted(estimator)
    scored: ScoredRows = estimator._scored_rows(X)
    return scored


def index_of(X: Any, n: int) -> pd.Index:
    """Index of a frame, or of the first of several, or positions."""
    tables = X.values() if isinstance(X, Mapping) else [X]
    frames = (table for table in tables if isinstance(table, pd.DataFrame))
    return next((frame.index for frame in frames), pd.RangeIndex(n))


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
