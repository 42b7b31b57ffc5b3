"""Bad input: each error names the column and the remedy."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from skvae.tabular import TableCodec

GOOD = [1.0, 2.0, 3.0]


def frame(column):
    return pd.DataFrame({"bad": column, "good": GOOD})


@pytest.mark.parametrize(
    ("column", "remedy"),
    [
        (pd.Series(pd.date_range("2020", periods=3)), "days since"),
        (pd.Series(pd.to_timedelta([1, 2, 3], unit="h")), "turn it into numbers"),
        (pd.Series(pd.period_range("2020", periods=3, freq="M")), "turn it into numbers"),
        (pd.Series([pd.Timestamp("2020"), None, None], dtype=object), "turn it into numbers"),
        (pd.Series([1 + 2j, 2, 3]), "real and imaginary"),
        (pd.Series([1 + 2j, None, None], dtype=object), "real and imaginary"),
        (pd.Series([1, "a", 2.5], dtype=object), "pd.to_numeric"),
        (pd.Series([1, "a", 3], dtype=object), "pd.to_numeric"),
        (pd.Series([True, "a", None], dtype=object), "astype"),
        (pd.Series([{"a": 1}, "b", None], dtype=object), "argument must be a string or a number"),
        (pd.Series([[1], [2], [3]], dtype=object), "argument must be .* string.* number"),
        (pd.Series([b"a", b"b", b"c"], dtype=object), "string or a number"),
        (pd.Series(pd.arrays.SparseArray(GOOD)), "to_dense"),
    ],
)
def test_unsupported_columns(column, remedy):
    with pytest.raises(TypeError, match=rf"(?s)'bad'.*{remedy}"):
        TableCodec().fit(frame(column))


def test_dict_in_object_array():
    X = np.random.default_rng(0).normal(size=(5, 2)).astype(object)
    X[0, 0] = {"foo": "bar"}
    with pytest.raises(TypeError, match=r"argument must be .* string.* number"):
        TableCodec().fit(X)


def test_cells_that_refuse_comparison_with_a_sentinel():
    column = pd.Series([np.arange(2), np.arange(2), "a"], dtype=object)
    with pytest.raises(TypeError, match="'bad'"):
        TableCodec(missing_values="?").fit(frame(column))


@pytest.mark.parametrize(
    ("X", "error", "words"),
    [
        (np.array([[1 + 2j, 0]]), ValueError, "Complex data not supported"),
        (np.array(GOOD), ValueError, "Expected 2D array, got 1D array instead"),
        (np.empty((0, 3)), ValueError, r"0 sample\(s\) \(shape=\(0, 3\)\) while a minimum of 1"),
        (np.empty((3, 0)), ValueError, r"0 feature\(s\) \(shape=\(3, 0\)\) while a minimum of 1"),
        (pd.DataFrame({"a": []}), ValueError, r"0 sample\(s\) \(shape=\(0, 1\)\) while a minimum"),
        (pd.DataFrame(index=[1, 2]), ValueError, r"0 feature\(s\) \(shape=\(2, 0\)\) while a"),
        (sparse.csr_matrix(np.eye(3)), TypeError, "[Ss]parse"),
        (np.zeros((2, 2, 2)), ValueError, "dim 3"),
        (pd.DataFrame([[1, 2, 3]], columns=list("aba")), ValueError, r"duplicate.*\['a'\].*Rename"),
        (np.full((3, 2), np.nan), ValueError, r"No column.*\[0, 1\].*missing_values"),
        (pd.DataFrame({"p": [None, None]}), ValueError, r"No column.*\['p'\]"),
    ],
)
@pytest.mark.filterwarnings("ignore:Skipping")
def test_containers(X, error, words):
    with pytest.raises(error, match=words):
        TableCodec().fit(X)


@pytest.mark.parametrize("value", [np.inf, -np.inf])
@pytest.mark.parametrize("when", ["fit", "encode"])
def test_infinity_names_the_columns(value, when):
    fine, bad = np.ones((3, 3)) * [[1], [2], [3]], np.ones((3, 3)) * [[1], [2], [3]]
    bad[1, 1] = value
    for convert in (np.asarray, lambda a: pd.DataFrame(a).assign(word=["a", "b", "a"])):
        codec = TableCodec().fit(convert(fine))
        words = r"Input X contains infinity or a value too large.*\[1\].*replace"
        with pytest.raises(ValueError, match=words):
            getattr(codec, when)(convert(bad))


@pytest.mark.parametrize(
    ("types", "words"),
    [
        ({"nope": "count"}, r"'nope'.*'bad', 'good'"),
        ({"bad": "numeric"}, r"'bad'.*'numeric'.*continuous, positive, count, binary"),
    ],
)
def test_unknown_overrides(types, words):
    with pytest.raises(ValueError, match=words):
        TableCodec(column_types=types).fit(frame(GOOD))


@pytest.mark.parametrize(
    ("column", "kind", "words"),
    [
        ([1.0, -3.0, 2.0], "positive", "greater than 0.*-3.*'continuous'"),
        ([1.0, 0.0, np.nan], "positive", "greater than 0.*holds 0"),
        ([1.0, -3.0, 2.0], "count", "non-negative whole.*-3"),
        ([1.0, 2.5, np.nan], "count", "non-negative whole.*2.5"),
        (["a", "b", "c"], "continuous", "strings.*pd.to_numeric"),
        (["a", "b", "c"], "count", "strings.*pd.to_numeric"),
        (["a", "b", "c"], "ordinal", "no order.*CategoricalDtype.*ordered=True"),
        (pd.Categorical(["a", "b", "c"]), "ordinal", "no order.*ordered=True"),
        (pd.Categorical([1, 2, 3]), "continuous", r"categories.*astype\(float\)"),
        ([True, False, True], "count", "booleans.*astype"),
        ([1, 2, 3], "binary", "3 levels.*'categorical'"),
        (["a", "b", "c"], "binary", "3 levels.*'categorical'"),
        ([2**60, 2**60 + 1, 1], "categorical", r"2\*\*53.*astype"),
    ],
)
def test_declared_kinds_that_do_not_suit(column, kind, words):
    with pytest.raises(ValueError, match=rf"'bad'.*{words}"):
        TableCodec(column_types={"bad": kind}).fit(frame(column))


@pytest.mark.parametrize(("kind", "value"), [("positive", -1.0), ("count", 0.5)])
@pytest.mark.parametrize("convert", ["frame", "array", "mixed"])
def test_domains_hold_at_transform(kind, value, convert):
    def build(column):
        X = frame(column)
        if convert == "array":
            return X.to_numpy()
        return X.assign(word=["a", "b", "a"]) if convert == "mixed" else X

    name = 0 if convert == "array" else "bad"
    codec = TableCodec(column_types={name: kind}).fit(build([1.0, 2.0, np.nan]))
    with pytest.raises(ValueError, match=rf"{name!r}.*{kind}.*{value:g}"):
        codec.encode(build([1.0, value, np.nan]))


def test_declared_count_refuses_negatives_at_transform():
    codec = TableCodec(column_types={"n": "count"}).fit(pd.DataFrame({"n": [0, 1, 2]}))
    with pytest.raises(ValueError, match=r"'n'.*-4.*column_types=\{'n': 'continuous'\}"):
        codec.encode(pd.DataFrame({"n": [0, -4]}))


def test_inferred_count_admits_other_numbers_at_transform():
    codec = TableCodec().fit(pd.DataFrame({"n": [0, 0, 1, 5]}))
    assert codec.columns[0].kind == "count"
    new = pd.DataFrame({"n": [-4.0, 2.5]})
    values, observed = codec.encode(new)
    np.testing.assert_array_equal(values, [[0.0], [2.0]])  # what the model reads
    assert observed.all()
    pd.testing.assert_frame_equal(codec.decode(values, new), new)  # what the user keeps


@pytest.mark.parametrize(
    ("numbers", "kind"),
    [
        ([0, 1, 0, 4, 2, 0], "count"),
        ([2007, 2008, 2009, 2008], "continuous"),  # years: far from zero
        ([3, 3, 4, 3, 4], "continuous"),  # spread far less than their mean
        ([0, 0, 0, 99_999], "continuous"),  # amounts
        ([-1, 0, 5, 9], "continuous"),
    ],
)
def test_only_small_dispersed_whole_numbers_are_counts(numbers, kind):
    column = TableCodec().fit(pd.DataFrame({"n": numbers})).columns[0]
    assert column.kind == kind
    assert column.integer


@pytest.mark.parametrize(
    ("fitted", "now"),
    [
        (GOOD, ["a", "b", "c"]),
        (["a", "b", "c"], GOOD),
        (["a", "b", "a"], [True, False, True]),
        (GOOD, pd.Categorical(["a", "b", "c"])),
        (pd.Categorical(["a", "b", "c"]), GOOD),
        (pd.Categorical([1, 2, 3]), ["a", "b", "c"]),
        ([True, False, True], ["a", "b", "c"]),
        ([1.0, 1.0, 1.0], ["a", "b", "c"]),
        (["a", "a", "a"], [1.0, 2.0, 3.0]),
    ],
)
def test_numbers_and_text_do_not_trade_places(fitted, now):
    codec = TableCodec().fit(frame(fitted))
    with pytest.raises(TypeError, match=r"'bad' held .* at fit but holds .* now. Convert"):
        codec.encode(frame(now))


def test_wrong_number_of_columns():
    codec = TableCodec().fit(np.eye(3))
    with pytest.raises(ValueError, match=r"X has 2 features, but .* expecting 3 features"):
        codec.encode(np.eye(2))


def test_values_of_the_wrong_shape_or_nan():
    X = np.array([[1.0, np.nan], [2.0, 3.0], [np.nan, 1.0]])
    codec = TableCodec().fit(X)
    with pytest.raises(ValueError, match=r"shape \(3, 2\), got \(3, 1\)"):
        codec.decode(np.zeros((3, 1)), X)
    with pytest.raises(ValueError, match="Column 1: values to decode contain NaN"):
        codec.decode(np.array([[0.0, np.nan]] * 3), X)


def test_not_fitted():
    with pytest.raises(ValueError, match="call fit first"):
        TableCodec().encode(np.eye(2))


def test_max_categories_too_small():
    with pytest.raises(ValueError, match="max_categories must be at least 2"):
        TableCodec(max_categories=1).fit(np.eye(2))


def test_column_types_must_be_a_mapping():
    with pytest.raises(TypeError, match=r"column_types must map.*'income': 'positive'.*list"):
        TableCodec(column_types=["count"]).fit(np.eye(2))
