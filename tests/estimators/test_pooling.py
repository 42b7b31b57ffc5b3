"""Rubin's rules."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from skvae import pool


def test_the_rules_as_they_are_written():
    q, u = np.array([2.0, 2.6, 1.9, 2.3]), np.array([0.3, 0.35, 0.28, 0.31])
    pooled = pool(q, u)
    between = ((q - q.mean()) ** 2).sum() / 3
    total = u.mean() + 1.25 * between
    r = 1.25 * between / u.mean()
    df = 3 * (1 + 1 / r) ** 2
    assert pooled.estimate == pytest.approx(q.mean())
    assert pooled.std_error == pytest.approx(total**0.5)
    assert pooled.df == pytest.approx(df)
    assert pooled.fmi == pytest.approx((r + 2 / (df + 3)) / (r + 1))
    reach = stats.t.ppf(0.95, df) * total**0.5
    assert pooled.interval(0.9)[1] == pytest.approx(q.mean() + reach)
    assert pooled.p_value() == pytest.approx(2 * stats.t.sf(q.mean() / total**0.5, df))
    assert pooled.p_value(q.mean()) == pytest.approx(1.0)


def test_few_rows_have_fewer_degrees_of_freedom():
    q, u = [2.0, 2.6, 1.9], [0.3, 0.35, 0.28]
    many = pool(q, u)
    share = 4 / 3 * np.var(q, ddof=1) / many.std_error**2
    seen = 21 / 23 * 20 * (1 - share)
    expected = 1 / (1 / many.df + 1 / seen)
    assert pool(q, u, df_complete=20).df == pytest.approx(expected)
    assert pool(q, u, df_complete=1e9).df == pytest.approx(many.df, rel=1e-5)


def test_tables_that_agree_are_one_complete_table():
    pooled = pool(np.full((5, 2), 3.0), np.full((5, 2), 0.25))
    assert pooled.std_error == pytest.approx(0.5)
    assert np.isinf(pooled.df).all()
    assert (pooled.fmi == 0).all()
    assert pooled.interval()[0] == pytest.approx(3 - 0.5 * stats.norm.ppf(0.975))
    few = pool(np.full(5, 3.0), np.full(5, 0.25), df_complete=10)
    assert few.df == pytest.approx(11 / 13 * 10)


def test_estimates_without_own_variance():
    pooled = pool([1.0, 2.0, 3.0], np.zeros(3), df_complete=30)
    assert pooled.fmi == pytest.approx(1.0)
    assert not np.isnan(pooled.interval()).any()
    nothing = pool(np.ones(3), np.zeros(3))
    assert nothing.interval()[0] == pytest.approx(1.0)
    assert nothing.p_value(1.0) == pytest.approx(1.0)


def test_names_come_back():
    names = ["age", "bmi"]
    q = [pd.Series([1.0, 2.0], names), pd.Series([1.2, 1.9], names)]
    u = [pd.Series([0.1, 0.2], names)] * 2
    pooled = pool(q, u)
    frame = pooled.to_frame()
    assert list(frame.index) == names
    assert frame.loc["bmi", "estimate"] == pytest.approx(1.95)
    assert (frame["lower"] < frame["estimate"]).all()
    np.testing.assert_allclose(pool(pd.DataFrame(q), pd.DataFrame(u)).estimate, pooled.estimate)
    assert pool(pd.DataFrame(q), pd.DataFrame(u)).names == names


def test_intervals_cover_after_proper_draws():
    """Means of normal samples that lost 40 % at random, filled from their posterior."""
    random, n, m, n_samples = np.random.default_rng(0), 30, 20, 4000
    n_seen = 18
    seen = random.normal(size=(n_samples, n_seen))
    mean, variance = seen.mean(1), seen.var(1, ddof=1)
    q, u = [], []
    for _ in range(m):
        # Rubin (1987): variance, then mean, then values from the posterior under a flat prior.
        drawn = variance * (n_seen - 1) / random.chisquare(n_seen - 1, n_samples)
        centre = mean + np.sqrt(drawn / n_seen) * random.normal(size=n_samples)
        filled = centre + np.sqrt(drawn) * random.normal(size=(n - n_seen, n_samples))
        whole = np.concatenate([seen, filled.T], axis=1)
        q.append(whole.mean(1))
        u.append(whole.var(1, ddof=1) / n)
    pooled = pool(q, u, df_complete=n - 1)
    lower, upper = pooled.interval()
    assert 0.935 < ((lower < 0) & (upper > 0)).mean() < 0.965
    share = (1 + 1 / m) * pooled.between / pooled.std_error**2
    assert share.mean() == pytest.approx(0.4, abs=0.05)
    # A single filling that is taken for the truth covers too little.
    reach = stats.t.ppf(0.975, n - 1) * np.sqrt(u[0])
    assert (np.abs(q[0]) < reach).mean() < 0.9


@pytest.mark.parametrize(
    ("estimates", "variances", "options", "message"),
    [
        ([1.0], [0.1], {}, "at least two filled tables"),
        ([1.0, 2.0], [0.1], {}, "at least two filled tables"),
        ([1.0, 2.0], [0.1, -0.1], {}, "negative"),
        ([1.0, np.nan], [0.1, 0.1], {}, "NaN"),
        ([[1.0, 2.0], [1.0]], [[0.1, 0.1], [0.1]], {}, "all as long"),
        ([[1.0, 2.0], [1.0, 2.0]], [0.1, 0.1], {}, "one variance for every estimate"),
        ([1.0, 2.0], [0.1, 0.1], {"df_complete": 0}, "df_complete must be a positive"),
        ([1.0, 2.0], [0.1, 0.1], {"df_complete": "5"}, "df_complete must be a positive"),
        ([[1.0], [2.0]], [np.eye(1)] * 2, {}, "the diagonal"),
        ([pd.Series([1.0], ["a"]), pd.Series([1.0], ["b"])], [0.1, 0.1], {}, "different names"),
        (
            [pd.Series([1.0], ["a"])] * 2,
            [pd.Series([1.0], ["b"])] * 2,
            {},
            r"variances of \['b'\]",
        ),
    ],
)
def test_bad_input(estimates, variances, options, message):
    with pytest.raises(ValueError, match=message):
        pool(estimates, variances, **options)


def test_dicts_have_names_too():
    pooled = pool([{"a": 1.0, "b": 2.0}, {"a": 2.0, "b": 2.0}], [{"a": 1.0, "b": 1.0}] * 2)
    assert pooled.names == ["a", "b"]
    assert pooled.estimate.tolist() == [1.5, 2.0]


@pytest.mark.parametrize(
    "estimates",
    [None, 3.0, "ab", ["a", "b"], {"a": 1.0}, {1.0, 2.0}, pd.Series([1.0, 2.0], ["a", "b"])],
)
def test_what_are_no_estimates(estimates):
    with pytest.raises(TypeError, match="estimates must be"):
        pool(estimates, [1.0, 1.0])


def test_endless_degrees_of_freedom_are_none_given():
    assert pool([1.0, 1.2], [1, 1], df_complete=np.inf).df == pool([1.0, 1.2], [1, 1]).df


def test_estimates_that_differ_by_rounding_are_the_same():
    pooled = pool([0.1 + 0.2, 0.3, 0.3], [1, 1, 1], df_complete=5)
    assert pooled.fmi == 0
    assert pool([0.1] * 3, [0] * 3, df_complete=10).interval()[1] == pytest.approx(0.1)


def test_names_are_matched_whatever_their_order():
    q = [{"a": 1.0, "b": 2.0}, {"b": 4.0, "a": 2.0}]
    pooled = pool(q, [{"b": 0.5, "a": 0.1}] * 2)
    assert pooled.estimate.tolist() == [1.5, 3.0]
    assert pooled.within.tolist() == pytest.approx([0.1, 0.5])


@pytest.mark.parametrize("coverage", [0, 1.0, "a"])
def test_coverage_lies_between_zero_and_one(coverage):
    with pytest.raises(ValueError, match="coverage"):
        pool([1.0, 2.0], [0.1, 0.1]).interval(coverage)
