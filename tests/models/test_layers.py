"""Layered priors: densities that integrate to one, draws that follow them, exact inverses."""

import math

import pytest
import torch

from skvae.models.layers import LayeredNormal, bounded, loosened
from skvae.models.priors import ConditionalNormal
from skvae.models.sources import LinearEffect


def shaken(prior, scale=0.4, seed=3):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return prior


def priors(toys):
    g = toys.seeded
    return {
        "layered": shaken(LayeredNormal((1, 1), (6,), g(0)), 0.1),
        "layered with context": shaken(LayeredNormal((1, 1), (6,), g(1), n_context=3), 0.1),
        "conditional": shaken(ConditionalNormal(3, 2, (6,), g(2)), 0.2),
        "factorial": shaken(ConditionalNormal(3, 2, (6,), g(3), factorial=True), 0.2),
    }


NAMES = ["layered", "layered with context", "conditional", "factorial"]


@pytest.fixture
def context(toys):
    return torch.randn(4, 3, generator=toys.seeded(5))


def context_of(prior, context):
    return context if prior.n_context else None


@pytest.mark.parametrize("name", NAMES)
def test_total_probability_is_one_in_every_context(name, toys, context):
    prior = priors(toys)[name]
    side = torch.linspace(-15, 15, 1001)
    grid = torch.cartesian_prod(side, side).expand(1, 4, -1, -1)
    with torch.no_grad():
        density = prior.log_prob(grid, None, context_of(prior, context)).double().exp()
    total = density.sum(-1) * float(side[1] - side[0]) ** 2
    torch.testing.assert_close(total, torch.ones_like(total), rtol=5e-3, atol=5e-3)


@pytest.mark.parametrize("name", NAMES)
def test_draws_have_the_moments_of_the_density(name, toys, context):
    prior = priors(toys)[name]
    side = torch.linspace(-15, 15, 601)
    grid = torch.cartesian_prod(side, side)
    given = context_of(prior, context[:1])
    n = 40_000
    with torch.no_grad():
        mass = prior.log_prob(grid.expand(1, 1, -1, -1), None, given)[0, 0].double().softmax(0)
        many = None if given is None else given.expand(n, -1)
        draws = prior.sample(n, None, toys.seeded(2), many)[0].double()
    for power in (1, 2):
        expected = (mass[:, None] * grid.double() ** power).sum(0)
        error = (draws**power).std(0) / math.sqrt(n)
        assert ((draws**power).mean(0) - expected).abs().lt(5 * error + 1e-3).all()


@pytest.mark.parametrize("name", NAMES)
def test_place_and_whiten_are_inverses(name, toys, context):
    prior = priors(toys)[name]
    noise = torch.randn(1, 4, 5, 2, generator=toys.seeded(1))
    given = context_of(prior, context)
    with torch.no_grad():
        z = prior.place(noise, given)
        torch.testing.assert_close(prior.whiten(z, given), noise, rtol=1e-3, atol=1e-3)
        # Latents without a dimension of samples go the same way.
        torch.testing.assert_close(prior.place(noise[:, :, 0], given), z[:, :, 0])


@pytest.mark.parametrize("factorial", [False, True])
def test_a_fresh_conditional_prior_is_standard_normal(toys, context, factorial):
    prior = ConditionalNormal(3, 2, (6,), toys.seeded(), factorial=factorial)
    z = torch.randn(1, 4, 7, 2, generator=toys.seeded(1))
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)
    torch.testing.assert_close(prior.log_prob(z, None, context), expected)


def test_conditional_prior_is_a_gaussian_with_its_own_covariance(toys, context):
    prior = shaken(ConditionalNormal(3, 2, (6,), toys.seeded()), 0.3)
    noise = torch.randn(1, 4, 7, 2, generator=toys.seeded(1))
    with torch.no_grad():
        z = prior.place(noise, context)
        mean, whiten, _ = prior._moments(context)
        precision = (whiten.mT @ whiten)[0].double()
        exact = torch.distributions.MultivariateNormal(
            mean[0].double().unsqueeze(1), precision_matrix=precision.unsqueeze(1)
        )
        # Up to the share that stays standard normal.
        torch.testing.assert_close(
            prior.log_prob(z, None, context)[0].double(),
            exact.log_prob(z[0].double()),
            rtol=1e-3,
            atol=0.02,
        )


