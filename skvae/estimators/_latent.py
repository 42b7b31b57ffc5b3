"""Encoded rows to latents, densities and draws, and latents back to encoded rows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from skvae.estimators._prediction import scaled_table, within_domain
from skvae.inference import Table, importance_sample, noise_block
from skvae.inference.ensemble import DECODED_AT_ONCE
from skvae.inference.importance import ImportanceSample
from skvae.models.vae import VAE, Posterior
from skvae.tabular.scaling import TableScaler

ENCODED_AT_ONCE = 8192


@dataclass(frozen=True, eq=False)
class LatentModel:
    """One fitted VAE over a scaled table; `values` and `observed` are (n, p).

    Attributes
    ----------
    model : VAE
        With one member.
    scaler : TableScaler
    seed : int
        Of the noise that all rows share.
    """

    model: VAE
    scaler: TableScaler
    seed: int

    # Latents --------------------------------------------------------------------------------

    @torch.no_grad()
    def posteriors(self, values: np.ndarray, observed: np.ndarray) -> Iterator[Posterior]:
        """``q(z | x_o)`` of the rows, chunk by chunk."""
        for part in self._table(values, observed).chunks(ENCODED_AT_ONCE):
            yield self.model.posterior(part.features, part.masks[1])

    def moments(self, values: np.ndarray, observed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Posterior means and standard deviations, both float64 of shape (n, k)."""
        means, deviations = [], []
        for posterior in self.posteriors(values, observed):
            means.append(posterior.centre[0])
            deviations.append(posterior.covariance[0].diagonal(dim1=-2, dim2=-1).sqrt())
        return torch.cat(means).double().numpy(), torch.cat(deviations).double().numpy()

    @torch.no_grad()
    def decode(self, z: np.ndarray) -> np.ndarray:
        """Means and most probable codes given latents (n, k), shape (n, p)."""
        parts = []
        for latents in torch.from_numpy(z).float().split(ENCODED_AT_ONCE):
            driven = self.model.decode(latents[None])
            parts.append(self.model.likelihoods.mean(driven, self._free)[0])
        return self._raw(torch.cat(parts))

    # Draws ----------------------------------------------------------------------------------

    @torch.no_grad()
    def sample(self, z: Tensor, generator: torch.Generator) -> np.ndarray:
        """Draws from ``p(x | z)`` for latents (n, k), shape (n, p)."""
        parts = []
        for latents in z.split(ENCODED_AT_ONCE):
            driven = self.model.decode(latents[None])
            parts.append(self.model.likelihoods.sample(driven, self._free, generator)[0])
        return self._raw(torch.cat(parts))

    # Densities ------------------------------------------------------------------------------

    def log_prob(
        self, values: np.ndarray, observed: np.ndarray, method: str, n_samples: int
    ) -> np.ndarray:
        """Log-density of every row's observed part in the table's units, float64 of shape (n,)."""
        jacobian = np.where(observed, self.scaler.log_jacobian, 0.0).sum(axis=1)
        if method == "prior":
            parts = self._by_prior(values, observed, n_samples)
        else:
            parts = (
                s.log_prob if method == "importance" else s.log_weights.double().mean(-1)
                for s in self._samples(values, observed, n_samples)
            )
        scores = torch.cat(list(parts), dim=1)[0].numpy() + jacobian
        return np.where(observed.any(axis=1), scores, 0.0)  # saying nothing is certain

    def effective_sample_size(
        self, values: np.ndarray, observed: np.ndarray, n_samples: int
    ) -> np.ndarray:
        """Of importance sampling, shape (n,)."""
        parts = self._samples(values, observed, n_samples)
        return torch.cat([s.effective_sample_size for s in parts], dim=1)[0].double().numpy()

    @torch.no_grad()
    def _samples(
        self, values: np.ndarray, observed: np.ndarray, n_samples: int
    ) -> Iterator[ImportanceSample]:
        noise = noise_block(n_samples, self.model.n_components, self.seed)
        for part in self._table(values, observed).chunks(self._rows_at_once(n_samples)):
            columns, features = part.masks
            yield importance_sample(
                self.model, part.features, part.targets, columns, features, noise
            )

    @torch.no_grad()
    def _by_prior(
        self, values: np.ndarray, observed: np.ndarray, n_samples: int
    ) -> Iterator[Tensor]:
        """Mean likelihood over draws from the prior."""
        generator = torch.Generator().manual_seed(self.seed)
        z = self.model.prior.sample(n_samples, self.model, generator)
        driven = self.model.decode(z).unsqueeze(1)
        for part in self._table(values, observed).chunks(self._rows_at_once(n_samples)):
            each = self.model.log_likelihood(driven, part.targets, part.masks[0]).sum(-1)
            yield each.double().logsumexp(-1) - math.log(n_samples)

    # Units ----------------------------------------------------------------------------------

    @property
    def _free(self) -> Tensor:
        return self.model.free_parameters[:, 0]

    @staticmethod
    def _rows_at_once(n_samples: int) -> int:
        return max(1, DECODED_AT_ONCE // n_samples)

    def _table(self, values: np.ndarray, observed: np.ndarray) -> Table:
        return scaled_table(self.scaler, values, observed)

    def _raw(self, targets: Tensor) -> np.ndarray:
        return within_domain(self.scaler, self.scaler.from_targets(targets.double().numpy()))
