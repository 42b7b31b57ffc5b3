"""The linear VAE: factor analysis on incomplete data, solved in closed form.

With a linear-Gaussian decoder the posterior under any mask is exact, so that expectation
maximisation needs no encoder and no gradient. Everything nonlinear starts from here.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import reduce

import torch
from torch import Tensor

from skvae.distributions.natural import LOG_TWO_PI, NaturalGaussian, gaussian_experts

# Rows whose posteriors are held at once.
ROWS_AT_ONCE = 1024


@dataclass(frozen=True, eq=False)
class LinearVAE:
    """``x = loadings z + mean + noise`` with ``z`` standard normal and independent noise.

    Parameters
    ----------
    loadings : Tensor of shape (d, k)
    mean : Tensor of shape (d,)
    noise_variance : Tensor of shape (d,)
    n_iter : int, default=0
        Rounds of expectation maximisation that led here.
    prior_precision : Tensor of shape (k, k), optional
        Of ``z``, where it is not standard normal.
    """

    loadings: Tensor
    mean: Tensor
    noise_variance: Tensor
    n_iter: int = 0
    prior_precision: Tensor | None = None

    @property
    def n_components(self) -> int:
        """Number of latent dimensions."""
        return self.loadings.shape[-1]

    def single(self) -> LinearVAE:
        """In single precision."""
        return replace(
            self,
            loadings=self.loadings.float(),
            mean=self.mean.float(),
            noise_variance=self.noise_variance.float(),
            prior_precision=None if self.prior_precision is None else self.prior_precision.float(),
        )

    def along(self, axes: Tensor) -> LinearVAE:
        """The same model with latents ``axes @ z``, axes (k, k) invertible."""
        inverse = torch.linalg.inv(axes.to(self.loadings))
        precision = inverse.mT @ inverse
        if self.prior_precision is not None:
            precision = inverse.mT @ self.prior_precision @ inverse
        return replace(self, loadings=self.loadings @ inverse, prior_precision=precision)

    def posterior(self, x: Tensor, observed: Tensor) -> NaturalGaussian:
        """Exact ``p(z | x_o)`` for x (n, d) and bool observed (n, d)."""
        return gaussian_experts(
            self.loadings, self.noise_variance, x - self.mean, observed, self.prior_precision
        )

    def conditional_mean(self, x: Tensor, observed: Tensor) -> Tensor:
        """``E[loadings z + mean | x_o]``, shape (n, d)."""
        return self.posterior(x, observed).mean @ self.loadings.mT + self.mean

    def second_moment(self, x: Tensor, observed: Tensor) -> Tensor:
        """``sum_n E[(x - mean)(x - mean)' | x_o]``, shape (d, d).

        Of complete rows it is that of the data; of holes it has what the model expects there.
        """
        posterior, hidden = self.posterior(x, observed), ~observed
        filled = (x - self.mean).where(observed, posterior.mean @ self.loadings.mT)
        # Uncertain are only the holes: by the latents that they share and by their own noise.
        spread = (self.loadings @ posterior.spread).mT * hidden.unsqueeze(1)
        spread = spread.flatten(0, 1)
        own = torch.diag(self.noise_variance * hidden.sum(0))
        return filled.mT @ filled + spread.mT @ spread + own

    def log_prob(self, x: Tensor, observed: Tensor) -> Tensor:
        """Exact ``log p(x_o)``, shape (n,)."""
        return _log_prob(self, x, observed, self.posterior(x, observed))


def _log_prob(model: LinearVAE, x: Tensor, observed: Tensor, posterior: NaturalGaussian) -> Tensor:
    # The matrix inversion and determinant lemmas turn the (d, d) covariance of the observed
    # columns into the (k, k) precision of the posterior.
    centred = (x - model.mean).where(observed, 0.0)
    quadratic = (centred.square() / model.noise_variance).sum(-1)
    quadratic = quadratic - (posterior.shift * posterior.mean).sum(-1)
    constant = torch.where(observed, model.noise_variance.log() + LOG_TWO_PI, 0.0).sum(-1)
    log_det = posterior.log_det_precision
    if model.prior_precision is not None:
        log_det = log_det - torch.logdet(model.prior_precision)
    return -0.5 * (quadratic + constant + log_det)


def fit_linear_vae(
    x: Tensor,
    observed: Tensor,
    n_components: int,
    *,
    sample_weight: Tensor | None = None,
    start: LinearVAE | None = None,
    isotropic: bool = False,
    noise_variance: float | None = None,
    max_iter: int = 200,
    tol: float = 1e-4,
    ridge: float = 1e-3,
    noise_floor: float = 1e-3,
) -> LinearVAE:
    """Factor analysis by expectation maximisation on incomplete data.

    Rubin and Thayer (1982), with the parameter expansion of Liu, Rubin and Wu (1998): after each
    round the latent space is re-scaled so that the aggregated posterior has unit covariance, which
    saves most of the rounds. `isotropic` ties the noise variances: probabilistic PCA (Tipping and
    Bishop 1999). Complete rows need no rounds, see `solve_linear_vae`.

    Parameters
    ----------
    x : Tensor of shape (n, d)
        Roughly standardised columns; anything finite where not observed.
    observed : bool Tensor of shape (n, d)
    n_components : int
    sample_weight : Tensor of shape (n,), optional
    start : LinearVAE, optional
        Where to start; by default at the eigenvectors of the pairwise-complete covariance.
    isotropic : bool, default=False
    noise_variance : float, optional
        One noise variance for all columns that is known and stays.
    max_iter : int, default=200
    tol : float, default=1e-4
        Rounds end when the mean log-likelihood per row grows by less, in nats.
    ridge : float, default=1e-3
        Precision of a normal prior on the loadings, per row of data.
    noise_floor : float, default=1e-3
        Smallest noise variance: a column that others determine would otherwise reach zero.

    Returns
    -------
    LinearVAE
        In the dtype of `x`.
    """
    x = x.where(observed, 0.0)
    weight = torch.ones_like(x[:, 0]) if sample_weight is None else sample_weight.to(x)
    weight = weight / weight.mean()
    model = start or _spectral_start(x, observed, n_components, noise_floor)
    known = None if noise_variance is None else x.new_full(x.shape[1:], noise_variance)
    # The start obeys what the rounds must: one that fits better for not doing so would end them.
    if known is not None:
        model = replace(model, noise_variance=known)
    elif isotropic:
        model = replace(model, noise_variance=model.noise_variance.mean().expand(x.shape[1]))
    previous = -math.inf
    for n_iter in range(max_iter):
        moments = _moments(model, x, observed, weight)
        likelihood = float(moments.likelihood) / len(x)
        if likelihood - previous < tol:
            break
        previous = likelihood
        model = _maximise(moments, len(x), isotropic, ridge, noise_floor)
        noise = model.noise_variance if known is None else known
        model = replace(model, noise_variance=noise, n_iter=n_iter + 1)
    return model


def _spectral_start(x: Tensor, observed: Tensor, k: int, noise_floor: float) -> LinearVAE:
    """Leading eigenvectors of the pairwise-complete covariance."""
    mask = observed.to(x.dtype)
    count = mask.sum(0).clamp(min=1)
    mean = x.sum(0) / count
    centred = (x - mean) * mask
    covariance = centred.mT @ centred / (mask.mT @ mask).clamp(min=1)
    values, vectors = torch.linalg.eigh(0.5 * (covariance + covariance.mT))
    values, vectors = values.flip(0)[:k].clamp(min=1e-2), vectors.flip(1)[:, :k]
    # Part of every variance is left to the noise: EM leaves a start without noise very slowly.
    noise = (0.5 * covariance.diagonal()).clamp(min=noise_floor)
    return LinearVAE(vectors * (0.7 * values).sqrt(), mean, noise)


@dataclass(frozen=True, eq=False)
class _Moments:
    """Weighted sums over rows that the M step asks for; (z, 1) under each row's posterior.

    Attributes
    ----------
    likelihood : Tensor of shape ()
    cross : Tensor of shape (d, k + 1)
        Of columns with (z, 1).
    gram : Tensor of shape (d, k + 1, k + 1)
        Of (z, 1) with itself, over the rows that have the column.
    aggregated : Tensor of shape (k, k)
        Of z with itself, over all rows.
    square, count : Tensor of shape (d,)
        Of squared columns and of ones.
    """

    likelihood: Tensor
    cross: Tensor
    gram: Tensor
    aggregated: Tensor
    square: Tensor
    count: Tensor

    def __add__(self, other: _Moments) -> _Moments:
        pairs = ((getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        return _Moments(*(one + two for one, two in pairs))


def _moments(model: LinearVAE, x: Tensor, observed: Tensor, weight: Tensor) -> _Moments:
    """Of all rows, some at a time: every row has a (k, k) matrix, and memory is slow."""
    parts = (
        _moments_of(model, *part)
        for part in zip(*(t.split(ROWS_AT_ONCE) for t in (x, observed, weight)), strict=True)
    )
    return reduce(operator.add, parts)


def _moments_of(model: LinearVAE, x: Tensor, observed: Tensor, weight: Tensor) -> _Moments:
    posterior = model.posterior(x, observed)
    likelihood = (weight * _log_prob(model, x, observed, posterior)).sum()
    d, k = x.shape[1], posterior.shift.shape[-1]
    first = torch.cat([posterior.mean, torch.ones_like(x[:, :1])], dim=1)
    mask = observed.to(x.dtype) * weight.unsqueeze(-1)
    if posterior.precision.shape[0] == 1 and bool(observed.all()):
        # Complete rows share their covariance, and all columns regress on the same moments.
        total = first.mT @ (first * weight.unsqueeze(-1))
        total[:k, :k] += posterior.covariance[0] * weight.sum()
        gram = total.expand(d, k + 1, k + 1)
        aggregated = total[:k, :k]
    else:
        second = first.unsqueeze(-1) * first.unsqueeze(-2)
        second[:, :k, :k] += posterior.covariance
        gram = (mask.mT @ second.flatten(1)).unflatten(1, (k + 1, k + 1))
        aggregated = (second[:, :k, :k] * weight[:, None, None]).sum(0)
    cross, square = (x * mask).mT @ first, (x.square() * mask).sum(0)
    return _Moments(likelihood, cross, gram, aggregated, square, mask.sum(0))


def _maximise(
    moments: _Moments, n: int, isotropic: bool, ridge: float, noise_floor: float
) -> LinearVAE:
    """The M step: one regression of each column on (z, 1) over the rows that have it."""
    cross, gram, k = moments.cross, moments.gram, len(moments.aggregated)
    penalty = torch.full((k + 1,), ridge * n, dtype=cross.dtype, device=cross.device)
    penalty[k] = 1e-8
    solution = torch.linalg.solve(gram + torch.diag(penalty), cross)
    residual = moments.square - 2 * (solution * cross).sum(1)
    residual = residual + torch.einsum("di,dij,dj->d", solution, gram, solution)
    count = moments.count
    if isotropic:
        residual, count = residual.sum().expand(len(count)), count.sum().expand(len(count))
    noise = (residual / count.clamp(min=1e-12)).clamp(min=noise_floor)
    loadings = solution[:, :k] @ torch.linalg.cholesky(moments.aggregated / n)
    return LinearVAE(loadings, solution[:, k], noise)


def choose_n_components(
    x: Tensor,
    observed: Tensor,
    held_out: Tensor,
    candidates: Sequence[int],
    *,
    sample_weight: Tensor | None = None,
    max_iter: int = 40,
) -> tuple[int, dict[int, float]]:
    """Number of components whose linear VAE predicts held-out observed entries best.

    Parameters
    ----------
    x, observed : Tensor of shape (n, d)
    held_out : bool Tensor of shape (n, d)
        Observed entries that the fits do not see.
    candidates : increasing sequence of int
        The search ends after two candidates without progress.

    Returns
    -------
    best : int
    scores : dict
        Mean squared error at the held-out entries by number of components.
    """
    visible = observed & ~held_out
    target = held_out & observed
    scores: dict[int, float] = {}
    best, best_score, stalled = candidates[0], math.inf, 0
    for k in candidates:
        model = fit_linear_vae(
            x, visible, k, sample_weight=sample_weight, max_iter=max_iter, tol=1e-3
        )
        error = (model.conditional_mean(x, visible) - x).square()
        scores[k] = float(error.where(target, 0.0).sum() / target.sum().clamp(min=1))
        # A larger model must earn its place.
        if scores[k] < 0.998 * best_score:
            best, best_score, stalled = k, scores[k], 0
        else:
            stalled += 1
        if stalled == 2:
            break
    return best, scores
