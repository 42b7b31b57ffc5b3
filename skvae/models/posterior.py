"""``q(z | x_o)``: Gaussians in the coordinates of the linear posterior."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from skvae.distributions.natural import LOG_TWO_PI


@dataclass(frozen=True, eq=False)
class Posterior:
    """``q(z | x_o)`` of every member: a Gaussian moved within the linear posterior's coordinates.

    With the exact linear posterior ``N(mean, spread spread')`` and standard normal ``e``,
    ``z = mean + spread u`` where ``u = move + exp(log_scale) e``. A model without a density has no
    spread: its ``z`` is ``mean + move``.

    Attributes
    ----------
    mean : Tensor of shape (n_members, batch, k)
    spread : Tensor of shape (n_members, batch, k, k) or None
    half_log_det : Tensor of shape (n_members, batch)
        Half the log-determinant of the linear posterior's precision.
    move, log_scale : Tensor of shape (n_members, batch, k)
    """

    mean: Tensor
    spread: Tensor | None
    half_log_det: Tensor
    move: Tensor
    log_scale: Tensor

    @property
    def centre(self) -> Tensor:
        """``z`` without noise, shape (n_members, batch, k)."""
        if self.spread is None:
            return self.mean + self.move
        return self.mean + (self.spread @ self.move.unsqueeze(-1)).squeeze(-1)

    def rsample(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Samples and their log-densities from standard normal noise (..., n_samples, k).

        Noise without leading dimensions is shared by all rows and members.

        Returns
        -------
        z : Tensor of shape (n_members, batch, n_samples, k)
        log_q : Tensor of shape (n_members, batch, n_samples)
        """
        if self.spread is None:
            raise ValueError("A model without a density has no samples of z, only a centre.")
        u = self.move.unsqueeze(-2) + self.log_scale.exp().unsqueeze(-2) * noise
        z = self.mean.unsqueeze(-2) + u @ self.spread.mT
        return z, self._log_volume.unsqueeze(-1) - 0.5 * noise.square().sum(-1)

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density of every row of z (n_members, n, k) under every posterior.

        Returns
        -------
        Tensor of shape (n_members, n, batch)
        """
        if self.spread is None:
            raise ValueError("A model without a density has no posterior density.")
        whiten = torch.linalg.inv(self.spread)
        away = z.unsqueeze(1) - self.mean.unsqueeze(2)  # (n_members, batch, n, k)
        noise = away @ whiten.mT - self.move.unsqueeze(2)
        noise = noise * (-self.log_scale).exp().unsqueeze(2)
        return (self._log_volume.unsqueeze(-1) - 0.5 * noise.square().sum(-1)).mT

    def log_prob_at(self, z: Tensor) -> Tensor:
        """Log-density of every row's own latents, (n_members, batch, n_samples, k).

        Returns
        -------
        Tensor of shape (n_members, batch, n_samples)
        """
        if self.spread is None:
            raise ValueError("A model without a density has no posterior density.")
        away = z - self.mean.unsqueeze(-2)
        u = torch.linalg.solve_triangular(self.spread, away.mT, upper=True).mT
        noise = (u - self.move.unsqueeze(-2)) * (-self.log_scale).exp().unsqueeze(-2)
        return self._log_volume.unsqueeze(-1) - 0.5 * noise.square().sum(-1)

    @property
    def _log_volume(self) -> Tensor:
        """Log-density at the centre, shape (n_members, batch)."""
        constant = 0.5 * self.move.shape[-1] * LOG_TWO_PI
        return self.half_log_det - self.log_scale.sum(-1) - constant

    @property
    def covariance(self) -> Tensor:
        """Of ``z``, shape (n_members, batch, k, k)."""
        if self.spread is None:
            raise ValueError("A model without a density has no posterior covariance.")
        root = self.spread * self.log_scale.exp().unsqueeze(-2)
        return root @ root.mT

    def shifted(self, move: Tensor, log_scale: Tensor) -> Posterior:
        """The same family elsewhere: both (n_members, batch, k) are added to the encoder's."""
        return replace(self, move=self.move + move, log_scale=self.log_scale + log_scale)

    def moments(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Means and standard deviations, both (n_members, batch, k); exact, without the noise."""
        return self.centre, self.covariance.diagonal(dim1=-2, dim2=-1).sqrt()

    def sample(self, generator: torch.Generator) -> Tensor:
        """One draw from each posterior, shape (n_members, batch, k)."""
        noise = torch.randn(*self.move.shape[:-1], 1, self.move.shape[-1], generator=generator)
        return self.rsample(noise)[0].squeeze(-2)
