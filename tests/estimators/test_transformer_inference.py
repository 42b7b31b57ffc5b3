"""`VAETransformer(inference=...)`: how rows get their posteriors."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import InvalidParameterError

from skvae import VAETransformer

WAYS = ["amortized", "posterior_matching", "adaptive"]
QUICK = {"hidden_layer_sizes": (16,), "max_iter": 60, "random_state": 0}


@pytest.fixture(scope="module")
def wine():
    X = load_wine().data[:, :6]
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    order = np.random.default_rng(0).permutation(len(X))
    holed = X[order[120:]].copy()
    holed[np.random.default_rng(1).random(holed.shape) < 0.5] = np.nan
    return X[order[:120]], holed


@pytest.fixture(scope="module")
def fitted(wine):
    return {
        way: VAETransformer(3, inference=way, **{**QUICK, "max_iter": 300}).fit(wine[0])
        for way in WAYS
    }


def test_the_model_itself_is_the_same(fitted):
    whole = [m._latent.model.state_dict() for m in fitted.values()]
    for name, value in whole[0].items():
        assert torch.equal(value, whole[1][name]), name
        assert torch.equal(value, whole[2][name]), name


@pytest.mark.parametrize("way", WAYS)
def test_all_report_an_effective_sample_size(way, fitted, wine):
    size = fitted[way].effective_sample_size(wine[1], n_samples=64)
    assert size.shape == (len(wine[1]),)
    assert ((size >= 1) & (size <= 64 + 1e-9)).all()


def test_adaptive_is_no_worse_than_amortized(fitted, wine):
    for method, slack in (("elbo", 1e-3), ("importance", 0.02)):  # nats of the estimates' noise
        amortized, adaptive = (
            fitted[way].score_samples(wine[1], method=method, n_samples=1024)
            for way in ("amortized", "adaptive")
        )
        assert (adaptive - amortized).min() > -slack
    size = [fitted[way].effective_sample_size(wine[1]).mean() for way in ("amortized", "adaptive")]
    assert size[1] > 0.8 * size[0]


def test_estimates_agree_with_many_samples(fitted, wine):
    truth = fitted["amortized"].score_samples(wine[1], method="prior", n_samples=2**14).mean()
    for model in fitted.values():
        found = model.score_samples(wine[1], n_samples=4096).mean()
        assert found == pytest.approx(truth, abs=0.1)


def test_matching_scores_rise(fitted):
    scores = fitted["posterior_matching"].matching_scores_
    assert max(scores) > scores[0]
    assert fitted["amortized"].matching_scores_ == fitted["adaptive"].matching_scores_ == []


@pytest.mark.parametrize("way", WAYS)
def test_rows_do_not_depend_on_each_other(way, fitted, wine):
    model, X = fitted[way], wine[1]
    mean, score = model.transform(X), model.score_samples(X)
    some = np.random.default_rng(0).permutation(len(X))[:21]
    assert_allclose(model.transform(X[some]), mean[some], atol=3e-6)
    assert_allclose(model.score_samples(X[some]), score[some], atol=1e-4)


@pytest.mark.parametrize("way", WAYS)
def test_pickles_and_clones(way, fitted, wine):
    model, X = fitted[way], wine[1]
    assert_array_equal(pickle.loads(pickle.dumps(model)).transform(X), model.transform(X))
    assert_array_equal(copy.deepcopy(model).score_samples(X), model.score_samples(X))
    assert clone(model).inference == way


@pytest.mark.parametrize("way", WAYS)
def test_random_numbers_of_the_session_are_left_alone(way, wine):
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    VAETransformer(2, inference=way, **QUICK).fit(wine[0]).score_samples(wine[1])
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert_array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002


@pytest.mark.parametrize("way", WAYS[1:])
@pytest.mark.parametrize(
    "options",
    [
        {"n_components": (2, 1)},
        {"n_components": (2, 1), "layer_inference": "bottom_up", "hierarchy": "skip"},
        {"n_components": 2, "condition_on": [5], "conditioning": "both"},
        {"n_components": 2, "prior": "vamp"},
        {"n_components": 2, "encoder": torch.nn.Bilinear(6, 6, 8)},
    ],
    ids=["layers", "bottom up", "conditional", "vamp", "own encoder"],
)
def test_all_models_take_all_ways(way, options, wine):
    X = wine[1].copy()
    X[:, 5] = wine[0][: len(X), 5]
    model = VAETransformer(inference=way, **options, **QUICK).fit(wine[0])
    amortized = VAETransformer(**options, **QUICK).fit(wine[0])
    assert np.isfinite(model.transform(X)).all()
    assert np.isfinite(model.score_samples(X)).all()
    gain = model.score_samples(X, method="elbo") - amortized.score_samples(X, method="elbo")
    if way == "adaptive":
        assert gain.min() > -0.1
    assert len(model.sample(5, source="aggregated", random_state=0)) == 5


@pytest.mark.parametrize("way", WAYS)
def test_mixed_frames(way):
    rng = np.random.default_rng(0)
    size = rng.normal(size=80)
    X = pd.DataFrame(
        {
            "size": size,
            "kind": pd.Categorical(np.where(size + rng.normal(size=80) > 0, "big", "small")),
            "count": rng.poisson(np.exp(0.5 * size)),
        }
    )
    model = VAETransformer(2, inference=way, **QUICK).fit(X)
    holed = X.copy()
    holed.loc[::2, "kind"] = None
    holed.loc[::3, "size"] = np.nan
    assert np.isfinite(model.transform(holed)).all()
    assert list(model.reconstruct(holed)["kind"].cat.categories) == ["big", "small"]


@pytest.mark.parametrize("way", WAYS)
def test_rows_without_anything_observed(way, fitted):
    nothing = np.full((1, 6), np.nan)
    assert np.isfinite(fitted[way].transform(nothing)).all()
    assert_array_equal(fitted[way].score_samples(nothing), 0.0)


def test_linear_models_need_no_adaptation(wine):
    options = {"hidden_layer_sizes": (), "random_state": 0}
    one, two = (VAETransformer(2, inference=w, **options).fit(wine[0]) for w in WAYS[::2])
    assert_array_equal(one.transform(wine[1]), two.transform(wine[1]))
    assert_allclose(two.effective_sample_size(wine[1], n_samples=8), 8.0)


def test_linear_models_have_no_encoder_to_match(wine):
    model = VAETransformer(2, hidden_layer_sizes=(), inference="posterior_matching")
    with pytest.raises(ValueError, match=r"inference='posterior_matching' is for the networks"):
        model.fit(wine[0])


def test_matching_without_complete_rows(wine):
    X = wine[0].copy()
    X[np.arange(len(X)), np.arange(len(X)) % 6] = np.nan
    X[:7] = wine[0][:7]
    model = VAETransformer(2, inference="posterior_matching", **QUICK)
    with pytest.raises(ValueError, match=r"7 of 120 rows are, and 20 must be.*'amortized'"):
        model.fit(X)
    X[:40] = wine[0][:40]
    assert np.isfinite(model.fit(X).transform(X)).all()


def test_matching_with_few_rows_and_no_steps(wine):
    model = VAETransformer(1, inference="posterior_matching", **{**QUICK, "max_iter": 0})
    assert model.fit(wine[0][:5]).matching_scores_ == []
    assert np.isfinite(model.set_params(max_iter=10).fit(wine[0][:5]).transform(wine[1])).all()


def test_a_matching_that_diverges_is_reported(wine, monkeypatch):
    monkeypatch.setattr(
        "skvae.training.posterior_matching.sigma_points", lambda k: torch.full((2, k), np.inf)
    )
    with pytest.warns(ConvergenceWarning, match="stopped being finite"):
        VAETransformer(1, inference="posterior_matching", **QUICK).fit(wine[0])


@pytest.mark.parametrize("value", ["exact", "top_down", None, 1])
def test_bad_values_are_rejected(value, wine):
    with pytest.raises(InvalidParameterError, match="'inference' parameter"):
        VAETransformer(inference=value).fit(wine[0])
