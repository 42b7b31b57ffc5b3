"""An extra encoder that learns what parts of rows say."""

import copy

import pytest
import torch

from skvae.training.loop import LoopSettings, train
from skvae.training.posterior_matching import (
    HeldOutMatch,
    PosteriorMatching,
    match_posterior,
    sigma_points,
    whole_rows,
)


def settings(max_iter=200, n_members=1, **options):
    return LoopSettings(max_iter, 64, 5e-3, torch.zeros(n_members), **options)


def drawn(toys, n=300, k=2):
    """A linear model whose posteriors are exact, and rows drawn from it."""
    linear = toys.linear_vae(5, k)
    model = toys.gaussian_vae([linear])
    g = toys.seeded(3)
    z, e = torch.randn(n, k, generator=g), torch.randn(n, 5, generator=g)
    x = z @ linear.loadings.mT + linear.mean + linear.noise_variance.sqrt() * e
    return model, toys.gaussian_table(x, fraction=1e-9)


def divergence(one, other):
    """KL(one || other) of Gaussian posteriors, row by row."""
    z, log_one = one.rsample(sigma_points(one.move.shape[-1]))
    return (log_one - other.log_prob_at(z)).mean(-1)


def test_sigma_points_integrate_quadratic_functions(toys):
    points = sigma_points(4)
    torch.testing.assert_close(points.mean(0), torch.zeros(4))
    torch.testing.assert_close(points.mT @ points / len(points), torch.eye(4))


def test_divergence_of_shifted_posteriors_is_the_closed_form(toys):
    model, table = drawn(toys, 20)
    one = model.posterior(table.features, table.observed[None])
    other = one.shifted(torch.full_like(one.move, 0.5), torch.full_like(one.move, 0.3))
    s = torch.tensor(0.3)
    expected = 2 * (s + (1 + 0.25) / (2 * (2 * s).exp()) - 0.5)
    torch.testing.assert_close(divergence(one, other), expected.expand(1, 20), atol=1e-4, rtol=0)


@torch.no_grad()
def test_the_exact_posterior_of_a_part_is_the_best_answer(toys):
    model, table = drawn(toys, 2000)
    objective = PosteriorMatching(model)
    batch = table.batch(torch.arange(2000))
    exact = objective(model, table, batch, toys.seeded(0)).mean()
    for seed in range(3):
        other = toys.perturb(copy.deepcopy(model), 0.1, seed)
        assert objective(other, table, batch, toys.seeded(0)).mean() < exact


def test_matching_brings_an_encoder_to_the_exact_posteriors(toys):
    model, table = drawn(toys)
    model.requires_grad_(False)
    astray = toys.perturb(copy.deepcopy(model), 0.3)
    for name, parameter in astray.named_parameters():
        parameter.requires_grad_(name.startswith("encoder"))
    observed = toys.random_mask(*table.features.shape, 0.6)[None]
    exact = model.posterior(table.features, observed)
    before = divergence(exact, astray.posterior(table.features, observed)).mean()
    objective = PosteriorMatching(model)
    train(astray, table, objective, None, settings(400), toys.seeded(0))
    after = divergence(exact, astray.posterior(table.features, observed)).mean()
    assert before > 0.3
    assert after < 0.1 * before


def test_only_the_twin_learns_and_only_its_encoder(toys):
    model, table = drawn(toys, 100)
    toys.perturb(model, 0.2).requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    twin, history = match_posterior(model, table, None, settings(20), 0)
    assert history.n_iter == 20
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert twin.decoder is None
    for name, value in twin.state_dict().items():
        assert torch.equal(value, before[name]) != name.startswith("encoder"), name
    assert not any(p.requires_grad for p in twin.parameters())


def test_held_out_rows_decide(toys):
    model, table = drawn(toys, 100)
    toys.perturb(model, 0.2).requires_grad_(False)
    held_out = drawn(toys, 50)[1]
    score = HeldOutMatch(PosteriorMatching(model), held_out, 0)
    twin, history = match_posterior(model, table, held_out, settings(60), 0)
    assert score(twin).item() == pytest.approx(max(s for (s,) in history.scores), abs=1e-4)
    assert score(twin) > score(model)


def test_the_same_seed_gives_the_same_encoder(toys):
    model, table = drawn(toys, 60)
    one, two = (match_posterior(model, table, None, settings(10), 4)[0] for _ in range(2))
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)


def test_members_learn_side_by_side(toys):
    data = toys.mixed_tensors(60, share=1.0)
    model = toys.perturb(toys.mixed_vae(data), 0.2).requires_grad_(False)
    table = toys.training_table(data)
    score = HeldOutMatch(PosteriorMatching(model), table, 0)
    twin, _ = match_posterior(model, table, table, settings(40, n_members=2), 0)
    assert score(twin).shape == (2,)
    assert (score(twin) > score(model)).all()


def test_whole_rows_are_found_and_missed():
    observed = torch.ones(100, 3, dtype=torch.bool)
    observed[:60, 0] = False
    assert torch.equal(whole_rows(observed), torch.arange(60, 100))
    observed[:81, 1] = False
    with pytest.raises(ValueError, match=r"19 of 100 rows are, and 20 must be.*adaptive"):
        whole_rows(observed)
    assert len(whole_rows(torch.ones(3, 2, dtype=torch.bool))) == 3
