"""`identifiability`: which latents come back in refits, and what the report says of it."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from pandas.testing import assert_frame_equal
from sklearn.exceptions import ConvergenceWarning

from skvae import MultimodalVAE, VAEOutlierDetector, VAETransformer
from skvae.inspection import (
    disentanglement,
    identifiability,
    match_latents,
    mean_correlation_coefficient,
)
from skvae.inspection.identification import _compare, _latents, _silenced
from skvae.inspection.identification_words import in_words

LINEAR = {"hidden_layer_sizes": (), "random_state": 0}
SMALL = {"hidden_layer_sizes": (12,), "max_iter": 40, "random_state": 0}


def spherical(n=200, k=4, seed=0):
    """Factors of which all rotations fit the table alike, and the table."""
    rng = np.random.default_rng(seed)
    loadings = np.linalg.qr(rng.normal(size=(8, 8)))[0][:k]
    z = rng.normal(size=(n, k))
    z = np.linalg.qr(z - z.mean(axis=0))[0] * np.sqrt(n)
    return z, 1.5 * z @ loadings + 0.4 * rng.normal(size=(n, 8))


@pytest.fixture(scope="module")
def sphere():
    z, X = spherical()
    model = VAETransformer(4, **SMALL).fit(X)
    return model, X, identifiability(model, X, n_refits=3, truth=z), z


@pytest.fixture(scope="module")
def distinct():
    """Two factors of distinct strength, their linear model and its report."""
    rng = np.random.default_rng(0)
    loadings = np.linalg.qr(rng.normal(size=(8, 8)))[0][:2] * [[4.0], [1.5]]
    X = rng.normal(size=(300, 2)) @ loadings + rng.normal(size=(300, 8))
    model = VAETransformer(2, **LINEAR).fit(X)
    return model, X, identifiability(model, X, n_refits=3)


# What comes back --------------------------------------------------------------------------------


def test_principal_axes_of_distinct_strength_are_stable(distinct):
    _, _, report = distinct
    assert report.latents["verdict"].tolist() == ["stable", "stable"]
    assert report.mcc > 0.98
    assert report.verdict.startswith("The latents are identified: 2 of 2 come back in refits")


def test_inactive_latents_are_not_counted(tables):
    X = tables.two_factors()
    model = VAETransformer(4, noise="isotropic", **LINEAR).fit(X)
    report = identifiability(model, X, n_refits=2, fraction=1.0)
    assert report.latents["verdict"].tolist() == ["stable", "stable", "inactive", "inactive"]
    assert report.mcc == pytest.approx(1)
    assert report.refits["n_active"].tolist() == [2, 2]
    assert "2 of 2" in report.verdict


def test_rotations_of_an_invariant_objective_are_not_identified(sphere):
    _, _, report, _ = sphere
    assert report.linear_mcc > 0.97
    assert report.mcc < report.linear_mcc - 0.1
    assert report.mcc < report.chance_mcc + 0.1
    assert report.verdict.startswith("Identified up to a linear map only: the same space")
    assert "For axes that mean something: decoder='sparse', or conditioning=" in report.verdict
    assert "; for axes that stay:" in report.verdict
    assert "stable" not in set(report.latents["verdict"])


def test_axes_agree_where_the_start_is_shared(sphere):
    # What the refits' own axes guard against: a start is not a finding.
    model, X, report, _ = sphere
    again = VAETransformer(4, **{**SMALL, "random_state": 1}).fit(X)
    inherited = mean_correlation_coefficient(model.transform(X), again.transform(X))
    assert inherited > 0.95 > report.mcc + 0.05


def test_random_axes_of_a_linear_model_are_lost(distinct):
    _, X, kept = distinct
    lost = identifiability(VAETransformer(2, rotation="random", **LINEAR).fit(X), X)
    assert lost.mcc < 0.96 < 0.98 < min(kept.mcc, lost.linear_mcc)
    assert "rotation='principal' or 'varimax'" in lost.verdict


def test_a_space_that_is_not_there_is_not_identified():
    X = np.random.default_rng(0).normal(size=(60, 8))
    model = VAETransformer(2, noise="isotropic", **LINEAR).fit(X)
    report = identifiability(model, X, n_refits=3, fraction=0.5)
    assert report.linear_mcc < 0.8
    assert report.verdict.startswith("Not identified: refits find other spaces")
    assert "more rows, or fewer n_components" in report.verdict


def test_without_any_active_latent_nothing_comes_back(tables):
    X = tables.exact(150, np.eye(4))
    model = VAETransformer(2, noise="isotropic", **LINEAR).fit(X)
    report = identifiability(model, X, n_refits=2, fraction=1.0, truth=X[:, 0])
    assert set(report.latents["verdict"]) == {"inactive"}
    assert np.isnan(report.mcc)
    assert report.verdict.startswith("No latent is active")
    assert report.dci is None
    assert report.truth_mcc == 0


# The parts of a report --------------------------------------------------------------------------


def test_parts_agree(sphere):
    model, X, report, _ = sphere
    Z = model.transform(X)
    assert report.correlations.shape == (3, 4)
    assert_allclose(report.latents["correlation"], report.correlations.mean(axis=0))
    assert_allclose(report.latents["least_correlation"], report.correlations.min(axis=0))
    assert_allclose(report.latents["variance_of_mean"], Z.var(axis=0))
    assert_allclose(report.refits["mcc"], report.correlations.mean(axis=1))  # all are active
    assert (report.refits["linear_mcc"] >= report.refits["mcc"]).all()
    assert np.isfinite(report.refits["score"]).all()
    assert report.verdict in str(report)


def test_truth_is_that_of_the_functions(sphere):
    model, X, report, z = sphere
    Z = model.transform(X)
    assert report.truth_mcc == pytest.approx(mean_correlation_coefficient(Z, z))
    linear = mean_correlation_coefficient(Z, z, linear=True)
    assert report.truth_linear_mcc == pytest.approx(linear)
    assert linear > 0.95
    assert_array_equal(report.dci.importance, disentanglement(Z, z).importance)
    assert (report.refits["truth_linear_mcc"] > 0.95).all()
    assert (report.refits["truth_mcc"] < report.refits["truth_linear_mcc"]).all()


def test_without_truth_nothing_is_said_of_it(distinct):
    _, _, report = distinct
    assert (report.truth_mcc, report.truth_linear_mcc, report.dci) == (None, None, None)
    assert "truth_mcc" not in report.refits


def test_factors_keep_their_names(distinct):
    model, X, _ = distinct
    truth = pd.DataFrame({"dose": X[:, 0]}, index=np.arange(300)[::-1])
    report = identifiability(model, X, n_refits=1, truth=truth)
    assert report.dci.importance.columns.tolist() == ["dose"]
    assert report.truth_mcc == mean_correlation_coefficient(model.transform(X), truth)


def test_ranks_are_compared_on_request(distinct):
    model, X, report = distinct
    ranks = identifiability(model, X, n_refits=3, method="spearman")
    assert ranks.mcc != report.mcc
    assert ranks.linear_mcc == report.linear_mcc


def test_random_state_decides_and_more_refits_follow(distinct):
    model, X, report = distinct
    more = identifiability(model, X, n_refits=4)
    assert_frame_equal(more.refits.iloc[:3], report.refits)
    other = identifiability(model, X, n_refits=3, random_state=1)
    assert not np.array_equal(other.correlations, report.correlations)
    assert_array_equal(
        identifiability(model, X, 1, random_state=np.random.RandomState(0)).correlations,
        report.correlations[:1],
    )


def test_nothing_of_the_session_changes(sphere):
    model, X, _, _ = sphere
    before, params = model.transform(X), model.get_params()
    states = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        identifiability(model, X, n_refits=1)
    assert_array_equal(np.random.get_state()[1], states[0])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), states[1])
    assert_array_equal(model.transform(X), before)
    assert model.get_params() == params


@pytest.mark.parametrize("kind", ["bent", "layered", "conditional", "mixed", "vamp"])
def test_holes_mixed_columns_layers_and_conditions(cases, kind):
    model, X = getattr(cases, kind)
    report = identifiability(model, X, n_refits=1)
    assert len(report.latents) == model.n_components_
    assert 0 < report.mcc <= 1


def test_a_decoder_of_ones_own_is_not_replaced():
    X = spherical(100, 2)[1]
    decoder = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Tanh())
    model = VAETransformer(2, decoder=decoder, **SMALL).fit(X)
    verdict = identifiability(model, X, n_refits=1).verdict
    assert "sparse" not in verdict


# Comparison -------------------------------------------------------------------------------------


def test_what_only_one_fit_has_did_not_come_back():
    Z = np.random.default_rng(0).normal(size=(500, 3))
    fewer = _silenced(Z[:, [1, 0, 2]] * [1, 1, 0.01])
    found = _compare(Z, fewer, "pearson")
    assert_allclose(found.correlations, [1, 1, 0])
    assert found.mcc == pytest.approx(2 / 3)
    assert found.linear_mcc == pytest.approx(2 / 3)
    back = _compare(fewer, Z, "pearson")
    assert_allclose(back.correlations, [1, 1, 0])
    assert back.mcc == pytest.approx(2 / 3)


def test_inactive_latents_of_both_do_not_count():
    Z = np.random.default_rng(0).normal(size=(500, 3))
    one, other = _silenced(Z * [1, 1, 0.05]), _silenced(-Z * [0.05, 1, 1])
    found = _compare(one[:, :2], other[:, 1:], "pearson")
    assert found.mcc == pytest.approx(match_latents(Z[:, :2], Z[:, 1:]).matched.sum() / 2)
    assert np.isnan(_compare(0 * Z, 0 * Z, "pearson").mcc)
    assert _compare(0 * Z, Z, "pearson").mcc == 0


def test_thresholds_of_the_verdicts():
    Z = np.random.default_rng(0).normal(size=(50, 4)) * [1, 1, 1, 0.05]
    correlations = np.array([[1.0, 0.9, 0.75, 1.0], [0.82, 0.88, 0.7, 1.0]])
    verdicts = _latents(Z, correlations, stable_from=0.9, drifts_from=0.8)["verdict"]
    assert verdicts.tolist() == ["stable", "drifts", "arbitrary", "inactive"]


def test_what_chance_would_do_is_no_stability(distinct, sphere):
    assert distinct[2].stable_from > 0.98  # of two latents
    assert sphere[2].stable_from < 0.94  # of four


# In words ---------------------------------------------------------------------------------------


def said(cases, *each, mcc=0.8, linear_mcc=0.99, correlation=0.8):
    latents = pd.DataFrame({"verdict": each, "correlation": correlation})
    return in_words(latents, mcc, linear_mcc, 0.77, 5, cases.bent[0])


def test_some_latents_come_back(cases):
    words = said(cases, "stable", "drifts", "stable", "inactive")
    assert words.startswith("2 of 3 latents come back in refits: 0, 2. The others turn within the")
    words = said(cases, "arbitrary", "stable", linear_mcc=0.6)
    assert words.startswith("1 of 2 latents comes back in refits: 1. The others differ from fit")
    assert words.endswith("Try more rows, or fewer n_components.")


def test_more_refits_tell_luck_from_agreement(cases, distinct):
    assert "Raise n_refits (now 5)" in said(cases, "drifts", "stable", mcc=0.95, correlation=0.95)
    assert "Raise n_refits" not in said(cases, "drifts", "drifts", correlation=0.95)
    # However well one refit agrees, two latents do so by chance.
    model, X, _ = distinct
    words = identifiability(model, X, n_refits=1).verdict
    assert words.startswith("Not decided: the latents agree (1.00, 1.00 after a linear map), but")


# Refits that fail or warn -----------------------------------------------------------------------


class Fussy(VAETransformer):
    """Takes whole tables only, and complains about others."""

    def fit(self, X, y=None, sample_weight=None):
        if len(X) < 100:
            raise ValueError(f"{len(X)} rows.")
        if len(X) < 150:
            warnings.warn(f"{len(X) + np.random.default_rng().random()}", ConvergenceWarning, 2)
        return super().fit(X, y, sample_weight)


def test_a_refit_that_fails_is_named(cases):
    _, X = cases.linear
    model = Fussy(2, **LINEAR).fit(X)
    with pytest.raises(ValueError, match=r"Refit 1 of 5, on 90 of 150 rows, failed: 90 rows.*=1.0"):
        identifiability(model, X, fraction=0.6)


def test_warnings_are_passed_on_once(cases):
    _, X = cases.linear
    model = Fussy(2, **LINEAR).fit(X)
    with pytest.warns(ConvergenceWarning, match="In refits: 120") as caught:
        identifiability(model, X)
    assert len(caught) == 1
    assert caught[0].filename == __file__


# Bad input --------------------------------------------------------------------------------------

BAD = [
    ({"n_refits": 0}, "n_refits must be an integer of at least 1, got 0"),
    ({"n_refits": 2.5}, "n_refits"),
    ({"fraction": 0}, "fraction must be above 0 and at most 1, got 0"),
    ({"fraction": 1.5}, "fraction"),
    ({"fraction": True}, "fraction"),
    ({"method": "kendall"}, "method must be 'pearson' or 'spearman'"),
    ({"random_state": "now"}, "cannot be used to seed"),
    ({"truth": np.zeros(7)}, "a row for each of the 150 rows of X, got 7"),
    ({"truth": np.full(150, np.nan)}, "truth contains NaN"),
    ({"truth": np.ones((150, 2))}, "truth: column 0 is constant"),
    ({"truth": np.random.default_rng(0).normal(size=(150, 149))}, "149 columns of truth"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_arguments(cases, arguments, message):
    with pytest.raises(ValueError, match=message):
        identifiability(*cases.linear, **arguments)


@pytest.mark.parametrize("other", [VAEOutlierDetector, MultimodalVAE])
def test_other_models_with_latents(other):
    X = spherical(100, 2)[1]
    model = other(max_iter=5, random_state=0).fit(X)
    with pytest.raises(ValueError, match=f"VAETransformer, got {other.__name__}"):
        identifiability(model, X)


def test_too_few_rows(cases):
    model, X = cases.linear
    with pytest.raises(ValueError, match="X has 9 rows, too few to compare 2 latents"):
        identifiability(model, X[:9])
    model, X = cases.layered
    with pytest.raises(ValueError, match="give at least 11"):
        identifiability(model, X[:10])
