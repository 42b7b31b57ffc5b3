"""Averages over neighbours: closed forms, and no dependence on who else is asked about."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from skvae.inference.propagation import (
    SPREAD_STRENGTH,
    NeighbourGraph,
    SpreadRegression,
    nearest,
)


def points(n=60, d=3, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def test_nearest_are_the_nearest():
    x, y = points(40), points(90, seed=1)
    squared, index = nearest(x, y, 7)
    distance, expected = NearestNeighbors(n_neighbors=7).fit(y.numpy()).kneighbors(x.numpy())
    assert np.array_equal(index.numpy(), expected)
    assert squared.sqrt().numpy() == pytest.approx(distance, abs=1e-5)


def test_no_row_is_its_own_neighbour():
    x = points(30)
    _, index = nearest(x, x, 29, themselves=True)
    assert not (index == torch.arange(30)[:, None]).any()


def test_ties_go_to_the_first_whatever_the_batch():
    twice = points(20).round().repeat(3, 1)  # many distances are equal
    _, index = nearest(twice, twice, 5)
    alone = torch.cat([nearest(row[None], twice, 5)[1] for row in twice])
    assert torch.equal(index, alone)


def test_what_rounding_tells_apart_is_a_tie():
    """More rows than candidates repeat each other but for rounding."""
    exact = points(2).repeat(40, 1)
    graph = NeighbourGraph.build(exact * (1 + 1e-7 * points(80, seed=1)), 5)
    first, second = (graph.weights(exact * (1 + 1e-7 * points(80, seed=s))) for s in (2, 3))
    assert torch.equal(first[1].sort().values, second[1].sort().values)
    torch.testing.assert_close(first[0], second[0], atol=1e-3, rtol=0)
    alone = torch.cat([graph.weights(row[None])[1] for row in exact])
    assert torch.equal(graph.weights(exact)[1].sort().values, alone.sort().values)


def test_few_rows_have_few_neighbours():
    x = points(3)
    assert nearest(x, x, 10)[1].shape == (3, 3)
    assert nearest(x, x, 10, themselves=True)[1].shape == (3, 2)
    assert NeighbourGraph.build(points(1), 10).smooth(np.eye(1), 0.5) == pytest.approx(1)


@pytest.mark.parametrize("strength", [0.3, 0.8])
def test_smoothing_solves_its_linear_system(strength):
    graph = NeighbourGraph.build(points(), 6)
    start = np.random.default_rng(0).dirichlet(np.ones(3), 60)
    walk = graph.similarity.toarray()
    walk /= walk.sum(axis=1, keepdims=True)
    exact = (1 - strength) * np.linalg.solve(np.eye(60) - strength * walk, start)
    smooth = graph.smooth(start, strength)
    assert smooth == pytest.approx(exact, abs=1e-3)
    assert smooth.sum(axis=1) == pytest.approx(1, abs=1e-3)


def test_similarity_is_symmetric_and_sparse():
    graph = NeighbourGraph.build(points(200), 5)
    matrix = graph.similarity.toarray()
    assert np.allclose(matrix, matrix.T)
    assert 5 <= (matrix > 0).sum(axis=1).max() <= 50


def test_labels_spread_within_clusters():
    near, far = points(50), points(50, seed=1) + 20
    graph = NeighbourGraph.build(torch.cat([near, far]), 5)
    labels = np.zeros((100, 2))
    labels[0, 0] = labels[99, 1] = 1
    spread = graph.spread(labels, 0.99)
    assert spread.sum(axis=1) == pytest.approx(1)
    assert (spread.argmax(axis=1) == np.repeat([0, 1], 50)).all()


def test_rows_that_no_label_reaches_are_undecided():
    graph = NeighbourGraph.build(torch.cat([points(30), points(30, seed=1) + 50]), 5)
    labels = np.zeros((60, 2))
    labels[0, 0] = labels[1, 1] = 1
    assert graph.spread(labels, 0.9)[30:] == pytest.approx(0.5)


def test_weights_of_new_rows():
    graph = NeighbourGraph.build(points(80), 8)
    new = points(10, seed=3)
    weight, index = graph.weights(new)
    assert weight.sum(1).numpy() == pytest.approx(1, abs=1e-5)
    alone = graph.weights(new[4:5])
    assert torch.equal(alone[0], weight[4:5])
    assert torch.equal(alone[1], index[4:5])


def spread_regression(x, targets, others, weight=None):
    weight = torch.ones(len(x)) if weight is None else weight
    return SpreadRegression.fit(x, targets, weight, others)


def test_spread_numbers_are_averages_by_the_walks_in_closed_form():
    x, others = points(60, 2).split([15, 45])
    targets = points(15, 3, seed=1)
    found = spread_regression(x, targets, others)
    walk = found.graph.similarity.toarray()
    walk = walk / walk.sum(axis=1, keepdims=True)
    walks = np.linalg.inv(np.eye(60) - SPREAD_STRENGTH * walk)[:, :15]
    expected = walks @ targets.numpy() / walks.sum(axis=1, keepdims=True)
    sums = found.sums / found.mass.unsqueeze(1) + found.mean
    np.testing.assert_allclose(sums.numpy(), expected, atol=5e-3)


def test_spread_numbers_lie_between_the_targets():
    x, others = points(80, 2).split([20, 60])
    targets = points(20, 1, seed=1)
    predicted = spread_regression(x, targets, others).predict(2 * others)
    assert predicted.min() >= targets.min() - 1e-4
    assert predicted.max() <= targets.max() + 1e-4
    same = spread_regression(x, torch.full((20, 1), 7.0), others)
    torch.testing.assert_close(same.predict(others), torch.full((60, 1), 7.0))


def test_rows_without_weight_spread_nothing():
    x, others = points(80, 2).split([20, 60])
    targets = points(20, 1, seed=1)
    weight = (torch.arange(20) < 15).float()
    changed = targets.clone()
    changed[15:] = 1e3
    one, other = (spread_regression(x, each, others, weight) for each in (targets, changed))
    torch.testing.assert_close(one.predict(others), other.predict(others))


def test_numbers_follow_the_cloud_that_they_lie_in():
    angle = torch.linspace(0, torch.pi, 200)
    one = torch.stack([angle.cos(), angle.sin()], 1)
    two = torch.stack([1 - angle.cos(), 0.4 - angle.sin()], 1)
    x = torch.cat([one, two]) + 0.05 * points(400, 2)
    targets = torch.cat([torch.ones(200, 1), -torch.ones(200, 1)])
    known = torch.arange(400) % 100 == 30  # two of each cloud
    found = spread_regression(x[known], targets[known], x[~known])
    assert (found.predict(x).sign() == targets).float().mean() > 0.95
