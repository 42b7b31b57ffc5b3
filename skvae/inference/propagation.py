"""Class probabilities and numbers passed on between rows that lie near each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

# Distances held at once.
DISTANCES_AT_ONCE = 16_000_000
# Candidates beyond those asked for, among which ties are broken.
SPARE = 6
# Of squared lengths, what matrix products in single precision may be wrong by.
ROUNDING = 2e-7
# Of squared lengths, what the last of all references is put off by where rounding decides.
PLACE = 1e-9
# Of mean squared lengths: rows whose neighbours lie within that repeat them, up to rounding.
SHORTEST = 1e-7
# Rounds of averaging; what is left then has travelled further than labels reach.
MOST_ROUNDS, ROUND_TOL = 200, 1e-4
# How many neighbours numbers are passed on to, how strongly, and a share of walks that is none.
SPREAD_NEIGHBOURS, SPREAD_STRENGTH, NO_MASS = 8, 0.8, 1e-6


def nearest(
    points: Tensor, references: Tensor, n_neighbors: int, *, themselves: bool = False
) -> tuple[Tensor, Tensor]:
    """Squared Euclidean distances to the nearest references, and their numbers.

    Parameters
    ----------
    points : Tensor of shape (n, d)
    references : Tensor of shape (m, d)
    n_neighbors : int
    themselves : bool, default=False
        Points are the references: none is its own neighbour.

    Returns
    -------
    squared : Tensor of shape (n, n_neighbors)
    index : LongTensor of shape (n, n_neighbors)
    """
    k = max(1, min(n_neighbors, len(references) - themselves))
    half = 0.5 * references.square().sum(1)
    widest = max(len(references), 2 * (k + SPARE) * references.shape[1])
    size = max(1, DISTANCES_AT_ONCE // widest)
    squared, index = [], []
    for start in range(0, len(points), size):
        part = points[start : start + size]
        apart = torch.addmm(half[None], part, references.mT, alpha=-1)
        if themselves and len(references) > 1:
            own = torch.arange(len(part))
            apart[own, own + start] = torch.inf
        close = apart.topk(min(k + SPARE, len(references) - themselves or 1), 1, largest=False)
        exact, which = _sorted(part, references, close.indices)
        if exact.shape[1] > k:
            slack = ROUNDING * (0.5 * part.square().sum(1) + half.max())
            unsure = (exact[:, k] - exact[:, k - 1] <= slack).nonzero().squeeze(1)
            if len(unsure):
                itself = unsure + start if themselves else None
                again = _among_ties(part[unsure], references, k, itself)
                exact[unsure, :k], which[unsure, :k] = _sorted(part[unsure], references, again)
        squared.append(exact[:, :k])
        index.append(which[:, :k])
    if not squared:
        return points.new_zeros(0, k), torch.zeros(0, k, dtype=torch.long)
    return torch.cat(squared), torch.cat(index)


def _shortest(points: Tensor) -> float:
    return max(1e-12, SHORTEST * float(points.square().sum(1).mean()))


def _among_ties(points: Tensor, references: Tensor, k: int, own: Tensor | None) -> Tensor:
    """Numbers (n, k) of the nearest references; of what rounding alone tells apart, the first.

    `own` are the points' own numbers, which are left out.
    """
    references = references.double()
    half = 0.5 * references.square().sum(1)
    most = half.max().clamp(min=1e-12)
    place = PLACE * most * torch.arange(len(half), dtype=half.dtype) / len(half)
    apart = torch.addmm((half + place)[None], points.double(), references.mT, alpha=-1)
    if own is not None:
        apart[torch.arange(len(points)), own] = torch.inf
    return apart.topk(k, 1, largest=False).indices


def _sorted(points: Tensor, references: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Exact squared distances to candidates (n, k), in order; ties by number.

    The product that found them rounds, differently from one batch to the next.
    """
    index = index.sort(1).values
    apart = points.unsqueeze(1) - references[index]
    exact, order = apart.double().square().sum(-1).float().sort(stable=True, dim=1)
    return exact, index.gather(1, order)


