"""`latent_report`: what every dimension knows, and the verdict."""

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch.distributions import Normal, kl_divergence

from skvae import VAETransformer
from skvae.inspection import latent_report
from skvae.inspection.report import _mutual_information, _verdict

KINDS = ["linear", "bent", "layered", "conditional", "mixed", "vamp"]


@pytest.mark.parametrize("kind", KINDS)
def test_kl_is_the_closed_form(cases, kind):
    model, X = getattr(cases, kind)
    mean, deviation = map(torch.from_numpy, model.posterior(X))
    zero = torch.zeros((), dtype=torch.float64)
    exact = kl_divergence(Normal(mean, deviation), Normal(zero, zero + 1)).mean(0)
    assert_allclose(latent_report(model, X).dimensions["kl"], exact.numpy(), rtol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_parts_agree(cases, kind):
    model, X = getattr(cases, kind)
    report = latent_report(model, X)
    frame = report.dimensions
    assert len(frame) == model.n_components_
    assert (frame["mutual_information"] >= 0).all()
    assert_allclose(frame["variance_of_mean"], model.transform(X).var(axis=0))
    assert_array_equal(frame["active"], frame["variance_of_mean"] > 0.01)
    assert report.n_active == frame["active"].sum()
    assert report.total_kl == pytest.approx(report.layers.sum())
    assert_allclose(report.layers, model.layer_divergences(X).mean(axis=0))
    assert report.verdict in str(report)


def test_layers_are_numbered_from_the_data(cases):
    report = latent_report(*cases.layered)
    assert report.dimensions["layer"].tolist() == [0, 0, 0, 1, 1]
    assert len(report.layers) == 2


def test_one_dimension_has_the_whole_divergence(tables):
    X = tables.two_factors()
    model = VAETransformer(1, hidden_layer_sizes=()).fit(X)
    report = latent_report(model, X, n_samples=256)
    assert report.dimensions["kl"][0] == pytest.approx(report.total_kl, rel=0.01)


# Mutual information -----------------------------------------------------------------------------


@pytest.mark.parametrize("deviation", [0.1, 0.5, 0.9])
def test_mutual_information_of_gaussians_is_known(deviation):
    # Means N(0, 1 - s^2) and noise s: the average posterior is N(0, 1), the information -log s.
    mean = np.random.default_rng(0).normal(size=(1000, 1)) * np.sqrt(1 - deviation**2)
    estimate = _mutual_information(mean, np.full_like(mean, deviation), seed=0)
    assert estimate[0] == pytest.approx(-np.log(deviation), abs=0.06)


def test_mutual_information_of_equal_posteriors_is_zero():
    mean, deviation = np.full((50, 2), 3.0), np.full((50, 2), 0.2)
    assert_allclose(_mutual_information(mean, deviation, seed=0), 0.0, atol=1e-12)


def test_mutual_information_of_distinct_rows_is_their_logarithm():
    mean = np.arange(100.0)[:, None]
    estimate = _mutual_information(mean, np.full_like(mean, 1e-3), seed=0)
    assert_allclose(estimate, np.log(100), rtol=1e-6)


def test_mutual_information_looks_at_a_thousand_rows():
    mean = np.arange(3000.0)[:, None]
    estimate = _mutual_information(mean, np.full_like(mean, 1e-3), seed=0)
    assert_allclose(estimate, np.log(1000), rtol=1e-6)


# Verdicts ---------------------------------------------------------------------------------------


def test_no_dimension_is_inactive(cases):
    report = latent_report(*cases.linear)
    assert report.n_active == 2
    assert report.verdict.startswith("No collapse: all 2 dimensions are active")


def test_some_dimensions_are_inactive(tables):
    X = tables.two_factors()
    model = VAETransformer(4, hidden_layer_sizes=(), noise="isotropic").fit(X)
    report = latent_report(model, X)
    assert_array_equal(report.dimensions["active"], [True, True, False, False])
    assert "2 of 4 dimensions are inactive: 2, 3." in report.verdict
    assert "n_components=2 loses nothing" in report.verdict


def test_all_dimensions_are_inactive(tables):
    X = tables.exact(150, np.eye(4))
    model = VAETransformer(2, hidden_layer_sizes=(), noise="isotropic").fit(X)
    report = latent_report(model, X)
    assert report.n_active == 0
    assert report.total_kl < 0.02
    assert "collapsed: none of the 2 dimensions" in report.verdict
    assert "hidden_layer_sizes='auto'" in report.verdict


def test_known_noise_may_hide_all_dimensions(cases):
    X = cases.linear[1]
    model = VAETransformer(2, hidden_layer_sizes=(), noise=9).fit(X)
    assert "lower it (now 9), see linear_report" in latent_report(model, X).verdict


def test_threshold_decides_what_is_active(cases):
    model, X = cases.linear
    variance = latent_report(model, X).dimensions["variance_of_mean"]
    assert latent_report(model, X, threshold=variance.mean()).n_active == 1
    assert latent_report(model, X, threshold=2).n_active == 0


def test_divergence_that_is_not_information_is_named(tables):
    X = tables.two_factors()
    settings = {"hidden_layer_sizes": (8,), "max_iter": 20, "random_state": 0}
    model = VAETransformer(2, **settings).fit(X)
    assert "far from N(0, 1)" not in latent_report(model, X).verdict
    # Rows that the training table does not look like.
    assert "far from N(0, 1)" in latent_report(model, X + 5).verdict


class _Net:
    encoder, prior = torch.nn.Identity(), None


def verdict(active, layer, layers, **params):
    frame = pd.DataFrame({"layer": layer, "active": active, "kl": 1.0, "mutual_information": 1.0})
    return _verdict(frame, np.array(layers), _Net, params, n_rows=100)


def test_remedies_name_the_estimators_parameters():
    said = verdict([False] * 2, [0, 0], [0.001], beta=4.0, kl_warmup=0.0, free_bits=0.0)
    assert said.startswith("The posterior has collapsed")
    for remedy in ("lower beta (now 4", "kl_warmup", "free_bits", "n_importance_samples=1"):
        assert remedy in said
    said = verdict([False] * 2, [0, 0], [0.001], beta=1.0, kl_warmup=0.5, free_bits=0.2)
    assert "raise kl_warmup (now 0.5)" in said
    assert "raise free_bits (now 0.2)" in said


def test_fewer_components_are_counted_by_layer():
    two = verdict([True, True, False, True, False], [0, 0, 0, 1, 1], [2.0, 0.5], beta=1.0)
    assert "n_components=(2, 1)" in two
    one = verdict([True, True, False, False], [0, 0, 1, 1], [2.0, 0.001], beta=1.0)
    assert "n_components=2 " in one


def test_a_layer_may_follow_its_prior():
    # Its means move, but only as the layer above or the condition says.
    said = verdict([True, True, True], [0, 0, 1], [0.001, 2.0], beta=1.0)
    assert "Layer 0 adds nothing to its prior" in said
    assert "it is the prior, given the condition" in verdict([True], [0], [0.001], beta=1.0)
