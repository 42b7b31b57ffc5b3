"""The variational autoencoder of several blocks of columns, any of which a row may lack."""

from __future__ import annotations

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
from skvae.models.linear import LinearVAE
from skvae.models.priors import standard_normal_log_prob
from skvae.models.start import DecoderStart
from skvae.models.vae import VAE
from skvae.nn.inputs import EncoderInputs
from skvae.nn.mlp import MemberMLP

# Entries of kept covariances; beyond them the store starts afresh.
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

    member: Tensor
    doubt: Tensor
    doubt_shift: Tensor
    block_weights: Tensor
    scale: Tensor
    prior: Any
    _places: dict[bytes, int]
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
        blocks = clusters.blocks
        self.sizes = [int((blocks.block_of == b).sum()) for b in range(blocks.n_blocks)]
        self.block_inputs: Any = list(inputs)  # read while the networks are made
        point = blocks.point
        linear = LinearVAE(point.loadings.float(), point.mean.float(), point.noise_variance.float())
        super().__init__(
            [linear], [start], likelihoods, inputs[0], hidden_layer_sizes, 1, generator
        )
        self.block_inputs = nn.ModuleList(inputs)
        self.fusion, self.temperature = fusion, temperature
        k = point.n_components
        member = blocks.block_of.unsqueeze(1) == torch.arange(blocks.n_blocks)
        self.register_buffer("member", member)
        self.register_buffer("doubt", blocks.uncertainty[:, :k, :k].float())
        self.register_buffer("doubt_shift", blocks.uncertainty[:, k, :k].float())
        weights = torch.ones(blocks.n_blocks) if blocks.weights is None else blocks.weights
        self.register_buffer("block_weights", weights.float())
        self.prior = ClusterPrior(clusters)
        information = self._information(member.mT)
        # Networks move shifts in units of what the block knows.
        self.register_buffer("scale", information.diagonal(dim1=1, dim2=2).clamp(min=0.0).sqrt())
        for fixed in (self.weight, self.bias):
            fixed.requires_grad_(False)
        self.forget()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_places": {}, "_kept": None}

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return self.member.shape[1]

    def _make_encoder(
        self, hidden: tuple[int, ...], body: nn.Module | None, generator: torch.Generator
    ) -> Any:
        k = self.n_components
        return nn.ModuleList(
            MemberMLP(1, [inputs.width(size), *hidden, k], generator)
            for inputs, size in zip(self.block_inputs, self.sizes, strict=True)
        )

    # Posterior ------------------------------------------------------------------------------

    def present(self, observed: Tensor) -> Tensor:
        """Which blocks rows have, from masks (n, q) over features; bool (n, n_blocks)."""
        return (observed.float() @ self.member.float()) > 0

    def posterior(  # type: ignore[override]
        self, features: Tensor, observed: Tensor, context: Tensor | None = None
    ) -> FusedPosterior:
        """Encode rows; as of `VAE.posterior`, with masks (1, batch, q)."""
        mask = observed[0].expand(features.shape)
        shifts, present = self.experts(features, mask), self.present(mask)
        each = views(self.n_blocks, self.fusion)
        weights = view_weights(each, present)
        parts = tuple(self.view(shifts, mask, view.expand(len(mask), -1)) for view in each)
        return FusedPosterior(parts, weights)

    def experts(self, features: Tensor, observed: Tensor) -> Tensor:
        """Shift of every block's expert, (n, n_blocks, k); zero where a block is absent."""
        centred = (features - self.mean[0]).where(observed, 0.0)
        seen = observed.to(centred)
        shifts = []
        for b in range(self.n_blocks):
            mine = self.member[:, b]
            weight = self.block_weights[b]
            scaled = self.loadings[0, mine] / self.noise_variance[0, mine].unsqueeze(1)
            shift = centred[:, mine] @ scaled
            shift = shift - seen[:, mine].sum(1, keepdim=True) * self.doubt_shift[b]
            if self.encoder is not None:
                shift = shift + self._move(b, features[:, mine], observed[:, mine])
            shifts.append(weight * shift)
        return torch.stack(shifts, dim=1)

    def _move(self, block: int, features: Tensor, observed: Tensor) -> Tensor:
        """What a block's network adds to its shift, (n, k)."""
        assert isinstance(self.encoder, nn.ModuleList)
        seen = self.block_inputs[block](features, observed)
        moved = self.encoder[block](seen.unsqueeze(0))[0] * self.scale[block]
        return moved * observed.any(1, keepdim=True)

    def view(self, shifts: Tensor, observed: Tensor, chosen: Tensor) -> Product:
        """Product of the chosen blocks' experts and the prior.

        Parameters
        ----------
        shifts : Tensor of shape (n, n_blocks, k)
        observed : bool Tensor of shape (n, q)
        chosen : bool Tensor of shape (n, n_blocks)
        """
        seen = observed & (chosen.float() @ self.member.float().mT > 0)
        patterns, which = self._patterns(seen)
        shift = (shifts * chosen.unsqueeze(-1)).sum(1)
        pull = self.prior.centres @ self.prior.within
        own = self.prior.log_weights - 0.5 * (self.prior.centres * pull).sum(-1)
        return product(shift, which, patterns, own, self.temperature)

    def _information(self, observed: Tensor) -> Tensor:
        """Precision of the product of experts of masks (p, q), without the prior's, (p, k, k)."""
        weights = self.member.float() @ self.block_weights
        root = (weights / self.noise_variance[0]).sqrt()
        scaled = self.loadings[0] * root.unsqueeze(1)
        counts = (observed.float() @ self.member.float()) * self.block_weights
        doubt = (counts @ self.doubt.flatten(1)).unflatten(1, self.doubt.shape[1:])
        at_once = max(1, MOST_KEPT // (2 * scaled.numel()))
        certain = [(part.unsqueeze(2) * scaled).mT @ scaled for part in observed.split(at_once)]
        return torch.cat(certain) + doubt

    @torch.no_grad()
    def _patterns(self, observed: Tensor) -> tuple[Patterns, Tensor]:
        """What masks (n, q) have in common, and which of them rows have; kept from call to call."""
        masks, which = torch.unique(observed, dim=0, return_inverse=True)
        keys = [mask.tobytes() for mask in masks.numpy()]
        size = self.n_components * (2 * self.n_components + len(self.prior.centres))
        if (len(self._places) + len(keys)) * size > MOST_KEPT:
            self.forget()
        new = [number for number, key in enumerate(keys) if key not in self._places]
        if new:
            precision = self._information(masks[new]) + self.prior.within
            found = Patterns.from_precision(precision, self.prior.centres, self.prior.within)
            self._kept = found if self._kept is None else self._kept.joined(found)
            for number in new:
                self._places[keys[number]] = len(self._places)
        assert self._kept is not None
        return self._kept, torch.tensor([self._places[key] for key in keys])[which]

    def forget(self) -> None:
        """Drop what is kept of patterns; needed when buffers were changed."""
        self._places = {}
        self._kept = None
