"""Holes that say something: odd tables are filled, wrong assumptions are told by name."""

import warnings

import numpy as np
import pandas as pd
import pytest

from skvae import VAEImputer

MNAR = {
    "hidden_layer_sizes": (),
    "n_components": 1,
    "max_iter": 10,
    "random_state": 0,
    "mechanism": "mnar",
}
KINDS = {"p": "positive"}

pytestmark = pytest.mark.filterwarnings("ignore:Skipping features")


def table(n=80):
    rng = np.random.default_rng(0)
    z = rng.normal(size=n)

    def near():
        return z + 0.5 * rng.normal(size=n)

    full = pd.DataFrame(
        {
            "a": near(),
            "p": np.exp(near()),
            "k": pd.array(rng.poisson(np.exp(1 + 0.5 * z)), dtype="Int64"),
            "s": pd.array(np.where(near() > 0, "u", "v")),
            "n": pd.array(np.array(["x", "y", "z"])[np.digitize(near(), [-0.5, 0.5])]),
            "o": pd.Categorical.from_codes(
                np.digitize(near(), [-0.5, 0.5]), ["lo", "mid", "hi"], ordered=True
            ),
            "b": near(),
        }
    )
    holes = rng.random(full.shape) < 0.25
    holes[:, -1] = False
    return full.mask(holes).assign(same=1.0, empty=np.nan)


X = table()
NUMBERS = X[["a", "p", "b"]]
ARRAY = NUMBERS.to_numpy()


def fit(X=X, column_types=KINDS, **parameters):
    return VAEImputer(**{**MNAR, **parameters}, column_types=column_types).fit(X)


def check_everything(X, column_types=None, new=None, **parameters):
    """Fit and fill: nothing absent, nothing infinite, observed cells as they were."""
    new = X if new is None else new
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        imputer = fit(X, column_types, **parameters)
        lower, upper = imputer.predict_interval(new)
        tables = [imputer.transform(new), lower, upper]
        tables += imputer.sample_imputations(new, 2, random_state=0)
    before = pd.DataFrame(new)
    for each in map(pd.DataFrame, tables):
        assert not each.isna().any(axis=None)
        assert each.mask(before[each.columns].isna()).equals(before[each.columns])
        assert np.isfinite(each.select_dtypes("number").astype(float)).all(axis=None)
    assert np.isfinite(imputer.score_samples(new)).all()
    return imputer, tables[0]


# Assumptions that are refused -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("law", "words"),
    [
        ("selfmasking", "'missingness_model'.*'self_masking'"),
        ("mar", "'missingness_model'"),
        (["a"], "'missingness_model'.*dict"),
        ({"zz": "high"}, r"missingness_model names columns that are not in X: \['zz'\]; X has: a,"),
        ({0: "high"}, r"not in X: \[0\]; X has: a, p, k"),
        ({"same": "high"}, r"constant or empty at fit: \['same'\]. Leave them out"),
        ({"empty": "low", "a": "low"}, r"constant or empty at fit: \['empty'\]"),
        ({"a": "above"}, r"'a': 'above'.*'self_masking', 'high', 'low', 'mar'"),
        ({"a": "latent"}, r"'a': 'latent'.*a column has one of"),
        ({"a": ["high"]}, r"'a': \['high'\].*a column has one of"),
        ({"a": None}, "'a': None.*a column has one of"),
        ({"n": "high"}, "Column 'n' has levels without an order.*ordered categorical"),
        ({"s": "low"}, "Column 's' has levels without an order.*'self_masking'"),
        ("high", "Column 's' has levels without an order.*name columns in missingness_model"),
    ],
)
def test_bad_models(law, words):
    with pytest.raises(ValueError, match=f"(?s){words}"):
        fit(missingness_model=law)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (["a"], "'censored'.*dict"),
        ("a", "'censored'.*dict"),
        ({"zz": ("above", None)}, r"censored names columns that are not in X: \['zz'\]; X has: a"),
        ({"same": ("above", None)}, r"censored.*constant or empty at fit: \['same'\]"),
        ({"empty": ("above", None)}, r"censored.*constant or empty at fit: \['empty'\]"),
        ({"a": ("under", 1.0)}, r"'a'.*\('below', limit\) or \('above', limit\)"),
        ({"a": (1.0, "below")}, r"'a'.*\('below', limit\)"),
        ({"a": ("below", 1.0, 2.0)}, r"'a'.*\('below', limit\)"),
        ({"a": ("below",)}, r"'a'.*\('below', limit\)"),
        ({"a": "beneath"}, r"'a'.*\('below', limit\)"),
        ({"a": 0.5}, r"'a': 0.5.*\('below', limit\)"),
        ({"a": None}, r"'a': None.*\('below', limit\)"),
        ({"a": ("below", np.nan)}, "limit of column 'a' must be a finite number, got nan; None"),
        ({"a": ("above", np.inf)}, "limit of column 'a' must be a finite number, got inf"),
        ({"a": ("above", "9")}, "limit of column 'a' must be a finite number, got '9'"),
        ({"a": ("above", True)}, "limit of column 'a' must be a finite number, got True"),
        ({"a": ("above", pd.NA)}, "limit of column 'a' must be a finite number"),
        ({"a": ("below", 0.0)}, "'a' is said to be censored below 0.*smallest.*make such values"),
        ({"a": ("above", 0.0)}, "'a' is said to be censored above 0.*largest.*Correct the limit"),
        ({"a": ("above", 1e6)}, r"'a' is said to be censored above 1e\+06.*too far.*units"),
        ({"p": ("below", 0.0)}, "'p' is of kind 'positive': no value of it is below 0"),
        ({"k": ("below", -1)}, "'k' is of kind 'count': no value of it is below -1"),
        ({"k": ("below", None)}, "'k' is of kind 'count': no value of it is below 0"),
        ({"s": ("below", None)}, "Column 's' has levels: censored is for columns of numbers"),
        ({"o": ("below", None)}, "Column 'o' has levels: censored is for columns of numbers"),
    ],
)
def test_bad_limits(limits, words):
    assert X["k"].min() == 0
    with pytest.raises(ValueError, match=f"(?s){words}"):
        fit(censored=limits)


