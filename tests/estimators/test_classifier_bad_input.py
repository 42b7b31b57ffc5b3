"""Bad labels and tables are refused with the column or the label, and a remedy."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

from skvae import SemiSupervisedVAEClassifier

SMALL = {"hidden_layer_sizes": (8,), "max_iter": 20, "random_state": 0}


@pytest.fixture
def table():
    random = np.random.default_rng(0)
    y = np.arange(60) % 2
    frame = pd.DataFrame(random.normal(size=(60, 3)) + y[:, None], columns=["a", "b", "c"])
    return frame, y


def fit(X, y, **settings):
    return SemiSupervisedVAEClassifier(**{**SMALL, **settings}).fit(X, y)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.full(60, -1), "labels no row.*VAETransformer"),
        (np.full(60, np.nan), "labels no row"),
        (np.array([None] * 60), "labels no row"),
        (np.zeros(60, dtype=int), "only one class, 0"),
        (np.where(np.arange(60) < 5, 1, -1), "only one class, 1.*Label rows of another"),
        (np.linspace(0, 1, 60), "Unknown label type.*continuous|continuous"),
        (np.arange(60), "60 classes among 60 labelled rows"),
        (np.array(["x", "-1"] * 30), "dtype object"),
        (np.array(["x", 3] * 30, dtype=object), "mixes strings"),
        (np.array(["x", "-1"] * 30, dtype=object), "string '-1'"),
        ([("a", 1), ("b", 2)] * 30, "1d array"),
        (np.where(np.arange(60) < 30, np.inf, 1.0), "infinity"),
        (np.arange(59) % 2, "60 rows, y 59 labels"),
        (np.zeros((60, 2)), "1d"),
        (np.array([[1, 2], [3]] * 30, dtype=object), "one number or string per row|1d"),
    ],
)
def test_labels_that_are_none(table, labels, message):
    with pytest.raises(ValueError, match=message):
        fit(table[0], labels)


def test_no_labels_at_all(table):
    with pytest.raises(ValueError, match="requires y to be passed"):
        fit(table[0], None)


def test_a_class_with_one_label(table):
    frame, y = table
    known = np.where(np.arange(60) < 20, y, -1)
    known[40] = 2
    classifier = fit(frame, known)
    assert classifier.predict_proba(frame).shape == (60, 3)
    few = np.full(60, -1)
    few[:2] = [0, 1]  # one label for each class
    p = fit(frame, few).predict_proba(frame)
    assert np.isfinite(p).all()


def test_labels_in_any_container(table):
    """NumPy would make strings of what stands beside strings, and drop a mask."""
    frame, y = table
    words = np.where(y, "yes", "no")
    expected = fit(frame, np.where(np.arange(60) < 20, words.astype(object), -1))
    for absent in (None, np.nan, -1):
        known = [word if i < 20 else absent for i, word in enumerate(words.tolist())]
        p = fit(frame, known)
        assert p.classes_.tolist() == ["no", "yes"]
        assert np.array_equal(p.predict_proba(frame), expected.predict_proba(frame))
    masked = np.ma.array(y, mask=np.arange(60) >= 20)
    nullable = pd.array(np.where(np.arange(60) < 20, y, np.nan)).astype("Int64")
    for known in (masked, nullable, pd.Series(nullable)):
        classes = fit(frame, known).classes_
        assert classes.tolist() == [0, 1]
        assert classes.dtype.kind == "i"


def test_values_beyond_single_precision(table):
    frame, y = table
    for model in ("m2", "m1"):
        classifier = fit(frame, y, model=model)
        for method in ("predict_proba", "transform", "score_samples"):
            with pytest.raises(ValueError, match="Column 'a' holds 1e\\+300"):
                getattr(classifier, method)(frame.head(1).assign(a=1e300))


def test_tables(table):
    frame, y = table
    with pytest.raises(ValueError, match="n_samples=60"):
        fit(pd.DataFrame({"a": np.ones(60)}), y)
    with pytest.raises(ValueError, match=r"'b'.*infinit|infinit.*'b'"):
        fit(frame.assign(b=np.inf), y)
    with pytest.raises(ValueError, match=r"duplicate|twice|unique"):
        fit(pd.concat([frame, frame[["a"]]], axis=1), y)
    fit(frame.assign(d=1.0, e=np.nan), y)  # what does not vary tells nothing


def test_prediction_tables(table):
    frame, y = table
    classifier = fit(frame, y)
    with pytest.raises(ValueError, match="feature names"):
        classifier.predict(frame.rename(columns={"a": "z"}))
    with pytest.raises(ValueError, match="features"):
        classifier.predict(frame.to_numpy()[:, :2])
    with pytest.raises(ValueError, match="0 sample"):
        classifier.predict(frame.iloc[:0])


def test_unseen_category_counts_as_absent(table):
    frame, y = table
    frame = frame.assign(d=np.where(y, "u", "v"))
    classifier = fit(frame, y)
    odd = frame.iloc[:2].assign(d="w")
    with pytest.warns(UserWarning, match="'d'"):
        p = classifier.predict_proba(odd)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert p == pytest.approx(classifier.predict_proba(odd.assign(d=None)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "m3"}, "model"),
        ({"label_prior": "flat"}, "label_prior"),
        ({"n_neighbors": 0}, "n_neighbors"),
        ({"classifier_weight": 0}, "classifier_weight"),
        ({"class_weight": {7: 2.0}}, r"\[7\]"),
        ({"class_weight": {0: -1.0}}, "positive"),
        ({"class_weight": {0: "heavy"}}, r"class_weight\[0\] must be a positive number"),
        ({"model": "auxiliary", "hidden_layer_sizes": ()}, "networks"),
        ({"n_components": 9}, "n_components=9"),
        ({"likelihood": {"continuous": "cauchy"}}, "cauchy"),
    ],
)
def test_parameters(table, settings, message):
    with pytest.raises(ValueError, match=message):
        fit(*table, **settings)


def test_sample_arguments(table):
    classifier = fit(*table)
    with pytest.raises(ValueError, match="unknown at fit"):
        classifier.sample(2, y="red")
    with pytest.raises(ValueError, match="one label or 3"):
        classifier.sample(3, y=[0, 1])
    with pytest.raises(ValueError, match="n_samples"):
        classifier.sample(0)
    with pytest.raises(ValueError, match="n_samples"):
        classifier.score_samples(table[0], n_samples=0)


@pytest.mark.parametrize("method", ["predict", "transform", "score_samples"])
def test_not_fitted(table, method):
    with pytest.raises(NotFittedError):
        getattr(SemiSupervisedVAEClassifier(), method)(table[0])


def test_few_rows():
    X = np.array([[0.0, 1.0], [1.0, 0.0], [0.2, 0.9]])
    classifier = fit(X, [0, 1, -1])
    assert classifier.predict(X).shape == (3,)
    assert classifier.transduction_[:2].tolist() == [0, 1]
