"""Units of the table, of the density and of the regression, and the ways between them."""

import math

import numpy as np
import pytest
import torch

from skvae.distributions import Gaussian, LogNormal
from skvae.tabular.scaling import MOST_LEVELS, TableScaler, repeated_levels

NUMERIC = ("continuous", "positive", "count")


@pytest.fixture
def table(toys):
    """A scaler and the table of every kind that it was fitted on."""
    values, columns = toys.mixed_values(200)
    observed = toys.random_mask(200, 6, 0.8).numpy()
    values[~observed] = np.nan
    return TableScaler().fit(values, observed, columns), values, observed


def one_column(toys, kind, x, sample_weight=None):
    values = np.asarray(x, dtype=float)[:, None]
    scaler = TableScaler().fit(
        values, np.ones_like(values, dtype=bool), [toys.column(kind)], sample_weight
    )
    return scaler, values, np.ones_like(values, dtype=bool)


def test_targets_come_back_as_values(table):
    scaler, values, observed = table
    back = scaler.from_targets(scaler.targets(values, observed).astype(float))
    np.testing.assert_allclose(back[observed], values[observed], rtol=1e-5, atol=1e-5)
    draws = np.stack([scaler.targets(values, observed)] * 3)
    assert scaler.from_targets(draws).shape == (3, 200, 6)


def test_regression_units_follow_from_targets(table):
    scaler, values, observed = table
    slope, intercept = scaler.regression_from_targets
    np.testing.assert_allclose(
        (scaler.targets(values, observed) * slope + intercept)[observed],
        scaler.regression_targets(values, observed)[observed],
        atol=1e-5,
    )


def test_regression_units_are_standard_deviations_or_codes(table):
    scaler, values, observed = table
    result = scaler.regression_targets(values, observed)
    for j, kind in enumerate(scaler.kinds):
        own = result[observed[:, j], j]
        if kind in NUMERIC:
            np.testing.assert_allclose([own.mean(), own.std()], [0, 1], atol=1e-5)
            np.testing.assert_allclose(scaler.mean[j], values[observed[:, j], j].mean())
            np.testing.assert_allclose(scaler.scale[j], values[observed[:, j], j].std())
        else:
            np.testing.assert_array_equal(own, values[observed[:, j], j])
            assert (scaler.mean[j], scaler.scale[j]) == (0, 1)


def test_features_are_standardised_on_the_scale_of_their_link(table):
    scaler, values, observed = table
    features = scaler.features(values, observed)
    assert features.dtype == np.float32
    links = {"positive": np.log, "count": np.log1p}
    for j, (kind, spec) in enumerate(zip(scaler.kinds, scaler.specs, strict=True)):
        seen = observed[:, j]
        own = features[seen, spec.features]
        np.testing.assert_allclose(own.mean(0), 0, atol=1e-5)
        np.testing.assert_allclose(own.std(0), 1, atol=1e-4)
        assert (features[~seen, spec.features] == 0).all()
        assert (scaler.feature_columns[spec.features] == j).all()
        if kind != "categorical":
            linked = links.get(kind, lambda x: x)(values[seen, j])
            np.testing.assert_allclose(own[:, 0] * spec.scale + spec.location, linked, atol=1e-5)
        if kind not in NUMERIC:
            counts = np.bincount(values[seen, j].astype(int))
            np.testing.assert_allclose(spec.probabilities, counts / counts.sum())
    assert len(scaler.feature_columns) == features.shape[1] == 5 + 3


def test_hidden_values_do_not_matter(table):
    scaler, values, observed = table
    for garbage in (0.5, 1.0):
        dirty = np.where(observed, values, garbage)
        for name in ("features", "targets", "regression_targets"):
            first, second = (getattr(scaler, name)(v, observed) for v in (values, dirty))
            np.testing.assert_array_equal(first, second)
            assert np.isfinite(first).all()


def test_the_jacobian_is_the_derivative_of_targets(table):
    scaler, values, observed = table
    x = np.where(observed, values, np.where(np.isin(scaler.kinds, NUMERIC), 2.0, 0.0))[:5]
    step = np.where(np.isin(scaler.kinds, ("continuous", "positive")), 1.0, 0.0)
    everything = np.ones_like(x, dtype=bool)
    moved = scaler.targets(x + step, everything) - scaler.targets(x, everything)
    real = step > 0
    np.testing.assert_allclose(
        np.log(moved[:, real]), np.tile(scaler.log_jacobian[real], (5, 1)), atol=1e-3
    )
    # Counts and codes have masses, not densities.
    assert (scaler.log_jacobian[~real] == 0).all()


@pytest.mark.parametrize(
    ("kind", "likelihood"), [("continuous", Gaussian()), ("positive", LogNormal())]
)
def test_densities_in_units_of_the_table_integrate_to_one(toys, kind, likelihood):
    x = 40 * np.exp(0.5 * np.random.default_rng(0).normal(size=300))
    scaler, *_ = one_column(toys, kind, x)
    grid = np.linspace(1e-3 if kind == "positive" else -2000, 2000, 200001)[:, None]
    targets = torch.from_numpy(scaler.targets(grid, np.ones_like(grid, dtype=bool))).double()
    free = torch.tensor([[math.log(0.5)]])
    log_prob = likelihood.log_prob(torch.zeros(1, 1), free, targets)[:, 0].numpy()
    density = np.exp(log_prob + scaler.log_jacobian[0])
    assert np.trapezoid(density, grid[:, 0]) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("unit", [1e-12, 1e-3, 1.0, 1e12])
