"""Sparse decoders: columns hang on what their masks leave open, and on nothing else."""

import math

import pytest
import torch

from skvae.distributions import ColumnLikelihoods
from skvae.models.context import Context
from skvae.models.linear import LinearVAE
from skvae.models.sparse import MOST_UNITS, SparseVAE, SpikeAndSlab
from skvae.models.start import decoder_start


@pytest.fixture
def data(toys):
    return toys.mixed_tensors(40)


def sparse_vae(toys, data, hidden=(6, 5), k=3, **options):
    """Over a mixed table, from a linear VAE of any loadings."""
    linear = toys.linear_vae(data.features.shape[1], k)
    likelihoods = ColumnLikelihoods(data.likelihoods)
    free = likelihoods.init_free(data.targets, data.observed)
    width = options["context"].width if "context" in options else 0
    told = linear
    if width:
        effect = torch.randn(len(linear.mean), width, generator=toys.seeded(8))
        told = LinearVAE(
            torch.cat([linear.loadings, effect], 1), linear.mean, linear.noise_variance
        )
    start = decoder_start(told, likelihoods, data.specs, free)
    plain = toys.mixed_vae(data, k=k, n_members=1, n_replicas=1)
    parts = (likelihoods, plain.inputs, hidden)
    return SparseVAE([linear], [start], *parts, 1, toys.seeded(), **options)


def latents(toys, n=7, k=3):
    return torch.randn(1, n, 4, k, generator=toys.seeded(1))


def test_it_starts_as_the_linear_vae(toys, data):
    model = sparse_vae(toys, data)
    assert model.is_open.all()
    z = latents(toys)
    torch.testing.assert_close(model.decode(z), z @ model.weight[0] + model.bias[0])


@torch.no_grad()
@pytest.mark.parametrize("decoded", [False, True])
def test_a_column_moves_with_the_latents_that_its_mask_leaves_open(toys, data, decoded):
    context = Context(2, decoded) if decoded else Context(0)
    model = toys.perturb(sparse_vae(toys, data, context=context))
    given = torch.randn(7, 2, generator=toys.seeded(5)) if decoded else None
    model.is_open.copy_(toys.random_mask(6, 3, 0.5))
    z, owners = latents(toys), model.likelihoods.driven_columns
    before = model.decode(z, given)
    for k in range(3):
        moved = z.clone()
        moved[..., k] += 1.0
        changed = (model.decode(moved, given) != before).flatten(0, -2).any(0)
        for j in range(6):
            assert bool(changed[owners == j].any()) == bool(model.is_open[j, k]), (j, k)


@torch.no_grad()
def test_what_is_given_is_for_all_columns(toys, data):
    model = toys.perturb(sparse_vae(toys, data, context=Context(2, True)))
    model.is_open.fill_(False)
    z, given = latents(toys), torch.randn(7, 2, generator=toys.seeded(5))
    before, after = model.decode(z, given), model.decode(z, given + 1.0)
    owners = model.likelihoods.driven_columns
    moved = (before != after).flatten(0, -2).any(0)
    assert set(owners[moved].tolist()) == set(range(6))


@torch.no_grad()
def test_gates_scale_latents_and_closed_masks_are_zero_whatever_they_were(toys, data):
    model = toys.perturb(sparse_vae(toys, data))
    z = latents(toys)
    model.mask.fill_(2.0)
    doubled = model.decode(z)
    model.mask.fill_(1.0)
    torch.testing.assert_close(model.decode(2 * z), doubled)
    model.is_open[:, 0] = False
    model.mask[:, 0] = math.nan
    assert (model.gates[:, 0] == 0).all()
    assert model.decode(z).isfinite().all()


def test_closed_masks_get_no_gradient(toys, data):
    model = toys.perturb(sparse_vae(toys, data))
    model.is_open.copy_(toys.random_mask(6, 3, 0.5))
    model.decode(latents(toys)).square().sum().backward()
    assert torch.equal(model.mask.grad != 0, model.is_open)


def test_columns_have_networks_of_their_own(toys, data):
    model = toys.perturb(sparse_vae(toys, data, hidden=(64, 5)))
    assert [weight.shape[-1] for weight in model.decoder.weights[:-1]] == [5, MOST_UNITS]
    owners = model.likelihoods.driven_columns
    for j in range(6):
        model.zero_grad()
        model.decode(latents(toys))[..., owners == j].square().sum().backward()
        touched = [weight.grad.flatten(1).any(1) for weight in model.decoder.weights]
        assert all(own.nonzero().flatten().tolist() == [j] for own in touched)


