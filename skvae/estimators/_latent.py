"""Encoded rows to latents, densities and draws, and latents back to encoded rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from skvae.estimators._prediction import scaled_table, within_domain
from skvae.inference import Table, noise_block
from skvae.inference.ensemble import DECODED_AT_ONCE
from skvae.inference.importance import AnyPosterior, ImportanceSample, mixture_sample
from skvae.inference.proposals import Amortized, Proposal, divided
from skvae.inference.scored import ScoredRows, Share
from skvae.inference.session import where_it_is
from skvae.models.hierarchical import LayeredPosterior
from skvae.models.layers import LayeredNormal
from skvae.models.priors import ConditionalNormal
from skvae.models.vae import VAE
from skvae.tabular.scaling import TableScaler

ENCODED_AT_ONCE = 8192
# One in so many samples of a log-density comes from the prior.
PRIOR_SHARE = 4
# Samples of z that the moments of several stochastic layers are taken over.
MOMENT_SAMPLES = 64


@dataclass(frozen=True, eq=False)
class Rows:
    """Encoded rows.

    Attributes
    ----------
    values : ndarray of shape (n, p)
        As `TableCodec.encode` returns them, without given columns.
    observed : bool ndarray of shape (n, p)
    context : Tensor of shape (n, n_context) or None
        Standardised numbers of the given columns.
    given : ndarray of shape (n, n_conditions) or None
        The given columns as `TableCodec.encode` returns them.
    """

    values: np.ndarray
    observed: np.ndarray
    context: Tensor | None = None
    given: np.ndarray | None = None

    def only(self, columns: np.ndarray) -> Rows:
        """The rows with nothing but these columns observed, bool (p,)."""
        return replace(self, observed=self.observed & columns)

    def take(self, some: slice | np.ndarray) -> Rows:
        """Some of the rows."""
        return Rows(
            self.values[some],
            self.observed[some],
            None if self.context is None else self.context[some],
            None if self.given is None else self.given[some],
        )


@dataclass(frozen=True, eq=False)
class LatentModel:
    """One fitted VAE over a scaled table.

    Attributes
    ----------
    model : VAE
        With one member.
    scaler : TableScaler
    seed : int
        Of the noise that all rows share.
    proposal : Proposal
        How rows get their posteriors.
    """

    model: VAE
    scaler: TableScaler
    seed: int
    proposal: Proposal = field(default_factory=Amortized, kw_only=True)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @where_it_is
    def table(self, rows: Rows) -> Table:
        """Rows as the model takes them."""
        table = scaled_table(self.scaler, rows.values, rows.observed)
        return replace(table, context=self._here(rows.context))

    def _here(self, context: Tensor | None) -> Tensor | None:
        return None if context is None else context.to(self.device)

    def parts(self, rows: Rows, size: int) -> Iterator[Table]:
        """The same in parts of at most `size` rows, made one by one: levels are wide as features.

        One empty part of no rows.
        """
        for start in range(0, max(len(rows.values), 1), size):
            yield self.table(rows.take(slice(start, start + size)))

    # Latents --------------------------------------------------------------------------------

    @where_it_is
    def posterior(self, part: Table) -> AnyPosterior:
        """``q(z | x_o)`` of the rows of a table."""
        return self.proposal.propose(self.model, part).best

    @where_it_is
    def moments(self, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        """Posterior means and standard deviations, both float64 of shape (n, k)."""
        noise = noise_block(MOMENT_SAMPLES, self.model.n_components, self.seed)
        parts = [self.posterior(part).moments(noise) for part in self.parts(rows, ENCODED_AT_ONCE)]
        means, deviations = zip(*parts, strict=True)
        return (
            torch.cat(means, dim=1)[0].double().numpy(),
            torch.cat(deviations, dim=1)[0].double().numpy(),
        )

    def means(self, rows: Rows) -> np.ndarray:
        """Posterior means alone."""
        return self.moments(rows)[0]

    @where_it_is
    def decode(self, z: np.ndarray, context: Tensor | None = None) -> np.ndarray:
        """Means and most probable codes given latents (n, k), shape (n, p)."""
        parts = [
            self.model.likelihoods.mean(driven, self._free)[0]
            for driven in self._driven(torch.as_tensor(np.array(z, dtype=np.float32)), context)
        ]
        return self._raw(torch.cat(parts))

    @where_it_is
    def transfer(self, z: np.ndarray, old: Tensor | None, new: Tensor | None) -> np.ndarray:
        """The latents (n, k) that stand under a new context where `z` stands under the old one."""
        prior = self.model.prior
        if not isinstance(prior, LayeredNormal | ConditionalNormal) or not prior.n_context:
            return z  # the prior is the same for all contexts
        latents = torch.as_tensor(z).float()[None]
        white = prior.whiten(latents, self._here(old))
        return prior.place(white, self._here(new))[0].double().numpy()

    # Draws ----------------------------------------------------------------------------------

    @where_it_is
    def sample(
        self, z: Tensor, generator: torch.Generator, context: Tensor | None = None
    ) -> np.ndarray:
        """Draws from ``p(x | z)`` for latents (n, k), shape (n, p)."""
        parts = [
            self.model.likelihoods.sample(driven, self._free, generator)[0]
            for driven in self._driven(z, context)
        ]
        return self._raw(torch.cat(parts))

    @where_it_is
    def complete(self, rows: Rows, n_versions: int, n_samples: int) -> np.ndarray:
        """Draws of whole rows given what they show, shape (n_versions, n, p).

        ``z`` by sampling-importance-resampling (Rubin 1987), then ``x`` given z, numbers as if
        Gaussian. All rows share the random numbers: a row's draws depend on the row alone.
        """
        likelihoods = self.model.likelihoods
        normal = noise_block(n_versions, likelihoods.n_columns, self.seed).unsqueeze(1)
        levels = (torch.arange(n_versions).double() + 0.5) / n_versions
        finite = likelihoods.finite.nonzero().squeeze(1).tolist()
        # Neighbours in a Sobol sequence are far apart, every eighth point is not.
        order = torch.randperm(n_samples, generator=torch.Generator().manual_seed(self.seed))
        drawn = []
        for sample in self.samples(rows, n_samples):
            below = sample.weights[0][:, order].cumsum(-1)
            pick = torch.searchsorted(below, levels.expand(len(below), -1).contiguous())
            own = torch.arange(len(pick))[:, None]
            pick = order[pick.clamp(max=n_samples - 1)]
            driven = sample.driven[0][own, pick].transpose(0, 1)  # (n_versions, batch, n_driven)
            statistics = likelihoods.statistics(driven, self._free[0])
            spread = likelihoods.variance(driven, self._free[0]).sqrt()
            part = likelihoods.point(statistics) + spread * normal
            for j in finite:  # by the inverse of the distribution function
                share = statistics[..., likelihoods.stat_columns == j].cumsum(-1)[..., :-1]
                part[..., j] = (share < torch.special.ndtr(normal[..., j, None])).sum(-1)
            drawn.append(part)
        return self._raw(torch.cat(drawn, dim=1))

    def _driven(self, z: Tensor, context: Tensor | None) -> Iterator[Tensor]:
        """Decoder outputs for latents (n, k), chunk by chunk (1, n, n_driven)."""
        context = self._here(context)
        for start in range(0, len(z), ENCODED_AT_ONCE):
            rows = slice(start, start + ENCODED_AT_ONCE)
            yield self.model.decode(z[None, rows], None if context is None else context[rows])

    # Densities ------------------------------------------------------------------------------

    @where_it_is
    def log_prob(self, rows: Rows, method: str, n_samples: int) -> np.ndarray:
        """Log-density of every row's observed part in the table's units, float64 of shape (n,)."""
        jacobian = self.scaler.log_jacobians(rows.observed)
        if method == "prior":
            parts = self._by_prior(rows, n_samples)
        elif method == "elbo":
            parts = (s.log_weights.mean(-1) for s in self._best_samples(rows, n_samples))
        else:
            parts = (s.log_prob for s in self._defensive_samples(rows, n_samples))
        scores = torch.cat(list(parts), dim=1)[0].numpy() + jacobian
        return np.where(rows.observed.any(axis=1), scores, 0.0)  # saying nothing is certain

    @where_it_is
    def effective_sample_size(self, rows: Rows, n_samples: int) -> np.ndarray:
        """Of importance sampling, shape (n,)."""
        parts = self._defensive_samples(rows, n_samples)
        return torch.cat([s.effective_sample_size for s in parts], dim=1)[0].double().numpy()

    @torch.no_grad()
    def samples(self, rows: Rows, n_samples: int) -> Iterator[ImportanceSample]:
        """Weighted samples from the rows' posteriors, chunk by chunk."""
        noise = noise_block(n_samples, self.model.n_components, self.seed)
        for part in self.parts(rows, self._rows_at_once(n_samples)):
            yield self.sample_from(part, self._mixture(part), noise)

    @torch.no_grad()
    def _best_samples(self, rows: Rows, n_samples: int) -> Iterator[ImportanceSample]:
        """From the best posterior of every row alone."""
        noise = noise_block(n_samples, self.model.n_components, self.seed)
        for part in self.parts(rows, self._rows_at_once(n_samples)):
            yield self.sample_from(part, (self.posterior(part),), noise)

    @torch.no_grad()
    def _defensive_samples(self, rows: Rows, n_samples: int) -> Iterator[ImportanceSample]:
        """From the rows' posteriors and the prior, chunk by chunk."""
        noise, draws = self.shared_samples(n_samples)
        for part in self.parts(rows, self._rows_at_once(n_samples)):
            yield self.sample_from(part, self._mixture(part), noise, draws(part))

    def _mixture(self, part: Table) -> tuple[AnyPosterior, ...]:
        return self.proposal.propose(self.model, part).mixture

    def sample_from(
        self,
        part: Table,
        posteriors: tuple[AnyPosterior, ...],
        noise: Tensor,
        draws: Tensor | None = None,
    ) -> ImportanceSample:
        """Weighted samples of a part, from posteriors and draws from the prior."""
        noises, observed = divided(noise, len(posteriors)), part.masks[0]
        return mixture_sample(
            self.model, posteriors, noises, part.targets, observed, draws, part.context
        )

    def shared_samples(self, n_samples: int) -> tuple[Tensor, Callable[[Table], Tensor]]:
        """Noise (m, k) for posteriors, and draws (1, 1 or batch, n, k) from the prior by part.

        None of the latter where the encoder's posterior is exact, and all samples of one weight.
        """
        n_prior = 0 if self.model.exact else n_samples // PRIOR_SHARE
        noise = noise_block(n_samples - n_prior, self.model.n_components, self.seed)
        return noise, self._prior_draws(n_prior)

    def _prior_draws(self, n: int) -> Callable[[Table], Tensor]:
        """Draws from the prior, the same noise for all rows; (1, 1 or batch, n, k) for a part."""
        generator = torch.Generator().manual_seed(self.seed)
        model, prior = self.model, self.model.prior
        if not n:
            return lambda part: torch.empty(1, 1, 0, model.n_components)
        if not isinstance(prior, LayeredNormal | ConditionalNormal) or not prior.n_context:
            shared = prior.sample(n, model, generator).unsqueeze(1)
            return lambda part: shared
        noise = torch.randn(1, 1, n, model.n_components, generator=generator)
        loose = prior.draw_loose((1, 1, n), generator)

        def place(part: Table) -> Tensor:
            own = noise.expand(-1, len(part.features), -1, -1)
            return prior.place(own, part.context, loose)

        return place

    @where_it_is
    def layer_divergences(self, rows: Rows, n_samples: int) -> np.ndarray:
        """``KL(q || p)`` of every stochastic layer given the layers before it, (n, n_layers).

        Means over samples of ``log q - log p``.
        """
        noise = noise_block(n_samples, self.model.n_components, self.seed)
        model, parts = self.model, []
        for part in self.parts(rows, self._rows_at_once(n_samples)):
            posterior = self.posterior(part)
            if isinstance(posterior, LayeredPosterior):
                z, log_q = posterior.rsample_layers(noise)
                log_p = posterior.model.prior.log_prob_layers(z, part.context)
            else:
                z, own = posterior.rsample(noise)
                log_q, log_p = [own], [model.log_prior(z, part.context)]
            each = [q - p for q, p in zip(log_q, log_p, strict=True)]
            parts.append(torch.stack(each, dim=-1)[0].double().mean(1))
        return torch.cat(parts).numpy()

    @torch.no_grad()
    def _by_prior(self, rows: Rows, n_samples: int) -> Iterator[Tensor]:
        """Mean likelihood over draws from the prior, the same for all rows under one context."""
        model, draws = self.model, self._prior_draws(n_samples)
        for part in self.parts(rows, self._rows_at_once(n_samples)):
            z = draws(part)
            if model.context.decoded:
                z = z.expand(-1, len(part.features), -1, -1)
            driven = model.decode(z, part.context)
            each = model.log_likelihood(driven, part.targets, part.masks[0]).sum(-1)
            yield each.double().logsumexp(-1) - math.log(n_samples)

    @where_it_is
    def scored(self, rows: Rows) -> ScoredRows:
        """Rows beside the model, for those who look into it."""
        jacobian = self.scaler.log_jacobians(rows.observed)
        silent = ~rows.observed.any(axis=1)
        return ScoredRows((Share(self.model, self.table(rows)),), jacobian, silent, self.seed)

    # Units ----------------------------------------------------------------------------------

    @property
    def _free(self) -> Tensor:
        return self.model.free_parameters[:, 0]

    @staticmethod
    def _rows_at_once(n_samples: int) -> int:
        return max(1, DECODED_AT_ONCE // n_samples)

    def _raw(self, targets: Tensor) -> np.ndarray:
        return within_domain(self.scaler, self.scaler.from_targets(targets.double().numpy()))
