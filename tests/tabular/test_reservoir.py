"""Samples of rows, and the rows that show what they lack."""

import numpy as np
import pandas as pd
import pytest

from skvae.tabular.joining import join_rows
from skvae.tabular.reservoir import Reservoir, sample_of
from skvae.tabular.table import as_table


def kept(frame, size, at=(), seed=0, known=None, **options):
    """What is kept of a frame that is cut at the given rows."""
    reservoir = Reservoir(size, seed, **options)
    for start, stop in zip((0, *at), (*at, len(frame)), strict=True):
        part = slice(start, stop)
        labels = None if known is None else np.where(known[part], 1, -1)
        own = None if known is None else known[part]
        reservoir.add(as_table(frame[part]), labels, own)
    return reservoir.rows()


def test_every_row_is_as_likely():
    frame = pd.DataFrame({"x": np.arange(20.0)})
    counts = np.zeros(20)
    for seed in range(200):
        rows = kept(frame, 5, (7, 11), seed).table.data["x"].to_numpy(int)
        assert len(rows) <= 5 + 2  # and the two ends
        counts[rows] += 1
    assert (counts[[0, -1]] == 200).all()  # the smallest and the largest are always there
    # The others are binomial with a chance of 1/4.
    z = (counts[1:-1] - 50) / np.sqrt(200 * 0.25 * 0.75)
    assert (z**2).mean() < 2


def test_where_a_table_is_cut_does_not_matter():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=500), "s": rng.choice(list("abcdefg"), 500)})
    known = rng.random(500) < 0.1
    whole = kept(frame, 60, known=known)
    for at in ((250,), tuple(range(1, 500, 13)), (1, 499)):
        parts = kept(frame, 60, at, known=known)
        pd.testing.assert_frame_equal(parts.table.data, whole.table.data)
        np.testing.assert_array_equal(parts.labels, whole.labels)
    other = kept(frame, 60, seed=1, known=known)
    assert not other.table.data.equals(whole.table.data)


def test_rows_come_in_their_order():
    frame = pd.DataFrame({"x": np.arange(100.0)})
    rows = kept(frame, 10, (30, 60)).table.data["x"]
    assert rows.is_monotonic_increasing
    assert rows.index.tolist() == list(range(len(rows)))


def test_short_tables_are_whole():
    frame = pd.DataFrame({"x": np.arange(50.0)}, index=np.arange(50)[::-1])
    for size in (50, 51, None):
        held = kept(frame, size, (3, 20)).table.data
        np.testing.assert_array_equal(held["x"], frame["x"])


def test_labels_go_first_where_they_are_few():
    rng = np.random.default_rng(0)
    key, known = rng.random(1000), np.arange(1000) % 50 == 0
    chosen = sample_of(key, known, 100)
    assert chosen[known].all()
    assert chosen.sum() == 100
    # The others are those with the smallest keys, as without labels.
    plain = sample_of(key, None, 100)
    assert not (chosen & ~plain & ~known).any()
    known = np.arange(1000) % 4 == 0  # more than half of the sample
    chosen = sample_of(key, known, 100)
    assert chosen[known].sum() == 50
    known = np.arange(1000) % 4 > 0  # no longer few
    np.testing.assert_array_equal(sample_of(key, known, 100), sample_of(key, None, 100))


def test_witnesses_of_levels_ends_fractions_and_holes():
    n = 2000
    frame = pd.DataFrame(
        {
            "text": ["often"] * n,
            "whole": np.zeros(n),
            "category": pd.Categorical(["a"] * n, categories=["a", "b", "never"]),
            "flag": pd.array([False] * n, dtype="boolean"),
            "code": np.ones(n, dtype=int),
        }
    )
    frame.loc[100, "text"] = "seldom"
    frame.loc[200, "whole"], frame.loc[300, "whole"], frame.loc[400, "whole"] = 7, -7, 0.5
    frame.loc[500, "category"] = "b"
    frame.loc[600, "flag"], frame.loc[700, "flag"] = True, pd.NA
    frame.loc[800, "code"], frame.loc[900, "code"] = 2, 3
    rows = kept(frame, 10, (450, 1500), column_types={"code": "categorical"}).table.data
    assert set(rows["text"]) == {"often", "seldom"}
    assert {7.0, -7.0, 0.5} <= set(rows["whole"])
    assert {"a", "b"} == set(rows["category"])
    assert {True, False} == set(rows["flag"].dropna())
    assert rows["flag"].isna().any()
    assert set(rows["code"]) == {1, 2, 3}
    assert len(rows) <= 10 + 9


def test_identifiers_do_not_fill_memory():
    frame = pd.DataFrame({"id": [f"row {k}" for k in range(3000)]})
    rows = kept(frame, 100, (1000, 2000), max_categories=30).table.data
    assert len(rows) <= 100 + 31
    assert "row 0" in set(rows["id"])


def test_rows_are_joined_as_pandas_does():
    frames = [
        pd.DataFrame({"a": [1, 2], "b": ["x", None], "c": [True, False]}),
        pd.DataFrame({"a": [0.5], "b": [np.nan], "c": pd.array([None], dtype="boolean")}),
        pd.DataFrame({"a": pd.array([None], dtype="Int64"), "b": ["y"], "c": [True]}),
    ]
    joined = join_rows(frames)
    assert joined["a"].tolist()[:3] == [1, 2, 0.5]
    assert joined.dtypes.astype(str).tolist()[::2] == ["Float64", "boolean"]
    assert joined["b"].dropna().tolist() == ["x", "y"]
    arrays = [np.array([[1, 2]]), np.array([["a", "b"]])]
    assert join_rows(arrays).tolist() == [[1, 2], ["a", "b"]]
    levels = [
        pd.DataFrame({"k": pd.Categorical(["a", "b"])}),
        pd.DataFrame({"k": pd.Categorical(["c"], categories=pd.Index(["c"], dtype=object))}),
    ]
    assert join_rows(levels)["k"].cat.categories.tolist() == ["a", "b", "c"]


def test_a_dtype_counts_whose_rows_are_not_kept():
    whole = pd.DataFrame({"x": np.arange(400)})
    part = pd.DataFrame({"x": np.arange(5.0)})  # a chunk of floats that are whole
    reservoir = Reservoir(20, 0)
    for chunk in (whole, part, whole):
        reservoir.add(as_table(chunk))
    assert reservoir.rows().table.data["x"].dtype == float


def test_a_copy_sees_other_rows():
    frame = pd.DataFrame({"x": np.arange(100.0)})
    one = Reservoir(20, 0)
    one.add(as_table(frame[:50]))
    other = one.copy()
    other.add(as_table(-frame[50:]))
    one.add(as_table(frame[50:]))
    pd.testing.assert_frame_equal(one.rows().table.data, kept(frame, 20, (50,)).table.data)
    assert (other.rows().table.data["x"] <= 49).all()


def test_rows_without_weight_are_not_there():
    frame, weight = pd.DataFrame({"x": np.arange(100.0)}), np.arange(100) % 2
    reservoir = Reservoir(20, 0)
    for part in (slice(0, 1), slice(1, 100)):
        reservoir.add(as_table(frame[part]), weight=weight[part].astype(float))
    expected = kept(frame[weight > 0], 20).table.data
    pd.testing.assert_frame_equal(reservoir.rows().table.data, expected)
    empty = Reservoir(20, 0)
    empty.add(as_table(frame), weight=np.zeros(100))
    with pytest.raises(ValueError, match="not zero everywhere"):
        empty.rows()
