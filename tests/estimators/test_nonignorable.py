"""Imputation of values that are missing because of what they are."""

import copy
import pickle
import warnings
from functools import cache

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from pandas.testing import assert_frame_equal
from scipy.special import expit
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from skvae import VAEImputer

LINEAR = {"hidden_layer_sizes": (), "n_components": 1, "max_iter": 120, "random_state": 0}
MNAR = {**LINEAR, "mechanism": "mnar"}


def numbers(n=250, seed=0):
    """One factor, four columns."""
    rng = np.random.default_rng(seed)
    loadings = np.array([0.9, 0.9, 0.85, 0.85])
    noise = rng.normal(size=(n, 4)) * np.sqrt(1 - loadings**2)
    return pd.DataFrame(rng.normal(size=(n, 1)) * loadings + noise, columns=list("abcd"))


def hide(full, seed=1):
    """Large values of a, and some of c for no reason."""
    rng, X = np.random.default_rng(seed), full.copy()
    X.loc[rng.random(len(X)) < expit(6 * (full["a"] - 0.4)), "a"] = np.nan
    X.loc[rng.random(len(X)) < 0.2, "c"] = np.nan
    return X


FULL = numbers()
X = hide(FULL)
HIDDEN, AT_RANDOM = X["a"].isna(), X["c"].isna()


@pytest.fixture(scope="module")
def fitted():
    """`X` under some parameters."""

    @cache
    def get(*parameters):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return VAEImputer(**{**MNAR, **dict(parameters)}).fit(X)

    return get


@pytest.fixture(scope="module")
def mar(fitted):
    return fitted(("mechanism", "mar"))


@pytest.fixture(scope="module")
def known():
    return VAEImputer(**MNAR, missingness_model={"a": "high"}).fit(X)


@pytest.fixture(scope="module")
def found():
    X = hide(numbers(500, 2), 3)
    with pytest.warns(UserWarning, match=r"\['a'\].*No data can settle.*sensitivity"):
        return X, VAEImputer(**MNAR).fit(X)


# What is filled in ----------------------------------------------------------------------------


def bias(filled, column="a", hidden=HIDDEN):
    return abs((filled[column] - FULL[column])[hidden].mean())


def test_a_known_direction_takes_most_of_the_bias(known, mar):
    before = bias(mar.transform(X))
    assert before > 0.4
    assert bias(known.transform(X)) < 0.35 * before
    draws = known.sample_imputations(X, 20, random_state=0)
    assert np.mean([bias(draw) for draw in draws]) < 0.35 * before


def test_intervals_cover_hidden_values(known, mar):
    def covered(imputer):
        lower, upper = imputer.predict_interval(X, 0.8)
        inside = (lower["a"] <= FULL["a"]) & (FULL["a"] <= upper["a"])
        return inside[HIDDEN].mean()

    assert covered(mar) < 0.6
    assert 0.65 < covered(known) < 0.95


def test_other_columns_stay_as_if_at_random(known, mar):
    own, other = known.transform(X)["c"], mar.transform(X)["c"]
    assert bias(known.transform(X), "c", AT_RANDOM) < 0.15
    assert np.sqrt(((own - other)[AT_RANDOM] ** 2).mean()) < 0.35


def test_the_wrong_direction_goes_the_other_way(fitted, mar):
    wrong = VAEImputer(**MNAR, missingness_model={"a": "low"}).fit(X)
    assert wrong.transform(X)["a"][HIDDEN].mean() < mar.transform(X)["a"][HIDDEN].mean()


def test_found_directions(found):
    table, imputer = found
    report = imputer.missingness_report_
    assert list(report.index) == ["a", "c"]
    assert report.loc["a", ["assumed", "direction", "used"]].tolist() == [
        "self_masking",
        "high",
        True,
    ]
    assert report.loc["a", "verdict"].startswith("hidden values explain the holes")
    assert report.loc["a", "slope"] > 1
    assert -0.5 < report.loc["a", "threshold"] < 1.3
    assert not report.loc["c", "used"]
    assert "No data can settle" in report.attrs["note"]
    full, hidden = numbers(500, 2)["a"], table["a"].isna()
    plain = VAEImputer(**LINEAR).fit_transform(table)["a"]
    filled = imputer.transform(table)["a"]
    assert abs((filled - full)[hidden].mean()) < 0.4 * abs((plain - full)[hidden].mean())


