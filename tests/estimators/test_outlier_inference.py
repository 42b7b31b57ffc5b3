"""`VAEOutlierDetector(inference=...)`: how rows get their posteriors."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.utils._param_validation import InvalidParameterError

from skvae import VAEOutlierDetector

WAYS = ["amortized", "posterior_matching", "adaptive"]
QUICK = {"n_components": 2, "hidden_layer_sizes": (12,), "max_iter": 100, "random_state": 0}


@pytest.fixture(scope="module")
def curved():
    """Training rows, and others with holes of which the first is odd."""
    rng = np.random.default_rng(0)
    angle = rng.uniform(-2, 2, size=200)
    X = np.column_stack([np.sin(angle), np.cos(angle), angle, angle**2])
    X += 0.1 * rng.normal(size=X.shape)
    test = X[150:].copy()
    test[rng.random(test.shape) < 0.3] = np.nan
    test[0] = [1.0, 1.0, -2.0, np.nan]
    return X[:150], test


@pytest.mark.parametrize("score", ["log_likelihood", "elbo", "reconstruction", "ensemble"])
@pytest.mark.parametrize("way", WAYS[1:])
def test_odd_rows_are_odd_whatever_the_way(way, score, curved):
    detector = VAEOutlierDetector(score, inference=way, **QUICK).fit(curved[0])
    scores = detector.score_samples(curved[1])
    assert np.isfinite(scores).all()
    assert (scores < scores[0]).sum() < 5
    some = [0, 7, 30]
    assert_allclose(detector.score_samples(curved[1][some]), scores[some], atol=1e-4)
    copy = pickle.loads(pickle.dumps(detector))
    assert_array_equal(copy.score_samples(curved[1]), scores)


def test_adaptive_bounds_are_higher(curved):
    """Both detectors have the same model, and their scores the same constants but for the gap."""
    one, two = (
        VAEOutlierDetector("elbo", inference=way, **QUICK).fit(curved[0]) for way in WAYS[::2]
    )
    whole = curved[0][:40]
    assert (two.score_samples(whole) - one.score_samples(whole)).min() > -0.02


@pytest.mark.parametrize("way", WAYS)
def test_all_explain(way, curved):
    detector = VAEOutlierDetector(inference=way, **QUICK).fit(curved[0])
    table = detector.explain(curved[1][:2])
    assert np.isfinite(table["std"]).all()
    assert table.loc[0, "surprise"].max() > table.loc[1, "surprise"].max()


def test_matching_without_complete_rows(curved):
    X = curved[0].copy()
    X[np.arange(150), np.arange(150) % 4] = np.nan
    detector = VAEOutlierDetector(inference="posterior_matching", **QUICK)
    with pytest.raises(ValueError, match=r"0 of 120 rows are, and 20 must be"):
        detector.fit(X)


def test_bad_values_are_rejected(curved):
    with pytest.raises(InvalidParameterError, match="'inference' parameter"):
        VAEOutlierDetector(inference="exact").fit(curved[0])
