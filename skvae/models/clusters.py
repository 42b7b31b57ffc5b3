"""A mixture of Gaussians as the prior of the linear VAE of blocks.

Rows come in kinds, and what one block says about the kind says much about the other blocks: the
relation between blocks is then no longer linear, yet every posterior and density keeps a closed
form. Clusters share one covariance; where their centres lie is shrunk to what clusters have in
common, direction by direction, by variational Bayes: directions in which they do not differ are
left alone.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from scipy.cluster.vq import kmeans2
from torch import Tensor

from skvae.distributions.natural import LOG_TWO_PI
from skvae.models.blocks import BlockLinearVAE, Part, products

# Rounds in which clusters keep their first rows, and spread and centres settle.
SETTLING = 3
JITTER = 1e-6
# Of k-means, and points among which each of its seeds is the best.
MEANS_ROUNDS, N_TRIES = 20, 7
NOWHERE = 1e-30


@dataclass(frozen=True, eq=False)
class ClusteredBlocks:
    """``z ~ sum_c weights_c N(centres_c, inverse(within))`` under a linear VAE of blocks.

    Parameters
    ----------
    blocks : BlockLinearVAE
    centres : Tensor of shape (n_clusters, k)
    within : Tensor of shape (k, k)
        Precision inside a cluster, the same for all.
    log_weights : Tensor of shape (n_clusters,)
    """

    blocks: BlockLinearVAE
    centres: Tensor
    within: Tensor
    log_weights: Tensor

    @classmethod
    def single(cls, blocks: BlockLinearVAE) -> ClusteredBlocks:
        """The standard normal prior."""
        k = blocks.point.n_components
        like = blocks.point.loadings
        return cls(blocks, like.new_zeros(1, k), torch.eye(k).to(like), like.new_zeros(1))

    @property
    def n_clusters(self) -> int:
        """Number of clusters."""
        return len(self.centres)

    def responsibilities(self, x: Tensor, observed: Tensor, temperature: float = 1.0) -> Tensor:
        """``p(cluster | x_o)`` to the power `temperature`, normalised, (n, n_clusters)."""
        ratios = x.new_empty(len(x), self.n_clusters)
        for part in self.blocks.parts(x, observed, self.within):
            ratios[part.rows] = self.log_ratios(part)
        return (temperature * ratios).softmax(-1)

    def mean(self, x: Tensor, observed: Tensor, temperature: float = 1.0) -> Tensor:
        """``E[z | x_o]``, shape (n, k)."""
        mean = torch.empty_like(x[:, :1]).expand(-1, self.centres.shape[1]).clone()
        for part in self.blocks.parts(x, observed, self.within):
            share = (temperature * self.log_ratios(part)).softmax(-1)
            pulled = share @ self.centres @ self.within
            mean[part.rows] = part.mean + products(part.covariance, part.which, pulled)
        return mean

    def conditional_mean(self, x: Tensor, observed: Tensor, temperature: float = 1.0) -> Tensor:
        """``E[x | x_o]`` of every column, shape (n, d)."""
        point = self.blocks.point
        return self.mean(x, observed, temperature) @ point.loadings.mT + point.mean

    def log_prob(self, x: Tensor, observed: Tensor) -> Tensor:
        """``log p(x_o)`` of the model at the mean of its loadings, exact, shape (n,)."""
        point = self.blocks.point
        noise = point.noise_variance
        log_prob = x.new_empty(len(x))
        log_det = 2 * torch.linalg.cholesky(self.within).diagonal().log().sum()
        for part in self.blocks.certain.parts(x, observed, self.within):
            own, mask = x[part.rows], part.patterns[part.which]
            squares = ((own - point.mean).square() / noise).where(mask, 0.0).sum(-1)
            sizes = mask.to(x) @ (LOG_TWO_PI + noise.log())
            evidence = self.log_ratios(part).logsumexp(-1)
            evidence = evidence + 0.5 * (part.shift * part.mean).sum(-1)
            volume = 0.5 * (log_det - part.log_det_precision[part.which])
            log_prob[part.rows] = evidence + volume - 0.5 * (squares + sizes)
        return log_prob

    def log_ratios(self, part: Part) -> Tensor:
        """``log p(cluster, x_o)`` up to a constant by row, (n, n_clusters)."""
        pull = self.centres @ self.within
        gain = torch.einsum("ck,pkl,cl->pc", pull, part.covariance, pull)
        own = self.log_weights - 0.5 * (self.centres * pull).sum(-1)
        return part.mean @ pull.mT + 0.5 * gain[part.which] + own


def fit_clusters(
    blocks: BlockLinearVAE,
    x: Tensor,
    observed: Tensor,
    n_clusters: int,
    *,
    sample_weight: Tensor | None = None,
    shared: Tensor | None = None,
    temperature: float = 1.0,
    max_iter: int = 30,
    seed: int = 0,
) -> ClusteredBlocks:
    """Clusters of the latents of incomplete blocks by variational Bayes.

    Parameters
    ----------
    blocks : BlockLinearVAE
    x, observed : Tensor of shape (n, d)
        As of `fit_block_linear_vae`.
    n_clusters : int
    sample_weight : Tensor of shape (n,), optional
    shared : bool Tensor of shape (k,), optional
        Dimensions in which clusters may differ; all by default. In the others the prior stays
        standard normal.
    temperature : float, default=1.0
        Power of the clusters' likelihood ratios by which rows are shared among them.
    max_iter : int, default=30
    seed : int, default=0
        Of k-means, which gives the first rows of every cluster.

    Returns
    -------
    ClusteredBlocks
    """
    weight = torch.ones_like(x[:, 0]) if sample_weight is None else sample_weight.to(x)
    k = blocks.point.n_components
    kept = torch.ones(k, dtype=torch.bool) if shared is None else shared
    points = _points(blocks, x, observed)
    n_clusters = min(n_clusters, len(points[weight > 0].unique(dim=0)))
    first = _first_clusters(points, weight, n_clusters, seed)
    state = _State(
        x.new_zeros(n_clusters, k), torch.eye(k).to(x), torch.eye(k).to(x), x.new_zeros(n_clusters)
    )
    for step in range(max_iter):
        given = first if step < SETTLING else None
        state = _update(state, blocks, x, observed, weight, temperature, given).confined(kept)
    return ClusteredBlocks(blocks, state.centres, state.precision, state.log_weights)


@dataclass(frozen=True, eq=False)
class _State:
    """Centres, covariances inside and between clusters, and weights less the centres' doubt."""

    centres: Tensor
    within: Tensor
    between: Tensor
    log_weights: Tensor

    @property
    def precision(self) -> Tensor:
        return _inverse(self.within)

    def confined(self, kept: Tensor) -> _State:
        """Standard normal, and the same for all clusters, outside the dimensions kept."""
        if bool(kept.all()):
            return self
        both = kept[:, None] & kept
        outside = torch.diag(~kept).to(self.within)
        within = self.within.where(both, 0.0) + outside
        between = self.between.where(both, 0.0) + JITTER * outside
        return _State(self.centres.where(kept, 0.0), within, between, self.log_weights)