def test_holes_without_a_reason_change_nothing():
    table = FULL.mask(np.random.default_rng(4).random(FULL.shape) < 0.2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        imputer = VAEImputer(**MNAR).fit(table)
    plain = VAEImputer(**LINEAR).fit(table)
    assert not imputer.missingness_report_["used"].any()
    assert_frame_equal(imputer.transform(table), plain.transform(table))
    assert_array_equal(imputer.score_samples(table), plain.score_samples(table))
    for own, other in zip(
        imputer.sample_imputations(table, 2, random_state=0),
        plain.sample_imputations(table, 2, random_state=0),
        strict=True,
    ):
        assert_frame_equal(own, other)


# Censored columns -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def censored():
    """A known limit below, one that is the largest value seen, and one of whole numbers."""
    full = FULL.assign(p=np.exp(FULL["b"]), k=np.round(4 * np.exp(0.5 * FULL["c"])))
    table = full.drop(columns="b")
    table["a"] = table["a"].where(table["a"] <= 0.5)
    table["p"] = table["p"].where(table["p"] >= 0.6)
    table["k"] = table["k"].where(table["k"] >= 3).astype("Int64")
    limits = {"a": ("above", None), "p": ("below", 0.6), "k": ("below", 2.6)}
    kinds = {"p": "positive", "k": "count"}
    imputer = VAEImputer(**MNAR, censored=limits, column_types=kinds, n_estimators=2).fit(table)
    return full, table, imputer


def test_nothing_is_filled_in_on_the_seen_side(censored):
    _, table, imputer = censored
    tables = [
        imputer.transform(table),
        *imputer.predict_interval(table),
        *imputer.sample_imputations(table, 6, random_state=0),
    ]
    for each in tables:
        assert (each["a"][table["a"].isna()] >= table["a"].max()).all()
        assert each["p"][table["p"].isna()].between(0, 0.6, inclusive="right").all()
        assert each["k"][table["k"].isna()].isin([0, 1, 2]).all()
        assert each["k"].dtype == "Int64"


def test_limits_are_reported_and_the_bias_is_small(censored):
    full, table, imputer = censored
    report = imputer.missingness_report_
    assert (report["assumed"] == "censored").all()
    assert report["threshold"].tolist() == [table["a"].max(), 0.6, 2.6]
    assert report["direction"].tolist() == ["high", "low", "low"]
    assert np.isinf(report["slope"].astype(float)).all()
    assert report["used"].all()
    filled = imputer.transform(table)
    hidden = table["a"].isna()
    assert abs((filled["a"] - full["a"])[hidden].mean()) < 0.25


# Kinds of columns -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mixed():
    rng = np.random.default_rng(0)
    z = rng.normal(size=250)

    def near():
        return z + 0.4 * rng.normal(size=250)

    full = pd.DataFrame(
        {
            "x": near(),
            "p": np.exp(near()),
            "k": pd.array(rng.poisson(np.exp(1 + 0.5 * z)), dtype="Int64"),
            "t": pd.array(near() > 0, dtype="boolean"),
            "o": pd.Categorical.from_codes(
                np.digitize(near(), [-0.5, 0.5]), ["lo", "mid", "hi"], ordered=True
            ),
            "s": pd.array(np.array(["u", "v", "w"])[np.digitize(near(), [-0.5, 0.5])]),
            "w": pd.array(np.where(near() > 0, "yes", "no")),
            "seen": near(),
        }
    )
    rank = pd.DataFrame({c: pd.factorize(full[c], sort=True)[0] for c in full})
    odds = expit(3 * (rank - rank.quantile(0.6)) / rank.std() - 0.5)
    odds["seen"] = 0
    table = full.mask(rng.random(full.shape) < odds)
    laws = dict.fromkeys("xpkto", "high") | dict.fromkeys("sw", "self_masking")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kinds = {"p": "positive"}
        imputer = VAEImputer(**MNAR, missingness_model=laws, column_types=kinds).fit(table)
    return full, table, imputer


def test_all_kinds_hide_themselves(mixed):
    full, table, imputer = mixed
    report = imputer.missingness_report_
    assert list(report.index) == list("xpktosw")
    assert report.loc[list("xpkto"), "used"].all()
    assert report.loc["s", "direction"] == ""
    assert np.isnan(report.loc["s", "threshold"])
    assert report.loc["w", "direction"] in ("yes", "no")
    lower, upper = imputer.predict_interval(table)
    tables = [imputer.transform(table), lower, upper]
    tables += imputer.sample_imputations(table, 2, random_state=0)
    for each in tables:
        assert not each.isna().any(axis=None)
        assert_frame_equal(each.mask(table.isna()), table)
        assert (each["p"] > 0).all()
        assert (each["k"] >= 0).all()
        assert (each.dtypes == table.dtypes).all()
    assert (lower["x"] <= upper["x"]).all()
    filled = tables[0]
    plain = VAEImputer(**LINEAR, column_types={"p": "positive"}).fit_transform(table)
    for name in "xk":
        hidden = table[name].isna()
        assert filled[name][hidden].mean() > plain[name][hidden].mean()
    hidden = table["t"].isna()
    draws = imputer.sample_imputations(table, 10, random_state=0)
    drawn = np.mean([draw["t"][hidden].astype(float).mean() for draw in draws])
    assert abs(drawn - full["t"][hidden].astype(float).mean()) < 0.2


def test_other_laws_fill_too(fitted):
    for law in ("fully_connected", "network", "latent"):
        imputer = fitted(("missingness_model", law))
        report = imputer.missingness_report_
        assert list(report["assumed"]) == [law, law]
        assert (report["direction"] == "").all()
        assert report[["slope", "threshold"]].isna().all(axis=None)
        assert np.isfinite(imputer.transform(X)).all(axis=None)
        assert np.isfinite(imputer.score(X))


# Promises of any imputer ----------------------------------------------------------------------


def test_scores_include_the_mask(known, mar):
    scores = known.score_samples(X)
    assert scores.dtype == np.float64
    assert np.isfinite(scores).all()
    assert np.abs(scores - mar.score_samples(X)).max() > 0.5
    assert known.score(X) == pytest.approx(scores.mean())
    # A hole where values are small is a surprise, one where they are large is none.
    rows = pd.DataFrame({"a": np.nan, "b": [-1.5, 1.5], "c": [-1.5, 1.5], "d": [-1.5, 1.5]})
    shown = rows.assign(a=rows["b"])
    low, high = known.score_samples(rows) - known.score_samples(shown)
    assert high > low + 2


def test_rows_do_not_depend_on_each_other(known):
    order = np.random.default_rng(0).permutation(len(X))
    some = X.iloc[order]
    assert_allclose(known.score_samples(some), known.score_samples(X)[order], rtol=1e-5)
    assert_allclose(known.transform(some), known.transform(X).iloc[order], atol=1e-4)
    assert_allclose(known.transform(X.head(3)), known.transform(X).head(3), atol=1e-4)
    for few, all_ in zip(known.predict_interval(X.head(3)), known.predict_interval(X), strict=True):
        assert_allclose(few, all_.head(3), atol=1e-3)
    one, again = (known.sample_imputations(X, 1, random_state=0)[0] for _ in range(2))
    assert_frame_equal(one, again)
    assert_frame_equal(one.mask(X.isna()), X)


def test_copies_and_refits_say_the_same(known):
    expected = known.transform(X)
    for twin in (copy.deepcopy(known), pickle.loads(pickle.dumps(known)), clone(known).fit(X)):
        assert_frame_equal(twin.transform(X), expected)
        assert_array_equal(twin.score_samples(X), known.score_samples(X))
        assert_frame_equal(twin.missingness_report_, known.missingness_report_)


def test_another_fit_forgets_the_report(known):
    twin = copy.deepcopy(known).set_params(mechanism="mar", missingness_model=None)
    assert not hasattr(twin.fit(X), "missingness_report_")


def test_output_containers(known):
    array = VAEImputer(**MNAR, missingness_model={0: "high"}).fit(X.to_numpy())
    assert isinstance(array.transform(X.to_numpy()), np.ndarray)
    assert_allclose(array.transform(X.to_numpy()), known.transform(X), atol=1e-5)
    assert list(array.missingness_report_.index) == [0]
    frame = copy.deepcopy(array).set_output(transform="pandas").transform(X.to_numpy())
    assert isinstance(frame, pd.DataFrame)


def test_rows_and_holes_that_fit_did_not_see(known):
    assert_frame_equal(known.transform(FULL), FULL)
    new = FULL.head(20).assign(b=np.nan)
    filled = known.transform(new)
    assert np.isfinite(filled).all(axis=None)
    assert np.corrcoef(filled["b"], FULL["b"].head(20))[0, 1] > 0.5
    empty = FULL.head(2).assign(a=np.nan, b=np.nan, c=np.nan, d=np.nan)
    assert np.isfinite(known.transform(empty)).all(axis=None)
    assert np.isfinite(known.score_samples(empty)).all()


def test_several_models(mar):
    several = VAEImputer(**MNAR, missingness_model={"a": "high"}, n_estimators=2).fit(X)
    draws = several.sample_imputations(X, 10, random_state=0)
    assert np.mean([bias(draw) for draw in draws]) < 0.4 * bias(mar.transform(X))
    assert np.std([draw["a"].mean() for draw in draws]) > 0


def test_rows_of_no_weight_are_not_there(known):
    more = pd.concat([X, X.head(50) + 7], ignore_index=True)
    weight = np.r_[np.ones(len(X)), np.zeros(50)]
    weighted = clone(known).fit(more, sample_weight=weight)
    assert_frame_equal(weighted.transform(X), known.transform(X))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_grid_search_over_mechanisms():
    search = GridSearchCV(VAEImputer(**LINEAR), {"mechanism": ["mar", "mnar"]}, cv=2)
    search.fit(X)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert np.isfinite(search.best_estimator_.transform(X)).all(axis=None)
