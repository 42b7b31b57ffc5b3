"""Diagnostics of imputers: wrong arguments and tables."""

import re

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from skvae import VAEImputer, VAETransformer
from skvae.inspection import (
    ImputationDisplay,
    IntervalCalibrationDisplay,
    OverimputationDisplay,
    interval_calibration,
    overimpute,
)

LINEAR = {"n_components": 1, "hidden_layer_sizes": (), "random_state": 0}
HIDERS = [
    overimpute,
    interval_calibration,
    OverimputationDisplay.from_estimator,
    IntervalCalibrationDisplay.from_estimator,
]
TAKERS = [*HIDERS, ImputationDisplay.from_estimator]


def table(n=40, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    frame = pd.DataFrame(
        {
            "a": z + 0.3 * rng.normal(size=n),
            "b": z + 0.3 * rng.normal(size=n),
            "c": np.where(z > 0, "yes", "no"),
            "constant": 3.0,
            "empty": np.nan,
        }
    )
    frame.loc[:4, "a"] = np.nan
    return frame


@pytest.fixture(scope="module")
def case():
    frame = table()
    with pytest.warns(UserWarning, match="empty"):
        return VAEImputer(**LINEAR).fit(frame), frame


@pytest.mark.parametrize("look", TAKERS)
def test_not_fitted(look):
    with pytest.raises(NotFittedError):
        look(VAEImputer(), table())


@pytest.mark.parametrize("look", TAKERS)
@pytest.mark.parametrize(
    "other", [VAETransformer(), VAEImputer, make_pipeline(VAEImputer()), None, "imputer"]
)
def test_other_estimators(look, other):
    with pytest.raises(ValueError, match="must be a fitted VAEImputer"):
        look(other, table())


@pytest.mark.parametrize("look", TAKERS)
def test_other_tables(look, case):
    imputer, frame = case
    with pytest.raises(ValueError, match="feature"):
        look(imputer, frame.drop(columns="a"))
    with pytest.raises(ValueError, match=r"infinity.*\['b'\]"):
        look(imputer, frame.assign(b=np.inf))
    with pytest.raises(TypeError, match="'b' held numbers at fit but holds text"):
        look(imputer, frame.assign(b="text"))
    twice = frame.set_axis(["a", "a", "c", "constant", "empty"], axis=1)
    with pytest.raises(ValueError, match=r"duplicate column names: \['a'\]"):
        look(imputer, twice)


@pytest.mark.parametrize("look", TAKERS)
@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["a", "age"], "columns names ['age'], which X lacks. Its columns are 'a', 'b'"),
        (["a", "a"], "columns names a column twice"),
        ([], "columns must name columns of X, got []"),
        (["constant"], "Column 'constant' is constant in the table at fit"),
        (["empty"], "Column 'empty' has no observed value in the table at fit"),
    ],
)
def test_columns_that_do_not_suit(look, case, columns, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        look(*case, columns=columns)


@pytest.mark.parametrize("look", HIDERS)
@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, True, "half", None, np.nan])
def test_shares(look, case, share):
    with pytest.raises(ValueError, match="share must lie strictly between 0 and 1, got"):
        look(*case, share=share)


@pytest.mark.parametrize("look", HIDERS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_repeats": 0}, "n_repeats must be an integer of at least 1, got 0"),
        ({"n_repeats": 1.5}, "n_repeats must be an integer of at least 1, got 1.5"),
        ({"refit": "yes"}, "refit must be True or False, got 'yes'"),
        ({"random_state": "seed"}, "'seed' cannot be used to seed"),
    ],
)
def test_arguments(look, case, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        look(*case, **options)


@pytest.mark.parametrize("coverage", [0, 1, True, "wide"])
def test_coverages(case, coverage):
    with pytest.raises(ValueError, match="coverage must lie strictly between 0 and 1"):
        overimpute(*case, coverage=coverage)


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ((0.5, 1.0), "levels must lie strictly between 0 and 1, got 1.0"),
        ((0.5, 0.5), "distinct"),
        ((), "one or more distinct numbers"),
        (0.9, "sequence of numbers, got 0.9"),
        ("0.9", "sequence of numbers, got '0.9'"),
    ],
)
def test_levels_of_calibration(case, levels, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        interval_calibration(*case, levels)


def test_hiding_that_would_empty_a_column(case):
    imputer, frame = case
    one = frame.assign(a=frame["a"].where(frame.index == 7))
    with pytest.raises(ValueError, match=r"'a' has 1 observed entries.*share=0\.1.*columns="):
        overimpute(imputer, one)
    assert "a" in overimpute(imputer, one, refit=False).columns
    with pytest.raises(ValueError, match="Lower share"):
        overimpute(imputer, frame.iloc[5:8], share=0.9)


def test_nothing_to_hide(case):
    imputer, frame = case
    with pytest.raises(ValueError, match="'a' has no observed entry in X"):
        overimpute(imputer, frame.iloc[:4], columns=["a"])
    nothing = frame.assign(a=np.nan, b=np.nan, c=None)
    with pytest.raises(ValueError, match="no observed entry of any column"):
        overimpute(imputer, nothing)


def test_levels_have_no_intervals(case):
    imputer, frame = case
    with pytest.raises(ValueError, match=r"Columns \['c'\] hold levels"):
        interval_calibration(imputer, frame, columns=["a", "c"])
    words = frame[["c"]].assign(d=frame["c"])
    with pytest.raises(ValueError, match="no numeric column"):
        interval_calibration(VAEImputer(**LINEAR).fit(words), words)


def test_nothing_to_compare(case):
    imputer, frame = case
    with pytest.raises(ValueError, match="'b' has no holes in X"):
        ImputationDisplay.from_estimator(imputer, frame, columns=["b"])
    with pytest.raises(ValueError, match="'a' has no observed value in X"):
        ImputationDisplay.from_estimator(imputer, frame.iloc[:4], columns="a")
    with pytest.raises(ValueError, match="X has no holes"):
        ImputationDisplay.from_estimator(imputer, frame.iloc[5:])
    with pytest.raises(ValueError, match="n_draws must be an integer of at least 1, got 0"):
        ImputationDisplay.from_estimator(imputer, frame, n_draws=0)
