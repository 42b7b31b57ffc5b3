"""Entries hidden on purpose: which, how they are compared, and whether intervals hold."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skvae import VAEImputer
from skvae.inspection import interval_calibration, overimpute

LINEAR = {"n_components": 2, "hidden_layer_sizes": (), "random_state": 0}


def factors(n=200, d=4, rate=0.1, seed=0):
    """Columns that two factors and noise make: a linear imputer's perfect world."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2)) @ rng.normal(size=(2, d)) + 0.5 * rng.normal(size=(n, d))
    return np.where(rng.random(X.shape) < rate, np.nan, X)


def mixed(n=160, seed=0):
    """A frame of every sort of column, some with holes, and an index of its own."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    frame = pd.DataFrame(
        {
            "length": 10 + 3 * z + rng.normal(size=n),
            "mass": pd.array((500 + 100 * z + 30 * rng.normal(size=n)).round(), dtype="Int64"),
            "visits": rng.poisson(np.exp(1 + 0.3 * z)),
            "plain": (1000 + 50 * z).round().astype(int),
            "sex": np.where(z + 0.5 * rng.normal(size=n) > 0, "male", "female"),
            "size": pd.Categorical.from_codes(
                np.digitize(z, [-0.5, 0.5]), ["S", "M", "L"], ordered=True
            ),
            "flag": z > 0,
            "constant": 1.0,
        },
        index=pd.Index([f"row {i}" for i in range(n)], name="id"),
    )
    for name in ("length", "mass", "sex", "size"):
        frame[name] = frame[name].mask(rng.random(n) < 0.1)
    return frame


@pytest.fixture(scope="module")
def case():
    frame = mixed()
    return VAEImputer(**LINEAR).fit(frame), frame


def spy(imputer, tables):
    """The imputer, with the tables that it fills noted."""
    transform = imputer.transform
    imputer.transform = lambda X: tables.append(X) or transform(X)
    return imputer


# Which entries are hidden -------------------------------------------------------------------------


def test_only_observed_entries_are_hidden_and_holes_stay():
    X, tables = factors(), []
    imputer = spy(VAEImputer(**LINEAR).fit(X), tables)
    entries = overimpute(imputer, X, share=0.2, refit=False, random_state=0).entries
    hidden = np.isnan(tables[0]) & ~np.isnan(X)
    assert_array_equal(np.isnan(tables[0]) & np.isnan(X), np.isnan(X))
    assert_array_equal(tables[0][~hidden], X[~hidden])
    named = np.zeros_like(hidden)
    named[entries["row"].astype(int), entries["column"].astype(int)] = True
    assert_array_equal(named, hidden)
    assert_array_equal(hidden.sum(axis=0), np.round(0.2 * (~np.isnan(X)).sum(axis=0)))


@pytest.mark.parametrize("refit", [True, False])
def test_true_values_are_those_of_the_table(case, refit):
    imputer, frame = case
    result = overimpute(imputer, frame, share=0.2, refit=refit, random_state=0)
    assert result.columns == [name for name in frame if name != "constant"]
    assert list(result.levels) == ["sex", "size", "flag"]
    for name in result.columns:
        part = result.of_column(name)
        assert part["true"].tolist() == frame.loc[part["row"], name].tolist()
        assert len(part) == max(1, round(0.2 * frame[name].notna().sum()))
        assert part["row"].is_unique
        assert part["imputed"].notna().all()
        if name in result.levels:
            assert set(part["imputed"]) <= set(result.levels[name].tolist())
            assert part[["lower", "upper"]].isna().all(axis=None)
        else:
            assert part["true"].dtype == float
            assert (part["lower"] <= part["imputed"]).all()
            assert (part["imputed"] <= part["upper"]).all()


def test_whole_numbers_stay_whole(case):
    result = overimpute(*case, random_state=0)
    for name in ("mass", "visits", "plain"):
        part = result.of_column(name)
        assert (part[["imputed", "lower", "upper"]] % 1 == 0).all(axis=None)
    X = case[1][["visits", "plain"]].to_numpy()
    result = overimpute(VAEImputer(1, hidden_layer_sizes=()).fit(X), X, random_state=0)
    assert (result.entries["imputed"] % 1 == 0).all()


def test_imputed_values_are_those_of_a_fit_without_them():
    X = factors()
    imputer = VAEImputer(**LINEAR, n_estimators=2).fit(X)
    entries = overimpute(imputer, X, coverage=0.8, random_state=3).entries
    rows, columns = entries["row"].to_numpy(), entries["column"].astype(int).to_numpy()
    holed = X.copy()
    holed[rows, columns] = np.nan
    fresh = VAEImputer(**LINEAR).fit(holed)
    assert_allclose(entries["imputed"], fresh.transform(holed)[rows, columns])
    lower, upper = fresh.predict_interval(holed, coverage=0.8)
    assert_allclose(entries["lower"], lower[rows, columns])
    assert_allclose(entries["upper"], upper[rows, columns])


@pytest.mark.parametrize("refit", [True, False])
def test_values_that_are_hidden_do_not_matter(refit):
    X = factors()
    imputer = VAEImputer(**LINEAR).fit(X)
    entries = overimpute(imputer, X, refit=refit, random_state=0).entries
    other = X.copy()
    other[entries["row"], entries["column"].astype(int)] += 1.0
    again = overimpute(imputer, other, refit=refit, random_state=0).entries
    assert_allclose(again["true"], entries["true"] + 1.0)
    assert_array_equal(again["imputed"], entries["imputed"])


def test_the_fitted_imputer_stays_as_it_is(case):
    imputer, frame = case
    before = imputer.transform(frame)
    overimpute(imputer, frame, random_state=0)
    pd.testing.assert_frame_equal(imputer.transform(frame), before)


def test_random_state_decides():
    X = factors()
    imputer = VAEImputer(**LINEAR).fit(X)
    first, again, other = (overimpute(imputer, X, random_state=s).entries for s in (0, 0, 1))
    pd.testing.assert_frame_equal(first, again)
    assert not first["row"].equals(other["row"])


def test_repeats_hide_other_entries(case):
    result = overimpute(*case, n_repeats=3, columns=["length", "sex"], random_state=0)
    assert result.columns == ["length", "sex"]
    groups = result.entries.groupby("repeat")
    assert groups.size().nunique() == 1
    assert len({tuple(group["row"]) for _, group in groups}) == 3


def test_markers_are_holes_and_never_hidden():
    X = factors()
    marked = np.where(np.isnan(X), -999.0, X)
    plain, other = (
        overimpute(VAEImputer(**LINEAR, missing_values=m).fit(T), T, random_state=0).entries
        for m, T in ((np.nan, X), (-999.0, marked))
    )
    pd.testing.assert_frame_equal(plain, other)


def test_other_containers_and_settings(case):
    imputer, frame = case
    usual = overimpute(imputer, frame, random_state=0).entries
    more = VAEImputer(**LINEAR, add_indicator=True, keep_empty_features=True)
    more.set_output(transform="pandas").fit(frame.assign(empty=np.nan))
    result = overimpute(more, frame.assign(empty=np.nan), random_state=0)
    pd.testing.assert_frame_equal(result.entries, usual)
    array = frame.to_numpy(dtype=object)
    entries = overimpute(VAEImputer(**LINEAR).fit(array), array, random_state=0).entries
    assert entries["true"].tolist() == usual["true"].tolist()


def test_output_of_polars():
    pytest.importorskip("polars")
    X = factors()
    usual = overimpute(VAEImputer(**LINEAR).fit(X), X, random_state=0).entries
    imputer = VAEImputer(**LINEAR).set_output(transform="polars").fit(X)
    pd.testing.assert_frame_equal(overimpute(imputer, X, random_state=0).entries, usual)


@pytest.mark.parametrize("refit", [True, False])
@pytest.mark.filterwarnings("error")
def test_tables_of_polars(refit):
    polars = pytest.importorskip("polars")
    frame = mixed()[["length", "visits", "sex"]].reset_index(drop=True)
    other = polars.from_pandas(frame)
    usual, entries = (
        overimpute(VAEImputer(**LINEAR).fit(X), X, refit=refit, random_state=0).entries
        for X in (frame, other)
    )
    assert entries["true"].tolist() == usual["true"].tolist()
    assert entries["imputed"].tolist() == usual["imputed"].tolist()


def test_columns_that_a_new_table_lacks_are_left_out(case):
    imputer, frame = case
    new = frame.iloc[:30].assign(length=np.nan)
    assert "length" not in overimpute(imputer, new, refit=False, random_state=0).columns


def test_levels_without_a_model_are_not_hidden():
    frame = mixed().assign(sex=lambda f: f["sex"].where(np.arange(len(f)) % 3 > 0, "unknown"))
    imputer = VAEImputer(**LINEAR).fit(mixed())
    with pytest.warns(UserWarning, match="unknown"):
        result = overimpute(imputer, frame, share=0.5, refit=False, random_state=0)
    assert set(result.of_column("sex")["true"]) == {"female", "male"}
    frame = mixed().replace({"sex": {"male": "unknown"}})
    with pytest.warns(UserWarning, match="unknown"):
        result = overimpute(imputer, frame, share=0.5, random_state=0)
    part = result.of_column("sex")  # of what the copy knows, the imputer knows but one
    assert set(part["true"]) == {"female"}
    assert set(part["imputed"]) == {"female", None}
    assert result.confusion("sex").to_numpy().sum() == (part["imputed"] == "female").sum()


# Measures -----------------------------------------------------------------------------------------


def test_summary_is_that_of_the_entries(case):
    result = overimpute(*case, share=0.3, random_state=0)
    summary = result.summary()
    part = result.of_column("mass")
    error = part["imputed"] - part["true"]
    assert summary.loc["mass", "n"] == len(part)
    assert summary.loc["mass", "rmse"] == pytest.approx(np.sqrt(np.mean(error**2)))
    assert summary.loc["mass", "mae"] == pytest.approx(np.abs(error).mean())
    assert summary.loc["mass", "width"] == pytest.approx((part["upper"] - part["lower"]).mean())
    inside = (part["lower"] <= part["true"]) & (part["true"] <= part["upper"])
    assert summary.loc["mass", "coverage"] == pytest.approx(inside.mean())
    assert np.isnan(summary.loc["mass", "share_right"])
    levels = result.of_column("size")
    assert summary.loc["size", "share_right"] == (levels["true"] == levels["imputed"]).mean()
    assert summary.loc["size", ["rmse", "mae", "coverage", "width"]].isna().all()


def test_confusion_counts_every_entry(case):
    result = overimpute(*case, share=0.3, random_state=0)
    for name in result.levels:
        counts, part = result.confusion(name), result.of_column(name)
        assert counts.index.tolist() == counts.columns.tolist() == result.levels[name].tolist()
        assert counts.to_numpy().sum() == len(part)
        assert np.trace(counts) == (part["true"] == part["imputed"]).sum()
        assert_array_equal(
            counts.sum(axis=1), part["true"].value_counts().reindex(counts.index, fill_value=0)
        )
    with pytest.raises(KeyError, match="'length' holds numbers"):
        result.confusion("length")
    with pytest.raises(KeyError, match="No entry of a column 'age'"):
        result.of_column("age")


def test_knowing_the_rest_helps(case):
    imputer, frame = case
    summary = overimpute(imputer, frame, share=0.3, random_state=0).summary()
    assert summary.loc["plain", "rmse"] < 0.5 * frame["plain"].std()
    assert summary.loc["flag", "share_right"] > 0.8


# Calibration --------------------------------------------------------------------------------------


def test_a_perfect_world_is_covered_as_promised():
    X = factors(400, 6, seed=1)
    imputer = VAEImputer(**LINEAR).fit(X)
    found = interval_calibration(imputer, X, share=0.2, n_repeats=3, random_state=0)
    nominal = found.by_column.index.to_numpy()
    assert_allclose(found.overall, nominal, atol=0.06)
    assert found.error < 0.04


def test_coverage_is_that_of_the_same_entries_overimputed():
    X = factors()
    imputer = VAEImputer(**LINEAR).fit(X)
    found = interval_calibration(imputer, X, (0.9, 0.5), n_repeats=2, random_state=5)
    assert found.by_column.index.tolist() == [0.5, 0.9]
    for level in (0.5, 0.9):
        result = overimpute(imputer, X, coverage=level, n_repeats=2, random_state=5)
        summary = result.summary()
        assert_allclose(found.by_column.loc[level], summary["coverage"])
        assert_array_equal(found.n_entries, summary["n"])
        inside = result.entries["true"].between(result.entries["lower"], result.entries["upper"])
        assert found.overall[level] == pytest.approx(inside.mean())


def test_wider_intervals_cover_no_less(case):
    found = interval_calibration(*case, random_state=0)
    assert list(found.by_column.columns) == ["length", "mass", "visits", "plain"]
    assert (found.by_column.diff().dropna() >= 0).all(axis=None)
    assert 0 <= found.error <= 1
