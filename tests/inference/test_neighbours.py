"""Corrections come from the nearest references, and only from what they may tell."""

import dataclasses
import math

import pytest
import torch

from skvae.inference import LocalSource, MaskedSource, Table
from skvae.inference import neighbours as neighbours_module


@pytest.fixture
def setup(toys):
    """A linear model of its own features, reference rows, what is wrong with the model there."""
    model = toys.gaussian_vae([toys.linear_vae(4, 2)], hidden=(), n_members=2, density=False)
    x = torch.randn(400, 4, generator=toys.seeded(3))
    rows = Table(x, x, toys.random_mask(400, 4, 0.8), torch.arange(4))
    return MaskedSource(model, torch.arange(4)), rows


def fit(base, rows, truth=None, weight=None):
    truth = rows.targets if truth is None else truth
    weight = torch.ones(len(truth)) if weight is None else weight
    return LocalSource.fit(base, rows, truth, weight, torch.arange(truth.shape[1]))


def without(rows, column):
    observed = rows.observed.clone()
    observed[..., column] = False
    return dataclasses.replace(rows, observed=observed)


def first(table, n):
    return next(table.chunks(n))


def test_perfect_members_are_not_corrected(setup):
    base, rows = setup
    with torch.no_grad():
        truth = torch.stack([base.statistics(without(rows, j))[0, :, j] for j in range(4)], 1)
    local = fit(base, rows, truth)
    query = without(rows, 1)
    torch.testing.assert_close(local.statistics(query), base.statistics(query))


def test_a_constant_error_is_taken_back(setup):
    base, rows = setup
    with torch.no_grad():
        truth = torch.stack([base.statistics(without(rows, j))[0, :, j] for j in range(4)], 1)
    local = fit(base, rows, truth + torch.tensor([0.0, 0.5, -2.0, 0.0]))
    query = first(without(without(rows, 1), 2), 50)
    moved = local.statistics(query) - base.statistics(query)
    # Less what shrinkage holds back, which depends on how far the neighbours are.
    torch.testing.assert_close(moved[..., 1].mean(), torch.tensor(0.5), atol=0.005, rtol=0)
    torch.testing.assert_close(moved[..., 2].mean(), torch.tensor(-2.0), atol=0.02, rtol=0)
    assert (moved[..., 0] == 0).all()


def test_columns_that_a_row_shows_are_left_alone(setup):
    base, rows = setup
    local = fit(base, rows, rows.targets + 1)
    moved = (local.statistics(rows) != base.statistics(rows)).all(0)
    assert torch.equal(moved, ~rows.observed)


def test_rows_that_repeat_each_other_tell_each_other(toys, setup):
    base, rows = setup
    rows = dataclasses.replace(rows, observed=torch.ones_like(rows.observed))
    # Column 3 is noise but for the rows that it comes twice with.
    local = fit(base, rows)
    query = first(without(rows, 3), 100)
    before = (base.statistics(query)[0] - query.targets)[:, 3].square().mean()
    after = (local.statistics(query)[0] - query.targets)[:, 3].square().mean()
    assert after < 0.1 * before


def test_values_that_may_not_be_seen_do_not_matter(setup):
    base, rows = setup
    clean, dirty = (
        fit(base, dataclasses.replace(rows, features=x, targets=x), x)
        for x in (rows.features, rows.features.masked_fill(~rows.observed, math.nan))
    )
    torch.testing.assert_close(dirty.statistics(rows), clean.statistics(rows))
    other = rows.features.masked_fill(~rows.observed, 100.0)
    query = dataclasses.replace(rows, features=other)
    torch.testing.assert_close(clean.statistics(query), clean.statistics(rows))


def test_replicas_learn_from_their_own_references(toys):
    linears = [toys.linear_vae(4, 2, seed) for seed in (0, 1)]
    base = MaskedSource(toys.gaussian_vae(linears, (), 4, density=False), torch.arange(4))
    x = torch.randn(200, 4, generator=toys.seeded(3))
    masks = torch.stack([toys.random_mask(200, 4, 0.8, seed) for seed in (0, 1)])
    local = fit(base, Table(x, x, masks, torch.arange(4)))
    assert local.centres.shape[:3] == (4, 2, 200)
    only_first = masks[0] & ~masks[1]
    spoilt = fit(base, Table(x, x, masks, torch.arange(4)), x.masked_fill(only_first, 1e3))
    query = Table(x, x, torch.zeros_like(masks[0]), torch.arange(4))
    clean, dirty = local.statistics(query), spoilt.statistics(query)
    torch.testing.assert_close(clean[1::2], dirty[1::2])
    assert (dirty[::2] - clean[::2]).abs().max() > 1


