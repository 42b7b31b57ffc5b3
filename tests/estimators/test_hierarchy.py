"""Several stochastic layers, and networks of the user's own."""

import copy
import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_iris, load_wine
from torch import nn

from skvae import VAETransformer

QUICK = {"hidden_layer_sizes": (12,), "max_iter": 80, "random_state": 0}
DIRECTIONS = ["top_down", "bottom_up", "both"]


def two_levels(n, seed):
    """Two causes place three factors on a curved surface; columns show causes and factors."""
    random = np.random.default_rng(seed)
    causes = random.normal(size=(n, 2))
    first, second = causes.T
    factors = np.column_stack([3 * np.sin(2 * first), 3 * np.cos(2 * first), 2 * second])
    factors += 0.3 * random.normal(size=factors.shape)
    shown = np.column_stack([factors @ np.random.default_rng(9).normal(size=(3, 5)), 2 * causes])
    return shown + 0.3 * random.normal(size=shown.shape)


@pytest.fixture(scope="module")
def wine():
    X = load_wine().data
    return (X - X.mean(0)) / X.std(0)


# Layers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("hierarchy", ["markov", "skip"])
@pytest.mark.parametrize("inference", DIRECTIONS)
def test_every_combination_keeps_the_contract(wine, hierarchy, inference):
    X = wine.copy()
    X[::3, 1] = np.nan
    model = VAETransformer((3, 2), hierarchy=hierarchy, layer_inference=inference, **QUICK).fit(X)
    z = model.transform(X)
    assert z.shape == (178, 5)
    assert model.n_components_ == 5
    assert list(model.get_feature_names_out()) == [f"vaetransformer{j}" for j in range(5)]
    assert_allclose(model.transform(X[:7]), z[:7], atol=1e-5)
    assert (model.posterior(X)[1] > 0).all()
    assert np.isfinite(model.score_samples(X)).all()
    assert np.isfinite(model.sample(20, random_state=0)).all()
    assert np.isfinite(model.sample(20, source="aggregated", random_state=0)).all()
    assert model.inverse_transform(z).shape == X.shape
    assert model.interpolate(X[:2], X[2:4], 3).shape == (6, 13)
    again = clone(model).fit(X)
    assert_array_equal(again.transform(X), z)
    assert_array_equal(pickle.loads(pickle.dumps(model)).transform(X), z)


def test_divergences_by_layer_complete_the_bound(wine):
    model = VAETransformer((3, 2), **QUICK).fit(wine)
    each = model.layer_divergences(wine, n_samples=256)
    assert each.shape == (178, 2)
    assert model.layer_divergences_.shape == (2,)
    # elbo = E[log p(x | z)] - their sum, and the bound lies below the density.
    elbo = model.score_samples(wine, method="elbo", n_samples=256)
    fit = elbo + each.sum(axis=1)
    assert (fit > elbo).mean() > 0.95
    assert elbo.mean() <= model.score(wine) + 1e-6


def test_one_layer_has_one_divergence(wine):
    model = VAETransformer(3, **QUICK).fit(wine)
    each = model.layer_divergences(wine, n_samples=1024)
    mean, std = model.posterior(wine)
    # Of a linear posterior the coordinates depend on each other: theirs is a lower bound.
    marginal = 0.5 * (mean**2 + std**2 - 1 - 2 * np.log(std)).sum(axis=1)
    assert each.shape == (178, 1)
    assert (each[:, 0] > marginal - 0.1).all()


def test_both_estimates_of_the_density_agree(wine):
    X = wine[:, :4]
    model = VAETransformer((2, 1), hidden_layer_sizes=(12,), max_iter=300, random_state=0).fit(X)
    importance = model.score_samples(X[:20], n_samples=2048)
    prior = model.score_samples(X[:20], method="prior", n_samples=200_000)
    assert_allclose(importance, prior, atol=0.3)


def test_two_levels_want_two_layers():
    X, other = two_levels(600, 0), two_levels(1000, 1)
    options = {"max_iter": 1200, "random_state": 0, "hierarchy": "skip"}
    one = VAETransformer(3, **options).fit(X).score(other)
    two = VAETransformer((3, 2), **options).fit(X).score(other)
    assert two > one


def test_conditions_reach_every_layer(wine):
    for conditioning in ("decoder", "prior", "both"):
        model = VAETransformer(
            (2, 1), condition_on=[0], conditioning=conditioning, layer_inference="both", **QUICK
        ).fit(wine)
        assert model.sample(3, condition=[[0.5]], random_state=0).shape == (3, 13)
        changed = model.counterfactual(wine[:4], condition=[1.0])
        assert_allclose(changed[:, 0], 1.0)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"n_components": (3,)}, "two or more"),
        ({"n_components": (3, 0)}, "positive integer"),
        ({"n_components": (3, 2.5)}, "positive integer"),
        ({"n_components": (14, 2)}, "more than the 13 features"),
        ({"n_components": (3, 2), "prior": "vamp"}, "prior of their own"),
        ({"n_components": (3, 2), "hidden_layer_sizes": ()}, "has none"),
        ({"layer_inference": "sideways"}, "'layer_inference'"),
        ({"hierarchy": "none"}, "'hierarchy'"),
    ],
)
def test_bad_layers(wine, parameters, words):
    with pytest.raises(ValueError, match=words):
        VAETransformer(**parameters).fit(wine)


