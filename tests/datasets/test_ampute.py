"""What each mechanism of `ampute` promises about the holes it makes."""

import numpy as np
import pandas as pd
import polars
import pytest
from numpy.testing import assert_array_equal
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from skvae.datasets import ampute

MECHANISMS = ("mcar", "mar", "mnar")


@pytest.fixture
def correlated():
    """5000 rows, six columns that share one factor."""
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(5000, 1))
    return 3.0 + 10.0 * (factor + rng.normal(size=(5000, 6)))


def mixed_frame(n_rows=400):
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "float": rng.normal(size=n_rows),
            "float32": rng.normal(size=n_rows).astype(np.float32),
            "int": rng.integers(0, 50, n_rows),
            "bool": rng.random(n_rows) < 0.5,
            "Int64": pd.array(rng.integers(0, 9, n_rows), dtype="Int64"),
            "boolean": pd.array(rng.random(n_rows) < 0.5, dtype="boolean"),
            "string": pd.array(rng.choice(["a", "b"], n_rows), dtype="string"),
            "category": pd.Categorical(rng.choice(["x", "y", "z"], n_rows)),
            "ordered": pd.Categorical(
                rng.choice(["low", "mid", "high"], n_rows), ["low", "mid", "high"], ordered=True
            ),
            "object": np.array(["p", "q", 7], dtype=object)[rng.integers(0, 3, n_rows)],
        },
        index=[f"row{i}" for i in range(n_rows)],
    )


# ------------------------------------------------------------------------------------- the rate


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("rate", [0.05, 0.3, 0.6])
def test_realised_rate_is_close_to_the_asked_one(correlated, mechanism, rate):
    hidden = np.isnan(ampute(correlated, mechanism, rate=rate, random_state=0))
    losing = hidden.any(axis=0)
    assert losing.sum() == (4 if mechanism == "mar" else 6)
    # Five binomial standard deviations, per column and over all columns.
    deviation = np.sqrt(rate * (1 - rate) / len(correlated))
    np.testing.assert_allclose(hidden[:, losing].mean(axis=0), rate, atol=5 * deviation)
    np.testing.assert_allclose(
        hidden[:, losing].mean(), rate, atol=5 * deviation / np.sqrt(losing.sum())
    )


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_rate_is_kept_on_heavy_tails_and_odd_scales(mechanism):
    rng = np.random.default_rng(0)
    X = rng.standard_cauchy(size=(4000, 4)) ** 3 * np.array([1e-200, 1e-12, 1.0, 1e150])
    hidden = np.isnan(ampute(X, mechanism, rate=0.3, random_state=0))
    np.testing.assert_allclose(hidden[:, hidden.any(axis=0)].mean(), 0.3, atol=0.03)


def test_rate_is_a_share_of_the_entries_still_observed(correlated):
    holes = np.random.default_rng(3).random(correlated.shape) < 0.4
    X = np.where(holes, np.nan, correlated)
    amputed = ampute(X, rate=0.25, random_state=0)
    assert np.isnan(amputed)[holes].all()
    np.testing.assert_allclose(np.isnan(amputed)[~holes].mean(), 0.25, atol=0.02)


def test_entries_that_stay_are_unchanged_and_the_input_too(correlated):
    before = correlated.copy()
    amputed = ampute(correlated, "mnar", random_state=0)
    assert_array_equal(correlated, before)
    kept = ~np.isnan(amputed)
    assert_array_equal(amputed[kept], correlated[kept])


# -------------------------------------------------------------------------------- the mechanisms


def hidden_minus_observed_mean(values, hidden):
    """Difference of means in standard errors."""
    a, b = values[hidden], values[~hidden]
    return (a.mean() - b.mean()) / np.sqrt(a.var() / len(a) + b.var() / len(b))


def test_mcar_holes_do_not_depend_on_any_value(correlated):
    hidden = np.isnan(ampute(correlated, "mcar", random_state=0))
    for j in range(6):
        for k in range(6):
            assert abs(hidden_minus_observed_mean(correlated[:, k], hidden[:, j])) < 4


