"""What the blocks of a `MultimodalVAE` know, against formulas and numbers computed by hand."""

import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skvae import MultimodalVAE
from skvae.inspection import (
    cross_prediction,
    expert_precisions,
    posterior_agreement,
)

BLOCKS = {"a": [0, 1, 2], "b": [3, 4], "c": [5, 6, 7]}
# Of the columns on one factor of the blocks "a" and "b", and another of "c".
LOADINGS = np.array([[1.0, 0.8, -0.6, 0.9, -0.7, 0, 0, 0], [0, 0, 0, 0, 0, 1.0, -0.8, 0.7]])
COVARIANCE = LOADINGS.T @ LOADINGS + 0.3 * np.eye(8)
SCALES = np.array([1, 5, 0.1, 2, 30, 1, 1, 4])


def linear(blocks=None, n_components=2, **options):
    # Formulas are those of the product of experts, without regressions beside it.
    formula = {"fusion": "poe", "readout": "decoder", "prior": "normal", "hidden_layer_sizes": ()}
    return MultimodalVAE(blocks, n_components, random_state=0, **(formula | options))


def only(X, *columns):
    """An array of which nothing but some columns is observed."""
    return np.where(np.isin(np.arange(X.shape[1]), np.concatenate(columns)), X, np.nan)


def r2(predicted, true):
    """Mean over columns, of observed cells."""
    error = np.nansum((predicted - true) ** 2, axis=0)
    return np.mean(1 - error / np.nansum((true - np.nanmean(true, axis=0)) ** 2, axis=0))