# Users' networks ------------------------------------------------------------------------------


class Encoder(nn.Module):
    """Takes features and mask, as the documentation says."""

    def __init__(self, n_features, width=16, dropout=0.0):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(2 * n_features, width), nn.ELU(), nn.Dropout(dropout), nn.BatchNorm1d(width)
        )
        self.shapes = []

    def forward(self, features, mask):
        self.shapes.append((tuple(features.shape), tuple(mask.shape)))
        return self.layers(torch.cat([features, mask], dim=1))


def seeded(make, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


@pytest.mark.parametrize("n_components", [2, (2, 1)])
def test_own_networks_are_trained_as_copies(wine, n_components):
    encoder = seeded(lambda: Encoder(13, dropout=0.2))
    decoder = seeded(lambda: nn.Sequential(nn.Linear(2, 16), nn.Tanh()))
    before = copy.deepcopy(encoder.state_dict())
    X = wine.copy()
    X[::4, 2] = np.nan
    model = VAETransformer(
        n_components, encoder=encoder, decoder=decoder, max_iter=60, random_state=0
    )
    state = torch.random.get_rng_state()
    z = model.fit(X).transform(X)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())
    assert encoder.shapes == []
    trained = model._latent.model.encoder.body
    assert not torch.equal(trained.layers[0].weight, encoder.layers[0].weight)
    assert set(trained.shapes) >= {((178, 13), (178, 13))}
    assert_array_equal(clone(model).fit(X).transform(X), z)
    assert_array_equal(model.transform(X), z)  # dropout and batch norm are off
    assert_allclose(model.transform(X[:3]), z[:3], atol=1e-5)
    assert_array_equal(pickle.loads(pickle.dumps(model)).transform(X), z)


def test_own_networks_start_as_the_linear_vae(wine):
    options = {"n_components": 2, "random_state": 0, "early_stopping": False}
    decoder = seeded(lambda: nn.Linear(2, 5))
    own = VAETransformer(
        encoder=seeded(lambda: Encoder(13)), decoder=decoder, max_iter=0, **options
    ).fit(wine)
    usual = VAETransformer(max_iter=0, **options).fit(wine)
    assert_allclose(own.transform(wine), usual.transform(wine), atol=1e-4)


def test_own_networks_see_the_condition(wine):
    encoder = seeded(lambda: Encoder(13))  # 12 features and one number of the condition
    decoder = seeded(lambda: nn.Linear(3, 8))
    model = VAETransformer(
        2, encoder=encoder, decoder=decoder, condition_on=[0], max_iter=20, random_state=0
    ).fit(wine)
    assert model.sample(2, condition=[0.0]).shape == (2, 13)


class Wrong(nn.Module):
    def __init__(self, result):
        super().__init__()
        self.result = result

    def forward(self, *inputs):
        return self.result(*inputs)


@pytest.mark.parametrize(
    ("role", "module", "words"),
    [
        ("encoder", nn.Linear(7, 4), r"encoder failed on inputs of shape \(2, 4\), \(2, 4\)"),
        ("decoder", nn.Linear(7, 4), r"decoder failed on inputs of shape \(2, 2\)"),
        ("decoder", Wrong(lambda z: z.sum(0)), r"must return.*\(2, any width\).*got \(2,\)"),
        ("decoder", Wrong(lambda z: z.view(2, 2, 1, 1)), "Flatten"),
        ("decoder", Wrong(lambda z: z.long()), "floating point"),
        ("encoder", Wrong(lambda x, m: (x, m)), "got tuple"),
        ("encoder", Wrong(lambda x, m: x[:1]), r"got \(1, 4\)"),
        ("encoder", Wrong(lambda x, m: x * float("nan")), "encoder returned NaN"),
        ("encoder", Wrong(lambda x, m: x / (x.norm() < 1)), "return NaN or infinity on rows of X"),
        ("decoder", Wrong(lambda z: z[:, : 1 + (len(z) > 2)]), "must not depend on the rows"),
    ],
)
def test_modules_of_a_wrong_shape(role, module, words):
    with pytest.raises(ValueError, match=words):
        VAETransformer(2, **{role: module}, max_iter=5).fit(load_iris().data)


def test_what_is_no_module_is_refused(wine):
    with pytest.raises(ValueError, match="'encoder'"):
        VAETransformer(encoder=lambda x: x).fit(wine)
    with pytest.raises(ValueError, match=r"decoder is for the networks.*has none"):
        VAETransformer(decoder=nn.Linear(2, 2), hidden_layer_sizes=()).fit(wine)
