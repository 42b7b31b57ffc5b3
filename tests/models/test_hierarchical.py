"""Hierarchical VAEs: exact where the linear model is, densities that fit together."""

import math

import pytest
import torch

from skvae.distributions import ColumnLikelihoods, Gaussian
from skvae.inference import importance_sample, noise_block
from skvae.models.hierarchical import HierarchicalVAE
from skvae.models.start import FeatureSpec, decoder_start

DIRECTIONS = ["top_down", "bottom_up", "both"]


def hierarchical(toys, sizes=(2, 1), d=4, seed=0, **options):
    linear = toys.linear_vae(d, sizes[0])
    likelihoods = ColumnLikelihoods([Gaussian()] * d)
    specs = [FeatureSpec(slice(j, j + 1), 0.0, 1.0) for j in range(d)]
    start = decoder_start(linear, likelihoods, specs, torch.zeros(d))
    inputs = toys.gaussian_vae([linear]).inputs
    return HierarchicalVAE(
        linear, start, likelihoods, inputs, (6,), sizes, toys.seeded(seed), **options
    ).requires_grad_(False)


def still(model):
    """The same model with a prior that ignores the layers above."""
    for network in model.prior.networks.values():
        network.weights[-1].zero_()
    return model


def shake(model, toys, scale=0.2):
    generator = toys.seeded(9)
    for parameter in model.parameters():
        parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return model


def rows(toys, n=5, d=4):
    x = torch.randn(n, d, generator=toys.seeded(1))
    return x, toys.random_mask(n, d, 0.7, 2)[None]


@pytest.mark.parametrize("inference", DIRECTIONS)
def test_it_starts_as_the_linear_vae(inference, toys):
    model = still(hierarchical(toys, inference=inference))
    x, mask = rows(toys)
    sample = importance_sample(model, x, x, mask, mask, noise_block(4096, 3, 0))
    exact = toys.linear_vae(4, 2).log_prob(x, mask[0])
    torch.testing.assert_close(sample.log_prob[0].float(), exact, rtol=2e-3, atol=2e-2)


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("inference", DIRECTIONS)
def test_every_direction_estimates_the_same_likelihood(inference, skip, toys):
    model = shake(hierarchical(toys, inference=inference, skip=skip), toys, 0.08)
    x, mask = rows(toys)
    noise = torch.randn(1, 1, 20_000, 3, generator=toys.seeded(4))
    sample = importance_sample(model, x, x, mask, mask, noise)
    z = model.prior.sample(200_000, model, toys.seeded(5))
    driven = model.decode(z).unsqueeze(1)
    each = model.log_likelihood(driven, x, mask).sum(-1).double()
    by_prior = each.logsumexp(-1) - math.log(each.shape[-1])
    weights = each.softmax(-1)
    error = weights.square().sum(-1).sqrt() + 1 / sample.effective_sample_size.sqrt()
    assert (sample.log_prob - by_prior).abs().lt(6 * error).all()


@pytest.mark.parametrize("inference", DIRECTIONS)
def test_log_densities_belong_to_the_draws(inference, toys):
    # E_q[1 / q] over a box that holds nearly all mass is the volume of the box: E_q[p / q] = 1
    # for any density p, here the prior.
    model = shake(hierarchical(toys, inference=inference), toys, 0.1)
    x, mask = rows(toys, 3)
    noise = torch.randn(1, 1, 100_000, 3, generator=toys.seeded(4))
    mask = torch.zeros_like(mask)  # broad posteriors, so that the weights have a variance
    z, log_q = model.posterior(x, mask).rsample(noise)
    ratio = (model.log_prior(z) - log_q).double().exp()
    error = ratio.std(-1) / math.sqrt(ratio.shape[-1])
    assert (ratio.mean(-1) - 1).abs().lt(6 * error + 1e-3).all()


@pytest.mark.parametrize("inference", ["both", "top_down"])
def test_the_first_layer_is_exact_given_the_second_for_a_linear_decoder(inference, toys):
    model = shake(hierarchical(toys, inference=inference), toys)
    for network in (model.decoder, *model.heads):
        for parameter in network.parameters():
            parameter.zero_()
    x, mask = rows(toys)
    loadings, noise_variance = model.weight[0, :2].mT, model.free_parameters.squeeze() * 2
    model.loadings[0], model.noise_variance[0] = loadings, noise_variance.exp()
    model.mean[0] = model.bias[0, 0]
    noise = torch.randn(1, 1, 64, 3, generator=toys.seeded(4))
    z, log_q = model.posterior(x, mask).rsample_layers(noise)
    log_p = model.prior.log_prob_layers(z)
    driven = model.decode(z)
    log_x = model.log_likelihood(driven, x, mask).sum(-1)
    # log p(x | z1) + log p(z1 | z2) - log q(z1 | z2, x) = log p(x | z2): z1 does not move it.
    again = torch.randn(1, 1, 64, 3, generator=toys.seeded(6))
    again[..., 2:] = noise[..., 2:]
    z2, log_q2 = model.posterior(x, mask).rsample_layers(again)
    log_x2 = model.log_likelihood(model.decode(z2), x, mask).sum(-1)
    one = log_x + log_p[0] - log_q[0]
    other = log_x2 + model.prior.log_prob_layers(z2)[0] - log_q2[0]
    # Up to the share of the prior that stays standard normal, which few draws notice.
    away = (one - other).abs()
    assert away.flatten().quantile(0.95) < 0.01
    assert away.max() < 0.5


@pytest.mark.parametrize("inference", DIRECTIONS)
def test_posteriors_know_the_density_of_their_samples(inference, toys):
    model = shake(hierarchical(toys, (3, 2, 1), inference=inference, skip=True), toys)
    posterior = model.posterior(*rows(toys))
    z, log_q = posterior.rsample(torch.randn(7, 6, generator=toys.seeded(2)))
    torch.testing.assert_close(posterior.log_prob_at(z), log_q, rtol=1e-3, atol=1e-3)


def test_hidden_values_do_not_matter(toys):
    for inference in DIRECTIONS:
        model = shake(hierarchical(toys, inference=inference), toys)
        x, mask = rows(toys)
        other = x.where(mask[0], torch.tensor(float("nan")))
        noise = noise_block(16, 3, 0)
        z, log_q = model.posterior(x, mask).rsample(noise)
        same, same_q = model.posterior(other, mask).rsample(noise)
        torch.testing.assert_close(same, z)
        torch.testing.assert_close(same_q, log_q)


def test_shifts_add_up_and_move_their_own_layer(toys):
    model = hierarchical(toys, inference="top_down")
    x, mask = rows(toys)
    posterior = model.posterior(x, mask)
    by = torch.zeros(1, 5, 3)
    by[..., 2] = 1.0  # the second layer, standard normal so far
    moved = posterior.shifted(by, 0 * by)
    torch.testing.assert_close(moved.centre[..., 2], posterior.centre[..., 2] + 1.0)
    twice = moved.shifted(by, 0 * by)
    torch.testing.assert_close(twice.centre[..., 2], posterior.centre[..., 2] + 2.0)


def test_three_layers(toys):
    for skip in (False, True):
        for inference in DIRECTIONS:
            model = shake(hierarchical(toys, (3, 2, 1), inference=inference, skip=skip), toys)
            x, mask = rows(toys)
            z, log_q = model.posterior(x, mask).rsample_layers(noise_block(8, 6, 0))
            assert z.shape == (1, 5, 8, 6)
            assert [part.shape for part in log_q] == [(1, 5, 8)] * 3
            assert model.decode(z).shape == (1, 5, 8, 4)
            assert torch.isfinite(model.log_prior(z)).all()
