"""Draws of columns whose values repeat are values seen at fit; others stay continuous."""

import numpy as np
import pandas as pd
import pytest

from skvae import VAEImputer
from skvae.datasets import ampute
from skvae.estimators._prediction import Hidden, TablePredictor, as_seen

LINEAR = {"hidden_layer_sizes": (), "random_state": 0}
REPEATING = ["dose", "grade", "pair", "price"]


@pytest.fixture(scope="module")
def frame():
    """What repeats: an amount that is often zero, a rounded reading, two values, whole numbers."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(300, 2)) @ np.array([[1.0, 0.5, 0.8, 0.6, 0.7], [0.2, 0.8, -0.4, 0.6, 0]])
    z += 0.3 * rng.normal(size=z.shape)
    table = pd.DataFrame(
        {
            "smooth": z[:, 0],
            "dose": np.where(z[:, 1] > 0.4, np.exp(z[:, 1]), 0.0),
            "grade": np.round(z[:, 2], 1).astype(np.float32),
            "pair": np.where(z[:, 3] > 0, 2.5, -1.0),
            "price": pd.array(50 * np.rint(10 + 3 * z[:, 4]).astype(int), dtype="Int64"),
            "level": pd.Categorical.from_codes((z[:, 4] > 0).astype(int), ["low", "high"]),
        }
    )
    return ampute(table, rate=0.3, random_state=0)


@pytest.fixture(scope="module")
def imputer(frame):
    return VAEImputer(**LINEAR).fit(frame)


@pytest.fixture(scope="module")
def draws(imputer, frame):
    return imputer.sample_imputations(frame, 5, random_state=0)


@pytest.mark.parametrize("name", REPEATING)
def test_columns_that_repeat_draw_what_was_seen(draws, frame, name):
    hole = frame[name].isna()
    for draw in draws:
        assert draw[name].dtype == frame[name].dtype
        assert draw.loc[hole, name].isin(frame[name].dropna()).all()
        assert draw.loc[hole, name].nunique() > 1
        pd.testing.assert_series_equal(draw.loc[~hole, name], frame.loc[~hole, name])


def test_other_columns_stay_continuous(draws, frame):
    hole = frame["smooth"].isna()
    for draw in draws:
        assert draw.loc[hole, "smooth"].is_unique
        assert not draw.loc[hole, "smooth"].isin(frame["smooth"]).any()


def test_means_and_intervals_stay_continuous(imputer, frame):
    hole = frame["grade"].isna()
    for table in (imputer.transform(frame), *imputer.predict_interval(frame)):
        assert not table.loc[hole, "grade"].isin(frame["grade"]).all()


def test_draws_of_new_rows_are_those_seen_at_fit(imputer, frame):
    new = frame.assign(grade=np.float32(0.25)).mask(frame.isna()).astype(frame.dtypes)
    hole = new["grade"].isna()
    draw = imputer.sample_imputations(new, 1, random_state=0)[0]
    assert draw.loc[hole, "grade"].isin(frame["grade"].dropna()).all()
    assert (draw.loc[~hole, "grade"] == np.float32(0.25)).all()


def test_draws_are_repeatable(imputer, draws, frame):
    for one, same in zip(draws, imputer.sample_imputations(frame, 5, random_state=0), strict=True):
        pd.testing.assert_frame_equal(one, same)


def test_draws_of_several_models_are_seen_values(frame):
    imputer = VAEImputer(n_estimators=2, **LINEAR).fit(frame)
    for draw in imputer.sample_imputations(frame, 4, random_state=0):
        hole = frame["smooth"].isna()
        # A model of resampled rows has seen rows more than once, but no value more often.
        assert draw.loc[hole, "smooth"].is_unique
        for name in REPEATING:
            assert draw[name].isin(frame[name].dropna()).all()


def test_weights_are_no_repetition(frame):
    imputer = VAEImputer(**LINEAR).fit(frame, sample_weight=np.full(len(frame), 2.0))
    draw = imputer.sample_imputations(frame, 1, random_state=0)[0]
    assert draw.loc[frame["smooth"].isna(), "smooth"].is_unique


def test_two_values_are_drawn_in_proportion(draws, frame):
    """Values between two seen ones, and beyond them, go to the nearest."""
    hole = frame["pair"].isna()
    drawn = np.mean([(draw.loc[hole, "pair"] == 2.5).mean() for draw in draws])
    assert drawn == pytest.approx((frame["pair"].dropna() == 2.5).mean(), abs=0.12)


def test_counts_are_left_alone():
    rng = np.random.default_rng(0)
    z = rng.normal(size=300)
    X = np.column_stack([z, 2 * rng.poisson(3 * np.exp(0.3 * z))])
    X[200:, 1] = np.nan
    imputer = VAEImputer(column_types={1: "count"}, **LINEAR).fit(X)
    drawn = np.stack(imputer.sample_imputations(X, 5, random_state=0))[:, 200:, 1]
    assert (drawn == np.rint(drawn)).all()
    assert (drawn % 2 == 1).any()


def test_holes_that_say_something_may_hide_what_was_never_seen(imputer, frame):
    """In columns whose holes are not ignorable draws are the density's own."""
    plain = imputer._predictor
    names, p = plain.scaler.names, len(plain.scaler.names)
    hidden = Hidden(np.array(names) == "grade", np.full(p, -np.inf), np.full(p, np.inf))
    predictor = TablePredictor(plain.ensemble, plain.scaler, plain.calibration, hidden)
    values, observed = imputer._codec.encode(frame)
    draw = next(predictor.draws(values, observed, 1, np.random.RandomState(0)))
    grade, dose = names.index("grade"), names.index("dose")
    assert not np.isin(draw[~observed[:, grade], grade], plain.scaler.levels[grade]).any()
    assert np.isin(draw[:, dose], plain.scaler.levels[dose]).all()


def test_nearest_of_the_seen(imputer):
    scaler = imputer._predictor.scaler
    at = scaler.names.index("pair")
    raw = np.zeros((4, len(scaler.names)))
    raw[:, at] = [-1e308, 0.7, 0.8, 1e308]
    snapped = as_seen(scaler, raw)
    np.testing.assert_array_equal(snapped[:, at], [-1.0, -1.0, 2.5, 2.5])
    np.testing.assert_array_equal(snapped[:, scaler.names.index("smooth")], 0.0)
