"""Latents that depend on latents: posteriors and joint densities of both together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from skvae.models.posterior import Posterior
from skvae.models.semi_supervised import Auxiliary, ClassConditionalVAE, gaussian_log_prob
from skvae.models.vae import VAE


@dataclass(frozen=True, eq=False)
class ChainedPosterior:
    """``q(z_1 | x_o) q(z_2 | x_o, z_1)``, with one member.

    Attributes
    ----------
    first : Posterior
        Of n rows.
    then : callable
        From draws of the first latents (n * n_samples, k_1), samples of a row side by side, to the
        posteriors of the second ones.
    sizes : tuple of int
        Dimensions ``k_1, k_2`` of the first and of the second latents.
    move, log_scale : Tensor of shape (1, n, k_2) or None
        Added to what `then` says, see `shifted`.
    """

    first: Posterior
    then: Callable[[Tensor], Posterior]
    sizes: tuple[int, int]
    move: Tensor | None = None
    log_scale: Tensor | None = None

    def rsample(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Samples (1, n, n_samples, k) and log-densities from noise, as `Posterior.rsample`."""
        n, n_samples = self.first.move.shape[1], noise.shape[-2]
        own, rest = noise.expand(1, n, *noise.shape[-2:]).split(self.sizes, dim=-1)
        z, log_q = self.first.rsample(own)
        second = self.then(z[0].flatten(0, 1))
        if self.move is not None and self.log_scale is not None:
            moves = (self.move, self.log_scale)
            second = second.shifted(*(m.repeat_interleave(n_samples, 1) for m in moves))
        above, log_above = second.rsample(rest.flatten(1, 2).unsqueeze(2))
        above = above.view(1, n, n_samples, -1)
        return torch.cat([z, above], dim=-1), log_q + log_above.view(1, n, n_samples)

    def shifted(self, move: Tensor, log_scale: Tensor) -> ChainedPosterior:
        """The same family elsewhere: both (1, n, k) are added to what the encoders say."""
        own_move, rest_move = move.split(self.sizes, dim=-1)
        own_scale, rest_scale = log_scale.split(self.sizes, dim=-1)
        if self.move is not None and self.log_scale is not None:
            rest_move, rest_scale = rest_move + self.move, rest_scale + self.log_scale
        first = self.first.shifted(own_move, own_scale)
        return replace(self, first=first, move=rest_move, log_scale=rest_scale)


@dataclass(frozen=True, eq=False)
class AuxiliaryModel:
    """``p(x_o, a, z | y)`` of an auxiliary deep generative model (Maaloe et al. 2016).

    Its latents are ``a``, then ``z``; the context is a one-hot label, then the vectors that
    ``q(a | x)`` reads.

    Attributes
    ----------
    model : ClassConditionalVAE
    auxiliary : Auxiliary
        The model's own.
    n_classes : int
    """

    model: ClassConditionalVAE
    auxiliary: Auxiliary
    n_classes: int

    n_members = 1
    exact = False

    @property
    def n_components(self) -> int:
        """Of both latents together."""
        return sum(self._sizes)

    @property
    def _sizes(self) -> tuple[int, int]:
        return self.auxiliary.n_auxiliary, self.model.vae.n_components

    def posterior(
        self, features: Tensor, observed: Tensor, context: Tensor | None = None
    ) -> ChainedPosterior:
        """``q(a | x) q(z | x_o, y, a)``."""
        label, vectors = self._given(context)
        mean, log_scale = self.auxiliary.posterior(vectors)
        nowhere = torch.zeros_like(mean)[None]
        spread = torch.diag_embed(log_scale.exp())[None]
        first = Posterior(mean[None], spread, -log_scale.sum(-1)[None], nowhere, nowhere)

        def then(a: Tensor) -> Posterior:
            times = len(a) // len(features)
            rows, seen = _repeated(features, times), observed.repeat_interleave(times, 1)
            return self.model.vae.posterior(rows, seen, torch.cat([_repeated(label, times), a], 1))

        return ChainedPosterior(first, then, self._sizes)

    def log_joint(
        self,
        z: Tensor,
        features: Tensor,
        targets: Tensor,
        observed: Tensor,
        context: Tensor | None = None,
    ) -> Tensor:
        """``log p(x_o, a, z | y)``, see `JointModel.log_joint`."""
        (label, vectors), vae = self._given(context), self.model.vae
        a, own = z.split(self._sizes, dim=-1)
        mean, log_scale = self.auxiliary.generative(own[0], label, vectors)
        log_a = gaussian_log_prob((a[0] - mean) * (-log_scale).exp(), log_scale)
        times = z.shape[2]
        given = torch.cat([_repeated(label, times), a[0].flatten(0, 1)], dim=1)
        seen = observed.repeat_interleave(times, 1)
        rows = _repeated(features, times), _repeated(targets, times), seen
        each = vae.log_joint(own.flatten(1, 2).unsqueeze(2), *rows, given)
        return each.view(z.shape[:3]) + log_a

    def _given(self, context: Tensor | None) -> tuple[Tensor, Tensor]:
        assert context is not None
        return context[:, : self.n_classes], context[:, self.n_classes :]


@dataclass(frozen=True, eq=False)
class StackedModel:
    """``p(x_o, z_1, z_2 | y)``: a model of the latents of another, in place of its prior.

    Attributes
    ----------
    lower : VAE
        ``p(x | z_1)``.
    upper : VAE
        ``p(z_1, z_2 | y)`` of standardised ``z_1``; the context is a one-hot label.
    mean, scale : Tensor of shape (k_1,)
        Of the lower latents, to standardise them.
    """

    lower: VAE
    upper: VAE
    mean: Tensor
    scale: Tensor

    n_members = 1
    exact = False

    @property
    def n_components(self) -> int:
        """Of both latents together."""
        return sum(self._sizes)

    @property
    def _sizes(self) -> tuple[int, int]:
        return self.lower.n_components, self.upper.n_components

    def posterior(
        self, features: Tensor, observed: Tensor, context: Tensor | None = None
    ) -> ChainedPosterior:
        """``q(z_1 | x_o) q(z_2 | z_1, y)``."""

        def then(below: Tensor) -> Posterior:
            u = (below - self.mean) / self.scale
            return self.upper.posterior(u, _all(u), self._labels(context, len(u)))

        return ChainedPosterior(self.lower.posterior(features, observed), then, self._sizes)

    def log_joint(
        self,
        z: Tensor,
        features: Tensor,
        targets: Tensor,
        observed: Tensor,
        context: Tensor | None = None,
    ) -> Tensor:
        """``log p(x_o, z_1, z_2 | y)``, see `JointModel.log_joint`."""
        below, above = z.split(self._sizes, dim=-1)
        driven = self.lower.decode(below)
        log_p = self.lower.log_likelihood(driven, targets, observed).sum(-1)
        u = ((below[0] - self.mean) / self.scale).flatten(0, 1)
        given = self._labels(context, len(u))
        each = self.upper.log_joint(above.flatten(1, 2).unsqueeze(2), u, u, _all(u), given)
        return log_p + each.view(z.shape[:3]) - self.scale.log().sum()

    @staticmethod
    def _labels(context: Tensor | None, n: int) -> Tensor:
        assert context is not None
        return _repeated(context, n // max(len(context), 1))


def _repeated(rows: Tensor, times: int) -> Tensor:
    """Every row as often as there are samples of it, side by side."""
    return rows.repeat_interleave(times, 0)


def _all(rows: Tensor) -> Tensor:
    """A mask under which everything is observed, (1, n, d)."""
    return torch.ones(1, *rows.shape, dtype=torch.bool)
