"""Disentanglement, completeness and informativeness of latents with known factors."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skvae.inspection import disentanglement
from skvae.inspection.factors import _concentration, _scores


@pytest.fixture(scope="module")
def factors():
    return np.random.default_rng(0).normal(size=(400, 2))


def test_the_factors_themselves_are_disentangled(factors):
    found = disentanglement(-3 * factors[:, ::-1], factors)
    assert found.disentanglement > 0.9
    assert found.completeness > 0.9
    assert found.informativeness > 0.9
    assert_array_equal(found.importance.to_numpy().argmax(axis=0), [1, 0])


def test_axes_at_45_degrees_are_not(factors):
    found = disentanglement(factors @ np.array([[1, 1], [1, -1]]), factors)
    assert found.disentanglement < 0.1
    assert found.completeness < 0.1
    assert found.informativeness > 0.85


def test_noise_tells_nothing(factors):
    noise = np.random.default_rng(1).normal(size=factors.shape)
    assert disentanglement(noise, factors).informativeness < 0.1


def test_importance_adds_up_by_factor(factors):
    Z = np.c_[factors, factors.sum(axis=1)]
    found = disentanglement(Z, factors)
    assert found.importance.shape == (3, 2)
    assert_allclose(found.importance.sum(axis=0), 1)
    assert found.latents["weight"].sum() == pytest.approx(1)
    assert found.informativeness == pytest.approx(found.factors["informativeness"].mean())


def test_inactive_latents_weigh_nothing(factors):
    Z = np.c_[factors[:, 0], 0.05 * factors[:, 1], np.ones(len(factors))]
    found = disentanglement(Z, factors)
    assert_array_equal(found.importance.to_numpy()[1:], 0)
    assert found.latents["disentanglement"].isna().tolist() == [False, True, True]
    assert found.latents["weight"].tolist() == [1, 0, 0]
    assert disentanglement(Z, factors, threshold=0).importance.iloc[1, 1] > 0.9


# Scores of a known importance -------------------------------------------------------------------


def test_concentration_is_one_minus_the_entropy():
    weights = np.array([[1, 0, 0], [1, 1, 1], [2, 2, 0], [0, 0, 0]])
    expected = [1, 0, 1 - np.log(2) / np.log(3), np.nan]
    assert_allclose(_concentration(weights), expected, atol=1e-12)


def test_scores_weigh_by_importance():
    # Latent 0 tells of both factors alike, latent 1 of the second only.
    R = pd.DataFrame([[1.0, 1.0], [0.0, 2.0]])
    found = _scores(R, np.array([0.5, 1.0]))
    assert_allclose(found.latents["disentanglement"], [0, 1], atol=1e-12)
    assert_allclose(found.latents["weight"], [0.5, 0.5])
    assert found.disentanglement == pytest.approx(0.5)
    third = 1 - (np.log(3) / 3 + 2 / 3 * np.log(1.5)) / np.log(2)
    assert_allclose(found.factors["completeness"], [1, third])
    assert found.completeness == pytest.approx(0.25 * 1 + 0.75 * third)
    assert found.informativeness == 0.75


def test_of_a_single_factor_every_latent_is_disentangled(factors):
    found = disentanglement(factors, factors[:, 0])
    assert found.disentanglement == 1
    assert found.completeness > 0.9
    assert disentanglement(factors[:, [0]], factors).completeness == 1


# Interface --------------------------------------------------------------------------------------


def test_random_state_decides(factors):
    Z = factors @ np.array([[1, 0.5], [0.5, 1]])
    one, again = disentanglement(Z, factors), disentanglement(Z, factors)
    assert_array_equal(one.importance, again.importance)
    other = disentanglement(Z, factors, random_state=1)
    assert not np.array_equal(one.importance, other.importance)


def test_frames_name_the_factors(factors):
    frame = pd.DataFrame(factors, columns=["age", "dose"])
    found = disentanglement(factors, frame)
    assert found.importance.columns.tolist() == ["age", "dose"]
    assert found.factors.index.tolist() == ["age", "dose"]
    assert "Disentanglement 1.00, completeness 1.00" in str(found)
    assert "dose" in str(found)


def test_bad_input(factors):
    constant = pd.DataFrame({"age": factors[:, 0], "dose": 1.0})
    with pytest.raises(ValueError, match="factors: column 'dose' is constant"):
        disentanglement(factors, constant)
    with pytest.raises(ValueError, match="a row for each of the 400 rows of Z, got 7"):
        disentanglement(factors, factors[:7])
    with pytest.raises(ValueError, match="9 rows: forests need at least 10"):
        disentanglement(factors[:9], factors[:9])
    with pytest.raises(ValueError, match=r"variance above 0.01.*threshold=0"):
        disentanglement(0.01 * factors, factors)
    with pytest.raises(ValueError, match="threshold must be a non-negative number"):
        disentanglement(factors, factors, threshold=-1)
    with pytest.raises(ValueError, match="factors contains NaN"):
        disentanglement(factors, np.where(factors > 1, np.nan, factors))
