"""An ensemble answers row by row, whoever else is in the table."""

import math

import pytest
import torch

from skvae.distributions import ColumnLikelihoods, Gaussian
from skvae.inference import Ensemble, GenerativeSource, Table, noise_block
from skvae.inference import ensemble as ensemble_module
from skvae.training import EnsembleFitter, FitSettings

# In column order: three numbers, then 2 + 3 categories.
KINDS = ("continuous", "positive", "count", "binary", "categorical")


@pytest.fixture(scope="module")
def fitted(toys):
    """An ensemble of all sources and the table it was fitted on."""
    data = toys.mixed_tensors(90, kinds=KINDS)
    settings = FitSettings(
        n_components=2, hidden_layer_sizes=(8,), max_iter=30, learning_rate=1e-2, batch_size=32
    )
    ensemble, _, _ = EnsembleFitter(data, settings, seed=0).fit()
    # Every source counts, whatever the held-out entries of this small table say.
    weights = torch.full_like(ensemble.weights, 1 / len(ensemble.weights))
    ensemble = Ensemble(
        ensemble.density, ensemble.sources, ensemble.n_replicas, weights, ensemble.layout
    )
    return ensemble, Table(data.features, data.targets, data.observed, data.feature_columns)


def rows_of(table, rows):
    return Table(
        table.features[rows],
        table.targets[rows],
        table.observed[..., rows, :],
        table.feature_columns,
    )


def gaussian_source(toys, k=2, n_samples=2048, d=4):
    """A linear model of Gaussian columns in units of their own, and what it is in theory."""
    linear = toys.linear_vae(d, k)
    model = toys.gaussian_vae([linear], hidden=())
    slope = torch.arange(1.0, d + 1)
    intercept = -torch.arange(d).float()
    order = torch.arange(d)
    noise = noise_block(n_samples, k, 0)
    return linear, GenerativeSource(model, noise, order, slope, intercept, slope, intercept)


def gaussian_rows(toys, n=12, d=4):
    x = torch.randn(n, d, generator=toys.seeded(3))
    return Table(x, x, toys.random_mask(n, d, 0.6), torch.arange(d))


