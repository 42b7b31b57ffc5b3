"""Models of a table and its labels, of which most are unknown.

M2 (Kingma et al. 2014) is ``p(y) p(z) p(x | y, z)``; auxiliary models (Maaloe et al. 2016) add a
latent ``a`` that makes the posterior richer. The network ``q(y | x)`` is the classifier.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from skvae.models.layers import bounded
from skvae.models.priors import standard_normal_log_prob
from skvae.models.vae import VAE
from skvae.nn.mlp import MemberMLP


class LabelNetworks(nn.Module):
    """``q(y | x)`` of several members: multinomial logistic regressions that networks bend.

    Parameters
    ----------
    weight : Tensor of shape (n_members, width, n_classes)
        Of the linear start.
    bias : Tensor of shape (n_members, n_classes)
    hidden_layer_sizes : sequence of int
    generator : torch.Generator
    n_auxiliary : int, default=0
        Dimensions of ``a``, which the networks see beside the row: ``q(y | x, a)``.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        hidden_layer_sizes: Sequence[int],
        generator: torch.Generator,
        n_auxiliary: int = 0,
    ) -> None:
        super().__init__()
        self.n_members, width, n_classes = weight.shape
        self.weight = nn.Parameter(weight.clone())
        self.bias = nn.Parameter(bias.clone().unsqueeze(1))
        sizes = [width + n_auxiliary, *hidden_layer_sizes, n_classes]
        self.network = MemberMLP(self.n_members, sizes, generator)

    def forward(self, vectors: Tensor, auxiliary: Tensor | None = None) -> Tensor:
        """Log-probabilities, (batch, width) to (n_members, batch, n_classes)."""
        linear = vectors @ self.weight + self.bias
        seen = vectors if auxiliary is None else torch.cat([vectors, auxiliary], dim=-1)
        return (linear + self.network(seen.expand(self.n_members, -1, -1))).log_softmax(-1)


