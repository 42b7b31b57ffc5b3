"""Importance sampling: right in the limit, and deterministic."""

import math

import numpy as np
import pytest
import torch

from skvae.inference import ImportanceSample, importance_sample, noise_block
from skvae.inference.importance import mixture_sample
from skvae.models.priors import standard_normal_log_prob as log_prior


@torch.no_grad()
def by_quadrature(model, targets, observed):
    """``log p(x_o)`` by summing over a grid of z, shape (n_members, batch)."""
    k = model.n_components
    line = torch.linspace(-8, 8, 2001 if k == 1 else 161)
    grid = torch.cartesian_prod(*[line] * k).reshape(-1, k)
    z = grid.expand(model.n_members, len(targets), *grid.shape)
    joint = model.log_likelihood(model.decode(z), targets, observed).sum(-1) + log_prior(z)
    cell = k * math.log(float(line[1] - line[0]))
    return torch.logsumexp(joint.double(), -1) + cell


def perturbed(toys, k, scale=0.15, n=8):
    """A model with random networks, and a few rows of its table.

    Proposals are wide: sampling then reaches all of the posterior, as a grid does.
    """
    data = toys.mixed_tensors()
    model = toys.perturb(toys.mixed_vae(data, k=k), scale)
    with torch.no_grad():
        model.encoder.biases[-1][..., k:] += 1.0
    observed = data.observed[None, :n]
    mask = observed.index_select(-1, data.feature_columns)
    return model, (data.features[:n], data.targets[:n], observed, mask)


@pytest.mark.parametrize("k", [1, 2])
def test_estimates_agree_with_quadrature(toys, k):
    model, rows = perturbed(toys, k, 0.15 / k**1.5)
    _, targets, observed, _ = rows
    noise = noise_block(4096, k, 0)
    with torch.no_grad():
        sample = importance_sample(model, *rows, noise)
    expected = by_quadrature(model, targets, observed)
    torch.testing.assert_close(sample.log_prob, expected, atol=0.03, rtol=0)
    assert sample.log_prob.dtype == torch.float64
    # And the networks do matter here: the proposal is not the posterior.
    assert sample.effective_sample_size.min() < 0.99 * len(noise)


def test_expectations_agree_with_quadrature(toys):
    model, rows = perturbed(toys, 1)
    _, targets, observed, _ = rows
    grid = torch.linspace(-8, 8, 2001)[:, None].expand(2, 8, -1, 1)
    with torch.no_grad():
        sample = importance_sample(model, *rows, noise_block(4096, 1, 0))
        driven = model.decode(grid)
        joint = model.log_likelihood(driven, targets, observed).sum(-1) + log_prior(grid)
        exact = ImportanceSample(driven, joint, torch.zeros_like(joint))
        # The bounded statistics: probabilities.
        bounded = model.likelihoods.stat_columns >= 3
        results = [s.expect(model.statistics(s.driven))[..., bounded] for s in (sample, exact)]
    torch.testing.assert_close(*results, atol=0.02, rtol=0)


def test_beta_weighs_prior_against_proposal(toys):
    model, rows = perturbed(toys, 2)
    noise = noise_block(4, 2, 0)
    weights = [importance_sample(model, *rows, noise, beta).log_weights for beta in (0, 0.5, 1)]
    torch.testing.assert_close(weights[1], (weights[0] + weights[2]) / 2, atol=1e-3, rtol=1e-4)


