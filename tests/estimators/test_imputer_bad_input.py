"""Odd tables and wrong arguments: a clear error that names its cause, or a sensible result."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.exceptions import NotFittedError

from skvae import VAEImputer

SETTINGS = [
    {"hidden_layer_sizes": (16,), "max_iter": 20, "random_state": 0},
    {"hidden_layer_sizes": (), "random_state": 0},
]
FAST = SETTINGS[1]
rng = np.random.default_rng(0)
COMPLETE = rng.normal(size=(80, 4)) @ rng.normal(size=(4, 4))
HOLES = np.where(rng.random(COMPLETE.shape) < 0.2, np.nan, COMPLETE)


def numbers(table):
    return pd.DataFrame(table).select_dtypes("number").to_numpy(dtype=float)


def check_everything(X, new=None, sample_weight=None, **parameters):
    """Fit, then hold every output to what is promised of it; returns the filled tables."""
    new = X if new is None else new
    filled = []
    for settings in SETTINGS:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # overflow and friends included
            warnings.filterwarnings("ignore", message="Skipping features")
            warnings.filterwarnings("ignore", message="Column .* interquartile ranges")
            imputer = VAEImputer(**settings, **parameters).fit(X, sample_weight=sample_weight)
            table = imputer.transform(new)
            lower, upper = imputer.predict_interval(new)
            draws = imputer.sample_imputations(new, 3, random_state=0)
            scores = imputer.score_samples(new)
        for each in (table, lower, upper, *draws):
            assert len(each) == len(new)
            assert not pd.DataFrame(each).isna().any(axis=None)
            assert np.isfinite(numbers(each)).all()
        assert (numbers(lower) <= numbers(table)).all()
        assert (numbers(table) <= numbers(upper)).all()
        assert np.isfinite(scores).all()
        assert scores.shape == (len(new),)
        filled.append(table)
    return filled


# Tables that are odd but usable ---------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_few_rows(n):
    check_everything(COMPLETE[:n])
    some = COMPLETE[:n].copy()
    some[0, 1] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for settings in SETTINGS:
            filled = VAEImputer(**settings).fit_transform(some)
            assert np.isfinite(filled).all()


def test_few_rows_fill_new_ones():
    check_everything(COMPLETE[:3], new=HOLES)


@pytest.mark.parametrize("X", [COMPLETE[:, :1], HOLES[:, :1]], ids=["complete", "holes"])
def test_one_column(X):
    for filled in check_everything(X):
        hole = np.isnan(X)
        assert (np.abs(filled[hole] - np.nanmean(X)) < 0.5 * np.nanstd(X)).all()


def test_one_categorical_column():
    X = pd.DataFrame({"c": ["a", "b", "a", None, "a", "a"] * 8})
    for filled in check_everything(X):
        assert (filled["c"][X["c"].isna()] == "a").all()


def test_one_boolean_column():
    X = pd.DataFrame({"b": pd.array([True, False, True, None, True] * 8, dtype="boolean")})
    for filled in check_everything(X):
        assert filled["b"].dtype == "boolean"
        assert filled["b"][X["b"].isna()].all()


def test_fewer_rows_than_a_batch():
    check_everything(HOLES[:30], batch_size=1000)
    check_everything(HOLES[:30], batch_size=1)


def test_constant_columns():
    X = HOLES.copy()
    X[:, 1] = np.where(np.isnan(HOLES[:, 1]), np.nan, 7.0)
    for filled in check_everything(X):
        np.testing.assert_array_equal(filled[:, 1], 7.0)
    only = pd.DataFrame({"a": [3, None, 3], "b": ["x", "x", None]}).astype({"a": "Int64"})
    for filled in check_everything(only):
        assert (filled["a"] == 3).all()
        assert (filled["b"] == "x").all()


def test_absent_columns():
    X = HOLES.copy()
    X[:, 2] = np.nan
    assert all(filled.shape == (80, 3) for filled in check_everything(X))
    assert all(filled.shape == (80, 4) for filled in check_everything(X, keep_empty_features=True))
    check_everything(HOLES, new=X)
    for filled in check_everything(X, new=HOLES, keep_empty_features=True):
        seen = ~np.isnan(HOLES)
        np.testing.assert_array_equal(filled[seen], HOLES[seen])


def test_empty_rows():
    X = HOLES.copy()
    X[:5] = np.nan
    for filled in check_everything(X):
        assert (np.abs(filled[:5] - np.nanmean(X, axis=0)) < np.nanstd(X, axis=0)).all()


@pytest.mark.parametrize("scale", [1e12, 1e-12, 1e300, 1e-300, 1e40, 1e307])
def test_scale_does_not_matter(scale):
    for filled, plain in zip(check_everything(HOLES * scale), check_everything(HOLES), strict=True):
        np.testing.assert_allclose(filled / scale, plain, rtol=1e-3, atol=1e-3)


def test_offset_does_not_matter():
    for filled, plain in zip(check_everything(HOLES + 1e9), check_everything(HOLES), strict=True):
        np.testing.assert_allclose(filled - 1e9, plain, rtol=1e-2, atol=1e-2)
    check_everything(10 * HOLES + 1e16)
    check_everything(HOLES * 1e287 + 1e300)


@pytest.mark.parametrize("value", [1e12, 1e300, -1e300])
def test_one_wild_value_at_fit(value):
    X = HOLES.copy()
    X[3, 0] = value
    check_everything(X)


@pytest.mark.parametrize("likelihood", [None, {"continuous": "student_t"}])
def test_heavy_tails(likelihood):
    X = np.random.default_rng(1).standard_cauchy((150, 4))
    check_everything(
        np.where(np.random.default_rng(2).random(X.shape) < 0.2, np.nan, X), likelihood=likelihood
    )


@pytest.mark.parametrize("likelihood", [None, {"continuous": "student_t"}])
@pytest.mark.parametrize("value", [1e5, 1e12])
def test_one_wild_value_at_transform(value, likelihood):
    new = HOLES[:10].copy()
    new[0] = [value, np.nan, np.nan, 1.0]
    check_everything(HOLES, new=new, likelihood=likelihood)
    positive = dict.fromkeys(range(4), "positive")
    check_everything(np.exp(HOLES), new=np.exp(new.clip(max=25)), column_types=positive)


@pytest.mark.parametrize("value", [1e30, 1e300, -1e300])
def test_values_beyond_single_precision_at_transform(value):
    imputer = VAEImputer(**FAST).fit(pd.DataFrame(HOLES, columns=list("abcd")))
    new = pd.DataFrame([[0.0, np.nan, value, 1.0]], columns=list("abcd"))
    for method in ("transform", "predict_interval", "score_samples", "sample_imputations"):
        with pytest.raises(ValueError, match=r"Column 'c' holds -?1e\+\d+.*make it absent"):
            getattr(imputer, method)(new)


def test_positive_columns_over_too_many_decades():
    X = pd.DataFrame({"p": np.logspace(-60, 60, 50), "x": np.arange(50.0)})
    with pytest.raises(ValueError, match=r"Column 'p' holds 1e-60.*logarithm"):
        VAEImputer(column_types={"p": "positive"}, **FAST).fit(X)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12, 1e280])
def test_positive_columns_stay_positive(scale):
    kinds = dict.fromkeys(range(4), "positive")
    for filled in check_everything(np.exp(2 * HOLES) * scale, column_types=kinds):
        assert (filled > 0).all()


@pytest.mark.parametrize("high", [10**12, 2**62])
def test_large_counts(high):
    X = pd.DataFrame(np.random.default_rng(0).integers(0, high, size=(60, 3))).astype("Int64")
    X = X.mask(np.random.default_rng(1).random(X.shape) < 0.2)
    check_everything(X)
    small = X.map(lambda x: x % 5)
    check_everything(small, new=X)


def test_duplicate_columns():
    for filled in check_everything(np.hstack([COMPLETE, HOLES])):
        error = (filled[:, 4:] - COMPLETE)[np.isnan(HOLES)]
        assert np.sqrt((error**2).mean()) < 0.5 * COMPLETE.std()
    check_everything(np.hstack([HOLES, HOLES, HOLES]))


def test_more_columns_than_rows():
    check_everything(HOLES.T)
    check_everything(HOLES[:48].reshape(8, 24))


def test_zero_inflated():
    X = np.where(np.random.default_rng(0).random((120, 4)) < 0.8, 0.0, np.abs(HOLES[:1]))
    check_everything(np.where(np.random.default_rng(1).random(X.shape) < 0.2, np.nan, X))
    counts = pd.DataFrame(X).fillna(0).round().astype("Int64")
    counts = counts.mask(np.random.default_rng(1).random(X.shape) < 0.2)
    check_everything(counts)
    check_everything(counts, likelihood={"count": "poisson"})


def test_infinity_as_the_sentinel():
    X = np.where(np.isnan(HOLES), np.inf, HOLES)
    check_everything(X, missing_values=np.inf)


# Tables that are refused ----------------------------------------------------------------------

MIXED = pd.DataFrame({"bad": [1, "a", 2.5] * 5, "x": range(15)})
TIMES = pd.DataFrame({"bad": pd.date_range("2020", periods=15), "x": range(15)})
COMPLEX = pd.DataFrame({"bad": [1j] * 15, "x": range(15)})
INFINITE = pd.DataFrame({"bad": [np.inf, *range(14)], "x": range(15)})
EMPTY = pd.DataFrame({"bad": [np.nan] * 5, "x": [np.nan] * 5})
TWICE = pd.DataFrame(HOLES, columns=["bad", "bad", "x", "y"])


@pytest.mark.parametrize(
    ("X", "error", "words"),
    [
        (INFINITE, ValueError, r"infinity.*\['bad'\].*X\.replace"),
        (np.where(HOLES > 3, np.inf, HOLES), ValueError, r"infinity.*column\(s\) \[\d"),
        (COMPLEX, TypeError, r"'bad' holds complex numbers.*two columns"),
        (HOLES + 1j, ValueError, "Complex data not supported"),
        (HOLES[:, 0], ValueError, "Expected 2D array, got 1D array"),
        (pd.Series(HOLES[:, 0]), ValueError, "(?i)2D array|2-dimensional container"),
        (HOLES[None], ValueError, "dim 3|3 dim|2D"),
        (HOLES[:0], ValueError, r"0 sample\(s\)"),
        (HOLES[:, :0], ValueError, r"0 feature\(s\)"),
        (MIXED.head(0), ValueError, r"0 sample\(s\)"),
        (MIXED, TypeError, r"'bad'.*mixes.*pd\.to_numeric"),
        (TIMES, TypeError, r"'bad' holds times.*days since"),
        (TWICE, ValueError, r"duplicate column names: \['bad'\]"),
        (EMPTY, ValueError, r"No column of X has an observed value: \['bad', 'x'\]"),
        (np.full((3, 2), np.nan), ValueError, "No column of X has an observed value"),
        (sparse.csr_matrix(np.eye(5)), TypeError, "(?i)sparse"),
        ("table", FileNotFoundError, "no file or folder 'table'"),
        (None, ValueError, "(?i)2D array|None"),
    ],
)
def test_refused_tables(X, error, words):
    with pytest.raises(error, match=f"(?s){words}"):
        VAEImputer(**FAST).fit(X)


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_another_table_at_transform():
    frame = pd.DataFrame(HOLES, columns=list("abcd"))
    imputer = VAEImputer(**FAST).fit(frame)
    for method in ("transform", "predict_interval", "score_samples", "sample_imputations", "score"):
        call = getattr(imputer, method)
        with pytest.raises(ValueError, match="feature names should match"):
            call(frame.rename(columns={"a": "z"}))
        with pytest.raises(ValueError, match="same order"):
            call(frame[list("dcba")])
        with pytest.raises(ValueError, match="Feature names seen at fit time, yet now missing"):
            call(frame[list("abc")])
        with pytest.raises(ValueError, match=r"3 features.*expecting 4"):
            call(HOLES[:, :3])
        with pytest.raises(TypeError, match="'b' held numbers at fit but holds text now"):
            call(frame.assign(b="x"))
        with pytest.raises(ValueError, match=r"infinity.*\['b'\]"):
            call(frame.assign(b=np.inf))


@pytest.mark.parametrize(
    "method", ["transform", "predict_interval", "score_samples", "sample_imputations", "score"]
)
def test_before_fit(method):
    with pytest.raises(NotFittedError, match="not fitted yet"):
        getattr(VAEImputer(), method)(HOLES)
    with pytest.raises(NotFittedError):
        VAEImputer().get_feature_names_out()


# Arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weight", "words"),
    [
        (np.ones(79), r"sample_weight.shape == \(79,\), expected \(80,\)"),
        (np.ones((80, 1)), "1D array"),
        (np.full(80, np.nan), "sample_weight contains NaN"),
        (np.full(80, np.inf), "sample_weight contains infinity"),
        (-np.ones(80), "sample_weight must be non-negative"),
        (np.zeros(80), "at least one non-zero|not zero everywhere"),
    ],
)
def test_bad_weights(weight, words):
    with pytest.raises(ValueError, match=words):
        VAEImputer(**FAST).fit(HOLES, sample_weight=weight)


def test_weights_of_zero_that_empty_a_column():
    X = pd.DataFrame(HOLES, columns=list("abcd"))
    weight = (np.arange(80) >= 5).astype(float)
    X.loc[5:, "c"] = np.nan
    with pytest.warns(UserWarning, match=r"without any observed values: \['c'\]"):
        filled = VAEImputer(**FAST).fit(X, sample_weight=weight).transform(X)
    assert list(filled.columns) == list("abd")
    X.loc[5:, "c"] = 1.0
    check_everything(X, sample_weight=weight)
    check_everything(HOLES, sample_weight=np.where(weight > 0, 1.0, 1e-300))


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"n_components": 0}, r"'n_components'.*'auto'.*\[1, inf\)"),
        ({"n_components": "all"}, "'n_components'.*'auto'"),
        ({"hidden_layer_sizes": "wide"}, "'hidden_layer_sizes'.*array-like"),
        ({"missing_values": ["?", "NA"]}, "missing_values must be one value.*replace"),
        ({"hidden_layer_sizes": (0,)}, r"hidden_layer_sizes must be positive integers.*\(0,\)"),
        ({"hidden_layer_sizes": (2.5,)}, "hidden_layer_sizes must be positive integers"),
        ({"n_importance_samples": 0}, "'n_importance_samples'"),
        ({"beta": -1}, "'beta'"),
        ({"column_types": ["positive"]}, "'column_types'.*dict"),
        ({"column_types": {"zz": "positive"}}, "unknown column 'zz'; X has: 0, 1, 2, 3"),
        ({"column_types": {0: "real"}}, "column 0 the unknown kind 'real'.*continuous, positive"),
        ({"column_types": {0: "positive"}}, "Column 0 is of kind 'positive'.*greater than 0"),
        ({"column_types": {0: "count"}}, "Column 0 is of kind 'count'.*whole numbers"),
        ({"column_types": {0: "binary"}}, "Column 0 is declared 'binary' but holds"),
        ({"likelihood": "student_t"}, "'likelihood'.*dict"),
        ({"likelihood": {"continuous": "cauchy"}}, "'cauchy'.*'heteroscedastic', 'student_t'"),
        ({"likelihood": {"count": ["poisson"]}}, "likelihood.*'negative_binomial', 'poisson'"),
        ({"likelihood": {"numbers": "gaussian"}}, "'numbers'.*choose among"),
        ({"max_categories": 1}, "'max_categories'"),
        ({"alpha": -1}, "'alpha'"),
        ({"alpha": "strong"}, "'alpha'"),
        ({"alpha": []}, "alpha must be one or several numbers >= 0"),
        ({"alpha": ["strong"]}, "alpha must be one or several numbers >= 0"),
        ({"alpha": [0.1, np.nan]}, "alpha must be one or several numbers >= 0"),
        ({"max_iter": -1}, "'max_iter'.*'auto'"),
        ({"batch_size": 0}, "'batch_size'"),
        ({"learning_rate_init": 0}, "'learning_rate_init'"),
        ({"early_stopping": "no"}, "'early_stopping'"),
        ({"validation_fraction": 0.9}, "'validation_fraction'"),
        ({"n_iter_no_change": 0}, "'n_iter_no_change'"),
        ({"tol": -1}, "'tol'"),
        ({"random_state": "a"}, "'random_state'"),
        ({"add_indicator": "yes"}, "'add_indicator'"),
        ({"keep_empty_features": 2}, "'keep_empty_features'"),
        ({"sample_posterior": 2}, "'sample_posterior'"),
    ],
)
def test_bad_parameters(parameters, words):
    with pytest.raises(ValueError, match=words):
        VAEImputer(**{**FAST, **parameters}).fit(HOLES)


@pytest.mark.parametrize(
    "parameters",
    [
        {"alpha": 0},
        {"alpha": (0.1, 0.3, 1.0)},
        {"beta": 0},
        {"max_iter": 0},
        {"max_iter": 1},
        {"batch_size": 1},
        {"learning_rate_init": 100.0},
        {"n_components": 50},
        {"n_importance_samples": 1},
        {"early_stopping": False},
        {"validation_fraction": 0.49},
        {"random_state": np.random.RandomState(0)},
        {"tol": 1e6},
    ],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_extreme_parameters_still_fill(parameters):
    filled = VAEImputer(**{**SETTINGS[0], **parameters}).fit_transform(HOLES)
    assert np.isfinite(filled).all()
    assert np.abs(filled).max() < 3 * np.nanmax(np.abs(HOLES))


def test_numbers_between_the_largest_there_are():
    ends = np.finfo(float).max * np.array([[-1.0, 1.0, 0.0]] * 27).reshape(-1, 1)[:80]
    X = np.hstack([np.where(np.isnan(HOLES[:, :1]), np.nan, ends), HOLES[:, 1:]])
    check_everything(X)