def test_far_rows_cost_little_more_than_under_the_standard_normal(toys, context):
    prior = shaken(ConditionalNormal(3, 2, (6,), toys.seeded()), 1.0)
    z = torch.full((1, 4, 1, 2), 30.0)
    standard = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)
    with torch.no_grad():
        assert (prior.log_prob(z, None, context) >= standard - 7.0).all()


def test_a_skipping_layer_sees_all_layers_above(toys):
    g = toys.seeded
    markov = LayeredNormal((3, 2, 1), (4,), g())
    skip = LayeredNormal((3, 2, 1), (4,), g(), skip=True)
    assert [markov.width_above(layer) for layer in range(3)] == [2, 1, 0]
    assert [skip.width_above(layer) for layer in range(3)] == [3, 1, 0]
    parts = torch.randn(1, 5, 6, generator=g(1)).split((3, 2, 1), -1)
    assert markov.above(parts, 0).shape[-1] == 2
    assert skip.above(parts, 0).shape[-1] == 3
    assert markov.above(parts, 2) is None
    layers = skip.log_prob_layers(torch.cat(parts, -1))
    assert len(layers) == 3
    torch.testing.assert_close(sum(layers), skip.log_prob(torch.cat(parts, -1), None))


def test_a_conditional_prior_asks_for_its_context(toys):
    with pytest.raises(ValueError, match="needs its context"):
        ConditionalNormal(3, 2, (6,), toys.seeded()).place(torch.zeros(1, 1, 2))


@torch.no_grad()
def test_latents_of_a_factorial_prior_are_independent_in_every_context(toys, context):
    prior = shaken(ConditionalNormal(3, 3, (6,), toys.seeded(), factorial=True), 0.3)
    _, whiten, log_det = prior._moments(context)
    scales = whiten.diagonal(dim1=-2, dim2=-1)
    assert torch.equal(whiten, torch.diag_embed(scales))
    assert scales.std(dim=1).min() > 0  # which the context changes
    torch.testing.assert_close(log_det, scales.log().sum(-1))
    full = ConditionalNormal(3, 3, (6,), toys.seeded())
    assert full.n_below == 3


@torch.no_grad()
def test_a_factorial_prior_starts_at_linear_moments(toys, context):
    prior = shaken(ConditionalNormal(3, 2, (6,), toys.seeded(), factorial=True), 0.3)
    g = toys.seeded(1)
    mean, log_scale = (
        LinearEffect(0.5 * torch.randn(3, 2, generator=g), 0.3 * torch.randn(2, generator=g))
        for _ in range(2)
    )
    prior.start_at(mean, log_scale)
    z = torch.randn(1, 4, 7, 2, generator=g)
    normal = torch.distributions.Normal(
        mean(context).unsqueeze(1), bounded(log_scale(context)).exp().unsqueeze(1)
    )
    expected = loosened(normal.log_prob(z).sum(-1), z)
    torch.testing.assert_close(prior.log_prob(z, None, context), expected)
    # Whatever networks and effects it had before.
    again = ConditionalNormal(3, 2, (6,), toys.seeded(9), factorial=True)
    again.start_at(mean, log_scale)
    torch.testing.assert_close(again.log_prob(z, None, context), expected)


@torch.no_grad()
def test_small_log_scales_are_kept_and_large_ones_bounded():
    prior = ConditionalNormal(1, 1, (6,), torch.Generator(), factorial=True)
    zero, one = torch.zeros(1), torch.ones(1, 1)
    for raw, expected in [(0.1, 0.1), (-0.2, -0.2), (50.0, 3.0)]:
        prior.start_at(LinearEffect(0 * one, zero), LinearEffect(raw * one, zero))
        _, whiten, _ = prior._moments(one)
        torch.testing.assert_close(-whiten.log().flatten(), zero + expected, atol=1e-3, rtol=0)
