"""What a classifier reads of a row: its columns, or its latents; holes in several versions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.preprocessing import QuantileTransformer

from skvae.estimators._latent import LatentModel, Rows
from skvae.inference import noise_block
from skvae.inference.session import torch_defaults

# Ways in which the holes of a training row and of a row to predict are filled, draws of its latents
# where these are read, and samples of z that fillings are drawn from.
TRAINING_VERSIONS, PREDICTION_VERSIONS, LATENT_VERSIONS, COMPLETION_SAMPLES = 16, 32, 8, 64
# Scores beyond this enter clamped.
CLIP = 4.0
RANK_CLIP = 3.0
MOST_QUANTILES, QUANTILE_ROWS = 1000, 20_000


class ColumnVectors:
    """Standardised columns, and numbers also by the normal scores of their ranks.

    Ranks tame skewed columns, the columns as they are keep what ranks lose. Rows with holes come
    in versions, each filled with a draw from ``p(x_m | x_o)``: averages over versions marginalise
    what is absent.

    Parameters
    ----------
    latent : LatentModel
        Fills the holes.
    rows : Rows
        The training table.
    seed : int
    """

    def __init__(self, latent: LatentModel, rows: Rows, seed: int) -> None:
        self.latent, self.seed = latent, seed
        scaler = latent.scaler
        self.ranked = np.flatnonzero(scaler.numeric[scaler.feature_columns])
        self.ranks: QuantileTransformer | None = None
        self.mean, self.scale = np.zeros(0), np.ones(0)
        if self.ranked.size:
            features = scaler.features(rows.values, rows.observed)[:, self.ranked].astype(float)
            seen = rows.observed[:, scaler.feature_columns[self.ranked]]
            features[~seen] = np.nan
            self.ranks = QuantileTransformer(
                n_quantiles=min(len(features), MOST_QUANTILES),
                output_distribution="normal",
                subsample=QUANTILE_ROWS,
                random_state=seed,
            ).fit(features)
            scores = np.clip(self.ranks.transform(features), -RANK_CLIP, RANK_CLIP)
            self.mean = np.nanmean(scores, axis=0)
            self.scale = np.maximum(np.nanstd(scores, axis=0), 1e-3)

    def versions(self, rows: Rows, most: int = TRAINING_VERSIONS) -> np.ndarray:
        """Vectors of rows, float32 of shape (n_versions, n, width); one version without holes."""
        self.latent.scaler.targets(rows.values, rows.observed)  # refuses what does not fit
        if rows.observed.all():
            return self._vectors(rows.values)[None]
        return np.stack([self._vectors(values) for values in self._completed(rows, most)])

    def place(self, vectors: np.ndarray) -> np.ndarray:
        """Where vectors (n, width) are among their neighbours: by the columns as they are."""
        return vectors[:, : vectors.shape[1] - self.ranked.size]

    def _vectors(self, values: np.ndarray) -> np.ndarray:
        everywhere = np.ones(values.shape, dtype=bool)
        features = self.latent.scaler.features(values, everywhere)
        parts = [np.clip(features, -CLIP, CLIP)]
        if self.ranks is not None:
            scores = self.ranks.transform(features[:, self.ranked].astype(float))
            scores = np.clip(scores, -RANK_CLIP, RANK_CLIP)
            parts.append(((scores - self.mean) / self.scale).astype(np.float32))
        return np.concatenate(parts, axis=1)

    def _completed(self, rows: Rows, n_versions: int) -> np.ndarray:
        """Draws of whole rows given what they show, (n_versions, n, p)."""
        holed = np.flatnonzero(~rows.observed.all(axis=1))
        out = np.repeat(rows.values[None], n_versions, axis=0)
        drawn = self.latent.complete(rows.take(holed), n_versions, COMPLETION_SAMPLES)
        scaler = self.latent.scaler
        low = np.where(scaler.numeric, scaler.low, -np.inf)
        high = np.where(scaler.numeric, scaler.high, np.inf)
        out[:, holed] = np.where(
            rows.observed[holed], rows.values[holed], np.clip(drawn, low, high)
        )
        return out


class LatentVectors:
    """Standardised latents of M1 and its siblings; versions are draws from the posteriors.

    Parameters
    ----------
    latents : sequence of LatentModel
        M1 first. The others, fitted alike from other random numbers, are read by the classifier
        alone: neighbours that several autoencoders agree upon are better ones.
    rows : Rows
        The training table.
    seed : int
    """

    def __init__(self, latents: Sequence[LatentModel], rows: Rows, seed: int) -> None:
        self.latents = tuple(latents)
        mean, std = self._raw_moments(rows)
        self.mean = mean.mean(axis=0)
        self.scale = np.sqrt(mean.var(axis=0) + (std**2).mean(axis=0)).clip(min=1e-6)
        # How much rows say about a dimension: distances leave out what they say nothing about.
        self.information = 1 - (std**2).mean(axis=0) / self.scale**2
        with torch_defaults():
            self.noise = noise_block(LATENT_VERSIONS, mean.shape[1], seed).double().numpy()

    @property
    def n_own(self) -> int:
        """Latent dimensions of M1 itself, the first of all."""
        return self.latents[0].model.n_components

    def moments(self, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        """Means and standard deviations of the posteriors, standardised, both (n, width)."""
        mean, std = self._raw_moments(rows)
        return (mean - self.mean) / self.scale, std / self.scale

    def place(self, vectors: np.ndarray) -> np.ndarray:
        """Where vectors (n, width) are among their neighbours."""
        return vectors * self.information

    def versions(self, rows: Rows, most: int = LATENT_VERSIONS) -> np.ndarray:
        """Draws from the posteriors, float32 of shape (n_versions, n, width)."""
        mean, std = self.moments(rows)
        return (mean + std * self.noise[:, None]).astype(np.float32)

    def _raw_moments(self, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        each = [latent.moments(rows) for latent in self.latents]
        mean, std = (np.concatenate(parts, axis=1) for parts in zip(*each, strict=True))
        return mean, std
