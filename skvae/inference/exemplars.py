"""Distance to the training rows that lie nearest, holes filled by the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from skvae.distributions.continuous import LogNormal
from skvae.distributions.counts import NegativeBinomial, Poisson
from skvae.distributions.finite import FiniteLikelihood
from skvae.models.start import FeatureSpec
from skvae.models.vae import VAE

# Distances held at once.
DISTANCES_AT_ONCE = 8_000_000
# In standard deviations: repeated rows are no nearer than this.
SHORTEST = 1e-6
# Up to here a point is taken for the exemplar itself: decoders may magnify what rounding does.
OWN = 1e-4


def expected_features(model: VAE, specs: Sequence[FeatureSpec], z: Tensor) -> Tensor:
    """Standardised features that latents (1, n, k) stand for, shape (n, q)."""
    likelihoods = model.likelihoods
    # Parameters of columns are laid out for samples of z: here is one for each row.
    statistics = model.statistics(model.decode(z.unsqueeze(-2)))[0].squeeze(-2)
    parts = statistics.index_select(1, likelihoods.stat_order).split(
        [likelihood.n_statistics for likelihood in likelihoods.likelihoods], dim=1
    )
    columns = []
    for spec, likelihood, value in zip(specs, likelihoods.likelihoods, parts, strict=True):
        if isinstance(likelihood, FiniteLikelihood):
            columns.append(_of_probabilities(spec, value))
        elif isinstance(likelihood, LogNormal):  # in units of the geometric mean
            columns.append(value.clamp(min=1e-30).log() / spec.scale)
        elif isinstance(likelihood, NegativeBinomial | Poisson):
            columns.append((value.clamp(min=0).log1p() - spec.location) / spec.scale)
        else:
            columns.append(value)
    return torch.cat(columns, dim=1)


def _of_probabilities(spec: FeatureSpec, probs: Tensor) -> Tensor:
    """Features of a column from the probabilities (n, C) of its levels."""
    width = spec.features.stop - spec.features.start
    if width > 1:
        p = torch.tensor(spec.probabilities, dtype=probs.dtype)
        return (probs - p) / (p * (1 - p)).clamp(min=1e-4).sqrt()
    codes = torch.arange(probs.shape[1], dtype=probs.dtype)
    return ((probs @ codes).unsqueeze(1) - spec.location) / spec.scale


@dataclass(frozen=True, eq=False)
class Exemplars:
    """Training rows as points, and how far each is from its own neighbours.

    A point that is an exemplar is no neighbour of itself, so that training rows and new ones like
    them are measured alike.

    Attributes
    ----------
    points : Tensor of shape (m, d)
    n_neighbours : int
        How many of them are near, where there are as many.
    spacing : Tensor of shape (m,)
        Log of each point's mean distance to the nearest others.
    """

    points: Tensor
    n_neighbours: int
    spacing: Tensor

    @classmethod
    def of(cls, points: Tensor, n_neighbours: int) -> Exemplars:
        """Of points (m, d)."""
        alone = cls(points, n_neighbours, points.new_zeros(len(points)))
        return cls(points, n_neighbours, alone.distance(points))

    def distance(self, points: Tensor) -> Tensor:
        """Log of the mean distance of points (n, d) to the nearest exemplars, shape (n,)."""
        return _log(self._nearest(points)[0].mean(1))

    def local(self, points: Tensor) -> Tensor:
        """`distance` less half of what it is for the neighbours themselves, shape (n,).

        All of it would make the local outlier factor (Breunig et al. 2000), none the distance:
        half is between an odd place and an empty one.
        """
        distance, nearest = self._nearest(points)
        return _log(distance.mean(1)) - 0.5 * self.spacing[nearest].mean(1)

    def _nearest(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Distances to the nearest exemplars, near ones first, and which they are; (n, k)."""
        k = min(self.n_neighbours + 1, len(self.points))
        parts = [
            self._distances(some).topk(k, largest=False)
            for some in points.split(max(1, DISTANCES_AT_ONCE // len(self.points)))
        ]
        distances, places = (torch.cat(part) for part in zip(*parts, strict=True))
        if k == 1:
            return distances, places
        # A point at no distance is the point itself; of the others the farthest is one too many.
        own = distances[:, :1] <= OWN
        return (
            torch.where(own, distances[:, 1:], distances[:, :-1]),
            torch.where(own, places[:, 1:], places[:, :-1]),
        )

    def _distances(self, points: Tensor) -> Tensor:
        # By way of matrix products they would be rounded differently from batch to batch.
        return torch.cdist(points, self.points, compute_mode="donot_use_mm_for_euclid_dist")


def _log(distance: Tensor) -> Tensor:
    return distance.double().clamp(min=SHORTEST).log()
