"""The variational autoencoder that starts as a linear one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from skvae.distributions.columns import ColumnLikelihoods
from skvae.distributions.natural import LOG_TWO_PI, gaussian_experts
from skvae.models.linear import LinearVAE
from skvae.models.start import DecoderStart
from skvae.nn.inputs import EncoderInputs
from skvae.nn.mlp import MemberMLP

# The encoder may narrow or widen the exact linear posterior by this many nats per dimension.
LOG_SCALE_RANGE = 3.0
# The linear posterior mean enters the networks clamped: it is standard normal over the table.
MEAN_CLIP = 5.0


@dataclass(frozen=True, eq=False)
class Posterior:
    """``q(z | x_o)`` of every member: a Gaussian moved within the linear posterior's coordinates.

    With the exact linear posterior ``N(mean, spread spread')`` and standard normal ``e``,
    ``z = mean + spread u`` where ``u = move + exp(log_scale) e``.

    Attributes
    ----------
    mean : Tensor of shape (n_members, batch, k)
    spread : Tensor of shape (n_members, batch, k, k)
    half_log_det : Tensor of shape (n_members, batch)
        Half the log-determinant of the linear posterior's precision.
    move, log_scale : Tensor of shape (n_members, batch, k)
    """

    mean: Tensor
    spread: Tensor
    half_log_det: Tensor
    move: Tensor
    log_scale: Tensor

    @property
    def centre(self) -> Tensor:
        """``z`` without noise, shape (n_members, batch, k)."""
        return self.mean + (self.spread @ self.move.unsqueeze(-1)).squeeze(-1)

    def rsample(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Samples and their log-densities from standard normal noise (..., n_samples, k).

        Noise without leading dimensions is shared by all rows and members.

        Returns
        -------
        z : Tensor of shape (n_members, batch, n_samples, k)
        log_q : Tensor of shape (n_members, batch, n_samples)
        """
        u = self.move.unsqueeze(-2) + self.log_scale.exp().unsqueeze(-2) * noise
        z = self.mean.unsqueeze(-2) + u @ self.spread.mT
        volume = self.half_log_det - self.log_scale.sum(-1)
        constant = 0.5 * noise.shape[-1] * LOG_TWO_PI
        return z, volume.unsqueeze(-1) - constant - 0.5 * noise.square().sum(-1)


class VAE(nn.Module):
    """Several variational autoencoders of one table, batched over members.

    The decoder is the linear start plus a residual network of ``z``; the encoder takes the exact
    linear posterior under the row's mask and a network moves its mean and scale. Both networks
    start at zero, so that before the first step the model is the linear VAE.

    Parameters
    ----------
    linears : sequence of LinearVAE
        Starts over the features; member ``e`` begins at ``linears[e % len(linears)]``.
    starts : sequence of DecoderStart
        What each linear VAE says about the parameters of the columns.
    likelihoods : ColumnLikelihoods
    inputs : EncoderInputs
    hidden_layer_sizes : sequence of int
        Of both residual networks; empty for the linear VAE itself.
    n_members : int
        A multiple of the number of linear starts.
    generator : torch.Generator
    n_extra_components : int, default=0
        Latent dimensions beyond those of the linear start, for the networks alone.
    fixed_scales : bool, default=False
        Leave the noise scale of Gaussian columns where it is, so that all of them weigh the same.
    """

    loadings: Tensor
    mean: Tensor
    noise_variance: Tensor
    frozen: Tensor

    def __init__(
        self,
        linears: Sequence[LinearVAE],
        starts: Sequence[DecoderStart],
        likelihoods: ColumnLikelihoods,
        inputs: EncoderInputs,
        hidden_layer_sizes: Sequence[int],
        n_members: int,
        generator: torch.Generator,
        *,
        n_extra_components: int = 0,
        fixed_scales: bool = False,
    ) -> None:
        super().__init__()
        self.n_members = n_members
        self.n_components = linears[0].n_components + n_extra_components
        self.likelihoods = likelihoods
        self.inputs = inputs
        pad = (0, n_extra_components)
        stack = torch.stack([nn.functional.pad(linear.loadings, pad) for linear in linears])
        self.register_buffer("loadings", stack)
        self.register_buffer("mean", torch.stack([linear.mean for linear in linears]))
        self.register_buffer(
            "noise_variance", torch.stack([linear.noise_variance for linear in linears])
        )
        weight = torch.stack([nn.functional.pad(start.weight.mT, pad).mT for start in starts])
        self.weight = nn.Parameter(self._members(weight))
        self.bias = nn.Parameter(self._members(torch.stack([s.bias for s in starts])[:, None]))
        free = torch.stack([start.free for start in starts])
        self.free = nn.Parameter(self._members(free)[:, None, None])
        frozen = torch.zeros(likelihoods.n_free, dtype=torch.bool)
        if fixed_scales:
            for group in likelihoods.groups:
                frozen[group.free] = not group.likelihood.discrete
        self.register_buffer("frozen", frozen)
        self.encoder: MemberMLP | None = None
        self.decoder: MemberMLP | None = None
        if hidden_layer_sizes:
            n_features, k = stack.shape[1], self.n_components
            encoder_sizes = [inputs.width(n_features) + k, *hidden_layer_sizes, 2 * k]
            decoder_sizes = [k, *reversed(hidden_layer_sizes), likelihoods.n_driven]
            self.encoder = MemberMLP(n_members, encoder_sizes, generator)
            self.decoder = MemberMLP(n_members, decoder_sizes, generator)

    def _members(self, replicas: Tensor) -> Tensor:
        """Repeat (n_replicas, ...) to (n_members, ...); member e gets replica e % n_replicas."""
        times = self.n_members // replicas.shape[0]
        return replicas.repeat(times, *[1] * (replicas.ndim - 1)) if times > 1 else replicas

    @property
    def network_weights(self) -> list[nn.Parameter]:
        """Matrices that weight decay pulls back towards the linear VAE."""
        networks = [net for net in (self.encoder, self.decoder) if net is not None]
        return [weight for net in networks for weight in net.weights]

    @property
    def free_parameters(self) -> Tensor:
        """Constants per column, shape (n_members, 1, 1, n_free)."""
        return torch.where(self.frozen, self.free.detach(), self.free)

    def posterior(self, features: Tensor, observed: Tensor) -> Posterior:
        """Encode rows.

        Parameters
        ----------
        features : Tensor of shape (batch, q)
        observed : bool Tensor of shape (n_replicas or 1, batch, q)
        """
        centred = features - self.mean[:, None]
        base = gaussian_experts(
            self.loadings, self.noise_variance, centred, observed.expand(centred.shape)
        )
        half_log_det = 0.5 * base.log_det_precision
        mean, spread, volume = (
            self._members(part) for part in (base.mean, base.spread, half_log_det)
        )
        if self.encoder is None:
            zero = torch.zeros_like(mean)
            return Posterior(mean, spread, volume, zero, zero)
        seen = self.inputs(features, observed)
        seen = seen.expand(self.mean.shape[0], -1, -1)
        seen = torch.cat([seen, base.mean.clamp(-MEAN_CLIP, MEAN_CLIP)], dim=-1)
        move, raw = self.encoder(self._members(seen)).chunk(2, dim=-1)
        log_scale = LOG_SCALE_RANGE * torch.tanh(raw / LOG_SCALE_RANGE)
        return Posterior(mean, spread, volume, move, log_scale)

    def decode(self, z: Tensor) -> Tensor:
        """Driven parameters of every column, (n_members, ..., k) to (n_members, ..., n_driven)."""
        flat = z.flatten(1, -2)
        driven = torch.baddbmm(self.bias, flat, self.weight)
        if self.decoder is not None:
            driven = driven + self.decoder(flat)
        return driven.unflatten(1, z.shape[1:-1])

    def log_likelihood(self, driven: Tensor, targets: Tensor, observed: Tensor) -> Tensor:
        """``log p(x_j | z)`` by entry, zero where not observed.

        Parameters
        ----------
        driven : Tensor of shape (n_members, batch, n_samples, n_driven)
        targets : Tensor of shape (batch, p)
        observed : bool Tensor of shape (n_replicas or 1, batch, p)

        Returns
        -------
        Tensor of shape (n_members, batch, n_samples, p)
        """
        mask = (observed if observed.shape[0] == 1 else self._members(observed)).unsqueeze(-2)
        return self.likelihoods.log_prob(driven, self.free_parameters, targets.unsqueeze(-2), mask)

    def statistics(self, driven: Tensor) -> Tensor:
        """Means and probabilities, (n_members, batch, n_samples, n_statistics)."""
        return self.likelihoods.statistics(driven, self.free_parameters)


def log_prior(z: Tensor) -> Tensor:
    """Standard normal log-density of (..., k), shape (...)."""
    return -0.5 * z.square().sum(-1) - 0.5 * z.shape[-1] * math.log(2 * math.pi)
