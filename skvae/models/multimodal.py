"""The variational autoencoder of several blocks of columns, any of which a row may lack."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from skvae.distributions.columns import ColumnLikelihoods
from skvae.models.clusters import ClusteredBlocks
from skvae.models.fusion import (
    FusedPosterior,
    Patterns,
    Product,
    product,
    view_weights,
    views,
)
from skvae.models.priors import standard_normal_log_prob
from skvae.models.start import DecoderStart
from skvae.models.vae import VAE
from skvae.nn.inputs import EncoderInputs
from skvae.nn.mlp import MemberMLP

# Entries of kept matrices; beyond them the store starts afresh.
MOST_KEPT = 50_000_000


class ClusterPrior(nn.Module):
    """A mixture of Gaussians with one covariance, fitted with the linear start.

    Parameters
    ----------
    clusters : ClusteredBlocks
    """

    centres: Tensor
    within: Tensor
    log_weights: Tensor

    def __init__(self, clusters: ClusteredBlocks) -> None:
        super().__init__()
        self.register_buffer("centres", clusters.centres.float())
        self.register_buffer("within", clusters.within.float())
        self.register_buffer("log_weights", clusters.log_weights.float())

    def log_prob(self, z: Tensor, model: VAE, context: Tensor | None = None) -> Tensor:
        """Log-density of (1, ..., k), shape (1, ...)."""
        root = torch.linalg.cholesky(self.within)
        u, c = z @ root, self.centres @ root
        gap = u @ c.mT - 0.5 * c.square().sum(-1) + self.log_weights
        return standard_normal_log_prob(u) + root.diagonal().log().sum() + gap.logsumexp(-1)

    def sample(
        self, n: int, model: VAE, generator: torch.Generator, context: Tensor | None = None
    ) -> Tensor:
        """Draws, shape (1, n, k)."""
        weights = self.log_weights.exp()
        chosen = torch.multinomial(weights, n, replacement=True, generator=generator)
        noise = torch.randn(self.centres.shape[1], n, generator=generator)
        root = torch.linalg.cholesky(self.within)
        moved = torch.linalg.solve_triangular(root.mT, noise, upper=True).mT
        return (self.centres[chosen] + moved)[None]


class BlockVAE(VAE):
    """Blocks of columns are experts on ``z`` and multiply, with the prior as one more expert.

    Every block has a network that moves the shift of its expert; precisions stay the linear
    model's, so that they are found once for all rows that lack the same columns. Networks start at
    zero: before training, the posterior is that of the linear VAE of blocks. The linear start
    itself is not trained further.

    Parameters
    ----------
    clusters : ClusteredBlocks
        Linear start and prior.
    start : DecoderStart
    likelihoods : ColumnLikelihoods
    inputs : sequence of EncoderInputs
        What the blocks' networks see.
    hidden_layer_sizes : sequence of int
    generator : torch.Generator
    fusion : {"poe", "moe", "mopoe"}, default="poe"
    temperature : float, default=1.0
        Power of the likelihood ratios between the prior's clusters: below 1 where columns say
        less about the cluster than independent noise would have them say.
    """

    scale: Tensor
    prior: Any
    _kinds: Tensor
    _kept: Patterns | None

    def __init__(
        self,
        clusters: ClusteredBlocks,
        start: DecoderStart,
        likelihoods: ColumnLikelihoods,
        inputs: Sequence[EncoderInputs],
        hidden_layer_sizes: Sequence[int],
        generator: torch.Generator,
        *,
        fusion: str = "poe",
        temperature: float = 1.0,
    ) -> None:
        self.blocks = clusters.blocks.single()
        self.block_inputs: Any = list(inputs)  # read while the networks are made
        super().__init__(
            [self.blocks.point], [start], likelihoods, inputs[0], hidden_layer_sizes, 1, generator
        )
        self.block_inputs = nn.ModuleList(inputs)
        self.fusion, self.temperature = fusion, temperature
        self.prior = ClusterPrior(clusters)
        information = self.blocks.information(self.blocks.member.mT)
        # Networks move shifts in units of what the block knows.
        self.register_buffer("scale", information.diagonal(dim1=1, dim2=2).clamp(min=0.0).sqrt())
        for fixed in (self.weight, self.bias):
            fixed.requires_grad_(False)
        self._forget()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kinds": self._kinds[:0], "_kept": None}

    def at_mean_loadings(self) -> BlockVAE:
        """The product of plain experts, without the loadings' doubt, weights and temperature.

        The posterior of the model whose density importance sampling estimates.
        """
        model = copy.deepcopy(self)
        model.blocks, model.temperature, model.fusion = self.blocks.certain, 1.0, "poe"
        return model

    def _make_encoder(
        self, hidden: tuple[int, ...], body: nn.Module | None, generator: torch.Generator
    ) -> Any:
        k, sizes = self.n_components, self.blocks.member.sum(0).tolist()
        return nn.ModuleList(
            MemberMLP(1, [inputs.width(size), *hidden, k], generator)
            for inputs, size in zip(self.block_inputs, sizes, strict=True)
        )

    # Posterior ------------------------------------------------------------------------------

    def posterior(  # type: ignore[override]
        self, features: Tensor, observed: Tensor, context: Tensor | None = None
    ) -> FusedPosterior:
        """Encode rows; as of `VAE.posterior`, with masks (1, batch, q)."""
        mask = observed[0].expand(features.shape)
        shifts = self.experts(features, mask)
        each = views(self.blocks.n_blocks, self.fusion)
        weights = view_weights(each, self.blocks.present(mask))
        if len(each) > 1 and self.has_holes(mask):
            return FusedPosterior(self._views_of_holes(each, shifts, mask), weights)
        parts = tuple(self.view(shifts, mask, view.expand(len(mask), -1)) for view in each)
        return FusedPosterior(parts, weights)

    def expected(self, features: Tensor, observed: Tensor) -> Tensor:
        """Expected numbers and most probable codes of columns at the mean of ``q(z | x_o)``.

        Rows and masks are (n, q), the result is (n, p).
        """
        centre = self.posterior(features, observed[None]).centre
        return self.likelihoods.mean(self.decode(centre), self.free_parameters[:, 0])[0]

    def experts(self, features: Tensor, observed: Tensor) -> Tensor:
        """Shift of every block's expert, (n, n_blocks, k); zero where a block is absent."""
        shifts = self.blocks.shifts(features, observed)
        if self.encoder is None:
            return shifts
        assert isinstance(self.encoder, nn.ModuleList)
        moves = []
        for network, inputs, mine in zip(
            self.encoder, self.block_inputs, self.blocks.member.mT, strict=True
        ):
            seen = observed[:, mine]
            move = network(inputs(features[:, mine], seen).unsqueeze(0))[0]
            moves.append(move * seen.any(1, keepdim=True))
        return shifts + torch.stack(moves, dim=1) * self.scale

    def view(self, shifts: Tensor, observed: Tensor, chosen: Tensor) -> Product:
        """Product of the chosen blocks' experts and the prior.

        Parameters
        ----------
        shifts : Tensor of shape (n, n_blocks, k)
        observed : bool Tensor of shape (n, q)
        chosen : bool Tensor of shape (n, n_blocks)
        """
        seen = observed & chosen[:, self.blocks.block_of]
        patterns, which = self._patterns(seen)
        return self._product((shifts * chosen.unsqueeze(-1)).sum(1), which, patterns)

    def _product(self, shift: Tensor, which: Tensor, patterns: Patterns) -> Product:
        pull = self.prior.centres @ self.prior.within
        own = self.prior.log_weights - 0.5 * (self.prior.centres * pull).sum(-1)
        return product(shift, which, patterns, own, self.temperature)

    def _views_of_holes(
        self, each: Tensor, shifts: Tensor, observed: Tensor
    ) -> tuple[Product, ...]:
        """As of `view`; what a block says under a mask is found once for all views."""
        masks, which = torch.unique(observed, dim=0, return_inverse=True)
        experts = torch.stack(
            [self.blocks.information(masks & mine) for mine in self.blocks.member.mT], dim=1
        )
        parts = []
        for view in each:
            precision = experts[:, view].sum(1) + self.prior.within
            patterns = Patterns.from_precision(precision, self.prior.centres, self.prior.within)
            parts.append(self._product(shifts[:, view].sum(1), which, patterns))
        return tuple(parts)

    def has_holes(self, observed: Tensor) -> bool:
        """Whether rows lack single columns of blocks."""
        present = self.blocks.present(observed)
        return not torch.equal(observed, present[:, self.blocks.block_of])

    @torch.no_grad()
    def _patterns(self, observed: Tensor) -> tuple[Patterns, Tensor]:
        """What masks (n, q) have in common, and which of them rows have.

        Kept from call to call for rows that lack whole blocks only, which are few kinds.
        """
        if self.has_holes(observed):
            masks, which = torch.unique(observed, dim=0, return_inverse=True)
            return self._of_masks(masks), which
        kinds, which = torch.unique(self.blocks.present(observed), dim=0, return_inverse=True)
        size = self.n_components * (2 * self.n_components + len(self.prior.centres))
        if (len(self._kinds) + len(kinds)) * size > MOST_KEPT:
            self._forget()
        known = (kinds.unsqueeze(1) == self._kinds).all(-1)
        new = kinds[~known.any(1)]
        if len(new):
            found = self._of_masks(new[:, self.blocks.block_of])
            self._kept = found if self._kept is None else self._kept.joined(found)
            self._kinds = torch.cat([self._kinds, new])
            known = (kinds.unsqueeze(1) == self._kinds).all(-1)
        assert self._kept is not None
        return self._kept, known.int().argmax(1)[which]

    def _of_masks(self, masks: Tensor) -> Patterns:
        precision = self.blocks.information(masks) + self.prior.within
        return Patterns.from_precision(precision, self.prior.centres, self.prior.within)

    def _forget(self) -> None:
        self._kinds = torch.zeros(0, self.blocks.n_blocks, dtype=torch.bool)
        self._kept = None
