"""Before its first step the VAE is the linear VAE."""

import math

import pytest
import torch

from skvae.distributions import Gaussian
from skvae.inference import importance_sample, noise_block
from skvae.models import Posterior
from skvae.models.context import Context
from skvae.models.priors import standard_normal_log_prob as log_prior
from skvae.models.vae import LOG_SCALE_FLOOR, MEAN_CLIP


def sample(model, x, observed, n_samples=8):
    noise = noise_block(n_samples, model.n_components, 0)
    return importance_sample(model, x, x, observed[None], observed[None], noise)


@pytest.mark.parametrize("hidden", [(), (6,), (6, 5)])
def test_gaussian_columns_start_at_the_exact_density(toys, hidden):
    linears = [toys.linear_vae(5, 2, seed) for seed in (0, 1)]
    model = toys.gaussian_vae(linears, hidden, n_members=4)
    x = torch.randn(30, 5, generator=toys.seeded(3))
    observed = toys.random_mask(30, 5, 0.6)
    weighted = sample(model, x, observed)
    # The proposal is the posterior: all weights are equal to log p(x).
    spread = weighted.log_weights.amax(-1) - weighted.log_weights.amin(-1)
    assert spread.max() < 1e-3
    torch.testing.assert_close(
        weighted.effective_sample_size, torch.full((4, 30), 8.0), atol=1e-3, rtol=0
    )
    for member in range(4):
        linear = linears[member % 2]
        torch.testing.assert_close(
            weighted.log_prob[member], linear.log_prob(x, observed).double(), atol=1e-4, rtol=1e-4
        )
        mean = weighted.expect(model.statistics(weighted.driven))[member]
        torch.testing.assert_close(mean, linear.conditional_mean(x, observed), atol=1e-4, rtol=1e-4)


def test_replicas_have_their_own_masks(toys):
    linears = [toys.linear_vae(4, 2, seed) for seed in (0, 1)]
    model = toys.gaussian_vae(linears, n_members=4)
    x = torch.randn(10, 4, generator=toys.seeded(3))
    masks = torch.stack([toys.random_mask(10, 4, 0.6, seed) for seed in (0, 1)])
    result = importance_sample(model, x, x, masks, masks, noise_block(4, 2, 0)).log_prob
    for member in range(4):
        expected = linears[member % 2].log_prob(x, masks[member % 2]).double()
        torch.testing.assert_close(result[member], expected, atol=1e-4, rtol=1e-4)


def test_samples_know_their_own_density(toys):
    model = toys.perturb(toys.gaussian_vae([toys.linear_vae(5, 2)]))
    x = torch.randn(7, 5, generator=toys.seeded(3))
    posterior = model.posterior(x, toys.random_mask(7, 5)[None])
    z, log_q = posterior.rsample(torch.randn(11, 2, generator=toys.seeded(4)))
    assert z.shape == (1, 7, 11, 2)
    scale = posterior.spread @ torch.diag_embed(posterior.log_scale.exp())
    normal = torch.distributions.MultivariateNormal(
        posterior.centre, scale @ scale.mT + 1e-9 * torch.eye(2)
    )
    expected = normal.log_prob(z.permute(2, 0, 1, 3)).permute(1, 2, 0)
    torch.testing.assert_close(log_q, expected, atol=1e-3, rtol=1e-3)


def test_the_centre_is_where_noise_is_zero(toys):
    g = toys.seeded()
    posterior = Posterior(
        torch.randn(2, 3, 4, generator=g),
        torch.randn(2, 3, 4, 4, generator=g),
        torch.zeros(2, 3),
        torch.randn(2, 3, 4, generator=g),
        torch.randn(2, 3, 4, generator=g),
    )
    z, _ = posterior.rsample(torch.zeros(1, 4))
    torch.testing.assert_close(posterior.centre, z[:, :, 0])


def test_the_prior_is_standard_normal():
    z = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)
    torch.testing.assert_close(log_prior(z), expected)


