"""Walks through latent space: interpolation, attribute directions, counterfactuals."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd

from skvae.estimators._latent_table import LatentTable


class LatentWalks(LatentTable):
    """Rows on the way from one to another, and rows moved along directions."""

    def interpolate(
        self,
        X_start: Any,
        X_end: Any,
        n_steps: int = 10,
        *,
        method: str = "linear",
        condition: Any = None,
    ) -> Any:
        """Rows on the way from one to another, through latent space.

        Parameters
        ----------
        X_start, X_end : DataFrame or array-like of shape (n_pairs, n_features)
        n_steps : int, default=10
            Rows per pair, both ends included.
        method : {"linear", "spherical"}, default="linear"
            Straight lines, or along great circles (White 2016), which keep the typical distance
            from the origin of a standard normal prior.
        condition : DataFrame, dict or array-like, optional
            For models with `condition_on`: one row for all pairs, or one for each. By default,
            that of each pair's start.

        Returns
        -------
        DataFrame or ndarray of shape (n_pairs * n_steps, n_columns)
            Pair after pair.
        """
        if method not in ("linear", "spherical"):
            raise ValueError(f"method must be 'linear' or 'spherical', got {method!r}.")
        if not isinstance(n_steps, Integral) or n_steps < 2:
            raise ValueError(f"n_steps must be an integer of at least 2, got {n_steps!r}.")
        first = self._rows(X_start)
        start, end = self._latent.moments(first)[0], self.posterior(X_end)[0]
        if len(start) != len(end):
            raise ValueError(
                f"X_start and X_end must have as many rows, got {len(start)} and {len(end)}."
            )
        given = first.given
        if condition is not None:
            given = self._given(condition, len(start), "X_start has")
        if given is not None:
            given = np.repeat(given, int(n_steps), axis=0)
        t = np.linspace(0, 1, int(n_steps))[:, None]
        path = _spherical(start, end, t) if method == "spherical" else _linear(start, end, t)
        z = path.reshape(-1, path.shape[-1])
        return self._decode(self._latent.decode(z, self._context(given)), given)

    def attribute_direction(self, X: Any, labels: Any) -> np.ndarray:
        """Difference of the mean latents of two groups.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
        labels : array-like of shape (n_samples,)
            Two distinct values; the direction leads from the smaller to the larger, or along the
            order of a categorical.

        Returns
        -------
        ndarray of shape (n_components,)
        """
        z = self.posterior(X)[0]
        if np.shape(labels) != (len(z),):
            raise ValueError(f"labels must have shape ({len(z)},), got {np.shape(labels)}.")
        labels = pd.Series(labels).reset_index(drop=True)
        if labels.isna().any():
            raise ValueError(
                f"labels are missing in {int(labels.isna().sum())} rows; leave these rows out."
            )
        labels = labels.astype("category")
        groups = labels.cat.remove_unused_categories().cat.categories
        if len(groups) != 2:
            raise ValueError(
                f"labels must hold two distinct values, got {len(groups)}. For several groups, "
                "pass one against the rest: labels == value."
            )
        larger = (labels == groups[1]).to_numpy()
        return z[larger].mean(axis=0) - z[~larger].mean(axis=0)

    def shift(self, X: Any, direction: Any, strength: Any = 1.0) -> Any:
        """Move rows along directions of latent space.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
        direction : array-like of shape (n_components,) or (n_directions, n_components)
            See `attribute_direction`; several are summed.
        strength : float or array-like of shape (n_directions,), default=1.0
            How far along each; beyond 1 extrapolates, below 0 goes back.

        Returns
        -------
        DataFrame or ndarray of shape (n_samples, n_columns)
            Under the index of `X`.
        """
        rows = self._rows(X)
        z = self._latent.moments(rows)[0]
        directions = self._check_latents(np.atleast_2d(direction), "direction")
        strengths = np.asarray(strength, dtype=float)
        if strengths.shape not in ((), (len(directions),)):
            raise ValueError(
                f"strength must be a number or have one per direction ({len(directions)}), got "
                f"shape {strengths.shape}."
            )
        if not np.isfinite(strengths).all():
            raise ValueError(f"strength must be finite, got {strength!r}.")
        moved = z + np.broadcast_to(strengths, len(directions)) @ directions
        return self._decode(self._latent.decode(moved, rows.context), rows.given, like=X)

    def counterfactual(self, X: Any, condition: Any) -> Any:
        """The rows as they would be under another condition: `z` stays, the condition changes.

        Where the prior depends on the condition, a row keeps its place within the prior: as many
        standard deviations from the mean of the new condition's as it was from the old one's.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            With their own conditions.
        condition : DataFrame, dict or array-like
            One row for all, or one for each row of `X`.

        Returns
        -------
        DataFrame or ndarray of shape (n_samples, n_columns)
            Means and most probable categories, under the index of `X`.
        """
        rows = self._rows(X)
        if self._conditions is None:
            raise ValueError(
                "counterfactual needs a model with conditions: fit with condition_on=[columns]."
            )
        given = self._given(condition, len(rows.values), "X has")
        context = self._context(given)
        z = self._latent.transfer(self._latent.moments(rows)[0], rows.context, context)
        return self._decode(self._latent.decode(z, context), given, like=X)


def _linear(start: np.ndarray, end: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Straight lines, (n_pairs, n_steps, k)."""
    return start[:, None] * (1 - t) + end[:, None] * t


def _spherical(start: np.ndarray, end: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Great circles with radii in between, (n_pairs, n_steps, k)."""
    norms = np.linalg.norm(start, axis=1) * np.linalg.norm(end, axis=1)
    cosine = (start * end).sum(axis=1) / np.maximum(norms, 1e-12)
    angle = np.arccos(np.clip(cosine, -1, 1))[:, None, None]
    # Where both point the same way, or opposite ways, no great circle is singled out.
    straight = np.sin(angle) < 1e-6
    sine = np.where(straight, 1.0, np.sin(angle))
    arc = start[:, None] * np.sin((1 - t) * angle) / sine + end[:, None] * np.sin(t * angle) / sine
    return np.where(straight, _linear(start, end, t), arc)
