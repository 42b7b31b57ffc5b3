"""Every row's own posterior, found with the decoder as it stands."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from skvae.inference.ensemble import Table
from skvae.inference.importance import AnyPosterior
from skvae.inference.proposals import encode
from skvae.models.joint import JointModel

# Samples of z in a gradient step: so many pairs of mirrored noise.
MIRRORED_PAIRS = 8
# Every so many steps all rows are scored, each keeps its best posterior, and those that no longer
# gain leave.
CHECK_EVERY = 20
# Matrix products round few rows differently: in whole blocks, no row's result depends on others.
BLOCK = 32
# Decay of Adam's moments. What is added to its root keeps steps of vanishing gradients small:
# without, rounding errors alone would move rows that are at their best already.
DECAYS, DAMPING = (0.9, 0.999), 1e-2


@dataclass(frozen=True)
class RefitSettings:
    """How long and how fast.

    Attributes
    ----------
    max_iter : int
        Gradient steps at most, for all rows side by side.
    learning_rate : float
        Of Adam (Kingma and Ba 2015), in standard deviations of the linear posterior and nats of
        scale.
    tol : float
        A row leaves when `patience` checks in a row have not raised its bound by so much, in nats;
        0 never ends early.
    shared_noise : bool
        Use the same noise for all rows: what is found for a row then does not depend on the others.
    patience : int
        Checks, of `CHECK_EVERY` steps each.
    descend : bool
        Lower the learning rate in a straight line to nothing at `max_iter`.
    enough : float
        Rows stay with the encoder's posterior where its importance weights are worth this share of
        the samples or more; above 1, none does.
    """

    max_iter: int = 200
    learning_rate: float = 0.02
    tol: float = 1e-3
    shared_noise: bool = False
    patience: int = 2
    descend: bool = False
    enough: float = 2.0


class PosteriorRefit:
    """Every row's own posterior, found by gradient steps from the encoder's.

    Parameters
    ----------
    model : JointModel
        Read only: gradients are taken with respect to the rows' own numbers.
    part : Table
        Rows that are optimised side by side.
    check : Tensor of shape (n_samples, k)
        Noise under which rows are scored.
    generator : torch.Generator
        Of the noise of the steps.
    """

    def __init__(
        self, model: JointModel, part: Table, check: Tensor, generator: torch.Generator
    ) -> None:
        self.model, self.part, self.check, self.generator = model, part, check, generator
        self.posterior = encode(model, part)

    @torch.no_grad()
    def run(self, settings: RefitSettings) -> Tensor:
        """The best found, (2, n_members, n, k): what to add to the encoder's move and log scale."""
        n, model = len(self.part.features), self.model
        best = torch.zeros(2, model.n_members, n, model.n_components)
        if not n:
            return best
        rows = _whole_blocks(torch.arange(n))
        search = _Search(model, self.part.take(rows), best[:, :, rows])
        weights = search.log_weights(self.check).double()
        score = weights.mean(-1)
        worth = 1 / weights.softmax(-1).square().sum(-1)
        stalled = (worth >= settings.enough * len(self.check)).long() * settings.patience
        for step in range(settings.max_iter):
            if step % CHECK_EVERY == 0:
                going = (stalled < settings.patience).any(0).nonzero().squeeze(1)
                if not len(going):
                    break
                if len(going) < len(rows):
                    kept = _whole_blocks(going)
                    rows, score, stalled = rows[kept], score[:, kept], stalled[:, kept]
                    search = search.take(kept)
            left = 1 - step / settings.max_iter if settings.descend else 1.0
            noise = self._noise(1 if settings.shared_noise else len(rows))
            search.step(noise, step + 1, left * settings.learning_rate)
            if (step + 1) % CHECK_EVERY and step + 1 != settings.max_iter:
                continue
            now = search.log_weights(self.check).double().mean(-1)
            better = now > score  # false for NaN
            best[:, :, rows] = search.own.where(better.unsqueeze(-1), best[:, :, rows])
            gained = now >= score + settings.tol if settings.tol else torch.ones_like(better)
            stalled = torch.where(gained, 0, stalled + 1)
            score = now.where(better, score)
        return best

    def _noise(self, n: int) -> Tensor:
        """Mirrored pairs, (1, n, n_samples, k)."""
        shape = (1, n, MIRRORED_PAIRS, self.model.n_components)
        half = torch.randn(shape, generator=self.generator)
        return torch.cat([half, -half], dim=2)


class _Search:
    """Adam on the own numbers of rows, which may leave."""

    def __init__(self, model: JointModel, part: Table, own: Tensor) -> None:
        self.model, self.part, self.own = model, part, own
        self.posterior = encode(model, part)
        self.mean, self.square = torch.zeros_like(own), torch.zeros_like(own)

    def take(self, rows: Tensor) -> _Search:
        """Some of the rows, where they stand."""
        some = _Search(self.model, self.part.take(rows), self.own[:, :, rows])
        some.mean, some.square = self.mean[:, :, rows], self.square[:, :, rows]
        return some

    def log_weights(self, noise: Tensor) -> Tensor:
        """Of every row's samples, (n_members, n, n_samples); their mean is the row's ELBO."""
        return log_weights(self.model, self.part, self.posterior.shifted(*self.own), noise)

    def step(self, noise: Tensor, step: int, learning_rate: float) -> None:
        """Climb the bound."""
        with torch.enable_grad():
            self.own.requires_grad_()
            gradient = torch.autograd.grad(self.log_weights(noise).mean(-1).sum(), self.own)[0]
        slow, slower = DECAYS
        self.mean = torch.lerp(gradient, self.mean, slow)
        self.square = torch.lerp(gradient.square(), self.square, slower)
        root = (self.square / (1 - slower**step)).sqrt() + DAMPING
        self.own = self.own.detach() + learning_rate * self.mean / (1 - slow**step) / root


def _whole_blocks(rows: Tensor) -> Tensor:
    """Row numbers, the last repeated until blocks are full."""
    whole = -(-len(rows) // BLOCK) * BLOCK
    return rows[torch.arange(whole).clamp(max=len(rows) - 1)]


def log_weights(model: JointModel, part: Table, posterior: AnyPosterior, noise: Tensor) -> Tensor:
    """``log p(x_o, z) - log q(z)`` of every row's samples, (n_members, n, n_samples)."""
    z, log_q = posterior.rsample(noise)
    return model.log_joint(z, part.features, part.targets, part.masks[0], part.context) - log_q