def test_weighted_samples_state_the_usual_formulas(toys):
    g = toys.seeded()
    log_weights = torch.randn(2, 3, 8, generator=g)
    values = torch.randn(2, 3, 8, 5, generator=g)
    sample = ImportanceSample(values, log_weights - 500, torch.zeros_like(log_weights))
    raw = log_weights.double().exp()
    weights = raw / raw.sum(-1, keepdim=True)
    torch.testing.assert_close(sample.weights.double(), weights, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(sample.log_prob, raw.mean(-1).log() - 500, rtol=0, atol=1e-3)
    torch.testing.assert_close(
        sample.effective_sample_size.double(), 1 / weights.square().sum(-1), rtol=1e-3, atol=0
    )
    torch.testing.assert_close(
        sample.expect(values).double(),
        (weights.unsqueeze(-1) * values).sum(-2),
        rtol=1e-3,
        atol=1e-4,
    )


@pytest.mark.parametrize("n_samples", [1, 2, 5, 8, 32, 100])
@pytest.mark.parametrize("k", [1, 3, 40])
def test_noise_has_mean_zero(n_samples, k):
    noise = noise_block(n_samples, k, 3)
    assert noise.shape == (n_samples, k)
    assert noise.dtype == torch.float32
    assert torch.isfinite(noise).all()
    assert noise.mean(0).abs().max() < 1e-6


def test_noise_is_standard_normal_and_better_spread_than_chance():
    noise = noise_block(1024, 4, 0).double()
    torch.testing.assert_close(noise.mT @ noise / 1024, torch.eye(4).double(), atol=0.03, rtol=0)
    share = (noise[:, :, None] <= torch.tensor([-1.0, 0.0, 0.5]).double()).double().mean(0)
    expected = torch.special.ndtr(torch.tensor([-1.0, 0.0, 0.5]).double()).expand(4, 3)
    torch.testing.assert_close(share, expected, atol=5e-3, rtol=0)


def test_noise_is_reproducible_and_leaves_global_states_alone():
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    blocks = [noise_block(16, 3, seed) for seed in (0, 0, 1)]
    assert torch.equal(blocks[0], blocks[1])
    assert not torch.equal(blocks[0], blocks[2])
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002


def test_defensive_samples_estimate_the_same_density(toys):
    model = toys.perturb(toys.gaussian_vae([toys.linear_vae(4, 2)]), 0.1)
    x = torch.randn(6, 4, generator=toys.seeded(1))
    mask = toys.random_mask(6, 4, 0.8, 2)[None]
    noise = torch.randn(1, 1, 20_000, 2, generator=toys.seeded(3))
    with torch.no_grad():
        draws = model.prior.sample(5000, model, toys.seeded(4)).unsqueeze(1)
        plain = importance_sample(model, x, x, mask, mask, noise).log_prob
        mixed = mixture_sample(model, [model.posterior(x, mask)], [noise], x, mask, draws)
    torch.testing.assert_close(mixed.log_prob, plain, rtol=0, atol=0.05)
    assert mixed.log_weights.shape == (1, 6, 25_000)


def test_defensive_weights_are_bounded_by_the_likelihood(toys):
    # p(x | z) p(z) / (share p(z) + ...) <= p(x | z) / share, however far off the encoder is.
    model = toys.gaussian_vae([toys.linear_vae(4, 2)])
    x = 50 * torch.ones(1, 4)
    mask = torch.ones(1, 1, 4, dtype=torch.bool)
    noise = torch.randn(1, 1, 30, 2, generator=toys.seeded(3))
    with torch.no_grad():
        draws = model.prior.sample(10, model, toys.seeded(4)).unsqueeze(1)
        sample = mixture_sample(model, [model.posterior(x, mask)], [noise], x, mask, draws)
        likelihood = model.log_likelihood(sample.driven, x, mask).sum(-1).double()
    assert (sample.log_weights <= likelihood + math.log(4) + 1e-6).all()


def test_posteriors_know_the_density_of_their_samples(toys):
    model = toys.perturb(toys.gaussian_vae([toys.linear_vae(4, 2)]), 0.2)
    x, mask = torch.randn(5, 4, generator=toys.seeded(1)), toys.random_mask(5, 4, 0.7)[None]
    with torch.no_grad():
        posterior = model.posterior(x, mask)
        z, log_q = posterior.rsample(torch.randn(7, 2, generator=toys.seeded(2)))
        torch.testing.assert_close(posterior.log_prob_at(z), log_q, rtol=1e-4, atol=1e-4)
