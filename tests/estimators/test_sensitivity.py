"""What if hidden values are not as the model has them: scenarios of shifted draws."""

import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from pandas.testing import assert_frame_equal
from sklearn.exceptions import NotFittedError

from skvae import VAEImputer

LINEAR = {"hidden_layer_sizes": (), "n_components": 1, "max_iter": 30, "random_state": 0}


def table(n=150):
    """Numbers, counts, whole numbers and levels of one factor, with holes at random."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=n)

    def near():
        return z + 0.5 * rng.normal(size=n)

    full = pd.DataFrame(
        {
            "x": near(),
            "y": near(),
            "p": np.exp(near()),
            "k": pd.array(rng.poisson(np.exp(1 + 0.5 * z)), dtype="Int64"),
            "i": pd.array(np.round(1000 * near()).astype(int), dtype="Int64"),
            "s": pd.array(np.where(near() > 0, "u", "v")),
            "seen": near(),
            "same": 1.0,
        },
        index=pd.Index(range(100, 100 + n), name="row"),
    )
    holes = rng.random(full.shape) < 0.3
    holes[:, 6:] = False
    return full.mask(holes)


X = table()
HOLE = X.isna()


@pytest.fixture(scope="module")
def imputer():
    return VAEImputer(**LINEAR, column_types={"p": "positive"}).fit(X)


@pytest.fixture(scope="module")
def nonignorable():
    laws = {"x": "high", "k": "high", "p": "low"}
    return VAEImputer(
        **LINEAR,
        mechanism="mnar",
        missingness_model=laws,
        column_types={"p": "positive"},
        n_estimators=2,
    ).fit(X)


@pytest.fixture(scope="module", params=["mar", "mnar"])
def either(request, imputer, nonignorable):
    return imputer if request.param == "mar" else nonignorable


def shifted(imputer, X=X, n_draws=2, random_state=0, **shifts):
    return imputer.sensitivity(X, shifts, n_draws=n_draws, random_state=random_state)


def test_no_shift_is_no_departure(either):
    (scenario,) = shifted(either, x=0.0, n_draws=3)
    assert scenario.shifts == {"x": 0.0}
    plain = either.sample_imputations(X, 3, random_state=0)
    for own, other in zip(scenario.tables, plain, strict=True):
        assert_frame_equal(own, other)


@pytest.mark.parametrize(("column", "by"), [("x", -1.5), ("p", 2.0), ("k", 2), ("i", 50)])
def test_hidden_values_move_by_the_shift(either, column, by):
    (scenario,) = shifted(either, **{column: by})
    plain = either.sample_imputations(X, 2, random_state=0)
    for own, other in zip(scenario.tables, plain, strict=True):
        assert (own.dtypes == X.dtypes).all()
        assert own.index.equals(X.index)
        assert not own.isna().any(axis=None)
        moved = (own[column] - other[column])[HOLE[column]].astype(float)
        assert_allclose(moved, by, atol=1e-9)
        assert_frame_equal(own.mask(HOLE), X)


def test_the_rest_of_the_row_responds(either):
    down, up = shifted(either, x=[-3.0, 3.0], n_draws=5)
    assert (down.shifts, up.shifts) == ({"x": -3.0}, {"x": 3.0})
    both, alone = HOLE["x"] & HOLE["y"], ~HOLE["x"] & HOLE["y"]

    def mean(scenario, column, rows):
        return np.mean([t.loc[rows, column].astype(float).mean() for t in scenario.tables])

    assert mean(up, "y", both) > mean(down, "y", both) + 0.5
    # Rows whose x was seen are not concerned.
    assert abs(mean(up, "y", alone) - mean(down, "y", alone)) < 0.1
    for column in "pki":
        rows = HOLE["x"] & HOLE[column]
        assert mean(up, column, rows) > mean(down, column, rows)


def test_sequences_make_scenarios(imputer):
    scenarios = shifted(imputer, x=[0, 1, 2], k=3)
    assert [s.shifts for s in scenarios] == [{"x": float(x), "k": 3.0} for x in range(3)]
    first, second, third = (s.tables[0]["x"] for s in scenarios)
    assert_allclose((second - first)[HOLE["x"]], 1)
    assert_allclose((third - second)[HOLE["x"]], 1)
    arrays = imputer.sensitivity(X, {"x": np.arange(3), "k": (3, 3, 3)}, 2, 0)
    for own, other in zip(arrays, scenarios, strict=True):
        assert_frame_equal(own.tables[1], other.tables[1])


def test_seeds_decide(either):
    one, again, other = (
        shifted(either, x=1.0, random_state=seed)[0].tables[1] for seed in (0, 0, 1)
    )
    assert_frame_equal(one, again)
    assert not one.equals(other)
    random = np.random.RandomState(0)
    first, second = (shifted(either, x=1.0, random_state=random)[0].tables[1] for _ in range(2))
    assert_frame_equal(first, one)
    assert not first.equals(second)


def test_rows_and_columns_without_holes(either):
    whole = X.dropna().head(5)
    for row in shifted(either, X=whole, x=1.0)[0].tables:
        assert_frame_equal(row, whole)
    for own, other in zip(
        shifted(either, seen=5.0)[0].tables,
        either.sample_imputations(X, 2, random_state=0),
        strict=True,
    ):
        assert_frame_equal(own, other)
    # Columns that had no hole at fit may have some now.
    new = X.head(30).assign(seen=np.nan)
    moved, plain = (shifted(either, X=new, seen=by)[0].tables[0]["seen"] for by in (2.0, 0.0))
    assert_allclose(moved - plain, 2.0)


def test_arrays_have_positions():
    array = X[["x", "y"]].to_numpy()
    imputer = VAEImputer(**LINEAR).fit(array)
    (scenario,) = imputer.sensitivity(array, {1: 1.0}, 2, 0)
    plain = imputer.sample_imputations(array, 2, 0)
    hole = np.isnan(array[:, 1])
    for own, other in zip(scenario.tables, plain, strict=True):
        assert_allclose((own - other)[hole, 1], 1.0)


@pytest.mark.parametrize(("column", "by"), [("p", -0.5), ("p", -50.0), ("k", -5)])
def test_columns_keep_their_kind(either, column, by):
    with pytest.warns(UserWarning, match=rf"\['{column}'\] further down.*smaller shifts"):
        (scenario,) = shifted(either, **{column: by})
    for each in scenario.tables:
        assert not each.isna().any(axis=None)
        assert (each["k"] >= 0).all()
        assert (each["p"] > 0).all()


@pytest.mark.parametrize(
    ("shifts", "words"),
    [
        ({}, "shifts must map columns to numbers"),
        (None, "shifts must map columns"),
        ([1.0], "shifts must map columns"),
        ({"zz": 1}, r"shifts names columns that are not in X: \['zz'\]; X has: x, y, p"),
        ({"same": 1}, r"constant or empty at fit: \['same'\]. Leave them out"),
        ({"s": 1}, r"columns of numbers; these have levels: \['s'\]"),
        ({"x": np.nan}, r"shifts\['x'\] must be a finite number.*nan"),
        ({"x": [0, np.inf]}, r"shifts\['x'\] must be a finite number.*inf"),
        ({"x": "much"}, r"shifts\['x'\].*'much'"),
        ({"x": None}, r"shifts\['x'\].*None"),
        ({"x": 1j}, r"shifts\['x'\].*1j"),
        ({"x": [[1, 2]]}, r"shifts\['x'\].*sequence"),
        ({"x": []}, r"shifts\['x'\].*sequence"),
        ({"x": [1, 2], "y": [1, 2, 3]}, r"one length.*'x': 2, 'y': 3"),
        ({"k": 0.5}, "Column 'k' holds counts: shift it by whole numbers"),
        ({"x": 1e300}, "Column 'x' holds 1e"),
    ],
)
def test_bad_shifts(imputer, shifts, words):
    with pytest.raises(ValueError, match=words):
        imputer.sensitivity(X, shifts)


@pytest.mark.parametrize("n_draws", [0, -1, 2.0, "many", None])
def test_bad_number_of_draws(imputer, n_draws):
    with pytest.raises(ValueError, match="n_draws must be a positive integer"):
        imputer.sensitivity(X, {"x": 1}, n_draws=n_draws)


def test_another_table(imputer):
    with pytest.raises(NotFittedError):
        VAEImputer(mechanism="mnar").sensitivity(X, {"x": 1})
    with pytest.raises(ValueError, match="feature names should match"):
        imputer.sensitivity(X.rename(columns={"x": "z"}), {"x": 1})


def test_nothing_to_model():
    same = pd.DataFrame({"a": [1.0, np.nan, 1.0]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        imputer = VAEImputer(**LINEAR).fit(same)
    with pytest.raises(ValueError, match=r"constant or empty at fit: \['a'\]"):
        imputer.sensitivity(same, {"a": 1})
