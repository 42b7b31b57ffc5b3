"""Blocks from other blocks by kernel regression on rows whose gaps the model has filled."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from skvae.inference.kernel import KernelRegression, fit_kernel_regression
from skvae.inference.propagation import SpreadRegression
from skvae.models.clusters import ClusteredBlocks

# Training rows of one regression, at most and at least.
MOST_ROWS, FEWEST_ROWS = 3000, 10
# Rows that tell the model's share, at least, and its share where there are fewer.
WEIGHING_ROWS, USUAL_SHARE = 30, 0.3
# So many times more rows without a target tell what lies near what.
MANY_OTHERS = 4


@dataclass(frozen=True, eq=False)
class Averaged:
    """The mean of a kernel regression and one that goes along rows without targets."""

    kernel: KernelRegression
    spread: SpreadRegression

    def predict(self, points: Tensor) -> Tensor:
        """At points (n, d), shape (n, q)."""
        return 0.5 * (self.kernel.predict(points) + self.spread.predict(points))


@dataclass(frozen=True, eq=False)
class BlockReadout:
    """What training rows near a row have in the blocks that it lacks.

    The latents are a bottleneck: what a block alone knows about another, beyond what many columns
    share, does not pass. Regression on the columns themselves passes it, but needs complete rows:
    the model completes them. Both answers are averaged.

    Parameters
    ----------
    clusters : ClusteredBlocks
    temperature : float
        Power of the clusters' likelihood ratios.
    features : Tensor of shape (n, q)
        Training rows, in no particular order; anything finite where not observed.
    observed : bool Tensor of shape (n, q)
    weight : Tensor of shape (n,)
    regressed : bool Tensor of shape (q,)
        Features that may be read out: those that are their column's number.
    share : Tensor of shape (n_blocks,)
        Weight of the model's own answer for each block.
    """

    clusters: ClusteredBlocks
    temperature: float
    features: Tensor
    observed: Tensor
    weight: Tensor
    regressed: Tensor
    share: Tensor

    @property
    def block_of(self) -> Tensor:
        """The block of every feature."""
        return self.clusters.blocks.block_of

    def mend(self, expected: Tensor, features: Tensor, observed: Tensor, absent: Tensor) -> Tensor:
        """Averages of the model's answers and those of regressions.

        Parameters
        ----------
        expected : Tensor of shape (n, q)
            The model's own answers.
        features, observed : Tensor of shape (n, q)
            Rows with nothing but what is shown observed.
        absent : bool Tensor of shape (n, n_blocks)
            Blocks to read out.

        Returns
        -------
        Tensor of shape (n, q)
        """
        mended, features = expected.double(), features.double()
        present = self.clusters.blocks.present(observed)
        kinds, which = torch.unique(present, dim=0, return_inverse=True)
        for number, shown in enumerate(kinds):
            for block in range(len(shown)):
                rows = ((which == number) & absent[:, block]).nonzero().squeeze(1)
                regression = self.regression(shown, block) if len(rows) else None
                if regression is None:
                    continue
                points = self.points(features[rows], observed[rows], shown)
                columns = self._columns(block)
                own = mended[rows][:, columns]
                share = self.share[block]
                mixed = share * own + (1 - share) * regression.predict(points)
                mended[rows.unsqueeze(1), columns] = mixed
        return mended

    def points(self, features: Tensor, observed: Tensor, shown: Tensor) -> Tensor:
        """The columns of the blocks shown, filled where they are not observed."""
        columns = shown[self.block_of]
        seen = observed & columns
        if bool(seen[:, columns].all()):
            return features[:, columns].double()
        return self._filled(features, seen)[:, columns]

    def regression(self, shown: Tensor, block: int) -> KernelRegression | Averaged | None:
        """Of a block on others, bool (n_blocks,); None where too few rows have both."""
        present = self.clusters.blocks.present(self.observed)
        shown = shown & (torch.arange(len(shown)) != block)
        rows = (present[:, block] & (present & shown).any(1)).nonzero().squeeze(1)[:MOST_ROWS]
        columns = self._columns(block)
        if len(rows) < FEWEST_ROWS or not len(columns):
            return None
        features, observed = self.features[rows], self.observed[rows]
        targets = features.double()
        if not bool(observed[:, columns].all()):
            targets = self._filled(features, observed)
        points = self.points(features, observed, shown)
        weight, targets = self.weight[rows].double(), targets[:, columns]
        kernel = fit_kernel_regression(points, targets, weight)
        # Rows that show the same but lack the block.
        more = (~present[:, block] & (present & shown).any(1)).nonzero().squeeze(1)[:MOST_ROWS]
        if len(more) < MANY_OTHERS * len(rows):
            return kernel
        others = self.points(self.features[more], self.observed[more], shown)
        return Averaged(kernel, SpreadRegression.fit(points, targets, weight, others))

    def weigh(self, block: int, answers: Tensor, features: Tensor, observed: Tensor) -> float:
        """The share with which the model's answers predict a block of new rows best.

        Parameters
        ----------
        block : int
        answers : Tensor of shape (n, q)
            Of the model, given all other blocks.
        features, observed : Tensor of shape (n, q)
        """
        columns = self._columns(block)
        others = torch.arange(len(self.share)) != block
        regression = self.regression(others, block)
        if regression is None or len(features) < WEIGHING_ROWS:
            return USUAL_SHARE
        read = regression.predict(self.points(features, observed, others))
        held = observed[:, columns]
        gap = (answers[:, columns].double() - read).where(held, 0.0)
        missed = (features[:, columns].double() - read).where(held, 0.0)
        square = float(gap.square().sum())
        if square == 0:
            return USUAL_SHARE
        return min(max(float((gap * missed).sum()) / square, 0.0), 1.0)

    def _columns(self, block: int) -> Tensor:
        return ((self.block_of == block) & self.regressed).nonzero().squeeze(1)

    def _filled(self, features: Tensor, seen: Tensor) -> Tensor:
        x = features.double()
        return x.where(seen, self.clusters.conditional_mean(x, seen, self.temperature))
