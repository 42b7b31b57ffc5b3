"""`VAEOutlierDetector` on odd tables and with wrong arguments."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

from skvae import VAEOutlierDetector

SMALL = {"hidden_layer_sizes": (8,), "max_iter": 20, "random_state": 0}
RANDOM = np.random.default_rng(0)
ROWS = RANDOM.normal(size=(60, 4))


def frame():
    group = np.where(RANDOM.random(60) < 0.5, "a", "b")
    return pd.DataFrame({"x": ROWS[:, 0], "y": ROWS[:, 1], "group": group, "same": 3})


def fit(X, score="ensemble", **options):
    return VAEOutlierDetector(score, **{**SMALL, **options}).fit(X)


def assert_usable(detector, X):
    scores = detector.score_samples(X)
    assert scores.shape == (len(X),)
    assert np.isfinite(scores).all()
    assert set(detector.predict(X)) <= {-1, 1}


@pytest.mark.parametrize(
    "X",
    [
        ROWS[:2],
        ROWS[:3],
        ROWS[:, :1],
        RANDOM.normal(size=(5, 20)),
        np.repeat(ROWS[:4], 20, axis=0),
        np.column_stack([ROWS, np.ones(60)]),
        np.column_stack([ROWS, ROWS[:, 0]]),
        np.round(ROWS),
        ROWS * 1e12,
        ROWS * 1e-12,
    ],
    ids=[
        "two rows",
        "three rows",
        "one column",
        "wide",
        "repeated rows",
        "constant column",
        "repeated column",
        "ties",
        "large",
        "small",
    ],
)
def test_odd_tables_are_scored(X):
    assert_usable(fit(X), X)


def test_one_row_is_too_few():
    with pytest.raises(ValueError, match="n_samples=1"):
        fit(ROWS[:1])


def test_a_table_without_variation_finds_what_breaks_it():
    X = np.ones((20, 3))
    detector = fit(X)
    assert (detector.predict(X) == 1).all()
    odd = np.ones((2, 3))
    odd[1, 2] = 5
    assert detector.predict(odd).tolist() == [1, -1]
    table = detector.explain(odd)
    assert table.index.tolist() == [(1, 2)]
    assert table.loc[(1, 2), "expected"] == 1
    assert detector.explain(X).empty


def test_a_broken_constant_is_a_rare_event():
    X = frame()
    detector = fit(X)
    odd = X.iloc[:2].copy()
    odd["same"] = [3, 4]
    plain, broken = detector.score_samples(X.iloc[:2]), detector.score_samples(odd)
    assert broken[0] == pytest.approx(plain[0])
    assert broken[1] == pytest.approx(plain[1] - np.log(121))
    assert detector.predict(odd)[1] == -1
    table = detector.explain(odd)
    assert ("same" in table.loc[0].index, "same" in table.loc[1].index) == (False, True)
    assert table.loc[(1, "same"), "expected"] == 3


def test_unseen_categories_are_rare_events_not_errors():
    X = frame()
    detector = fit(X)
    odd = X.iloc[:2].copy()
    odd["group"] = [X["group"].iloc[0], "never"]
    with pytest.warns(UserWarning, match=r"count as rare events: column 'group': 'never'"):
        scores = detector.score_samples(odd)
    assert scores[1] < detector.score_samples(X.iloc[:2])[1] - 2
    with pytest.warns(UserWarning, match="rare events"):
        assert detector.explain(odd).loc[1].index[0] == "group"


def test_rows_without_any_value_score_like_average_ones():
    detector = fit(ROWS)
    empty = np.full((2, 4), np.nan)
    with pytest.warns(UserWarning, match=r"2 row\(s\) of X have no observed value"):
        scores = detector.score_samples(empty)
    assert np.isfinite(scores).all()
    np.testing.assert_array_equal(scores, np.sort(detector.score_samples(ROWS))[29])
    with pytest.warns(UserWarning, match="no observed value"):
        assert (detector.predict(empty) == 1).all()


def test_an_all_absent_column_is_skipped_with_a_warning():
    X = np.column_stack([ROWS, np.full(60, np.nan)])
    with pytest.warns(UserWarning, match="without any observed values"):
        detector = fit(X)
    assert_usable(detector, X)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"contamination": 0.6}, "contamination"),
        ({"contamination": 0.0}, "contamination"),
        ({"contamination": "some"}, "contamination"),
        ({"score": "likelihood"}, "score"),
        ({"n_components": 9}, "n_components=9 is more than the 4 features"),
        ({"robust": "yes"}, "robust"),
        ({"beta": -1.0}, "beta"),
        ({"beta": 2.0, "hidden_layer_sizes": ()}, "beta=2.0 is for the networks"),
    ],
)
def test_wrong_parameters_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        fit(ROWS, **options)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.where(ROWS > 2, np.inf, ROWS), "infinity"),
        (pd.DataFrame(ROWS[:, [0, 0]], columns=["a", "a"]), "duplicate column names"),
    ],
)
def test_tables_that_cannot_be_modelled_are_refused(X, message):
    with pytest.raises(ValueError, match=message):
        fit(X)


def test_other_tables_are_refused_at_predict():
    detector = fit(frame())
    with pytest.raises(ValueError, match="feature"):
        detector.predict(frame()[["x", "y"]])
    with pytest.raises(TypeError, match="'x'"):
        detector.predict(frame().assign(x="text"))
    with pytest.raises(ValueError, match="n_samples"):
        detector.explain(frame(), n_samples=0)


def test_unfitted_detectors_say_so():
    with pytest.raises(NotFittedError):
        VAEOutlierDetector().predict(ROWS)
    with pytest.raises(NotFittedError):
        VAEOutlierDetector().explain(ROWS)


def test_clean_input_is_silent(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        detector = fit(frame())
        detector.predict(frame())
        detector.explain(frame().iloc[:2])
    assert capsys.readouterr() == ("", "")
