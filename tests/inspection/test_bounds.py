"""`bound_curve`: from the ELBO to log p(x)."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skvae.inspection import bound_curve

ALL = ["linear", "bent", "layered", "conditional", "mixed", "vamp"]


def test_bounds_of_an_exact_posterior_are_the_log_likelihood(cases):
    model, X = cases.linear
    curve = bound_curve(model, X, n_samples=(1, 4, 64))
    assert_allclose(curve["bound"], model.score(X), atol=1e-3)  # single precision
    assert_allclose(curve["gain"], 0.0, atol=1e-5)


@pytest.mark.parametrize("kind", ALL)
def test_curve_never_falls_where_sizes_divide(cases, kind):
    curve = bound_curve(*getattr(cases, kind), n_samples=(1, 2, 8, 32, 64))
    assert (np.diff(curve["bound"]) >= -1e-9).all()
    assert (curve["gain_error"] <= curve["standard_error"] + 1e-9).all()


@pytest.mark.parametrize("kind", ALL)
def test_ends_are_the_elbo_and_the_density(cases, kind):
    model, X = getattr(cases, kind)
    curve = bound_curve(model, X, n_samples=(1, 512))
    elbo = model.score_samples(X, method="elbo", n_samples=512).mean()
    assert curve["bound"][1] == pytest.approx(elbo, abs=0.08)
    assert curve["bound"][512] == pytest.approx(model.score(X), abs=0.08)


def test_small_bounds_are_unbiased_whatever_the_largest(cases):
    model, X = cases.bent
    alone = bound_curve(model, X, n_samples=(4,))
    beside = bound_curve(model, X, n_samples=(4, 510))  # 510 is no multiple of 4
    error = alone["standard_error"][4]
    assert alone["bound"][4] == pytest.approx(beside["bound"][4], abs=0.5 * error)


def test_curve_is_reproducible_and_sorted(cases):
    model, X = cases.bent
    one, two = (bound_curve(model, X, n_samples=sizes) for sizes in ([8, 1, 8], (1, 8)))
    assert_array_equal(one.index, [1, 8])
    assert_array_equal(one, two)
    assert one.index.name == "n_samples"


def test_units_are_those_of_the_columns(cases):
    model, X = cases.mixed
    assert bound_curve(model, X, n_samples=(256,))["bound"][256] == pytest.approx(
        model.score_samples(X).mean(), abs=0.05
    )


def test_rows_without_anything_observed_are_certain(cases):
    model, _ = cases.bent
    nothing = np.full((3, 4), np.nan)
    assert_array_equal(bound_curve(model, nothing, n_samples=(1, 2))["bound"], 0.0)


def test_single_row_has_no_error(cases):
    model, X = cases.bent
    curve = bound_curve(model, X[:1], n_samples=(1, 2))
    assert np.isfinite(curve["bound"]).all()
    assert curve["standard_error"].isna().all()