class Auxiliary(nn.Module):
    """``q(a | x)`` and ``p(a | y, z)``, the latter with x unless the decoder sees ``a``.

    Parameters
    ----------
    width : int
        Numbers that stand for a row.
    n_components, n_classes : int
        Dimensions of ``z`` and of the label.
    n_auxiliary : int
    hidden_layer_sizes : sequence of int
    generator : torch.Generator
    skip : bool
        The skip deep generative model ``p(x | a, y, z)``; else ``p(x | y, z)``.
    """

    def __init__(
        self,
        width: int,
        n_components: int,
        n_classes: int,
        n_auxiliary: int,
        hidden_layer_sizes: Sequence[int],
        generator: torch.Generator,
        skip: bool,
    ) -> None:
        super().__init__()
        self.n_auxiliary, self.skip = n_auxiliary, skip
        n_outputs = 2 * n_auxiliary
        self.encoder = MemberMLP(1, [width, *hidden_layer_sizes, n_outputs], generator)
        above = n_components + n_classes + (0 if skip else width)
        self.prior = MemberMLP(1, [above, *hidden_layer_sizes, n_outputs], generator)

    def posterior(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log scale of ``q(a | x)``, both (batch, n_auxiliary)."""
        mean, raw = self.encoder(vectors.unsqueeze(0))[0].chunk(2, dim=-1)
        return mean, bounded(raw)

    def generative(self, z: Tensor, label: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log scale of ``p(a | .)`` for z (batch, S, k) and one row of the rest each."""
        n_samples = z.shape[1]
        rest = label if self.skip else torch.cat([label, vectors], dim=-1)
        above = torch.cat([z, rest.unsqueeze(1).expand(-1, n_samples, -1)], dim=-1)
        out = self.prior(above.flatten(0, 1).unsqueeze(0))[0].unflatten(0, (-1, n_samples))
        mean, raw = out.chunk(2, dim=-1)
        return mean, bounded(raw)


class ClassConditionalVAE(nn.Module):
    """``p(x, z | y)``, or ``p(x, a, z | y)``, with its encoders.

    Parameters
    ----------
    vae : VAE
        Conditional on one-hot labels, followed by ``a`` if there is one.
    auxiliary : Auxiliary or None
    """

    def __init__(self, vae: VAE, auxiliary: Auxiliary | None = None) -> None:
        super().__init__()
        self.vae, self.auxiliary = vae, auxiliary

    @property
    def network_weights(self) -> list[nn.Parameter]:
        """Matrices that weight decay pulls to zero."""
        if self.auxiliary is None:
            return self.vae.network_weights
        own = (self.auxiliary.encoder, self.auxiliary.prior)
        return [*self.vae.network_weights, *(w for net in own for w in net.weights)]

    def draw_auxiliary(
        self, vectors: Tensor, generator: torch.Generator
    ) -> tuple[Tensor | None, Tensor]:
        """A draw of ``a`` from ``q(a | x)``, and its log-density (batch,)."""
        if self.auxiliary is None:
            return None, vectors.new_zeros(len(vectors))
        mean, log_scale = self.auxiliary.posterior(vectors)
        noise = torch.randn(mean.shape, generator=generator)
        return mean + log_scale.exp() * noise, gaussian_log_prob(noise, log_scale)

    def log_weights(
        self,
        features: Tensor,
        targets: Tensor,
        observed: Tensor,
        label: Tensor,
        noise: Tensor,
        vectors: Tensor,
        auxiliary: Tensor | None = None,
        beta: float = 1.0,
    ) -> Tensor:
        """``log p(x_o, [a,] z | y) - log q(z | x_o, y)`` at samples of z, (batch, n_samples).

        Parameters
        ----------
        features : Tensor of shape (batch, q)
        targets : Tensor of shape (batch, p)
        observed : bool Tensor of shape (batch, p + q)
            Masks over columns, then over features.
        label : Tensor of shape (batch, n_classes)
            One-hot.
        noise : Tensor of shape (1, batch, n_samples, k) or (n_samples, k)
        vectors : Tensor of shape (batch, width)
        auxiliary : Tensor of shape (batch, n_auxiliary), optional
        beta : float, default=1.0
            Weight of ``log p(z) - log q(z | x_o, y)``.
        """
        columns, of_features = observed.split([targets.shape[1], features.shape[1]], dim=1)
        context = label if auxiliary is None else torch.cat([label, auxiliary], dim=-1)
        z, log_q = self.vae.posterior(features, of_features[None], context).rsample(noise)
        driven = self.vae.decode(z, context)
        log_p = self.vae.log_likelihood(driven, targets, columns[None]).sum(-1)
        bound: Tensor = (log_p + beta * (self.vae.log_prior(z) - log_q))[0]
        if auxiliary is not None and self.auxiliary is not None:
            mean, log_scale = self.auxiliary.generative(z[0], label, vectors)
            away = (auxiliary.unsqueeze(1) - mean) * (-log_scale).exp()
            bound = bound + gaussian_log_prob(away, log_scale)
        return bound

    def sample_latents(self, label: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draws of ``z`` (n, k) and of the context (n, n_context) for one-hot labels (n, C)."""
        z = torch.randn(len(label), self.vae.n_components, generator=generator)
        if self.auxiliary is None:
            return z, label
        if not self.auxiliary.skip:  # the decoder does not look at it
            return z, torch.cat([label, label.new_zeros(len(z), self.auxiliary.n_auxiliary)], -1)
        mean, log_scale = self.auxiliary.generative(z.unsqueeze(1), label, label)
        noise = torch.randn(mean.shape, generator=generator)
        return z, torch.cat([label, (mean + log_scale.exp() * noise)[:, 0]], dim=-1)


def gaussian_log_prob(noise: Tensor, log_scale: Tensor) -> Tensor:
    """Log-density of ``mean + exp(log_scale) noise``, summed over the last dimension."""
    return standard_normal_log_prob(noise) - log_scale.sum(-1)
