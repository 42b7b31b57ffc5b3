"""The VAE of several blocks fitted: linear start, clusters, then networks where they help."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from skvae.distributions.columns import ColumnLikelihoods
from skvae.distributions.continuous import Gaussian, HeteroscedasticGaussian, StudentT
from skvae.inference.readout import USUAL_SHARE, WEIGHING_ROWS, BlockReadout
from skvae.models.blocks import BlockLinearVAE, fit_block_linear_vae
from skvae.models.clusters import ClusteredBlocks, fit_clusters
from skvae.models.multimodal import BlockVAE
from skvae.models.rotation import rotated
from skvae.models.start import decoder_start
from skvae.nn.inputs import EncoderInputs, fit_edges
from skvae.training.data import Tensors
from skvae.training.density_settings import DensityReport, DensitySettings
from skvae.training.loop import train
from skvae.training.matching import N_HIDINGS, HeldOutBound, MatchedBound
from skvae.training.run import current_run

# Rows that the linear start and the clusters see.
MOST_ROWS = 20_000
# Rows that regressions beside the model keep.
READOUT_ROWS = 6000
ROWS_PER_COMPONENT, MOST_COMPONENTS = 5, 160
# Columns whose expected value is their feature's.
NUMBERS = (Gaussian, HeteroscedasticGaussian, StudentT)
# Numbers that one block's network sees.
ENCODED_INPUTS = 160
TEMPERATURES = (1.0, 0.7, 0.5, 0.4, 0.3, 0.25, 0.2, 0.15, 0.1, 0.05, 0.02)
# Where too few rows tell.
USUAL_TEMPERATURE = 0.3
# Clusters that share rows at less than this merge.
COLDEST = 0.3
# Below this share of rows with several blocks, these alone may know better how blocks relate.
FEW_LINKS, FEWEST_LINKS = 0.5, 20
# Parts of them that are held out in turn, or only one of them where there are more rows.
FOLDS, FOLDED_LINKS = 4, 400


@dataclass(frozen=True)
class MultimodalSettings(DensitySettings):
    """What the estimator asks for; names as in the estimator."""

    n_private_components: int = 0
    fusion: str = "poe"
    # One number for every block.
    block_weights: tuple[float, ...] = ()
    readout: str = "kernel"


@dataclass
class MultimodalReport(DensityReport):
    """What happened in a fit."""

    n_clusters: int = 1
    temperature: float = 1.0
    # Whether too few rows told the temperature.
    guessed: bool = False
    linked_rows_only: bool = False
    networks: bool = False
    # Of the model beside regressions, by block.
    shares: Tensor = field(default_factory=lambda: torch.zeros(0))


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
        member = block_of.unsqueeze(1) == torch.arange(len(settings.block_weights))
        self.present = (self.observed.double() @ member.double()) > 0

    def fit(self) -> tuple[BlockVAE, ClusteredBlocks, BlockReadout | None, MultimodalReport]:
        """Train everything.

        Returns
        -------
        BlockVAE
        ClusteredBlocks
            Its linear start, in double precision.
        BlockReadout or None
            Regressions beside it.
        MultimodalReport
        """
        settings, report = self.settings, self.report
        order = torch.randperm(len(self.observed), generator=self.generator)
        n_held_out = settings.n_held_out(len(order))
        held_out, rows = order[:n_held_out].sort().values, order[n_held_out:].sort().values
        clusters = self._clusters(self._linear(rows), rows, held_out)
        model = self._model(clusters, settings.hidden_layer_sizes)
        # Rows of single blocks, where they are the most, teach networks nothing about links.
        few_links = (self.present[rows].sum(1) > 1).double().mean() < FEW_LINKS
        alone = clusters.blocks.n_blocks > 1 and bool(few_links)
        if settings.hidden_layer_sizes and settings.max_iter > 0 and not alone:
            report.networks = self._train(model, rows, held_out)
        report.shares = self._shares(model, clusters, rows, held_out)
        if not report.networks:
            if n_held_out:  # what was decided, from all rows
                everything = order.sort().values
                clusters = self._fit_clusters(
                    self._fit_linear(self._linking(everything)),
                    everything,
                    clusters.n_clusters,
                    1.0 if report.guessed else max(report.temperature, COLDEST),
                )
            model = self._model(clusters, ())
        report.n_components = model.n_components
        report.n_clusters = clusters.n_clusters
        report.n_linear_iter = clusters.blocks.point.n_iter
        model.eval().requires_grad_(False)
        beside = settings.readout == "kernel" and clusters.blocks.n_blocks > 1
        readout = self.readout(clusters, order.sort().values) if beside else None
        return model, clusters, readout, report

    # Linear start ---------------------------------------------------------------------------

    def _some(self, rows: Tensor) -> Tensor:
        return rows[torch.randperm(len(rows), generator=self.generator)[:MOST_ROWS]]

    def _n_components(self, linked: bool) -> int:
        """As many as the data can tell: a fifth of the rows that a feature has, at most.

        Of all rows, or of those that have several blocks. With more than half as many as columns
        a factor model is hardly identified (Ledermann 1937).
        """
        given = self.settings.n_components
        if given is not None and not isinstance(given, str):
            return int(given)
        used = self.observed[self.present.sum(1) > 1] if linked else self.observed
        per_feature = float(used.double().sum(0).mean())
        most = min((len(self.block_of) + 1) // 2, MOST_COMPONENTS)
        return max(1, min(int(per_feature / ROWS_PER_COMPONENT), most))

    def _linear(self, rows: Tensor) -> BlockLinearVAE:
        """On all of the rows, or on those that link blocks alone where blocks from others are then
        predicted better."""
        some = self._some(rows)
        linked = some[self.present[some].sum(1) > 1]
        # These alone must know every block.
        known = self.present[linked].sum(0).min() if len(linked) else 0
        if known >= FEWEST_LINKS and len(linked) < FEW_LINKS * len(some):
            errors = torch.zeros(2, dtype=torch.float64)
            for fold in range(FOLDS if len(linked) < FOLDED_LINKS else 1):
                held_out = linked[fold::FOLDS]
                for alone, part in enumerate((some, linked)):
                    self.report.linked_rows_only = bool(alone)
                    kept = part[~torch.isin(part, held_out)]
                    if not bool(self.present[kept].any(0).all()):
                        errors[alone] = torch.inf
                        continue
                    blocks = self._fit_linear(kept)
                    errors[alone] += self._link_error(blocks, held_out)
            self.report.linked_rows_only = bool(errors[1] < errors[0])
        return self._fit_linear(self._linking(rows))

    def _linking(self, rows: Tensor) -> Tensor:
        """Of the rows, those that say how blocks relate."""
        rows = self._some(rows)
        if not self.report.linked_rows_only:
            return rows
        return rows[self.present[rows].sum(1) > 1]

    def _fit_linear(self, rows: Tensor) -> BlockLinearVAE:
        blocks = fit_block_linear_vae(
            self.data.features[rows].double(),
            self.observed[rows],
            self.block_of,
            self._n_components(self.report.linked_rows_only),
            n_private=self.settings.n_private_components,
            sample_weight=self.data.weight[rows].double(),
            block_weights=torch.tensor(self.settings.block_weights, dtype=torch.float64),
        )
        return rotated(blocks, self._n_components(self.report.linked_rows_only))

    def _link_error(self, blocks: BlockLinearVAE, rows: Tensor) -> float:
        """Mean squared error of blocks predicted from the others."""
        x, observed, total = self.data.features[rows].double(), self.observed[rows], 0.0
        for b in range(blocks.n_blocks):
            mine = self.block_of == b
            error = (blocks.conditional_mean(x, observed & ~mine) - x).square()
            total += float(error.where(observed & mine, 0.0).sum())
        return total

    # Clusters -------------------------------------------------------------------------------

    def _clusters(self, blocks: BlockLinearVAE, rows: Tensor, held_out: Tensor) -> ClusteredBlocks:
        """Kept where held-out rows become more likely."""
        single = ClusteredBlocks.single(blocks)
        n_clusters = min(self.settings.n_mixture, len(rows))
        if self.settings.prior == "normal" or n_clusters == 1:
            return single
        clusters = self._fit_clusters(blocks, rows, n_clusters)
        if len(held_out):
            x, observed = self.data.features[held_out].double(), self.observed[held_out]
            gain = clusters.log_prob(x, observed) - single.log_prob(x, observed)
            if float((gain * self.data.weight[held_out]).sum()) <= 0:
                return single
            self.report.temperature = self._temperature(clusters, held_out)
        return clusters

    def _fit_clusters(
        self, blocks: BlockLinearVAE, rows: Tensor, n_clusters: int, temperature: float = 1.0
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
            temperature=temperature,
            seed=self.seed,
        )

    def _temperature(self, clusters: ClusteredBlocks, rows: Tensor) -> float:
        """At which some of a row's blocks say best which cluster all of them would find.

        Columns of a block share what the model does not know about it, so that the evidence which
        they add up to is less than it would be if their noise were independent. Of what held-out
        rows cannot tell apart by a standard error, the most cautious (Breiman et al. 1984).
        """
        rows = rows[self.present[rows].sum(1) > 1]
        if clusters.blocks.n_blocks == 1:
            return 1.0
        if len(rows) < WEIGHING_ROWS:
            self.report.guessed = True
            return USUAL_TEMPERATURE
        x, observed = self.data.features[rows].double(), self.observed[rows]
        whole = clusters.responsibilities(x, observed)
        losses = torch.zeros(len(TEMPERATURES), len(rows), dtype=torch.float64)
        for _ in range(N_HIDINGS):
            shown = self._some_blocks(self.present[rows])
            seen = observed & shown.index_select(1, self.block_of)
            part = clusters.responsibilities(x, seen).clamp(min=1e-300).log()
            for place, temperature in enumerate(TEMPERATURES):
                tempered = (temperature * part).log_softmax(-1)
                losses[place] -= (whole * tempered).sum(-1) / N_HIDINGS
        mean, spread = losses.mean(1), losses.std(1) / len(rows) ** 0.5
        best = int(mean.argmin())
        return min(
            temperature
            for temperature, loss in zip(TEMPERATURES, mean, strict=True)
            if loss <= mean[best] + spread[best]
        )

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
        start = decoder_start(clusters.blocks.point.single(), self.likelihoods, data.specs, free)
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

    def readout(self, clusters: ClusteredBlocks, rows: Tensor) -> BlockReadout:
        """Regressions beside the model, on some of the rows."""
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(self.seed))
        rows = rows[order][:READOUT_ROWS]
        gaussian = torch.tensor(
            [isinstance(each, NUMBERS) for each in self.likelihoods.likelihoods], dtype=torch.bool
        )
        return BlockReadout(
            clusters,
            self.report.temperature,
            self.data.features[rows],
            self.observed[rows],
            self.data.weight[rows],
            gaussian[self.data.feature_columns],
            self.report.shares,
        )

    @torch.no_grad()
    def _shares(
        self, model: BlockVAE, clusters: ClusteredBlocks, rows: Tensor, held_out: Tensor
    ) -> Tensor:
        """How much of every block's answer is the model's, by rows held out."""
        self.report.shares = shares = torch.full(
            (clusters.blocks.n_blocks,), USUAL_SHARE, dtype=torch.float64
        )
        if self.settings.readout != "kernel":
            return shares
        readout, linked = self.readout(clusters, rows), self.present[held_out].sum(1) > 1
        for block in range(len(shares) if len(shares) > 1 else 0):
            some = held_out[linked & self.present[held_out, block]]
            features, observed = self.data.features[some], self.observed[some]
            if len(some):
                shown = observed & (self.block_of != block)
                answers = model.expected(features, shown)[:, self.data.feature_columns]
                shares[block] = readout.weigh(block, answers, features, observed)
        return shares

    def _inputs(self, block: int) -> EncoderInputs:
        mine = (self.block_of == block).nonzero().squeeze(1)
        edges = fit_edges(self.data.features[:, mine], self.observed[:, mine], ENCODED_INPUTS)
        return EncoderInputs(*edges)

    def _train(self, model: BlockVAE, rows: Tensor, held_out: Tensor) -> bool:
        """Whether training made held-out rows more likely."""
        data, settings = self.data, self.settings
        columns = torch.tensor(settings.block_weights)[self.block_of]
        weights = torch.empty(len(data.specs)).index_copy_(0, data.feature_columns, columns)
        # The loop knows VAEs; these two know a VAE of blocks.
        bound: Any = MatchedBound(
            settings.n_importance_samples, settings.beta, weights, settings.fusion
        )
        validate: Any = None
        if len(held_out):
            validate = HeldOutBound(bound, data.table(held_out), self.seed)
        before = 0.0 if validate is None else float(validate(model))
        table = data.table(rows)
        self.report.history = train(model, table, bound, validate, settings.loop, self.generator)
        better = validate is None or float(validate(model)) > before + settings.tol
        return current_run().team.agree(better)
