"""Latents given a context, as a linear model sees them: their axes, means and scales."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from skvae.models.rotation import joint_diagonaliser

# Precision per row of a normal prior on linear effects of standardised contexts.
RIDGE = 1e-3
# Mean of the logarithm of a squared standard normal.
LOG_SQUARE = -1.2703628454614782
# Of squared residuals, in shares of their mean: the logarithm of nothing decides nothing.
LEAST_SQUARE = 1e-3


def ridge_regression(c: Tensor, y: Tensor, weight: Tensor, penalty: Tensor) -> Tensor:
    """Weighted regression of y (n, ...) on c (n, m), with a penalty (m,) on each coefficient."""
    weighted = c * weight.unsqueeze(-1)
    return torch.linalg.solve(weighted.mT @ c + torch.diag(penalty), weighted.mT @ y)


@dataclass(frozen=True, eq=False)
class LinearEffect:
    """``context @ slope + intercept``.

    Attributes
    ----------
    slope : Tensor of shape (n_context, k)
    intercept : Tensor of shape (k,)
    """

    slope: Tensor
    intercept: Tensor

    @classmethod
    def fit(cls, context: Tensor, y: Tensor, weight: Tensor) -> LinearEffect:
        """Ridge regression of y (n, k)."""
        c = torch.cat([context, torch.ones_like(context[:, :1])], dim=1)
        penalty = torch.full((c.shape[1],), RIDGE * float(weight.sum())).to(c)
        penalty[-1] = 0.0
        solved = ridge_regression(c, y, weight, penalty)
        return cls(solved[:-1], solved[-1])

    def __call__(self, context: Tensor) -> Tensor:
        return context @ self.slope + self.intercept


@dataclass(frozen=True, eq=False)
class Sources:
    """Latents that are independent given the context, as far as linear algebra finds them.

    Attributes
    ----------
    axes : Tensor of shape (k, k)
        Sources are ``axes @ z``, with variance 1 over all rows.
    mean, log_scale : LinearEffect
        Of the sources given the context.
    """

    axes: Tensor
    mean: LinearEffect
    log_scale: LinearEffect

    @classmethod
    def find(
        cls,
        z: Tensor,
        uncertainty: Tensor,
        context: Tensor,
        weight: Tensor,
        turn: Tensor | None = None,
    ) -> Sources:
        """From latents of rows that share their context's mean and covariance.

        Linear independent component analysis by nonstationarity (Pham and Cardoso 2001): where
        sources given c are independent, ``E[c_j r r']`` is diagonal for every number c_j of the
        context, r being what is left of the sources beside their mean given c.

        Parameters
        ----------
        z : Tensor of shape (n, k)
            Posterior means under a standard normal prior.
        uncertainty : Tensor of shape (n or 1, k, k)
            Posterior covariances.
        context : Tensor of shape (n, n_context)
            Standardised.
        weight : Tensor of shape (n,)
        turn : Tensor of shape (k, k), optional
            An orthogonal matrix to take in place of the best.
        """
        weight = weight / weight.sum()
        rest = z - LinearEffect.fit(context, z, weight)(context)
        spread = (weight[:, None, None] * uncertainty).sum(0)
        values, vectors = torch.linalg.eigh((rest * weight[:, None]).mT @ rest + spread)
        white = (vectors / values.clamp(min=1e-6).sqrt()).mT
        whitened = rest @ white.mT
        if turn is None:
            own = context * weight[:, None]
            turn = joint_diagonaliser(torch.einsum("nj,na,nb->jab", own, whitened, whitened))
        axes = turn.mT @ white
        axes = axes / axes.square().sum(1, keepdim=True).sqrt()
        sources, own = z @ axes.mT, torch.einsum("ia,nab,ib->ni", axes, uncertainty, axes)
        mean = LinearEffect.fit(context, sources, weight)
        return cls(axes, mean, _log_scale(sources - mean(context), own, context, weight))


def _log_scale(rest: Tensor, uncertainty: Tensor, context: Tensor, weight: Tensor) -> LinearEffect:
    """Half the log-variance of residuals (n, k), linear in the context (Harvey 1976)."""
    square = rest.square() + uncertainty
    square = square.clamp(min=LEAST_SQUARE * (weight[:, None] * square).sum(0))
    fitted = LinearEffect.fit(context, square.log() - LOG_SQUARE, weight)
    # What was added to the squares is no longer that of a squared normal: the level is set anew.
    excess = (weight[:, None] * square / fitted(context).exp()).sum(0)
    return LinearEffect(0.5 * fitted.slope, 0.5 * (fitted.intercept + excess.log()))
