"""Matched and canonical correlations: what they see and what they do not."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skvae.inspection import match_latents, mean_correlation_coefficient
from skvae.inspection.agreement import canonical_correlations, chance_correlations


@pytest.fixture(scope="module")
def Z():
    """Three independent latents, centred and standardised exactly."""
    z = np.random.default_rng(0).normal(size=(400, 3))
    return np.linalg.qr(z - z.mean(axis=0))[0] * 20


def turned(Z, degrees):
    """The first two latents turned in their plane."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return Z @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def test_order_sign_scale_and_shift_are_free(Z):
    other = 5 + Z[:, [2, 0, 1]] * [-3, 0.01, 1e6]
    match = match_latents(Z, other)
    assert match.mean == pytest.approx(1)
    assert_array_equal(match.columns[np.argsort(match.rows)], [1, 2, 0])
    assert mean_correlation_coefficient(Z, other) == pytest.approx(1)


def test_changing_latents_in_these_ways_changes_nothing(Z):
    other = Z + np.random.default_rng(1).normal(size=Z.shape)
    changed = -2 * other[:, ::-1] + 1
    for method in ("pearson", "spearman"):
        before = mean_correlation_coefficient(Z, other, method=method)
        assert mean_correlation_coefficient(Z, changed, method=method) == pytest.approx(before)
        assert mean_correlation_coefficient(changed, Z, method=method) == pytest.approx(before)


@pytest.mark.parametrize("degrees", [10, 30, 45])
def test_a_turn_costs_its_cosine(Z, degrees):
    cosine = np.cos(np.deg2rad(degrees))
    other = turned(Z, degrees)
    assert mean_correlation_coefficient(Z, other) == pytest.approx((2 * cosine + 1) / 3)
    assert mean_correlation_coefficient(Z, other, linear=True) == pytest.approx(1)


def test_any_invertible_map_is_linear(Z):
    A = np.random.default_rng(2).normal(size=(3, 3))
    assert_allclose(canonical_correlations(Z, Z @ A - 7), 1)
    assert mean_correlation_coefficient(Z, Z @ A) < 0.95


def test_ranks_see_through_monotone_bends(Z):
    bent = np.exp(2 * Z)
    assert mean_correlation_coefficient(Z, bent) < 0.8
    assert mean_correlation_coefficient(Z, bent, method="spearman") == pytest.approx(1)


def test_independent_noise_agrees_on_little():
    one, other = np.random.default_rng(3).normal(size=(2, 2000, 4))
    assert mean_correlation_coefficient(one, other) < 0.05
    assert mean_correlation_coefficient(one, other, linear=True) < 0.06


def test_canonical_correlation_of_one_column_is_multiple_correlation(Z):
    y = Z @ [1.0, 1.0, 1.0] + 3 * np.random.default_rng(4).normal(size=len(Z))
    fitted = np.linalg.lstsq(np.c_[np.ones(len(Z)), Z], y, rcond=None)[0]
    multiple = np.corrcoef(np.c_[np.ones(len(Z)), Z] @ fitted, y)[0, 1]
    assert_allclose(canonical_correlations(Z, y[:, None]), multiple)


def test_constant_columns_count_as_zero(Z):
    collapsed = np.c_[Z[:, :2], np.full(len(Z), 0.1)]
    assert mean_correlation_coefficient(Z, collapsed) == pytest.approx(2 / 3)
    assert mean_correlation_coefficient(Z, collapsed, linear=True) == pytest.approx(2 / 3)
    assert mean_correlation_coefficient(Z, np.ones_like(Z), linear=True) == 0


def test_repeated_columns_are_one_direction(Z):
    assert_allclose(canonical_correlations(Z, Z[:, [0, 0, 1]]), [1, 1, 0], atol=1e-12)


def test_means_are_over_the_smaller_number(Z):
    for linear in (False, True):
        assert mean_correlation_coefficient(Z, Z[:, :2], linear=linear) == pytest.approx(1)
        assert mean_correlation_coefficient(Z[:, :1], Z, linear=linear) == pytest.approx(1)
    match = match_latents(Z, Z[:, [2]])
    assert match.correlations.shape == (3, 1)
    assert_array_equal([match.rows, match.columns], [[2], [0]])


def test_extreme_scales_are_no_matter(Z):
    assert mean_correlation_coefficient(Z * 1e200, Z * 1e-200, linear=True) == pytest.approx(1)
    assert mean_correlation_coefficient(Z * 1e200, Z * 1e-200) == pytest.approx(1)


def test_matching_is_best_for_all_rather_than_greedy():
    # Column 0 is like both others, column 1 like the first only: its partner is not taken away.
    rng = np.random.default_rng(5)
    a, b, c = rng.normal(size=(3, 500))
    Z, other = np.c_[a, a + b], np.c_[a + 0.1 * b, a + c]
    match = match_latents(Z, other)
    best = max(
        match.correlations[0, 0] + match.correlations[1, 1],
        match.correlations[0, 1] + match.correlations[1, 0],
    )
    assert match.matched.sum() == pytest.approx(best)


# Chance -----------------------------------------------------------------------------------------


def test_two_latents_turned_at_random_agree_by_their_mean_cosine():
    # The larger of |cos| and |sin| of a uniform angle has the mean sin(45) / 45 degrees.
    mean, _ = chance_correlations(2, 1)
    assert mean == pytest.approx(np.sin(np.pi / 4) / (np.pi / 4), abs=0.005)


def test_chance_falls_with_latents_and_refits():
    means = [chance_correlations(k, 5)[0] for k in (2, 3, 10)]
    assert_allclose(means, [0.90, 0.83, 0.59], atol=0.01)
    levels = [chance_correlations(3, n)[1] for n in (1, 5, 20)]
    assert sorted(levels, reverse=True) == levels
    assert levels[0] > 0.99
    assert chance_correlations(2, 5)[1] == pytest.approx(0.98, abs=0.01)
    assert chance_correlations(3, 5)[1] == pytest.approx(0.94, abs=0.01)


def test_one_latent_has_nowhere_to_turn():
    assert chance_correlations(1, 5) == (0.0, 0.0)


# Bad input --------------------------------------------------------------------------------------


def test_bad_input(Z):
    with pytest.raises(ValueError, match="method must be 'pearson' or 'spearman', got 'kendall'"):
        mean_correlation_coefficient(Z, Z, method="kendall")
    with pytest.raises(ValueError, match="a row for each of the 400 rows of Z, got 10"):
        match_latents(Z, Z[:10])
    with pytest.raises(ValueError, match="NaN"):
        match_latents(Z, np.where(Z > 1, np.nan, Z))
    with pytest.raises(ValueError, match="Z contains infinity"):
        match_latents(np.full((5, 2), np.inf), Z[:5])
    with pytest.raises(ValueError, match="2D"):
        match_latents(Z[:, 0], Z)
    with pytest.raises(ValueError, match="more than 6 rows"):
        mean_correlation_coefficient(Z[:6], Z[:6], linear=True)
