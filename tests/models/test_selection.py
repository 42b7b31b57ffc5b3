"""A model of values and holes is a density of both, whatever hidden entries hold."""

import math

import pytest
import torch
from torch.distributions import Normal
from torch.nn.functional import logsigmoid

from skvae.inference.importance import noise_block
from skvae.models import LinearVAE
from skvae.models.selection import Piles, Rows


def estimate(model, rows, n=4096, seed=0):
    """``log p(x_o, s)`` from `n` samples, (n_members, batch)."""
    g = torch.Generator().manual_seed(seed)
    m = len(model.columns.numeric)
    noise = torch.randn(n, model.n_components, generator=g)
    found = model.evaluate(rows, noise, torch.randn(n, m, generator=g))
    return found.log_weights.double().logsumexp(-1) - math.log(n)


def all_seen(x):
    """Rows without holes."""
    mask = torch.ones_like(x, dtype=torch.bool)
    return Rows(x, x, mask[None], ~mask)


# Hidden values ----------------------------------------------------------------------------------


@pytest.mark.parametrize("garbage", [math.nan, math.inf, -1e30, 3.0])
@pytest.mark.parametrize("law", ["self", "network", "latent"])
@pytest.mark.parametrize("hidden", [(), (6,)])
def test_hidden_values_do_not_matter(toys, garbage, law, hidden):
    model, data = toys.mixed_selection_vae(law, hidden)
    held_out = data.observed & toys.random_mask(*data.observed.shape, 0.2, 9)
    visible = data.observed & ~held_out
    on_features = visible[:, data.feature_columns]
    results = []
    for features, targets in [
        (data.features, data.targets),
        (data.features.where(on_features, garbage), data.targets.where(visible, garbage)),
    ]:
        rows = Rows(features, targets, visible[None], ~data.observed)
        g = toys.seeded(5)
        shape = (2, len(features), 7)
        noises = [torch.randn(*shape, width, generator=g) for width in (2, 2)]
        log_weights = model.evaluate(rows, *noises).log_weights
        loss = log_weights.logsumexp(-1).sum()
        used = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
        results.append([log_weights, *(g for g in used if g is not None)])
    for clean, dirty in zip(*results, strict=True):
        assert torch.isfinite(clean).all()
        assert torch.equal(clean, dirty)


def test_members_may_see_different_entries(toys):
    model, data = toys.mixed_selection_vae()
    masks = torch.stack(
        [data.observed & toys.random_mask(*data.observed.shape, 0.8, s) for s in (1, 2)]
    )
    together = estimate(model, Rows(data.features, data.targets, masks, ~data.observed), 64)
    for e in range(2):
        alone = Rows(data.features, data.targets, masks[e : e + 1], ~data.observed)
        torch.testing.assert_close(together[e], estimate(model, alone, 64)[e])


# Densities --------------------------------------------------------------------------------------


def test_with_nothing_selected_the_density_is_that_of_the_linear_vae(toys):
    linears = [toys.linear_vae(4, 2, seed) for seed in range(2)]
    model = toys.selection_vae(linears, [False] * 4)
    x = torch.randn(30, 4, generator=toys.seeded(1))
    observed = toys.random_mask(30, 4, 0.6)
    with torch.no_grad():
        # The posterior is exact: every sample has the same weight.
        result = estimate(model, Rows(x, x, observed[None], ~observed), 8)
    for one, linear in zip(result, linears, strict=True):
        torch.testing.assert_close(one.float(), linear.log_prob(x, observed), atol=1e-4, rtol=1e-4)


def quadrature(model, rows, law):
    """``log p(x_o, s)`` of two columns and one latent on a grid of z and of hidden x, (batch,)."""
    z = torch.linspace(-8, 8, 401, dtype=torch.float64)
    y = torch.linspace(-14, 14, 1401, dtype=torch.float64)
    weight, bias = model.weight[0].double(), model.bias[0, 0].double()
    scale = model.free_parameters[0, 0, 0].double().exp()
    total = Normal(0.0, 1.0).log_prob(z) + (z[1] - z[0]).log()
    out = []
    for i in range(len(rows.features)):
        log_z = total.clone()
        for j in range(2):
            at = Normal(z * weight[0, j] + bias[j], scale[j])
            if rows.visible[0, i, j]:
                x = rows.features[i, j].double()
                log_z = log_z + at.log_prob(x) + law(x, j, -1.0)
            else:
                sign = 1.0 if rows.missing[i, j] else -1.0
                inside = at.log_prob(y[:, None]) + law(y, j, sign)[:, None]
                log_z = log_z + inside.logsumexp(0) + (y[1] - y[0]).log()
        out.append(log_z.logsumexp(0))
    return torch.stack(out)


