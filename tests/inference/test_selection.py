"""Predictions of what is hidden, given that it is."""

import math

import pytest
import torch
from torch.distributions import Normal
from torch.nn.functional import logsigmoid

from skvae.inference.ensemble import Table
from skvae.inference.selection import N_SAMPLES, SelectionSource, Units
from skvae.models import LinearVAE

LEVELS = [0.1, 0.5, 0.9]


def identity(m, link=0):
    """Units in which features are targets."""
    zero, one = torch.zeros(m), torch.ones(m)
    return Units(torch.full((m,), link), zero, one, -40 * one, 40 * one, one, zero)


def source(model, units=None, seed=0):
    units = units or identity(len(model.columns.numeric))
    return SelectionSource(model, units, model.likelihoods.stat_order, seed)


def one_latent():
    return LinearVAE(
        torch.tensor([[0.9], [0.7]]), torch.tensor([0.2, -0.1]), torch.tensor([0.4, 0.5])
    )


def half_seen(n=9):
    """Two columns, the first always hidden."""
    x = torch.stack([torch.zeros(n), torch.linspace(-2, 2, n)], 1)
    observed = torch.tensor([False, True]).expand(n, 2)
    return Table(x, x, observed, torch.arange(2))


@pytest.fixture
def mixed(toys):
    """Two members and five kinds of columns, whose statistics come in another order."""
    model, data = toys.mixed_selection_vae()
    table = Table(data.features, data.targets, data.observed, data.feature_columns)
    return model, table


@pytest.fixture(autouse=True)
def _without_gradients():
    with torch.no_grad():
        yield


# Against quadrature -----------------------------------------------------------------------------


def tilted_conditional(model, table, direction, missing):
    """``p(x_0 | x_1, mask)`` of the linear model on a grid, (n, grid)."""
    y = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    loadings, noise = model.loadings[0, :, 0].double(), model.noise_variance[0].double()
    mean = model.mean[0].double()
    variance = loadings.square() + noise
    gain = loadings[0] * loadings[1] / variance[1]
    centre = mean[0] + gain * (table.features[:, 1].double() - mean[1])
    spread = (variance[0] - gain * loadings[0] * loadings[1]).sqrt()
    log = Normal(centre[:, None], spread).log_prob(y)
    sign = direction if missing else -direction
    return y, (log + logsigmoid(sign * 3.0 * (y - 0.3))).softmax(-1)


@pytest.mark.parametrize("direction", [1.0, -1.0])
@pytest.mark.parametrize("missing", [True, False])
def test_predictions_are_conditional_on_value_and_mask(toys, direction, missing, monkeypatch):
    monkeypatch.setattr("skvae.inference.selection.N_SAMPLES", 4096)
    model = toys.selection_vae(
        [one_latent()], [True, False], slope=3.0, direction=direction, threshold=0.3
    )
    table = half_seen()
    if not missing:  # the table has the value, but not for us
        nothing = torch.zeros_like(table.observed)
        table = Table(table.features, table.targets, table.observed, torch.arange(2), None, nothing)
    y, mass = tilted_conditional(model, table, direction, missing)
    expected = mass @ y
    spread = (mass @ y.square() - expected.square()).sqrt()
    mean, variance = (part[0, :, 0].double() for part in source(model).moments(table))
    assert ((mean - expected).abs() / spread).max() < 0.03
    assert (variance.sqrt() / spread - 1).abs().max() < 0.05
    quantiles = source(model).quantiles(table, LEVELS)[..., 0].double()
    for level, one in zip(LEVELS, quantiles, strict=True):
        below = (mass * (y <= one[:, None])).sum(-1)
        assert (below - level).abs().max() < 0.02


