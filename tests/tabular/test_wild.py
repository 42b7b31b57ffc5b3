"""Numbers that outweigh all others of their column are told, and those of a usual tail are not."""

import warnings

import numpy as np
import pandas as pd
import pytest

from skvae import VAEImputer, VAEOutlierDetector, VAETransformer

LINEAR = {"hidden_layer_sizes": (), "random_state": 0}
RNG = np.random.default_rng(0)


def spoiled(value):
    x = RNG.normal(50, 5, 400)
    frame = pd.DataFrame({"u": x, "v": 2 * x + RNG.normal(size=400)})
    frame.loc[1, "v"] = value
    return frame


@pytest.mark.parametrize("value", [-99999.0, 1e8, 1e200])
@pytest.mark.parametrize("kind", [VAEImputer, VAETransformer])
def test_a_wild_value_is_told_with_its_column(kind, value):
    with pytest.warns(UserWarning, match=r"Column 'v' holds .*: 1 value.*make them absent") as told:
        kind(**LINEAR).fit(spoiled(value))
    assert told[0].filename == __file__
    assert f"{value:g}" in str(told[0].message)


def test_the_detector_finds_it_instead():
    frame = spoiled(-99999.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        detector = VAEOutlierDetector(**LINEAR).fit(frame)
    assert detector.score_samples(frame).argmin() == 1


@pytest.mark.parametrize(
    "column",
    [
        RNG.standard_t(3, 5000),
        RNG.exponential(size=5000),
        np.exp(RNG.normal(size=5000)),
        np.where(RNG.random(400) < 0.9, 0.0, 1e6 * RNG.random(400)),  # no middle half
        np.where(RNG.random(400) < 0.9, RNG.normal(size=400), 1e6),  # a second mode
        np.r_[RNG.normal(size=10), 1e9],  # too few to say
    ],
)
def test_tails_are_no_news(column):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        VAEImputer(**LINEAR).fit(np.c_[column, np.arange(len(column)) % 7])


def test_zeros_may_take_the_logarithm_of_one_more():
    with pytest.raises(ValueError, match=r"greater than 0.*'continuous'.*numpy\.log1p"):
        VAEImputer(**LINEAR, column_types={"u": "positive"}).fit(pd.DataFrame({"u": [0.0, 1, 2]}))


@pytest.mark.parametrize("dtype", [float, int])
def test_what_is_masked_is_absent(dtype):
    X = RNG.integers(0, 9, (60, 3)).astype(dtype)
    masked = np.ma.masked_greater(X, 6)
    holed = np.where(X > 6, np.nan, X)
    imputer = VAEImputer(**LINEAR)
    np.testing.assert_array_equal(imputer.fit_transform(masked), imputer.fit_transform(holed))
