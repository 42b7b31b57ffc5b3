"""Averages over neighbours: closed forms, and no dependence on who else is asked about."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from skvae.inference.propagation import NeighbourGraph, nearest


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
