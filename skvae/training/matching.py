"""The bound of a VAE of blocks: what all blocks say, and that parts of them should say the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from skvae.models.fusion import Product, apply, view_weights, views
from skvae.models.multimodal import BlockVAE
from skvae.training.data import Batch, TrainingTable

# Times that blocks of held-out rows are hidden at random.
N_HIDINGS = 4


@dataclass(frozen=True, eq=False)
class MatchedBound:
    """The evidence lower bound, less what a part of the blocks gets wrong about the latents.

    ``E_q log p(x_o | z) - KL(q(z, c | x_o) || p(z, c))`` with the cluster c of the prior, minus
    ``KL(q(z | x_o) || q(z | x_S))`` between Gaussians for a random subset S of the row's blocks
    (Suzuki et al. 2017): the decoder and its noise are trained by what all blocks say, and every
    subset's experts learn to say the same.

    Attributes
    ----------
    n_samples : int
    beta : float
        Weight of the divergence from the prior (Higgins et al. 2017).
    column_weights : Tensor of shape (p,)
    fusion : str
        Which subsets are drawn: any ("poe", "mopoe") or single blocks.
    """

    n_samples: int
    beta: float
    column_weights: Tensor
    fusion: str
    by_rows: ClassVar[bool] = True

    def __call__(
        self, model: BlockVAE, table: TrainingTable, batch: Batch, generator: torch.Generator
    ) -> Tensor:
        observed = table.on_features(batch.observed)
        present, shifts = model.blocks.present(observed), model.experts(batch.features, observed)
        whole = model.view(shifts, observed, present)
        cluster = batch.choose(whole.share, self.n_samples, generator)
        after = (self.n_samples, model.n_components)
        noise = batch.draw(torch.randn, (), after, generator)
        rows = torch.arange(len(observed)).repeat_interleave(self.n_samples)
        z = whole.place(rows, noise.flatten(0, 1), cluster.flatten()).unflatten(0, cluster.shape)
        driven = model.decode(z[None])
        log_likelihood = model.log_likelihood(driven, batch.targets, batch.visible)[0]
        bound = (log_likelihood * self.column_weights).sum(-1)
        bound = (bound - self.beta * _divergence(model, whole, cluster)).mean(-1)
        part = model.view(shifts, observed, self._choose(present, batch, generator))
        away = whole.centre.detach() - part.centre
        whitened = apply(part.patterns.root.mT, part.which, away)
        missed = 0.5 * whitened.square().sum(-1)
        return (bound - missed)[None]

    def _choose(self, present: Tensor, batch: Batch, generator: torch.Generator) -> Tensor:
        """A subset of blocks for every row."""
        if self.fusion == "moe":
            weights = view_weights(views(present.shape[1], self.fusion), present)
            chosen = batch.choose(weights, 1, generator)
            return present & (chosen == torch.arange(present.shape[1]))
        share = batch.draw(torch.rand, (), (1,), generator)
        return present & (batch.draw(torch.rand, (), present.shape[1:], generator) < share)


def _divergence(model: BlockVAE, part: Product, cluster: Tensor) -> Tensor:
    """Of ``q(z, c)`` from ``p(z, c)`` at sampled clusters (n, s); exact in z."""
    prior, which = model.prior, part.which
    root = torch.linalg.cholesky(prior.within)
    centre = part.mean.unsqueeze(1) + part.patterns.offsets[which.unsqueeze(1), cluster]
    away = ((centre - prior.centres[cluster]) @ root).square().sum(-1)
    ratio = part.share.log().gather(1, cluster) - prior.log_weights[cluster]
    return part.patterns.gap[which].unsqueeze(1) + 0.5 * away + ratio


@dataclass(frozen=True, eq=False)
class HeldOutBound:
    """Mean bound of held-out rows, always with the same noise; shape (1,)."""

    bound: MatchedBound
    table: TrainingTable
    seed: int

    @torch.no_grad()
    def __call__(self, model: BlockVAE) -> Tensor:
        batch, values = self.table.batch(torch.arange(self.table.n_rows)), []
        for repeat in range(N_HIDINGS):
            generator = torch.Generator().manual_seed(self.seed + repeat)
            values.append(self.bound(model, self.table, batch, generator)[0])
        return (torch.stack(values).mean(0) * batch.weight).mean()[None]