@pytest.mark.parametrize("law", ["fully_connected", "network", "latent"])
def test_limits_have_no_place_in_laws_of_all_columns(law):
    with pytest.raises(ValueError, match=f"censored has no place in.*'{law}'.*leave censored out"):
        fit(missingness_model=law, censored={"a": ("above", None)})


@pytest.mark.parametrize("law", ["low", "high", "self_masking", "mar"])
def test_a_column_has_one_law(law):
    with pytest.raises(ValueError, match="Column 'a' is in both missingness_model and censored"):
        fit(missingness_model={"a": law}, censored={"a": ("above", None)})


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"mechanism": "mcar"}, "'mechanism'.*'mnar'"),
        ({"missingness_model": "high"}, "missingness_model is given, but.*Set mechanism='mnar'"),
        ({"missingness_model": {"a": "high"}}, "missingness_model is given, but mechanism='mar'"),
        ({"censored": {"a": ("above", None)}}, "censored is given, but.*Set mechanism='mnar'"),
    ],
)
def test_laws_need_the_mechanism(parameters, words):
    with pytest.raises(ValueError, match=words):
        fit(**{"mechanism": "mar", **parameters})
    fit(mechanism="mar", censored={})


@pytest.mark.parametrize(
    "parameters", [{"missingness_model": {"a": "high"}}, {"censored": {"a": ("above", None)}}]
)
def test_names_are_checked_where_nothing_varies(parameters):
    same = pd.DataFrame({"a": [1.0, np.nan, 1.0]})
    with pytest.raises(ValueError, match=r"constant or empty at fit: \['a'\]"):
        fit(same, None, **parameters)
    assert fit(same, None).missingness_report_.empty


# Assumptions that say nothing -----------------------------------------------------------------


@pytest.mark.parametrize(
    "parameters", [{"missingness_model": {"b": "high"}}, {"censored": {"b": ("below", -9.0)}}]
)
@pytest.mark.parametrize("n_estimators", [1, 2])
def test_columns_without_holes(parameters, n_estimators):
    rest = {} if "missingness_model" in parameters else {"missingness_model": {"a": "mar"}}
    with pytest.warns(UserWarning, match=r"\['b'\] have no holes at fit") as caught:
        imputer = fit(NUMBERS, **parameters, **rest, n_estimators=n_estimators)
    assert sum("no holes" in str(warning.message) for warning in caught) == 1
    assert imputer.missingness_report_.empty
    assert "No data can settle" in imputer.missingness_report_.attrs["note"]
    assert not imputer.transform(NUMBERS.assign(b=np.nan)).isna().any(axis=None)


@pytest.mark.parametrize("law", [{}, {"a": "mar", "p": "mar"}])
def test_no_column_hides_itself(law):
    imputer, filled = check_everything(NUMBERS, KINDS, missingness_model=law)
    assert imputer.missingness_report_.empty
    plain = fit(NUMBERS, mechanism="mar").transform(NUMBERS)
    pd.testing.assert_frame_equal(filled, plain)


def test_tables_without_holes():
    complete = NUMBERS.dropna()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        imputer = fit(complete)
    assert imputer.missingness_report_.empty
    assert not imputer.transform(NUMBERS).isna().any(axis=None)


# Tables that are odd but usable ---------------------------------------------------------------

LAWS = ["self_masking", "high", "low", "fully_connected", "network", "latent"]


@pytest.mark.parametrize("law", LAWS)
def test_rows_without_a_value(law):
    sparse = np.where(np.random.default_rng(1).random(ARRAY.shape) < 0.3, np.nan, ARRAY)
    sparse[:5] = np.nan
    check_everything(sparse, missingness_model=law)


