"""The VAE of several blocks fitted: linear start, clusters, then networks where they help."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from skvae.distributions.columns import ColumnLikelihoods
from skvae.models.blocks import BlockLinearVAE, fit_block_linear_vae
from skvae.models.clusters import ClusteredBlocks, fit_clusters
from skvae.models.fusion import Product, apply, view_weights, views
from skvae.models.linear import LinearVAE
from skvae.models.multimodal import BlockVAE
from skvae.models.start import decoder_start
from skvae.nn.inputs import EncoderInputs, quantile_edges
from skvae.training.data import Batch, Tensors, TrainingTable
from skvae.training.density import MAX_BINS, MIN_BINS
from skvae.training.loop import History, LoopSettings, train

# Rows that the linear start and the clusters see, and that decide what is kept.
MOST_ROWS, MOST_HELD_OUT = 20_000, 2000
FEWEST_HELD_OUT = 10
ROWS_PER_COMPONENT, MOST_COMPONENTS = 5, 160
ROWS_PER_CLUSTER, MOST_CLUSTERS = 8, 128
# Numbers that one block's network sees.
ENCODED_INPUTS = 160
TEMPERATURES = (1.0, 0.5, 0.3, 0.2, 0.1, 0.05, 0.02)
# Times that blocks of held-out rows are hidden at random.
N_HIDINGS = 4
# Below this share of rows with several blocks, these alone may know better how blocks relate.
FEW_LINKS, FEWEST_LINKS = 0.5, 20


@dataclass(frozen=True)
class MultimodalSettings:
    """What the estimator asks for; names as in the estimator."""

    n_components: int | str
    n_private_components: int
    fusion: str
    prior: str
    n_clusters: int | str
    block_weights: Tensor
    hidden_layer_sizes: tuple[int, ...]
    n_importance_samples: int
    beta: float
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
class MultimodalReport:
    """What happened in a fit."""

    n_components: int = 0
    n_clusters: int = 1
    temperature: float = 1.0
    n_linear_iter: int = 0
    linked_rows_only: bool = False
    networks: bool = False
    history: History = field(default_factory=History)


class MultimodalFitter:
    """Fits one VAE to blocks of columns.

    Parameters
    ----------
    data : Tensors
    block_of : LongTensor of shape (q,)
        The block of every feature.
    settings : MultimodalSettings
    seed : int
    """

    def __init__(
        self, data: Tensors, block_of: Tensor, settings: MultimodalSettings, seed: int
    ) -> None:
        self.data, self.block_of, self.settings, self.seed = data, block_of, settings, seed
        self.generator = torch.Generator().manual_seed(seed)
        self.likelihoods = ColumnLikelihoods(data.likelihoods)
        self.report = MultimodalReport()
        self.observed = data.observed.index_select(1, data.feature_columns)
        member = block_of.unsqueeze(1) == torch.arange(int(block_of.max()) + 1)
        self.present = (self.observed.double() @ member.double()) > 0

    def fit(self) -> tuple[BlockVAE, ClusteredBlocks, MultimodalReport]:
        """Train everything.

        Returns
        -------
        BlockVAE
        ClusteredBlocks
            Its linear start, in double precision.
        MultimodalReport
        """
        settings, report = self.settings, self.report
        order = torch.randperm(len(self.observed), generator=self.generator)
        n_held_out = min(int(settings.validation_fraction * len(order)), MOST_HELD_OUT)
        if not settings.early_stopping or n_held_out < FEWEST_HELD_OUT:
            n_held_out = 0
        held_out, rows = order[:n_held_out].sort().values, order[n_held_out:].sort().values
        clusters = self._clusters(self._linear(rows), rows, held_out)
        model = self._model(clusters, settings.hidden_layer_sizes)
        if settings.hidden_layer_sizes and settings.max_iter > 0:
            report.networks = self._train(model, rows, held_out)
        if not report.networks:
            if n_held_out:  # what was decided, from all rows
                everything = order.sort().values
                clusters = self._fit_clusters(
                    self._fit_linear(self._linking(everything)), everything, report.n_clusters
                )
            model = self._model(clusters, ())
        report.n_components = model.n_components
        report.n_clusters = clusters.n_clusters
        report.n_linear_iter = clusters.blocks.point.n_iter
        model.eval().requires_grad_(False)
        return model, clusters, report

    # Linear start ---------------------------------------------------------------------------

    def _some(self, rows: Tensor) -> Tensor:
        return rows[torch.randperm(len(rows), generator=self.generator)[:MOST_ROWS]]

    def _n_components(self) -> int:
        """As many as the data can tell: a fifth of the rows that a feature has, at most."""
        given = self.settings.n_components
        if not isinstance(given, str):
            return int(given)
        per_feature = float(self.observed.double().sum(0).mean())
        most = min(len(self.block_of), MOST_COMPONENTS)
        return max(1, min(int(per_feature / ROWS_PER_COMPONENT), most))

    def _linear(self, rows: Tensor) -> BlockLinearVAE:
        """On all of the rows, or on those that link blocks alone where blocks from others are then
        predicted better."""
        some = self._some(rows)
        linked = some[self.present[some].sum(1) > 1]
        if FEWEST_LINKS <= len(linked) < FEW_LINKS * len(some):
            test = torch.zeros(len(self.observed), dtype=torch.bool)
            test[linked[::4]] = True
            errors = [
                self._link_error(self._fit_linear(part[~test[part]]), linked[::4])
                for part in (some, linked)
            ]
            self.report.linked_rows_only = errors[1] < errors[0]
        return self._fit_linear(self._linking(some))

    def _linking(self, rows: Tensor) -> Tensor:
        """Of the rows, those that say how blocks relate."""
        rows = self._some(rows)
        if not self.report.linked_rows_only:
            return rows
        return rows[self.present[rows].sum(1) > 1]

    def _fit_linear(self, rows: Tensor) -> BlockLinearVAE:
        k = min(self._n_components(), max(1, len(rows) - 1))
        return fit_block_linear_vae(
            self.data.features[rows].double(),
            self.observed[rows],
            self.block_of,
            k,
            n_private=self.settings.n_private_components,
            sample_weight=self.data.weight[rows].double(),
            block_weights=self.settings.block_weights.double(),
        )

    def _link_error(self, blocks: BlockLinearVAE, rows: Tensor) -> float:
        """Mean squared error of blocks predicted from the others."""
        x, observed, total = self.data.features[rows].double(), self.observed[rows], 0.0
        for b in range(blocks.n_blocks):
            mine = self.block_of == b
            error = (blocks.conditional_mean(x, observed & ~mine) - x).square()
            total += float(error.where(observed & mine, 0.0).sum())
        return total

    # Clusters -------------------------------------------------------------------------------

    def _n_clusters(self, n_rows: int) -> int:
        given = self.settings.n_clusters
        if not isinstance(given, str):
            return min(int(given), n_rows)
        return max(1, min(n_rows // ROWS_PER_CLUSTER, MOST_CLUSTERS))

    def _clusters(self, blocks: BlockLinearVAE, rows: Tensor, held_out: Tensor) -> ClusteredBlocks:
        """Kept where held-out rows become more likely."""
        single = ClusteredBlocks.single(blocks)
        n_clusters = self._n_clusters(len(rows))
        if self.settings.prior == "normal" or n_clusters == 1:
            return single
        clusters = self._fit_clusters(blocks, rows, n_clusters)
        if len(held_out):
            x, observed = self.data.features[held_out].double(), self.observed[held_out]
            gain = clusters.log_prob(x, observed) - single.log_prob(x, observed)
            if float((gain * self.data.weight[held_out]).sum()) <= 0:
                return single
            self.report.temperature = self._temperature(clusters, held_out)
        self.report.n_clusters = clusters.n_clusters
        return clusters

    def _fit_clusters(
        self, blocks: BlockLinearVAE, rows: Tensor, n_clusters: int
    ) -> ClusteredBlocks:
        if n_clusters == 1:
            return ClusteredBlocks.single(blocks)
        rows = self._some(rows)
        n_shared = blocks.point.n_components
        n_shared -= blocks.n_blocks * self.settings.n_private_components
        return fit_clusters(
            blocks,
            self.data.features[rows].double(),
            self.observed[rows],
            n_clusters,
            sample_weight=self.data.weight[rows].double(),
            shared=torch.arange(blocks.point.n_components) < n_shared,
            seed=self.seed,
        )

    def _temperature(self, clusters: ClusteredBlocks, rows: Tensor) -> float:
        """At which some of a row's blocks say best which cluster all of them would find.

        Columns of a block share what the model does not know about it, so that the evidence which
        they add up to is less than it would be if their noise were independent.
        """
        rows = rows[self.present[rows].sum(1) > 1]
        if not len(rows):
            return 1.0
        x, observed = self.data.features[rows].double(), self.observed[rows]
        whole = clusters.responsibilities(x, observed)
        losses = torch.zeros(len(TEMPERATURES), dtype=torch.float64)
        for _ in range(N_HIDINGS):
            shown = self._some_blocks(self.present[rows])
            seen = observed & shown.index_select(1, self.block_of)
            part = clusters.responsibilities(x, seen).clamp(min=1e-300).log()
            for place, temperature in enumerate(TEMPERATURES):
                losses[place] -= (whole * (temperature * part).log_softmax(-1)).sum()
        return TEMPERATURES[int(losses.argmin())]

    def _some_blocks(self, present: Tensor) -> Tensor:
        """A random part of the blocks that rows have, at least one and not all of them."""
        draws = torch.rand(present.shape, generator=self.generator).where(present, 2.0)
        rank = draws.argsort(1).argsort(1)
        number = (
            1 + (torch.rand(len(present), generator=self.generator) * (present.sum(1) - 1)).long()
        )
        return present & (rank < number.unsqueeze(1))

    # Networks -------------------------------------------------------------------------------

    def _model(self, clusters: ClusteredBlocks, hidden: tuple[int, ...]) -> BlockVAE:
        data = self.data
        free = self.likelihoods.init_free(data.targets, data.observed)
        start = decoder_start(_single(clusters.blocks.point), self.likelihoods, data.specs, free)
        return BlockVAE(
            clusters,
            start,
            self.likelihoods,
            [self._inputs(b) for b in range(clusters.blocks.n_blocks)],
            hidden,
            self.generator,
            fusion=self.settings.fusion,
            temperature=self.report.temperature,
        )

    def _inputs(self, block: int) -> EncoderInputs:
        mine = (self.block_of == block).nonzero().squeeze(1)
        n_bins = min(max(ENCODED_INPUTS // len(mine), MIN_BINS), MAX_BINS)
        return EncoderInputs(
            *quantile_edges(self.data.features[:, mine], self.observed[:, mine], n_bins)
        )

    def _train(self, model: BlockVAE, rows: Tensor, held_out: Tensor) -> bool:
        """Whether training made held-out rows more likely."""
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
        columns = settings.block_weights.float()[self.block_of]
        weights = torch.empty(len(data.specs)).index_copy_(0, data.feature_columns, columns)
        # The loop knows VAEs; these two know a VAE of blocks.
        bound: Any = MatchedBound(
            settings.n_importance_samples, settings.beta, weights, settings.fusion
        )
        validate: Any = None
        if len(held_out):
            part = Batch(
                data.features[held_out],
                data.targets[held_out],
                data.observed[held_out],
                data.observed[held_out][None],
                data.weight[held_out],
            )
            validate = HeldOutBound(bound, part, table, self.seed)
        loop = LoopSettings(
            max_iter=settings.max_iter,
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            weight_decay=torch.tensor([settings.weight_decay]),
            n_iter_no_change=settings.n_iter_no_change if settings.early_stopping else 0,
            tol=settings.tol,
            verbose=settings.verbose,
        )
        before = 0.0 if validate is None else float(validate(model))
        self.report.history = train(model, table, bound, validate, loop, self.generator)
        return validate is None or float(validate(model)) > before + settings.tol


def _single(linear: LinearVAE) -> LinearVAE:
    """In single precision."""
    return LinearVAE(linear.loadings.float(), linear.mean.float(), linear.noise_variance.float())


@dataclass(frozen=True, eq=False)
class MatchedBound:
    """The evidence lower bound, less what a part of the blocks gets wrong about the latents.

    ``E_q log p(x_o | z) - KL(q(z, c | x_o) || p(z, c))`` with the cluster c of the prior, minus
    ``KL(q(z | x_o) || q(z | x_S))`` between Gaussians for a random subset S of the row's blocks
    (Suzuki et al. 2017): the decoder and its noise are trained by what all blocks say, and every
    subset's experts learn to say the same.

    Attributes
    ----------
    n_samples : int
    beta : float
        Weight of the divergence from the prior (Higgins et al. 2017).
    column_weights : Tensor of shape (p,)
    fusion : str
        Which subsets are drawn: any ("poe", "mopoe") or single blocks.
    """

    n_samples: int
    beta: float
    column_weights: Tensor
    fusion: str

    def __call__(
        self, model: BlockVAE, table: TrainingTable, batch: Batch, generator: torch.Generator
    ) -> Tensor:
        observed = table.on_features(batch.observed)
        present, shifts = model.present(observed), model.experts(batch.features, observed)
        whole = model.view(shifts, observed, present)
        cluster = torch.multinomial(
            whole.share, self.n_samples, replacement=True, generator=generator
        )
        noise = torch.randn(*cluster.shape, model.n_components, generator=generator)
        driven = model.decode(whole.place(noise, cluster)[None])
        log_likelihood = model.log_likelihood(driven, batch.targets, batch.visible)[0]
        bound = (log_likelihood * self.column_weights).sum(-1)
        bound = (bound - self.beta * _divergence(model, whole, cluster)).mean(-1)
        part = model.view(shifts, observed, self._choose(present, generator))
        away = whole.centre.detach() - part.centre
        whitened = apply(part.patterns.root.mT, part.which, away)
        missed = 0.5 * whitened.square().sum(-1)
        return (bound - missed)[None]

    def _choose(self, present: Tensor, generator: torch.Generator) -> Tensor:
        """A subset of blocks for every row."""
        if self.fusion == "moe":
            weights = view_weights(views(present.shape[1], self.fusion), present)
            chosen = torch.multinomial(weights, 1, generator=generator)
            return present & (chosen == torch.arange(present.shape[1]))
        share = torch.rand(len(present), 1, generator=generator)
        return present & (torch.rand(present.shape, generator=generator) < share)


def _divergence(model: BlockVAE, part: Product, cluster: Tensor) -> Tensor:
    """Of ``q(z, c)`` from ``p(z, c)`` at sampled clusters (n, s); exact in z."""
    prior, which = model.prior, part.which
    root = torch.linalg.cholesky(prior.within)
    centre = part.mean.unsqueeze(1) + part.patterns.offsets[which.unsqueeze(1), cluster]
    away = ((centre - prior.centres[cluster]) @ root).square().sum(-1)
    ratio = part.share.log().gather(1, cluster) - prior.log_weights[cluster]
    return part.patterns.gap[which].unsqueeze(1) + 0.5 * away + ratio


@dataclass(frozen=True, eq=False)
class HeldOutBound:
    """Mean bound of held-out rows, always with the same noise; shape (1,)."""

    bound: MatchedBound
    batch: Batch
    table: TrainingTable
    seed: int

    @torch.no_grad()
    def __call__(self, model: BlockVAE) -> Tensor:
        values = []
        for repeat in range(N_HIDINGS):
            generator = torch.Generator().manual_seed(self.seed + repeat)
            values.append(self.bound(model, self.table, self.batch, generator)[0])
        return (torch.stack(values).mean(0) * self.batch.weight).mean()[None]
