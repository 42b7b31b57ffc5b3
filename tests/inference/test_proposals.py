"""Three ways to obtain posteriors of rows, and what is estimated from them."""

import math
import pickle

import pytest
import torch

from skvae.inference import Table, noise_block
from skvae.inference.adaptive import Adaptive
from skvae.inference.importance import mixture_sample
from skvae.inference.proposals import Amortized, Matched, divided, encode
from skvae.inference.refit import log_weights

WAYS = ["amortized", "matched", "adaptive"]


@pytest.fixture(scope="module")
def bent(toys):
    """A mixed table with holes and a model of it whose networks say something."""
    data = toys.mixed_tensors(80)
    model = toys.perturb(toys.mixed_vae(data, n_members=1, n_replicas=1), 0.3)
    model.requires_grad_(False)
    return model, Table(data.features, data.targets, data.observed, data.feature_columns)


def proposal(way, model, toys):
    if way == "matched":
        twin = pickle.loads(pickle.dumps(model))
        return Matched(toys.perturb(twin, 0.05) if twin.encoder else twin)
    return Amortized() if way == "amortized" else Adaptive(0)


def sample(model, part, posteriors, n=256, draws=None):
    noises = divided(noise_block(n, model.n_components, 5), len(posteriors))
    return mixture_sample(model, posteriors, noises, part.targets, part.masks[0], draws)


def linear(toys, hidden=()):
    model = toys.gaussian_vae([toys.linear_vae(5, 2)], hidden).requires_grad_(False)
    x = torch.randn(40, 5, generator=toys.seeded(1))
    return model, Table(x, x, toys.random_mask(40, 5), torch.arange(5))


@pytest.mark.parametrize("hidden", [(), (6,)])
@pytest.mark.parametrize("way", WAYS)
def test_all_agree_where_the_posterior_is_exact(way, hidden, toys):
    model, part = linear(toys, hidden)
    exact = encode(model, part)
    one = Matched(model) if way == "matched" else proposal(way, model, toys)
    found = one.propose(model, part).best
    torch.testing.assert_close(found.centre, exact.centre, atol=0.02, rtol=0)
    torch.testing.assert_close(found.covariance, exact.covariance, atol=0.05, rtol=0)
    mixture = one.propose(model, part).mixture
    weighted, whole = (sample(model, part, each) for each in (mixture, (exact,)))
    torch.testing.assert_close(weighted.log_prob, whole.log_prob, atol=0.01, rtol=0)
    torch.testing.assert_close(whole.effective_sample_size, torch.full((1, 40), 256.0).double())


@pytest.mark.parametrize("way", WAYS)
def test_estimates_of_the_density_agree(way, bent, toys):
    model, part = bent
    prior = noise_block(2**13, 2, 7)[None, None].expand(1, 80, -1, -1)
    entries = model.log_likelihood(model.decode(prior), part.targets, part.masks[0]).sum(-1)
    truth = entries.double().logsumexp(-1) - math.log(2**13)
    posteriors = proposal(way, model, toys).propose(model, part).mixture
    found = sample(model, part, posteriors, 1536, noise_block(512, 2, 6)[None, None])
    torch.testing.assert_close(found.log_prob, truth, atol=0.05, rtol=0)
    assert (found.effective_sample_size >= 1).all()
    assert (found.effective_sample_size <= 2048 + 1e-6).all()


def test_no_row_has_a_lower_bound_than_the_encoders(bent):
    model, part = bent
    noise = noise_block(4096, 2, 9)
    own, encoder = (
        log_weights(model, part, one.propose(model, part).best, noise).mean(-1)[0]
        for one in (Adaptive(0), Amortized())
    )
    assert (own > encoder - 0.02).all()  # which is what another noise may change
    assert (own > encoder + 0.1).any()


