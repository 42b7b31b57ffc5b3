"""Held-out labels: who is trusted, how sharp probabilities are, how frequent classes are."""

import numpy as np
import pytest
from scipy.stats import norm

from skvae.inference.label_stack import (
    mixture_weights,
    reweigh,
    sharpen,
    shifted_prior,
    temperature,
)


def drawn(n=4000, n_classes=3, seed=0):
    """Probabilities, and labels drawn from them."""
    random = np.random.default_rng(seed)
    p = random.dirichlet(np.full(n_classes, 0.7), n)
    codes = (p.cumsum(axis=1) < random.random((n, 1))).sum(axis=1)
    return p, codes, np.ones(n)


def log_likelihood(weights, sources, codes):
    mixed = np.einsum("s,snc->nc", weights, sources)
    return np.log(mixed[np.arange(len(codes)), codes]).sum()


def test_the_source_that_knows_is_trusted():
    p, codes, weight = drawn()
    guess = np.random.default_rng(1).permutation(p)
    weights = mixture_weights(np.stack([guess, p]), codes, weight, np.full(2, 1.0))
    assert weights.sum() == pytest.approx(1)
    assert weights[1] > 0.95


def test_weights_are_most_likely_ones():
    p, codes, weight = drawn(400)
    sources = np.stack([p, p[:, [1, 0, 2]], np.full_like(p, 1 / 3)])
    best = mixture_weights(sources, codes, weight, np.full(3, 1e-6), n_iter=3000)
    top = log_likelihood(best, sources, codes)
    for other in np.random.default_rng(0).dirichlet(np.ones(3), 50):
        assert log_likelihood(0.9 * best + 0.1 * other, sources, codes) <= top + 1e-3


def test_few_labels_leave_weights_near_the_prior():
    p, codes, weight = drawn(3)
    weights = mixture_weights(np.stack([p, p[::-1]]), codes, weight, np.array([300.0, 100.0]))
    assert weights == pytest.approx([0.75, 0.25], abs=0.01)


def test_weights_count_as_rows():
    p, codes, _ = drawn(50)
    other = np.random.default_rng(1).dirichlet(np.ones(3), 50)
    times = np.random.default_rng(2).integers(1, 4, 50)
    sources, prior = np.stack([p, other]), np.ones(2)
    once = mixture_weights(sources, codes, times.astype(float), prior)
    repeated = np.repeat(np.arange(50), times)
    many = mixture_weights(sources[:, repeated], codes[repeated], np.ones(len(repeated)), prior)
    assert once == pytest.approx(many)


@pytest.mark.parametrize("power", [0.5, 1.0, 2.5])
def test_temperature_undoes_a_wrong_one(power):
    p, codes, weight = drawn()
    assert temperature(sharpen(p, power), codes, weight) == pytest.approx(1 / power, rel=0.1)


def test_learned_frequencies_are_those_of_the_rows():
    random = np.random.default_rng(0)
    codes = (random.random(5000) < 0.15).astype(int)
    x = random.normal(size=5000) + 2 * codes
    density = norm.pdf(x[:, None], [0, 2])
    balanced = density / density.sum(axis=1, keepdims=True)  # as if classes were equally frequent
    even = np.full(2, 0.5)
    prior = shifted_prior(balanced, even, np.ones(5000), 0.0)
    assert prior[1] == pytest.approx(0.15, abs=0.02)
    assert shifted_prior(balanced, even, np.ones(5000), 1e9) == pytest.approx(even, abs=1e-3)
    exact = density * prior
    assert reweigh(balanced, prior / even) == pytest.approx(
        exact / exact.sum(axis=1, keepdims=True)
    )
