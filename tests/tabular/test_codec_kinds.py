"""Kinds, overrides, levels, constant and empty columns."""

import warnings

import numpy as np
import pandas as pd
import pytest

from skvae.tabular import KINDS, TableCodec


def fit_one(column, kind=None, **kwargs):
    X = pd.DataFrame({"col": column, "x": np.arange(float(len(column)))})
    return TableCodec(column_types={"col": kind} if kind else None, **kwargs).fit(X), X


@pytest.mark.parametrize(
    ("column", "kind", "n_categories"),
    [
        (pd.Series([1.5, 2.0, 3.0]), "positive", 0),
        (pd.Series([1.0, 2.0, 0.0, np.nan]), "count", 0),
        (pd.Series([1, 2, 0]), "continuous", 0),
        (pd.Series([1, 2, 3]), "positive", 0),
        (pd.Series([5, 1, 3]), "ordinal", 3),
        (pd.Series([5.5, 1.0, np.nan]), "binary", 2),
        (pd.Series([5, 1, 3]), "categorical", 3),
        (pd.Series(["a", "b", None]), "categorical", 2),
        (pd.Series([True, False]), "categorical", 2),
        (pd.Series(["a", "b"], dtype="category"), "categorical", 2),
    ],
)
def test_overrides(column, kind, n_categories):
    codec, X = fit_one(column, kind)
    fitted = codec.columns[0]
    assert fitted.kind == kind
    assert fitted.n_categories == n_categories
    assert fitted.integer == (kind in ("count",) or (n_categories == 0 and column.dtype == int))
    out = codec.decode(codec.encode(X)[0], X)
    assert out["col"].dtype == column.dtype
    assert out["col"].notna().all()


def test_override_by_position():
    X = np.array([[1.0, 2.0], [3.0, 1.0], [2.0, np.nan]])
    codec = TableCodec(column_types={1: "categorical"}).fit(X)
    values, observed = codec.encode(X)
    np.testing.assert_array_equal(values, [[1, 1], [3, 0], [2, 0]])
    np.testing.assert_array_equal(codec.decode(values, X)[2], [2, 1])
    np.testing.assert_array_equal(observed[:, 1], [True, True, False])


def test_codes_follow_declared_order_of_seen_levels():
    dtype = pd.CategoricalDtype(["high", "unused", "low", "mid"], ordered=True)
    codec, X = fit_one(pd.Series(["low", "mid", "high", None], dtype=dtype))
    assert codec.columns[0].categories.tolist() == ["high", "low", "mid"]
    np.testing.assert_array_equal(codec.encode(X)[0][:, 0], [1, 2, 0, 0])
    assert codec.decode(codec.encode(X)[0], X)["col"].cat.categories.tolist() == list(
        dtype.categories
    )


def test_codes_are_rounded_and_clipped_to_levels():
    codec, X = fit_one(pd.Series(["a", "b", "c", None, None, None], dtype=object))
    values = codec.encode(X)[0]
    values[3:, 0] = [1.4, 7.0, -2.0]
    assert codec.decode(values, X)["col"].tolist()[3:] == ["b", "c", "a"]


