"""Every row's own posterior, found with the decoder as it stands."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from skvae.inference.ensemble import Table
from skvae.models.hierarchical import LayeredPosterior
from skvae.models.posterior import Posterior
from skvae.models.vae import VAE

# Samples of z in a gradient step: so many pairs of mirrored noise.
MIRRORED_PAIRS = 8
# Every so many steps all rows are scored, each keeps its best posterior, and progress is judged.
CHECK_EVERY = 20


@dataclass(frozen=True)
class RefitSettings:
    """How long and how fast.

    Attributes
    ----------
    max_iter : int
        Gradient steps at most, for all rows side by side.
    learning_rate : float
        Of Adam, in standard deviations of the linear posterior and nats of scale.
    tol : float
        Optimisation ends when `CHECK_EVERY` steps raise the mean ELBO by less, in nats; 0 never
        ends early.
    shared_noise : bool
        Use the same noise for all rows: with a `tol` of 0, what is found for a row then does not
        depend on the others.
    """

    max_iter: int = 200
    learning_rate: float = 0.02
    tol: float = 1e-3
    shared_noise: bool = False


class PosteriorRefit:
    """Every row's own posterior, found by gradient steps from the encoder's.

    Parameters
    ----------
    model : VAE
        Read only: gradients are taken with respect to the rows' own numbers.
    part : Table
        Rows that are optimised side by side.
    check : Tensor of shape (n_samples, k)
        Noise under which rows are scored.
    generator : torch.Generator
        Of the noise of the steps.
    """

    def __init__(self, model: VAE, part: Table, check: Tensor, generator: torch.Generator) -> None:
        self.model, self.part, self.check, self.generator = model, part, check, generator
        self.posterior = model.posterior(part.features, part.masks[1], part.context)
        # Move and log scale, added to the encoder's.
        self.own = torch.zeros(2, 1, len(part.features), model.n_components, requires_grad=True)

    def run(self, settings: RefitSettings) -> Tensor:
        """The best found, (2, 1, n, k)."""
        adam = torch.optim.Adam([self.own], lr=settings.learning_rate)
        best, score = self.own.detach().clone(), self._score()
        for step in range(1, settings.max_iter + 1):
            self.own.grad = self._gradient(settings.shared_noise)
            adam.step()
            if step % CHECK_EVERY and step != settings.max_iter:
                continue
            now = self._score()
            better = now > score  # false for NaN
            gain = (now - score).where(better, 0.0).mean()
            score = now.where(better, score)
            best = self.own.detach().where(better[:, None], best)
            if gain < settings.tol:
                break
        return best

    def _gradient(self, shared: bool) -> Tensor:
        """Of the negative ELBO, with fresh noise in mirrored pairs."""
        n = 1 if shared else len(self.part.features)
        shape = (1, n, MIRRORED_PAIRS, self.model.n_components)
        half = torch.randn(shape, generator=self.generator)
        with torch.enable_grad():
            loss = -self._bound(torch.cat([half, -half], dim=2)).sum()
            return torch.autograd.grad(loss, self.own)[0]

    def _score(self) -> Tensor:
        return self._bound(self.check).double()

    def _bound(self, noise: Tensor) -> Tensor:
        """ELBO of every row, (n,)."""
        posterior = self.posterior.shifted(*self.own)
        return log_weights(self.model, self.part, posterior, noise).mean(-1)


def log_weights(
    model: VAE, part: Table, posterior: Posterior | LayeredPosterior, noise: Tensor
) -> Tensor:
    """``log p(x_o, z) - log q(z)`` of every row's samples, (n, n_samples)."""
    z, log_q = posterior.rsample(noise)
    driven = model.decode(z, part.context)
    log_likelihood = model.log_likelihood(driven, part.targets, part.masks[0]).sum(-1)
    return (log_likelihood + model.log_prior(z, part.context) - log_q)[0]
