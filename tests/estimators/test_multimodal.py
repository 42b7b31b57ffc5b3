"""`MultimodalVAE` on tables of blocks."""

import itertools
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skvae import MultimodalVAE
from skvae.inspection import amortization_gap

HALVES = {"top": slice(0, 32), "bottom": slice(32, 64)}


def linear(**options):
    return MultimodalVAE(hidden_layer_sizes=(), random_state=0, **options)


def wine_blocks():
    X = load_wine(as_frame=True).data
    return X, {"acids": list(X.columns[:5]), "rest": list(X.columns[5:])}


def r2(predicted, true):
    return float(np.mean(1 - ((predicted - true) ** 2).mean(0) / (true.var(0) + 1e-9)))


@pytest.fixture(scope="module")
def digits():
    X = load_digits().data
    X = X[:, X.std(0) > 0.5]
    top = int((X.shape[1]) / 2)
    rng = np.random.default_rng(0)
    train, test = X[:1000].copy(), X[1000:]
    absent = rng.random(1000)
    train[absent < 0.2, :top] = np.nan
    train[absent > 0.8, top:] = np.nan
    blocks = {"top": slice(0, top), "bottom": slice(top, None)}
    return linear(modalities=blocks).fit(train), test, top


def test_one_half_from_the_other(digits):
    model, test, top = digits
    predicted = model.predict(test, target="bottom")
    assert predicted.shape == test[:, top:].shape
    error = ((predicted - test[:, top:]) ** 2).mean()
    assert error < 0.85 * ((test[:, top:] - test[:, top:].mean(0)) ** 2).mean()


def test_the_target_is_not_looked_at(digits):
    model, test, top = digits
    changed = test[:20].copy()
    changed[:, top:] = 3.0
    same = [model.predict(X, target="bottom") for X in (test[:20], changed)]
    np.testing.assert_array_equal(*same)


def test_a_product_is_narrower_than_its_factors():
    X, blocks = wine_blocks()
    model = linear(modalities=blocks, fusion="poe", prior="normal").fit(X)
    wide = model.posterior(X.assign(**dict.fromkeys(blocks["acids"], np.nan)))[1]
    assert (wide > model.posterior(X)[1] + 1e-6).all()


def test_conditional_density_is_joint_less_marginal(digits):
    model, test, top = digits
    X = test[:10].copy()
    marginal = X.copy()
    marginal[:, top:] = np.nan
    conditional = model.score_samples(X, target="bottom")
    expected = model.score_samples(X) - model.score_samples(marginal)
    np.testing.assert_allclose(conditional, expected, atol=1e-6)
    assert conditional.mean() > model.score_samples(X, target="bottom", given=["top"]).mean() - 1e-6


def test_linear_joint_density_is_the_exact_gaussian_one():
    X = load_iris().data
    model = linear(modalities={"sepal": [0, 1], "petal": [2, 3]}, prior="normal").fit(X)
    point, scaler = model._latent.clusters.blocks.point, model._latent.scaler
    covariance = (point.loadings @ point.loadings.mT).numpy() + np.diag(point.noise_variance)
    scores = (X - scaler.mean) / scaler.scale
    expected = multivariate_normal(point.mean.numpy(), covariance).logpdf(scores)
    expected = expected - np.log(scaler.scale).sum()
    np.testing.assert_allclose(model.score_samples(X), expected, atol=1e-4)


def test_importance_sampling_agrees_with_the_exact_density():
    X = load_iris().data
    model = linear(modalities={"sepal": [0, 1], "petal": [2, 3]}).fit(X)
    scorer = model._latent._scorer
    sampled = scorer.log_prob(model._rows(X[:30]), "importance", 2048)
    np.testing.assert_allclose(sampled, model.score_samples(X[:30]), atol=0.1)