def test_members_are_optimised_side_by_side(toys):
    data = toys.mixed_tensors(40)
    model = toys.perturb(toys.mixed_vae(data, n_members=4), 0.3)
    model.requires_grad_(False)
    part = Table(data.features, data.targets, data.observed, data.feature_columns)
    noise = noise_block(1024, 2, 9)
    own, encoder = (
        log_weights(model, part, one.propose(model, part).best, noise).mean(-1)
        for one in (Adaptive(0), Amortized())
    )
    assert own.shape == (4, 40)
    assert (own > encoder - 0.05).all()
    assert (own.mean(1) > encoder.mean(1)).all()


@pytest.mark.parametrize("way", WAYS)
def test_rows_do_not_depend_on_each_other(way, bent, toys):
    model, part = bent
    one = proposal(way, model, toys)
    whole = one.propose(model, part).best.centre
    order = torch.randperm(80, generator=toys.seeded(3))
    for rows in (order, order[:47], order[:1]):
        found = one.propose(model, part.take(rows)).best.centre
        torch.testing.assert_close(found, whole[:, rows], atol=2e-6, rtol=0)


def test_pieces_of_a_long_table_are_as_the_whole(bent, monkeypatch):
    model, part = bent
    whole = Adaptive(0).propose(model, part).best.centre
    monkeypatch.setattr("skvae.inference.adaptive.DECODED_AT_ONCE", 600)  # 37 rows: one block
    pieces = Adaptive(0).propose(model, part).best.centre
    torch.testing.assert_close(pieces, whole, atol=2e-6, rtol=0)


@pytest.mark.parametrize("way", WAYS)
def test_hidden_values_have_no_say(way, bent, toys):
    model, part = bent
    one = proposal(way, model, toys)
    other = Table(
        part.features.where(part.masks[1][0], 3.0),
        part.targets.where(part.observed, 1.0),
        part.observed,
        part.feature_columns,
    )
    before, after = (one.propose(model, rows).best.centre for rows in (part, other))
    torch.testing.assert_close(before, after, atol=0, rtol=0)


@pytest.mark.parametrize("way", WAYS)
def test_an_empty_table_has_no_posteriors(way, bent, toys):
    model, part = bent
    one = proposal(way, model, toys)
    assert one.propose(model, part.take(slice(0))).best.centre.shape == (1, 0, 2)


def test_random_numbers_of_the_session_are_left_alone(bent):
    model, part = bent
    before = torch.get_rng_state()
    Adaptive(0).propose(model, part)
    assert torch.equal(torch.get_rng_state(), before)


def test_weights_are_those_of_the_mixture(bent):
    """Every sample's weight is p(x, z) over the weighted sum of all that it may come from."""
    model, part = bent
    posteriors = Adaptive(0).propose(model, part).mixture
    noises = divided(noise_block(32, 2, 5), 2)
    draws = torch.randn(1, 1, 16, 2, generator=torch.Generator().manual_seed(0))
    found = mixture_sample(model, posteriors, noises, part.targets, part.masks[0], draws)
    z = torch.cat(
        [
            *(one.rsample(noise)[0] for one, noise in zip(posteriors, noises, strict=True)),
            draws.expand(-1, 80, -1, -1),
        ],
        dim=-2,
    )
    logs = [*(one.log_prob_at(z) for one in posteriors), model.log_prior(z)]
    shares = [22 / 48, 10 / 48, 16 / 48]
    mixture = sum(s * log.double().exp() for s, log in zip(shares, logs, strict=True)).log()
    joint = model.log_likelihood(model.decode(z), part.targets, part.masks[0]).sum(-1) + logs[-1]
    torch.testing.assert_close(found.log_weights, joint.double() - mixture, atol=1e-4, rtol=1e-4)
    assert math.isclose(sum(shares), 1)


@pytest.mark.parametrize("n", [1, 2, 3, 10])
def test_noise_is_divided_without_loss(n):
    noise = torch.randn(n, 2)
    assert torch.equal(torch.cat(tuple(divided(noise, 2))), noise)
    assert len(divided(noise, 2)[0]) > len(divided(noise, 2)[1])
