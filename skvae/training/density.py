"""One VAE fitted for its latents and its density: linear start, prior, bound on held-out rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from skvae.distributions.columns import ColumnLikelihoods
from skvae.inference.ensemble import Table
from skvae.inference.importance import importance_sample, noise_block
from skvae.models.linear import LinearVAE, choose_n_components, fit_linear_vae
from skvae.models.priors import MixtureOfGaussians, Prior, StandardNormal, VampPrior
from skvae.models.start import decoder_start
from skvae.models.vae import VAE
from skvae.nn.inputs import EncoderInputs, quantile_edges
from skvae.training.data import Batch, TrainingTable, hold_out
from skvae.training.fit import COMPONENT_CANDIDATES, LINEAR_ROWS, Tensors
from skvae.training.loop import History, LoopSettings, train
from skvae.training.objectives import ImportanceWeightedBound

ENCODED_INPUTS, MIN_BINS, MAX_BINS = 320, 4, 24
# Rows that decide when to stop, and samples of the bound on each.
MOST_VALIDATION_ROWS, VALIDATION_SAMPLES = 2000, 32
# Entries that decide on the number of components.
COMPONENT_FRACTION = 0.05


@dataclass(frozen=True)
class DensitySettings:
    """What an estimator asks for; names as in the estimators."""

    n_components: int | str | None
    hidden_layer_sizes: tuple[int, ...]
    prior: str
    n_mixture: int
    n_importance_samples: int
    beta: float
    free_bits: float
    kl_warmup: float
    isotropic: bool
    weight_decay: float
    max_iter: int
    batch_size: int
    learning_rate: float
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int
    tol: float
    verbose: bool


@dataclass
class DensityReport:
    """What happened in a fit."""

    n_components: int = 0
    component_scores: dict[int, float] = field(default_factory=dict)
    n_linear_iter: int = 0
    history: History = field(default_factory=History)


class DensityFitter:
    """Fits one VAE to a table.

    Parameters
    ----------
    data : Tensors
    settings : DensitySettings
    seed : int
    """

    def __init__(self, data: Tensors, settings: DensitySettings, seed: int) -> None:
        self.data, self.settings, self.seed = data, settings, seed
        self.generator = torch.Generator().manual_seed(seed)
        self.likelihoods = ColumnLikelihoods(data.likelihoods)
        self.report = DensityReport()

    def fit(self) -> tuple[VAE, DensityReport]:
        """Train everything."""
        order = torch.randperm(len(self.data.features), generator=self.generator)
        n_held_out = 0
        if self.settings.early_stopping and self.settings.hidden_layer_sizes:
            n_held_out = min(
                int(self.settings.validation_fraction * len(order)), MOST_VALIDATION_ROWS
            )
        held_out, rows = order[:n_held_out].sort().values, order[n_held_out:].sort().values
        model = self._model(rows)
        if self.settings.hidden_layer_sizes and self.settings.max_iter > 0:
            self._train(model, rows, held_out)
        model.eval().requires_grad_(False)
        return model, self.report

    # Start ----------------------------------------------------------------------------------

    def _model(self, rows: Tensor) -> VAE:
        data, settings = self.data, self.settings
        linear = self._linear(rows)
        free = self.likelihoods.init_free(data.targets[rows], data.observed[rows])
        start = decoder_start(linear, self.likelihoods, data.specs, free)
        model = VAE(
            [linear],
            [start],
            self.likelihoods,
            self._inputs(rows),
            settings.hidden_layer_sizes,
            1,
            self.generator,
        )
        model.prior = self._prior(model, rows)
        return model

    def _linear(self, rows: Tensor) -> LinearVAE:
        data, settings = self.data, self.settings
        some = rows[torch.randperm(len(rows), generator=self.generator)[:LINEAR_ROWS]]
        x = data.features[some].double()
        observed = data.observed[some].index_select(1, data.feature_columns)
        weight = data.weight[some].double()
        k = settings.n_components
        if k is None:
            k = x.shape[1]
        elif isinstance(k, str):
            held_out = hold_out(observed, COMPONENT_FRACTION, 1, self.generator) >= 0
            most = max(2, min(x.shape[1], len(x) // 5))
            candidates = [c for c in COMPONENT_CANDIDATES if c < most] or [1]
            k, self.report.component_scores = choose_n_components(
                x, observed, held_out, candidates, sample_weight=weight
            )
        self.report.n_components = k
        # The linear VAE alone is the model: then it is worth its last digits.
        alone = not settings.hidden_layer_sizes
        linear = fit_linear_vae(
            x,
            observed,
            k,
            sample_weight=weight,
            isotropic=settings.isotropic,
            max_iter=2000 if alone else 200,
            tol=1e-7 if alone else 1e-3,
            ridge=1e-6 if alone else 1e-3,
        )
        self.report.n_linear_iter = linear.n_iter
        return LinearVAE(
            linear.loadings.float(), linear.mean.float(), linear.noise_variance.float()
        )

    def _inputs(self, rows: Tensor) -> EncoderInputs:
        data = self.data
        seen = data.observed[rows].index_select(1, data.feature_columns)
        n_bins = min(max(ENCODED_INPUTS // data.features.shape[1], MIN_BINS), MAX_BINS)
        return EncoderInputs(*quantile_edges(data.features[rows], seen, n_bins))

    def _prior(self, model: VAE, rows: Tensor) -> Prior:
        settings, data = self.settings, self.data
        if settings.prior == "normal":
            return StandardNormal()
        chosen = rows[torch.randperm(len(rows), generator=self.generator)[: settings.n_mixture]]
        observed = data.observed[chosen].index_select(1, data.feature_columns)
        if settings.prior == "vamp":
            # Holes are filled with the mean: pseudo-rows are whole.
            return VampPrior(data.features[chosen].where(observed, 0.0))
        with torch.no_grad():
            centres = model.posterior(data.features[chosen], observed.unsqueeze(0)).centre
        return MixtureOfGaussians(centres)

    # Training -------------------------------------------------------------------------------

    def _train(self, model: VAE, rows: Tensor, held_out: Tensor) -> None:
        data, settings = self.data, self.settings
        table = TrainingTable(
            data.features[rows],
            data.targets[rows],
            data.observed[rows],
            torch.full_like(data.observed[rows], -1, dtype=torch.int8),
            data.weight[rows],
            data.feature_columns,
            1,
        )
        bound = ImportanceWeightedBound(
            settings.n_importance_samples, settings.beta, settings.free_bits
        )
        objective = WarmUp(bound, math.ceil(settings.kl_warmup * settings.max_iter))
        validate: Callable[[VAE], Tensor] | None = None
        if len(held_out):
            part = Table(
                data.features[held_out],
                data.targets[held_out],
                data.observed[held_out],
                data.feature_columns,
            )
            noise = noise_block(VALIDATION_SAMPLES, model.n_components, self.seed)
            validate = HeldOutBound(part, data.weight[held_out], noise, settings.beta)
        loop = LoopSettings(
            max_iter=settings.max_iter,
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            weight_decay=torch.tensor([settings.weight_decay]),
            n_iter_no_change=settings.n_iter_no_change if settings.early_stopping else 0,
            tol=settings.tol,
            verbose=settings.verbose,
        )
        self.report.history = train(model, table, objective, validate, loop, self.generator)


@dataclass
class WarmUp:
    """A bound whose divergence counts more from step to step (Bowman et al. 2016).

    Attributes
    ----------
    bound : ImportanceWeightedBound
    n_steps : int
        Steps until it counts in full; 0 for from the start.
    """

    bound: ImportanceWeightedBound
    n_steps: int
    taken: int = 0

    def __call__(
        self, model: VAE, table: TrainingTable, batch: Batch, generator: torch.Generator
    ) -> Tensor:
        bound = self.bound
        if self.taken < self.n_steps:
            self.taken += 1
            bound = replace(bound, beta=bound.beta * self.taken / self.n_steps)
        return bound(model, table, batch, generator)


@dataclass(frozen=True, eq=False)
class HeldOutBound:
    """Mean bound of held-out rows, always with the same noise; shape (n_members,)."""

    table: Table
    weight: Tensor
    noise: Tensor
    beta: float

    @torch.no_grad()
    def __call__(self, model: VAE) -> Tensor:
        observed, observed_features = self.table.masks
        sample = importance_sample(
            model,
            self.table.features,
            self.table.targets,
            observed,
            observed_features,
            self.noise,
            self.beta,
        )
        return (sample.log_prob * self.weight).mean(1).float()
