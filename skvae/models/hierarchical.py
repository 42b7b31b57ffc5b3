"""Several stochastic layers: a Gaussian prior by layer and three ways to infer them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skvae.distributions.columns import ColumnLikelihoods
from skvae.distributions.natural import LOG_TWO_PI, NaturalGaussian
from skvae.models.context import beside
from skvae.models.layers import SMALL_START, LayeredNormal, bounded
from skvae.models.linear import LinearVAE
from skvae.models.start import DecoderStart
from skvae.models.vae import VAE
from skvae.nn.inputs import EncoderInputs
from skvae.nn.mlp import MemberMLP
from skvae.nn.user import UserNetwork

# An expert on a layer starts with this precision beside the prior's of one.
FIRST_PRECISION = 0.05


class HierarchicalVAE(VAE):
    """``p(z_L)``, down to ``p(z_1 | z_2)`` and ``p(x | z_1)``, with one member.

    The layer next to the data starts as the linear VAE's; the layers above start without a say.
    Inference goes

    - bottom up, ``q(z_1 | x) q(z_2 | z_1) ...`` (Burda et al. 2016);
    - top down, ``q(z_L | x) ... q(z_1 | z_2, x)`` from one pass over the row (Kingma et al. 2016,
      Child 2021);
    - or in both directions: experts on every layer, found from the row alone, times the prior
      that the layer above gives (Soenderby et al. 2016).

    Whatever goes down starts on the first layer at the product of the linear VAE's observed
    columns and the prior from above, which is exact for a linear decoder.

    Parameters
    ----------
    linear : LinearVAE
        Its components are the first layer.
    *parts
        As of `VAE` up to `hidden_layer_sizes`, for one start.
    sizes : sequence of int
        Latent dimensions by layer, the one next to the data first.
    generator : torch.Generator
    skip : bool, default=False
        Let every layer, and the data, see all layers above (skip) or the next only (Markov).
    inference : {"bottom_up", "top_down", "both"}, default="top_down"
    prior_context : int, default=0
        Numbers of the context that the prior sees: all of them, or 0 for none.
    **options
        As of `VAE`.
    """

    prior: LayeredNormal

    def __init__(
        self,
        linear: LinearVAE,
        start: DecoderStart,
        likelihoods: ColumnLikelihoods,
        inputs: EncoderInputs,
        hidden_layer_sizes: Sequence[int],
        sizes: Sequence[int],
        generator: torch.Generator,
        *,
        skip: bool = False,
        inference: str = "top_down",
        prior_context: int = 0,
        **options: Any,
    ) -> None:
        self.sizes, self.inference = tuple(sizes), inference
        super().__init__(
            [linear],
            [start],
            likelihoods,
            inputs,
            hidden_layer_sizes,
            1,
            generator,
            n_extra_components=sum(self.sizes[1:]) if skip else 0,
            **options,
        )
        self.n_components = sum(self.sizes)
        self.prior = LayeredNormal(
            self.sizes, hidden_layer_sizes, generator, skip=skip, n_context=prior_context
        )
        assert self.encoder is not None
        code = (
            self.encoder.width if isinstance(self.encoder, UserNetwork) else hidden_layer_sizes[-1]
        )
        self.heads = nn.ModuleList()
        for layer, size in enumerate(self.sizes):
            n_inputs = self._head_width(layer, code) + self.context.width
            widths = [n_inputs, hidden_layer_sizes[-1], 2 * size]
            scale = SMALL_START if layer else 0.0
            self.heads.append(MemberMLP(1, widths, generator, output_scale=scale))

    def _make_encoder(
        self, hidden: tuple[int, ...], body: nn.Module | None, generator: torch.Generator
    ) -> MemberMLP | UserNetwork:
        if body is not None:
            return UserNetwork(body, self._example_rows(), 0, "encoder")  # heads come on top
        return MemberMLP(1, [self._n_inputs, *hidden], generator, hidden_output=True)

    def _head_width(self, layer: int, code: int) -> int:
        """What a head sees: the row's code, other layers' latents, or both."""
        if self.inference == "bottom_up":
            return code if layer == 0 else self.sizes[layer - 1]
        return code + (self.prior.width_above(layer) if self.inference == "top_down" else 0)

    def posterior(  # type: ignore[override]
        self, features: Tensor, observed: Tensor, context: Tensor | None = None
    ) -> LayeredPosterior:
        base = self._linear_posterior(features, observed, context)
        code = self._encode(features, observed, base.mean, context)
        return LayeredPosterior(self, base, code, context)

    def _encode(
        self, features: Tensor, observed: Tensor, mean: Tensor, context: Tensor | None
    ) -> Tensor:
        encoder = self.encoder
        if isinstance(encoder, UserNetwork):
            return encoder.features(*self._user_rows(features, observed, context))
        return super()._encode(features, observed, mean, context)

    def decode(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return super().decode(z if self.prior.skip else z[..., : self.sizes[0]], context)


@dataclass(frozen=True, eq=False)
class LayeredPosterior:
    """``q(z_1, ..., z_L | x_o)``; its first layer lives in the linear posterior's coordinates.

    Attributes
    ----------
    model : HierarchicalVAE
    base : NaturalGaussian of batch shape (1, batch)
        The linear VAE's posterior of the first layer.
    code : Tensor of shape (1, batch, n_code)
        What the encoder found in the row.
    context : Tensor of shape (batch, n_context) or None
    move, log_scale : Tensor of shape (1, batch, k) or None
        Added to what the heads say, see `shifted`.
    """

    model: HierarchicalVAE
    base: NaturalGaussian
    code: Tensor
    context: Tensor | None
    move: Tensor | None = None
    log_scale: Tensor | None = None

    def rsample(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Samples (1, batch, n_samples, k) and log-densities from noise, as `Posterior.rsample`."""
        z, layers = self.rsample_layers(noise)
        return z, torch.stack(layers).sum(0)

    def rsample_layers(self, noise: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Samples, and the log-density of every layer given those it depends on."""
        noise = noise.expand(1, self.code.shape[1], *noise.shape[-2:])
        parts = list(noise.split(self.model.sizes, dim=-1))
        log_q = list(parts)
        for layer in self._order:
            conditional, own = self._conditional(layer, parts), parts[layer]
            parts[layer], log_q[layer] = conditional.place(own), conditional.log_prob(own)
        return torch.cat(parts, dim=-1), log_q

    def log_prob_at(self, z: Tensor) -> Tensor:
        """Log-density of latents (1, batch, n_samples, k), shape (1, batch, n_samples)."""
        parts = z.split(self.model.sizes, dim=-1)
        layers = []
        for layer in self._order:
            conditional = self._conditional(layer, parts)
            layers.append(conditional.log_prob(conditional.noise(parts[layer])))
        return torch.stack(layers).sum(0)

    @property
    def centre(self) -> Tensor:
        """``z`` without noise at any layer, shape (1, batch, k)."""
        return self.rsample(self.code.new_zeros(1, sum(self.model.sizes)))[0].squeeze(-2)

    def moments(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Means and standard deviations over samples from the noise, both (1, batch, k)."""
        z = self.rsample(noise)[0]
        return z.mean(-2), z.std(-2, correction=0)

    def shifted(self, move: Tensor, log_scale: Tensor) -> LayeredPosterior:
        """The same family elsewhere: both (1, batch, k) are added to what the heads say."""
        if self.move is not None and self.log_scale is not None:
            move, log_scale = move + self.move, log_scale + self.log_scale
        return replace(self, move=move, log_scale=log_scale)

    def sample(self, generator: torch.Generator) -> Tensor:
        """One draw from each posterior, shape (1, batch, k)."""
        shape = (1, self.code.shape[1], 1, sum(self.model.sizes))
        return self.rsample(torch.randn(shape, generator=generator))[0].squeeze(-2)

    # Layers ---------------------------------------------------------------------------------

    def _head(self, layer: int, parts: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Move and log scale, (1, batch, n_samples or 1, k_layer)."""
        model, code = self.model, self.code.unsqueeze(-2)
        seen = code
        if model.inference == "bottom_up" and layer > 0:
            seen = parts[layer - 1]
        elif model.inference == "top_down":
            above = model.prior.above(parts, layer)
            if above is not None:
                seen = torch.cat([code.expand(*above.shape[:-1], -1), above], dim=-1)
        seen = beside(seen, self.context)
        out: Tensor = model.heads[layer](seen.flatten(1, -2)).unflatten(1, seen.shape[1:-1])
        move, raw = out.chunk(2, dim=-1)
        log_scale = bounded(raw)
        if self.move is not None and self.log_scale is not None:
            start = sum(model.sizes[:layer])
            own = slice(start, start + model.sizes[layer])
            move = move + self.move[..., own].unsqueeze(-2)
            log_scale = log_scale + self.log_scale[..., own].unsqueeze(-2)
        return move, log_scale

    @property
    def _order(self) -> Sequence[int]:
        """Layers in the order in which they are drawn."""
        layers = range(len(self.model.sizes))
        return layers if self.model.inference == "bottom_up" else layers[::-1]

    def _conditional(self, layer: int, parts: Sequence[Tensor]) -> _Conditional:
        """A layer given those that were drawn before it."""
        move, log_scale = self._head(layer, parts)
        if layer == 0:
            return self._first(move, log_scale, parts)
        if self.model.inference != "both":
            return _Conditional(move, log_scale)
        # An expert found from the row times the prior from above.
        mean, prior_scale = self._prior(layer, parts)
        precision = (-2 * prior_scale).exp()
        total = precision + FIRST_PRECISION * F.softplus(log_scale + 0.5413)  # softplus(.5413) = 1
        return _Conditional((move + precision * mean) / total, -0.5 * total.log())

    def _first(self, move: Tensor, log_scale: Tensor, parts: Sequence[Tensor]) -> _Conditional:
        """The first layer, moved within the linear posterior under the prior from above."""
        base = NaturalGaussian(self.base.precision.unsqueeze(-3), self.base.shift.unsqueeze(-2))
        if self.model.inference != "bottom_up":
            mean, prior_scale = self._prior(0, parts)
            precision = (-2 * prior_scale).exp()
            # The linear posterior counts a standard normal prior: that one is replaced.
            base = NaturalGaussian(
                base.precision + torch.diag_embed(precision - 1), base.shift + precision * mean
            )
        return _Conditional(move, log_scale, base)

    def _prior(self, layer: int, parts: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        prior = self.model.prior
        above = prior.above(parts, layer)
        mean, log_scale = prior.moments(layer, above, self.context if prior.n_context else None)
        if above is None and mean.ndim > 1:  # one per row
            return mean.unsqueeze(-2), log_scale.unsqueeze(-2)
        return mean, log_scale


@dataclass(frozen=True, eq=False)
class _Conditional:
    """``z = mean + spread (move + exp(log_scale) noise)``; without a base, the inner part alone."""

    move: Tensor
    log_scale: Tensor
    base: NaturalGaussian | None = None

    def place(self, noise: Tensor) -> Tensor:
        u = self.move + self.log_scale.exp() * noise
        if self.base is None:
            return u
        spread = self.base.spread
        if spread.shape[-3] == 1:  # all samples of a row share one: treat them as columns
            return self.base.mean + u @ spread.squeeze(-3).mT
        return self.base.mean + (spread @ u.unsqueeze(-1)).squeeze(-1)

    def noise(self, z: Tensor) -> Tensor:
        """The noise that `place` would turn into z."""
        if self.base is not None:  # the inverse of the spread is the transposed Cholesky factor
            z = (self.base.cholesky.mT @ (z - self.base.mean).unsqueeze(-1)).squeeze(-1)
        return (z - self.move) * (-self.log_scale).exp()

    def log_prob(self, noise: Tensor) -> Tensor:
        """Log-density of what `place` makes of the noise."""
        volume = -self.log_scale.sum(-1)
        if self.base is not None:
            volume = volume + 0.5 * self.base.log_det_precision
        return volume - 0.5 * noise.square().sum(-1) - 0.5 * noise.shape[-1] * LOG_TWO_PI
