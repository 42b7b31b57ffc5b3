"""The linear VAE of complete rows, from their covariance alone: no rounds of expectations.

In units of the noise the covariance of the columns has eigenvalues ``theta``. Whatever rises above
the noise, ``theta_i > 1``, becomes a column of the decoder with squared norm ``theta_i - 1``;
whatever does not is noise, and its dimension of ``z`` falls silent (Tipping and Bishop 1999; Lucas
et al. 2019).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from skvae.models.linear import LinearVAE

# Of the search for the noise: relative progress and slope at which it ends.
PROGRESS, SLOPE = 1e-13, 1e-8
# What single precision still resolves on standardised columns.
NOISE_FLOOR = 1e-6
# Rows or columns, whichever are fewer, up to which a step of the search costs little.
CHEAP_SIDE = 200


def solve_linear_vae(
    x: Tensor,
    n_components: int,
    *,
    sample_weight: Tensor | None = None,
    isotropic: bool = False,
    noise_variance: float | None = None,
    max_iter: int = 2000,
    noise_floor: float = NOISE_FLOOR,
) -> LinearVAE:
    """Maximum likelihood of the linear VAE on complete rows.

    For one noise variance that all columns share, the solution is probabilistic PCA (Tipping and
    Bishop 1999, equations 7 and 8). For one per column it is factor analysis, where the loadings
    follow from the noise, so that only the latter is searched for (Joreskog 1967).

    Parameters
    ----------
    x : Tensor of shape (n, d)
        Roughly standardised columns.
    n_components : int
    sample_weight : Tensor of shape (n,), optional
    isotropic : bool, default=False
        One noise variance for all columns: the mean eigenvalue that the components leave. As many
        components as columns have the likelihood of one fewer, and the noise of it too.
    noise_variance : float, optional
        One noise variance for all columns that is known.
    max_iter : int, default=2000
        Steps of the search.
    noise_floor : float, default=1e-6
        Smallest noise variance that is found: a column that others determine has none.

    Returns
    -------
    LinearVAE
        With orthogonal columns in units of the noise, the longest first; those of silent
        dimensions are zero.
    """
    d = x.shape[1]
    weight = torch.ones_like(x[:, 0]) if sample_weight is None else sample_weight.to(x)
    weight = weight / weight.sum()
    mean = weight @ x
    # Its square is the covariance; of fewer rows than columns it has no more rows than they.
    root = torch.linalg.qr((x - mean) * weight.sqrt().unsqueeze(-1), mode="r").R
    if noise_variance is not None:
        noise, n_iter = x.new_full((d,), noise_variance), 1
    elif isotropic:
        left = min(n_components, d - 1)
        rest = torch.linalg.svdvals(root).square()[left:].sum() / (d - left)
        noise, n_iter = rest.clamp(min=noise_floor).expand(d), 1
    else:
        noise, n_iter = _unique_noise(root, n_components, max_iter, noise_floor)
    return LinearVAE(Spectrum.of(root, noise, n_components).loadings, mean, noise, n_iter)


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Leading eigenvalues of a covariance in units of the noise.

    Attributes
    ----------
    values : Tensor of shape (k,)
        Descending.
    vectors : Tensor of shape (d, k)
        Orthonormal; zero where the eigenvalue does not rise above the noise.
    noise_variance : Tensor of shape (d,)
    """

    values: Tensor
    vectors: Tensor
    noise_variance: Tensor

    @classmethod
    def of(cls, root: Tensor, noise_variance: Tensor, k: int) -> Spectrum:
        """Of the covariance ``root' root``."""
        scaled = root / noise_variance.sqrt()
        # The smaller of two matrices with the same eigenvalues.
        values, left = torch.linalg.eigh(scaled @ scaled.mT)
        values, left = values.flip(0)[:k], left.flip(1)[:, :k]
        vectors = scaled.mT @ left / values.clamp(min=1.0).sqrt()
        missing = k - len(values)  # beyond the rank
        values = torch.nn.functional.pad(values, (0, missing))
        vectors = torch.nn.functional.pad(vectors, (0, missing))
        return cls(values, vectors.where(values > 1, 0.0), noise_variance)

    @property
    def loadings(self) -> Tensor:
        """The most likely ones given the noise, shape (d, k)."""
        size = (self.values - 1).clamp(min=0.0).sqrt()
        return self.noise_variance.sqrt().unsqueeze(-1) * self.vectors * size

    def deviance(self, total: float) -> float:
        """Negative log-likelihood per row up to a constant, for columns of variance `total`.

        `total` is their sum in units of the noise.
        """
        above = self.values[self.values > 1]
        gain = (above - 1 - above.log()).sum()
        return 0.5 * float(self.noise_variance.log().sum() + total - gain)


def _unique_noise(root: Tensor, k: int, max_iter: int, floor: float) -> tuple[Tensor, int]:
    """The noise variances of factor analysis, and the steps that found them.

    The likelihood has several maxima: the best one that a few starts lead to is kept.
    """
    variance = root.square().sum(0)
    starts = [0.5 * variance]
    if min(root.shape) <= CHEAP_SIDE:
        # What the other columns leave of each (Joreskog 1967), in the middle and much less noise.
        covariance = root.mT @ root
        covariance.diagonal().add_(NOISE_FLOOR)
        starts += [0.2 * variance, torch.linalg.inv(covariance).diagonal().reciprocal()]

    def deviance(log_noise: np.ndarray) -> tuple[float, np.ndarray]:
        noise = torch.as_tensor(log_noise).to(root).exp()
        spectrum = Spectrum.of(root, noise, k)
        # With the loadings at their best, what is left is the misfit of the variances.
        misfit = noise + spectrum.loadings.square().sum(1) - variance
        value = spectrum.deviance(float((variance / noise).sum()))
        return value, (0.5 * misfit / noise).double().numpy()

    found = [
        minimize(
            deviance,
            start.clamp(min=floor).log().double().numpy(),
            jac=True,
            method="L-BFGS-B",
            bounds=[(np.log(floor), None)] * len(variance),
            options={"maxiter": max_iter, "maxfun": 2 * max_iter, "ftol": PROGRESS, "gtol": SLOPE},
        )
        for start in starts
    ]
    best = min(found, key=lambda one: one.fun)
    return torch.as_tensor(best.x).to(root).exp(), max(sum(one.nit for one in found), 1)