@pytest.mark.parametrize("law", LAWS[:3])
@pytest.mark.parametrize("n", [1, 2, 3, 10])
def test_few_rows(law, n):
    check_everything(ARRAY[:n], missingness_model=law, new=ARRAY)


def test_a_limit_in_few_rows():
    few = np.array([[1.0, 2.0], [np.nan, 3.0], [0.5, 1.0]])
    _, filled = check_everything(few, censored={0: ("above", None)})
    assert filled[1, 0] >= 1.0
    check_everything(few, censored={0: ("above", 1.2)}, n_estimators=2)


@pytest.mark.parametrize("n_seen", [2, 4])
@pytest.mark.parametrize("n_estimators", [1, 2])
def test_columns_with_hardly_a_value(n_seen, n_estimators):
    sparse = ARRAY.copy()
    seen = np.flatnonzero(~np.isnan(sparse[:, 0]))
    sparse[seen[n_seen:], 0] = np.nan
    check_everything(sparse, missingness_model={0: "high"}, n_estimators=n_estimators)
    check_everything(sparse, censored={0: ("above", None)}, n_estimators=n_estimators)
    check_everything(sparse)


@pytest.mark.parametrize("n_estimators", [1, 2])
def test_one_hole(n_estimators):
    few = NUMBERS.fillna(1.0)
    few.loc[3, "a"] = np.nan
    for law in ({"a": "high"}, "self_masking", "latent"):
        check_everything(few, missingness_model=law, n_estimators=n_estimators)


@pytest.mark.parametrize("law", LAWS[:3])
def test_one_column(law):
    check_everything(ARRAY[:, :1], missingness_model=law)


def test_one_column_of_levels():
    check_everything(X[["s"]])
    check_everything(X[["n"]])
    check_everything(X[["o"]], missingness_model="high")


@pytest.mark.parametrize("law", ["self_masking", "fully_connected", "network", "latent"])
def test_all_kinds(law):
    check_everything(X.drop(columns=["same", "empty"]), KINDS, missingness_model=law)


def test_constant_and_empty_columns():
    with_both, filled = check_everything(
        X, KINDS, missingness_model={"a": "high"}, keep_empty_features=True
    )
    assert list(filled.columns) == list(X.columns)
    assert list(with_both.missingness_report_.index) == ["a"]


def test_more_columns_than_rows():
    check_everything(ARRAY[:12].reshape(4, 9), missingness_model="high")


@pytest.mark.parametrize("scale", [1e-300, 1e-12, 1e12, 1e300])
def test_scale_does_not_matter(scale):
    _, plain = check_everything(ARRAY, missingness_model="high")
    _, filled = check_everything(ARRAY * scale, missingness_model="high")
    np.testing.assert_allclose(filled / scale, plain, rtol=1e-2, atol=1e-2)
    limit = scale * np.nanmax(ARRAY[:, 0])
    _, filled = check_everything(ARRAY * scale, censored={0: ("above", limit)})
    assert (filled[np.isnan(ARRAY[:, 0]), 0] >= limit).all()


@pytest.mark.parametrize("value", [1e12, 1e300])
def test_one_wild_value(value):
    wild = ARRAY.copy()
    wild[np.nanargmax(wild[:, 0]), 0] = value
    check_everything(wild, missingness_model="high")
    check_everything(wild, censored={0: ("above", None)})


def test_floors():
    floored = np.where(ARRAY < 0.5, 0.5, ARRAY)
    check_everything(floored, missingness_model="high")
    check_everything(floored, missingness_model="low")
    check_everything(floored, censored={0: ("above", None)})


def test_positions_name_the_columns_of_arrays():
    laws, limits = {np.int64(1): "low"}, {0: ["above", None]}
    imputer, _ = check_everything(ARRAY, missingness_model=laws, censored=limits)
    assert list(imputer.missingness_report_.index) == [0, 1]
    for name in ("a", -1, 3):
        with pytest.raises(ValueError, match=r"not in X: .*; X has: 0, 1, 2"):
            fit(ARRAY, None, missingness_model={name: "high"})


@pytest.mark.parametrize("likelihood", ["student_t", "heteroscedastic"])
def test_other_likelihoods(likelihood):
    check_everything(NUMBERS, missingness_model="high", likelihood={"continuous": likelihood})


@pytest.mark.parametrize("options", [{"add_indicator": True}, {"sample_posterior": True}])
def test_options_of_transform(options):
    imputer = fit(NUMBERS, missingness_model={"a": "high"}, **options)
    filled = imputer.transform(NUMBERS)
    assert not filled.isna().any(axis=None)
    assert len(imputer.get_feature_names_out()) == filled.shape[1]


def test_adaptive_inference():
    check_everything(
        NUMBERS, KINDS, missingness_model="high", inference="adaptive", hidden_layer_sizes=(4,)
    )