@pytest.mark.parametrize("kind", ["continuous", "positive"])
def test_units_do_not_matter(toys, kind, unit):
    x = np.exp(np.random.default_rng(0).normal(size=100))
    plain, values, observed = one_column(toys, kind, x)
    scaled, other, _ = one_column(toys, kind, unit * x)
    for name in ("features", "targets", "regression_targets"):
        np.testing.assert_allclose(
            getattr(scaled, name)(other, observed),
            getattr(plain, name)(values, observed),
            rtol=1e-4,
            atol=1e-5,
        )
    np.testing.assert_allclose(
        scaled.from_targets(scaled.targets(other, observed).astype(float)), other, rtol=1e-5
    )
    np.testing.assert_allclose(scaled.log_jacobian, plain.log_jacobian - math.log(unit))


@pytest.mark.parametrize("kind", ["continuous", "positive", "count"])
@pytest.mark.parametrize("size", [0.0, 1e-12, 1.0, 1e12])
def test_constants_and_single_values_stay_finite(toys, kind, size):
    if kind == "positive" and size == 0:
        size = 1.0
    if kind == "count":
        size = math.floor(size)
    for n in (1, 5):
        scaler, values, observed = one_column(toys, kind, [size] * n)
        for name in ("features", "targets", "regression_targets"):
            assert np.isfinite(getattr(scaler, name)(values, observed)).all()
        np.testing.assert_allclose(
            scaler.from_targets(scaler.targets(values, observed).astype(float)), values, rtol=1e-6
        )
        np.testing.assert_allclose(scaler.features(values, observed), 0, atol=1e-6)


@pytest.mark.parametrize("kind", ["continuous", "positive"])
def test_values_of_all_sizes_in_one_column(toys, kind):
    scaler, values, observed = one_column(toys, kind, [1e-12, 1e-3, 1.0, 1e12])
    for name in ("features", "targets", "regression_targets"):
        assert np.isfinite(getattr(scaler, name)(values, observed)).all()
    assert np.isfinite(scaler.log_jacobian).all()


def test_a_large_offset_keeps_the_spread(toys):
    x = 1e9 + np.random.default_rng(0).normal(size=100)
    scaler, values, observed = one_column(toys, "continuous", x)
    assert scaler.scale[0] == pytest.approx(x.std(), rel=1e-3)
    targets = scaler.targets(values, observed)
    np.testing.assert_allclose(targets[:, 0], (x - x.mean()) / x.std(), atol=1e-3)


def test_a_weight_of_two_is_a_row_twice(toys):
    values, columns = toys.mixed_values(60)
    observed = toys.random_mask(60, 6, 0.8).numpy()
    weight = 1.0 + np.arange(60) % 2
    rows = np.repeat(np.arange(60), weight.astype(int))
    weighted = TableScaler().fit(values, observed, columns, weight)
    repeated = TableScaler().fit(values[rows], observed[rows], columns)
    np.testing.assert_allclose(weighted.mean, repeated.mean)
    np.testing.assert_allclose(weighted.scale, repeated.scale)
    for first, second in zip(weighted.specs, repeated.specs, strict=True):
        assert first.features == second.features
        np.testing.assert_allclose(first.probabilities, second.probabilities)
        np.testing.assert_allclose(
            [first.location, first.scale, first.offset],
            [second.location, second.scale, second.offset],
            atol=1e-12,
        )


def test_levels_of_values_that_repeat():
    rng = np.random.default_rng(0)
    smooth = rng.normal(size=1000)
    assert not len(repeated_levels(smooth))
    assert not len(repeated_levels(np.round(smooth, 3)))  # some coincide by chance
    rounded = np.round(smooth, 1)
    np.testing.assert_array_equal(repeated_levels(rounded), np.unique(rounded))
    # As many zeros as not are a half that repeats.
    assert not len(repeated_levels(np.where(np.arange(1000) < 500, 0.0, smooth)))
    assert len(repeated_levels(np.where(np.arange(1000) < 501, 0.0, smooth))) == 500
    # Every value twice is a scale, unless it is too fine.
    assert len(repeated_levels(np.repeat(np.arange(MOST_LEVELS), 2))) == MOST_LEVELS
    assert not len(repeated_levels(np.repeat(np.arange(MOST_LEVELS + 1), 2)))


@pytest.mark.parametrize("unit", [np.finfo(float).max, 1e-322], ids=["largest", "smallest"])
def test_numbers_as_large_or_small_as_there_are(toys, unit):
    x = unit * np.array([-1.0, 0.0, 1.0, 1.0])
    with np.errstate(all="raise", under="ignore"):
        scaler, values, observed = one_column(toys, "continuous", x)
        targets = scaler.targets(values, observed)
        features = scaler.features(values, observed)
        back = scaler.from_targets(np.array([[-1e9], [1e9], [targets[2, 0]]], dtype=float))
        slope, intercept = scaler.regression_from_targets
    np.testing.assert_array_equal(features, targets)
    np.testing.assert_array_equal(scaler.regression_targets(values, observed), targets)
    assert np.isfinite(targets).all()
    assert np.ptp(targets) > 1
    assert np.isfinite(back).all()
    assert (slope, intercept) == (1, 0)
