"""Fits that go on: what was seen so far, and what a call costs that fails."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris

from skvae import (
    MultimodalVAE,
    SemiSupervisedVAEClassifier,
    VAEImputer,
    VAEOutlierDetector,
    VAETransformer,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

QUICK = {"hidden_layer_sizes": (), "n_components": 1, "random_state": 0}


def table():
    """Flowers in random order, and their kinds."""
    iris = load_iris(as_frame=True)
    order = np.random.default_rng(0).permutation(150)
    frame = iris.data.iloc[order].reset_index(drop=True)
    frame = frame.mask(np.random.default_rng(1).random(frame.shape) < 0.1)
    return frame, iris.target.to_numpy()[order]


@pytest.mark.parametrize("subsample", [50, 200_000])
@pytest.mark.parametrize(
    "kind", [VAEImputer, VAETransformer, VAEOutlierDetector, MultimodalVAE], ids=str
)
def test_parts_are_the_whole(kind, subsample):
    frame, _ = table()
    parts = [frame[:40], frame[40:90], frame[90:]]
    whole = kind(**QUICK, subsample=subsample).fit(parts)
    model = kind(**QUICK, subsample=subsample)
    for part in parts:
        assert model.partial_fit(part) is model
    np.testing.assert_array_equal(model.score_samples(frame), whole.score_samples(frame))
    # A pickle goes on where the estimator was.
    again = pickle.loads(pickle.dumps(model)).partial_fit(frame[:40])
    whole = kind(**QUICK, subsample=subsample).fit([*parts, frame[:40]])
    np.testing.assert_array_equal(again.score_samples(frame), whole.score_samples(frame))


@pytest.mark.parametrize("subsample", [50, 200_000])
def test_parts_with_labels(subsample):
    frame, y = table()
    y = np.where(np.arange(150) % 4 == 0, y, -1)
    settings = {**QUICK, "subsample": subsample}
    whole = SemiSupervisedVAEClassifier(**settings).fit(frame, y)
    model = SemiSupervisedVAEClassifier(**settings)
    model.partial_fit(frame[:40], y[:40], classes=[0, 1, 2])
    model.partial_fit(frame[40:].assign(label=y[40:]), "label")
    np.testing.assert_array_equal(model.predict_proba(frame), whole.predict_proba(frame))


def test_weights_with_and_without():
    frame, _ = table()
    weight = np.arange(150.0) % 3
    both = np.concatenate([weight[:70], np.ones(80)])
    whole = VAETransformer(**QUICK, subsample=50).fit(frame, sample_weight=both)
    model = VAETransformer(**QUICK, subsample=50)
    model.partial_fit(frame[:70], sample_weight=weight[:70]).partial_fit(frame[70:])
    np.testing.assert_array_equal(model.transform(frame), whole.transform(frame))


def test_fit_starts_anew():
    frame, _ = table()
    model = VAETransformer(**QUICK).partial_fit(frame[:50]).fit(frame[50:])
    once = VAETransformer(**QUICK).fit(frame[50:])
    np.testing.assert_array_equal(model.transform(frame), once.transform(frame))
    with pytest.warns(UserWarning, match="was fitted by fit, which keeps no rows"):
        model.partial_fit(frame[:50])
    once = VAETransformer(**QUICK).fit(frame[:50])
    np.testing.assert_array_equal(model.transform(frame), once.transform(frame))


def test_a_call_that_fails_is_forgotten():
    frame, _ = table()
    model = VAETransformer(**QUICK).partial_fit(frame[:50])
    before = model.transform(frame)
    bad = frame[50:].assign(**{frame.columns[0]: np.inf})
    with pytest.raises(ValueError, match="infinity"):
        model.partial_fit(bad)
    np.testing.assert_array_equal(model.transform(frame), before)
    model.partial_fit(frame[50:])
    once = VAETransformer(**QUICK).fit(frame)
    np.testing.assert_array_equal(model.transform(frame), once.transform(frame))
    fresh = VAETransformer(**QUICK)
    with pytest.raises(ValueError, match="infinity"):
        fresh.partial_fit(bad)
    assert not hasattr(fresh, "n_features_in_")


def test_columns_must_stay():
    frame, _ = table()
    model = VAETransformer(**QUICK).partial_fit(frame[:50])
    with pytest.raises(ValueError, match="feature names should match"):
        model.partial_fit(frame[50:].rename(columns={frame.columns[1]: "other"}))
    with pytest.raises(ValueError, match="feature names should match"):
        model.partial_fit(frame.iloc[50:, :3])
    with (
        pytest.warns(UserWarning, match="valid feature names"),
        pytest.raises(ValueError, match="a frame where an array was given before"),
    ):
        model.partial_fit(frame[50:].to_numpy())
    model.set_params(subsample=20)
    with pytest.raises(ValueError, match="subsample=20 was 200000"):
        model.partial_fit(frame[50:])


def test_classes_that_may_come():
    frame, y = table()
    names = np.array(["setosa", "versicolor", "virginica"], dtype=object)[y]
    model = SemiSupervisedVAEClassifier(**QUICK)
    with pytest.raises(ValueError, match=r"labels \['virginica'\], which are not in classes="):
        model.partial_fit(frame, names, classes=["setosa", "versicolor"])
    first = names[:60].copy()
    first[first == "virginica"] = -1
    model.partial_fit(frame[:60], first, classes=["virginica", "versicolor", "setosa"])
    assert model.classes_.tolist() == ["setosa", "versicolor"]
    with pytest.raises(ValueError, match="in an earlier call"):
        model.partial_fit(frame[60:], names[60:], classes=["setosa"])
    model.partial_fit(frame[60:], names[60:])
    assert model.classes_.tolist() == ["setosa", "versicolor", "virginica"]
    with pytest.raises(ValueError, match="requires y to be passed"):
        model.partial_fit(frame, None)
    # fit knows nothing of what was announced.
    other = np.where(names == "setosa", "one", "two")
    assert model.fit(frame, other).classes_.tolist() == ["one", "two"]


def test_new_levels_and_wider_dtypes():
    one = pd.DataFrame({"a": [1, 2, 3, 4] * 10, "b": ["x", "y"] * 20})
    two = pd.DataFrame({"a": [1.5, np.nan] * 10, "b": ["z", None] * 10})
    imputer = VAEImputer(**QUICK).partial_fit(one).partial_fit(two)
    assert imputer._codec.columns[1].categories.tolist() == ["x", "y", "z"]
    assert imputer._codec.columns[0].dtype == float
    assert not imputer.transform(two).isna().any(axis=None)
