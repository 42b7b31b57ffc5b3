"""Rows beside the models that score them."""

import math
from dataclasses import replace

import numpy as np
import torch
from numpy.testing import assert_allclose, assert_array_equal

from skvae.inference import Table
from skvae.inference.scored import ScoredRows, Share


def scored(toys, weights=(0.3, 0.7), n=6, members=2):
    x = torch.randn(n, 4, generator=toys.seeded(1))
    table = Table(x, x, toys.random_mask(n, 4), torch.arange(4))
    linears = [toys.linear_vae(4, 2, seed) for seed in range(members)]
    shares = tuple(Share(toys.gaussian_vae(linears, ()), table, weight) for weight in weights)
    return ScoredRows(shares, np.arange(float(n)), np.arange(n) == 2, seed=5)


def test_mixtures_are_over_shares_and_their_members(toys):
    rows = scored(toys)
    each = [torch.randn(2, 6, 3, generator=toys.seeded(seed)) for seed in range(2)]
    mixed = rows.mixed(each)
    assert mixed.dtype == torch.float64
    density = 0.15 * each[0].double().exp().sum(0) + 0.35 * each[1].double().exp().sum(0)
    assert_allclose(mixed, density.log())
    alone = replace(rows, shares=(replace(rows.shares[0], weight=1.0),))
    assert_allclose(alone.mixed(each[:1]), each[0].double().exp().mean(0).log())


def test_mixtures_of_bounds_are_bounds(toys):
    # By Jensen's inequality, whatever the models' own probabilities.
    rows = scored(toys)
    draws = [torch.randn(2, 6, 50, generator=toys.seeded(seed)) for seed in range(2)]
    bound = rows.mixed([each.mean(-1) for each in draws])
    log_prob = rows.mixed([each.logsumexp(-1) - math.log(50) for each in draws])
    assert (bound < log_prob).all()


def test_units_and_silent_rows(toys):
    rows = scored(toys)
    values = rows.in_units(torch.ones(6, 2))
    assert_array_equal(values[2], 0.0)
    assert_allclose(values[[0, 1, 5]], np.array([1.0, 2.0, 6.0])[:, None].repeat(2, 1))


def test_chunks_bear_in_mind_samples_members_and_memory(toys, monkeypatch):
    monkeypatch.setattr("skvae.inference.scored.DECODED_AT_ONCE", 24)
    (share, _) = scored(toys).shares
    assert [len(part.features) for part in share.chunks(3)] == [4, 2]
    assert [len(part.features) for part in replace(share, most_rows=1).chunks(3)] == [1] * 6