def test_rows_do_not_see_each_other(toys):
    data = toys.mixed_tensors()
    model = toys.perturb(toys.mixed_vae(data))
    seen = data.observed.index_select(1, data.feature_columns)
    together = model.posterior(data.features, seen[None]).centre
    alone = model.posterior(data.features[5:6], seen[None, 5:6]).centre
    torch.testing.assert_close(together[:, 5:6], alone, atol=1e-5, rtol=1e-4)
    driven = model.decode(together.unsqueeze(-2))
    assert driven.shape == (2, 60, 1, model.likelihoods.n_driven)
    torch.testing.assert_close(
        driven[:, 5:6], model.decode(alone.unsqueeze(-2)), atol=1e-4, rtol=1e-4
    )


def test_log_likelihood_counts_observed_entries_only(toys):
    data = toys.mixed_tensors()
    model = toys.perturb(toys.mixed_vae(data))
    z = torch.randn(2, 60, 3, 2, generator=toys.seeded(1))
    driven = model.decode(z)
    each = model.log_likelihood(driven, data.targets, data.observed[None])
    assert each.shape == (2, 60, 3, 6)
    assert torch.isfinite(each).all()
    hidden = ~data.observed[None, :, None].expand(each.shape)
    assert (each[hidden] == 0).all()
    dirty = data.targets.where(data.observed, math.nan)
    assert torch.equal(each, model.log_likelihood(driven, dirty, data.observed[None]))


def test_decayed_weights_are_the_matrices_of_both_networks(toys):
    model = toys.gaussian_vae([toys.linear_vae(4, 2)], hidden=(5, 3))
    assert len(model.network_weights) == 6
    assert all(weight.ndim == 3 and weight.shape[0] == 1 for weight in model.network_weights)
    assert toys.gaussian_vae([toys.linear_vae(4, 2)], hidden=()).network_weights == []