@torch.no_grad()
@pytest.mark.parametrize("garbage", [math.nan, 1e30])
def test_hidden_entries_cannot_move_the_joint_density(toys, data, garbage):
    model = toys.perturb(sparse_vae(toys, data))
    z, observed = torch.randn(1, 40, 3, 3, generator=toys.seeded(1)), data.observed[None]
    dirty = data.targets.where(data.observed, garbage)
    clean, other = (
        model.log_joint(z, data.features, targets, observed) for targets in (data.targets, dirty)
    )
    assert torch.equal(clean, other)


@torch.no_grad()
def test_draws_depend_on_open_latents_alone(toys, data):
    """The law of a column whose masks are all closed is the same at any latent."""
    model = toys.perturb(sparse_vae(toys, data))
    model.is_open[2] = False
    driven = model.decode(latents(toys))
    own = model.statistics(driven)[..., model.likelihoods.stat_columns == 2]
    torch.testing.assert_close(own, own[:, :1, :1].expand_as(own))


# The prior of masks -------------------------------------------------------------------------


def laplace(mask, rate):
    return 0.5 * rate * torch.exp(-rate * mask.abs())


@pytest.fixture
def prior():
    return SpikeAndSlab(15.0, 1.0, 8)


@pytest.fixture
def mask(toys):
    mask = torch.randn(8, 3, generator=toys.seeded()).double()
    mask[toys.random_mask(8, 3, 0.4)] = 0.0
    return mask


def test_posterior_probabilities_follow_from_bayes_rule(prior, mask):
    share = torch.tensor([0.2, 0.5, 0.9]).double()
    slab, spike = share * laplace(mask, 1.0), (1 - share) * laplace(mask, 15.0)
    torch.testing.assert_close(prior.open_probability(mask, share), slab / (slab + spike))


def test_shares_are_where_the_posterior_of_the_share_is_largest(prior, mask):
    """Of the mixture's likelihood times a Beta(1, p) prior, on a grid."""
    found = prior.shares(mask, rounds=2000)
    grid = torch.linspace(1e-4, 0.999, 20_001).double()[:, None, None]
    mixture = grid * laplace(mask, 1.0) + (1 - grid) * laplace(mask, 15.0)
    log_posterior = mixture.log().sum(1) + 7 * torch.log1p(-grid[:, 0])
    best = grid[log_posterior.argmax(0), 0, 0]
    torch.testing.assert_close(found, best, atol=1e-3, rtol=0)


def test_every_round_raises_the_posterior_of_the_share(prior, mask):
    def log_posterior(share):
        mixture = share * laplace(mask, 1.0) + (1 - share) * laplace(mask, 15.0)
        return mixture.log().sum(0) + 7 * torch.log1p(-share)

    path = torch.stack([log_posterior(prior.shares(mask, rounds=n)) for n in range(6)])
    assert (path.diff(dim=0) > -1e-9).all()


def test_shares_stay_inside_of_zero_and_one(prior):
    nothing, everything = torch.zeros(8, 2), torch.full((8, 2), 50.0)
    assert ((prior.shares(nothing) > 0) & (prior.shares(nothing) < 0.1)).all()
    assert ((prior.shares(everything) > 0.5) & (prior.shares(everything) < 1)).all()


def test_the_slope_of_the_penalty_is_that_of_minus_the_log_prior(prior, mask):
    mask = mask.where(mask != 0, 0.05).requires_grad_(True)
    (slope,) = torch.autograd.grad(prior.penalty(mask), mask)
    share = prior.shares(mask.detach())
    log_prior = (share * laplace(mask, 1.0) + (1 - share) * laplace(mask, 15.0)).log().sum()
    (expected,) = torch.autograd.grad(-log_prior, mask)
    torch.testing.assert_close(slope, expected)


def test_large_masks_cost_less_than_small_ones(prior):
    """Per unit: what is in for good is hardly shrunk."""
    mask = torch.tensor([0.02, 0.05, 2.0, 3.0, 2.0, 3.0, 2.0, 3.0])[:, None].requires_grad_(True)
    (slope,) = torch.autograd.grad(prior.penalty(mask), mask)
    assert (slope[:2] > 5).all()
    assert (slope[2:] < 1.01).all()


def test_log_odds_are_those_of_no_mask(prior, mask):
    share = prior.shares(mask)

    def density(value):
        return share * laplace(value, 1.0) + (1 - share) * laplace(value, 15.0)

    expected = (density(torch.zeros_like(mask)) / density(mask)).log()
    torch.testing.assert_close(prior.log_odds(mask), expected)
    assert (prior.log_odds(mask)[mask == 0].abs() < 1e-12).all()
    assert (prior.log_odds(mask)[mask != 0] > 0).all()
