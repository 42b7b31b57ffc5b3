"""From tensors of a table to a fitted ensemble: linear start, members, neighbours, weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from skvae.distributions.columns import ColumnLikelihoods
from skvae.inference.ensemble import (
    Density,
    Ensemble,
    GenerativeSource,
    MaskedSource,
    Source,
    Table,
)
from skvae.inference.importance import noise_block
from skvae.inference.neighbours import LocalSource
from skvae.inference.stacking import stack_weights
from skvae.models.linear import choose_n_components, fit_linear_vae
from skvae.models.start import decoder_start
from skvae.models.vae import VAE
from skvae.nn.inputs import EncoderInputs, fit_edges
from skvae.training.data import Tensors, TrainingTable, hold_out
from skvae.training.loop import History, LoopSettings, train
from skvae.training.objectives import ImportanceWeightedBound, MaskedReconstruction, Objective
from skvae.training.posterior_matching import whole_rows
from skvae.training.proposals import make_proposal
from skvae.training.run import current_run
from skvae.training.validation import HeldOutError, HeldOutLikelihood

N_REPLICAS = 2
COMPONENT_CANDIDATES = (1, 2, 3, 4, 6, 8, 12, 18, 27, 40)
# EM needs no more rows than this to place a linear model, and holds a (k, k) matrix for each.
LINEAR_ROWS = 10_000
VALIDATION_SAMPLES = 8
WEIGHING_ROWS = 4000
ENTRIES_TO_DECIDE = 100
# Inputs of the piecewise linear encoding over all features, and bins of one.
EXTRA_COMPONENTS = 8
# Squared error is a Gaussian log-density with this scale, up to a constant.
LOG_HALF_SCALE = 0.5 * math.log(0.5)


@dataclass(frozen=True)
class FitSettings:
    """What an estimator asks for; names as in the estimators."""

    n_components: int | str = "auto"
    hidden_layer_sizes: tuple[int, ...] = (96, 96)
    n_importance_samples: int = 5
    beta: float = 1.0
    max_iter: int = 2000
    batch_size: int = 128
    learning_rate: float = 5e-3
    weight_decays: tuple[float, ...] = (0.1, 1.0)
    validation_fraction: float = 0.03
    n_iter_no_change: int = 8
    tol: float = 1e-4
    early_stopping: bool = True
    n_posterior_samples: int = 32
    inference: str = "amortized"


@dataclass
class FitReport:
    """What happened in a fit."""

    n_components: int = 0
    component_scores: dict[int, float] = field(default_factory=dict)
    histories: dict[str, History] = field(default_factory=dict)
    n_linear_iter: int = 0


@dataclass(frozen=True, eq=False)
class HeldOutPredictions:
    """Errors at held-out entries, for calibration; regression units, all of shape (n, p).

    Attributes
    ----------
    error : ndarray
        Truth minus stacked prediction; of no meaning for categories.
    variance : ndarray
        What the density expects of the squared error.
    held_out : ndarray of bool
    """

    error: np.ndarray
    variance: np.ndarray
    held_out: np.ndarray


class EnsembleFitter:
    """Fits the linear VAE, the generative members and the masked members of one table."""

    def __init__(self, data: Tensors, settings: FitSettings, seed: int) -> None:
        self.data, self.settings, self.seed = data, settings, seed
        self.generator = torch.Generator().manual_seed(seed)
        self.report = FitReport()
        self.density = ColumnLikelihoods(data.likelihoods)
        self.regression = ColumnLikelihoods(data.regression_likelihoods)
        # Predictions of all sources are compared as statistics in column order.
        self.stat_columns = self.regression.stat_columns[self.regression.stat_order]
        self.truth = _as_statistics(data.regression_targets, self.regression, self.stat_columns)
        # Small tables need some held-out entries to decide anything at all.
        fraction = max(
            settings.validation_fraction, min(0.1, ENTRIES_TO_DECIDE / int(data.observed.sum()))
        )
        self.fold = hold_out(data.observed, fraction, N_REPLICAS, self.generator)
        keep_some_of_each_column(self.fold, data.observed)

    def fit(self) -> tuple[Ensemble, FitReport, HeldOutPredictions]:
        """Train everything."""
        if self.settings.inference == "posterior_matching":
            whole_rows(self.data.observed)  # says what is missing before anything is trained
        sources, density = self._sources()
        weights, held_out = self._weigh(sources, density)
        ensemble = Ensemble(density, sources, N_REPLICAS, weights, self.regression)
        return ensemble, self.report, held_out

    def _sources(self) -> tuple[tuple[Source, ...], Density]:
        """Everything that predicts, and what of it is a density."""
        self._fit_linear()
        linear = self._generative(self._vae(1, (), generative=True))
        sources: list[Source] = [linear]
        density = linear
        if self.settings.hidden_layer_sizes and self.settings.max_iter > 0:
            density = self._train_generative()
            masked = self._train_masked()
            sources += [density, masked, self._local(masked)]
        for source in sources:
            source.model.eval().requires_grad_(False)
        proposed = self._propose(density)
        sources[sources.index(density)] = density = proposed
        return tuple(sources), density

    # Linear start ---------------------------------------------------------------------------

    def _fit_linear(self) -> None:
        data = self.data
        order = torch.randperm(len(data.features), generator=self.generator)[:LINEAR_ROWS]
        x = data.features[order].double()
        columns = data.feature_columns
        observed = data.observed[order].index_select(1, columns)
        fold = self.fold[order].index_select(1, columns)
        weight = data.weight[order].double()
        wanted = self.settings.n_components
        if isinstance(wanted, str):
            most = max(2, min(x.shape[1], len(x) // 5))
            candidates = [k for k in COMPONENT_CANDIDATES if k < most] or [1]
            found = choose_n_components(x, observed, fold >= 0, candidates, sample_weight=weight)
            k, scores = current_run().team.agree(found)
            self.report.component_scores = scores
        else:
            k = min(wanted, x.shape[1])
        self.report.n_components = k
        # Replicas differ in few entries: all start from what they share.
        common = fit_linear_vae(x, observed & (fold < 0), k, sample_weight=weight, tol=1e-3)
        fits = [
            fit_linear_vae(
                x, observed & (fold != r), k, sample_weight=weight, start=common, max_iter=30
            )
            for r in range(N_REPLICAS)
        ]
        self.report.n_linear_iter = common.n_iter + max(f.n_iter for f in fits)
        self.linears = [fit.single() for fit in fits]

    # Members --------------------------------------------------------------------------------

    def _vae(self, n_strengths: int, hidden: tuple[int, ...], generative: bool) -> VAE:
        data = self.data
        likelihoods = self.density if generative else self.regression
        targets = data.targets if generative else data.regression_targets
        free = likelihoods.init_free(targets, data.observed)
        scale = None if generative else LOG_HALF_SCALE
        starts = [
            decoder_start(linear, likelihoods, data.specs, free, scale) for linear in self.linears
        ]
        return VAE(
            self.linears,
            starts,
            likelihoods,
            self._inputs(),
            hidden,
            n_strengths * N_REPLICAS,
            self.generator,
            density=generative,
            # Learned scales sharpen columns that others determine; equal ones serve the rest.
            n_fixed_scales=0 if generative else n_strengths * N_REPLICAS // 2,
            n_extra_components=0 if generative else EXTRA_COMPONENTS,
        )

    def _inputs(self) -> EncoderInputs:
        if not hasattr(self, "_edges"):
            seen = self.data.observed.index_select(1, self.data.feature_columns)
            self._edges = fit_edges(self.data.features, seen)
        return EncoderInputs(*self._edges)

    def _train_generative(self) -> GenerativeSource:
        settings = self.settings
        model = self._vae(1, settings.hidden_layer_sizes, True)
        objective = ImportanceWeightedBound(settings.n_importance_samples, settings.beta)
        # A step costs K decoded samples per row, and importance weights make up for what the
        # encoder has not learnt yet: smaller batches and fewer steps than the masked members get.
        decay = math.exp(np.mean([math.log(max(d, 1e-8)) for d in settings.weight_decays]))
        steps = settings.max_iter * 2 // 5
        self._train(
            "generative",
            model,
            objective,
            self.data.targets,
            steps,
            (decay,),
            -(-settings.batch_size // 2),
        )
        return self._generative(model)

    def _train_masked(self) -> MaskedSource:
        settings = self.settings
        model = self._vae(len(settings.weight_decays), settings.hidden_layer_sizes, False)
        objective = MaskedReconstruction()
        targets, decays = self.data.regression_targets, settings.weight_decays
        self._train(
            "masked", model, objective, targets, settings.max_iter, decays, settings.batch_size
        )
        return MaskedSource(model, self.regression.stat_order)

    def _train(
        self,
        name: str,
        model: VAE,
        objective: Objective,
        targets: Tensor,
        max_iter: int,
        decays: tuple[float, ...],
        batch_size: int,
    ) -> None:
        table, loop = self._table(targets), self._loop(max_iter, decays, batch_size)
        validate = self._validator(name, table) if self.settings.early_stopping else None
        self.report.histories[name] = train(
            model, table, objective, validate, loop, self.generator, name
        )

    def _loop(self, max_iter: int, decays: tuple[float, ...], batch_size: int) -> LoopSettings:
        settings = self.settings
        return LoopSettings(
            max_iter=max(max_iter, 1),
            batch_size=batch_size,
            learning_rate=settings.learning_rate,
            weight_decay=torch.tensor(decays).repeat_interleave(N_REPLICAS),
            n_iter_no_change=settings.n_iter_no_change,
            tol=settings.tol,
        )

    def _propose(self, density: GenerativeSource) -> GenerativeSource:
        """The same members, asked in the way that the settings name."""
        settings = self.settings
        proposal, history = make_proposal(
            settings.inference,
            density.model,
            self._table(self.data.targets),
            self._loop(settings.max_iter * 2 // 5, (0.0,), -(-settings.batch_size // 2)),
            self.seed,
            early_stopping=settings.early_stopping,
        )
        if history is not None:
            self.report.histories["matching"] = history
        return replace(density, proposal=proposal)

    def _table(self, targets: Tensor) -> TrainingTable:
        data = self.data
        return TrainingTable(
            data.features,
            targets,
            data.observed,
            self.fold,
            data.weight,
            data.feature_columns,
            N_REPLICAS,
        )

    def _validator(self, name: str, table: TrainingTable) -> Callable[[VAE], Tensor] | None:
        if not bool((self.fold >= 0).any()):
            return None
        if name == "masked":
            return HeldOutLikelihood(table, self.generator)

        def source_of(model: VAE) -> GenerativeSource:
            return self._generative(model, VALIDATION_SAMPLES)

        return HeldOutError(table, self.generator, source_of, self.truth, self.stat_columns)

    def _generative(self, model: VAE, n_samples: int | None = None) -> GenerativeSource:
        data = self.data
        n_samples = n_samples or self.settings.n_posterior_samples
        order = self.density.stat_order
        columns = self.density.stat_columns[order]
        # Probabilities need no change of units.
        finite = self.density.finite
        slope = torch.where(finite, 1.0, data.slope)
        intercept = torch.where(finite, 0.0, data.intercept)
        return GenerativeSource(
            model,
            noise_block(n_samples, model.n_components, self.seed),
            order,
            slope[columns],
            intercept[columns],
            slope,
            intercept,
        )

    def _local(self, masked: MaskedSource) -> LocalSource:
        n_rows, n_columns = self.data.observed.shape
        most = LocalSource.n_references(masked.model, n_columns, n_rows)
        rows = torch.randperm(n_rows, generator=self.generator)[:most]
        batch = self._table(self.data.targets).batch(rows)
        references = Table(batch.features, batch.targets, batch.visible, self.data.feature_columns)
        return LocalSource.fit(
            masked, references, self.truth[rows], batch.weight, self.stat_columns
        )

    # Weights --------------------------------------------------------------------------------

    @torch.no_grad()
    def _weigh(
        self, sources: tuple[Source, ...], density: Density
    ) -> tuple[Tensor, HeldOutPredictions]:
        """Stack the sources on held-out entries, each predicted by a replica that missed it."""
        data = self.data
        stat_columns = self.stat_columns
        training = self._table(data.targets)
        rows = training.held_out_rows(WEIGHING_ROWS, self.generator)
        batch, fold = training.batch(rows), self.fold[rows]
        table = Table(
            batch.features,
            batch.targets,
            batch.visible,
            data.feature_columns,
            missing=~batch.observed,
        )
        owner = fold.clamp(min=0).long()

        def of_owner(members: Tensor, columns: Tensor) -> Tensor:
            each = members.unflatten(0, (-1, N_REPLICAS))
            index = owner.index_select(1, columns)
            return each.gather(1, index.expand(len(each), 1, *index.shape)).squeeze(1)

        predictions = torch.cat([of_owner(s.statistics(table), stat_columns) for s in sources])
        truth = self.truth[rows]
        held_out = fold >= 0
        weights = torch.as_tensor(
            stack_weights(
                predictions.double().numpy(),
                truth.double().numpy(),
                held_out.numpy(),
                stat_columns.numpy(),
                batch.weight.double().numpy(),
            )
        ).float()
        by_statistic = weights.index_select(1, stat_columns)
        stacked = (predictions * by_statistic.unsqueeze(1)).sum(0)
        columns = torch.arange(data.observed.shape[1])
        variance = of_owner(density.moments(table)[1], columns).mean(0)
        first = torch.searchsorted(stat_columns, columns)
        error = (truth - stacked).index_select(1, first)
        return by_statistic, HeldOutPredictions(
            error.double().numpy(), variance.double().numpy(), held_out.numpy()
        )


def _as_statistics(targets: Tensor, likelihoods: ColumnLikelihoods, stat_columns: Tensor) -> Tensor:
    """What a perfect prediction would say: the number itself, or certainty of the category."""
    values = targets.index_select(1, stat_columns)
    first = torch.searchsorted(stat_columns, stat_columns)
    code = torch.arange(len(stat_columns)) - first
    certain = (values == code).to(values.dtype)
    return torch.where(likelihoods.finite[stat_columns], certain, values)


def keep_some_of_each_column(fold: Tensor, observed: Tensor) -> None:
    """Give held-out entries back, in place, where a replica would see fewer than half of a column.

    Tiny tables draw unlucky folds, and a column without visible entries cannot be learnt.
    """
    for r in range(N_REPLICAS):
        visible = (observed & (fold != r)).sum(0)
        poor = visible < torch.clamp(observed.sum(0) / 2, min=2)
        fold[(fold == r) & poor] = -1