@pytest.mark.parametrize("hidden", [(), (6,)])
@pytest.mark.parametrize("extra", [0, 3])
def test_without_a_density_the_start_is_the_conditional_mean(toys, hidden, extra):
    linears = [toys.linear_vae(5, 2, seed) for seed in (0, 1)]
    model = toys.gaussian_vae(linears, hidden, n_members=4, density=False, n_extra_components=extra)
    assert model.n_components == 2 + extra
    x = torch.randn(30, 5, generator=toys.seeded(3))
    observed = toys.random_mask(30, 5, 0.6)
    posterior = model.posterior(x, observed[None])
    assert posterior.centre.shape == (4, 30, 2 + extra)
    assert (posterior.centre[..., 2:] == 0).all()
    statistics = model.statistics(model.decode(posterior.centre.unsqueeze(-2))).squeeze(-2)
    for member in range(4):
        expected = linears[member % 2].conditional_mean(x, observed)
        torch.testing.assert_close(statistics[member], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("extra", [0, 3])
def test_without_a_density_moves_are_in_coordinates_of_the_linear_posterior(toys, extra):
    linears = [toys.linear_vae(5, 2, seed) for seed in (0, 1)]
    model = toys.perturb(toys.gaussian_vae(linears, density=False, n_extra_components=extra))
    x = torch.randn(30, 5, generator=toys.seeded(3))
    observed = toys.random_mask(30, 5, 0.6)
    posterior = model.posterior(x, observed[None])
    exact = [linear.posterior(x, observed) for linear in linears]
    mean = torch.stack([one.mean for one in exact])
    seen = model.inputs(x, observed[None]).expand(2, -1, -1)
    u = model.encoder(torch.cat([seen, mean.clamp(-MEAN_CLIP, MEAN_CLIP)], -1))
    assert u.shape == (2, 30, 2 + extra)
    spread = torch.stack([one.spread for one in exact])
    inner = mean + (spread @ u[..., :2, None]).squeeze(-1)
    # Extra components have no linear posterior: they are what the network says.
    expected = torch.cat([inner, u[..., 2:]], -1)
    torch.testing.assert_close(posterior.centre, expected, atol=1e-4, rtol=1e-4)


def test_without_a_density_nothing_is_sampled(toys):
    model = toys.gaussian_vae([toys.linear_vae(5, 2)], density=False)
    x = torch.randn(7, 5, generator=toys.seeded(3))
    posterior = model.posterior(x, toys.random_mask(7, 5)[None])
    assert posterior.spread is None
    with pytest.raises(ValueError, match="density"):
        posterior.rsample(torch.zeros(1, 2))


def test_fixed_scales_have_no_gradient_and_other_parameters_do(toys):
    data = toys.mixed_tensors()
    model = toys.mixed_vae(data, n_members=4, density=False, n_fixed_scales=2)
    seen = data.observed.index_select(1, data.feature_columns)
    driven = model.decode(model.posterior(data.features, seen[None]).centre.unsqueeze(-2))
    model.log_likelihood(driven, data.regression_targets, data.observed[None]).sum().backward()
    moves = model.free.grad[:, 0, 0] != 0
    gaussian = torch.tensor([isinstance(kind, Gaussian) for kind in data.regression_likelihoods])
    scales = gaussian[model.likelihoods.free_columns]
    assert scales.sum() == 3  # and three cut points
    assert moves[:2].all()
    assert not moves[2:, scales].any()
    assert moves[2:, ~scales].all()


@pytest.mark.parametrize("density", [True, False])
def test_only_scales_without_a_density_have_a_floor(toys, density):
    model = toys.gaussian_vae([toys.linear_vae(4, 2)], density=density)
    with torch.no_grad():
        model.free.fill_(-5.0)
    expected = -5.0 if density else LOG_SCALE_FLOOR
    assert (model.free_parameters == expected).all()


def test_encoder_is_not_asked_about_strange_holes(toys):
    """Where a row lacks what no training row lacked, the posterior is the linear one."""
    linear = toys.linear_vae(4, 2)
    vae = toys.perturb(toys.gaussian_vae([linear]))
    x = torch.randn(3, 4, generator=toys.seeded(1))
    observed = torch.ones(1, 3, 4, dtype=torch.bool)
    observed[0, 1, 0] = observed[0, 2, 3] = False
    asked = vae.posterior(x, observed)
    vae.known_holes = torch.tensor([True, False, False, False])
    cautious = vae.posterior(x, observed)
    assert torch.equal(cautious.centre[0, :2], asked.centre[0, :2])
    exact = linear.posterior(x, observed[0]).mean
    assert torch.allclose(cautious.centre[0, 2], exact[2], atol=1e-5)
    assert not torch.allclose(asked.centre[0, 2], exact[2], atol=1e-3)


# Other axes and other coordinates ---------------------------------------------------------------


@torch.no_grad()
def test_a_model_along_other_axes_has_their_posterior(toys):
    linear, g = toys.linear_vae(5, 2), toys.seeded(4)
    axes = torch.eye(2) + 0.5 * torch.randn(2, 2, generator=g)
    one, other = (toys.gaussian_vae([each]) for each in (linear, linear.along(axes)))
    x, observed = torch.randn(8, 5, generator=g), toys.random_mask(8, 5)[None]
    before, after = one.posterior(x, observed), other.posterior(x, observed)
    torch.testing.assert_close(after.centre, before.centre @ axes.mT, rtol=1e-4, atol=1e-5)
    covariance = axes @ before.covariance @ axes.mT
    torch.testing.assert_close(after.covariance, covariance, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_wider_coordinates_leave_the_mean_and_lengthen_moves(toys):
    model = toys.gaussian_vae([toys.linear_vae(5, 2)])
    x, observed = torch.randn(8, 5, generator=toys.seeded(3)), toys.random_mask(8, 5)[None]
    narrow = model.posterior(x, observed)
    model.width = 9.0
    wide = model.posterior(x, observed)
    torch.testing.assert_close(wide.centre, narrow.centre)
    torch.testing.assert_close(wide.covariance, 9 * narrow.covariance)
    toys.perturb(model)
    moved = model.posterior(x, observed).centre - narrow.centre
    model.width = 1.0
    torch.testing.assert_close(
        moved, 3 * (model.posterior(x, observed).centre - narrow.centre), rtol=1e-4, atol=1e-5
    )


@torch.no_grad()
def test_an_encoder_may_not_be_told_the_context(toys):
    g = toys.seeded(4)
    x, observed = torch.randn(8, 5, generator=g), toys.random_mask(8, 5)[None]
    context = torch.randn(8, 3, generator=g)
    for encoded in (True, False):
        given = Context(3, encoded=encoded)
        model = toys.perturb(toys.gaussian_vae([toys.linear_vae(5, 2)], context=given))
        one, other = (model.posterior(x, observed, c).centre for c in (context, context + 1))
        assert torch.equal(one, other) != encoded
