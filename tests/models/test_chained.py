"""Latents that depend on latents: joint densities that posteriors of any place agree upon."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from skvae.inference.importance import noise_block
from skvae.models import LinearVAE
from skvae.models.chained import AuxiliaryModel, StackedModel
from skvae.models.context import Context
from skvae.models.semi_supervised import Auxiliary, ClassConditionalVAE, gaussian_log_prob

D, K, C, N_AUXILIARY = 4, 2, 3, 2


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def effect_of(n_context, d):
    effect = torch.zeros(n_context, d)
    effect[:C] = torch.randn(C, d, generator=seeded(3))
    return effect


def conditional(toys, d, k, hidden, n_context=C, n_decoded=None):
    """Columns whose means depend on the class."""
    effect = effect_of(n_context, d)
    context = Context(n_context, True, effect[None], n_decoded)
    linear = toys.linear_vae(d, k, seed=4)
    vae = toys.gaussian_vae([linear], hidden, context=context, effect=effect[:n_decoded])
    return toys.perturb(vae) if hidden else vae


def stacked(toys, hidden=()):
    lower = toys.gaussian_vae([toys.linear_vae(D, K)], hidden)
    lower = toys.perturb(lower) if hidden else lower
    upper = conditional(toys, K, 1, hidden)
    return StackedModel(lower, upper, torch.tensor([0.3, -0.2]), torch.tensor([0.8, 1.3]))


def auxiliary(toys, skip=False):
    n_decoded = None if skip else C
    vae = conditional(toys, D, K, (5,), C + N_AUXILIARY, n_decoded)
    nets = Auxiliary(D, K, C, N_AUXILIARY, (6,), seeded(), skip)
    with torch.no_grad():
        for network in (nets.encoder, nets.prior):
            for parameter in network.parameters():
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=seeded(5)))
    return AuxiliaryModel(ClassConditionalVAE(vae, nets), nets, C)


def rows(n=5):
    x = torch.randn(n, D, generator=seeded(1))
    observed = torch.rand(n, D, generator=seeded(2)) < 0.8
    label = torch.eye(C)[torch.arange(n) % C]
    return x, observed, label


def log_weights(model, x, observed, context, noise, shift=None):
    posterior = model.posterior(x, observed[None], context)
    if shift is not None:
        posterior = posterior.shifted(*shift)
    z, log_q = posterior.rsample(noise)
    return model.log_joint(z, x, x, observed[None], context) - log_q


def density(each):
    return each.double().logsumexp(-1)[0] - math.log(each.shape[-1])


@torch.no_grad()
def test_linear_models_on_linear_models_are_gaussian(toys):
    model = stacked(toys)
    x, observed, label = rows()
    lower, upper = toys.linear_vae(D, K), toys.linear_vae(K, 1, seed=4)
    means = model.mean + model.scale * (upper.mean + label @ effect_of(C, K))
    inner = upper.loadings @ upper.loadings.mT + torch.diag(upper.noise_variance)
    inner = model.scale[:, None] * inner * model.scale
    covariance = lower.loadings @ inner @ lower.loadings.mT + torch.diag(lower.noise_variance)
    exact = [
        multivariate_normal.logpdf(
            row[seen], (lower.loadings @ mean + lower.mean)[seen], covariance[seen][:, seen]
        )
        for row, seen, mean in zip(x, observed, means, strict=True)
    ]
    each = log_weights(model, x, observed, label, noise_block(1 << 14, model.n_components, 0))
    np.testing.assert_allclose(density(each), exact, atol=0.03)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["stacked", "auxiliary", "skip"])
def test_posteriors_elsewhere_agree_on_the_density(toys, kind):
    x, observed, label = rows()
    if kind == "stacked":
        model, context = stacked(toys, (6,)), label
    else:
        model, context = auxiliary(toys, kind == "skip"), torch.cat([label, x], 1)
    noise = noise_block(1 << 15, model.n_components, 0)
    shape = (2, 1, len(x), model.n_components)
    own = 0.5 * torch.randn(shape, generator=seeded(6))
    own[1] = 1.0  # wide ones are safe to sample from
    one, other = (
        density(log_weights(model, x, observed, context, noise, away))
        for away in (own, own * torch.tensor([0.0, 1.0]).view(2, 1, 1, 1))
    )
    torch.testing.assert_close(one, other, atol=0.06, rtol=0)
    # Moving twice is moving by the sum.
    posterior = model.posterior(x, observed[None], context)
    z, log_q = posterior.shifted(*own).rsample(noise[:7])
    again, same = posterior.shifted(*(0.5 * own)).shifted(*(0.5 * own)).rsample(noise[:7])
    torch.testing.assert_close(again, z)
    torch.testing.assert_close(same, log_q)


@torch.no_grad()
@pytest.mark.parametrize("skip", [False, True])
def test_auxiliary_weights_are_those_of_training(toys, skip):
    model = auxiliary(toys, skip)
    x, observed, label = rows()
    noise = torch.randn(4, model.n_components, generator=seeded(7))
    each = log_weights(model, x, observed, torch.cat([label, x], 1), noise)[0]
    mean, log_scale = model.auxiliary.posterior(x)
    both = torch.cat([observed, observed], dim=1)
    for s, (own, rest) in enumerate(zip(*noise.split([N_AUXILIARY, K], 1), strict=True)):
        a = mean + log_scale.exp() * own
        log_q = gaussian_log_prob(own.expand_as(mean), log_scale)
        wanted = model.model.log_weights(x, x, both, label, rest[None], x, a)[:, 0] - log_q
        torch.testing.assert_close(each[:, s], wanted, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_without_a_say_of_the_upper_latents_their_prior_is_all(toys):
    # The upper model is standard normal noise on the lower latents: a plain linear VAE.
    lower = toys.gaussian_vae([toys.linear_vae(D, K)], ())
    nothing = LinearVAE(torch.zeros(K, 1), torch.zeros(K), torch.ones(K))
    context = Context(C, True, torch.zeros(1, C, K), None)
    upper = toys.gaussian_vae([nothing], (), context=context, effect=torch.zeros(C, K))
    model = StackedModel(lower, upper, torch.zeros(K), torch.ones(K))
    x, observed, label = rows()
    each = log_weights(model, x, observed, label, noise_block(64, 3, 0))
    exact = toys.linear_vae(D, K).log_prob(x, observed)
    torch.testing.assert_close(each, exact[None, :, None].expand(each.shape), atol=1e-4, rtol=1e-4)
