"""From the parameters of a `VAETransformer` to its fitted model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn

from skvae.estimators._combinations import warn_of_few_conditions, warn_of_no_zeros
from skvae.estimators._conditions import Conditions
from skvae.estimators._latent import LatentModel, Rows
from skvae.estimators._latent_table import AGGREGATED_ROWS
from skvae.estimators._loadings import LatentLoadings
from skvae.inference.session import seeded_torch
from skvae.models.sparse import SparseVAE
from skvae.training.density import DensityFitter, DensitySettings
from skvae.training.run import current_run

# Rows over which `layer_divergences_` is averaged.
DIVERGENCE_ROWS = 1000


@contextmanager
def _seeded_for_users(seed: int) -> Iterator[None]:
    """Users' modules may draw, in dropout: from torch's own generator, part of checkpoints then."""
    with seeded_torch(seed) as generators:
        run = current_run()
        run.generators += generators
        try:
            yield
        finally:
            del run.generators[-len(generators) :]


class FittedTransformer(LatentLoadings):
    """Fits the model that the parameters name, and publishes what came of it."""

    @property
    def _is_sparse(self) -> bool:
        return isinstance(self.decoder, str)

    def _fit_model(self, X: Any, weight: np.ndarray) -> None:
        rows = self._training_rows(X)
        encoded = self._tensors(rows.values, rows.observed, weight)
        if encoded is None:
            self._refuse_constant_table(len(weight), "embed")
        tensors, scaler = encoded
        first = self._layers[0] if self._layers else self.n_components
        self._check_width(first, tensors.features.shape[1])
        tensors = replace(tensors, context=rows.context)
        seed = self._seed()
        fitter = DensityFitter(tensors, self._fit_settings(len(weight)), seed)
        users = isinstance(self.encoder, nn.Module) or isinstance(self.decoder, nn.Module)
        with _seeded_for_users(seed) if users else nullcontext():
            model, report = fitter.fit()
            proposal = fitter.propose(model)
        encoder = LatentModel(model, scaler, seed)
        self._latent = replace(encoder, proposal=proposal)
        self._training_part = encoder.table(rows).take(slice(AGGREGATED_ROWS))
        some = rows.take(slice(DIVERGENCE_ROWS))
        self.layer_divergences_ = encoder.layer_divergences(some, 32).mean(axis=0)
        self._check_finite(encoder, some, self.layer_divergences_)
        self._publish_density(report)
        if rows.given is not None and self.conditioning == "prior" and not self._layers:
            warn_of_few_conditions(rows.given, self.n_components_)
        if isinstance(model, SparseVAE) and self.n_components_ > 1 and model.is_open.all():
            warn_of_no_zeros()
        self.matching_scores_ = [scores[0] for scores in report.matching.scores]
        self._n_features_out = self.n_components_

    def _training_rows(self, X: Any) -> Rows:
        values, observed = self._codec.encode(X)
        self._conditions = None
        if self.condition_on is not None:
            self._conditions = Conditions(self.condition_on, self._codec, values, observed)
        return self._split(values, observed)

    def _chosen_likelihoods(self) -> dict[str, str]:
        first = "heteroscedastic" if self._hidden and not self._is_sparse else "gaussian"
        return {**super()._chosen_likelihoods(), "continuous": first}

    def _fit_settings(self, n_rows: int) -> DensitySettings:
        n_mixture = self.n_prior_components
        if isinstance(n_mixture, str):
            n_mixture = np.clip(n_rows // 15, 8, 128)
        return self._density_settings(
            self._hidden,
            int(np.clip(4 * n_rows, 100, 8000)),
            n_components=self._layers[0] if self._layers else self.n_components,
            layers=self._layers,
            prior=self.prior,
            n_mixture=int(n_mixture),
            free_bits=float(self.free_bits),
            kl_warmup=float(self.kl_warmup),
            isotropic=self.noise == "isotropic",
            noise_variance=None if isinstance(self.noise, str) else float(self.noise),
            rotation=self.rotation,
            conditioning=self.conditioning,
            hierarchy=self.hierarchy,
            layer_inference=self.layer_inference,
            inference=self.inference,
            encoder=self.encoder,
            decoder=None if self._is_sparse else self.decoder,
            sparse=self._is_sparse,
        )