@pytest.mark.parametrize("direction", [1.0, -1.0])
@pytest.mark.parametrize("selected", [[True, False], [True, True]])
def test_the_density_of_values_and_mask_is_an_integral(toys, direction, selected):
    linear = LinearVAE(
        torch.tensor([[0.9], [0.7]]), torch.tensor([0.2, -0.1]), torch.tensor([0.4, 0.5])
    )
    model = toys.selection_vae([linear], selected, slope=3.0, direction=direction, threshold=0.3)
    x = torch.randn(12, 2, generator=toys.seeded(2))
    visible = torch.tensor([[True, True], [False, True], [True, False], [False, False]]).repeat(
        3, 1
    )
    # In the last rows what is not visible is not missing either.
    missing = ~visible & (torch.arange(12) < 8)[:, None]
    rows = Rows(x, x, visible[None], missing)

    def law(value, column, sign):
        if not selected[column]:
            return torch.zeros_like(value)
        return logsigmoid(sign * 3.0 * direction * (value - 0.3))

    with torch.no_grad():
        result = estimate(model, rows, 1 << 15)[0]
    torch.testing.assert_close(result, quadrature(model, rows, law), atol=0.02, rtol=0)


def test_masks_of_a_row_sum_to_the_density_of_its_values(toys):
    # Over all masks of unseen entries: p(x_o, s) summed over s is p(x_o, o seen).
    linear = toys.linear_vae(3, 1)
    model = toys.selection_vae([linear], [False, True, True], slope=2.0)
    x = torch.randn(5, 3, generator=toys.seeded(2))
    visible = torch.tensor([True, False, False]).expand(5, 3)
    parts = []
    with torch.no_grad():
        for mask in [(0, 0), (0, 1), (1, 0), (1, 1)]:
            missing = torch.tensor([0, *mask], dtype=torch.bool).expand(5, 3)
            parts.append(estimate(model, Rows(x, x, visible[None], missing), 1 << 14)[0])
    result = torch.stack(parts).logsumexp(0).float()
    torch.testing.assert_close(result, linear.log_prob(x, visible), atol=0.02, rtol=0)


def test_margins_change_variables(toys):
    # The density of one complete column in x integrates to one, whatever its margin.
    linear = LinearVAE(torch.tensor([[0.8]]), torch.tensor([0.1]), torch.tensor([0.5]))
    model = toys.selection_vae([linear], [False])
    with torch.no_grad():
        model.skew.fill_(0.4)
        model.log_tail.fill_(0.2)
        t = torch.linspace(-5, 5, 2001)
        density = estimate(model, all_seen(t.sinh()[:, None]), 8)[0].exp()
    mass = torch.trapezoid(density * t.cosh().double(), t.double())
    torch.testing.assert_close(mass, torch.ones(()).double(), atol=2e-3, rtol=0)