def test_frames_keep_names_dtypes_and_index():
    X, blocks = wine_blocks()
    X["cultivar"] = pd.Categorical(load_wine().target.astype(str))
    blocks["label"] = ["cultivar"]
    X.index = X.index + 100
    model = MultimodalVAE(blocks, max_iter=30, random_state=0).fit(X)
    label = model.predict(X, target="label")
    assert label.index.equals(X.index)
    assert label.dtypes.iloc[0] == X["cultivar"].dtype
    assert (label["cultivar"] == X["cultivar"]).mean() > 0.9
    holed = X.copy()
    holed.loc[100:110, blocks["acids"]] = np.nan
    filled = model.predict(holed)
    assert not filled.isna().any().any()
    pd.testing.assert_frame_equal(filled.loc[111:], X.loc[111:])
    drawn = model.sample_conditional(X, "acids", 2, random_state=0)
    assert [list(each.columns) for each in drawn] == [blocks["acids"]] * 2
    assert not drawn[0].equals(drawn[1])
    assert model.sample(4, random_state=0).shape == (4, 14)
    assert model.inverse_transform(model.transform(X)).shape == X.shape


def test_a_mapping_of_tables():
    X, blocks = wine_blocks()
    tables = {name: X[columns] for name, columns in blocks.items()}
    model, joined = linear().fit(tables), linear(modalities=blocks).fit(X)
    np.testing.assert_allclose(model.transform(tables), joined.transform(X))
    alone = model.predict({"rest": tables["rest"]}, target="acids")
    pd.testing.assert_frame_equal(alone, joined.predict(X, target="acids"))
    assert set(model.inverse_transform(model.transform(tables))) == set(blocks)
    arrays = {name: table.to_numpy() for name, table in tables.items()}
    assert isinstance(linear().fit(arrays).predict(arrays, target="acids"), np.ndarray)


@pytest.mark.parametrize("fusion", ["moe", "mopoe"])
@pytest.mark.parametrize("hidden", [(), (16,)])
def test_fusions(fusion, hidden):
    X, blocks = wine_blocks()
    model = MultimodalVAE(
        blocks, fusion=fusion, hidden_layer_sizes=hidden, max_iter=20, random_state=0
    ).fit(X)
    assert np.isfinite(model.score_samples(X)).all()
    one = X.copy()
    one[blocks["acids"]] = np.nan
    both, single = model.transform(X), model.transform(one)
    if fusion == "moe":  # the mean of the single blocks' means
        other = X.copy()
        other[blocks["rest"]] = np.nan
        np.testing.assert_allclose(both, (single + model.transform(other)) / 2, atol=1e-4)
    assert r2(model.predict(X, target="rest").to_numpy(), X[blocks["rest"]].to_numpy()) > 0.05


def test_a_mixture_of_products_is_the_mean_over_subsets():
    X = load_wine().data[::3]
    X[::4, 4:8] = np.nan
    X[1::4, 9] = np.nan  # a single hole
    blocks = {"a": slice(0, 4), "b": slice(4, 8), "c": slice(8, None)}
    mixed = linear(modalities=blocks).fit(X).transform(X)
    product = linear(modalities=blocks, fusion="poe").fit(X)
    subsets = [each for n in (1, 2, 3) for each in itertools.combinations(blocks, n)]
    total, count = np.zeros_like(mixed), np.zeros((len(X), 1))
    for subset in subsets:
        absent = [np.isnan(X[:, blocks[name]]).all(axis=1) for name in subset]
        own = ~np.any(absent, axis=0)
        some = np.full_like(X[own], np.nan)
        for name in subset:
            some[:, blocks[name]] = X[own][:, blocks[name]]
        total[own] += product.transform(some)
        count[own] += 1
    np.testing.assert_allclose(mixed, total / count, atol=1e-4)


def test_more_blocks_than_all_their_subsets_allow():
    X = load_wine().data
    blocks = {f"block {j}": [j] for j in range(X.shape[1])}
    X[:100, ::2] = np.nan
    model = linear(modalities=blocks).fit(X)
    assert np.isfinite(model.transform(X)).all()
    alone = X[:5].copy()
    alone[:, 4:] = np.nan  # a row with two blocks
    np.testing.assert_allclose(model.transform(alone)[1], model.transform(alone[1:2])[0], atol=1e-5)


def test_private_components_are_not_returned():
    X, blocks = wine_blocks()
    model = linear(modalities=blocks, n_components=3, n_private_components=2).fit(X)
    assert model.transform(X).shape == (len(X), 3)
    assert model.inverse_transform(model.transform(X)).shape == X.shape
    assert model.expert_precisions_.shape == (2, 3)


