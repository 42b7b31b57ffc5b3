"""``p(x, z | y)`` of a fitted classifier: densities, latents and rows by class."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from skvae.estimators._latent import LatentModel, Rows
from skvae.estimators._representation import ColumnVectors, LatentVectors
from skvae.inference import Table, noise_block
from skvae.inference.scored import ScoredRows, Share
from skvae.inference.session import where_it_is
from skvae.models.chained import AuxiliaryModel, StackedModel
from skvae.models.joint import JointModel
from skvae.models.semi_supervised import ClassConditionalVAE, gaussian_log_prob

# Rows times classes times samples that are decoded at once.
DECODED_AT_ONCE = 40_000
# Samples of the upper latents for each of the lower ones.
UPPER_SAMPLES = 4
# Draws of the auxiliary latent among the samples of a density.
AUXILIARY_SAMPLES = 8


@dataclass(frozen=True, eq=False)
class ClassDensity:
    """The generative side of a model with classes.

    Attributes
    ----------
    latent : LatentModel
        M1, which also knows the table's units.
    model : ClassConditionalVAE
        Of the table, or of M1's latents.
    representation : ColumnVectors or LatentVectors
    prior : ndarray of shape (n_classes,)
        ``p(y)``.
    """

    latent: LatentModel
    model: ClassConditionalVAE
    representation: ColumnVectors | LatentVectors
    prior: np.ndarray

    @property
    def device(self) -> torch.device:
        """Where the models are."""
        return self.latent.device

    @property
    def on_latents(self) -> bool:
        """Whether the model is one of M1's latents: M1+M2."""
        return isinstance(self.representation, LatentVectors)

    # Latents --------------------------------------------------------------------------------

    @where_it_is
    def latents(self, rows: Rows, probabilities: np.ndarray) -> np.ndarray:
        """``E[z | x_o]`` over classes, shape (n, k)."""
        parts = [np.zeros((0, self.model.vae.n_components))]
        size = max(1, DECODED_AT_ONCE // len(self.prior))
        for start in range(0, len(probabilities), size):
            part = slice(start, start + size)
            table, vectors = self.latent.table(rows.take(part)), self._vectors(rows.take(part))
            auxiliary = self._auxiliary(vectors, 1)
            centres = []
            for label in torch.eye(len(self.prior)):
                context = label.expand(len(table.features), -1)
                if auxiliary is not None:
                    context = torch.cat([context, auxiliary[0][0]], dim=1)
                posterior = self.model.vae.posterior(table.features, table.masks[1], context)
                centres.append(posterior.centre[0].double().numpy())
            parts.append(np.einsum("nc,cnk->nk", probabilities[part], np.stack(centres)))
        return np.concatenate(parts)

    # Densities ------------------------------------------------------------------------------

    @where_it_is
    def log_prob(self, rows: Rows, n_samples: int) -> np.ndarray:
        """``log p(x_o)`` in the units of the columns, float64 of shape (n,)."""
        each = self._through_latents if self.on_latents else self._of_columns
        decoded = n_samples * len(self.prior) * (UPPER_SAMPLES if self.on_latents else 1)
        size = max(1, DECODED_AT_ONCE // decoded)
        parts = [np.zeros(0)]
        for start in range(0, len(rows.values), size):
            parts.append(each(rows.take(slice(start, start + size)), n_samples))
        jacobian = self.latent.scaler.log_jacobians(rows.observed)
        scores = np.concatenate(parts) + jacobian
        return np.where(rows.observed.any(axis=1), scores, 0.0)  # saying nothing is certain

    def _of_columns(self, rows: Rows, n_samples: int) -> np.ndarray:
        table, vectors = self.latent.table(rows), self._vectors(rows)
        columns, of_features = table.masks
        both = torch.cat([columns[0], of_features[0]], dim=1)
        auxiliary = self._auxiliary(vectors, AUXILIARY_SAMPLES)
        n_draws = 1 if auxiliary is None else AUXILIARY_SAMPLES
        seed, k = self.latent.seed, self.model.vae.n_components
        noise = noise_block(max(n_samples // n_draws, 2), k, seed)
        draws: list[tuple[Tensor | None, Tensor]] = auxiliary or [(None, torch.zeros(1))]
        total = []
        for a, log_q in draws:
            each = self._by_class(
                table.features, table.targets, both, noise, vectors, a
            )  # (n, C, samples)
            total.append(each.double() - log_q[:, None, None])
        return self._over_classes(torch.cat(total, dim=2))

    def _by_class(
        self,
        features: Tensor,
        targets: Tensor,
        observed: Tensor,
        noise: Tensor,
        vectors: Tensor,
        auxiliary: Tensor | None,
    ) -> Tensor:
        """Log-weights, (n, n_classes, n_samples)."""
        each = []
        for label in torch.eye(len(self.prior)):
            own = label.expand(len(features), -1)
            each.append(
                self.model.log_weights(features, targets, observed, own, noise, vectors, auxiliary)
            )
        return torch.stack(each, dim=1)

    def _over_classes(self, log_weights: Tensor) -> np.ndarray:
        """From (n, n_classes, n_samples) to (n,)."""
        log_prior = torch.as_tensor(np.log(self.prior))
        joint = log_weights.double().logsumexp(2) - math.log(log_weights.shape[2]) + log_prior
        return joint.logsumexp(1).numpy()

    def _through_latents(self, rows: Rows, n_samples: int) -> np.ndarray:
        """M1's samples, weighed by the density that M2 gives them instead of M1's prior."""
        assert isinstance(self.representation, LatentVectors)
        representation, lower = self.representation, self.latent
        noise = noise_block(n_samples, lower.model.n_components, lower.seed)
        upper = noise_block(UPPER_SAMPLES, self.model.vae.n_components, lower.seed)
        table: Table = lower.table(rows)
        columns, _ = table.masks
        z, log_q = lower.posterior(table).rsample(noise)
        driven = lower.model.decode(z)
        log_p = lower.model.log_likelihood(driven, table.targets, columns).sum(-1)
        scale, mean = self._units(representation)
        flat = ((z[0] - mean.float()) / scale.float()).flatten(0, 1)
        seen = torch.ones(len(flat), 2 * flat.shape[1], dtype=torch.bool)
        each = self._by_class(flat, flat, seen, upper, flat, None)
        density = torch.as_tensor(self._over_classes(each)).view(len(rows.values), -1)
        density = density - scale.log().sum()
        weights = log_p[0].double() + density - log_q[0].double()
        return (weights.logsumexp(1) - math.log(n_samples)).numpy()

    @where_it_is
    def scored(self, rows: Rows) -> ScoredRows:
        """Rows beside the models of all classes, for those who look into them."""
        alone = self.latent.scored(rows)
        (share,), vectors = alone.shares, self._vectors(rows)
        model, shares = self._joint_model, []
        for label, weight in zip(torch.eye(len(self.prior)), self.prior, strict=True):
            context = torch.cat([label.expand(len(vectors), -1), vectors], dim=1)
            table = replace(share.table, context=context)
            shares.append(Share(model, table, float(weight)))
        return replace(alone, shares=tuple(shares))

    @property
    def _joint_model(self) -> JointModel:
        """Of a row and all of its latents, given one-hot labels and `_vectors`."""
        model, auxiliary = self.model, self.model.auxiliary
        if isinstance(self.representation, LatentVectors):
            scale, mean = self._units(self.representation)
            return StackedModel(self.latent.model, model.vae, mean.float(), scale.float())
        if auxiliary is not None:
            return AuxiliaryModel(model, auxiliary, len(self.prior))
        return model.vae

    # Rows -----------------------------------------------------------------------------------

    @where_it_is
    def sample(self, codes: np.ndarray, generator: torch.Generator) -> np.ndarray:
        """One row of every class in `codes` (n,), as the codec encodes rows (n, p)."""
        label = torch.eye(len(self.prior))[torch.as_tensor(codes)]
        z, context = self.model.sample_latents(label, generator)
        if not isinstance(self.representation, LatentVectors):
            own = LatentModel(self.model.vae, self.latent.scaler, self.latent.seed)
            return own.sample(z, generator, context)
        vae, representation = self.model.vae, self.representation
        driven = vae.decode(z[None], context)
        lower = vae.likelihoods.sample(driven, vae.free_parameters[:, 0], generator)[0]
        scale, mean = self._units(representation)
        return self.latent.sample((lower.double() * scale + mean).float(), generator)

    @staticmethod
    def _units(representation: LatentVectors) -> tuple[Tensor, Tensor]:
        """Scale and mean of M1's own latents, float64."""
        own = slice(representation.n_own)
        scale, mean = representation.scale[own], representation.mean[own]
        return torch.as_tensor(scale), torch.as_tensor(mean)

    # What the auxiliary latent is drawn from ------------------------------------------------

    def _vectors(self, rows: Rows) -> Tensor:
        if self.model.auxiliary is None:
            return torch.zeros(len(rows.values), 0)
        return torch.as_tensor(self.representation.versions(rows).mean(axis=0))

    def _auxiliary(self, vectors: Tensor, n_draws: int) -> list[tuple[Tensor, Tensor]] | None:
        """Draws of ``a`` (n, n_auxiliary) with their log-densities (n,), noise shared by rows."""
        if self.model.auxiliary is None:
            return None
        mean, log_scale = self.model.auxiliary.posterior(vectors)
        noise = noise_block(max(n_draws, 2), mean.shape[1], self.latent.seed)[:n_draws]
        if n_draws == 1:
            noise = torch.zeros_like(noise)
        return [
            (mean + log_scale.exp() * e, gaussian_log_prob(e.expand_as(mean), log_scale))
            for e in noise
        ]


@dataclass(frozen=True, eq=False)
class RowDensity:
    """What M1, which knows no classes, offers in place of a `ClassDensity`.

    Attributes
    ----------
    latent : LatentModel
    shares : ndarray of shape (m, n_classes)
        Class probabilities of training rows: those that stand for a class.
    mean, std : ndarray of shape (m, k)
        Of their posteriors.
    """

    latent: LatentModel
    shares: np.ndarray
    mean: np.ndarray
    std: np.ndarray

    @property
    def device(self) -> torch.device:
        """Where M1 is."""
        return self.latent.device

    def log_prob(self, rows: Rows, n_samples: int) -> np.ndarray:
        """``log p(x_o)`` in the units of the columns, float64 of shape (n,)."""
        return self.latent.log_prob(rows, "importance", n_samples)

    def scored(self, rows: Rows) -> ScoredRows:
        """Rows beside M1, for those who look into it."""
        return self.latent.scored(rows)

    @where_it_is
    def sample(self, codes: np.ndarray, generator: torch.Generator) -> np.ndarray:
        """Rows around training rows of every class in `codes` (n,), encoded (n, p)."""
        share = torch.as_tensor(self.shares[:, codes].T)
        chosen = torch.multinomial(share, 1, generator=generator).squeeze(1).numpy()
        mean, std = torch.as_tensor(self.mean[chosen]), torch.as_tensor(self.std[chosen])
        z = mean + std * torch.randn(mean.shape, generator=generator, dtype=mean.dtype)
        return self.latent.sample(z.float(), generator)