def test_weight_zero_is_absence(setup):
    base, rows = setup
    weight = (torch.arange(400) < 300).float()
    query = without(first(rows, 30), 2)
    local = fit(base, rows, weight=weight)
    shown = fit(base, rows, rows.targets.where(weight[:, None] > 0, 1e3), weight)
    torch.testing.assert_close(shown.statistics(query), local.statistics(query))


@pytest.mark.parametrize("budget", [1, 10_000])
def test_answers_do_not_depend_on_other_rows(toys, setup, budget, monkeypatch):
    base, rows = setup
    local = fit(base, rows)
    whole = local.statistics(rows)
    monkeypatch.setattr(neighbours_module, "DISTANCES_AT_ONCE", budget)
    order = torch.randperm(400, generator=toys.seeded())[:150]
    part = Table(rows.features[order], rows.targets[order], rows.observed[order], torch.arange(4))
    torch.testing.assert_close(local.statistics(part), whole[:, order], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_few_references_give_finite_answers(setup, n):
    base, rows = setup
    local = fit(base, first(rows, n))
    assert torch.isfinite(local.statistics(rows)).all()


def test_a_column_that_nobody_knows_is_not_corrected(setup):
    base, rows = setup
    local = fit(base, without(rows, 2))
    query = without(rows, 2)
    torch.testing.assert_close(
        local.statistics(query)[..., 2], base.statistics(query)[..., 2], atol=1e-6, rtol=0
    )


def test_probabilities_still_sum_to_one(toys):
    data = toys.mixed_tensors(80)
    model = toys.perturb(toys.mixed_vae(data, density=False))
    order = torch.argsort(model.likelihoods.stat_columns, stable=True)
    base = MaskedSource(model, order)
    table = Table(data.features, data.targets, data.observed, data.feature_columns)
    stat_columns = model.likelihoods.stat_columns[order]
    with torch.no_grad():
        truth = base.statistics(table)[0].roll(1, 0)
    local = LocalSource.fit(base, table, truth, data.weight, stat_columns)
    statistics = local.statistics(table)
    for column in (3, 4, 5):
        total = statistics[..., stat_columns == column].sum(-1)
        torch.testing.assert_close(total, torch.ones_like(total), atol=1e-4, rtol=0)


def test_memory_is_bounded(setup):
    model = setup[0].model
    for p in (1, 100, 10_000):
        m = LocalSource.n_references(model, p, 1000)
        assert 1 <= m <= neighbours_module.MOST_REFERENCES
        numbers = m * p * model.n_members * model.n_components
        assert numbers <= neighbours_module.MOST_NUMBERS


def test_many_repetitions_count_the_same(toys, setup):
    """Distances of zero are rounding errors: they must not choose, nor weigh, alone or in a batch.

    Found as fills that moved by the column's spread with whoever else was in the batch.
    """
    base, _ = setup
    g = toys.seeded(5)
    kinds = torch.randn(8, 4, generator=g)
    x = kinds[torch.randint(8, (400,), generator=g)]
    x[:, 3] += torch.randn(400, generator=g)
    rows = Table(x, x, torch.ones(400, 4, dtype=torch.bool), torch.arange(4))
    query = without(rows, 3)
    local = fit(base, rows)
    together = local.statistics(query)
    alone = [local.statistics(part) for part in query.chunks(1)]
    torch.testing.assert_close(torch.cat(alone, 1), together, atol=1e-4, rtol=1e-4)
    # Twelve and more twins tell the mean of their kind, up to what a mean of so many may miss.
    error = together[0, :, 3] - torch.stack([x[(x[:, 0] == one), 3].mean() for one in x[:, 0]])
    assert error.square().mean().sqrt() < 0.6


def test_time_is_linear_in_rows(setup):
    model = setup[0].model
    few, more, many = (LocalSource.n_references(model, 20, n) for n in (10**4, 10**5, 10**7))
    assert few > more
    assert more * 10**5 <= neighbours_module.MOST_PAIRS
    assert many == neighbours_module.FEWEST_REFERENCES
