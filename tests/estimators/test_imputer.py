"""What a user gets back: containers, dtypes, names, and scikit-learn's habits."""

import pickle
import random
import warnings

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skvae import VAEImputer
from skvae.datasets import ampute

FAST = {"hidden_layer_sizes": (16,), "max_iter": 20, "random_state": 0}
LINEAR = {"hidden_layer_sizes": (), "random_state": 0}


def mixed_frame(n=120, seed=0):
    """Every dtype that the README promises, all driven by one hidden number."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)

    def noisy():
        return z + 0.3 * rng.normal(size=n)

    frame = pd.DataFrame(
        {
            "f64": noisy(),
            "f32": noisy().astype(np.float32),
            "Float64": pd.array(noisy(), dtype="Float64"),
            "Int64": pd.array(np.rint(10 * noisy()).astype(int), dtype="Int64"),
            "count": pd.array(rng.poisson(np.exp(0.5 * z)), dtype="UInt8"),
            "boolean": pd.array(noisy() > 0, dtype="boolean"),
            "string": pd.array(np.where(noisy() > 0, "high", "low"), dtype="string"),
            "str": pd.array(np.where(noisy() > 0, "yes", "no"), dtype="str"),
            "object": np.where(noisy() > 0, "a", "b").astype(object),
            "flag": (noisy() > 0).astype(object),
            "nominal": pd.Categorical(np.digitize(noisy(), [-0.5, 0.5]).astype(str)),
            "size": pd.Categorical.from_codes(
                np.digitize(noisy(), [-0.5, 0.5]), ["S", "M", "L"], ordered=True
            ),
        },
        index=pd.Index([f"row{i}" for i in range(n)], name="key"),
    )
    return frame.mask(rng.random(frame.shape) < 0.2)


@pytest.fixture(scope="module")
def holes():
    return mixed_frame()


@pytest.fixture(scope="module")
def fitted(holes):
    return VAEImputer(**FAST).fit(holes)


@pytest.fixture(scope="module")
def numbers():
    return ampute(load_iris().data, rate=0.2, random_state=0)


def test_frames_come_back_whole(fitted, holes):
    before = holes.copy(deep=True)
    filled = fitted.transform(holes)
    pd.testing.assert_frame_equal(holes, before)
    pd.testing.assert_index_equal(filled.index, holes.index)
    pd.testing.assert_series_equal(filled.dtypes, holes.dtypes)
    assert not filled.isna().any(axis=None)
    for name in holes:
        seen = holes[name].notna()
        pd.testing.assert_series_equal(filled.loc[seen, name], holes.loc[seen, name])
    for name in ("string", "str", "object", "flag"):
        assert set(filled[name]) == set(holes[name].dropna())
    assert all(isinstance(flag, bool) for flag in filled["flag"])


def test_fills_follow_the_other_columns(fitted, holes):
    filled = fitted.transform(holes)
    high = filled[holes["str"].isna() & (holes["f64"] > 1)]["str"]
    low = filled[holes["str"].isna() & (holes["f64"] < -1)]["str"]
    assert (high == "yes").mean() > 0.9
    assert (low == "no").mean() > 0.9


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_come_back_as_arrays(numbers, dtype):
    X = numbers.astype(dtype)
    filled = VAEImputer(**LINEAR).fit_transform(X)
    assert isinstance(filled, np.ndarray)
    assert filled.dtype == dtype
    seen = ~np.isnan(X)
    np.testing.assert_array_equal(filled[seen], X[seen])
    assert np.isfinite(filled).all()


def test_lists_and_object_arrays():
    X = [[1.0, "a"], [2.0, "b"], [None, "a"], [4.0, None], [1.5, "a"], [3.5, "b"]] * 4
    filled = VAEImputer(**LINEAR).fit_transform(X)
    assert filled.dtype == object
    assert not pd.isna(filled).any()
    assert set(filled[:, 1]) == {"a", "b"}


def test_integer_arrays_with_a_sentinel():
    rng = np.random.default_rng(0)
    X = rng.poisson(5, size=(80, 3))
    X[rng.random(X.shape) < 0.2] = -1
    filled = VAEImputer(missing_values=-1, **LINEAR).fit_transform(X)
    assert filled.dtype == X.dtype
    assert filled.min() >= 0
    np.testing.assert_array_equal(filled[X != -1], X[X != -1])


def test_new_rows_need_no_refit(fitted):
    new = mixed_frame(n=15, seed=1)
    filled = fitted.transform(new)
    pd.testing.assert_series_equal(filled.dtypes, new.dtypes)
    assert not filled.isna().any(axis=None)


def test_unseen_levels_count_as_absent_with_one_warning(fitted, holes):
    new = holes.head(6).copy()
    new["string"] = pd.array(["sideways", *["high"] * 5], dtype="string")
    new["object"] = pd.Series(["z", *"aaaaa"], index=new.index, dtype=object)
    with pytest.warns(UserWarning, match=r"'string': 'sideways'.*'object': 'z'") as record:
        filled = fitted.transform(new)
    assert len(record) == 1
    assert filled["string"].iloc[0] in {"high", "low"}
    assert filled["object"].iloc[0] in {"a", "b"}


def test_a_column_absent_only_at_transform_is_filled(fitted, holes):
    new = holes.head(10).copy()
    for name in new:
        new[name] = new[name].mask(np.ones(10, dtype=bool))
        filled = fitted.transform(new)
        assert not filled.isna().any(axis=None)
        pd.testing.assert_series_equal(filled.dtypes, new.dtypes)


def test_an_empty_row_gets_what_is_typical(fitted, holes):
    empty = holes.head(1).mask(np.ones((1, holes.shape[1]), dtype=bool))
    filled = fitted.transform(empty)
    assert not filled.isna().any(axis=None)
    assert abs(filled["f64"].iloc[0] - holes["f64"].mean()) < 0.3
    assert fitted.score_samples(empty)[0] == 0


def test_complete_rows_come_back_unchanged(fitted, holes):
    complete = holes.dropna()
    pd.testing.assert_frame_equal(fitted.transform(complete), complete)


def test_random_state_decides_and_global_state_stays(numbers):
    np.random.seed(3)  # noqa: NPY002
    random.seed(3)
    torch.manual_seed(3)
    numpy_state = np.random.get_state()[1].copy()  # noqa: NPY002
    before = (random.getstate(), torch.get_rng_state())
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    first, second = (VAEImputer(**FAST).fit(numbers) for _ in range(2))
    np.testing.assert_array_equal(first.transform(numbers), second.transform(numbers))
    np.testing.assert_array_equal(first.score_samples(numbers), second.score_samples(numbers))
    for one, two in zip(
        first.sample_imputations(numbers, 3, random_state=1),
        second.sample_imputations(numbers, 3, random_state=1),
        strict=True,
    ):
        np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
    assert random.getstate() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])
    assert (torch.get_num_threads(), torch.get_default_dtype()) == (threads, dtype)
    assert torch.is_grad_enabled()
    other = VAEImputer(**{**FAST, "random_state": 1}).fit(numbers)
    assert not np.array_equal(first.transform(numbers), other.transform(numbers))


def test_pickle_and_joblib(fitted, holes, tmp_path):
    joblib.dump(fitted, tmp_path / "imputer.joblib")
    for copy in (pickle.loads(pickle.dumps(fitted)), joblib.load(tmp_path / "imputer.joblib")):
        pd.testing.assert_frame_equal(copy.transform(holes), fitted.transform(holes))
        np.testing.assert_array_equal(copy.score_samples(holes), fitted.score_samples(holes))


def test_clone_is_unfitted_and_alike(fitted):
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    assert not hasattr(copy, "n_iter_")


@pytest.mark.parametrize("container", ["pandas", "polars"])
@pytest.mark.parametrize("add_indicator", [False, True])
def test_set_output(numbers, container, add_indicator):
    imputer = VAEImputer(add_indicator=add_indicator, **LINEAR).fit(numbers)
    filled = imputer.set_output(transform=container).transform(numbers)
    assert isinstance(filled, pd.DataFrame if container == "pandas" else pl.DataFrame)
    assert list(filled.columns) == list(imputer.get_feature_names_out())
    assert np.isfinite(filled.to_numpy()).all()


def test_add_indicator(holes, numbers):
    names = list(holes.columns)
    imputer = VAEImputer(add_indicator=True, **FAST).fit(holes)
    filled = imputer.transform(holes)
    wanted = [*names, *(f"missingindicator_{name}" for name in names)]
    assert list(imputer.get_feature_names_out()) == list(filled.columns) == wanted
    flags = filled[wanted[len(names) :]].to_numpy().astype(bool)
    np.testing.assert_array_equal(flags, holes.isna().to_numpy())
    new = numbers.copy()
    new[:, 0] = load_iris().data[:, 0]
    some = VAEImputer(add_indicator=True, **LINEAR).fit(new)
    assert some.transform(new).shape == (150, 7)
    assert list(some.get_feature_names_out())[4:] == [f"missingindicator_x{j}" for j in (1, 2, 3)]


@pytest.mark.parametrize("keep", [False, True])
def test_keep_empty_features(numbers, keep):
    X = numbers.copy()
    X[:, 2] = np.nan
    imputer = VAEImputer(keep_empty_features=keep, **LINEAR)
    if keep:
        filled = imputer.fit_transform(X)
        np.testing.assert_array_equal(filled[:, 2], 0.0)
    else:
        with pytest.warns(UserWarning, match=r"without any observed values: \[2\]"):
            filled = imputer.fit_transform(X)
    assert list(imputer.get_feature_names_out()) == ["x0", "x1", *(["x2"] if keep else []), "x3"]
    assert filled.shape[1] == 3 + keep
    assert np.isfinite(filled).all()


def test_fitted_attributes(fitted, holes, numbers):
    assert fitted.n_features_in_ == holes.shape[1]
    assert list(fitted.feature_names_in_) == list(holes.columns)
    assert fitted.indicator_ is None
    assert fitted.n_components_ in fitted.component_scores_
    assert set(fitted.loss_curve_) == set(fitted.validation_scores_) == {"generative", "masked"}
    assert 1 <= fitted.n_iter_ <= 2 * 20
    linear = VAEImputer(2, **LINEAR).fit(numbers)
    assert linear.n_components_ == 2
    assert linear.component_scores_ == {}
    assert linear.n_iter_ >= 1


def test_grid_search_without_y(numbers):
    search = GridSearchCV(VAEImputer(**LINEAR), {"n_components": [1, 2]}, cv=2, error_score="raise")
    search.fit(numbers)
    assert search.best_params_["n_components"] in (1, 2)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_pipeline_with_a_classifier(numbers):
    y = load_iris().target
    model = make_pipeline(VAEImputer(**LINEAR), LogisticRegression(max_iter=1000))
    assert model.fit(numbers, y).score(numbers, y) > 0.85


def test_warm_paths_do_not_warn(holes):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        imputer = VAEImputer(**FAST).fit(holes)
        imputer.transform(holes)
        imputer.sample_imputations(holes, 2, random_state=0)
        imputer.predict_interval(holes)
        imputer.score_samples(holes)


def test_column_types():
    rng = np.random.default_rng(0)
    z = rng.normal(size=100)
    frame = pd.DataFrame(
        {
            "income": np.exp(z + 0.2 * rng.normal(size=100)),
            "visits": rng.poisson(np.exp(0.5 * z)).astype(float),
            "grade": np.digitize(z, [-1, 0, 1]),
            "postcode": 1000 + 7 * rng.integers(0, 4, size=100),
            "x": z,
        }
    )
    holes = frame.astype({"grade": "Int64", "postcode": "Int64"}).mask(rng.random((100, 5)) < 0.2)
    kinds = {
        "income": "positive",
        "visits": "count",
        "grade": "ordinal",
        "postcode": "categorical",
    }
    imputer = VAEImputer(column_types=kinds, **FAST).fit(holes)
    tables = [imputer.transform(holes), *imputer.sample_imputations(holes, 3, random_state=0)]
    for filled in [*tables, *imputer.predict_interval(holes)]:
        assert (filled["income"] > 0).all()
        assert (filled["visits"] >= 0).all()
        assert (filled["visits"] % 1 == 0).all()
        assert filled["grade"].isin([0, 1, 2, 3]).all()
        assert filled["postcode"].isin(frame["postcode"].unique()).all()


@pytest.mark.parametrize("likelihood", [{"continuous": "student_t"}, {"count": "poisson"}])
def test_likelihoods(likelihood, holes):
    plain = VAEImputer(**FAST).fit(holes)
    other = VAEImputer(likelihood=likelihood, **FAST).fit(holes)
    assert not other.transform(holes).isna().any(axis=None)
    assert np.isfinite(other.score_samples(holes)).all()
    assert not np.allclose(plain.score_samples(holes), other.score_samples(holes))


def test_max_categories(holes):
    many = holes[["f64", "Int64"]].copy()
    many["code"] = [f"c{i % 12}" if i % 12 < 3 or i < 40 else "c0" for i in range(len(many))]
    many.loc[many.index[::7], "code"] = None
    with pytest.warns(UserWarning, match=r"max_categories=3 levels: \['code'\]"):
        imputer = VAEImputer(max_categories=3, **LINEAR).fit(many)
    filled = imputer.transform(many)
    given = many["code"].notna()
    pd.testing.assert_series_equal(filled.loc[given, "code"], many.loc[given, "code"])
    assert set(filled.loc[~given, "code"]) <= {"c0", "c1", "c2"}
