"""The sparse VAE: every column hangs on few latents (Moran et al. 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from skvae.models.context import beside
from skvae.models.linear import LinearVAE
from skvae.models.vae import VAE
from skvae.nn.mlp import MemberMLP

# Units per hidden layer of a column's network, at most: there is one for every column.
MOST_UNITS = 32


class SparseVAE(VAE):
    """``x_j`` depends on ``mask_j * z``, for every column through a network of its own.

    Masks carry a spike-and-slab lasso prior (Rockova and George 2018), see `SpikeAndSlab`. They
    start open. With two columns or more that hang on a latent alone, its anchors, the latents are
    identified up to order and scale (Moran et al. 2022). For models with one member.

    Parameters
    ----------
    linears : sequence of one LinearVAE
    *parts, **options
        As of `VAE`, without a decoder.

    Attributes
    ----------
    mask : Parameter of shape (p, k)
    is_open : bool Tensor of shape (p, k)
        Masks that are closed for good are zero, whatever they were.
    """

    is_open: Tensor

    def __init__(self, linears: Sequence[LinearVAE], *parts: Any, **options: Any) -> None:
        super().__init__(linears, *parts, **options)
        shape = (self.likelihoods.n_columns, self.n_components)
        self.mask = nn.Parameter(torch.ones(shape))
        self.register_buffer("is_open", torch.ones(shape, dtype=torch.bool))

    def _make_decoder(
        self, hidden: tuple[int, ...], body: nn.Module | None, generator: torch.Generator
    ) -> MemberMLP:
        owners = self.likelihoods.driven_columns
        places = torch.cat(
            [torch.arange(int(n)) for n in owners.unique_consecutive(return_counts=True)[1]]
        )
        self.register_buffer("places", places, persistent=False)
        widths = [min(size, MOST_UNITS) for size in reversed(hidden)]
        n_columns = self.likelihoods.n_columns
        sizes = [self.weight.shape[1], *widths, int(places.max()) + 1]
        return MemberMLP(n_columns, sizes, generator)

    @property
    def gates(self) -> Tensor:
        """Masks (p, k), zero where closed."""
        return self.mask.where(self.is_open, 0.0)

    def decode(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return self.decode_through(self.gates, z, context)

    def decode_through(self, gates: Tensor, z: Tensor, context: Tensor | None = None) -> Tensor:
        """`decode` with other masks (p, k)."""
        if self.context.decoded:
            z = beside(z, None if context is None else context[:, : self._n_decoded_context])
            given = gates.new_ones(len(gates), self._n_decoded_context)
            gates = torch.cat([gates, given], dim=1)  # what is given is for all columns
        flat = z.flatten(1, -2)[0]
        owners = self.likelihoods.driven_columns
        linear = flat @ (self.weight[0] * gates[owners].mT) + self.bias[0]
        assert isinstance(self.decoder, MemberMLP)
        own = self.decoder(flat * gates.unsqueeze(1))  # (p, n, widest)
        driven = linear + own[owners, :, self.places].mT
        return driven.unsqueeze(0).unflatten(1, z.shape[1:-1])


class SpikeAndSlab:
    """Prior of masks: a share of every latent's from a wide Laplace density, others from a narrow.

    The share is found along with the masks (Rockova and George 2018). It penalises small masks by
    `spike` and large ones hardly.

    Parameters
    ----------
    spike, slab : float
        Inverse scales of the Laplace densities.
    n_columns : int
    """

    def __init__(self, spike: float, slab: float, n_columns: int) -> None:
        self.spike, self.slab, self.n_columns = spike, slab, n_columns

    def open_probability(self, mask: Tensor, share: Tensor) -> Tensor:
        """Of every mask (p, k) to come from the slab, given the shares (k,)."""
        odds = torch.log(self.slab * share / (self.spike * (1 - share)))
        return torch.sigmoid(odds + mask.abs() * (self.spike - self.slab))

    def shares(self, mask: Tensor, rounds: int = 10) -> Tensor:
        """Most probable share of open masks by latent, (k,), under a Beta(1, p) prior."""
        share = torch.full_like(mask[0], 0.5)
        for _ in range(rounds):
            probable = self.open_probability(mask, share).sum(0)
            share = (probable / (2 * self.n_columns - 1)).clamp(1e-4, 0.999)
        return share

    def penalty(self, mask: Tensor) -> Tensor:
        """What expectation maximisation minimises over masks (p, k), a number."""
        with torch.no_grad():
            slab = self.open_probability(mask, self.shares(mask))
            rate = self.slab * slab + self.spike * (1 - slab)
        return (rate * mask.abs()).sum()

    def log_odds(self, mask: Tensor) -> Tensor:
        """Log prior of no mask over that of every mask (p, k)."""
        share = self.shares(mask)
        closed = torch.log((1 - share) * self.spike + share * self.slab)
        wide = (share * self.slab).log() - self.slab * mask.abs()
        narrow = ((1 - share) * self.spike).log() - self.spike * mask.abs()
        return closed - torch.logaddexp(wide, narrow)
