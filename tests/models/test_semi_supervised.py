"""M2 and auxiliary models: exact where they can be, consistent where they are estimates."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from skvae.models.context import Context
from skvae.models.semi_supervised import Auxiliary, ClassConditionalVAE, LabelNetworks

D, K, C = 4, 2, 3


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def class_vae(toys, hidden=(), n_context=C, n_decoded=None):
    """Gaussian columns whose means depend on the class, and the effects of the classes."""
    effect = torch.zeros(n_context, D)
    effect[:C] = torch.randn(C, D, generator=seeded(3))
    context = Context(n_context, True, effect[None], n_decoded)
    linear = toys.linear_vae(D, K)
    vae = toys.gaussian_vae([linear], hidden, context=context, effect=effect[:n_decoded])
    return vae.requires_grad_(False), linear, effect


def log_weights(model, x, observed, label, noise, vectors=None, auxiliary=None):
    both = torch.cat([observed, observed], dim=1)
    rows = (x, x, both, label, noise, x if vectors is None else vectors, auxiliary)
    return model.requires_grad_(False).log_weights(*rows)


@pytest.mark.parametrize("holes", [False, True])
def test_linear_classes_are_shifted_gaussians(toys, holes):
    vae, linear, effect = class_vae(toys)
    model = ClassConditionalVAE(vae)
    x = torch.randn(6, D, generator=seeded(1))
    observed = torch.ones(6, D, dtype=torch.bool)
    if holes:
        observed[:, 1] = False
    label = torch.eye(C)[torch.tensor([0, 1, 2, 0, 1, 2])]
    noise = torch.randn(1, 6, 5, K, generator=seeded(2))
    weights = log_weights(model, x, observed, label, noise)
    seen = observed[0].numpy()
    covariance = (linear.loadings @ linear.loadings.T + torch.diag(linear.noise_variance)).numpy()
    mean = (linear.mean + label @ effect[:C]).numpy()
    exact = [
        multivariate_normal.logpdf(row[seen], centre[seen], covariance[np.ix_(seen, seen)])
        for row, centre in zip(x.numpy(), mean, strict=True)
    ]
    # The posterior is exact, so every single sample gives the density.
    assert weights.numpy() == pytest.approx(np.repeat(np.array(exact)[:, None], 5, 1), abs=1e-4)


def test_hidden_values_do_not_matter(toys):
    vae, _, _ = class_vae(toys, hidden=(5,))
    model = ClassConditionalVAE(toys.perturb(vae))
    x = torch.randn(6, D, generator=seeded(1))
    observed = torch.rand(6, D, generator=seeded(4)) < 0.6
    label, noise = torch.eye(C).repeat(2, 1), torch.randn(1, 6, 3, K, generator=seeded(2))
    clean = log_weights(model, x, observed, label, noise)
    dirty = log_weights(model, x.masked_fill(~observed, math.nan), observed, label, noise)
    assert torch.equal(clean, dirty)


@pytest.mark.parametrize("skip", [False, True])
def test_the_auxiliary_latent_integrates_to_one(toys, skip):
    """Averaged over ``q(a | x)``, weights estimate ``p(x | y)``; without skip, that without a."""
    vae, linear, effect = class_vae(toys, n_context=C + 2, n_decoded=None if skip else C)
    auxiliary = Auxiliary(D, K, C, 2, (5,), seeded(), skip)
    for parameter in auxiliary.parameters():
        parameter.data.normal_(0, 0.3, generator=seeded(1))
    model = ClassConditionalVAE(vae, auxiliary)
    x = torch.randn(1, D, generator=seeded(5)).expand(20_000, -1)
    observed = torch.ones_like(x, dtype=torch.bool)
    label = torch.eye(C)[1].expand(len(x), -1)
    a, log_q = model.draw_auxiliary(x, seeded(6))
    noise = torch.randn(1, len(x), 1, K, generator=seeded(7))
    weights = log_weights(model, x, observed, label, noise, x, a)[:, 0] - log_q
    estimate = float(weights.double().logsumexp(0)) - math.log(len(x))
    covariance = linear.loadings @ linear.loadings.T + torch.diag(linear.noise_variance)
    mean = linear.mean + effect[1]
    exact = multivariate_normal.logpdf(x[0].numpy(), mean.numpy(), covariance.numpy())
    # The decoder has no weight on a in either model: then p(x | y) is what it is without.
    assert estimate == pytest.approx(float(exact), abs=0.1)


def test_networks_start_as_logistic_regressions():
    weight, bias = torch.randn(2, D, C), torch.randn(2, C)
    networks = LabelNetworks(weight, bias, (7,), seeded())
    x = torch.randn(9, D)
    expected = (x @ weight + bias[:, None]).log_softmax(-1)
    assert torch.allclose(networks(x), expected)
    assert networks(x).exp().sum(-1).allclose(torch.ones(2, 9))


def test_rows_of_a_class_lie_around_it(toys):
    vae, linear, effect = class_vae(toys)
    model = ClassConditionalVAE(vae)
    label = torch.eye(C)[2].expand(20_000, -1)
    z, context = model.sample_latents(label, seeded())
    driven = vae.decode(z[None], context)
    drawn = vae.likelihoods.sample(driven, vae.free_parameters[:, 0], seeded(1))[0]
    centre = linear.mean + effect[2]
    assert drawn.mean(0).numpy() == pytest.approx(centre.numpy(), abs=0.1)
