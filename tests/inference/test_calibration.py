"""Intervals cover held-out errors as often as asked."""

import numpy as np
import pytest

from skvae.inference.calibration import ErrorCalibration

ERRORS = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "student": lambda rng, shape: rng.standard_t(3, size=shape),
    "skewed": lambda rng, shape: rng.exponential(size=shape) - 1,
}


def problem(kind, n=800, p=3, belief=1.0, seed=0):
    """Errors, the variances believed (each off by a factor per column) and a held-out half."""
    rng = np.random.default_rng(seed)
    sd = np.exp(rng.normal(size=(n, p)))
    off = belief * np.array([1.0, 2.0, 0.5])[:p]
    error = sd * ERRORS[kind](rng, (n, p))
    return error, (sd * off) ** 2, rng.random((n, p)) < 0.5, np.ones(p, dtype=bool)


def coverage_of(calibration, error, variance, held_out, level):
    down, up = calibration.bounds(level)
    sd = np.sqrt(variance)
    inside = (error >= down * sd) & (error <= up * sd)
    return np.array([inside[held_out[:, j], j].mean() for j in range(error.shape[1])])


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("belief", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("level", [0.5, 0.8, 0.95])
def test_held_out_errors_are_covered_as_asked(kind, belief, level):
    error, variance, held_out, numeric = problem(kind, belief=belief)
    calibration = ErrorCalibration(error, variance, held_out, numeric)
    covered = coverage_of(calibration, error, variance, held_out, level)
    np.testing.assert_allclose(covered, level, atol=0.05)


@pytest.mark.parametrize("kind", ERRORS)
def test_new_errors_are_covered_too(kind):
    calibration = ErrorCalibration(*problem(kind, n=2000))
    error, variance, *_ = problem(kind, n=2000, seed=1)
    everything = np.ones_like(error, dtype=bool)
    covered = coverage_of(calibration, error, variance, everything, 0.9)
    np.testing.assert_allclose(covered, 0.9, atol=0.03)


def test_intervals_are_nested_and_contain_the_prediction():
    calibration = ErrorCalibration(*problem("skewed"))
    previous = np.zeros(3), np.zeros(3)
    for level in (0.1, 0.5, 0.9, 0.99):
        down, up = calibration.bounds(level)
        assert (down <= previous[0]).all()
        assert (up >= previous[1]).all()
        previous = down, up


def test_inflation_is_how_much_too_sure_the_model_is():
    error, variance, held_out, numeric = problem("normal", n=4000)
    calibration = ErrorCalibration(error, variance, held_out, numeric)
    np.testing.assert_allclose(calibration.inflation, [1.0, 0.5, 2.0], rtol=0.06)


def test_entries_that_are_not_held_out_do_not_matter():
    error, variance, held_out, numeric = problem("student")
    clean = ErrorCalibration(error, variance, held_out, numeric)
    dirty = ErrorCalibration(np.where(held_out, error, np.nan), variance, held_out, numeric)
    np.testing.assert_array_equal(clean.inflation, dirty.inflation)
    np.testing.assert_array_equal(clean.bounds(0.9), dirty.bounds(0.9))


def test_columns_of_categories_do_not_matter():
    error, variance, held_out, _ = problem("normal")
    numeric = np.array([True, True, False])
    results = []
    for factor in (1.0, 1e6):
        scaled = error * np.where(numeric, 1.0, factor)
        calibration = ErrorCalibration(scaled, variance, held_out, numeric)
        results.append(np.stack([calibration.inflation, *calibration.bounds(0.9)]))
    np.testing.assert_array_equal(*results)


def test_columns_without_held_out_entries_lean_on_the_others():
    error, variance, held_out, numeric = problem("student", n=4000)
    variance = np.ones_like(variance)
    error[:] = np.random.default_rng(0).standard_t(3, size=error.shape)
    held_out[:, 0] = False
    down, up = ErrorCalibration(error, variance, held_out, numeric).bounds(0.9)
    np.testing.assert_allclose(down[0], down[1:].mean(), rtol=0.1)
    np.testing.assert_allclose(up[0], up[1:].mean(), rtol=0.1)


@pytest.mark.parametrize(("level", "quantile"), [(0.9, 1.645), (0.5, 0.674)])
def test_without_held_out_entries_errors_are_taken_for_normal(level, quantile):
    error, variance, held_out, numeric = problem("normal")
    calibration = ErrorCalibration(error, variance, np.zeros_like(held_out), numeric)
    np.testing.assert_array_equal(calibration.inflation, 1.0)
    down, up = calibration.bounds(level)
    np.testing.assert_allclose(up, quantile, atol=1e-3)
    np.testing.assert_allclose(down, -quantile, atol=1e-3)


def test_a_column_without_errors_does_not_spoil_the_others():
    error, variance, held_out, numeric = problem("normal")
    error[:, 0] = 0.0
    calibration = ErrorCalibration(error, variance, held_out, numeric)
    covered = coverage_of(calibration, error, variance, held_out, 0.9)
    np.testing.assert_allclose(covered[1:], 0.9, atol=0.03)
