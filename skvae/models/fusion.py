"""``q(z | x_o)`` from the experts of blocks: products, mixtures, and mixtures of products."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from skvae.distributions.natural import LOG_TWO_PI
from skvae.models.blocks import products

# All subsets of six blocks; of more blocks, random ones are mixed.
MOST_SUBSETS = 63
# Entries of gathered matrices held at once.
ENTRIES_AT_ONCE = 16_000_000


def views(n_blocks: int, fusion: str) -> Tensor:
    """The subsets of blocks whose products of experts are mixed, bool (n_views, n_blocks).

    All blocks ("poe", Wu and Goodman 2018), single ones ("moe", Shi et al. 2019) or every subset
    ("mopoe", Sutter et al. 2021), or where these are too many all blocks and random subsets.
    """
    if fusion == "poe":
        return torch.ones(1, n_blocks, dtype=torch.bool)
    if fusion == "moe":
        return torch.eye(n_blocks, dtype=torch.bool)
    if 2**n_blocks - 1 <= MOST_SUBSETS:
        return torch.tensor(list(itertools.product([False, True], repeat=n_blocks))[1:])
    # Twice as many as are needed, for the sake of the rare empty one.
    generator = torch.Generator().manual_seed(n_blocks)
    subsets = torch.rand(2 * MOST_SUBSETS, n_blocks, generator=generator) < 0.5
    subsets = subsets[subsets.any(1)][: MOST_SUBSETS - 1]
    return torch.cat([torch.ones_like(subsets[:1]), subsets])


def view_weights(each: Tensor, present: Tensor) -> Tensor:
    """Share of every view in the posterior of rows that have the blocks present.

    Parameters
    ----------
    each : bool Tensor of shape (n_views, n_blocks)
    present : bool Tensor of shape (n, n_blocks)

    Returns
    -------
    Tensor of shape (n, n_views)
        The same for all views that have a block in common with the row; a row without a block has
        the prior, whatever the view. What views have in common with a row are its own subsets,
        all as often where `each` are all subsets.
    """
    meets = (each.unsqueeze(0) & present.unsqueeze(1)).any(-1).float()
    meets[~present.any(1), 0] = 1.0
    return meets / meets.sum(1, keepdim=True)


@dataclass(frozen=True, eq=False)
class Patterns:
    """What the posteriors of rows that show the same columns have in common.

    Attributes
    ----------
    root : Tensor of shape (p, k, k)
        Lower factor ``L`` of the precisions ``L L'``.
    spread : Tensor of shape (p, k, k)
        ``L^-T``: the covariance is ``spread spread'``.
    half_log_det : Tensor of shape (p,)
        Of the precisions.
    pull : Tensor of shape (p, n_clusters, k)
        Of the prior's clusters on the mean, in whitened coordinates.
    within : Tensor of shape (k, k)
        Precision inside the prior's clusters.
    """

    root: Tensor
    spread: Tensor
    half_log_det: Tensor
    pull: Tensor
    within: Tensor

    @classmethod
    def from_precision(cls, precision: Tensor, centres: Tensor, within: Tensor) -> Patterns:
        """Of precisions (p, k, k) and the prior: centres (n_clusters, k), precision (k, k)."""
        root = torch.linalg.cholesky(precision)
        eye = torch.eye(root.shape[-1], dtype=root.dtype).expand_as(root)
        spread = torch.linalg.solve_triangular(root, eye, upper=False).mT.contiguous()
        half_log_det = root.diagonal(dim1=1, dim2=2).log().sum(-1)
        return cls(root, spread, half_log_det, centres @ within @ spread, within)

    @cached_property
    def offsets(self) -> Tensor:
        """What a cluster of the prior adds to the mean, (p, n_clusters, k)."""
        return self.pull @ self.spread.mT

    @cached_property
    def gain(self) -> Tensor:
        """What that adds to the log-evidence of the cluster, (p, n_clusters)."""
        return 0.5 * self.pull.square().sum(-1)

    @cached_property
    def gap(self) -> Tensor:
        """Divergence of a posterior from a cluster of the prior around the same centre, (p,)."""
        root = torch.linalg.cholesky(self.within)
        trace = (self.spread.mT @ root).square().sum((1, 2))
        log_det = self.half_log_det - root.diagonal().log().sum()
        return 0.5 * (trace - len(root)) + log_det

    def joined(self, other: Patterns) -> Patterns:
        """These and others, under the same prior."""
        return replace(
            self,
            root=torch.cat([self.root, other.root]),
            spread=torch.cat([self.spread, other.spread]),
            half_log_det=torch.cat([self.half_log_det, other.half_log_det]),
            pull=torch.cat([self.pull, other.pull]),
        )


@dataclass(frozen=True, eq=False)
class Product:
    """Products of experts and of a mixture of Gaussians: mixtures whose parts share a covariance.

    Attributes
    ----------
    mean : Tensor of shape (n, k)
        Of a row under a prior with mean zero.
    which : LongTensor of shape (n,)
        The pattern of each row, among p.
    patterns : Patterns
    share : Tensor of shape (n, n_clusters)
        Weights of the clusters.
    move, log_scale : Tensor of shape (n, k) or None
        In whitened coordinates, of all clusters alike, see `shifted`.
    """

    mean: Tensor
    which: Tensor
    patterns: Patterns
    share: Tensor
    move: Tensor | None = None
    log_scale: Tensor | None = None

    def shifted(self, move: Tensor, log_scale: Tensor) -> Product:
        """The same clusters elsewhere, and wider or narrower; both (n, k)."""
        if self.move is not None and self.log_scale is not None:
            move, log_scale = move + self.move, log_scale + self.log_scale
        return replace(self, move=move, log_scale=log_scale)

    @property
    def centre(self) -> Tensor:
        """Means over the clusters, shape (n, k)."""
        pulled = self._over_clusters(self.patterns.pull)
        if self.move is not None:
            pulled = pulled + self.move
        return self.mean + apply(self.patterns.spread, self.which, pulled)

    @property
    def variance(self) -> Tensor:
        """Of every latent, shape (n, k)."""
        first = self._over_clusters(self.patterns.offsets)
        second = self._over_clusters(self.patterns.offsets.square())
        squares = self.patterns.spread.square()
        within = squares.sum(-1)[self.which]
        if self.log_scale is not None:
            within = apply(squares, self.which, (2 * self.log_scale).exp())
        return within + (second - first.square()).clamp(min=0.0)

    def _over_clusters(self, values: Tensor) -> Tensor:
        """Weighted mean of (p, n_clusters, k) for every row, (n, k)."""
        return apply(values.mT, self.which, self.share)

    def place(self, rows: Tensor, noise: Tensor, cluster: Tensor) -> Tensor:
        """Latents (m, k) of rows (m,) from noise (m, k) and the numbers of clusters (m,)."""
        which = self.which[rows]
        if self.move is not None and self.log_scale is not None:
            noise = self.move[rows] + self.log_scale[rows].exp() * noise
        moved = apply(self.patterns.spread, which, noise + self.patterns.pull[which, cluster])
        return self.mean[rows] + moved

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density of latents (n, s, k) or (1, s, k), shape (n, s)."""
        root, centres = self.patterns.root, self.patterns.pull  # a row times the root is whitened
        away = z - self.mean.unsqueeze(1)
        result = []
        for rows in _split(len(away), max(root[0].numel(), centres[0].numel())):
            which = self.which[rows]
            u, c = away[rows] @ root[which], centres[which]
            constant = self.patterns.half_log_det[which] - 0.5 * z.shape[-1] * LOG_TWO_PI
            if self.move is not None and self.log_scale is not None:
                inverse = (-self.log_scale[rows]).exp().unsqueeze(1)
                u, c = (u - self.move[rows].unsqueeze(1)) * inverse, c * inverse
                constant = constant - self.log_scale[rows].sum(-1)
            square = u.square().sum(-1, keepdim=True) + c.square().sum(-1).unsqueeze(1)
            each = self.share[rows].log().unsqueeze(1) - 0.5 * (square - 2 * u @ c.mT)
            result.append(each.logsumexp(-1) + constant.unsqueeze(1))
        return torch.cat(result)


