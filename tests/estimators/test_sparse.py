"""`VAETransformer(decoder="sparse")`: supports, anchors and everything that transformers do."""

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.decomposition import FactorAnalysis

from skvae import VAETransformer
from skvae.datasets import make_linear_factors, make_sparse_factors
from skvae.inspection import mean_correlation_coefficient

SMALL = {"decoder": "sparse", "hidden_layer_sizes": (8,), "max_iter": 40, "random_state": 0}


@pytest.fixture(scope="module")
def truth():
    return make_sparse_factors(400, random_state=0)


@pytest.fixture(scope="module")
def fitted(truth):
    """With one latent more than there are factors."""
    options = {"hidden_layer_sizes": (32, 32), "max_iter": 400, "random_state": 0}
    return VAETransformer(3, decoder="sparse", **options).fit(truth.data)


def mixed_frame(n=200, seed=0):
    """Two factors with numbers, counts and categories of their own, and holes."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, n))
    frame = pd.DataFrame(
        {
            "height": 170 + 10 * a + rng.normal(size=n),
            "weight": np.exp(4 + 0.3 * a + 0.05 * rng.normal(size=n)),
            "visits": rng.poisson(np.exp(1 + 0.8 * b)),
            "level": pd.Categorical(
                np.array(["low", "mid", "high"])[np.digitize(b, [-0.5, 0.5])],
                ["low", "mid", "high"],
                ordered=True,
            ),
            "group": pd.Categorical(np.where(a + 0.3 * rng.normal(size=n) > 0, "x", "y")),
            "score": 2 * b + 0.3 * rng.normal(size=n),
        }
    )
    frame["visits"] = frame["visits"].astype("Int64")
    return frame.mask(rng.random(frame.shape) < 0.15)


@pytest.fixture(scope="module")
def mixed():
    X = mixed_frame()
    return X, VAETransformer(2, **{**SMALL, "max_iter": 300}).fit(X)


# What is found --------------------------------------------------------------------------------


def test_the_support_is_found_and_no_latent_more(truth, fitted):
    support = fitted.loadings_.to_numpy() != 0
    found = sorted(map(tuple, support.T))
    expected = sorted(map(tuple, np.column_stack([truth.support, np.zeros(7, dtype=bool)]).T))
    assert found == expected


def test_anchors_are_the_columns_of_one_factor(truth, fitted):
    found = {frozenset(columns) for columns in fitted.anchor_columns_.values()}
    assert found == {frozenset(("x1", "x2", "x3")), frozenset(("x4", "x5", "x6")), frozenset()}
    assert list(fitted.anchor_columns_) == list(fitted.get_feature_names_out())
    for latent, columns in fitted.anchor_columns_.items():
        sizes = fitted.loadings_.loc[columns, latent].abs()
        assert (sizes.diff().dropna() <= 0).all()


def test_the_latents_are_the_factors(truth, fitted):
    Z = fitted.transform(truth.data)
    used = (fitted.loadings_ != 0).any().to_numpy()
    assert mean_correlation_coefficient(truth.latents, Z[:, used]) > 0.9


def test_an_unused_latent_moves_nothing(truth, fitted):
    Z = fitted.transform(truth.data)
    moved = Z.copy()
    moved[:, ~(fitted.loadings_ != 0).any().to_numpy()] += 3.0
    before, after = fitted.inverse_transform(Z), fitted.inverse_transform(moved)
    pd.testing.assert_frame_equal(before, after)


def test_new_rows_are_hardly_less_likely_than_under_any_decoder(truth, fitted):
    new = make_sparse_factors(400, random_state=1).data
    plain = VAETransformer(3, hidden_layer_sizes=(32, 32), max_iter=400, random_state=0)
    assert fitted.score(new) > plain.fit(truth.data).score(new) - 1.0


# Mixed tables with holes ----------------------------------------------------------------------


def test_mixed_tables_with_holes(mixed):
    X, model = mixed
    drawn = model.sample(50, random_state=0)
    assert (drawn.dtypes == X.dtypes).all()
    assert drawn.notna().all().all()
    assert np.isfinite(model.score_samples(X)).all()
    back = model.inverse_transform(model.transform(X))
    assert (back.dtypes == X.dtypes).all()
    both = X["height"].notna()
    assert np.corrcoef(X.loc[both, "height"], back.loc[both.to_numpy(), "height"])[0, 1] > 0.8
    path = model.interpolate(X[:2], X[-2:], 4)
    assert len(path) == 8
    assert path.notna().all().all()


def test_columns_of_a_mixed_table_hang_on_their_factor(mixed):
    size = mixed[1].loadings_.abs()
    first = size["vaetransformer0"] > size["vaetransformer1"]
    assert first["height"] == first["weight"] == first["group"]
    assert first["visits"] == first["level"] == first["score"]
    assert first["height"] != first["score"]


def test_rows_that_show_nothing_say_nothing(mixed):
    X, model = mixed
    nothing = pd.DataFrame(np.nan, X.index[:3], X.columns)
    assert (model.score_samples(nothing) == 0).all()
    alone = model.transform(nothing)
    assert_array_equal(alone, alone[[0, 0, 0]])


def test_both_estimates_of_the_density_agree(mixed):
    X, model = mixed
    some = X.iloc[::20]
    importance = model.score_samples(some, n_samples=2048)
    prior = model.score_samples(some, method="prior", n_samples=50_000)
    assert_allclose(importance, prior, atol=0.3)


# The contract of estimators -------------------------------------------------------------------


def test_arrays_come_back_as_arrays(truth):
    X = truth.data.to_numpy()
    model = VAETransformer(2, **SMALL).fit(X)
    assert model.transform(X).shape == (400, 2)
    assert isinstance(model.sample(3), np.ndarray)
    assert list(model.loadings_.index) == list(range(7))


def test_the_same_seed_gives_the_same_model(mixed):
    X, _ = mixed
    model = VAETransformer(2, **SMALL)
    one, two = (clone(model).fit(X) for _ in range(2))
    assert_array_equal(one.transform(X), two.transform(X))
    pd.testing.assert_frame_equal(one.loadings_, two.loadings_)
    other = clone(model).set_params(random_state=1).fit(X)
    assert not np.array_equal(one.transform(X), other.transform(X))


def test_pickles_and_clones_keep_everything(mixed):
    X, model = mixed
    again = pickle.loads(pickle.dumps(model))
    assert_array_equal(again.transform(X), model.transform(X))
    pd.testing.assert_frame_equal(again.loadings_, model.loadings_)
    assert again.anchor_columns_ == model.anchor_columns_
    assert clone(model).decoder == "sparse"


def test_rows_do_not_see_each_other(mixed):
    X, model = mixed
    order = np.random.default_rng(0).permutation(len(X))
    assert_allclose(model.transform(X.iloc[order]), model.transform(X)[order], atol=1e-5)


def test_rows_of_no_weight_are_not_there(truth):
    X = truth.data
    weight = np.ones(len(X))
    weight[::4] = 0
    part = VAETransformer(2, **SMALL).fit(X[weight > 0])
    weighted = VAETransformer(2, **SMALL).fit(X, sample_weight=weight)
    assert_array_equal(weighted.transform(X), part.transform(X))
    pd.testing.assert_frame_equal(weighted.loadings_, part.loadings_)


def test_names_and_containers_of_outputs(mixed):
    X, model = mixed
    names = ["vaetransformer0", "vaetransformer1"]
    assert list(model.get_feature_names_out()) == names
    assert list(model.loadings_.columns) == names
    assert list(model.loadings_.index) == list(X.columns)
    framed = VAETransformer(2, **SMALL).set_output(transform="pandas").fit(X)
    Z = framed.transform(X)
    assert list(Z.columns) == names
    assert_array_equal(Z.index, X.index)


@pytest.mark.parametrize(
    "options",
    [
        {"n_importance_samples": 1, "free_bits": 0.1},
        {"beta": 0.5},
        {"rotation": "random"},
        {"inference": "adaptive"},
        {"condition_on": ["group"]},
    ],
    ids=lambda options: next(iter(options)),
)
def test_it_goes_with_other_options(options):
    X = mixed_frame(80)
    X["group"] = X["group"].fillna("x")
    model = VAETransformer(2, **{**SMALL, **options, "max_iter": 20}).fit(X)
    assert np.isfinite(model.transform(X)).all()
    assert np.isfinite(model.loadings_.to_numpy()).all()
    assert len(model.sample(4, random_state=0)) == 4


# Loadings of any decoder ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def linear():
    table = make_linear_factors(3000, 8, 2, density=0.5, random_state=0)
    model = VAETransformer(2, hidden_layer_sizes=(), rotation="varimax", random_state=0)
    return table, model.fit(table.data)


def test_loadings_of_a_linear_model_are_those_of_factor_analysis(linear):
    table, model = linear
    X = table.data / table.data.std(ddof=0)
    exact = FactorAnalysis(2, tol=1e-8, max_iter=5000, rotation="varimax").fit(X).components_.T
    found = model.loadings_.to_numpy()
    order = np.abs(found.T @ exact).argmax(axis=1)
    signs = np.sign((found * exact[:, order]).sum(axis=0))
    assert sorted(order) == [0, 1]
    assert_allclose(found, exact[:, order] * signs, atol=0.06)


def test_signs_are_those_of_slopes(linear):
    table, model = linear
    Z = model.transform(table.data)
    slopes = np.linalg.lstsq(Z, table.data - table.data.mean(), rcond=None)[0].T
    loadings = model.loadings_.to_numpy()
    large = np.abs(loadings) > 0.2
    assert large.any(axis=1).all()
    assert_array_equal(np.sign(loadings[large]), np.sign(slopes[large]))


def test_a_dense_decoder_has_no_anchors(linear):
    assert list(linear[1].anchor_columns_.values()) == [[], []]


def test_ordered_columns_have_signs_too():
    rng = np.random.default_rng(0)
    z = rng.normal(size=500)
    codes = np.digitize(z + 0.3 * rng.normal(size=500), [-0.7, 0.0, 0.7])
    X = pd.DataFrame(
        {
            "up": z + 0.3 * rng.normal(size=500),
            "down": -z + 0.3 * rng.normal(size=500),
            "ordered": pd.Categorical(codes, ordered=True),
            "reversed": pd.Categorical(3 - codes, ordered=True),
            "above": pd.Categorical(np.where(z > 0, "b", "a")),
            "skewed": np.exp(z + 0.3 * rng.normal(size=500)),
            "none": rng.normal(size=500),
        }
    )
    loadings = VAETransformer(1, hidden_layer_sizes=(), random_state=0).fit(X).loadings_.iloc[:, 0]
    signs = np.sign(loadings) * np.sign(loadings["up"])
    expected = {"up": 1, "down": -1, "ordered": 1, "reversed": -1, "above": 1, "skewed": 1}
    assert signs[list(expected)].to_dict() == expected
    assert (loadings.drop("none").abs() > 0.3).all()
    assert (loadings.abs() < 1.5).all()
    assert abs(loadings["none"]) < 0.2


@pytest.mark.parametrize(
    "options",
    [{"n_components": (2, 1)}, {"prior": "vamp", "n_components": 2}],
    ids=["layers", "vamp"],
)
def test_every_decoder_has_loadings(options):
    X = mixed_frame(80)
    model = VAETransformer(**options, hidden_layer_sizes=(8,), max_iter=15, random_state=0).fit(X)
    loadings = model.loadings_
    assert loadings.shape == (6, model.n_components_)
    assert np.isfinite(loadings.to_numpy()).all()


def test_a_sparse_decoder_without_zeros_says_so():
    X = make_sparse_factors(60, random_state=0).data
    with pytest.warns(UserWarning, match="No loading of decoder='sparse' became zero.*max_iter"):
        VAETransformer(2, decoder="sparse", max_iter=0, random_state=0).fit(X)
