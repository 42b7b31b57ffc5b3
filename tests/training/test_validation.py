"""Held-out scores: the likelihood of held-out entries, or the squared error of a prediction."""

import math
from dataclasses import replace

import pytest
import torch

from skvae.inference import GenerativeSource, noise_block
from skvae.models import LinearVAE
from skvae.training.validation import HeldOutError, HeldOutLikelihood


def gaussian_error(table, n_samples=8, truth=None, slope=None, intercept=None):
    """For Gaussian columns that are their own features."""
    p = table.targets.shape[1]
    slope = torch.ones(p) if slope is None else slope
    intercept = torch.zeros(p) if intercept is None else intercept
    truth = table.targets if truth is None else truth
    columns = torch.arange(p)

    def source_of(model):
        noise = noise_block(n_samples, model.n_components, 0)
        return GenerativeSource(model, noise, columns, slope, intercept, slope, intercept)

    return HeldOutError(table, torch.Generator().manual_seed(0), source_of, truth, columns)


def mixed_score(toys, data, model):
    """The score that suits the model, as a function of its table."""
    if not model.density:
        return lambda table: HeldOutLikelihood(table, toys.seeded())(model)
    likelihoods = model.likelihoods
    order = torch.argsort(likelihoods.stat_columns, stable=True)
    stat_columns = likelihoods.stat_columns[order]
    one, zero = torch.ones(len(order)), torch.zeros(len(order))
    noise = noise_block(8, model.n_components, 0)

    def source_of(model):
        p = len(data.likelihoods)
        return GenerativeSource(model, noise, order, one, zero, one[:p], zero[:p])

    def score(table):
        truth = []
        for j, kind in enumerate(data.likelihoods):
            codes = getattr(kind, "n_categories", 0)
            x = table.targets[:, [j]]
            truth.append((x == torch.arange(codes)).float() if codes else x)
        truth = torch.cat(truth, 1)
        return HeldOutError(table, toys.seeded(), source_of, truth, stat_columns)(model)

    return score


@pytest.fixture
def linear_setup(toys):
    """Two linear replicas, rows and a table from which each replica misses some entries."""
    linears = [toys.linear_vae(4, 2, seed) for seed in (0, 1)]
    x = torch.randn(40, 4, generator=toys.seeded(3))
    return linears, x, toys.gaussian_table(x, toys.random_mask(40, 4, 0.9), n_replicas=2)


def missed(table, replica):
    held_out = table.fold == replica
    return held_out, table.observed & ~held_out


def test_the_linear_likelihood_is_that_of_the_conditional_mean(toys, linear_setup):
    linears, x, table = linear_setup
    model = toys.gaussian_vae(linears, hidden=(), n_members=4, density=False)
    scores = HeldOutLikelihood(table, toys.seeded())(model)
    assert scores.shape == (4,)
    for member in range(4):
        linear = linears[member % 2]
        held_out, visible = missed(table, member % 2)
        mean = linear.conditional_mean(x, visible)
        normal = torch.distributions.Normal(mean, linear.noise_variance.sqrt())
        expected = normal.log_prob(x)[held_out].mean()
        torch.testing.assert_close(scores[member], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("n_samples", [1, 8])
def test_the_linear_error_is_that_of_the_conditional_mean(toys, linear_setup, n_samples):
    linears, x, table = linear_setup
    model = toys.gaussian_vae(linears, hidden=(), n_members=4)
    # Errors count in units of the regression.
    slope, intercept = torch.tensor([1.0, 0.5, 0.2, 1.5]), torch.tensor([0.0, 1.0, -1.0, 0.5])
    truth = x * slope + intercept
    scores = gaussian_error(table, n_samples, truth, slope, intercept)(model)
    assert scores.shape == (4,)
    for member in range(4):
        held_out, visible = missed(table, member % 2)
        error = (linears[member % 2].conditional_mean(x, visible) - x) * slope
        expected = -error.square().clamp(max=25)[held_out].mean()
        torch.testing.assert_close(scores[member], expected, atol=1e-4, rtol=1e-4)


def test_the_error_prefers_the_better_density(toys):
    truth = toys.linear_vae(6, 2)
    variance = truth.loadings.square().sum(1) + truth.noise_variance
    g = toys.seeded(1)
    z, noise = torch.randn(1500, 2, generator=g), torch.randn(1500, 6, generator=g)
    x = z @ truth.loadings.mT + truth.mean + noise * truth.noise_variance.sqrt()
    # From independent columns to what the rows come from; all have the same margins.
    linears = []
    for share in (0.0, 0.3, 0.6, 1.0):
        loadings = share * truth.loadings
        linears.append(LinearVAE(loadings, truth.mean, variance - loadings.square().sum(1)))
    # Sure of what is not so: the same correlations, some of the other sign.
    signs = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])[:, None]
    linears.append(LinearVAE(signs * truth.loadings, truth.mean, truth.noise_variance))
    table = toys.gaussian_table(x)
    score = gaussian_error(table)
    scores = score(toys.gaussian_vae(linears, hidden=()))
    independent, weak, strong, true, wrong = scores.tolist()
    assert wrong < independent < weak < strong < true < 0
    # The best there is: the variance that the visible entries leave.
    rows = score.rows
    held_out, visible = (mask[rows] for mask in missed(table, 0))
    covariance = truth.posterior(x[rows], visible).covariance
    left = torch.einsum("dk,nkl,dl->nd", truth.loadings, covariance, truth.loadings)
    expected = -(left + truth.noise_variance)[held_out].mean().item()
    assert true == pytest.approx(expected, rel=0.2)


def test_one_entry_in_a_heavy_tail_does_not_decide(toys, linear_setup):
    linears, _, table = linear_setup
    model = toys.gaussian_vae(linears)
    plain = gaussian_error(table)(model)
    held_out, _ = missed(table, 0)
    row, column = held_out.nonzero()[0].tolist()
    truth = table.targets.clone()
    truth[row, column] = 1e6
    spoilt = gaussian_error(table, truth=truth)(model)
    assert spoilt[1] == plain[1]
    assert 0 < plain[0] - spoilt[0] <= 25 / held_out.sum() + 1e-5


@pytest.mark.parametrize("density", [True, False])
def test_hidden_values_do_not_matter_and_held_out_ones_do(toys, density):
    data = toys.mixed_tensors()
    model = toys.perturb(toys.mixed_vae(data, density=density))
    targets = data.targets if density else data.regression_targets
    table = toys.training_table(data, targets=targets)
    score = mixed_score(toys, data, model)

    def scores(features, targets):
        return score(replace(table, features=features, targets=targets))

    clean = scores(table.features, table.targets)
    assert torch.isfinite(clean).all()
    assert not clean.requires_grad
    hidden = ~table.observed
    features = table.features.masked_fill(table.on_features(hidden), math.nan)
    assert torch.equal(clean, scores(features, table.targets.masked_fill(hidden, math.nan)))
    # A replica's own held-out features are hidden from it, their targets are what it is asked.
    mine = table.fold == 0
    moved = scores(table.features + 1.0 * table.on_features(mine), table.targets)
    assert clean[0] == moved[0]
    assert clean[1] != moved[1]
    moved = scores(table.features, table.targets.where(~mine, 1.0))
    assert clean[0] != moved[0]


def test_replicas_without_held_out_entries_score_zero(toys, linear_setup):
    linears, _, table = linear_setup
    table.fold[table.fold == 1] = -1
    model = toys.gaussian_vae(linears)
    for score in (gaussian_error(table), HeldOutLikelihood(table, toys.seeded())):
        scores = score(model)
        assert scores[0] != 0
        assert scores[1] == 0
