"""From tensors to an ensemble: whatever the size of the table and the settings."""

import math

import pytest
import torch

from skvae.distributions import Gaussian
from skvae.inference import Table
from skvae.models.start import FeatureSpec
from skvae.training import EnsembleFitter, FitSettings, Tensors


def gaussian_tensors(toys, n, p):
    x = torch.randn(n, p, generator=toys.seeded())
    return Tensors(
        features=x,
        targets=x,
        regression_targets=x,
        observed=torch.ones(n, p, dtype=torch.bool),
        weight=torch.ones(n),
        feature_columns=torch.arange(p),
        likelihoods=(Gaussian(),) * p,
        regression_likelihoods=(Gaussian(),) * p,
        specs=tuple(FeatureSpec(slice(j, j + 1), 0.0, 1.0) for j in range(p)),
        slope=torch.ones(p),
        intercept=torch.zeros(p),
    )


def fit(data, seed=0, **options):
    options = {"n_components": 1, "hidden_layer_sizes": (4,), "max_iter": 9} | options
    return EnsembleFitter(data, FitSettings(**options), seed).fit()


def table_of(data):
    return Table(data.features, data.targets, data.observed, data.feature_columns)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"max_iter": 0},
        {"hidden_layer_sizes": ()},
        {"n_components": "auto"},
        {"n_components": 50},
        {"early_stopping": False},
        {"weight_decays": (0.1, 1.0, 10.0)},
    ],
    ids=str,
)
def test_fitted_ensembles_predict(toys, options):
    data = gaussian_tensors(toys, 40, 3)
    ensemble, report, held_out = fit(data, **options)
    torch.testing.assert_close(ensemble.weights.sum(0), torch.ones(3))
    assert torch.isfinite(ensemble.statistics(table_of(data))).all()
    assert torch.isfinite(ensemble.log_prob(table_of(data))).all()
    assert 1 <= report.n_components <= 3
    shown = held_out.held_out
    assert math.isfinite(held_out.error[shown].sum())
    assert (held_out.variance[shown] > 0).all()
    assert not any(p.requires_grad for s in ensemble.sources for p in s.model.parameters())


@pytest.mark.parametrize("max_iter", [1, 9, 40])
def test_generative_members_get_two_fifths_of_the_steps(toys, max_iter):
    data = gaussian_tensors(toys, 40, 3)
    _, report, _ = fit(data, max_iter=max_iter, early_stopping=False)
    steps = {name: history.n_iter for name, history in report.histories.items()}
    assert steps == {"generative": max(max_iter * 2 // 5, 1), "masked": max_iter}


def test_half_of_the_masked_strengths_learn_their_scales(toys):
    data = gaussian_tensors(toys, 40, 3)
    ensemble, _, _ = fit(data, weight_decays=(0.1, 1.0), early_stopping=False)
    linear, generative, masked, local = (source.model for source in ensemble.sources)
    assert local is masked
    assert (linear.density, generative.density, masked.density) == (True, True, False)
    assert not generative.frozen.any()
    assert masked.frozen.flatten(1).all(1).tolist() == [False, False, True, True]
    # Squared error is a Gaussian log-density with this scale, up to a constant.
    expected = torch.full((2, 1, 1, 3), 0.5 * math.log(0.5))
    torch.testing.assert_close(masked.free_parameters[2:], expected)
    assert (masked.free_parameters[:2] != expected).all()


def test_the_same_seed_gives_the_same_ensemble(toys):
    data = toys.mixed_tensors(kinds=("continuous", "positive", "binary"))
    state = torch.get_rng_state()
    first, second, third = (fit(data, seed)[0].statistics(table_of(data)) for seed in (0, 0, 1))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("n", "seed"), [(3, 2), (1, 0)])
def test_tables_without_held_out_entries(toys, n, seed):
    data = gaussian_tensors(toys, n, 2)
    fraction = 1e-9 if n != 3 else 0.1
    ensemble, _, _ = fit(data, seed, validation_fraction=fraction)
    weights = ensemble.weights
    torch.testing.assert_close(weights, torch.full_like(weights, 1 / len(weights)))


def test_no_decay_at_all(toys):
    ensemble, _, _ = fit(gaussian_tensors(toys, 40, 2), weight_decays=(0.0,))
    assert torch.isfinite(ensemble.weights).all()
