"""Draws from models of resampled rows."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_iris

from skvae import VAEImputer
from skvae.datasets import ampute
from skvae.estimators._bootstrap import bootstrap_counts


def linear(**options):
    return VAEImputer(hidden_layer_sizes=(), random_state=0, **options)


@pytest.fixture(scope="module")
def table():
    random = np.random.default_rng(0)
    X = random.normal(size=(40, 2)) @ random.normal(size=(2, 4)) + random.normal(size=(40, 4))
    return ampute(X, rate=0.3, random_state=0)


def test_counts_are_those_of_rows_drawn_with_replacement():
    random = np.random.RandomState(0)
    values, observed = random.randn(50, 2), np.ones((50, 2), dtype=bool)
    drawn = np.array([bootstrap_counts(values, observed, random) for _ in range(400)])
    assert (drawn.sum(axis=1) == 50).all()
    assert drawn.var() == pytest.approx(1 - 1 / 50, abs=0.05)
    assert (drawn == 0).mean() == pytest.approx((1 - 1 / 50) ** 50, abs=0.02)


def test_columns_that_vary_vary_in_every_sample():
    values = np.column_stack([np.arange(30.0), np.arange(30) < 2, np.zeros(30)])
    observed, random = np.ones((30, 3), dtype=bool), np.random.RandomState(0)
    for _ in range(50):
        counts = bootstrap_counts(values, observed, random)
        assert counts[:2].sum() > 0


def test_what_transform_gives_is_that_of_all_rows(table):
    one, many = linear().fit(table), linear(n_estimators=3).fit(table)
    np.testing.assert_array_equal(one.transform(table), many.transform(table))
    np.testing.assert_array_equal(one.score_samples(table), many.score_samples(table))


def test_draws_differ_by_the_model_too(table):
    # What a column's mean might be, to which every hole's own noise adds less.
    spread = []
    for n_estimators in (1, 40):
        imputer = linear(n_estimators=n_estimators).fit(table)
        draws = imputer.sample_imputations(table, 200, random_state=0)
        spread.append(np.var([draw.mean(axis=0) for draw in draws], axis=0).mean())
    assert spread[1] > 1.2 * spread[0]


def test_draws_cover_what_was_hidden():
    X = load_breast_cancer().data
    holed = ampute(X, rate=0.3, random_state=0)
    hidden = np.isnan(holed)
    draws = np.array(linear(n_estimators=10).fit(holed).sample_imputations(holed, 20))[:, hidden]
    low, high = draws.min(axis=0), draws.max(axis=0)  # of 20: 19 in 21 lie between
    assert 0.87 < ((low < X[hidden]) & (X[hidden] < high)).mean() < 0.96


def test_constant_columns_alone():
    X = np.full((20, 2), 3.0)
    X[0, 0] = np.nan
    assert linear(n_estimators=2).fit(X).sample_imputations(X, 2)[1][0, 0] == 3.0


@pytest.mark.parametrize("n_draws", [1, 2, 7])
def test_any_number_of_draws(table, n_draws):
    imputer = pickle.loads(pickle.dumps(linear(n_estimators=3).fit(table)))
    draws = imputer.sample_imputations(table, n_draws, random_state=0)
    again = imputer.sample_imputations(table, n_draws, random_state=0)
    assert len(draws) == n_draws
    for draw, same in zip(draws, again, strict=True):
        np.testing.assert_array_equal(draw, same)
        assert not np.isnan(draw).any()
        np.testing.assert_array_equal(draw[~np.isnan(table)], table[~np.isnan(table)])


def test_frames_with_categories_and_weights():
    frame = load_iris(as_frame=True).frame
    frame["target"] = pd.Categorical(frame["target"].map({0: "a", 1: "b", 2: "c"}))
    holed = ampute(frame, rate=0.2, random_state=0)
    weight = np.ones(150)
    weight[:30] = 0
    imputer = linear(n_estimators=2).fit(holed, sample_weight=weight)
    draws = imputer.sample_imputations(holed, 3, random_state=0)
    assert all(draw.dtypes.equals(frame.dtypes) for draw in draws)
    assert not any(draw.isna().to_numpy().any() for draw in draws)


def test_many_columns_of_which_few_rows_tell():
    X = np.full((60, 31), np.nan)
    X[:, 0] = np.arange(60)
    for j in range(30):
        X[2 * j : 2 * j + 2, j + 1] = [0.0, 1.0]
    draws = linear(n_estimators=2).fit(X).sample_imputations(X, 2, random_state=0)
    assert not np.isnan(draws).any()


@pytest.mark.parametrize("n_estimators", [0, -1, 1.5, "two"])
def test_numbers_of_models_are_positive(table, n_estimators):
    with pytest.raises(ValueError, match="n_estimators"):
        linear(n_estimators=n_estimators).fit(table)
