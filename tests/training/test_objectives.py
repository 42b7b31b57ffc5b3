"""Objectives are one number per member and row, and hidden values never reach them."""

import math
from dataclasses import replace

import pytest
import torch

from skvae.training.objectives import ImportanceWeightedBound, MaskedReconstruction

OBJECTIVES = {
    "elbo": ImportanceWeightedBound(1),
    "bound": ImportanceWeightedBound(4),
    "beta": ImportanceWeightedBound(4, beta=0.3),
    "masked": MaskedReconstruction(),
}


@pytest.fixture
def setup(toys):
    """For each objective, the kind of model it trains and a table."""
    data = toys.mixed_tensors()
    density = toys.perturb(toys.mixed_vae(data, n_members=4))
    masked = toys.mixed_vae(
        data, n_members=4, density=False, n_fixed_scales=2, n_extra_components=3
    )
    masked = toys.perturb(masked), toys.training_table(data, targets=data.regression_targets)
    return lambda name: masked if name == "masked" else (density, toys.training_table(data))


def value_and_gradients(objective, model, table, rows=None, seed=0):
    rows = torch.arange(table.n_rows) if rows is None else rows
    generator = torch.Generator().manual_seed(seed)
    value = objective(model, table, table.batch(rows), generator)
    parameters = list(model.parameters())
    gradients = torch.autograd.grad(value.sum(), parameters, allow_unused=True)
    return value.detach(), [g for g in gradients if g is not None]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_one_number_per_member_and_row(setup, name):
    value, gradients = value_and_gradients(OBJECTIVES[name], *setup(name))
    assert value.shape == (4, 60)
    assert torch.isfinite(value).all()
    assert all(torch.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("garbage", [-3.0, 1e6, math.inf, math.nan])
def test_hidden_values_reach_neither_loss_nor_gradient(setup, name, garbage):
    model, table = setup(name)
    hidden = ~table.observed
    dirty = replace(
        table,
        features=table.features.masked_fill(table.on_features(hidden), garbage),
        targets=table.targets.masked_fill(hidden, garbage),
    )
    clean = value_and_gradients(OBJECTIVES[name], model, table)
    other = value_and_gradients(OBJECTIVES[name], model, dirty)
    assert torch.equal(clean[0], other[0])
    for first, second in zip(clean[1], other[1], strict=True):
        assert torch.equal(first, second)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_held_out_values_reach_only_the_other_replica(setup, name):
    model, table = setup(name)
    held_out = table.fold == 0
    dirty = replace(
        table,
        features=table.features + 0.5 * table.on_features(held_out),
        targets=table.targets.where(~held_out, 1.0),
    )
    clean, other = (value_and_gradients(OBJECTIVES[name], model, one)[0] for one in (table, dirty))
    assert torch.equal(clean[0::2], other[0::2])  # members of replica 0
    touched = held_out.any(1)
    assert (clean[1::2, touched] != other[1::2, touched]).float().mean() > 0.9
    assert torch.equal(clean[:, ~touched], other[:, ~touched])


@pytest.mark.parametrize("name", OBJECTIVES)
def test_draws_come_from_the_generator(setup, name):
    model, table = setup(name)
    state = torch.get_rng_state()
    first, second, third = (
        value_and_gradients(OBJECTIVES[name], model, table, seed=seed)[0] for seed in (0, 0, 1)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, third)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_bound_grows_with_its_samples_and_stays_below_the_density(toys):
    model = toys.perturb(toys.gaussian_vae([toys.linear_vae(4, 1)]), 0.5)
    x = torch.randn(20, 4, generator=toys.seeded(3))
    table = toys.gaussian_table(x, fraction=1e-9)
    rows = torch.arange(20).repeat(200)
    with torch.no_grad():
        bounds = [
            ImportanceWeightedBound(k)(model, table, table.batch(rows), toys.seeded(5)).mean()
            for k in (1, 2, 4, 16)
        ]
        grid = torch.linspace(-8, 8, 1001)[:, None].expand(1, 20, -1, 1)
        mask = torch.ones(1, 20, 4, dtype=torch.bool)
        joint = model.log_likelihood(model.decode(grid), x, mask).sum(-1)
        joint = joint - 0.5 * (grid[..., 0].square() + math.log(2 * math.pi)) + math.log(0.016)
        exact = torch.logsumexp(joint, -1).mean()
    assert bounds[0] < bounds[1] < bounds[2] < bounds[3] < exact
    assert exact - bounds[3] < 0.5 * (exact - bounds[0])


def test_the_bound_is_tight_where_the_proposal_is_the_posterior(toys):
    linear = toys.linear_vae(4, 2)
    model = toys.gaussian_vae([linear])
    x = torch.randn(20, 4, generator=toys.seeded(3))
    table = toys.gaussian_table(x, toys.random_mask(20, 4), fraction=1e-9)
    value, _ = value_and_gradients(ImportanceWeightedBound(1), model, table)
    expected = linear.log_prob(x, table.observed)
    torch.testing.assert_close(value[0], expected, atol=1e-3, rtol=1e-4)


def test_masked_reconstruction_without_masking_is_the_weighted_likelihood(setup):
    model, table = setup("masked")
    batch = table.batch(torch.arange(60))
    value, _ = value_and_gradients(MaskedReconstruction(0.0, 0.25), model, table)
    z = model.posterior(batch.features, table.on_features(batch.visible)).centre
    driven = model.decode(z.unsqueeze(-2))
    each = model.log_likelihood(driven, batch.targets, batch.visible).squeeze(-2)
    torch.testing.assert_close(value, 0.25 * each.sum(-1).detach())