@pytest.mark.parametrize("law", ["self", "network", "latent"])
def test_more_samples_raise_the_bound(toys, law):
    model, data = toys.mixed_selection_vae(law)
    rows = Rows(data.features, data.targets, data.observed[None], ~data.observed)
    bounds = []
    with torch.no_grad():
        for n in (1, 4, 16, 64):
            each = [estimate(model, rows, n, seed).mean() for seed in range(256 // n)]
            bounds.append(float(torch.stack(each).mean()))
    assert bounds == sorted(bounds)
    assert bounds[-1] - bounds[0] > 0.01


# Other posteriors -------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("law", ["self", "latent"])
def test_joint_density_is_what_samples_are_weighed_by(toys, law):
    model, data = toys.mixed_selection_vae(law)
    rows = Rows(data.features, data.targets, data.observed[None], ~data.observed)
    noise = torch.randn(7, 2, generator=toys.seeded(5))
    # These laws read no hidden numbers, so that their noise is of no account.
    wanted = model.evaluate(rows, noise, torch.zeros(7, 2)).log_weights
    on_features = data.observed[None, :, data.feature_columns]
    z, log_q = model.posterior(data.features, on_features).rsample(noise)
    joint = model.log_joint(z, data.features, data.targets, data.observed[None])
    torch.testing.assert_close(joint - log_q, wanted)


@torch.no_grad()
@pytest.mark.parametrize("law", ["self", "network", "latent"])
def test_posteriors_elsewhere_agree_on_the_density(toys, law):
    model, data = toys.mixed_selection_vae(law)
    on_features = data.observed[None, :, data.feature_columns]
    posterior = model.posterior(data.features, on_features)
    noise = noise_block(4096, 2, 0)
    move = 0.5 * torch.randn(2, len(data.features), 2, generator=toys.seeded(6))
    wide = torch.full_like(move, 0.7)  # safe to sample from
    found = []
    for away in (torch.zeros_like(move), move):
        z, log_q = posterior.shifted(away, wide).rsample(noise)
        joint = model.log_joint(z, data.features, data.targets, data.observed[None])
        found.append((joint - log_q).double().logsumexp(-1) - math.log(4096))
    torch.testing.assert_close(*found, atol=0.1, rtol=0)


# Floors -----------------------------------------------------------------------------------------


def test_piles_are_found_at_the_end_away_from_which_values_hide(toys):
    x = torch.randn(400, 3, generator=toys.seeded()).clamp(min=-0.8)
    x[:, 2] = x[:, 2].neg()
    observed = toys.random_mask(400, 3, 0.9)
    x = x.where(observed, -99.0)
    piles = Piles.find(x, observed, torch.tensor([1.0, -1.0, -1.0]))
    assert piles.side.tolist() == [-1.0, 0.0, 1.0]
    torch.testing.assert_close(piles.value[[0, 2]], torch.tensor([-0.8, 0.8]))
    assert (piles.width > 2).all()
    # Where values hide at either end, none is a pile.
    assert Piles.find(x, observed, torch.zeros(3)).side.tolist() == [0.0] * 3


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_a_floor_holds_the_mass_beyond_it(toys, side):
    linear = LinearVAE(torch.tensor([[0.8]]), torch.tensor([0.1]), torch.tensor([0.5]))
    value, width = torch.tensor([0.6 * side]), torch.tensor([5.0])
    model = toys.selection_vae(
        [linear], [False], direction=-side, piles=Piles(torch.tensor([side]), value, width)
    )
    marginal = Normal(0.1, math.sqrt(0.64 + 0.5))
    with torch.no_grad():
        at_floor = estimate(model, all_seen(value[:, None]), 1 << 14)[0, 0].exp()
        ends = torch.tensor([0.6 * side, 5.6 * side])
        inside = (marginal.cdf(ends[1]) - marginal.cdf(ends[0])).abs()
        torch.testing.assert_close(at_floor.float(), inside, atol=2e-3, rtol=0)
        # With the density on the other side everything adds up to one, but for what is too far.
        x = value - side * torch.linspace(1e-3, 8, 2001)
        density = estimate(model, all_seen(x[:, None]), 8)[0].exp()
    rest = torch.trapezoid(density, (x - x[0]).abs().double())
    torch.testing.assert_close(at_floor + rest, torch.ones(()).double(), atol=5e-3, rtol=0)
    # Nothing is predicted beyond it.
    back = model.untransform(torch.linspace(-3, 3, 13).view(1, 1, -1, 1))
    assert ((back - value) * side <= 1e-6).all()


# Priors and constants ---------------------------------------------------------------------------


@pytest.mark.parametrize("law", ["self", "network", "latent"])
def test_penalties_are_finite_and_grow_away_from_the_start(toys, law):
    model, _ = toys.mixed_selection_vae(law)
    before = model.penalty()
    assert before.shape == (2,)
    assert torch.isfinite(before).all()
    with torch.no_grad():
        model.skew.add_(1.0)
    assert (model.penalty() > before).all()


def test_limits_move_with_the_margins(toys):
    linear = toys.linear_vae(2, 1)
    model = toys.selection_vae([linear], [True, False], step=True, limit=0.7)
    with torch.no_grad():
        model.skew.fill_(0.5)
        model.log_tail.fill_(-0.3)
        # A visible value just inside is possible, one just outside is not.
        x = torch.tensor([[0.68, 0.0], [0.72, 0.0]])
        inside, outside = estimate(model, all_seen(x), 16)[0]
    assert inside - outside > 4
    y, _ = model.transform(torch.tensor([0.7, 0.7]))
    torch.testing.assert_close(model._limits(), y[:, 0])
    back = model.untransform(y.unsqueeze(2))[0, 0, 0]
    torch.testing.assert_close(back, torch.full((2,), 0.7))