@pytest.mark.parametrize("direction", [1.0, -1.0])
def test_what_is_beyond_a_limit_is_drawn_there(toys, direction):
    model = toys.selection_vae(
        [one_latent()], [True, False], direction=direction, step=True, limit=0.5 * direction
    )
    table, found = half_seen(), source(model)
    (drawn,) = found.draw(table, 200, toys.seeded(3))
    hidden = direction * drawn[..., 0]
    assert (hidden > 0.48).all()
    assert hidden.max() > 1.0
    assert (direction * found.statistics(table)[..., 0] > 0.5).all()
    assert (direction * found.quantiles(table, [0.01, 0.5])[..., 0] > 0.48).all()
    # Entries that are held out are not missing, and so on the other side.
    nothing = torch.zeros_like(table.observed)
    held = Table(table.features, table.targets, table.observed, torch.arange(2), None, nothing)
    (drawn,) = found.draw(held, 200, toys.seeded(3))
    assert (direction * drawn[..., 0] < 0.52).all()


# Against each other -----------------------------------------------------------------------------


def test_moments_quantiles_and_draws_agree(toys, monkeypatch):
    monkeypatch.setattr("skvae.inference.selection.N_SAMPLES", 1024)
    linears = [toys.linear_vae(4, 2, seed) for seed in range(2)]
    found = source(toys.selection_vae(linears, [True, True, False, False]))
    x = torch.randn(8, 4, generator=toys.seeded(1))
    observed = toys.random_mask(8, 4, 0.5)
    table = Table(x, x, observed, torch.arange(4))
    mean, variance = found.moments(table)
    draws = torch.cat([next(found.draw(table, 400, toys.seeded(seed))) for seed in range(10)])
    spread = (variance.mean(0) + mean.var(0, unbiased=False)).sqrt()
    away = (draws.mean(0) - mean.mean(0)) / spread
    assert away[~observed].abs().max() < 0.1
    assert (draws.std(0) / spread - 1)[~observed].abs().max() < 0.1
    for level, quantile in zip(LEVELS, found.quantiles(table, LEVELS), strict=True):
        below = (draws <= quantile).float().mean(0)
        assert (below - level)[~observed].abs().max() < 0.05


def test_statistics_are_moments_and_come_in_column_order(mixed):
    model, table = mixed
    numeric, found = model.columns.numeric, source(model)
    at = model.likelihoods.stat_columns[model.likelihoods.stat_order]
    numbers = [int((at == column).nonzero()) for column in numeric]
    mean = found.moments(table)[0]
    torch.testing.assert_close(found.statistics(table)[..., numbers], mean[..., numeric])


def test_levels_have_probabilities_and_draws_follow_them(toys, mixed):
    model, table = mixed
    table = table.take(slice(0, 12))
    found = source(model)
    at = model.likelihoods.stat_columns[model.likelihoods.stat_order]
    statistics = found.statistics(table).mean(0)
    draws = torch.cat([next(found.draw(table, 400, toys.seeded(seed))) for seed in range(10)])
    for column in (2, 3, 4):
        probabilities = statistics[:, at == column]
        torch.testing.assert_close(probabilities.sum(-1), torch.ones(12))
        codes = torch.arange(probabilities.shape[-1])
        shares = (draws[..., column, None] == codes).float().mean(0)
        hidden = ~table.observed[:, column]
        assert (shares - probabilities)[hidden].abs().max() < 0.15


def test_hidden_codes_are_where_the_law_hides_them(mixed):
    # Direction 1: a hole in a binary or ordered column speaks for high codes.
    model, table = mixed
    nothing = torch.zeros_like(table.observed)
    blank = Table(
        table.features, table.targets, table.observed & False, table.feature_columns, None, nothing
    )
    holes = Table(
        table.features, table.targets, table.observed & False, table.feature_columns, None, ~nothing
    )
    at = model.likelihoods.stat_columns[model.likelihoods.stat_order]
    shown, hidden = (source(model).statistics(one.take(slice(0, 1))) for one in (blank, holes))
    for column, member in [(2, 0), (2, 1), (4, 0), (4, 1)]:
        own = at == column
        codes = torch.arange(int(own.sum())).float()
        assert hidden[member, 0, own] @ codes > shown[member, 0, own] @ codes + 0.05


# Tables -----------------------------------------------------------------------------------------


