"""Priors integrate to one, draw from themselves, and start where they say."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from skvae.models.priors import (
    CorrelatedNormal,
    MixtureOfGaussians,
    StandardNormal,
    VampPrior,
    standard_normal_log_prob,
)


@pytest.fixture
def model(toys):
    """One member with two latent dimensions whose encoder has moved."""
    return toys.perturb(toys.gaussian_vae([toys.linear_vae(4, 2)]), 0.1)


def priors(model, toys):
    generator = toys.seeded(1)
    centres = torch.randn(1, 5, 2, generator=generator)
    mixture = MixtureOfGaussians(centres)
    rows = torch.randn(6, model.mean.shape[1], generator=generator)
    vamp = VampPrior(rows)
    with torch.no_grad():
        mixture.logits.copy_(torch.randn(1, 5, generator=generator))
        mixture.log_scale.copy_(-0.5 + 0.3 * torch.randn(1, 5, 2, generator=generator))
        vamp.logits.copy_(torch.randn(1, 6, generator=generator))
    correlated = CorrelatedNormal(2)
    with torch.no_grad():
        correlated.below.fill_(-1.2)
    normal = StandardNormal()
    return {"normal": normal, "mixture": mixture, "vamp": vamp, "correlated": correlated}


NAMES = ["normal", "mixture", "vamp", "correlated"]


@pytest.mark.parametrize("name", NAMES)
def test_total_probability_is_one(name, model, toys):
    model.prior = priors(model, toys)[name]
    side = torch.linspace(-12, 12, 1201)
    grid = torch.cartesian_prod(side, side)[None]
    with torch.no_grad():
        total = model.log_prior(grid).double().exp().sum() * (side[1] - side[0]).double() ** 2
    assert float(total) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_draws_have_the_moments_of_the_density(name, model, toys):
    model.prior = priors(model, toys)[name]
    side = torch.linspace(-12, 12, 601)
    grid = torch.cartesian_prod(side, side)
    with torch.no_grad():
        mass = model.log_prior(grid[None])[0].double().softmax(0)
        draws = model.prior.sample(40_000, model, toys.seeded(2))[0].double()
    for power in (1, 2):
        expected = (mass[:, None] * grid.double() ** power).sum(0)
        error = (draws**power).std(0) / math.sqrt(len(draws))
        assert ((draws**power).mean(0) - expected).abs().lt(5 * error).all()


def test_vamp_is_the_mean_of_the_posteriors_of_its_rows(model, toys):
    prior = VampPrior(torch.randn(4, model.mean.shape[1], generator=toys.seeded(1)))
    z = torch.randn(1, 7, 3, 2, generator=toys.seeded(2))
    with torch.no_grad():
        posterior = model.posterior(prior.rows[0], torch.ones(prior.rows.shape, dtype=torch.bool))
        gaussians = torch.distributions.MultivariateNormal(
            posterior.centre[0], posterior.covariance[0]
        )
        each = gaussians.log_prob(z[0].unsqueeze(-2))
        torch.testing.assert_close(
            prior.log_prob(z, model)[0], each.logsumexp(-1) - math.log(4), rtol=1e-4, atol=1e-4
        )


def test_shapes_follow_z(model, toys):
    for prior in priors(model, toys).values():
        with torch.no_grad():
            assert prior.log_prob(torch.zeros(1, 5, 2), model).shape == (1, 5)
            assert prior.log_prob(torch.zeros(1, 5, 3, 2), model).shape == (1, 5, 3)


def test_standard_normal_matches_torch(toys):
    z = torch.randn(4, 3, generator=toys.seeded())
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)
    torch.testing.assert_close(standard_normal_log_prob(z), expected)


# Correlated latents ---------------------------------------------------------------------------


@pytest.fixture
def correlated(toys):
    prior = CorrelatedNormal(3)
    with torch.no_grad():
        prior.below.copy_(torch.randn(3, generator=toys.seeded(1)))
    return prior


def test_correlated_latents_start_independent(toys):
    z = torch.randn(1, 4, 5, 3, generator=toys.seeded())
    torch.testing.assert_close(CorrelatedNormal(3).log_prob(z, None), standard_normal_log_prob(z))


@torch.no_grad()
def test_correlations_are_those_of_the_normal_density(correlated, toys):
    R = correlated.correlation
    torch.testing.assert_close(R.diagonal(), torch.ones(3))
    assert R.tril(-1).abs().max() > 0.3
    torch.testing.assert_close(correlated.factor, torch.linalg.cholesky(R))
    z = 2 * torch.randn(1, 4, 5, 3, generator=toys.seeded())
    found = correlated.log_prob(z, None)
    assert found.shape == (1, 4, 5)
    exact = multivariate_normal.logpdf(z.double().numpy(), cov=R.double().numpy())
    np.testing.assert_allclose(found[0], exact.reshape(4, 5), rtol=1e-4)
    draws = correlated.sample(40_000, None, toys.seeded(2))[0]
    torch.testing.assert_close(torch.cov(draws.mT), R, atol=0.03, rtol=0)


@torch.no_grad()
def test_one_latent_has_nothing_to_correlate_with():
    prior, z = CorrelatedNormal(1), torch.linspace(-2, 2, 5).view(1, 5, 1)
    torch.testing.assert_close(prior.log_prob(z, None), standard_normal_log_prob(z))
    assert prior.correlation.item() == 1


def test_correlations_are_learnt_by_their_slopes(correlated, toys):
    """The mean score under the density itself is zero (Fisher)."""
    draws = correlated.sample(40_000, None, toys.seeded(2)).detach()
    (slope,) = torch.autograd.grad(correlated.log_prob(draws, None).mean(), correlated.below)
    assert slope.abs().max() < 0.03


def test_a_correlated_prior_begins_at_the_correlation_that_it_is_told():
    correlation = torch.tensor([[1.0, 0.5, -0.2], [0.5, 1.0, 0.3], [-0.2, 0.3, 1.0]])
    prior = CorrelatedNormal(3)
    prior.start_at(correlation)
    assert torch.allclose(prior.correlation, correlation, atol=1e-6)
