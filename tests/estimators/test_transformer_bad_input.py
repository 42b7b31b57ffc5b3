"""Odd tables and wrong arguments of `VAETransformer`."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

from skvae import VAETransformer

rng = np.random.default_rng(0)
COMPLETE = rng.normal(size=(60, 4)) @ rng.normal(size=(4, 4))
HOLES = np.where(rng.random(COMPLETE.shape) < 0.2, np.nan, COMPLETE)
SETTINGS = [
    {"hidden_layer_sizes": (8,), "max_iter": 15, "random_state": 0},
    {"hidden_layer_sizes": (8,), "max_iter": 15, "prior": "vamp", "random_state": 0},
    {"hidden_layer_sizes": (), "random_state": 0},
    {"hidden_layer_sizes": (8,), "max_iter": 15, "decoder": "sparse", "random_state": 0},
]


@pytest.fixture(scope="module")
def fitted():
    return VAETransformer(2, **SETTINGS[0]).fit(HOLES)


def numbers(table):
    return pd.DataFrame(table).select_dtypes("number").to_numpy(dtype=float)


def check_everything(X, new=None, **parameters):
    new = X if new is None else new
    for settings in SETTINGS:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", message="Skipping features|No loading of decoder")
            model = VAETransformer(**settings, **parameters).fit(X)
            z = model.transform(new)
            tables = model.inverse_transform(z), model.reconstruct(new), model.sample(20)
            scores = [
                model.score_samples(new, method=method, n_samples=16)
                for method in ("importance", "prior", "elbo")
            ]
        assert np.isfinite(z).all()
        assert np.isfinite(scores).all()
        for table in tables:
            assert not pd.DataFrame(table).isna().any(axis=None)
            assert np.isfinite(numbers(table)).all()


@pytest.mark.parametrize("n", [2, 3, 5, 12])
def test_few_rows(n):
    check_everything(COMPLETE[:n])


@pytest.mark.parametrize("X", [COMPLETE[:, :1], HOLES, HOLES[:, :2]])
def test_holes_and_few_columns(X):
    check_everything(X, new=np.vstack([X, np.full((1, X.shape[1]), np.nan)]))


def test_constant_empty_and_tiny_columns():
    X = pd.DataFrame(COMPLETE, columns=list("abcd"))
    X["constant"] = 3.0
    X["empty"] = np.nan
    X["tiny"] = 1e-12 * X["a"]
    X["huge"] = 1e12 * X["b"]
    check_everything(X)


def test_heavy_tails():
    check_everything(rng.standard_cauchy(size=(100, 3)))


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (np.full((5, 2), 1.0), ValueError, "No column of X varies"),
        (np.where(COMPLETE > 1, np.inf, COMPLETE), ValueError, "infinity"),
        (COMPLETE[:, 0], ValueError, "2D array"),
        (COMPLETE[:0], ValueError, "0 sample"),
        (pd.DataFrame(COMPLETE, columns=["a", "a", "b", "c"]), ValueError, "duplicate"),
        (pd.DataFrame({"when": pd.date_range("2020", periods=5)}), TypeError, "when"),
    ],
)
def test_bad_tables(X, error, message):
    for settings in SETTINGS:
        with pytest.raises(error, match=message):
            VAETransformer(**settings).fit(X)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_components": 5}, "n_components=5 is more than the 4 features"),
        ({"n_components": 0}, "n_components"),
        ({"n_importance_samples": 0}, "n_importance_samples"),
        ({"beta": -1.0}, "beta"),
        ({"prior": "flow"}, "prior"),
        ({"prior": "vamp", "hidden_layer_sizes": ()}, "for the networks"),
        ({"free_bits": 0.5}, "n_importance_samples=1"),
        ({"kl_warmup": 1.5}, "kl_warmup"),
        ({"noise": "full"}, "isotropic.*Got 'full'"),
        ({"noise": "1.0"}, "noise"),
        ({"noise": 0}, "noise"),
        ({"noise": -0.5}, r"float in the range \(0.*Got -0.5"),
        ({"noise": float("nan")}, "noise"),
        ({"noise": float("inf")}, "noise"),
        ({"noise": None}, "noise"),
        ({"noise": [0.5, 0.5]}, "noise"),
        ({"likelihood": {"continuous": "laplace"}}, "laplace"),
        ({"hidden_layer_sizes": (0,)}, "hidden_layer_sizes"),
        ({"decoder": "dense"}, "The 'decoder' parameter.*'sparse'.*Got 'dense'"),
        ({"encoder": "sparse"}, "The 'encoder' parameter"),
        (
            {"decoder": "sparse", "hidden_layer_sizes": ()},
            r"decoder='sparse' is for the networks; hidden_layer_sizes=\(\) has none",
        ),
        (
            {"decoder": "sparse", "n_components": (2, 1)},
            "decoder='sparse' cannot be combined.*give n_components as one number",
        ),
        (
            {"decoder": "sparse", "prior": "mixture"},
            "decoder='sparse' cannot be combined: prior='mixture'.*leave prior='normal'",
        ),
        (
            {"decoder": "sparse", "prior": "vamp"},
            "decoder='sparse' cannot be combined: prior='vamp'.*leave prior='normal'",
        ),
        (
            {"decoder": "sparse", "early_stopping": False},
            "decoder='sparse' cannot be combined: held-out rows decide.*early_stopping=True",
        ),
        *(
            (
                {"decoder": "sparse", "condition_on": [0], "conditioning": conditioning},
                f"cannot be combined: conditioning='{conditioning}'.*take conditioning='decoder'",
            )
            for conditioning in ("prior", "both")
        ),
        (
            {"prior": "vamp", "condition_on": [0], "conditioning": "prior"},
            "Conditions of the prior make a prior of their own: leave prior='normal'",
        ),
    ],
)
def test_bad_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        VAETransformer(**parameters).fit(COMPLETE)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.inverse_transform(np.zeros((2, 3))), "the latent space has 2"),
        (lambda m: m.inverse_transform(np.full((2, 2), np.nan)), "NaN"),
        (lambda m: m.score_samples(COMPLETE, method="exact"), "method"),
        (lambda m: m.score_samples(COMPLETE, n_samples=0), "n_samples"),
        (lambda m: m.effective_sample_size(COMPLETE, n_samples=1.5), "n_samples"),
        (lambda m: m.sample(0), "n_samples"),
        (lambda m: m.sample(2, source="data"), "source"),
        (lambda m: m.interpolate(COMPLETE[:2], COMPLETE[:3]), "as many rows"),
        (lambda m: m.interpolate(COMPLETE[:2], COMPLETE[:2], 1), "n_steps"),
        (lambda m: m.interpolate(COMPLETE[:2], COMPLETE[:2], method="cubic"), "method"),
        (lambda m: m.attribute_direction(COMPLETE, np.zeros(60)), "two distinct values"),
        (lambda m: m.attribute_direction(COMPLETE, [0, 1]), "shape"),
        (lambda m: m.shift(COMPLETE, [1.0, 2.0, 3.0]), "direction has 3 columns"),
        (lambda m: m.shift(COMPLETE, [1.0, 2.0], [1.0, 2.0]), "strength"),
        (lambda m: m.transform(COMPLETE[:, :3]), "features"),
    ],
)
def test_bad_arguments(fitted, call, message):
    with pytest.raises(ValueError, match=message):
        call(fitted)


@pytest.mark.parametrize("name", ["loadings_", "anchor_columns_"])
def test_loadings_need_a_fit(name):
    with pytest.raises(NotFittedError):
        getattr(VAETransformer(decoder="sparse"), name)


@pytest.mark.parametrize("method", ["transform", "score_samples", "inverse_transform"])
def test_not_fitted(method):
    with pytest.raises(NotFittedError):
        getattr(VAETransformer(), method)(COMPLETE)


def test_unseen_levels_count_as_absent():
    X = pd.DataFrame({"a": COMPLETE[:, 0], "c": ["x", "y", "z"] * 20})
    model = VAETransformer(2, **SETTINGS[0]).fit(X)
    strange, holes = X[:3].assign(c="new"), X[:3].assign(c=None)
    with pytest.warns(UserWarning, match=r"column 'c': 'new'"):
        z = model.transform(strange)
    np.testing.assert_array_equal(z, model.transform(holes))
