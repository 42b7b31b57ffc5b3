"""Stacked weights are convex, and go where held-out entries say."""

import numpy as np
import pytest

from skvae.inference import stack_weights


def problem(n=400, n_sources=3, seed=0, share=0.5):
    """A number, three probabilities and a number; sources with errors of their own."""
    rng = np.random.default_rng(seed)
    stat_columns = np.array([0, 1, 1, 1, 2])
    codes = rng.integers(3, size=n)
    truth = np.column_stack([rng.normal(size=n), np.eye(3)[codes], rng.normal(size=n)])
    predictions = truth + rng.normal(size=(n_sources, n, 5))
    held_out = rng.random((n, 3)) < share
    return predictions, truth, held_out, stat_columns, np.ones(n)


@pytest.mark.parametrize("n", [1, 5, 400])
@pytest.mark.parametrize("n_sources", [1, 2, 5])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_weights_are_convex(n, n_sources, scale):
    predictions, truth, *rest = problem(n, n_sources)
    weights = stack_weights(scale * predictions, scale * truth, *rest)
    assert weights.shape == (n_sources, 3)
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(0), 1)


def test_a_perfect_source_gets_nearly_everything():
    predictions, truth, *rest = problem(1000)
    predictions[1] = truth
    weights = stack_weights(predictions, truth, *rest)
    assert (weights[1] > 0.95).all()


def test_each_column_chooses_for_itself():
    predictions, truth, held_out, stat_columns, weight = problem(2000)
    for column in range(3):
        stats = stat_columns == column
        predictions[column][:, stats] = truth[:, stats]
    weights = stack_weights(predictions, truth, held_out, stat_columns, weight)
    assert (np.diag(weights) > 0.9).all()


def test_without_held_out_entries_all_are_equal():
    predictions, truth, held_out, *rest = problem()
    weights = stack_weights(predictions, truth, np.zeros_like(held_out), *rest)
    np.testing.assert_allclose(weights, 1 / 3)


def test_a_column_without_held_out_entries_follows_the_table():
    predictions, truth, held_out, *rest = problem(1000)
    predictions[2] = truth
    held_out[:, 0] = False
    weights = stack_weights(predictions, truth, held_out, *rest)
    assert weights[2, 0] > 0.9


def test_few_held_out_entries_stay_near_equal():
    predictions, truth, held_out, *rest = problem(400)
    predictions[0] = truth
    few = np.zeros_like(held_out)
    few[:2] = True
    weights = stack_weights(predictions, truth, few, *rest)
    assert 1 / 3 < weights[0].min()
    assert weights[0].max() < 0.75


def test_equal_sources_share_equally():
    predictions, truth, *rest = problem()
    predictions[:] = predictions[0]
    np.testing.assert_allclose(stack_weights(predictions, truth, *rest), 1 / 3, atol=1e-3)


def test_independent_errors_weigh_by_their_precision():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(20000, 1))
    scales = np.array([0.5, 1.0])
    predictions = truth + scales[:, None, None] * rng.normal(size=(2, 20000, 1))
    everything = np.ones((20000, 1), dtype=bool)
    weights = stack_weights(predictions, truth, everything, np.array([0]), np.ones(20000))
    np.testing.assert_allclose(weights[:, 0], scales**-2 / (scales**-2).sum(), atol=0.02)


def test_entries_that_are_not_held_out_do_not_matter():
    predictions, truth, held_out, stat_columns, weight = problem()
    clean = stack_weights(predictions, truth, held_out, stat_columns, weight)
    shown = ~held_out[:, stat_columns]
    dirty = stack_weights(
        np.where(shown, np.nan, predictions),
        np.where(shown, 1e9, truth),
        held_out,
        stat_columns,
        weight,
    )
    np.testing.assert_array_equal(clean, dirty)


def test_rows_of_weight_zero_do_not_decide():
    predictions, truth, held_out, stat_columns, weight = problem(2000)
    predictions[0, :1000], predictions[1, 1000:] = truth[:1000], truth[1000:]
    weight[:1000] = 1e-9
    weights = stack_weights(predictions, truth, held_out, stat_columns, weight)
    assert (weights[1] > 0.9).all()