def _points(blocks: BlockLinearVAE, x: Tensor, observed: Tensor) -> Tensor:
    """Rows in coordinates where distances are those between their expected columns, (n, k)."""
    loadings = blocks.point.loadings
    gram = loadings.mT @ loadings
    jitter = JITTER * gram.diagonal().mean().clamp(min=JITTER)
    root = torch.linalg.cholesky(gram + jitter * torch.eye(len(gram)).to(gram))
    return blocks.moments(x, observed)[0] @ root


def _first_clusters(points: Tensor, weight: Tensor, n_clusters: int, seed: int) -> Tensor:
    """Hard responsibilities by k-means of the rows that count, (n, n_clusters)."""
    used = points[weight > 0]
    seeds = _seeds(used, n_clusters, torch.Generator().manual_seed(seed)).numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a cluster may lose its rows
        centres, _ = kmeans2(used.numpy(), seeds, iter=MEANS_ROUNDS, minit="matrix")
    found = torch.cdist(points, torch.as_tensor(centres)).argmin(1)
    return torch.nn.functional.one_hot(found, n_clusters).to(points)


def _seeds(points: Tensor, n_clusters: int, generator: torch.Generator) -> Tensor:
    """Points far from one another by greedy k-means++ (Arthur and Vassilvitskii 2007).

    SciPy's measures every distance anew for every seed.
    """
    chosen = torch.empty(n_clusters, dtype=torch.long)
    away = torch.ones_like(points[:, 0])
    for place in range(n_clusters):
        # Rows that differ by rounding alone are at no distance.
        n_tries = N_TRIES if place else 1
        tries = torch.multinomial(away + NOWHERE, n_tries, True, generator=generator)
        squares = torch.cdist(points[tries], points).square()
        if place:
            squares = squares.minimum(away)
        best = squares.sum(1).argmin()
        chosen[place], away = tries[best], squares[best]
        away[chosen[place]] = 0.0
    return points[chosen]


