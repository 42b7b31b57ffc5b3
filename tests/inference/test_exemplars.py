"""Distances to training rows, and the features that latents stand for."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from skvae.inference.exemplars import Exemplars

RANDOM = torch.Generator().manual_seed(0)
POINTS = torch.randn(200, 4, generator=RANDOM)
NEW = torch.randn(50, 4, generator=RANDOM)


def brute(fit, query, k):
    distances, places = NearestNeighbors(n_neighbors=k).fit(fit.numpy()).kneighbors(query.numpy())
    return np.log(distances.mean(1)), places


def test_distance_is_the_log_mean_distance_of_the_nearest():
    expected, _ = brute(POINTS, NEW, 7)
    np.testing.assert_allclose(
        Exemplars.of(POINTS, 7).distance(NEW), expected, rtol=1e-4, atol=1e-5
    )


def test_exemplars_are_no_neighbours_of_themselves():
    exemplars = Exemplars.of(POINTS, 3)
    left_out = exemplars.distance(POINTS)
    without = torch.cat(
        [
            Exemplars.of(torch.cat([POINTS[:i], POINTS[i + 1 :]]), 3).distance(POINTS[i : i + 1])
            for i in range(10)
        ]
    )
    torch.testing.assert_close(left_out[:10], without, rtol=1e-5, atol=1e-6)
    rounded = exemplars.distance(POINTS + 1e-5)  # of rows that decoders put there in other batches
    torch.testing.assert_close(rounded, left_out, rtol=0, atol=1e-3)


def test_local_takes_half_of_the_neighbours_spacing():
    exemplars = Exemplars.of(POINTS, 5)
    distance, places = brute(POINTS, NEW, 5)
    expected = distance - 0.5 * exemplars.spacing.numpy()[places].mean(1)
    np.testing.assert_allclose(exemplars.local(NEW), expected, rtol=1e-4, atol=1e-5)


def test_distances_do_not_depend_on_company():
    exemplars = Exemplars.of(POINTS, 5)
    alone = torch.cat([exemplars.local(row[None]) for row in NEW])
    torch.testing.assert_close(exemplars.local(NEW), alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_or_repeated_exemplars_give_finite_distances(n):
    exemplars = Exemplars.of(torch.zeros(n, 2), 10)
    for points in (torch.zeros(2, 2), torch.ones(2, 2)):
        assert torch.isfinite(exemplars.distance(points)).all()
        assert torch.isfinite(exemplars.local(points)).all()