def test_rows_do_not_depend_on_their_neighbours(toys, mixed):
    model, table = mixed
    found, n = source(model), len(table.features)
    order = torch.randperm(n, generator=toys.seeded(1))
    for function in (
        found.statistics,
        lambda one: found.moments(one)[0],
        lambda one: found.moments(one)[1],
        lambda one: found.quantiles(one, LEVELS),
        lambda one: found.log_prob(one)[None],
        lambda one: found.effective_sample_size(one)[None],
    ):
        whole = function(table)
        torch.testing.assert_close(function(table.take(order)), whole[:, order])
        one_by_one = [function(table.take(slice(i, i + 1))) for i in range(5)]
        torch.testing.assert_close(torch.cat(one_by_one, 1), whole[:, :5], rtol=1e-4, atol=1e-4)
        assert torch.equal(function(table), whole)


def test_tables_come_in_chunks(toys, mixed):
    model, table = mixed
    found = source(model)
    rows = torch.arange(2 * found.chunk_size + 7) % len(table.features)
    long = table.take(rows)
    torch.testing.assert_close(found.statistics(long), found.statistics(table)[:, rows])
    shapes = [part.shape for part in found.draw(long, 3, toys.seeded())]
    assert [shape[0] for shape in shapes] == [3] * 3
    assert sum(shape[1] for shape in shapes) == len(rows)
    empty = table.take(slice(0, 0))
    assert found.statistics(empty).shape == (2, 0, model.likelihoods.n_statistics)
    assert found.log_prob(empty).shape == (0,)
    assert next(iter(found.draw(empty, 3, toys.seeded()))).shape == (3, 0, 5)


def test_seeds_decide_and_the_global_generator_is_left_alone(toys, mixed):
    model, table = mixed
    state = torch.get_rng_state()
    first, again, other = (source(model, seed=s).statistics(table) for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    one, two = (next(source(model).draw(table, 2, toys.seeded(s))) for s in (4, 4))
    assert torch.equal(one, two)
    assert torch.equal(torch.get_rng_state(), state)


def test_effective_sample_sizes_are_between_one_and_all(toys, mixed):
    size = source(mixed[0]).effective_sample_size(mixed[1])
    assert (size >= 1).all()
    assert (size <= N_SAMPLES + 1e-3).all()
    # With nothing to select the posterior of a linear model is exact.
    model = toys.selection_vae([one_latent()], [False, False])
    size = source(model).effective_sample_size(half_seen())
    torch.testing.assert_close(size, torch.full((9,), float(N_SAMPLES)), rtol=1e-3, atol=0)


def test_members_are_mixed_in_the_density(toys):
    linears = [toys.linear_vae(3, 1, seed) for seed in range(2)]
    model = toys.selection_vae(linears, [False] * 3)
    x = torch.randn(20, 3, generator=toys.seeded(1))
    observed = toys.random_mask(20, 3, 0.7)
    result = source(model).log_prob(Table(x, x, observed, torch.arange(3)))
    assert result.dtype == torch.float64
    each = torch.stack([one.log_prob(x, observed) for one in linears])
    expected = each.double().logsumexp(0) - math.log(2)
    torch.testing.assert_close(result, expected, atol=1e-4, rtol=1e-4)


# Units ------------------------------------------------------------------------------------------


def test_units_know_their_derivative():
    link = torch.tensor([0, 1, 2])
    one, zero = torch.ones(3), torch.zeros(3)
    units = Units(
        link,
        torch.tensor([0.0, 0.3, 1.2]),
        torch.tensor([1.0, 0.7, 0.4]),
        -40 * one,
        40 * one,
        one,
        zero,
    )
    features = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    with torch.enable_grad():
        features.requires_grad_()
        (slope,) = torch.autograd.grad(units.targets(features).sum(), features)
    torch.testing.assert_close(units.log_derivative(features), -slope.log(), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("link", [0, 1, 2])
def test_targets_stay_within_reach(link):
    units = identity(1, link)
    targets = units.targets(torch.tensor([-1e4, 0.0, 1e4])[:, None])
    assert torch.isfinite(targets).all()
    assert targets.max() == 40
    assert targets.min() == {0: -40, 1: 0, 2: -1}[link]
