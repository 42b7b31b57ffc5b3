"""Gaussian layers above each other: the prior of conditional and of hierarchical models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from skvae.distributions.natural import LOG_TWO_PI
from skvae.models.context import beside
from skvae.nn.mlp import MemberMLP

if TYPE_CHECKING:
    from skvae.models.vae import VAE

# A network may narrow or widen a standard normal by this many nats per dimension.
LOG_SCALE_RANGE = 3.0
# Layers above say a little from the start, or nothing would ever be asked of them.
SMALL_START = 0.1
# Share of a learnt prior that stays standard normal. A row unlike all others then costs a few
# nats more than under that prior, not thousands.
LOOSE_SHARE = 1e-3


def bounded(raw: Tensor) -> Tensor:
    """Log scale from a network's output, within `LOG_SCALE_RANGE` either way."""
    return LOG_SCALE_RANGE * torch.tanh(raw / LOG_SCALE_RANGE)


def loosened(log_prob: Tensor, z: Tensor) -> Tensor:
    """Log-density (...) of z (..., k) with a share of standard normal mixed in."""
    standard = -0.5 * z.square().sum(-1) - 0.5 * z.shape[-1] * LOG_TWO_PI
    return torch.logaddexp(log_prob + math.log1p(-LOOSE_SHARE), standard + math.log(LOOSE_SHARE))


def draw_loose(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Which draws come from that share, bool of the given shape."""
    return torch.rand(shape, generator=generator) < LOOSE_SHARE


class LayeredNormal(nn.Module):
    """``p(z_L | c)``, down to ``p(z_1 | z_2, c)``, every factor a diagonal Gaussian.

    Means and scales are networks of what lies above and of the context. They start near zero,
    that is, with all layers about standard normal. Several layers are the prior of a hierarchical
    VAE (Rezende et al. 2014). For models with one member.

    Parameters
    ----------
    sizes : sequence of int
        Latent dimensions by layer, the one next to the data first.
    hidden_layer_sizes : sequence of int
    generator : torch.Generator
    skip : bool, default=False
        Let a layer see all layers above rather than the next one only.
    n_context : int, default=0
    """

    def __init__(
        self,
        sizes: Sequence[int],
        hidden_layer_sizes: Sequence[int],
        generator: torch.Generator,
        *,
        skip: bool = False,
        n_context: int = 0,
    ) -> None:
        super().__init__()
        self.sizes, self.skip, self.n_context = tuple(sizes), skip, n_context
        self.networks = nn.ModuleDict()
        for layer, size in enumerate(self.sizes):
            n_inputs = self.width_above(layer) + n_context
            if n_inputs:
                widths = [n_inputs, *hidden_layer_sizes, 2 * size]
                scale = SMALL_START if self.width_above(layer) else 0.0
                self.networks[str(layer)] = MemberMLP(1, widths, generator, output_scale=scale)

    # One layer ------------------------------------------------------------------------------

    def width_above(self, layer: int) -> int:
        """Latent dimensions that a layer sees."""
        return sum(self.sizes[layer + 1 :] if self.skip else self.sizes[layer + 1 : layer + 2])

    def above(self, parts: Sequence[Tensor], layer: int) -> Tensor | None:
        """What a layer sees of the layers' latents."""
        seen = parts[layer + 1 :] if self.skip else parts[layer + 1 : layer + 2]
        return torch.cat(list(seen), dim=-1) if seen else None

    def moments(
        self, layer: int, above: Tensor | None, context: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Mean and log scale of a layer given (1, batch, ..., k) of those it sees.

        Without layers above, one per row: (1, batch, k); without a context either, (k,).
        """
        inputs = above
        if self.n_context:
            if context is None:
                raise ValueError("A conditional prior needs its context.")
            inputs = context.unsqueeze(0) if above is None else beside(above, context)
        if inputs is None:
            zero = torch.zeros(self.sizes[layer])
            return zero, zero
        network = self.networks[str(layer)]
        out: Tensor = network(inputs.flatten(1, -2)).unflatten(1, inputs.shape[1:-1])
        mean, raw = out.chunk(2, dim=-1)
        return mean, bounded(raw)

    def _for_samples(
        self, layer: int, above: Tensor | None, context: Tensor | None, ndim: int
    ) -> tuple[Tensor, Tensor]:
        """Moments that broadcast against latents (1, batch, ..., k) of `ndim` dimensions."""
        mean, log_scale = self.moments(layer, above, context)
        if 1 < mean.ndim < ndim:  # one per row, to be shared by its samples
            shape = (*mean.shape[:2], *(1,) * (ndim - mean.ndim), mean.shape[-1])
            return mean.view(shape), log_scale.view(shape)
        return mean, log_scale

    # All layers -----------------------------------------------------------------------------

    def log_prob_layers(self, z: Tensor, context: Tensor | None = None) -> list[Tensor]:
        """Log-density of (1, batch, ..., k) by layer given those above, each (1, batch, ...)."""
        noise, log_scales = self._whiten(z, context)
        layers = []
        for own, log_scale, part in zip(noise, log_scales, z.split(self.sizes, -1), strict=True):
            constant = 0.5 * own.shape[-1] * LOG_TWO_PI
            log_prob = -0.5 * own.square().sum(-1) - log_scale.sum(-1) - constant
            layers.append(loosened(log_prob, part))
        return layers

    def log_prob(self, z: Tensor, model: VAE, context: Tensor | None = None) -> Tensor:
        """Log-density of (1, batch, ..., k), shape (1, batch, ...)."""
        layers = self.log_prob_layers(z, context)
        return torch.stack(layers).sum(0) if len(layers) > 1 else layers[0]

    def place(
        self, noise: Tensor, context: Tensor | None = None, loose: Tensor | None = None
    ) -> Tensor:
        """Latents from standard normal noise, both (1, batch, ..., k).

        Where `loose` (1, batch, ..., n_layers), a layer's noise is its latent.
        """
        parts = list(noise.split(self.sizes, dim=-1))
        for layer in reversed(range(len(parts))):
            mean, log_scale = self._for_samples(
                layer, self.above(parts, layer), context, noise.ndim
            )
            placed = mean + log_scale.exp() * parts[layer]
            if loose is not None:
                placed = torch.where(loose[..., layer, None], parts[layer], placed)
            parts[layer] = placed
        return torch.cat(parts, dim=-1)

    def whiten(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """The noise that `place` would turn into z."""
        return torch.cat(self._whiten(z, context)[0], dim=-1)

    def sample(
        self, n: int, model: VAE, generator: torch.Generator, context: Tensor | None = None
    ) -> Tensor:
        """Draws, one for each row of a context, shape (1, n, k)."""
        noise = torch.randn(1, n, sum(self.sizes), generator=generator)
        return self.place(noise, context, self.draw_loose((1, n), generator))

    def draw_loose(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Which layers of which draws are standard normal, ``(*shape, n_layers)``."""
        return draw_loose((*shape, len(self.sizes)), generator)

    def _whiten(self, z: Tensor, context: Tensor | None) -> tuple[list[Tensor], list[Tensor]]:
        parts = z.split(self.sizes, dim=-1)
        noise, log_scales = [], []
        for layer, part in enumerate(parts):
            mean, log_scale = self._for_samples(layer, self.above(parts, layer), context, z.ndim)
            noise.append((part - mean) * (-log_scale).exp())
            log_scales.append(log_scale)
        return noise, log_scales