@dataclass(frozen=True, eq=False)
class NeighbourGraph:
    """Rows and their nearest neighbours.

    Attributes
    ----------
    points : Tensor of shape (m, d)
    n_neighbors : int
    reach : Tensor of shape (m,)
        Squared distance to the last neighbour: similarities are relative to it (Zelnik-Manor and
        Perona 2004).
    similarity : sparse array of shape (m, m)
        Symmetric; an edge where either row is among the other's nearest.
    """

    points: Tensor
    n_neighbors: int
    reach: Tensor
    similarity: sp.csr_array

    @classmethod
    def build(cls, points: Tensor, n_neighbors: int) -> NeighbourGraph:
        """Connect every row (m, d) with its nearest."""
        squared, index = nearest(points, points, n_neighbors, themselves=True)
        reach = squared[:, -1].clamp(min=_shortest(points))
        each = torch.exp(-squared / (reach[:, None] * reach[index]).sqrt())
        m, k = index.shape
        rows = np.repeat(np.arange(m), k)
        similarity = sp.csr_array(
            (each.numpy().ravel(), (rows, index.numpy().ravel())), shape=(m, m)
        )
        return cls(points, n_neighbors, reach, similarity.maximum(similarity.T))

    def smooth(self, start: np.ndarray, strength: float) -> np.ndarray:
        """Personalised averages ``F = (1 - s) F0 + s D^-1 W F`` of starts (m, C).

        What a classifier says about a row counts together with what it says about its neighbours
        (Zhou et al. 2004; with predictions as starts, Klicpera et al. 2019).
        """
        return _iterate(_scaled(self.similarity, 1.0, 0.0), start, strength)

    def spread(self, labels: np.ndarray, strength: float) -> np.ndarray:
        """Label spreading (Zhou et al. 2004) from one-hot rows (m, C), zero where unlabelled.

        Masses are normalised by class (Zhu et al. 2003): a class with far reach does not win by
        that. Rows sum to one; rows that no label reaches are uniform.
        """
        mass = _iterate(_scaled(self.similarity, 0.5, 0.5), labels, strength)
        mass = np.maximum(mass, 0) / np.maximum(mass.sum(axis=0), 1e-12)
        mass += 1e-6 / len(mass)
        return mass / mass.sum(axis=1, keepdims=True)

    def weights(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Similarities of new points (n, d) to their nearest rows, rows summing to one.

        Returns
        -------
        weight : Tensor of shape (n, n_neighbors)
        index : LongTensor of shape (n, n_neighbors)
        """
        squared, index = nearest(points, self.points, self.n_neighbors)
        reach = squared[:, -1:].clamp(min=_shortest(self.points))
        each = torch.exp(-squared / (reach * self.reach[index]).sqrt()).clamp(min=1e-30)
        return each / each.sum(1, keepdim=True), index


@dataclass(frozen=True, eq=False)
class SpreadRegression:
    """Averages of targets that few rows have, by how easily a walk among all rows gets to these.

    Attributes
    ----------
    graph : NeighbourGraph
        Of rows with a target and without.
    sums : Tensor of shape (m, q)
        Of targets less their mean, by the walks' weights.
    mass : Tensor of shape (m,)
        Sums of these weights.
    mean : Tensor of shape (q,)
    """

    graph: NeighbourGraph
    sums: Tensor
    mass: Tensor
    mean: Tensor

    @classmethod
    def fit(
        cls, points: Tensor, targets: Tensor, weight: Tensor, others: Tensor
    ) -> SpreadRegression:
        """From points (n, d) with targets (n, q) and weights (n,), and others (m, d) without."""
        graph = NeighbourGraph.build(torch.cat([points, others]), SPREAD_NEIGHBOURS)
        mean = (weight.unsqueeze(1) * targets).sum(0) / weight.sum()
        start = weight.unsqueeze(1) * torch.cat(
            [torch.ones_like(targets[:, :1]), targets - mean], 1
        )
        start = torch.nn.functional.pad(start, (0, 0, 0, len(others)))
        found = torch.as_tensor(graph.smooth(start.numpy(), SPREAD_STRENGTH)).to(targets)
        return cls(graph, found[:, 1:], found[:, 0], mean)

    def predict(self, points: Tensor) -> Tensor:
        """At points (n, d), shape (n, q); the mean where walks get nowhere."""
        weight, index = self.graph.weights(points)
        weight = weight.to(self.sums)
        mass = (weight * self.mass[index]).sum(1, keepdim=True)
        sums = (weight.unsqueeze(2) * self.sums[index]).sum(1)
        return self.mean + sums / (mass + NO_MASS * self.mass.max())


def _scaled(similarity: sp.csr_array, left: float, right: float) -> sp.csr_array:
    """``D^-left W D^-right`` with the row sums of W in D."""
    degree = np.maximum(np.asarray(similarity.sum(axis=1)).ravel(), 1e-12)
    scaled = sp.diags_array(degree**-left) @ similarity
    return (scaled @ sp.diags_array(degree**-right)).tocsr() if right else scaled.tocsr()


def _iterate(step: sp.csr_array, start: np.ndarray, strength: float) -> np.ndarray:
    start = np.ascontiguousarray(start, dtype=np.float32)
    step = step.astype(np.float32)
    current = start
    for _ in range(MOST_ROUNDS):
        previous = current
        current = strength * (step @ previous) + (1 - strength) * start
        if np.abs(current - previous).max() < ROUND_TOL * (1 - strength):
            break
    return current.astype(np.float64)