def test_weights_pull_the_posterior():
    X, blocks = wine_blocks()
    plain = linear(modalities=blocks, n_components=3).fit(X)
    heavy = linear(modalities=blocks, n_components=3, modality_weights={"acids": 5.0}).fit(X)
    balanced = linear(modalities=blocks, n_components=3, modality_weights="balanced").fit(X)
    assert not np.allclose(plain.transform(X), heavy.transform(X))
    assert not np.allclose(plain.transform(X), balanced.transform(X))


def test_networks_are_kept_where_blocks_bend():
    rng = np.random.default_rng(0)
    z = rng.uniform(-2, 2, 600)
    X = np.column_stack([z, z**3 / 4, np.sin(3 * z), np.cos(3 * z), np.abs(z)])
    X = X + 0.05 * rng.normal(size=X.shape)
    blocks = {"a": [0, 1], "b": [2, 3, 4]}
    model = MultimodalVAE(blocks, random_state=0).fit(X)
    flat = linear(modalities=blocks).fit(X)
    assert model.uses_networks_
    assert model.score(X) > flat.score(X)


def test_deterministic_picklable_and_clonable():
    X, blocks = wine_blocks()
    model = MultimodalVAE(blocks, max_iter=20, random_state=0).fit(X)
    again = clone(model).fit(X)
    np.testing.assert_array_equal(model.transform(X), again.transform(X))
    loaded = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(model.transform(X), loaded.transform(X))
    order = np.random.default_rng(0).permutation(len(X))
    np.testing.assert_allclose(model.transform(X.iloc[order]), model.transform(X)[order], atol=1e-5)


def test_pipeline_and_grid_search():
    X, y = load_wine(return_X_y=True)
    blocks = {"acids": slice(0, 5), "rest": slice(5, None)}
    pipeline = make_pipeline(linear(modalities=blocks), LogisticRegression())
    grid = {"multimodalvae__n_components": [2, 5]}
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(X, y)
    assert search.best_score_ > 0.8


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ({"a": [0, 1], "b": [1, 2, 3]}, "in the blocks 'a' and 'b'"),
        ({"a": [0, 1], "b": [2, 9]}, "does not have: \\[9\\]"),
        ({"a": [0, 1], "b": []}, "block 'b' has no columns"),
        ({"a": [0, 1], "b": [2]}, "\\[3\\] belong to no block"),
        ({"a": [0, 0, 1], "b": [2, 3]}, "a column twice"),
        ({"a": [True, False], "b": [2, 3]}, "mask of block 'a' has 2"),
        ({}, "modalities is empty"),
    ],
)
def test_bad_maps(blocks, message):
    with pytest.raises(ValueError, match=message):
        linear(modalities=blocks).fit(load_iris().data)


@pytest.mark.filterwarnings("ignore:Skipping features")
def test_a_block_absent_in_all_rows():
    X = load_iris().data.copy()
    X[:, 2:] = np.nan
    with pytest.raises(ValueError, match="'b' is absent in all rows"):
        linear(modalities={"a": [0, 1], "b": [2, 3]}).fit(X)
    X[:, 2:] = 1.0
    with pytest.raises(ValueError, match="'b' has no column that varies"):
        linear(modalities={"a": [0, 1], "b": [2, 3]}).fit(X)


def test_a_row_without_any_block_is_the_prior():
    X = load_iris().data.copy()
    X[0] = np.nan
    model = linear(modalities={"a": [0, 1], "b": [2, 3]}, n_components=2)
    with pytest.warns(UserWarning, match="1 rows of X have no block"):
        model.fit(X)
    with pytest.warns(UserWarning, match="no block"):
        mean, deviation = model.posterior(X[:1])
    assert np.isfinite(mean).all()
    assert (deviation > 0.5).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, X: m.predict(X, target="c"), "There is no block 'c'"),
        (lambda m, X: m.predict(X, target=["a", "b"]), "nothing to condition on"),
        (lambda m, X: m.score_samples(X, target="a", given="a"), "both target and given"),
        (lambda m, X: m.score_samples(X, given="a"), "needs a target"),
        (lambda m, X: m.sample_conditional(X, "a", 0), "n_draws"),
        (lambda m, X: m.predict({"a": X[:, :2]}, target="b"), "fit was given one table"),
    ],
)
def test_bad_questions(call, message):
    X = load_iris().data
    model = linear(modalities={"a": [0, 1], "b": [2, 3]}).fit(X)
    with pytest.raises(ValueError, match=message):
        call(model, X)