def _update(
    state: _State,
    blocks: BlockLinearVAE,
    x: Tensor,
    observed: Tensor,
    weight: Tensor,
    temperature: float,
    given: Tensor | None,
) -> _State:
    """One round: clusters of every row, then centres and covariances."""
    precision = state.precision
    model = ClusteredBlocks(blocks, state.centres, precision, state.log_weights)
    n_clusters, k = state.centres.shape
    pull = state.centres @ precision
    count, total = x.new_zeros(n_clusters), torch.zeros_like(state.centres)
    second = x.new_zeros(k, k)
    for part in blocks.parts(x, observed, precision):
        if given is None:
            share = (temperature * model.log_ratios(part)).softmax(-1)
        else:
            share = given[part.rows]
        share = share * weight[part.rows, None]
        # Given a cluster, a row's mean is `part.mean + offset` of its pattern and the cluster.
        offset = pull @ part.covariance
        by_pattern = x.new_zeros(len(part.patterns), n_clusters)
        by_pattern.index_add_(0, part.which, share)
        count += by_pattern.sum(0)
        total += share.mT @ part.mean + torch.einsum("pc,pck->ck", by_pattern, offset)
        mine = weight[part.rows, None] * part.mean
        pulled = products(part.covariance, part.which, share @ pull)
        cross = part.mean.mT @ pulled
        spread = (offset * by_pattern.unsqueeze(2)).flatten(0, 1).mT @ offset.flatten(0, 1)
        second += mine.mT @ part.mean + cross + cross.mT + spread
        second += torch.einsum("p,pkl->kl", by_pattern.sum(1), part.covariance)
    doubt = _inverse(_inverse(state.between) + count[:, None, None] * precision)
    centres = (doubt @ (total @ precision).unsqueeze(2)).squeeze(2)
    between = (centres.mT @ centres + doubt.sum(0)) / n_clusters + JITTER * torch.eye(k).to(x)
    # Scatter about the centres, from that about the origin.
    outer = total.mT @ centres
    within = second - outer - outer.mT + (centres * count[:, None]).mT @ centres
    within = (within + torch.einsum("c,ckl->kl", count, doubt)) / count.sum()
    log_weights = ((count + 1) / (count + 1).sum()).log()
    # A centre that is hardly known explains less than it seems to.
    log_weights = log_weights - 0.5 * (doubt * _inverse(within)).sum((1, 2))
    return _State(centres, _symmetric(within), _symmetric(between), log_weights.log_softmax(-1))


def _inverse(matrix: Tensor) -> Tensor:
    return torch.cholesky_inverse(torch.linalg.cholesky(matrix))


def _symmetric(matrix: Tensor) -> Tensor:
    return 0.5 * (matrix + matrix.mT)
