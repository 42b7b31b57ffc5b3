"""Held-out entries: disjoint, observed, about as many as asked, and never all of a column."""

import pytest
import torch

from skvae.training.data import hold_out
from skvae.training.fit import N_REPLICAS, keep_some_of_each_column


@pytest.mark.parametrize("fraction", [0.02, 0.1, 0.3])
@pytest.mark.parametrize("n_replicas", [1, 2, 3])
def test_each_replica_misses_about_the_share_asked(toys, fraction, n_replicas):
    observed = toys.random_mask(2000, 5, 0.7)
    fold = hold_out(observed, fraction, n_replicas, toys.seeded(1))
    assert fold.dtype == torch.int8
    assert (fold[~observed] == -1).all()
    assert fold.min() == -1
    assert fold.max() == n_replicas - 1
    for replica in range(n_replicas):
        share = (fold[observed] == replica).float().mean().item()
        # Five standard deviations of a binomial share of 7000 entries.
        assert share == pytest.approx(fraction, abs=5 * (fraction / 7000) ** 0.5)


def test_holding_out_needs_nothing_but_its_generator(toys):
    observed = toys.random_mask(50, 4)
    state = torch.get_rng_state()
    folds = [hold_out(observed, 0.2, 2, toys.seeded(seed)) for seed in (0, 0, 1)]
    assert torch.equal(folds[0], folds[1])
    assert not torch.equal(folds[0], folds[2])
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("seed", range(5))
def test_some_of_each_column_stays_visible(toys, seed):
    observed = toys.random_mask(12, 30, 0.4, seed)
    observed[:, 0] = torch.arange(12) == 3  # a single value
    fold = hold_out(observed, 0.45, N_REPLICAS, toys.seeded(seed))
    before = fold.clone()
    keep_some_of_each_column(fold, observed)
    assert ((fold == before) | (fold == -1)).all()
    count = observed.sum(0)
    for replica in range(N_REPLICAS):
        visible = (observed & (fold != replica)).sum(0)
        assert (visible >= torch.minimum(count, (count / 2).clamp(min=2))).all()
    assert (fold[:, 0] == -1).all()


def test_rich_columns_keep_their_folds(toys):
    observed = torch.ones(500, 6, dtype=torch.bool)
    fold = hold_out(observed, 0.1, N_REPLICAS, toys.seeded())
    before = fold.clone()
    keep_some_of_each_column(fold, observed)
    assert torch.equal(fold, before)


def test_batches_show_each_replica_what_is_not_held_out_from_it(toys):
    data = toys.mixed_tensors()
    table = toys.training_table(data, n_replicas=3)
    rows = torch.tensor([7, 3, 50])
    batch = table.batch(rows)
    assert torch.equal(batch.features, data.features[rows])
    assert torch.equal(batch.targets, data.targets[rows])
    assert torch.equal(batch.observed, data.observed[rows])
    for replica in range(3):
        expected = data.observed[rows] & (table.fold[rows] != replica)
        assert torch.equal(batch.visible[replica], expected)
    # An entry is hidden from one replica at most.
    assert ((~batch.visible & batch.observed).sum(0) <= 1).all()


def test_masks_over_columns_become_masks_over_features(toys):
    data = toys.mixed_tensors()
    table = toys.training_table(data)
    mask = toys.random_mask(4, 6)
    wide = table.on_features(mask)
    for feature, column in enumerate(data.feature_columns.tolist()):
        assert torch.equal(wide[:, feature], mask[:, column])


def test_held_out_rows_have_held_out_entries(toys):
    table = toys.training_table(toys.mixed_tensors(), fraction=0.03)
    every = (table.fold >= 0).any(1).nonzero().squeeze(1)
    assert torch.equal(table.held_out_rows(1000, toys.seeded()), every)
    some = table.held_out_rows(5, toys.seeded())
    assert len(some) == 5
    assert set(some.tolist()) <= set(every.tolist())
