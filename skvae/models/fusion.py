"""``q(z | x_o)`` from the experts of blocks: products, mixtures, and mixtures of products."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from skvae.distributions.natural import LOG_TWO_PI
from skvae.models.blocks import products

# Subsets of more blocks are too many to mix.
MOST_MIXED_BLOCKS = 8
# Entries of gathered matrices held at once.
ENTRIES_AT_ONCE = 16_000_000


def views(n_blocks: int, fusion: str) -> Tensor:
    """The subsets of blocks whose products of experts are mixed, bool (n_views, n_blocks).

    All blocks ("poe", Wu and Goodman 2018), single ones ("moe", Shi et al. 2019) or every subset
    ("mopoe", Sutter et al. 2021).
    """
    if fusion == "poe":
        return torch.ones(1, n_blocks, dtype=torch.bool)
    if fusion == "moe":
        return torch.eye(n_blocks, dtype=torch.bool)
    subsets = list(itertools.product([False, True], repeat=n_blocks))[1:]
    return torch.tensor(subsets)


def view_weights(each: Tensor, present: Tensor) -> Tensor:
    """Share of every view in the posterior of rows that have the blocks present.

    Parameters
    ----------
    each : bool Tensor of shape (n_views, n_blocks)
    present : bool Tensor of shape (n, n_blocks)

    Returns
    -------
    Tensor of shape (n, n_views)
        The same for all views whose blocks are all there. A single view is always the one; where
        none fits, the row has no block and any view is the prior.
    """
    if len(each) == 1:
        return torch.ones(len(present), 1)
    fits = (each.unsqueeze(0) <= present.unsqueeze(1)).all(-1).float()
    nothing = fits.sum(1) == 0
    fits[nothing, 0] = 1.0
    return fits / fits.sum(1, keepdim=True)


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
    offsets : Tensor of shape (p, n_clusters, k)
        What a cluster of the prior adds to the mean.
    gain : Tensor of shape (p, n_clusters)
        What that adds to the log-evidence of the cluster.
    gap : Tensor of shape (p,)
        Divergence of a posterior from a cluster of the prior around the same centre.
    """

    root: Tensor
    spread: Tensor
    half_log_det: Tensor
    offsets: Tensor
    gain: Tensor
    gap: Tensor

    @classmethod
    def from_precision(cls, precision: Tensor, centres: Tensor, within: Tensor) -> Patterns:
        """Of precisions (p, k, k) and the prior: centres (n_clusters, k), precision (k, k)."""
        pull = centres @ within
        root = torch.linalg.cholesky(precision)
        eye = torch.eye(root.shape[-1], dtype=root.dtype).expand_as(root)
        spread = torch.linalg.solve_triangular(root, eye, upper=False).mT.contiguous()
        offsets = pull @ spread @ spread.mT
        half_log_det = root.diagonal(dim1=1, dim2=2).log().sum(-1)
        prior_root = torch.linalg.cholesky(within)
        trace = (spread.mT @ prior_root).square().sum((1, 2))
        log_det = half_log_det - prior_root.diagonal().log().sum()
        gap = 0.5 * (trace - len(within)) + log_det
        return cls(root, spread, half_log_det, offsets, 0.5 * (offsets * pull).sum(-1), gap)

    def joined(self, other: Patterns) -> Patterns:
        """These and others."""
        mine, theirs = vars(self), vars(other)
        return Patterns(**{name: torch.cat([mine[name], theirs[name]]) for name in mine})


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
    """

    mean: Tensor
    which: Tensor
    patterns: Patterns
    share: Tensor

    @property
    def centre(self) -> Tensor:
        """Means over the clusters, shape (n, k)."""
        return self.mean + self._over_clusters(self.patterns.offsets)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Means and variances, both (n, k)."""
        first = self._over_clusters(self.patterns.offsets)
        second = self._over_clusters(self.patterns.offsets.square())
        within = self.patterns.spread.square().sum(-1)[self.which]
        return self.mean + first, within + (second - first.square()).clamp(min=0.0)

    def _over_clusters(self, values: Tensor) -> Tensor:
        """Weighted mean of (p, n_clusters, k) for every row, (n, k)."""
        return apply(values.mT, self.which, self.share)

    def place(self, noise: Tensor, cluster: Tensor) -> Tensor:
        """Latents (n, s, k) from noise (s, k) or (n, s, k) and the numbers of clusters (n, s)."""
        if noise.ndim == 2:
            moved = (noise @ self.patterns.spread.mT)[self.which]
        else:
            moved = noise @ self.patterns.spread[self.which].mT
        centre = self.mean.unsqueeze(1) + self.patterns.offsets[self.which.unsqueeze(1), cluster]
        return centre + moved

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density of latents (n, s, k) or (1, s, k), shape (n, s)."""
        root = self.patterns.root  # a row vector times this is whitened
        centres = self.patterns.offsets @ root
        away = z - self.mean.unsqueeze(1)
        result = []
        for rows in _split(len(away), max(root[0].numel(), centres[0].numel())):
            which = self.which[rows]
            u, c = away[rows] @ root[which], centres[which]
            square = u.square().sum(-1, keepdim=True) + c.square().sum(-1).unsqueeze(1)
            each = self.share[rows].log().unsqueeze(1) - 0.5 * (square - 2 * u @ c.mT)
            constant = self.patterns.half_log_det[which] - 0.5 * z.shape[-1] * LOG_TWO_PI
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

    @property
    def centre(self) -> Tensor:
        """Means, shape (1, n, k)."""
        return self.moments(None)[0]

    def moments(self, noise: Tensor | None) -> tuple[Tensor, Tensor]:
        """Means and standard deviations, both (1, n, k); exact, without the noise."""
        first = second = torch.zeros(())
        for part, weight in zip(self.parts, self.weights.unsqueeze(-1).unbind(1), strict=True):
            mean, variance = part.moments()
            first = first + weight * mean
            second = second + weight * (variance + mean.square())
        return first[None], (second - first.square()).clamp(min=1e-12).sqrt()[None]

    def rsample(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Samples (1, n, s, k) and their log-densities (1, n, s) from noise (s, k) or (1, n, s, k).

        Which view and cluster a sample comes from is stratified, the same for all rows.
        """
        noise = noise[0] if noise.ndim == 4 else noise
        n_samples = noise.shape[-2]
        order = torch.randperm(n_samples, generator=torch.Generator().manual_seed(n_samples))
        levels = ((order + 0.5) / n_samples).expand(len(self.weights), -1).contiguous()
        z = self._place(noise, levels)
        return z, self.log_prob_at(z)

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
        z = self.parts[0].place(noise, cluster)
        for number, part in enumerate(self.parts[1:], start=1):
            mine = (view == number).unsqueeze(-1)
            if bool(mine.any()):
                z = torch.where(mine, part.place(noise, cluster), z)
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
    mean = apply(patterns.spread, which, apply(patterns.spread.mT, which, shift))
    # The clusters' evidence: `offset . shift`, and what their centres add.
    evidence = apply(patterns.offsets, which, shift.detach())
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