@dataclass(frozen=True, eq=False)
class FusedPosterior:
    """A mixture of products; with the interface of `skvae.models.posterior.Posterior`.

    Attributes
    ----------
    parts : tuple of Product
        One per view.
    weights : Tensor of shape (n, n_views)
    """

    parts: tuple[Product, ...]
    weights: Tensor

    def shifted(self, move: Tensor, log_scale: Tensor) -> FusedPosterior:
        """Every product elsewhere, see `Product.shifted`; both (1, n, k)."""
        parts = tuple(part.shifted(move[0], log_scale[0]) for part in self.parts)
        return replace(self, parts=parts)

    @property
    def centre(self) -> Tensor:
        """Means, shape (1, n, k)."""
        each = torch.stack([part.centre for part in self.parts], dim=1)
        return (self.weights.unsqueeze(1) @ each).transpose(0, 1)

    def moments(self, noise: Tensor | None) -> tuple[Tensor, Tensor]:
        """Means and standard deviations, both (1, n, k); exact, without the noise."""
        first = second = torch.zeros(())
        for part, weight in zip(self.parts, self.weights.unsqueeze(-1).unbind(1), strict=True):
            mean = part.centre
            first = first + weight * mean
            second = second + weight * (part.variance + mean.square())
        return first[None], (second - first.square()).clamp(min=1e-12).sqrt()[None]

    def rsample(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Samples (1, n, s, k) and their log-densities (1, n, s).

        From noise (s, k) or (1, n, s, k).
        """
        z = self.place(noise)
        return z, self.log_prob_at(z)

    def place(self, noise: Tensor) -> Tensor:
        """Samples (1, n, s, k) from noise (s, k) or (1, n, s, k).

        Which view and cluster a sample comes from is stratified, the same for all rows.
        """
        noise = noise[0] if noise.ndim == 4 else noise
        n_samples = noise.shape[-2]
        order = torch.randperm(n_samples, generator=torch.Generator().manual_seed(n_samples))
        levels = ((order + 0.5) / n_samples).expand(len(self.weights), -1).contiguous()
        return self._place(noise, levels)

    def sample(self, generator: torch.Generator) -> Tensor:
        """One draw from each posterior, shape (1, n, k)."""
        n, k = self.parts[0].mean.shape
        noise = torch.randn(n, 1, k, generator=generator)
        return self._place(noise, torch.rand(n, 1, generator=generator)).squeeze(2)

    def log_prob_at(self, z: Tensor) -> Tensor:
        """Log-density of every row's own latents (1, n or 1, s, k), shape (1, n, s)."""
        each = [part.log_prob(z[0]) for part in self.parts]
        weighted = torch.stack(each, -1) + self.weights.log().unsqueeze(1)
        return weighted.logsumexp(-1)[None]

    def _place(self, noise: Tensor, levels: Tensor) -> Tensor:
        """Latents (1, n, s, k) at levels (n, s) of the distribution over views and clusters."""
        joint = torch.stack([part.share for part in self.parts], 1) * self.weights.unsqueeze(-1)
        n_clusters = joint.shape[2]
        below = joint.flatten(1).cumsum(-1)
        pick = torch.searchsorted(below / below[:, -1:], levels).clamp(max=below.shape[1] - 1)
        view, cluster = pick // n_clusters, pick % n_clusters
        noise = noise.expand(*levels.shape, -1)
        z = torch.empty_like(noise)
        for number, part in enumerate(self.parts):
            rows, samples = (view == number).nonzero(as_tuple=True)
            some = part.place(rows, noise[rows, samples], cluster[rows, samples])
            z = z.index_put((rows, samples), some)
        return z[None]


def product(
    shift: Tensor, which: Tensor, patterns: Patterns, log_weights: Tensor, temperature: float
) -> Product:
    """Posteriors from the experts' shifts (n, k), by pattern, under a mixture prior.

    Parameters
    ----------
    shift : Tensor of shape (n, k)
        Sum of the experts'.
    which, patterns
        As of `Product`.
    log_weights : Tensor of shape (n_clusters,)
        ``log weight - centre' precision centre / 2``.
    temperature : float
        Power of the clusters' likelihood ratios.
    """
    # The clusters' evidence: that of the shift, and what their centres add.
    whitened = apply(patterns.spread.mT, which, shift)
    mean = apply(patterns.spread, which, whitened)
    evidence = apply(patterns.pull, which, whitened.detach())
    ratios = evidence + patterns.gain[which] + log_weights
    share = (temperature * ratios).softmax(-1).clamp(min=1e-30)
    return Product(mean, which, patterns, share)


def apply(matrices: Tensor, which: Tensor, vectors: Tensor) -> Tensor:
    """``matrices[which] @ vectors`` of matrices (p, r, k) and vectors (n, k), shape (n, r)."""
    order = which.argsort(stable=True)
    sorted_ = products(matrices, which[order], vectors[order])
    return sorted_[order.argsort()]


def _split(n: int, entries: int) -> list[slice]:
    """Slices of rows that hold so many entries each."""
    size = max(1, ENTRIES_AT_ONCE // max(entries, 1))
    return [slice(start, start + size) for start in range(0, max(n, 1), size)]