@pytest.mark.parametrize(
    ("fit", "new"),
    [
        (pd.Series(["a", "b"], dtype=object), pd.Series(["b", "a"], dtype="category")),
        (pd.Series(["a", "b"], dtype="category"), pd.Series(["b", "a"], dtype="string")),
        (pd.Series([True, False]), pd.Series([0, 1])),
        (pd.Series([True, False]), pd.Series([False, True], dtype=object)),
        (pd.Series([True, False]), pd.Series([0.0, 1.0])),
    ],
)
def test_same_levels_in_another_dtype(fit, new):
    codec, _ = fit_one(fit)
    X = pd.DataFrame({"col": new, "x": [0.0, 1.0]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values, observed = codec.encode(X)
    assert observed.all()
    np.testing.assert_array_equal(values[:, 0], [1, 0] if new[0] == "b" else [0, 1])


# Unseen and rare levels ---------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [object, "string", "category"])
def test_unseen_levels_warn_once_and_are_filled(dtype):
    X = pd.DataFrame({"p": ["a", "b", "a"], "q": ["u", "v", "v"], "x": [1.0, 2.0, 3.0]})
    X = X.astype({"p": dtype, "q": dtype})
    codec = TableCodec().fit(X)
    new = pd.DataFrame({"p": ["a", "zebra", None], "q": ["w", "v", "u"], "x": [1.0, 2.0, 3.0]})
    new = new.astype({"p": dtype, "q": dtype})
    with pytest.warns(UserWarning, match="not seen during fit") as caught:
        values, observed = codec.encode(new)
    assert len(caught) == 1
    for word in ("'p'", "'zebra'", "'q'", "'w'"):
        assert word in str(caught[0].message)
    np.testing.assert_array_equal(observed, [[1, 0, 1], [0, 1, 1], [0, 1, 1]])
    assert codec.observed(new).tolist() == [[True] * 3, [True] * 3, [False, True, True]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        out = codec.decode(values, new)
    assert out["p"].tolist() == ["a", "a", "a"]
    assert out["q"].tolist() == ["u", "v", "u"]
    assert out["p"].dtype == new["p"].dtype or dtype == "category"


def test_declared_but_absent_level_does_not_warn():
    dtype = pd.CategoricalDtype(["a", "b", "c"])
    codec, _ = fit_one(pd.Series(["a", "b"], dtype=dtype))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        codec.encode(pd.DataFrame({"col": pd.Series(["b"], dtype=dtype), "x": [0.0]}))


@pytest.mark.parametrize("dtype", [object, "category"])
def test_rare_levels_stay_and_are_never_filled_in(dtype):
    column = pd.Series(["a"] * 4 + ["b"] * 3 + ["c"] * 2 + ["d", None], dtype=dtype)
    with pytest.warns(UserWarning, match=r"max_categories=2.*'col'.*Raise max_categories"):
        codec, X = fit_one(column, max_categories=2)
    assert codec.columns[0].categories.tolist() == ["a", "b"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values, observed = codec.encode(X)
    np.testing.assert_array_equal(observed[:, 0], [True] * 7 + [False] * 4)
    out = codec.decode(values, X)["col"].tolist()
    assert out == [*column.tolist()[:-1], "a"]


def test_numbers_as_levels_round_trip():
    codec, _ = fit_one(pd.Series([10, 20, 30, 20]), "ordinal")
    new = pd.DataFrame({"col": [20.0, np.nan, 30.0], "x": [0.0, 1.0, 2.0]})
    values, _ = codec.encode(new)
    np.testing.assert_array_equal(values[:, 0], [1, 0, 2])
    assert codec.decode(values, new)["col"].tolist() == [20.0, 10.0, 30.0]


def test_intervals_as_categories():
    """What pd.cut returns."""
    codec, X = fit_one(pd.Series(pd.cut([1, 5, 9, 2, np.nan], bins=[0, 3, 6, 10])))
    assert codec.columns[0].kind == "ordinal"
    out = codec.decode(codec.encode(X)[0], X)
    assert out["col"].dtype == X["col"].dtype
    assert out["col"].notna().all()


# Constant and empty columns -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "fill"),
    [
        (pd.Series([7.5, np.nan, 7.5]), 7.5),
        (pd.Series([7, 7, 7]), 7),
        (pd.Series([4, None, 4], dtype="Int64"), 4),
        (pd.Series([True, True, True]), True),
        (pd.Series([None, True, True], dtype="boolean"), True),
        (pd.Series(["a", None, "a"], dtype=object), "a"),
        (pd.Series(["a", None, "a"], dtype="string"), "a"),
        (pd.Series(["a", None, "a"], dtype=pd.CategoricalDtype(["b", "a"])), "a"),
    ],
)
def test_constant_columns(column, fill):
    codec, X = fit_one(column)
    assert codec.columns[0].status == "constant"
    assert codec.columns[0].fill == fill
    assert codec.modelled.tolist() == [1]
    out = codec.decode(codec.encode(X)[0], X)
    assert (out["col"] == fill).all()
    assert out["col"].dtype == column.dtype


def test_constant_column_keeps_new_values():
    codec, _ = fit_one(pd.Series([7.5, 7.5, np.nan]))
    new = pd.DataFrame({"col": [1.0, np.nan], "x": [0.0, 1.0]})
    out = codec.decode(codec.encode(new)[0], new)
    assert out["col"].tolist() == [1.0, 7.5]


EMPTY = [
    (pd.Series([np.nan, np.nan]), 0.0),
    (pd.Series([None, None], dtype="Int64"), 0),
    (pd.Series([None, None], dtype="boolean"), False),
    (pd.Series([None, None], dtype="string"), "missing_value"),
    (pd.Series([None, None], dtype=object), "missing_value"),
    (pd.Series([None, None], dtype=pd.CategoricalDtype(["z", "a"])), "z"),
    (pd.Series([None, None], dtype=pd.CategoricalDtype([])), "missing_value"),
]


@pytest.mark.parametrize(("column", "fill"), EMPTY)
def test_empty_column_is_kept_on_request(column, fill):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        codec, X = fit_one(column, keep_empty_features=True)
        values, observed = codec.encode(X)
    assert codec.columns[0].status == "empty"
    assert values.shape == observed.shape == (2, 1)
    out = codec.decode(values, X)
    assert out["col"].tolist() == [fill, fill]
    if fill != "missing_value" or not isinstance(column.dtype, pd.CategoricalDtype):
        assert out["col"].dtype == column.dtype
    assert codec.decode_all(values)["col"].tolist() == [fill, fill]
    assert codec.observed(X).shape == (2, 2)


@pytest.mark.parametrize(("column", "fill"), EMPTY)
def test_empty_column_is_skipped_with_a_warning(column, fill):
    with pytest.warns(UserWarning, match=r"Skipping features.*'col'.*keep_empty_features") as w:
        codec, X = fit_one(column)
    assert len(w) == 1
    assert codec.decode(codec.encode(X)[0], X).columns.tolist() == ["x"]


def test_empty_at_fit_filled_in_the_sort_seen_later():
    codec, _ = fit_one(pd.Series([np.nan, np.nan]), keep_empty_features=True)
    new = pd.DataFrame({"col": pd.Series(["a", None], dtype=object), "x": [0.0, 1.0]})
    out = codec.decode(codec.encode(new)[0], new)
    assert out["col"].tolist() == ["a", "missing_value"]


def test_empty_float_array():
    X = np.array([[np.nan, 1.0], [np.nan, 2.0]])
    with pytest.warns(UserWarning, match=r"\[0\]"):
        codec = TableCodec().fit(X)
    np.testing.assert_array_equal(codec.decode(np.zeros((2, 1)), X), [[1.0], [2.0]])
    codec = TableCodec(keep_empty_features=True).fit(X)
    np.testing.assert_array_equal(codec.decode(np.zeros((2, 1)), X), [[0.0, 1.0], [0.0, 2.0]])


def test_one_row_is_all_constant():
    codec = TableCodec().fit(np.array([[1.0, 2.0]]))
    assert codec.modelled.size == 0
    values, observed = codec.encode(np.array([[np.nan, 3.0]]))
    assert values.shape == observed.shape == (1, 0)
    np.testing.assert_array_equal(codec.decode(values, np.array([[np.nan, 3.0]])), [[1.0, 3.0]])


def test_kinds_are_the_six():
    assert set(KINDS) == {"continuous", "positive", "count", "binary", "ordinal", "categorical"}
