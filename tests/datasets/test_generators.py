"""What the tables with known factors promise about their truth."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skvae.datasets import (
    make_linear_factors,
    make_nonstationary_sources,
    make_sparse_factors,
    make_two_level,
)

SMALL = {
    make_sparse_factors: {"n_samples": 50},
    make_linear_factors: {"n_samples": 50},
    make_two_level: {"n_samples": 50},
    make_nonstationary_sources: {"n_segments": 4, "n_per_segment": 10, "n_latents": 2},
}
every_generator = pytest.mark.parametrize("make", SMALL, ids=lambda make: make.__name__)


def numbers(table):
    return table.data.drop(columns="segment", errors="ignore").to_numpy()


def same(one, other):
    return one.data.equals(other.data) and all(
        np.array_equal(one[key], other[key])
        for key in one
        if key not in ("data", "mixing")  # which has no equality of its own
    )


# -------------------------------------------------------------------------------- every generator


@every_generator
def test_seed_decides_everything(make):
    first, again = (make(**SMALL[make], random_state=3) for _ in range(2))
    assert same(first, again)
    assert not same(first, make(**SMALL[make], random_state=4))
    assert not same(first, make(**SMALL[make], random_state=None))
    assert same(first, make(**SMALL[make], random_state=np.random.RandomState(3)))


@every_generator
def test_shared_random_state_moves_on(make):
    random = np.random.RandomState(0)
    assert not same(
        make(**SMALL[make], random_state=random), make(**SMALL[make], random_state=random)
    )


@every_generator
def test_global_random_state_is_left_alone(make):
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    make(**SMALL[make], random_state=0)
    assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@every_generator
def test_frame_holds_noisy_means(make):
    table = make(**SMALL[make], random_state=0)
    assert isinstance(table.data, pd.DataFrame)
    values = numbers(table)
    assert values.shape == table.mean.shape
    assert list(table.data.columns[: values.shape[1]]) == [
        f"x{j + 1}" for j in range(values.shape[1])
    ]
    assert np.isfinite(values).all()


@every_generator
def test_noise_is_all_that_its_scale_changes(make):
    scale = "noise_scale" if make is make_linear_factors else "noise"
    clean, noisy, doubled = (
        make(**SMALL[make], random_state=0, **{scale: value}) for value in (0.0, 0.5, 1.0)
    )
    assert_allclose(numbers(clean), clean.mean)
    assert_array_equal(noisy.mean, clean.mean)
    assert_allclose(numbers(doubled) - doubled.mean, 2 * (numbers(noisy) - noisy.mean))


# --------------------------------------------------------------------------------- sparse factors


def test_sparse_factors_are_those_of_the_paper():
    table = make_sparse_factors(200, random_state=0)
    z1, z2 = table.latents.T
    said = [z1, 2 * z1, 3 * z1**2, 4 * z2, 5 * z2, 6 * np.sin(z2), 7 * z1 * z2]
    assert_allclose(table.mean, np.column_stack(said))


@pytest.mark.parametrize("correlation", [-1.0, -0.5, 0.0, 0.8])
def test_sparse_factors_have_the_asked_moments(correlation):
    table = make_sparse_factors(20_000, correlation=correlation, noise=0.5, random_state=0)
    assert_allclose(table.latents.mean(axis=0), 0.0, atol=0.03)
    wanted = [[1, correlation], [correlation, 1]]
    assert_allclose(np.cov(table.latents.T), wanted, atol=0.04)
    noise = numbers(table) - table.mean
    assert_allclose(np.cov(noise.T), 0.25 * np.eye(7), atol=0.02)
    assert_allclose(noise.T @ table.latents / len(noise), 0.0, atol=0.02)


def test_columns_outside_the_support_stay_when_a_factor_moves():
    # The correlation moves the second factor and leaves the first.
    one, other = (make_sparse_factors(50, correlation=c, random_state=0) for c in (0.0, 0.7))
    assert_array_equal(one.latents[:, 0], other.latents[:, 0])
    moved = (numbers(one) != numbers(other)).any(axis=0)
    assert_array_equal(moved, one.support[:, 1])


def test_every_sparse_factor_has_columns_of_its_own():
    support = make_sparse_factors(2, random_state=0).support
    assert_array_equal(support[support.sum(axis=1) == 1].sum(axis=0), [3, 3])


# --------------------------------------------------------------------------------- linear factors


@pytest.mark.parametrize("noise", ["diagonal", "isotropic"])
def test_linear_factors_have_the_covariance_of_the_model(noise):
    table = make_linear_factors(50_000, 6, 2, noise=noise, noise_scale=0.7, random_state=0)
    wanted = table.loadings @ table.loadings.T + np.diag(table.noise_variance)
    assert_allclose(table.data.cov(), wanted, atol=0.08)
    assert_allclose(table.data.mean(), 0.0, atol=0.04)
    assert_allclose(table.mean, table.latents @ table.loadings.T)
    assert_allclose((numbers(table) - table.mean).var(axis=0), table.noise_variance, rtol=0.03)


def test_noise_is_diagonal_or_isotropic():
    spread = make_linear_factors(2, 200, noise="diagonal", noise_scale=2.0, random_state=0)
    even = make_linear_factors(2, 200, noise="isotropic", noise_scale=2.0, random_state=0)
    assert_allclose(even.noise_variance, 4.0)
    assert 2.0 <= spread.noise_variance.min() < 2.2 < 5.8 < spread.noise_variance.max() <= 6.0
    assert_array_equal(spread.loadings, even.loadings)


@pytest.mark.parametrize(
    ("d", "k", "density"), [(12, 3, 0.5), (10, 3, 0.3), (9, 3, 0.35), (8, 4, 0.25)]
)
def test_density_is_the_share_of_nonzero_loadings(d, k, density):
    for seed in range(5):
        table = make_linear_factors(2, d, k, density=density, random_state=seed)
        assert table.support.sum() == round(density * d * k)
        assert_array_equal(table.support, table.loadings != 0)
        own = table.support[table.support.sum(axis=1) == 1]
        assert (own.sum(axis=0) >= 2).all()


def test_no_column_gets_a_second_factor_before_all_have_one():
    for seed in range(5):
        counts = make_linear_factors(2, 12, 3, density=0.4, random_state=seed).support.sum(axis=1)
        assert counts.min() == 1
    assert make_linear_factors(2, 12, 3, density=0.25, random_state=0).support.sum(1).max() == 1


def test_dense_loadings_are_away_from_zero_and_have_both_signs():
    loadings = make_linear_factors(2, 100, 5, random_state=0).loadings
    assert np.abs(loadings).min() >= 0.5
    assert np.abs(loadings).max() <= 1.5
    assert 0.4 < (loadings > 0).mean() < 0.6


def test_columns_change_only_with_the_factors_of_their_support():
    # Regressing the noiseless columns on the factors finds the loadings, and nothing is left.
    table = make_linear_factors(200, 12, 3, density=0.4, noise_scale=0.0, random_state=0)
    found, left, *_ = np.linalg.lstsq(table.latents, numbers(table), rcond=None)
    assert_allclose(found.T, table.loadings, atol=1e-10)
    assert_allclose(left, 0.0, atol=1e-10)


# ------------------------------------------------------------------------------------- two levels


def test_two_levels_have_the_asked_moments():
    table = make_two_level(20_000, 6, 2, 3, explained=0.7, noise=0.4, random_state=0)
    assert_allclose(np.cov(table.top.T), np.eye(2), atol=0.04)
    assert_allclose(table.bottom_mean.var(axis=0), 0.7)
    own = table.bottom - table.bottom_mean
    assert_allclose(np.cov(own.T), 0.3 * np.eye(3), atol=0.02)
    assert_allclose(own.T @ table.top / len(own), 0.0, atol=0.02)
    assert_allclose(table.mean.var(axis=0), 1.0)
    noise = numbers(table) - table.mean
    assert_allclose(np.cov(noise.T), 0.16 * np.eye(6), atol=0.02)


def test_top_factors_explain_bottom_ones_all_or_not_at_all():
    none = make_two_level(500, explained=0.0, random_state=0)
    everything = make_two_level(500, explained=1.0, random_state=0)
    assert_allclose(none.bottom_mean, 0.0)
    assert_array_equal(everything.bottom, everything.bottom_mean)


def test_upper_level_is_bent():
    # The bottom means are a function of the one top factor, and no straight line.
    table = make_two_level(2000, random_state=0)
    order = np.argsort(table.top[:, 0])
    steps = np.diff(table.bottom_mean[order], axis=0)
    assert (steps**2).sum() < 1e-2 * len(table.top)  # continuous
    straight = [np.corrcoef(table.top[:, 0], column)[0, 1] ** 2 for column in table.bottom_mean.T]
    assert min(straight) < 0.9


def test_lower_level_is_bent():
    table = make_two_level(2000, noise=0.0, random_state=0)
    design = np.column_stack([np.ones(2000), table.bottom])
    left = table.mean - design @ np.linalg.lstsq(design, table.mean, rcond=None)[0]
    assert left.var(axis=0).min() > 0.01


# ---------------------------------------------------------------------------- nonstationary sources


@pytest.mark.parametrize("modulate", ["variance", "both"])
def test_segments_have_their_laws(modulate):
    table = make_nonstationary_sources(6, 5000, 3, modulate=modulate, random_state=0)
    assert_allclose(table.latents.mean(axis=0), 0.0, atol=1e-12)
    assert_allclose(table.latents.std(axis=0), 1.0)
    for s in range(6):
        latents = table.latents[table.segment == s]
        assert_allclose(latents.std(axis=0), table.scales[s], rtol=0.05)
        assert_allclose(latents.mean(axis=0), table.means[s], atol=0.06)
        assert_allclose(np.corrcoef(latents.T), np.eye(3), atol=0.06)


def test_means_change_only_when_asked():
    variance, both = (
        make_nonstationary_sources(20, 10, 3, modulate=modulate, random_state=0)
        for modulate in ("variance", "both")
    )
    assert_allclose(np.ptp(variance.means, axis=0), 0.0)
    assert np.ptp(both.means, axis=0).min() > 0.5
    # Both scales are the same up to each latent's unit.
    ratio = both.scales / variance.scales
    assert_allclose(ratio, np.broadcast_to(ratio[0], ratio.shape))
    assert variance.scales.max() / variance.scales.min() <= 6.5


@pytest.mark.parametrize("sizes", [(2, 2, 3), (5, 5, 1), (3, 8, 4), (1, 3, 2), (1, 1, 3)])
def test_mixing_can_be_undone(sizes):
    k, d, n_layers = sizes
    table = make_nonstationary_sources(5, 40, k, n_features=d, n_layers=n_layers, random_state=1)
    assert_allclose(table.mixing(table.latents), table.mean)
    assert_allclose(table.mixing.inverse(table.mean), table.latents, atol=1e-8)


def test_jacobian_keeps_its_sign():
    # An invertible continuous map of the plane turns nothing over anywhere.
    table = make_nonstationary_sources(5, 200, 2, random_state=0)
    step = 1e-6 * np.eye(2)
    columns = [(table.mixing(table.latents + h) - table.mean) / 1e-6 for h in step]
    determinant = np.linalg.det(np.stack(columns, axis=-1))
    assert (np.sign(determinant) == np.sign(determinant[0])).all()
    assert np.abs(determinant).min() > 1e-3


@pytest.mark.parametrize(
    ("options", "straight"), [({"n_layers": 1}, 1), ({"slope": 1.0}, 1), ({}, 0)]
)
def test_mixing_is_linear_when_nothing_bends(options, straight):
    table = make_nonstationary_sources(5, 200, 3, random_state=0, **options)
    design = np.column_stack([np.ones(1000), table.latents])
    left = table.mean - design @ np.linalg.lstsq(design, table.mean, rcond=None)[0]
    share = left.var(axis=0) / table.mean.var(axis=0)
    assert (share < 1e-12).all() if straight else (share > 0.01).all()


def test_hidden_columns_of_the_mixing_are_standardised():
    table = make_nonstationary_sources(5, 100, 3, n_layers=2, random_state=0)
    hidden = table.latents @ table.mixing.weights[0] + table.mixing.offsets[0]
    assert_allclose(hidden.mean(axis=0), 0.0, atol=1e-12)
    assert_allclose(hidden.std(axis=0), 1.0)


def test_matrices_are_well_conditioned():
    worst = 0.0
    for seed in range(5):
        mixing = make_nonstationary_sources(3, 50, 5, n_layers=1, random_state=seed).mixing
        assert_allclose(np.linalg.norm(mixing.weights[0], axis=0), 1.0)
        worst = max(worst, np.linalg.cond(mixing.weights[0]))
    assert worst < 8  # half of all such matrices are worse


def test_noise_of_the_mixture_is_relative_to_the_columns():
    table = make_nonstationary_sources(5, 4000, 2, n_features=4, noise=0.3, random_state=0)
    noise = numbers(table) - table.mean
    assert_allclose(noise.std(axis=0), 0.3 * table.mean.std(axis=0), rtol=0.03)


def test_segment_is_the_last_column_and_categorical():
    table = make_nonstationary_sources(3, 10, 2, random_state=0)
    assert list(table.data.columns) == ["x1", "x2", "segment"]
    assert isinstance(table.data["segment"].dtype, pd.CategoricalDtype)
    assert_array_equal(table.data["segment"].to_numpy(), table.segment)
    assert_array_equal(np.bincount(table.segment), [10, 10, 10])


# --------------------------------------------------------------------------------- bad arguments


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (make_sparse_factors, {"n_samples": 0}, "n_samples must be an integer of at least 1"),
        (make_sparse_factors, {"n_samples": 10.0}, "n_samples must be an integer"),
        (
            make_sparse_factors,
            {"correlation": 1.1},
            "correlation must be a number between -1 and 1",
        ),
        (make_sparse_factors, {"noise": -1.0}, "noise must be a finite number of at least 0"),
        (make_sparse_factors, {"noise": np.nan}, "noise must be a finite number of at least 0"),
        (make_sparse_factors, {"random_state": "a"}, "cannot be used to seed"),
        (make_linear_factors, {"n_factors": True}, "n_factors must be an integer"),
        (make_linear_factors, {"density": 0.0}, "density must be a number above 0 and at most 1"),
        (make_linear_factors, {"density": 0.9}, "between 0.2 and 0.6, or be 1"),
        (make_linear_factors, {"density": 0.1}, "between 0.2 and 0.6, or be 1"),
        (
            make_linear_factors,
            {"n_features": 5, "density": 0.5},
            "at least 6 columns, or density=1",
        ),
        (
            make_linear_factors,
            {"noise": "none"},
            r"noise must be one of \['diagonal', 'isotropic'\]",
        ),
        (make_linear_factors, {"noise_scale": np.inf}, "noise_scale must be a finite number"),
        (make_two_level, {"n_samples": 1}, "n_samples must be an integer of at least 2"),
        (make_two_level, {"n_top": 0}, "n_top must be an integer of at least 1"),
        (make_two_level, {"explained": 1.5}, "explained must be a number between 0 and 1"),
        (make_two_level, {"noise": "some"}, "noise must be a finite number"),
        (make_nonstationary_sources, {"n_segments": 0}, "n_segments must be an integer"),
        (make_nonstationary_sources, {"n_per_segment": 1}, "n_per_segment must be .* at least 2"),
        (make_nonstationary_sources, {"n_features": 4}, "n_features=4 is less than n_latents=5"),
        (make_nonstationary_sources, {"n_layers": 0}, "n_layers must be an integer of at least 1"),
        (make_nonstationary_sources, {"slope": 0.0}, "slope must be a number above 0"),
        (make_nonstationary_sources, {"modulate": "mean"}, "modulate must be one of"),
    ],
)
def test_bad_arguments_are_named(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)