def test_mar_holes_depend_on_drivers_and_given_them_not_on_the_own_value(correlated):
    hidden = np.isnan(ampute(correlated, "mar", strength=2.0, random_state=0))
    drivers = ~hidden.any(axis=0)
    assert drivers.sum() == 2
    Z = (correlated - correlated.mean(axis=0)) / correlated.std(axis=0)
    for j in np.flatnonzero(~drivers):
        features = np.column_stack([Z[:, drivers], Z[:, j]])
        model = LogisticRegression(C=np.inf).fit(features, hidden[:, j])
        p = model.predict_proba(features)[:, 1]
        information = (features * (p * (1 - p))[:, None]).T @ features
        wald = model.coef_[0] / np.sqrt(np.diag(np.linalg.inv(information)))
        assert np.abs(wald[:2]).max() > 10
        assert abs(wald[2]) < 4
        # The log-odds have the standard deviation that was asked for.
        log_odds = features[:, :2] @ model.coef_[0, :2]
        np.testing.assert_allclose(log_odds.std(), 2.0, rtol=0.15)


def test_mnar_hidden_values_differ_from_observed_ones_with_both_signs(correlated):
    X = np.hstack([correlated, correlated[::-1]])
    hidden = np.isnan(ampute(X, "mnar", random_state=0))
    scores = [hidden_minus_observed_mean(X[:, j], hidden[:, j]) for j in range(X.shape[1])]
    assert np.abs(scores).min() > 20
    assert min(scores) < 0 < max(scores)


def test_stronger_mnar_is_further_from_chance(correlated):
    def distance(strength):
        hidden = np.isnan(ampute(correlated, "mnar", strength=strength, random_state=0))
        return abs(hidden_minus_observed_mean(correlated[:, 0], hidden[:, 0]))

    assert distance(0.0) < 4 < distance(0.5) < distance(2.0) < distance(8.0)


def test_mnar_on_ordered_categories_follows_their_order():
    levels = ["small", "medium", "large"]
    sizes = pd.Categorical(np.repeat(levels, 1000), categories=levels, ordered=True)
    shares = ampute(pd.DataFrame({"size": sizes}), "mnar", random_state=0)["size"].isna()
    small, medium, large = (shares[sizes == level].mean() for level in levels)
    assert min(small, large) < medium < max(small, large)


def test_mar_drivers_may_be_categories_strings_and_have_holes():
    rng = np.random.default_rng(0)
    group = np.where(rng.random(4000) < 0.5, "left", "right").astype(object)
    frame = pd.DataFrame({"group": group, "value": rng.normal(size=4000)})
    frame.loc[:99, "group"] = None
    amputed = ampute(frame, "mar", columns=["value"], random_state=0)
    rates = amputed["value"].isna().groupby(frame["group"]).mean()
    assert abs(rates["left"] - rates["right"]) > 0.2
    assert_array_equal(amputed["group"].isna(), frame["group"].isna())


def test_columns_confine_the_holes(correlated):
    hidden = np.isnan(ampute(correlated, "mnar", columns=[1, 4], random_state=0))
    assert_array_equal(np.flatnonzero(hidden.any(axis=0)), [1, 4])


# -------------------------------------------------------------------- nothing is wholly hidden


@pytest.mark.parametrize("mechanism", ["mcar", "mnar"])
@pytest.mark.parametrize(("n_features", "rate"), [(2, 0.45), (4, 0.3), (4, 0.7)])
def test_no_row_is_emptied_and_the_rate_is_kept(mechanism, n_features, rate):
    X = np.random.default_rng(0).normal(size=(3000, n_features))
    hidden = np.isnan(ampute(X, mechanism, rate=rate, random_state=0))
    assert not hidden.all(axis=1).any()
    np.testing.assert_allclose(hidden.mean(), rate, atol=0.025)


def test_rows_are_emptied_when_the_rate_leaves_no_choice():
    X = np.random.default_rng(0).normal(size=(3000, 2))
    hidden = np.isnan(ampute(X, rate=0.8, random_state=0))
    np.testing.assert_allclose(hidden.mean(), 0.8, atol=0.025)


@pytest.mark.parametrize("mechanism", ["mcar", "mnar"])
def test_each_column_keeps_an_entry(mechanism):
    X = np.random.default_rng(0).normal(size=(3, 40))
    for seed in range(20):
        assert not np.isnan(ampute(X, mechanism, rate=0.9, random_state=seed)).all(axis=0).any()


def test_constant_and_absent_columns_are_harmless():
    X = np.column_stack([np.ones(200), np.full(200, np.nan), np.arange(200.0)])
    for mechanism in MECHANISMS:
        amputed = ampute(X, mechanism, random_state=1)
        assert np.isnan(amputed[:, 1]).all()
        assert not np.isnan(amputed[:, [0, 2]]).all(axis=0).any()


