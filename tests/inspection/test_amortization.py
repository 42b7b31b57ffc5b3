"""`amortization_gap`: what the encoder loses, and what the posterior family does."""

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from skvae.inference import refit
from skvae.inspection import amortization_gap

NETS = ["bent", "layered", "conditional", "mixed", "vamp"]
LEVELS = ["elbo", "elbo_optimised", "log_prob"]
FAST = {"n_samples": 128, "max_iter": 60}


def test_gaps_of_an_exact_posterior_are_zero(cases):
    model, X = cases.linear
    gap = amortization_gap(model, X, **FAST)
    assert_allclose(gap[["amortization_gap", "approximation_gap"]], 0.0, atol=1e-3)
    assert_allclose(gap["log_prob"], model.score_samples(X), atol=1e-3)


@pytest.mark.parametrize("kind", NETS)
def test_levels_are_in_order(cases, kind):
    model, X = getattr(cases, kind)
    gap = amortization_gap(model, X, **FAST)
    assert gap["amortization_gap"].min() >= 0
    assert gap["approximation_gap"].min() >= -1e-9
    assert gap["amortization_gap"].mean() > 0.01  # the encoders are hardly trained
    assert_allclose(gap["elbo"] + gap["amortization_gap"], gap["elbo_optimised"])
    assert_allclose(gap["elbo_optimised"] + gap["approximation_gap"], gap["log_prob"])


@pytest.mark.parametrize("kind", NETS)
def test_levels_are_those_of_the_estimator(cases, kind):
    model, X = getattr(cases, kind)
    gap = amortization_gap(model, X, n_samples=512, max_iter=20)
    elbo = model.score_samples(X, method="elbo", n_samples=512)
    assert gap["elbo"].mean() == pytest.approx(elbo.mean(), abs=0.08)
    assert gap["log_prob"].mean() == pytest.approx(model.score(X), abs=0.08)


def test_optimum_is_the_exact_posterior_of_a_linear_model(cases, monkeypatch):
    # The encoder is put off on purpose; with a linear decoder the way back is known.
    model, X = cases.linear
    exact = type(model._latent.model).posterior

    def astray(self, *args):
        posterior = exact(self, *args)
        off = torch.full_like(posterior.move, 0.7)
        return posterior.shifted(off, -0.5 * off)

    monkeypatch.setattr(type(model._latent.model), "posterior", astray)
    gap = amortization_gap(model, X, n_samples=256, max_iter=300)
    # KL(N(m, s^2) || N(0, 1)) in two dimensions.
    s = np.exp(-0.35)
    lost = 2 * 0.5 * (0.7**2 + s**2 - 1 - 2 * np.log(s))
    assert gap["amortization_gap"].mean() == pytest.approx(lost, abs=0.03)
    assert gap["approximation_gap"].mean() < 0.01


def test_more_steps_gain_more(cases):
    model, X = cases.bent
    few, many = (amortization_gap(model, X, n_samples=128, max_iter=n, tol=0.0) for n in (20, 100))
    assert many["amortization_gap"].mean() > few["amortization_gap"].mean()
    none = amortization_gap(model, X, n_samples=128, max_iter=0)
    assert_array_equal(none["amortization_gap"], 0.0)


def test_optimisation_ends_when_nothing_grows(cases, monkeypatch):
    model, X = cases.bent
    steps, step = [], refit._Search.step
    monkeypatch.setattr(refit._Search, "step", lambda *args: (steps.append(1), step(*args))[1])
    amortization_gap(model, X, n_samples=16, max_iter=0)
    of_adaptive = len(steps)
    amortization_gap(model, X, n_samples=16, max_iter=100, tol=1e3)
    assert len(steps) == 2 * of_adaptive + 40


@pytest.mark.parametrize("kind", ["linear", *NETS])
def test_model_is_left_as_it_was(cases, kind):
    model, X = getattr(cases, kind)
    net = model._latent.model
    before = {name: value.clone() for name, value in net.state_dict().items()}
    gradients = [None if p.grad is None else p.grad.clone() for p in net.parameters()]
    amortization_gap(model, X, n_samples=16, max_iter=5)
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]), name
    for parameter, gradient in zip(net.parameters(), gradients, strict=True):
        assert not parameter.requires_grad
        assert gradient is parameter.grad or torch.equal(parameter.grad, gradient)
    assert not net.training


def test_rows_do_not_depend_on_chunks(cases, monkeypatch):
    model, X = cases.bent
    # Without steps the levels are functions of the row.
    whole = amortization_gap(model, X, n_samples=64, max_iter=0)
    monkeypatch.setattr("skvae.inference.scored.DECODED_AT_ONCE", 64 * 7)
    pieces = amortization_gap(model, X, n_samples=64, max_iter=0)
    assert_allclose(pieces[LEVELS], whole[LEVELS], atol=1e-4)
    assert_allclose(pieces["elbo_adaptive"], whole["elbo_adaptive"], atol=1e-4)
    stepped = amortization_gap(model, X[:40], n_samples=64, max_iter=20)
    assert stepped["amortization_gap"].min() >= 0


def test_index_is_that_of_the_rows(cases):
    model, X = cases.conditional
    pd.testing.assert_index_equal(amortization_gap(model, X.iloc[5:9], **FAST).index, X.index[5:9])


def test_rows_without_anything_observed_have_no_gap(cases):
    model, X = cases.bent
    gap = amortization_gap(model, np.vstack([np.full((1, 4), np.nan), X[:3]]), **FAST)
    assert_array_equal(gap.iloc[0].drop("recovered"), 0.0)
    assert np.isnan(gap["recovered"].iloc[0])
    assert (gap["log_prob"].iloc[1:] != 0).all()
