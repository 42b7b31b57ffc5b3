"""The variational autoencoder that starts as a linear one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from skvae.distributions.columns import ColumnLikelihoods
from skvae.distributions.continuous import Gaussian
from skvae.distributions.natural import NaturalGaussian, gaussian_experts
from skvae.models.context import Context, beside
from skvae.models.layers import bounded
from skvae.models.linear import LinearVAE
from skvae.models.posterior import Posterior
from skvae.models.priors import Prior, StandardNormal
from skvae.models.start import DecoderStart
from skvae.nn.inputs import EncoderInputs
from skvae.nn.mlp import MemberMLP
from skvae.nn.user import UserNetwork

# Smallest log noise scale of a model without a density, in standard deviations.
LOG_SCALE_FLOOR = -1.9
# The linear posterior mean enters the networks clamped: it is standard normal over the table.
MEAN_CLIP = 5.0


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
    density : bool, default=True
        Without, the model predicts from the centre of the posterior alone: nothing is sampled.
    n_fixed_scales : int, default=0
        So many members, the last ones, leave the noise scales of Gaussian columns where they are:
        all columns weigh the same.
    n_extra_components : int, default=0
        Latent dimensions beyond those of the linear start, for the networks of a model without a
        density.
    context : Context, optional
        What the model is conditioned on, and how (Sohn et al. 2015).
    known_holes : bool Tensor of shape (q,), set from outside
        Features that some training rows lack. In rows that lack others, the encoder's network is
        not asked.
    width : float, set from outside
        Of the coordinates that the encoder's network moves in: variances of the linear posterior
        times this. Where rows say nearly all, steps in units of what they leave open are too short.
    tempered : bool, set from outside
        Whether the linear posterior is wider or narrower than the exact one, on purpose.
    encoder, decoder : torch.nn.Module, optional
        A user's bodies in place of the residual networks, see `UserNetwork`. The encoder's takes
        features and mask, the decoder's takes ``z``, the context after either.
    """

    loadings: Tensor
    mean: Tensor
    noise_variance: Tensor
    frozen: Tensor
    floor: Tensor
    context_loadings: Tensor | None
    prior_precision: Tensor | None
    known_holes: Tensor | None
    tempered: bool = False
    width: float = 1.0

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
        density: bool = True,
        n_fixed_scales: int = 0,
        n_extra_components: int = 0,
        context: Context | None = None,
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.n_members = n_members
        self.density = density
        self.prior: Prior = StandardNormal()
        self.context = context or Context(0)
        self.register_buffer("context_loadings", self.context.loadings)
        self.register_buffer("known_holes", None)
        self.register_buffer("prior_precision", linears[0].prior_precision)
        self.n_extra_components = n_extra_components
        self.n_components = linears[0].n_components + n_extra_components
        self.likelihoods = likelihoods
        self.inputs = inputs
        self.register_buffer("loadings", torch.stack([linear.loadings for linear in linears]))
        self.register_buffer("mean", torch.stack([linear.mean for linear in linears]))
        self.register_buffer(
            "noise_variance", torch.stack([linear.noise_variance for linear in linears])
        )
        weight = torch.stack([start.weight for start in starts])
        own, given = weight.split([linears[0].n_components, self._n_decoded_context], dim=1)
        weight = torch.cat([nn.functional.pad(own, (0, 0, 0, n_extra_components)), given], dim=1)
        self.weight = nn.Parameter(self.members(weight))
        self.bias = nn.Parameter(self.members(torch.stack([s.bias for s in starts])[:, None]))
        free = torch.stack([start.free for start in starts])
        self.free = nn.Parameter(self.members(free)[:, None, None])
        frozen = torch.zeros(n_members, 1, 1, likelihoods.n_free, dtype=torch.bool)
        floor = torch.full((likelihoods.n_free,), -math.inf)
        for group in likelihoods.groups:
            if isinstance(group.likelihood, Gaussian):
                frozen[n_members - n_fixed_scales :, ..., group.free] = True
                # Without samples, a column that others determine would pull its scale to zero.
                floor[group.free] = -math.inf if density else LOG_SCALE_FLOOR
        self.register_buffer("floor", floor)
        self.register_buffer("frozen", frozen)
        self.encoder: MemberMLP | UserNetwork | None = None
        self.decoder: MemberMLP | UserNetwork | None = None
        if hidden_layer_sizes:
            sizes = tuple(hidden_layer_sizes)
            self.encoder = self._make_encoder(sizes, encoder, generator)
            self.decoder = self._make_decoder(sizes, decoder, generator)

    @property
    def _n_decoded_context(self) -> int:
        if not self.context.decoded:
            return 0
        return self.context.width if self.context.n_decoded is None else self.context.n_decoded

    def _make_encoder(
        self, hidden: tuple[int, ...], body: nn.Module | None, generator: torch.Generator
    ) -> MemberMLP | UserNetwork:
        k = self.n_components
        n_outputs = 2 * k if self.density else k
        if body is not None:
            return UserNetwork(body, self._example_rows(), n_outputs, "encoder")
        return MemberMLP(self.n_members, [self._n_inputs, *hidden, n_outputs], generator)

    def _make_decoder(
        self, hidden: tuple[int, ...], body: nn.Module | None, generator: torch.Generator
    ) -> MemberMLP | UserNetwork:
        n_inputs, n_outputs = self.weight.shape[1], self.likelihoods.n_driven
        if body is not None:
            return UserNetwork(body, [torch.zeros(2, n_inputs)], n_outputs, "decoder")
        return MemberMLP(self.n_members, [n_inputs, *reversed(hidden), n_outputs], generator)

    @property
    def _n_inputs(self) -> int:
        """Numbers that the encoder's network sees of a row."""
        n_features, k = self.loadings.shape[1:]
        told = self.context.width if self.context.encoded else 0
        return self.inputs.width(n_features) + k + told

    def _example_rows(self) -> tuple[Tensor, Tensor]:
        """What a user's encoder is given, for two rows."""
        zeros = torch.zeros(2, self.loadings.shape[1] + self.context.width)
        return zeros, torch.ones_like(zeros)

    def members(self, replicas: Tensor) -> Tensor:
        """Repeat (n_replicas, ...) to (n_members, ...); member e gets replica e % n_replicas."""
        times = self.n_members // replicas.shape[0]
        return replicas.repeat(times, *[1] * (replicas.ndim - 1)) if times > 1 else replicas

    @property
    def n_replicas(self) -> int:
        """Number of linear starts; member e has start e % n_replicas."""
        return self.mean.shape[0]

    @property
    def network_weights(self) -> list[nn.Parameter]:
        """Matrices that weight decay pulls back towards the linear VAE."""
        networks = [net for net in self.modules() if isinstance(net, MemberMLP | UserNetwork)]
        return [weight for net in networks for weight in net.weights]

    @property
    def exact(self) -> bool:
        """Whether the posterior is: that of a linear model whose columns are all Gaussian."""
        kinds = [group.likelihood for group in self.likelihoods.groups]
        linear = self.encoder is None and not self.tempered
        return linear and all(isinstance(kind, Gaussian) for kind in kinds)

    @property
    def free_parameters(self) -> Tensor:
        """Constants per column, shape (n_members, 1, 1, n_free)."""
        free = torch.maximum(self.free, self.floor)
        return torch.where(self.frozen, free.detach(), free)

    def posterior(
        self, features: Tensor, observed: Tensor, context: Tensor | None = None
    ) -> Posterior:
        """Encode rows.

        Parameters
        ----------
        features : Tensor of shape (batch, q)
        observed : bool Tensor of shape (n_replicas or 1, batch, q)
        context : Tensor of shape (batch, n_context), optional
        """
        base = self._linear_posterior(features, observed, context)
        return self._moved(base, features, observed, context)

    def _moved(
        self, base: NaturalGaussian, features: Tensor, observed: Tensor, context: Tensor | None
    ) -> Posterior:
        """What the encoder's network makes of a linear posterior."""
        # Computed first, because the mean is cheaper once the spread is known.
        spread = self.members(base.spread) if self.density else None
        half_log_det = self.members(0.5 * base.log_det_precision)
        mean = nn.functional.pad(base.mean, (0, self.n_extra_components))
        mean = self.members(mean)
        if self.encoder is None:
            zero = torch.zeros_like(mean)
            return Posterior(mean, spread, half_log_det, zero, zero)
        move = self._encode(features, observed, base.mean, context)
        if self.known_holes is not None:
            # Of holes that training never showed the network knows nothing: the linear posterior
            # is exact under any mask.
            strange = (~observed & ~self.known_holes).any(-1, keepdim=True)
            move = move.masked_fill(self.members(strange.expand(base.mean.shape[0], -1, -1)), 0.0)
        if not self.density:
            move = self._unwhiten(base.cholesky, move)
            return Posterior(mean, None, half_log_det, move, torch.zeros_like(move))
        move, raw = move.chunk(2, dim=-1)
        log_scale = bounded(raw)
        return Posterior(mean, spread, half_log_det, move, log_scale)

    def _linear_posterior(
        self, features: Tensor, observed: Tensor, context: Tensor | None
    ) -> NaturalGaussian:
        """Exact posterior of the linear VAE, batch shape (n_replicas, batch)."""
        centred = features - self.mean[:, None]
        if context is not None and self.context_loadings is not None:
            centred = centred - context @ self.context_loadings
        exact = gaussian_experts(
            self.loadings,
            self.noise_variance,
            centred,
            observed.expand(centred.shape),
            self.prior_precision,
        )
        if self.width == 1:
            return exact
        return NaturalGaussian(exact.precision / self.width, exact.shift / self.width)

    def _encode(
        self, features: Tensor, observed: Tensor, mean: Tensor, context: Tensor | None
    ) -> Tensor:
        """What the encoder's network says, (n_members, batch, n_outputs)."""
        if isinstance(self.encoder, UserNetwork):
            return self.encoder(*self._user_rows(features, observed, context))
        assert self.encoder is not None
        seen = self.inputs(features, observed).expand(self.mean.shape[0], -1, -1)
        parts = [seen, mean.clamp(-MEAN_CLIP, MEAN_CLIP)]
        if context is not None and self.context.encoded:
            parts.append(context.expand(self.mean.shape[0], -1, -1))
        return self.encoder(self.members(torch.cat(parts, dim=-1)))

    @staticmethod
    def _user_rows(
        features: Tensor, observed: Tensor, context: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """What a user's encoder is given."""
        row = features.where(observed[0], 0.0)
        mask = observed[0].to(row.dtype).expand(row.shape)
        if context is None:
            return row, mask
        return torch.cat([row, context], -1), torch.cat([mask, torch.ones_like(context)], -1)

    def _unwhiten(self, cholesky: Tensor, move: Tensor) -> Tensor:
        """``spread @ move`` without the spread; extra components have none and stay."""
        n_replicas, k = cholesky.shape[0], cholesky.shape[-1]
        # Members that share a replica share its matrices: they are columns of one right-hand side.
        columns = move[..., :k].unflatten(0, (-1, n_replicas)).permute(1, 2, 3, 0)
        solved = torch.linalg.solve_triangular(cholesky.mT, columns, upper=True)
        inner = solved.permute(3, 0, 1, 2).flatten(0, 1)
        return torch.cat([inner, move[..., k:]], dim=-1)

    def decode(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Driven parameters of every column, (n_members, ..., k) to (n_members, ..., n_driven).

        A context (batch, n_context) belongs to the dimension after the members.
        """
        if self.context.decoded:
            z = beside(z, None if context is None else context[:, : self._n_decoded_context])
        flat = z.flatten(1, -2)
        driven = torch.baddbmm(self.bias, flat, self.weight)
        if self.decoder is not None:
            own = flat[0] if isinstance(self.decoder, UserNetwork) else flat
            driven = driven + self.decoder(own)
        return driven.unflatten(1, z.shape[1:-1])

    def log_prior(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """``log p(z)`` of (n_members, ..., k), shape (n_members, ...)."""
        return self.prior.log_prob(z, self, context)

    def log_joint(
        self,
        z: Tensor,
        features: Tensor,
        targets: Tensor,
        observed: Tensor,
        context: Tensor | None = None,
    ) -> Tensor:
        """``log p(x_o, z)``, see `JointModel.log_joint`."""
        driven = self.decode(z, context)
        log_likelihood = self.log_likelihood(driven, targets, observed).sum(-1)
        return log_likelihood + self.log_prior(z, context)

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
        mask = (observed if observed.shape[0] == 1 else self.members(observed)).unsqueeze(-2)
        return self.likelihoods.log_prob(driven, self.free_parameters, targets.unsqueeze(-2), mask)

    def statistics(self, driven: Tensor) -> Tensor:
        """Means and probabilities, (n_members, batch, n_samples, n_statistics)."""
        return self.likelihoods.statistics(driven, self.free_parameters)
