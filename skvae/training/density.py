"""One VAE fitted for its latents and its density: linear start, prior, bound on held-out rows."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from skvae.distributions.columns import ColumnLikelihoods
from skvae.inference.ensemble import Table
from skvae.inference.importance import noise_block
from skvae.inference.proposals import Proposal
from skvae.models.complete import solve_linear_vae
from skvae.models.context import Context
from skvae.models.hierarchical import HierarchicalVAE
from skvae.models.linear import LinearVAE, choose_n_components, fit_linear_vae
from skvae.models.priors import (
    ConditionalNormal,
    CorrelatedNormal,
    MixtureOfGaussians,
    Prior,
    StandardNormal,
    VampPrior,
)
from skvae.models.rotation import promax_axes, random_rotation, turned
from skvae.models.sources import Sources, ridge_regression
from skvae.models.sparse import SparseVAE
from skvae.models.start import decoder_start
from skvae.models.vae import VAE
from skvae.nn.inputs import EncoderInputs, fit_edges, no_edges
from skvae.nn.mlp import MemberMLP
from skvae.training.contrast import (
    N_STARTS,
    contrastive_start,
    follow,
    linear_decoder,
    sources_of,
    told_apart,
    widen,
)
from skvae.training.data import Tensors, hold_out
from skvae.training.density_settings import (
    MOST_VALIDATION_ROWS,
    DensityReport,
    DensitySettings,
)
from skvae.training.fit import COMPONENT_CANDIDATES, LINEAR_ROWS
from skvae.training.loop import train
from skvae.training.objectives import ImportanceWeightedBound, Objective, WarmUp
from skvae.training.posterior_matching import whole_rows
from skvae.training.proposals import make_proposal
from skvae.training.run import current_run
from skvae.training.sparse import train_sparse
from skvae.training.validation import HeldOutBound

# Samples of the bound on rows that decide when to stop.
VALIDATION_SAMPLES = 32
# Entries that decide on the number of components.
COMPONENT_FRACTION = 0.05
# The linear start is good enough when a round adds less than this, in nats per row and column.
START_TOL = 1e-4
# Precision per row of a normal prior on the linear effect of a context.
CONTEXT_RIDGE = 1e-2
# Noise of a linear start that could have any: sources are then looked for in all directions.
SMALL_NOISE = 0.01
# Rows or columns, whichever are fewer, up to which noise of its own for every column is found by
# eigenvalues; beyond, rounds of expectation maximisation are faster.
MOST_DIRECTIONS = 1000


def ledermann_bound(data: Tensors) -> float:
    """Latents up to which a linear model tells noise from them (Ledermann 1937)."""
    d = data.features.shape[1]
    return (2 * d + 1 - math.sqrt(8 * d + 1)) / 2


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
        self.solved: LinearVAE | None = None

    def fit(self) -> tuple[VAE, DensityReport]:
        """Train everything."""
        if self.settings.inference == "posterior_matching":
            whole_rows(self.data.observed)  # says what is missing before anything is trained
        order = torch.randperm(len(self.data.features), generator=self.generator)
        trained = bool(self.settings.hidden_layer_sizes)
        n_held_out = self.settings.n_held_out(len(order)) if trained else 0
        held_out, rows = order[:n_held_out].sort().values, order[n_held_out:].sort().values
        model = self._model(rows)
        if self.settings.hidden_layer_sizes and self.settings.max_iter > 0:
            if self._is_told(model):
                model = self._told_apart(model, rows, held_out)
            self._train(model, rows, held_out)
        model.eval().requires_grad_(False)
        return model, self.report

    def propose(self, model: VAE) -> Proposal:
        """How rows get their posteriors from the fitted model."""
        proposal, history = make_proposal(
            self.settings.inference,
            model,
            self.data.table(torch.arange(len(self.data.features))),
            self.settings.loop,
            self.seed,
            early_stopping=self.settings.early_stopping,
        )
        self.report.matching = history or self.report.matching
        return proposal

    # Start ----------------------------------------------------------------------------------

    def start(self, n_decoded: int | None = None) -> VAE:
        """The model before training, on all rows; the decoder sees `n_decoded` of the context."""
        return self._model(torch.arange(len(self.data.features)), n_decoded)

    def _model(self, rows: Tensor, n_decoded: int | None = None, turn: Tensor | None = None) -> VAE:
        data, settings = self.data, self.settings
        effect = self._context_effect(rows)
        linear = self.solved
        if linear is None or turn is None:  # other axes need no other solution
            self.solved = linear = self._linear(rows, effect)
        told = replace(linear, noise_variance=linear.noise_variance / self._temperature)
        # What the decoder is told acts like further latent dimensions.
        if effect is not None:
            seen = effect[:n_decoded].mT
            told = replace(told, loadings=torch.cat([told.loadings, seen], dim=1))
        free = self.likelihoods.init_free(data.targets[rows], data.observed[rows])
        start = decoder_start(told, self.likelihoods, data.specs, free)
        sources = self._sources(linear, rows, turn)
        axes = None if sources is None else sources.axes
        if settings.sparse:
            axes = promax_axes(linear.loadings.double())
        if axes is not None:
            linear, start = linear.along(axes).single(), start.along(axes)
        width = 0 if data.context is None else data.context.shape[1]
        by_prior = width if settings.conditioning in ("prior", "both") else 0
        loadings = None if effect is None else effect[None]
        # What tells contexts apart must not know them.
        heard = not self._finds_sources or settings.encoder is not None
        context = Context(width, effect is not None, loadings, n_decoded, heard)
        # Users' modules are theirs: what is trained is a copy.
        encoder, decoder = (
            None if body is None else copy.deepcopy(body).to(data.features.device)
            for body in (settings.encoder, settings.decoder)
        )
        parts = (self.likelihoods, self._inputs(rows), settings.hidden_layer_sizes)
        if settings.layers:
            return HierarchicalVAE(
                linear,
                start,
                *parts,
                settings.layers,
                self.generator,
                skip=settings.hierarchy == "skip",
                inference=settings.layer_inference,
                prior_context=by_prior,
                context=context,
                encoder=encoder,
                decoder=decoder,
            )
        kind = SparseVAE if settings.sparse else VAE
        model = kind(
            [linear],
            [start],
            *parts,
            1,
            self.generator,
            context=context,
            encoder=encoder,
            decoder=decoder,
        )
        model.prior = self._prior(model, rows, by_prior)
        if sources is not None and isinstance(model.prior, ConditionalNormal):
            model.prior.start_at(sources.mean, sources.log_scale)
            widen(model, data.table(rows[:MOST_VALIDATION_ROWS]))
        if axes is not None and isinstance(model.prior, CorrelatedNormal):
            model.prior.start_at((axes @ axes.mT).float())
        model.tempered = self._temperature != 1
        if settings.cautious:
            seen = data.observed[rows].index_select(1, data.feature_columns)
            model.known_holes = ~seen.all(0)
        return model

    def _context_effect(self, rows: Tensor) -> Tensor | None:
        """Linear effect of the context on the features, (n_context, q), if the decoder sees it."""
        data = self.data
        if data.context is None or self.settings.conditioning == "prior":
            return None
        some = rows[torch.randperm(len(rows), generator=self.generator)[:LINEAR_ROWS]]
        observed = data.observed[some].index_select(1, data.feature_columns)
        x = data.features[some].where(observed, 0.0).double()
        c = torch.cat([data.context[some].double(), torch.ones(len(some), 1).double()], dim=1)
        penalty = torch.full((c.shape[1],), CONTEXT_RIDGE * len(some), dtype=c.dtype)
        penalty[-1] = 1e-8 * len(some)
        effect = c.new_zeros(c.shape[1], x.shape[1])
        weight = observed * data.weight[some].double().unsqueeze(-1)
        for j in range(x.shape[1]):  # every column over the rows that have it
            effect[:, j] = ridge_regression(c, x[:, j], weight[:, j], penalty)
        return effect[:-1].float()

    def _linear(self, rows: Tensor, effect: Tensor | None) -> LinearVAE:
        data, settings = self.data, self.settings
        some = rows[torch.randperm(len(rows), generator=self.generator)[:LINEAR_ROWS]]
        x, observed, weight = self._linear_rows(some, effect)
        k = settings.n_components
        if k is None:
            k = x.shape[1]
        elif isinstance(k, str):
            few = slice(settings.component_rows)
            held_out = hold_out(observed[few], COMPONENT_FRACTION, 1, self.generator) >= 0
            most = max(2, min(x.shape[1], len(x[few]) // 5))
            candidates = [c for c in COMPONENT_CANDIDATES if c < most] or [1]
            found = choose_n_components(
                x[few], observed[few], held_out, candidates, sample_weight=weight[few]
            )
            k, self.report.component_scores = current_run().team.agree(found)
        self.report.n_components = sum(settings.layers) or k
        # The linear VAE alone is the model: then it is worth its last digits.
        alone = not settings.hidden_layer_sizes
        equal = settings.isotropic or self._noise(k)["noise_variance"] is not None
        cheap = equal or min(x.shape) <= MOST_DIRECTIONS
        if alone and cheap and bool(data.observed[rows].all()):
            x, _, weight = self._linear_rows(rows, effect)
            linear = solve_linear_vae(x, k, sample_weight=weight, **self._noise(k))
        else:
            linear = fit_linear_vae(
                x,
                observed,
                k,
                sample_weight=weight,
                max_iter=2000 if alone else 200,
                tol=1e-7 if alone else START_TOL * x.shape[1],
                ridge=1e-6 if alone else 1e-3,
                **self._noise(k),
            )
        self.report.n_linear_iter = linear.n_iter
        rotation = settings.rotation
        if rotation == "random" and settings.sparse:  # from wherever it is, to its own axes
            linear, rotation = turned(linear, "random", self.generator), "varimax"
        if rotation == "auto" and (alone or settings.sparse):
            rotation = "principal" if alone else "varimax"
        if rotation != "auto":
            linear = turned(linear, rotation, self.generator)
        return linear.single()

    @property
    def _finds_sources(self) -> bool:
        """Whether latents are independent given the context, which only the prior sees."""
        settings = self.settings
        given = self.data.context is not None and settings.conditioning == "prior"
        return given and not settings.layers

    def _is_told(self, model: VAE) -> bool:
        """Whether it is trained to tell contexts apart, which users' encoders are not."""
        return self._finds_sources and isinstance(model.encoder, MemberMLP)

    def _sources(self, linear: LinearVAE, rows: Tensor, turn: Tensor | None) -> Sources | None:
        """Their axes and moments, or those of axes that are turned otherwise."""
        if not self._finds_sources:
            return None
        some = rows[torch.randperm(len(rows), generator=self.generator)[:LINEAR_ROWS]]
        return sources_of(linear, self.data.table(some), turn)

    def _told_apart(self, model: VAE, rows: Tensor, held_out: Tensor) -> VAE:
        """The model once its encoder tells contexts apart and its decoder follows."""
        data, loop = self.data, self.settings.loop
        table = data.table(rows)

        def turned_start() -> VAE:
            turn = random_rotation(model.n_components, self.generator)
            return self._model(rows, turn=turn)

        starts = [lambda: model, *[turned_start] * (N_STARTS - 1)]
        judged = data.table(held_out) if len(held_out) else table
        model = contrastive_start(starts, table, judged, loop, self.generator)
        free = self.likelihoods.init_free(data.targets[rows], data.observed[rows])
        start = decoder_start(linear_decoder(model, table), self.likelihoods, data.specs, free)
        follow(model, start, table, loop, self.generator)
        return model

    def _linear_rows(self, rows: Tensor, effect: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """What the linear VAE models of rows: features without the context, holes and weights."""
        data = self.data
        x = data.features[rows].double()
        if effect is not None and data.context is not None:
            x = x - data.context[rows].double() @ effect.double()
        observed = data.observed[rows].index_select(1, data.feature_columns)
        return x, observed, data.weight[rows].double()

    def _noise(self, k: int) -> dict[str, Any]:
        """What the linear VAE with k latents is told about its noise."""
        known = self.settings.noise_variance
        if known is None and self._finds_sources and k > ledermann_bound(self.data):
            known = SMALL_NOISE
        return {
            "isotropic": self.settings.isotropic,
            "noise_variance": None if known is None else known * self._temperature,
        }

    @property
    def _temperature(self) -> float:
        """How much noisier rows look to the posterior of a linear model than to its decoder.

        With a known noise variance s the best posterior under ``beta`` is that of noise beta s, and
        the loadings are the most likely ones for that noise: ``q(z | x)`` maximises ``E_q log p(x |
        z) - beta KL`` where it is proportional to ``p(x | z)^(1 / beta) p(z)``.
        """
        tempered = self.settings.noise_variance is not None and not self.settings.hidden_layer_sizes
        return self.settings.beta if tempered else 1.0

    def _inputs(self, rows: Tensor) -> EncoderInputs:
        data = self.data
        seen = data.observed[rows].index_select(1, data.feature_columns)
        if self._finds_sources:
            # Bends along single columns would tell contexts apart by anything but their sources.
            return EncoderInputs(*no_edges())
        return EncoderInputs(*fit_edges(data.features[rows], seen))

    def _prior(self, model: VAE, rows: Tensor, n_context: int) -> Prior:
        settings, data = self.settings, self.data
        if n_context:
            return ConditionalNormal(
                n_context,
                model.n_components,
                settings.hidden_layer_sizes,
                self.generator,
                factorial=settings.conditioning == "prior",
            )
        if settings.prior == "normal":
            return CorrelatedNormal(model.n_components) if settings.sparse else StandardNormal()
        chosen = rows[torch.randperm(len(rows), generator=self.generator)[: settings.n_mixture]]
        observed = data.observed[chosen].index_select(1, data.feature_columns)
        context = None if data.context is None else data.context[chosen]
        if settings.prior == "vamp":
            # Holes are filled with the mean: pseudo-rows are whole.
            return VampPrior(data.features[chosen].where(observed, 0.0), context)
        with torch.no_grad():
            seen = observed.unsqueeze(0)
            centres = model.posterior(data.features[chosen], seen, context).centre
        return MixtureOfGaussians(centres)

    # Training -------------------------------------------------------------------------------

    def _train(self, model: VAE, rows: Tensor, held_out: Tensor) -> None:
        data, settings = self.data, self.settings
        table = data.table(rows)
        loop = settings.loop
        bound = ImportanceWeightedBound(
            settings.n_importance_samples, settings.beta, settings.free_bits
        )
        objective: Objective = WarmUp(bound, math.ceil(settings.kl_warmup * settings.max_iter))
        if self._is_told(model):
            objective, loop = told_apart(objective, table, loop)
        validate = self._held_out_bound(model, held_out) if len(held_out) else None
        if isinstance(model, SparseVAE):
            judge = validate or self._held_out_bound(model, rows[:MOST_VALIDATION_ROWS])
            self.report.history = train_sparse(
                model, table, objective, validate, judge.each, loop, self.generator, self.seed
            )
            return
        self.report.history = train(model, table, objective, validate, loop, self.generator)
        self.report.history.n_iter += settings.max_iter - loop.max_iter  # taken before

    def _held_out_bound(self, model: VAE, rows: Tensor) -> HeldOutBound:
        data = self.data
        part = Table(
            data.features[rows],
            data.targets[rows],
            data.observed[rows],
            data.feature_columns,
            None if data.context is None else data.context[rows],
        )
        noise = noise_block(VALIDATION_SAMPLES, model.n_components, self.seed)
        return HeldOutBound(part, data.weight[rows], noise, self.settings.beta)
