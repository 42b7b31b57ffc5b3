"""What a fitted VAE of blocks says about encoded rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from skvae.estimators._latent import ENCODED_AT_ONCE, LatentModel, Rows
from skvae.inference import Table, noise_block
from skvae.inference.readout import BlockReadout
from skvae.inference.scored import ScoredRows
from skvae.inference.session import where_it_is
from skvae.models.clusters import ClusteredBlocks
from skvae.models.fusion import FusedPosterior, views
from skvae.models.multimodal import BlockVAE

# Entries of matrices that one part of the rows may need.
ENTRIES_AT_ONCE = 60_000_000
# Samples of z behind an expected value, where the decoder is not linear.
MEAN_SAMPLES = 64


@dataclass(frozen=True, eq=False)
class BlockLatentModel(LatentModel):
    """One fitted VAE of blocks over a scaled table.

    Attributes
    ----------
    clusters : ClusteredBlocks
        Its linear start and prior, in double precision.
    readout : BlockReadout or None
        Regressions beside it.
    """

    model: BlockVAE
    clusters: ClusteredBlocks
    readout: BlockReadout | None

    @where_it_is
    def log_prob(self, rows: Rows, method: str, n_samples: int) -> np.ndarray:
        """As of `LatentModel.log_prob`; exact where the model is linear and Gaussian."""
        if not self.model.exact or method != "importance":
            return LatentModel.log_prob(self._scorer, rows, method, n_samples)
        jacobian = self.scaler.log_jacobians(rows.observed)
        parts = [
            self.clusters.log_prob(part.features.double(), part.masks[1][0])
            for part in self._parts(rows)
        ]
        scores = torch.cat(parts).numpy() + jacobian
        return np.where(rows.observed.any(axis=1), scores, 0.0)

    @where_it_is
    def moments(self, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        """Posterior means and standard deviations, both float64 of shape (n, k)."""
        parts = [self.posterior(part).moments(None) for part in self._parts(rows)]
        means, deviations = (torch.cat(each, dim=1)[0] for each in zip(*parts, strict=True))
        return means.double().numpy(), deviations.double().numpy()

    @where_it_is
    def means(self, rows: Rows) -> np.ndarray:
        """Posterior means alone, for which no covariance of clusters is needed."""
        parts = [self.posterior(part).centre for part in self._parts(rows)]
        return torch.cat(parts, dim=1)[0].double().numpy()

    @where_it_is
    def expect(self, rows: Rows, asked: np.ndarray) -> np.ndarray:
        """Expected numbers and most probable codes of all columns, shape (n, p).

        With the regressions' part in blocks that are asked for, bool (n, n_blocks).
        """
        expected = self._expect(rows)
        return self._raw(expected + self._moved(expected, rows, asked))

    @where_it_is
    def draw(self, rows: Rows, asked: np.ndarray, n_draws: int, seed: int) -> np.ndarray:
        """Draws of whole rows from ``q(z | x_o) p(x | z)``, shape (n_draws, n, p).

        Blocks asked for, bool (n, n_blocks), are moved to where `expect` has their mean.
        """
        generator = torch.Generator().manual_seed(seed)
        drawn = []
        for posterior in self._posteriors(rows, 1):
            z = [posterior.sample(generator) for _ in range(n_draws)]
            driven = self.model.decode(torch.cat(z).transpose(0, 1)[None])[0].transpose(0, 1)
            drawn.append(self.model.likelihoods.sample(driven, self._free, generator))
        moved = self._moved(self._expect(rows), rows, asked) if self.readout else 0.0
        return self._raw(torch.cat(drawn, dim=1) + moved)

    def _expect(self, rows: Rows) -> Tensor:
        """What the model itself expects, (n, p)."""
        model, free = self.model, self._free
        n_samples = 1 if model.exact else MEAN_SAMPLES
        noise = noise_block(n_samples, model.n_components, self.seed)
        parts = []
        for posterior in self._posteriors(rows, n_samples):
            if model.exact:  # the mean of a linear function is the function of the mean
                driven = model.decode(posterior.centre)
                parts.append(model.likelihoods.mean(driven, free)[0])
                continue
            driven = model.decode(posterior.place(noise))
            statistics = model.likelihoods.statistics(driven, free.unsqueeze(1)).mean(2)
            parts.append(model.likelihoods.point(statistics)[0])
        return torch.cat(parts)

    def _moved(self, expected: Tensor, rows: Rows, asked: np.ndarray) -> Tensor:
        """What regressions add to the model's answers, (n, p)."""
        moved = torch.zeros_like(expected, dtype=torch.float64)
        if self.readout is None:
            return moved
        table = self.table(rows)
        answers = expected[:, table.feature_columns]
        mended = self.readout.mend(
            answers, table.features, table.masks[1][0], torch.as_tensor(asked)
        )
        # Only columns that are one feature, their own number, are read out.
        return moved.index_copy_(1, table.feature_columns, mended - answers)

    def _posteriors(self, rows: Rows, n_samples: int) -> Iterator[FusedPosterior]:
        for part in self._parts(rows, self._rows_at_once(n_samples)):
            yield self.posterior(part)

    def _parts(self, rows: Rows, most: int = ENTRIES_AT_ONCE) -> Iterator[Table]:
        """The table in parts of so many rows, or of fewer that their posteriors fit into memory."""
        n_views = len(views(self.model.blocks.n_blocks, self.model.fusion))
        for part in self.parts(rows, ENCODED_AT_ONCE):
            yield from part.chunks(min(most, self._most_rows(part, n_views)))

    def _most_rows(self, table: Table, n_views: int) -> int:
        """Whose posteriors fit into memory."""
        # Of a row, the clusters' shares, and matrices too if its holes are like no other row's.
        k, n_clusters = self.model.n_components, len(self.model.prior.centres)
        entries = n_clusters
        if self.model.has_holes(table.masks[1][0]):
            entries += k * (2 * k + n_clusters)
        return max(1, ENTRIES_AT_ONCE // (entries * n_views))

    def scored(self, rows: Rows) -> ScoredRows:
        """As of `LatentModel.scored`: beside the product of plain experts, as for densities."""
        scored = self._scorer.scored(rows)
        (share,) = scored.shares
        share = replace(share, most_rows=self._most_rows(share.table, 1))
        return replace(scored, shares=(share,))

    @property
    def _scorer(self) -> LatentModel:
        return LatentModel(self.model.at_mean_loadings(), self.scaler, self.seed)

    @property
    def expert_precisions(self) -> np.ndarray:
        """What every whole block knows about each latent, (n_blocks, k)."""
        return self.model.scale.square().double().numpy()