@pytest.mark.parametrize(
    ("weights", "message"), [({"c": 1.0}, "unknown blocks \\['c'\\]"), ({"a": 0.0}, "positive")]
)
def test_bad_weights(weights, message):
    with pytest.raises(ValueError, match=message):
        linear(modalities={"a": [0, 1], "b": [2, 3]}, modality_weights=weights).fit(
            load_iris().data
        )


def test_bad_mappings():
    X, blocks = wine_blocks()
    tables = {name: X[columns] for name, columns in blocks.items()}
    with pytest.raises(ValueError, match="not both"):
        linear(modalities=blocks).fit(tables)
    with pytest.raises(ValueError, match="same rows"):
        linear().fit({**tables, "rest": tables["rest"].iloc[:-1]})
    model = linear().fit(tables)
    with pytest.raises(ValueError, match="unknown blocks"):
        model.transform({"other": X})
    with pytest.raises(ValueError, match="has the columns"):
        model.transform({"acids": tables["rest"]})


def test_posteriors_are_those_of_the_formula_with_and_without_a_block():
    X = load_wine().data
    X[::3, :5] = np.nan
    X[1::3, 5:] = np.nan
    with_holes = X.copy()
    with_holes[:40, 7] = np.nan
    blocks = {"acids": slice(0, 5), "rest": slice(5, None)}
    model = linear(modalities=blocks, fusion="poe").fit(X)
    model._latent.model.temperature = 1.0
    for table in (X, with_holes):
        part = model._latent.table(model._rows(table))
        expected = model._latent.clusters.mean(part.features.double(), part.masks[1][0])
        np.testing.assert_allclose(model.transform(table), expected.numpy(), atol=1e-3)


def test_blocks_that_no_row_links_are_named():
    X = load_wine().data
    blocks = {"a": slice(0, 4), "b": slice(4, 8), "c": slice(8, None)}
    X[:89, 8:] = np.nan
    X[89:, :8] = np.nan
    with pytest.warns(UserWarning, match=r"more than one of \[\['a', 'b'\], \['c'\]\]"):
        linear(modalities=blocks).fit(X)
    X = load_wine().data
    X[::2, :4] = np.nan
    X[1::2, 8:] = np.nan  # a and c are linked by b
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        linear(modalities=blocks).fit(X)


def test_rows_with_the_target_alone_are_said_to_have_nothing_else():
    X, blocks = wine_blocks()
    model = linear(modalities=blocks).fit(X)
    alone = X.copy()
    alone.loc[:4, blocks["rest"]] = np.nan
    with pytest.warns(
        UserWarning, match=r"5 rows of X have nothing besides the target \['acids'\]"
    ):
        model.predict(alone, target="acids")
    with pytest.raises(ValueError, match="names no block"):
        model.predict(X, target=[])


def test_weights_are_numbers():
    X, blocks = wine_blocks()
    with pytest.raises(TypeError, match="modality_weights\\['acids'\\] must be a number"):
        linear(modalities=blocks, modality_weights={"acids": "x"}).fit(X)


def test_products_of_linear_experts_have_no_amortization_gap():
    X, blocks = wine_blocks()
    model = linear(modalities=blocks).fit(X)
    gap = amortization_gap(model, X, n_samples=32, max_iter=20)
    np.testing.assert_allclose(gap["elbo"], model.score_samples(X), atol=1e-2)
    np.testing.assert_allclose(gap["amortization_gap"], 0.0, atol=1e-3)


def test_rows_that_weigh_next_to_nothing_do_not_count():
    X, blocks = wine_blocks()
    weight = np.ones(len(X))
    weight[60:] = 1e-300
    options = {"n_components": 2, "random_state": 0, "max_iter": 5}
    few = MultimodalVAE(blocks, **options).fit(X, sample_weight=weight)
    same = MultimodalVAE(blocks, **options).fit(X[:60])
    np.testing.assert_array_equal(few.transform(X), same.transform(X))