def mixed_frame(n=120, seed=0):
    """Numbers, counts, booleans and categories in two blocks that share a factor."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    steps = np.array(["low", "mid", "high"])[np.digitize(z + 0.3 * rng.normal(size=n), [-0.5, 0.5])]
    columns = {
        "length": 10 + 3 * z + rng.normal(size=n),
        "visits": rng.poisson(np.exp(0.5 + 0.4 * z)),
        "size": pd.Categorical(steps, ["low", "mid", "high"], ordered=True),
        "weight": 5 - z + 0.5 * rng.normal(size=n),
        "grown": z + 0.5 * rng.normal(size=n) > 0,
        "kind": np.where(z + 0.3 * rng.normal(size=n) > 0.8, "big", steps).astype(object),
        "rank": pd.array(np.round(50 + 10 * z + rng.normal(size=n)).astype(int), dtype="Int64"),
        "lab": "north",
    }
    return pd.DataFrame(columns, index=pd.Index(np.arange(n) + 1000, name="id"))


MIXED = {
    "first": ["length", "visits", "size"],
    "second": ["weight", "grown", "kind", "rank", "lab"],
}


@pytest.fixture(scope="module")
def toy(tables):
    """A model of three blocks, and rows that have exactly the covariance of its factors."""
    X = tables.exact(400, COVARIANCE) * SCALES + 3
    return linear(BLOCKS).fit(X), X


@pytest.fixture(scope="module")
def single_factor(toy):
    """One latent dimension that two blocks are about."""
    X = toy[1][:, :5]
    return linear({"a": [0, 1, 2], "b": [3, 4]}, 1).fit(X), X


@pytest.fixture(scope="module")
def mixed():
    X = mixed_frame()
    return linear(MIXED).fit(X), X


# Precisions of experts ----------------------------------------------------------------------------


def test_expert_precisions_are_those_of_the_linear_model(toy):
    model = toy[0]
    precisions = expert_precisions(model)
    assert list(precisions.index) == ["a", "b", "c"]
    assert list(precisions.columns) == [0, 1]
    linear_vae = model._latent.clusters.blocks
    loadings, noise = linear_vae.point.loadings.numpy(), linear_vae.point.noise_variance.numpy()
    doubt = linear_vae.uncertainty.numpy()
    for number, (name, columns) in enumerate(BLOCKS.items()):
        known = (loadings[columns] ** 2 / noise[columns, None]).sum(axis=0)
        known += len(columns) * np.diag(doubt[number])[:2]
        assert_allclose(precisions.loc[name], known, rtol=1e-4)


def test_precisions_add_up_to_that_of_the_posterior(single_factor):
    model, X = single_factor
    a, b = expert_precisions(model)[0]
    for columns, precision in [([0, 1, 2], a), ([3, 4], b), (range(5), a + b)]:
        deviation = model.posterior(only(X, columns))[1]
        assert_allclose(deviation, (1 + precision) ** -0.5, rtol=1e-5)


def test_a_block_of_its_own_says_nothing_about_shared_dimensions(toy):
    precisions = expert_precisions(toy[0])
    shared = precisions.loc["a"].idxmax()
    assert precisions.loc["c", shared] < 0.05 * precisions.loc["b", shared]
    assert precisions.loc["c", 1 - shared] > 1


# Cross prediction ---------------------------------------------------------------------------------


def test_cross_prediction_reaches_the_regression_of_the_population(toy):
    # Rows have the population's covariance exactly: no linear prediction does better.
    table = cross_prediction(*toy)
    for given, target in [("a", "b"), ("b", "a")]:
        x, y = BLOCKS[given], BLOCKS[target]
        slope = np.linalg.solve(COVARIANCE[np.ix_(x, x)], COVARIANCE[np.ix_(x, y)])
        best = np.mean((COVARIANCE[np.ix_(x, y)] * slope).sum(axis=0) / np.diag(COVARIANCE)[y])
        assert best - 0.01 < table.loc[given, target] <= best + 1e-6


def test_an_independent_block_predicts_nothing(toy):
    table = cross_prediction(*toy)
    silent = [table.loc["c", "a"], table.loc["c", "b"], table.loc["a", "c"], table.loc["b", "c"]]
    assert_allclose(silent, 0, atol=0.01)
    assert table.loc["all others", "a"] == pytest.approx(table.loc["b", "a"], abs=0.01)


def test_cross_prediction_is_that_of_predict(toy):
    model, X = toy
    table = cross_prediction(model, X, subsets="all")
    for given, target in [("a", "b"), ("c", "a"), ("a + c", "b")]:
        hidden = only(X, *[BLOCKS[name] for name in given.split(" + ")])
        predicted = model.predict(hidden, target=target)
        assert table.loc[given, target] == pytest.approx(r2(predicted, X[:, BLOCKS[target]]))


def test_other_blocks_and_the_target_itself_are_hidden(toy):
    model, X = toy
    table = cross_prediction(model, X, subsets=["a", ("b",)])
    changed = X.copy()
    changed[:, BLOCKS["c"]] = np.random.default_rng(1).normal(size=(400, 3))
    again = cross_prediction(model, changed, subsets=["a", ("b",)])
    assert_array_equal(again[["a", "b"]], table[["a", "b"]])
    changed[:, BLOCKS["b"]] = changed[::-1, BLOCKS["b"]]
    predicted = model.predict(X, target="b")  # from "a" and "c"
    expected = r2(predicted, changed[:, BLOCKS["b"]])
    changed[:, BLOCKS["c"]] = X[:, BLOCKS["c"]]
    others = cross_prediction(model, changed, subsets="others")
    assert others.loc["all others", "b"] == pytest.approx(expected)
    assert expected < 0


def test_rows_count_that_have_both_blocks_and_cells_that_are_there(toy):
    model, X = toy
    holed = X[:60].copy()
    holed[:20, BLOCKS["a"]] = np.nan
    holed[40:, BLOCKS["b"]] = np.nan
    holed[20:25, 3] = np.nan  # single holes, in the target and in what is given
    holed[22:30, 0] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = cross_prediction(model, holed, subsets=[("a",), ("a", "c")])
    both = holed[20:40]
    for given, blocks in [("a", ["a"]), ("a + c", ["a", "c"])]:
        predicted = model.predict(only(both, *[BLOCKS[name] for name in blocks]), target="b")
        assert table.loc[given, "b"] == pytest.approx(r2(predicted, both[:, BLOCKS["b"]]))
    assert table.isna().sum().tolist() == [2, 0, 1]


def test_too_few_rows_give_nan(toy):
    model, X = toy
    apart = X[:10].copy()
    apart[:6, BLOCKS["a"]] = np.nan
    apart[5:9, BLOCKS["b"]] = np.nan  # the last row alone has both
    table = cross_prediction(model, apart)
    assert np.isnan(table.loc["a", "b"])
    assert np.isnan(table.loc["b", "a"])
    assert np.isfinite(table.loc["a", "c"])
    agreement = posterior_agreement(model, apart)
    assert np.isnan(agreement.loc["a", "b"])
    assert np.isfinite(agreement.loc["a", "c"])


def test_columns_that_do_not_vary_are_left_out(toy):
    model, X = toy
    flat = X[:50].copy()
    flat[:, 3] = 2.0
    table = cross_prediction(model, flat, subsets=["a"])
    predicted = model.predict(only(flat, BLOCKS["a"]), target="b")
    assert table.loc["a", "b"] == pytest.approx(r2(predicted[:, [1]], flat[:, [4]]))
    flat[:, 4] = 1.0
    assert np.isnan(cross_prediction(model, flat, subsets=["a"]).loc["a", "b"])


def test_columns_without_values_at_fit(toy):
    X = toy[1][:, :5].copy()
    X[:, 3] = np.nan
    with pytest.warns(UserWarning, match="without any observed values"):
        model = linear({"a": [0, 1, 2], "b": [3, 4]}, 1).fit(X)
    predicted = model.predict(X, target="b")
    assert predicted.shape == (400, 1)
    table = cross_prediction(model, X)
    assert table.loc["a", "b"] == pytest.approx(r2(predicted, X[:, [4]]))


def test_frames_of_several_kinds(mixed):
    model, X = mixed
    table = cross_prediction(model, X)
    hidden = X.astype({name: object for name in MIXED["second"]})
    hidden[MIXED["second"]] = None
    predicted = model.predict(hidden, target="second")
    scores = [
        r2(predicted[[name]].to_numpy(float), X[[name]].to_numpy(float))
        for name in ("weight", "rank")
    ]
    for name in ("grown", "kind"):
        most = (X[name] != X[name].mode()[0]).mean()
        scores.append(1 - (predicted[name] != X[name]).mean() / most)
    assert table.loc["first", "second"] == pytest.approx(np.mean(scores))
    assert min(scores) > 0.3  # "lab" never varies and counts nothing
    assert table.loc["second", "first"] > 0.3


def test_unseen_levels_count_as_absent(mixed):
    model, X = mixed
    odd, absent = X.copy(), X.copy()
    odd.loc[1000:1009, "kind"] = "never seen"
    absent.loc[1000:1009, "kind"] = None
    with pytest.warns(UserWarning, match="never seen"):
        table = cross_prediction(model, odd)
    assert table.loc["first", "second"] == cross_prediction(model, absent).loc["first", "second"]


def test_mappings_of_blocks():
    X = mixed_frame()
    numbers = np.column_stack([X["weight"], -X["weight"] + 0.1 * X["length"]])
    tables = {"first": X[MIXED["first"]], "array": numbers, "kind": X[["kind"]]}
    model = linear().fit(tables)
    table = cross_prediction(model, tables)
    predicted = model.predict({"first": tables["first"]}, target="array")
    assert table.loc["first", "array"] == pytest.approx(r2(predicted, numbers))
    rest = {name: tables[name] for name in ("first", "array")}
    kind = model.predict(rest, target="kind")["kind"]
    most = (X["kind"] != X["kind"].mode()[0]).mean()
    skill = 1 - (kind != X["kind"]).mean() / most
    assert table.loc["all others", "kind"] == pytest.approx(skill)
    # A block that is left out is absent.
    two = cross_prediction(model, rest)
    assert two["kind"].isna().all()
    assert two.loc["kind"].isna().all()
    assert two.loc["first", "array"] == table.loc["first", "array"]
    agreement = posterior_agreement(model, rest)
    assert np.isnan(agreement.loc["first", "kind"])
    means = [np.hstack(model.posterior({name: rest[name]})) for name in rest]
    assert agreement.loc["first", "array"] == pytest.approx(concordance(*means))


def test_subsets(toy):
    model, X = toy
    X = X[:30]
    usual = cross_prediction(model, X)
    assert list(usual.index) == ["a", "b", "c", "all others"]
    assert usual.index.name == "given"
    assert usual.columns.name == "target"
    assert_array_equal(usual.isna().to_numpy(), np.eye(4, 3, dtype=bool))
    others = cross_prediction(model, X, subsets="others")
    pd.testing.assert_frame_equal(others, usual.loc[["all others"]])
    every = cross_prediction(model, X, subsets="all")
    assert list(every.index) == ["a", "b", "c", "a + b", "a + c", "b + c"]
    pd.testing.assert_frame_equal(every.loc[["a", "b", "c"]], usual.iloc[:3])
    assert every.loc["b + c", "a"] == usual.loc["all others", "a"]
    listed = cross_prediction(model, X, subsets=[("b", "c"), "a"])
    pd.testing.assert_frame_equal(listed, every.loc[["b + c", "a"]])


def test_of_two_blocks_all_others_are_one_alone(single_factor):
    assert list(cross_prediction(*single_factor).index) == ["a", "b"]
    others = cross_prediction(*single_factor, subsets="others").loc["all others"]
    assert others["b"] == cross_prediction(*single_factor).loc["a", "b"]


def test_lists_are_tables(single_factor):
    model, X = single_factor
    pd.testing.assert_frame_equal(cross_prediction(model, X.tolist()), cross_prediction(model, X))


# Agreement ----------------------------------------------------------------------------------------


def concordance(first, second):
    """One minus mean squared distance of own rows by that of all pairs of rows."""
    pairs = ((first[:, None] - second) ** 2).sum(axis=-1)
    return 1 - np.diag(pairs).mean() / pairs.mean()


def test_agreement_is_the_concordance_of_single_posteriors(toy):
    model, X = toy
    X = X[:50].copy()
    X[:10, BLOCKS["a"]] = np.nan
    X[10:15, 3] = np.nan
    X[45:, BLOCKS["b"]] = np.nan
    agreement = posterior_agreement(model, X)
    alone = [np.hstack(model.posterior(only(X[10:45], BLOCKS[name]))) for name in "ab"]
    assert agreement.loc["a", "b"] == pytest.approx(concordance(*alone))
    assert_array_equal(agreement, agreement.T)
    assert_array_equal(np.diag(agreement), 1)
    assert list(agreement.index) == list(agreement.columns) == ["a", "b", "c"]


def test_agreement_follows_from_the_precisions(single_factor):
    # Under the model, means of two experts have variances r = p / (1 + p), covariance r_a r_b.
    model, X = single_factor
    precision = expert_precisions(model)[0].to_numpy()
    r, deviation = precision / (1 + precision), (1 + precision) ** -0.5
    between = r.sum() + (deviation[0] - deviation[1]) ** 2
    agreement = posterior_agreement(model, X).loc["a", "b"]
    assert agreement == pytest.approx(2 * r.prod() / between, abs=0.02)


def test_copies_agree_and_strangers_do_not(toy):
    X = toy[1][:, [0, 1, 2, 0, 1, 2, 5, 6, 7]]
    model = linear({"one": slice(0, 3), "same": slice(3, 6), "other": slice(6, 9)}).fit(X)
    agreement = posterior_agreement(model, X)
    assert agreement.loc["one", "same"] > 0.999
    assert agreement.loc["one", "other"] < 0.01
    moved = X.copy()
    moved[:, 3:6] = moved[::-1, 3:6]  # of other rows
    assert posterior_agreement(model, moved).loc["one", "same"] < 0.2
    opposite = X.copy()
    opposite[:, 3:6] = 2 * X[:, 3:6].mean(axis=0) - X[:, 3:6]
    assert posterior_agreement(model, opposite).loc["one", "same"] == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same = posterior_agreement(model, X[[0, 0, 0]])  # nothing tells these rows apart
    assert np.isnan(same.loc["one", "same"])
    assert same.loc["one", "one"] == 1
