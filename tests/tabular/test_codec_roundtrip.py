"""Encode and decode give every table back: values, dtypes, names, index."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from skvae.tabular import TableCodec

WORDS = ["b", None, "a", "c", "b", "a"]
NUMBERS = [2.5, None, 0.25, 1e12, 1e-12, -3.0]
WHOLES = [3, None, 1, 2, 3, 7]
FLAGS = [True, None, False, True, False, True]

WITH_HOLES = [
    ("float64", NUMBERS, "continuous"),
    ("float32", [2.5, None, 0.25, 1.0, -8.0, 3.0], "continuous"),
    ("float16", [2.5, None, 0.25, 1.0, -8.0, 3.0], "continuous"),
    ("Int64", WHOLES, "count"),
    ("Int8", [-3, None, 1, 2, 3, 7], "continuous"),
    ("UInt16", WHOLES, "count"),
    ("Float64", NUMBERS, "continuous"),
    ("Float32", [2.5, None, 0.25, 1.0, -8.0, 3.0], "continuous"),
    ("boolean", FLAGS, "binary"),
    ("string", WORDS, "categorical"),
    ("str", WORDS, "categorical"),
    (object, WORDS, "categorical"),
    (object, ["no", None, "yes", "no", np.nan, pd.NA], "binary"),
    (object, NUMBERS, "continuous"),
    (object, WHOLES, "count"),
    (object, FLAGS, "binary"),
    ("category", WORDS, "categorical"),
    ("category", ["u", None, "v", "u", "v", "v"], "binary"),
    ("category", [3, None, 1, 2, 3, 1], "categorical"),
    (pd.CategoricalDtype(["c", "a", "b", "never"]), WORDS, "categorical"),
    (pd.CategoricalDtype(["c", "a", "b", "never"], ordered=True), WORDS, "ordinal"),
    ("double[pyarrow]", NUMBERS, "continuous"),
    ("int64[pyarrow]", WHOLES, "count"),
    ("bool[pyarrow]", FLAGS, "binary"),
    ("string[pyarrow]", WORDS, "categorical"),
]
COMPLETE = [
    ("int64", [3, -1, 2, 2, 5, 0], "continuous"),
    ("int8", [3, 1, 2, 2, 5, 0], "count"),
    ("uint8", [3, 1, 2, 2, 255, 0], "continuous"),
    ("bool", [True, False, True, True, False, False], "binary"),
]


def make(dtype, values):
    if dtype == "str":
        column = pd.Series(values).where(pd.notna(values), np.nan)
        column = column.astype("str") if pd.__version__ >= "3" else column.astype(object)
    else:
        column = pd.Series(values, dtype=dtype)
    other = pd.Series(np.linspace(0, 1, len(values)))
    frame = pd.DataFrame({"column": column, "other": other})
    return frame.set_index(pd.Index(list("xxyzzw"), name="key"))  # duplicates are fine


def quiet(codec, X):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values, observed = codec.fit(X).encode(X)
        return values, observed, codec.decode(values, X)


@pytest.mark.parametrize(("dtype", "values", "kind"), WITH_HOLES + COMPLETE)
def test_frame_comes_back(dtype, values, kind):
    X = make(dtype, values)
    before = X.copy(deep=True)
    codec = TableCodec()
    numbers, observed, out = quiet(codec, X)

    assert codec.columns[0].kind == kind
    assert codec.is_frame
    assert numbers.dtype == np.float64
    assert observed.dtype == bool
    np.testing.assert_array_equal(observed[:, 0], X["column"].notna())
    assert (numbers[~observed] == 0).all()
    assert_frame_equal(X, before)
    assert not out.isna().any(axis=None)
    assert (out.dtypes == X.dtypes).all()
    assert out.index.equals(X.index)
    assert out.columns.equals(X.columns)
    seen = X["column"].notna().to_numpy()
    assert_frame_equal(out[seen], X[seen])


@pytest.mark.parametrize(("dtype", "values", "kind"), WITH_HOLES + COMPLETE)
def test_decode_all_has_fitted_dtypes(dtype, values, kind):
    X = make(dtype, values)
    codec = TableCodec()
    numbers, _, out = quiet(codec, X)
    assert_frame_equal(codec.decode_all(numbers, index=X.index), out)
    assert_frame_equal(codec.decode_all(numbers, like=X), out)
    assert isinstance(codec.decode_all(numbers, like=np.empty((1, 1))), np.ndarray)


@pytest.mark.parametrize(("dtype", "values", "kind"), WITH_HOLES)
def test_column_absent_only_at_transform(dtype, values, kind):
    X = make(dtype, values)
    codec = TableCodec().fit(X)
    new = X.assign(column=pd.Series([None] * len(X), index=X.index).astype(X["column"].dtype))
    values, observed = codec.encode(new)
    assert not observed[:, 0].any()
    out = codec.decode(values, new)
    assert not out.isna().any(axis=None)
    assert out["column"].dtype == X["column"].dtype


@pytest.mark.parametrize("filler", [np.nan, None, pd.NA])
@pytest.mark.parametrize("dtype", ["category", "string", object, "boolean", "Int64"])
def test_absent_column_of_another_dtype(dtype, filler):
    """A frame of new rows whose column is empty gets whatever dtype pandas likes."""
    content = {"boolean": FLAGS, "Int64": WHOLES}.get(dtype, WORDS)
    X = make(dtype, content)
    codec = TableCodec().fit(X)
    new = pd.DataFrame({"column": [filler] * 2, "other": [0.0, 1.0]})
    values, _ = codec.encode(new)
    out = codec.decode(values, new)
    assert not out.isna().any(axis=None)
    levels = set(X["column"].dropna()) | {0, 1}
    assert set(out["column"]) <= levels


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("order", ["C", "F"])
def test_float_array(dtype, order):
    rng = np.random.default_rng(0)
    X = np.array(rng.normal(size=(30, 4)), dtype=dtype, order=order)
    X[rng.random(X.shape) < 0.3] = np.nan
    X.flags.writeable = False
    values, observed, out = quiet(codec := TableCodec(), X)
    assert values.flags.c_contiguous
    assert observed.flags.c_contiguous
    np.testing.assert_array_equal(observed, ~np.isnan(X))
    np.testing.assert_array_equal(values[observed], X[observed].astype(float))
    np.testing.assert_array_equal(out[observed], X[observed])
    assert out.dtype == dtype
    assert (out[~observed] == 0).all()
    assert not codec.is_frame
    np.testing.assert_array_equal(codec.observed(X), observed)


def test_filled_values_are_the_ones_given():
    X = np.array([[1.0, np.nan], [np.nan, 5.0], [2.0, 6.0]])
    codec = TableCodec().fit(X)
    out = codec.decode(np.array([[9.0, 1e12], [1e-12, 9.0], [9.0, 9.0]]), X)
    np.testing.assert_array_equal(out, [[1.0, 1e12], [1e-12, 5.0], [2.0, 6.0]])


@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.uint8])
def test_int_array_with_sentinel(dtype):
    sentinel = 99
    X = np.array([[1, 5], [99, 6], [3, 99]], dtype=dtype)
    codec = TableCodec(missing_values=sentinel).fit(X)
    assert [c.kind for c in codec.columns] == ["continuous", "continuous"]
    values, observed = codec.encode(X)
    np.testing.assert_array_equal(observed, X != 99)
    out = codec.decode(np.where(observed, values, 1.6), X)
    assert out.dtype == dtype
    np.testing.assert_array_equal(out, [[1, 5], [2, 6], [3, 2]])


def test_filled_values_never_wrap_round():
    X = np.array([[1, 5], [-1, 6], [3, -1]], dtype=np.int8)
    codec = TableCodec(missing_values=-1).fit(X)
    out = codec.decode(np.full((3, 2), 1e20), X)
    np.testing.assert_array_equal(out, [[1, 5], [127, 6], [3, 127]])
    half = np.array([[1.0], [np.nan], [2.0]], dtype=np.float16)
    out = TableCodec().fit(half).decode(np.full((3, 1), 1e9), half)
    assert np.isfinite(out).all()
    big = pd.DataFrame({"a": pd.array([1, None, 2], dtype="Int64")})
    out = TableCodec().fit(big).decode(np.full((3, 1), 1e30), big)
    assert out["a"].iloc[1] > 2**62


def test_int_array_gets_floats_only_where_needed():
    codec = TableCodec(missing_values=-1).fit(np.array([[0.5], [1.5], [2.0]]))
    ints = np.array([[1], [-1], [2]])
    assert codec.decode(np.full((3, 1), 0.5), ints).tolist() == [[1.0], [0.5], [2.0]]
    assert codec.decode(np.zeros((3, 1)), ints[[0, 2, 2]]).dtype == ints.dtype


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
def test_object_array_keeps_python_objects(missing):
    X = np.array(
        [["a", 1, 0.5, True], [missing, 2, 1.5, False], ["b", missing, missing, missing]],
        dtype=object,
    )
    codec = TableCodec()
    _, observed, out = quiet(codec, X)
    assert [c.kind for c in codec.columns] == ["binary", "continuous", "continuous", "binary"]
    assert out.dtype == object
    assert out.tolist() == [["a", 1, 0.5, True], ["a", 2, 1.5, False], ["b", 0, 0.0, False]]
    assert [type(cell) for cell in out[2]] == [str, int, float, bool]
    assert observed.sum() == 8


def test_string_array_widens_for_longer_fills():
    X = np.array([["a"], ["?"], ["longer"], ["a"]])
    codec = TableCodec(missing_values="?").fit(X)
    new = np.array([["a"], ["?"]])
    values, _ = codec.encode(new)
    out = codec.decode(values + 1, new)
    assert out.dtype.kind == "U"
    assert out.tolist() == [["a"], ["longer"]]


def test_list_of_mixed_rows_keeps_numbers():
    codec = TableCodec().fit([[1, "a"], [2, "b"], [None, "a"]])
    assert [c.kind for c in codec.columns] == ["continuous", "binary"]


@pytest.mark.parametrize(
    ("column", "sentinel"),
    [
        (pd.Series([1, -1, 3]), -1),
        (pd.Series([0.1, 0.5, 2.0], dtype="float32"), 0.1),
        (pd.Series([0.1, 0.5, 2.0], dtype="float32"), np.float64(0.1)),
        (pd.Series(["a", "?", "b"]), "?"),
        (pd.Series(["a", "?", "b"], dtype=object), "?"),
        (pd.Series(["a", "?", "b"], dtype="category"), "?"),
        (pd.Series([1.5, "?", 2.0], dtype=object), "?"),
        (pd.Series([1, -1, 3], dtype="Int64"), -1),
        (pd.Series([4.0, np.inf, 3.0]), np.inf),
    ],
)
def test_sentinel_marks_holes(column, sentinel):
    X = pd.DataFrame({"a": column, "b": [1.0, 2.0, 3.0]})
    codec = TableCodec(missing_values=sentinel)
    _, observed, out = quiet(codec, X)
    expected = ~(column == (np.float32(0.1) if column.dtype == "float32" else sentinel))
    np.testing.assert_array_equal(observed[:, 0], expected.to_numpy(dtype=bool))
    np.testing.assert_array_equal(codec.observed(X), observed)
    assert out["a"].dtype == X["a"].dtype
    assert (out["a"].astype(object) != sentinel).all()


def test_nan_is_absent_next_to_a_sentinel():
    X = np.array([[1.0], [-1.0], [np.nan], [2.0]])
    codec = TableCodec(missing_values=-1).fit(X)
    np.testing.assert_array_equal(codec.encode(X)[1][:, 0], [True, False, False, True])


def test_sentinel_zero_does_not_swallow_false():
    X = pd.DataFrame({"flag": [True, False, True], "n": [0, 1, 2]})
    codec = TableCodec(missing_values=0).fit(X)
    np.testing.assert_array_equal(codec.observed(X), [[1, 0], [1, 1], [1, 1]])


def test_ints_at_fit_floats_at_transform():
    codec = TableCodec().fit(pd.DataFrame({"a": [1, 2, 5]}))
    new = pd.DataFrame({"a": [2.0, np.nan]})
    out = codec.decode(np.array([[0.0], [2.7]]), new)
    assert_frame_equal(out, pd.DataFrame({"a": [2.0, 3.0]}))


def test_narrower_category_dtype_at_transform():
    """`remove_unused_categories` on a subset must not stop a fill."""
    levels = pd.CategoricalDtype(["low", "mid", "high"], ordered=True)
    X = pd.DataFrame({"a": pd.Series(["low", "high", None, "mid"], dtype=levels)})
    codec = TableCodec().fit(X)
    narrow = pd.CategoricalDtype(["low"], ordered=True)
    new = pd.DataFrame({"a": pd.Series(["low", None], dtype=narrow)})
    out = codec.decode(np.array([[0.0], [2.0]]), new)
    assert out["a"].tolist() == ["low", "high"]
    assert out["a"].dtype == levels


def test_integer_beyond_float_comes_back_exact():
    ids = [2**60 + 1, 2**60 + 3, 2**60 + 1000]
    X = pd.DataFrame({"id": pd.array([*ids, None], dtype="Int64"), "x": [1.0, 2.0, 3.0, 4.0]})
    codec = TableCodec().fit(X)
    values, _ = codec.encode(X)
    assert codec.decode(values, X)["id"].tolist()[:3] == ids


def test_frame_without_string_names():
    X = pd.DataFrame([[1.0, np.nan], [2.0, 3.0], [0.0, 5.0]], columns=[10, 20])
    codec = TableCodec().fit(X)
    assert codec.decode(codec.encode(X)[0], X).columns.tolist() == [10, 20]
    assert codec.feature_names_out().tolist() == ["x0", "x1"]


def test_feature_names_out_skips_empty():
    X = pd.DataFrame({"a": [1.0, 2.0], "gone": [np.nan, np.nan], "c": [1.0, 1.0]})
    with pytest.warns(UserWarning, match="gone"):
        codec = TableCodec().fit(X)
    assert codec.feature_names_out().tolist() == ["a", "c"]
    assert codec.kept.tolist() == [0, 2]
    assert codec.modelled.tolist() == [0]


def test_codec_pickles():
    X = make("category", WORDS)
    codec = pickle.loads(pickle.dumps(TableCodec().fit(X)))
    assert_frame_equal(
        codec.decode(codec.encode(X)[0], X), TableCodec().fit(X).decode(codec.encode(X)[0], X)
    )


def test_refit_with_other_columns():
    codec = TableCodec().fit(pd.DataFrame({"a": [1.0, 2.0]}))
    codec.fit(pd.DataFrame({"x": [1.0, 2.0], "y": [3, 4]}))
    assert [c.name for c in codec.columns] == ["x", "y"]


def test_large_array_is_vectorised():
    """A loop over rows would take minutes; the bound only has to tell the two apart."""
    import time

    X = np.random.default_rng(0).normal(size=(200_000, 10))
    X[::3, ::2] = np.nan
    start = time.perf_counter()
    codec = TableCodec().fit(X)
    codec.decode(codec.encode(X)[0], X)
    assert time.perf_counter() - start < 5
