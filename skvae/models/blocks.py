"""The linear VAE of several blocks of columns, any of which a row may lack.

Group factor analysis (Virtanen et al. 2012; Klami et al. 2015) by variational Bayes: what a block
does not need a latent dimension for is found by automatic relevance determination, so that
dimensions may be shared by all blocks, by some, or belong to one. Loadings are averaged over rather
than taken at their best values: blocks may have more columns than there are rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from skvae.distributions.natural import NaturalGaussian
from skvae.models.linear import LinearVAE

# Entries of precision matrices held at once.
ENTRIES_AT_ONCE = 16_000_000
# Copying so many entries of a matrix takes as long as one more product.
ENTRIES_A_CALL = 10_000
# Precision of the means under their prior: next to none.
FLAT = 1e-8
# Precision of loadings that must stay at zero.
NOTHING = 1e12


@dataclass(frozen=True, eq=False)
class BlockLinearVAE:
    """``x_b = loadings_b z + mean_b + noise`` for every block, with uncertain loadings.

    Given the data, row ``j`` of ``(loadings, mean)`` is normal with covariance
    ``noise_variance[j] * uncertainty[block_of[j]]``.

    Parameters
    ----------
    point : LinearVAE
        The model at the mean of its loadings, with exact densities.
    uncertainty : Tensor of shape (n_blocks, k + 1, k + 1)
    block_of : LongTensor of shape (d,)
        The block of every column.
    relevance : Tensor of shape (n_blocks, k)
        Prior precision of a block's loadings on each dimension, in units of the columns' noise: a
        large one means that the block has nothing to do with it.
    weights : Tensor of shape (n_blocks,), optional
        Powers to which the blocks' experts are raised; 1 by default.
    """

    point: LinearVAE
    uncertainty: Tensor
    block_of: Tensor
    relevance: Tensor
    weights: Tensor | None = None

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return len(self.uncertainty)

    def expert(self, block: int, x: Tensor, observed: Tensor) -> NaturalGaussian:
        """What one block says about ``z``, without the prior; rows (n, d), over (n, k)."""
        mine = observed & (self.block_of == block)
        return NaturalGaussian(self.information(mine), self._shift(x, mine))

    def posterior(self, x: Tensor, observed: Tensor) -> NaturalGaussian:
        """``q(z | x_o)``, the product of the prior and the experts of all blocks, over (n, k)."""
        precision = self.information(observed) + self._prior
        return NaturalGaussian(precision, self._shift(x, observed))

    def conditional_mean(self, x: Tensor, observed: Tensor) -> Tensor:
        """``E[x | x_o]`` of every column, shape (n, d)."""
        return self.moments(x, observed)[0] @ self.point.loadings.mT + self.point.mean

    def moments(self, x: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
        """Means and standard deviations of ``q(z | x_o)``, both (n, k)."""
        mean, deviation = torch.empty(2, len(x), self.point.n_components, dtype=x.dtype)
        for part in self.parts(x, observed):
            mean[part.rows] = part.mean
            each = part.covariance.diagonal(dim1=-2, dim2=-1).sqrt()
            deviation[part.rows] = each[part.which]
        return mean, deviation

    @property
    def certain(self) -> BlockLinearVAE:
        """The model at the mean of its loadings, all experts as they are."""
        return replace(self, uncertainty=torch.zeros_like(self.uncertainty), weights=None)

    def single(self) -> BlockLinearVAE:
        """In single precision."""
        return replace(
            self,
            point=self.point.single(),
            uncertainty=self.uncertainty.float(),
            relevance=self.relevance.float(),
            weights=None if self.weights is None else self.weights.float(),
        )

    @property
    def _weighted(self) -> LinearVAE:
        """Whose experts have the blocks' weights: a power of a Gaussian is one with less noise."""
        if self.weights is None:
            return self.point
        noise = self.point.noise_variance / self.weights[self.block_of]
        return replace(self.point, noise_variance=noise)

    @property
    def member(self) -> Tensor:
        """Which columns belong to which block, bool (d, n_blocks)."""
        return self.block_of.unsqueeze(1) == torch.arange(self.n_blocks)

    def present(self, observed: Tensor) -> Tensor:
        """Which blocks rows have something of, bool (n, n_blocks)."""
        return self._counts(observed) > 0

    def _counts(self, observed: Tensor) -> Tensor:
        """Observed columns by block, (n, n_blocks)."""
        return observed.to(self.uncertainty) @ self.member.to(self.uncertainty)

    def _doubts(self, observed: Tensor) -> Tensor:
        """How often the blocks' uncertainties count, (n, n_blocks)."""
        counts = self._counts(observed)
        return counts if self.weights is None else counts * self.weights

    @property
    def _prior(self) -> Tensor:
        """Precision of the standard normal."""
        return torch.eye(self.point.n_components).to(self.uncertainty)

    def information(self, observed: Tensor) -> Tensor:
        """Precision of the product of experts, without a prior, under masks (n, d); (n, k, k).

        ``E[w_j w_j' / psi_j]`` is that of the mean loadings, and their uncertainty.
        """
        k = self.point.n_components
        certain = self._weighted.posterior(observed.to(self.uncertainty), observed).precision
        doubt = self._doubts(observed) @ self.uncertainty[:, :k, :k].flatten(1)
        return certain - self._prior + doubt.unflatten(1, (k, k))

    def shifts(self, x: Tensor, observed: Tensor) -> Tensor:
        """Of every block's expert, (n, n_blocks, k); zero where a block is absent."""
        each = [self._shift(x, observed & (self.block_of == b)) for b in range(self.n_blocks)]
        return torch.stack(each, dim=1)

    def _shift(self, x: Tensor, observed: Tensor) -> Tensor:
        """Of the posteriors, shape (n, k)."""
        point, k = self._weighted, self.point.n_components
        scaled = point.loadings / point.noise_variance.unsqueeze(1)
        known = (x - point.mean).where(observed, 0.0) @ scaled
        return known - self._doubts(observed) @ self.uncertainty[:, k, :k]

    def parts(self, x: Tensor, observed: Tensor, prior: Tensor | None = None) -> Iterator[Part]:
        """Posteriors by pattern; rows that show the same columns have one covariance.

        Parameters
        ----------
        x, observed : Tensor of shape (n, d)
        prior : Tensor of shape (k, k), optional
            Precision of a normal prior with mean zero other than the standard normal.
        """
        patterns, which = torch.unique(observed, dim=0, return_inverse=True)
        shift = self._shift(x, observed)
        order = which.argsort(stable=True)
        end = which.bincount(minlength=len(patterns)).cumsum(0).tolist()
        at_once = max(1, ENTRIES_AT_ONCE // self.point.n_components**2)
        for start in range(0, len(patterns), at_once):
            some = patterns[start : start + at_once]
            rows = order[end[start - 1] if start else 0 : end[start + len(some) - 1]]
            precision = self.information(some) + (self._prior if prior is None else prior)
            cholesky = torch.linalg.cholesky(precision)
            covariance = torch.cholesky_inverse(cholesky)
            own = which[rows] - start
            mean = products(covariance, own, shift[rows])
            log_det = 2 * cholesky.diagonal(dim1=-2, dim2=-1).log().sum(-1)
            yield Part(rows, own, some, covariance, log_det, shift[rows], mean)


@dataclass(frozen=True, eq=False)
class Part:
    """Posteriors of some rows.

    Attributes
    ----------
    rows, which : LongTensor of shape (n,)
        Their numbers in the table, and the place of each one's pattern, increasing.
    patterns : bool Tensor of shape (p, d)
    covariance : Tensor of shape (p, k, k)
    log_det_precision : Tensor of shape (p,)
    shift, mean : Tensor of shape (n, k)
    """

    rows: Tensor
    which: Tensor
    patterns: Tensor
    covariance: Tensor
    log_det_precision: Tensor
    shift: Tensor
    mean: Tensor


def products(matrices: Tensor, which: Tensor, vectors: Tensor) -> Tensor:
    """``matrices[which] @ vectors`` for sorted `which`, (p, r, k) and (n, k) to (n, r)."""
    used, counts = which.unique_consecutive(return_counts=True)
    if len(used) * ENTRIES_A_CALL > len(which) * matrices[0].numel():  # small matrices: copied
        return (matrices[which] @ vectors.unsqueeze(2)).squeeze(2)
    if len(used) == 0:
        return vectors.new_zeros(0, matrices.shape[1])
    parts = zip(vectors.split(counts.tolist()), used.tolist(), strict=True)
    return torch.cat([own @ matrices[pattern].mT for own, pattern in parts])


def fit_block_linear_vae(
    x: Tensor,
    observed: Tensor,
    block_of: Tensor,
    n_components: int,
    *,
    sample_weight: Tensor | None = None,
    block_weights: Tensor | None = None,
    n_private: int = 0,
    max_iter: int = 60,
    tol: float = 1e-3,
    noise_floor: float = 1e-3,
) -> BlockLinearVAE:
    """Group factor analysis by variational Bayes on incomplete blocks.

    Parameters
    ----------
    x : Tensor of shape (n, d)
        Roughly standardised columns; anything finite where not observed.
    observed : bool Tensor of shape (n, d)
        A block is absent where none of its columns is; single holes in a block are latent
        variables of their own.
    block_of : LongTensor of shape (d,)
    n_components : int
        At most; a dimension that no block needs says nothing.
    sample_weight : Tensor of shape (n,), optional
        A row of weight 2 counts as two rows.
    block_weights : Tensor of shape (n_blocks,), optional
        How much a block says about the latents, relative to its likelihood.
    n_private : int, default=0
        Further dimensions for every block that no other block sees, after those that all share.
    max_iter : int, default=60
    tol : float, default=1e-3
        Rounds end when the logarithms of the noise variances change by less on average.
    noise_floor : float, default=1e-3
        Smallest noise variance.

    Returns
    -------
    BlockLinearVAE
        In the dtype of `x`.
    """
    x = x.where(observed, 0.0)
    weight = torch.ones_like(x[:, 0]) if sample_weight is None else sample_weight.to(x)
    model = _start(x, observed, weight, block_of, n_components, n_private, noise_floor)
    allowed = torch.ones_like(model.relevance, dtype=torch.bool)
    owner = torch.arange(model.n_blocks).repeat_interleave(n_private)
    allowed[:, n_components:] = owner == torch.arange(model.n_blocks)[:, None]
    relevance = model.relevance.where(allowed, NOTHING)
    model = replace(model, weights=block_weights, relevance=relevance)
    for _ in range(max_iter):
        before = model.point.noise_variance.log()
        model = _update(model, x, observed, weight, noise_floor, allowed)
        if float((model.point.noise_variance.log() - before).abs().mean()) < tol:
            break
    return model


def _start(
    x: Tensor,
    observed: Tensor,
    weight: Tensor,
    block_of: Tensor,
    k: int,
    n_private: int,
    noise_floor: float,
) -> BlockLinearVAE:
    """Leading eigenvectors of the pairwise-complete covariance, known for certain.

    Private dimensions start at those of what is then left of their block.
    """
    root = weight.sqrt().unsqueeze(1)
    mask = observed.to(x) * root
    count = (mask.mT @ mask).clamp(min=1e-12)
    mean = (x * mask * root).sum(0) / count.diagonal()
    centred = (x - mean) * mask
    covariance = centred.mT @ centred / count.clamp(min=1.0)
    loadings = _leading(covariance, k)
    n_blocks = int(block_of.max()) + 1
    left = covariance - loadings @ loadings.mT
    for b in range(n_blocks if n_private else 0):
        mine = block_of == b
        own = x.new_zeros(len(mine), n_private)
        own[mine] = _leading(left[mine][:, mine], n_private)
        loadings = torch.cat([loadings, own], dim=1)
    k = loadings.shape[1]
    noise = (0.5 * covariance.diagonal()).clamp(min=noise_floor)
    return BlockLinearVAE(
        LinearVAE(loadings, mean, noise),
        x.new_zeros(n_blocks, k + 1, k + 1),
        block_of,
        x.new_ones(n_blocks, k),
    )


def _leading(covariance: Tensor, k: int) -> Tensor:
    """Loadings on the k leading eigenvectors, zeros where there are fewer, shape (d, k)."""
    values, vectors = torch.linalg.eigh(0.5 * (covariance + covariance.mT))
    loadings = vectors.flip(1)[:, :k] * (0.7 * values.flip(0)[:k].clamp(min=1e-2)).sqrt()
    return torch.nn.functional.pad(loadings, (0, k - loadings.shape[1]))


def _update(
    model: BlockLinearVAE,
    x: Tensor,
    observed: Tensor,
    weight: Tensor,
    noise_floor: float,
    allowed: Tensor,
) -> BlockLinearVAE:
    """One round: latents of every row, then loadings, noise and relevance of every block."""
    point, k = model.point, model.point.n_components
    coefficients = torch.cat([point.loadings, point.mean.unsqueeze(1)], dim=1)
    first, second, spread = _expect(model, x, observed, weight)
    loadings, noise = torch.empty_like(coefficients), torch.empty_like(point.mean)
    uncertainty, relevance = torch.empty_like(model.uncertainty), torch.empty_like(model.relevance)
    for b in range(model.n_blocks):
        columns = (model.block_of == b).nonzero().squeeze(1)
        held = observed[:, columns]
        rows = held.any(1)
        if not bool(rows.any()):
            raise ValueError(f"Block number {b} is absent in all rows.")
        here, a, held = first[rows], weight[rows].unsqueeze(1), held[rows]
        gram = here.mT @ (here * a)
        gram[:k, :k] += second[b]
        # Single holes are filled with what is expected there, and with its uncertainty.
        old = coefficients[columns]
        filled = torch.where(held, x[rows][:, columns], here @ old.mT)
        cross = (here * a).mT @ filled
        cross[:k] += spread[columns].mT
        square = (a * filled.square()).sum(0) + (old[:, :k] * spread[columns]).sum(1)
        square = square + (a * ~held).sum(0) * point.noise_variance[columns]
        penalty = torch.cat([model.relevance[b], x.new_full((1,), FLAT)])
        factor = torch.linalg.cholesky(gram + torch.diag(penalty))
        solution = torch.cholesky_solve(cross, factor)
        uncertainty[b] = torch.cholesky_inverse(factor)
        loadings[columns] = solution.mT
        # The loadings' prior scales with the noise, so that both have one closed form.
        left = square - (solution * cross).sum(0)
        noise[columns] = (left / a.sum()).clamp(min=noise_floor)
        size = (solution[:k].square() / noise[columns]).sum(1)
        size = size + len(columns) * uncertainty[b].diagonal()[:k]
        relevance[b] = (len(columns) / size).where(allowed[b], NOTHING)
    point = LinearVAE(loadings[:, :k], loadings[:, k], noise, point.n_iter + 1)
    return replace(model, point=point, uncertainty=uncertainty, relevance=relevance)


def _expect(
    model: BlockLinearVAE, x: Tensor, observed: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Moments of the latents.

    Returns
    -------
    first : Tensor of shape (n, k + 1)
        Means, and ones.
    second : Tensor of shape (n_blocks, k, k)
        Covariances, summed over rows that have the block.
    spread : Tensor of shape (d, k)
        The same over rows that have the block but not the column, times its loadings.
    """
    loadings, k = model.point.loadings, model.point.n_components
    first = x.new_ones(len(x), k + 1)
    second = x.new_zeros(model.n_blocks, k * k)
    spread = torch.zeros_like(loadings)
    for part in model.parts(x, observed):
        first[part.rows, :k] = part.mean
        total = torch.zeros_like(part.covariance[:, 0, 0])
        total.index_add_(0, part.which, weight[part.rows])
        flat = part.covariance.flatten(1)
        present = model.present(part.patterns)
        second += (present * total.unsqueeze(1)).mT @ flat
        holes = present[:, model.block_of] & ~part.patterns
        some = holes.any(0).nonzero().squeeze(1)
        for columns in some.split(max(1, ENTRIES_AT_ONCE // flat.shape[1])):
            summed = (holes[:, columns] * total.unsqueeze(1)).mT @ flat
            each = summed.unflatten(1, (k, k)) @ loadings[columns].unsqueeze(2)
            spread[columns] += each.squeeze(2)
    return first, second.unflatten(1, (k, k)), spread