# ---------------------------------------------------------------------------------------- dtypes


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_frames_keep_index_names_and_dtypes(mechanism):
    frame = mixed_frame()
    amputed = ampute(frame, mechanism, random_state=0)
    pd.testing.assert_index_equal(amputed.index, frame.index)
    pd.testing.assert_index_equal(amputed.columns, frame.columns)
    turned = {"int": np.dtype(float), "bool": pd.BooleanDtype()}
    for name in frame:
        lost = amputed[name].isna()
        expected = turned.get(name, frame[name].dtype) if lost.any() else frame[name].dtype
        assert amputed[name].dtype == expected, name
        assert_array_equal(amputed[name][~lost].to_numpy(), frame[name][~lost].to_numpy())
    assert not frame.isna().any(axis=None)


def test_frames_may_repeat_names(correlated):
    frame = pd.DataFrame(correlated[:50], columns=list("aabbcc"))
    assert_array_equal(
        ampute(frame, random_state=0).isna(), np.isnan(ampute(correlated[:50], random_state=0))
    )


@pytest.mark.parametrize(
    ("given", "returned"), [(int, float), (bool, float), (np.float32, np.float32), ("U3", object)]
)
def test_array_dtypes(given, returned):
    X = np.random.default_rng(0).integers(0, 2, size=(100, 3)).astype(given)
    amputed = ampute(X, "mnar", random_state=0)
    assert amputed.dtype == returned
    kept = ~pd.isna(amputed)
    assert 0.1 < 1 - kept.mean() < 0.5
    assert_array_equal(amputed[kept], X[kept].astype(returned))


def test_lists_are_welcome():
    assert ampute([[1, 2], [3, 4], [5, 6]], random_state=0).shape == (3, 2)


# ---------------------------------------------------------------------------------- random states


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_same_seed_same_holes(correlated, mechanism):
    first = ampute(correlated, mechanism, random_state=5)
    assert_array_equal(first, ampute(correlated, mechanism, random_state=5))
    assert not np.array_equal(
        np.isnan(first), np.isnan(ampute(correlated, mechanism, random_state=6))
    )


@pytest.mark.parametrize("source", [np.random.RandomState, np.random.default_rng])
def test_random_sources(correlated, source):
    assert_array_equal(
        ampute(correlated, random_state=source(3)), ampute(correlated, random_state=source(3))
    )


@pytest.mark.parametrize("random_state", [None, 0])
def test_global_random_state_is_left_alone(correlated, random_state):
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    ampute(correlated, "mar", random_state=random_state)
    assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


# ----------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("rate", [0, 1, -0.1, 30, np.nan, "0.3", None])
def test_rate_out_of_range(rate):
    with pytest.raises(ValueError, match="rate must lie strictly between 0 and 1"):
        ampute(np.eye(3), rate=rate)


@pytest.mark.parametrize("mechanism", ["MCAR", "random", None])
def test_unknown_mechanism_names_the_options(mechanism):
    with pytest.raises(ValueError, match=r"one of \['mar', 'mcar', 'mnar'\]"):
        ampute(np.eye(3), mechanism)


@pytest.mark.parametrize(
    ("X", "options", "error", "message"),
    [
        (np.ones((5, 1)), {"mechanism": "mar"}, ValueError, "at least two columns"),
        (np.eye(3), {"mechanism": "mar", "columns": [0, 1, 2]}, ValueError, "no driver left"),
        (np.eye(3), {"columns": [7]}, ValueError, r"\[7\], which X lacks"),
        (np.eye(3), {"columns": []}, ValueError, "non-empty"),
        (pd.DataFrame({"ab": [1]}), {"columns": "ab"}, ValueError, "sequence of columns"),
        (np.eye(3), {"fraction_drivers": 2}, ValueError, "fraction_drivers must lie"),
        (np.eye(3), {"strength": -1}, ValueError, "strength must be"),
        (np.eye(3), {"random_state": "zero"}, ValueError, "random_state must be"),
        (np.arange(3.0), {}, ValueError, "two dimensions"),
        (np.empty((0, 3)), {}, ValueError, "no entries"),
        (np.empty((3, 0)), {}, ValueError, "no entries"),
        (np.eye(3) * 1j, {}, TypeError, "complex"),
        (sparse.csr_array(np.eye(3)), {}, TypeError, "toarray"),
        ([[1.0], [np.inf]], {"mechanism": "mnar"}, ValueError, "Column 0 .* infinite"),
    ],
)
def test_errors_name_the_remedy(X, options, error, message):
    with pytest.raises(error, match=message):
        ampute(X, **options)


def test_other_frames_are_refused_with_a_remedy():
    with pytest.raises(TypeError, match=r"to_pandas\(\)"):
        ampute(polars.DataFrame({"a": [1.0, 2.0]}))