ANSWERS = {
    "statistics": lambda ensemble, table: (ensemble.statistics(table),),
    "log_prob": lambda ensemble, table: (ensemble.log_prob(table),),
    "moments": lambda ensemble, table: ensemble.moments(table),
}


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("budget", [None, 1])
def test_answers_do_not_depend_on_other_rows(fitted, answer, budget, monkeypatch):
    ensemble, table = fitted
    whole = ANSWERS[answer](ensemble, table)
    if budget is not None:
        monkeypatch.setattr(ensemble_module, "DECODED_AT_ONCE", budget)
    n = len(table.features)
    shuffled = torch.randperm(n, generator=torch.Generator().manual_seed(0))
    for rows in (shuffled, torch.arange(0, n, 7), torch.tensor([4])):
        part = ANSWERS[answer](ensemble, rows_of(table, rows))
        for mine, all_rows in zip(part, whole, strict=True):
            assert torch.isfinite(mine).all()
            torch.testing.assert_close(mine, all_rows[rows], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("answer", ANSWERS)
def test_hidden_values_do_not_matter(fitted, answer):
    ensemble, table = fitted
    hidden = ~table.observed
    dirty = Table(
        table.features.masked_fill(hidden.index_select(1, table.feature_columns), math.nan),
        table.targets.masked_fill(hidden, math.nan),
        table.observed,
        table.feature_columns,
    )
    for clean, other in zip(
        ANSWERS[answer](ensemble, table), ANSWERS[answer](ensemble, dirty), strict=True
    ):
        assert torch.equal(clean, other)


def test_answers_are_deterministic_and_leave_no_gradient(fitted):
    ensemble, table = fitted
    state = torch.get_rng_state()
    for answer in ANSWERS.values():
        for first, second in zip(answer(ensemble, table), answer(ensemble, table), strict=True):
            assert torch.equal(first, second)
            assert not first.requires_grad
    assert ensemble.log_prob(table).dtype == torch.float64
    assert torch.equal(torch.get_rng_state(), state)


def test_probabilities_are_probabilities(fitted):
    ensemble, table = fitted
    statistics = ensemble.statistics(table)
    for part in statistics[:, 3:].split([2, 3], dim=1):
        assert (part >= 0).all()
        torch.testing.assert_close(part.sum(1), torch.ones(len(part)))
    points = ensemble.point(statistics)
    torch.testing.assert_close(points[:, :3], statistics[:, :3])
    assert torch.equal(points[:, 3], statistics[:, 3:5].argmax(1).float())
    assert torch.equal(points[:, 4], statistics[:, 5:8].argmax(1).float())


@pytest.mark.parametrize("kinds", [("ordinal",), ("continuous", "ordinal"), (*KINDS, "ordinal")])
def test_ordered_columns_have_predictions(toys, kinds):
    data = toys.mixed_tensors(60, kinds=kinds)
    settings = FitSettings(n_components=1, hidden_layer_sizes=(4,), max_iter=9)
    ensemble, _, _ = EnsembleFitter(data, settings, seed=0).fit()
    table = Table(data.features, data.targets, data.observed, data.feature_columns)
    for source in ensemble.sources:
        statistics = source.statistics(table)
        assert statistics.shape[1:] == (60, ensemble.layout.n_statistics)
        total = statistics[..., -4:].sum(-1)
        torch.testing.assert_close(total, torch.ones_like(total))


def test_points_follow_column_order_when_kinds_alternate(fitted):
    ensemble, _ = fitted
    kinds = ensemble.layout.likelihoods
    layout = ColumnLikelihoods([kinds[4], kinds[0], kinds[3], kinds[4], kinds[0]])
    alternating = Ensemble(ensemble.density, (), 2, ensemble.weights, layout)
    statistics = torch.tensor([[0.1, 0.2, 0.7, 1.5, 0.9, 0.1, 0.2, 0.5, 0.3, -2.5]])
    assert alternating.point(statistics).tolist() == [[2.0, 1.5, 0.0, 1.0, -2.5]]


def test_a_source_without_weight_is_silent(fitted):
    ensemble, table = fitted
    for place, source in enumerate(ensemble.sources[:2]):
        weights = torch.zeros_like(ensemble.weights)
        weights[place] = 1.0
        alone = Ensemble(ensemble.density, ensemble.sources, 2, weights, ensemble.layout)
        with torch.no_grad():
            expected = source.statistics(table).mean(0)
        torch.testing.assert_close(alone.statistics(table), expected)


def test_replicas_may_each_see_a_mask_of_their_own(fitted):
    ensemble, table = fitted
    masks = torch.stack(
        [
            table.observed & (torch.rand(table.observed.shape, generator=g) < 0.8)
            for g in (torch.Generator().manual_seed(s) for s in (0, 1))
        ]
    )
    with torch.no_grad():
        for source in ensemble.sources:
            both = source.statistics(
                Table(table.features, table.targets, masks, table.feature_columns)
            )
            for replica in range(2):
                mine = source.statistics(
                    Table(table.features, table.targets, masks[replica], table.feature_columns)
                )
                torch.testing.assert_close(both[replica::2], mine[replica::2], atol=1e-5, rtol=1e-4)


def test_several_members_are_a_mixture(fitted):
    ensemble, table = fitted
    with torch.no_grad():
        each = ensemble.density.sample(rows_of(table, torch.arange(10))).log_prob
    torch.testing.assert_close(ensemble.log_prob(table)[:10], each.exp().mean(0).log())


def test_moments_are_those_of_gaussian_conditioning(toys):
    linear, source = gaussian_source(toys)
    table = gaussian_rows(toys)
    mean, variance = source.moments(table)
    posterior = linear.posterior(table.features, table.observed)
    exact = torch.einsum("dk,nkl,dl->nd", linear.loadings, posterior.covariance, linear.loadings)
    exact = (exact + linear.noise_variance) * source.slope.square()
    expected = linear.conditional_mean(table.features, table.observed)
    torch.testing.assert_close(
        mean[0], expected * source.slope + source.intercept, atol=1e-3, rtol=1e-3
    )
    torch.testing.assert_close(variance[0], exact, atol=1e-3, rtol=0.03)
    torch.testing.assert_close(source.statistics(table), mean, atol=1e-5, rtol=1e-4)


def test_draws_follow_the_conditional_distribution(toys):
    linear, source = gaussian_source(toys, n_samples=512)
    ensemble = Ensemble(source, (source,), 1, torch.ones(1, 4), ColumnLikelihoods([Gaussian()] * 4))
    table = gaussian_rows(toys)
    state = torch.get_rng_state()
    draws = ensemble.draw(table, 4000, toys.seeded())
    assert draws.shape == (4000, 12, 4)
    assert torch.equal(torch.get_rng_state(), state)
    posterior = linear.posterior(table.features, table.observed)
    exact = linear.loadings @ posterior.covariance @ linear.loadings.mT
    exact = exact + torch.diag(linear.noise_variance)
    expected = linear.conditional_mean(table.features, table.observed)
    torch.testing.assert_close(draws.mean(0), expected, atol=0.15, rtol=0)
    centred = draws - draws.mean(0)
    covariance = torch.einsum("snd,sne->nde", centred, centred) / 4000
    torch.testing.assert_close(covariance, exact, atol=0.25, rtol=0.15)


def test_draws_are_reproducible(fitted):
    ensemble, table = fitted
    draws = [ensemble.draw(table, 3, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert draws[0].shape == (3, *table.targets.shape)
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    # Draws belong to their columns: positive numbers, counts and codes.
    assert (draws[0][..., 1] > 0).all()
    for column, most in ((2, math.inf), (3, 1), (4, 2)):
        values = draws[0][..., column]
        assert ((values >= 0) & (values <= most) & (values == values.floor())).all()


def test_effective_sample_size_is_between_one_and_all(fitted):
    ensemble, table = fitted
    with torch.no_grad():
        size = ensemble.density.effective_sample_size(table)
    assert size.shape == (len(table.features),)
    assert (size >= 1 - 1e-5).all()
    assert (size <= len(ensemble.density.noise) + 1e-3).all()
