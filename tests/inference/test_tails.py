"""Tail probabilities of columns and of scores."""

import numpy as np
import pytest

from skvae.inference.tails import MarginalTails, ScoreTail, smallest_above, weighted_quantiles


def tails_of(x, nominal=False):
    values = np.asarray(x, dtype=float)[:, None]
    return MarginalTails(values, np.ones_like(values, dtype=bool), [nominal], np.ones(len(values)))


def score(tails, x, observed=None):
    values = np.asarray(x, dtype=float).reshape(len(x), -1)
    observed = np.ones_like(values, dtype=bool) if observed is None else observed
    return tails.score(values, observed)


def test_surprise_is_the_log_of_the_longer_tails_share():
    # 1, ..., 10 has no skewness, so that the larger of both sums is the smaller tail.
    tails = tails_of(np.arange(1, 11))
    share = np.array([0.1, 0.2, 0.5, 0.4, 0.1])
    np.testing.assert_allclose(score(tails, [1, 2, 5, 7, 10]), -np.log(share))


def test_values_beyond_all_others_are_as_rare_as_training_rows_can_tell():
    tails = tails_of(np.arange(100))
    np.testing.assert_allclose(score(tails, [-1e9, 1e9]), tails.rare)
    assert tails.rare == pytest.approx(np.log(201))


def test_levels_are_as_surprising_as_those_no_more_frequent():
    codes = np.repeat([0, 1, 2], [70, 20, 10])
    expected = -np.log([1.0, 0.3, 0.1])
    tails = tails_of(codes, nominal=True)
    np.testing.assert_allclose(score(tails, [0, 1, 2]), expected, atol=1e-12)
    assert score(tails, [7]) == pytest.approx(tails.rare)


def test_absent_entries_count_as_an_average_one():
    random = np.random.default_rng(0)
    values = random.normal(size=(500, 3))
    everywhere = np.ones_like(values, dtype=bool)
    tails = MarginalTails(values, everywhere, [False] * 3, np.ones(500))
    hidden = tails.score(values, np.zeros_like(everywhere))
    assert np.ptp(hidden) == 0
    # About one nat per column: tail probabilities are uniform.
    assert hidden[0] == pytest.approx(3.0, abs=0.15)


def test_a_hidden_value_cannot_move_the_score():
    random = np.random.default_rng(0)
    values = random.normal(size=(50, 2))
    observed = random.random(values.shape) < 0.7
    tails = MarginalTails(values, observed, [False, False], np.ones(50))
    moved = np.where(observed, values, 1e6)
    np.testing.assert_array_equal(tails.score(values, observed), tails.score(moved, observed))


def test_weights_are_repetitions():
    random = np.random.default_rng(0)
    values, weight = random.integers(6, size=(40, 2)).astype(float), random.integers(1, 4, size=40)
    heavy = MarginalTails(values, np.ones_like(values, dtype=bool), [False, True], weight)
    long = np.repeat(values, weight, axis=0)
    plain = MarginalTails(long, np.ones_like(long, dtype=bool), [False, True], np.ones(len(long)))
    seen = np.ones_like(values, dtype=bool)
    # Only the floor differs, which depends on the number of rows.
    np.testing.assert_allclose(
        np.minimum(heavy.score(values, seen), 4), np.minimum(plain.score(values, seen), 4)
    )


def test_score_tail_of_an_exponential_variable_is_the_variable():
    scores = np.random.default_rng(0).exponential(size=200_000)
    tail = ScoreTail.fit(scores, np.ones(len(scores)))
    at = np.array([0.1, 1.0, 2.0, 4.0, 10.0, 20.0])
    np.testing.assert_allclose(tail.surprise(at), at, rtol=0.03, atol=0.01)


def test_score_tail_is_continuous_and_never_falls():
    scores = np.round(np.random.default_rng(0).gamma(2, size=300), 1)  # with ties
    tail = ScoreTail.fit(scores, np.ones(300))
    at = np.linspace(scores.min() - 1, scores.max() + 5, 20_001)
    steps = np.diff(tail.surprise(at))
    assert (steps >= 0).all()
    assert steps.max() < 0.05
    beyond = tail.surprise(np.array([1e3, 1e4]))
    assert beyond[1] > beyond[0]  # no ties far out


def test_score_tail_of_equal_scores_is_finite():
    tail = ScoreTail.fit(np.full(10, 3.0), np.ones(10))
    assert np.isfinite(tail.surprise(np.array([2.0, 3.0]))).all()
    assert tail.surprise(np.array([4.0])) > tail.surprise(np.array([3.0]))


def test_weighted_quantiles_are_those_of_repeated_values():
    random = np.random.default_rng(0)
    values, weight = random.normal(size=50), random.integers(1, 5, size=50)
    long = np.repeat(values, weight)
    for level in (0.1, 0.25, 0.5, 0.9):
        expected = np.quantile(long, level, method="inverted_cdf")
        assert weighted_quantiles(values, weight, (level,))[0] == expected


def test_scores_that_rounding_tells_apart_are_tied():
    random = np.random.default_rng(0)
    scores = np.repeat(random.gamma(2, size=30), 10)
    tail = ScoreTail.fit(scores + 1e-7 * random.normal(size=300), np.ones(300))
    moved = tail.surprise(scores + 1e-6) - tail.surprise(scores)
    assert np.abs(moved).max() < 0.01


def test_tails_of_the_largest_numbers():
    large = np.finfo(float).max
    with np.errstate(all="raise"):
        tails = tails_of([-large, large, large])
        np.testing.assert_allclose(score(tails, [-large]), np.log(3))


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_no_rounding_takes_a_value_across_the_threshold(share):
    values = np.array([-3.0, -1.0, 0.0, 1e4])
    threshold = smallest_above(values, np.ones(4), share)
    assert (values < threshold).mean() == min(share, 0.75)
    assert (values * (1 - 1e-7) - 1e-7 < threshold).mean() == min(share, 0.75)
    # Unless values are closer than that.
    close = np.array([1.0, 1.0 + 1e-9, 1.0 + 2e-9, 1.0 + 2e-9])
    assert (close < smallest_above(close, np.ones(4), 0.5)).mean() == 0.5
