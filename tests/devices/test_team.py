"""Shares of a batch: the same random numbers and results as of the whole."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_iris

from skvae import MultimodalVAE, VAEImputer, VAETransformer
from skvae.datasets import ampute
from skvae.training.checkpoint import Checkpoint
from skvae.training.data import Batch
from skvae.training.objectives import ImportanceWeightedBound, WarmUp
from skvae.training.run import Run
from skvae.training.team import ProcessTeam, Team

X = ampute(load_iris().data, rate=0.1, random_state=0)[::2]
SMALL = {"hidden_layer_sizes": (4,), "max_iter": 4, "random_state": 0}
BLOCKS = {"sepal": [0, 1], "petal": [2, 3]}


class Member(Team):
    """One of several, which says what it is told to."""

    def __init__(self, rank, size, heard=()):
        self.rank, self.size, self.heard = rank, size, heard

    def any(self, flags):
        return [a or b for a, b in zip(flags, self.heard, strict=True)]


def batch(n, part=None):
    rows = torch.zeros(n if part is None else part.stop - part.start, 2)
    return Batch(rows, rows, rows > 0, rows[None] > 0, rows[:, 0], None, part, n)


def test_shares_are_those_of_all_rows():
    parts = [Member(rank, 3).part(50) for rank in range(3)]
    assert [i for part in parts for i in range(50)[part]] == list(range(50))
    assert Member(0, 3).part(23) is None  # too few to share out
    assert Team().part(10**6) is None


@pytest.mark.parametrize("make", [torch.randn, torch.rand])
def test_draws_are_those_of_the_whole_batch(make):
    whole_source = torch.Generator().manual_seed(0)
    whole = batch(37).draw(make, (2,), (3, 4), whole_source)
    for part in (slice(0, 10), slice(10, 37)):
        source = torch.Generator().manual_seed(0)
        own = batch(37, part).draw(make, (2,), (3, 4), source)
        assert torch.equal(own, whole[:, part])
        assert torch.equal(source.get_state(), whole_source.get_state())


@pytest.mark.parametrize("n", [1, 3])
def test_choices_are_those_of_the_whole_batch(n):
    shares = torch.rand(37, 5, generator=torch.Generator().manual_seed(1))
    whole_source = torch.Generator().manual_seed(0)
    whole = batch(37).choose(shares, n, whole_source)
    for part in (slice(0, 10), slice(10, 37)):
        source = torch.Generator().manual_seed(0)
        assert torch.equal(batch(37, part).choose(shares[part], n, source), whole[part])
        assert torch.equal(source.get_state(), whole_source.get_state())


@pytest.mark.parametrize(
    "estimator",
    [
        VAEImputer(inference="posterior_matching", **SMALL),
        VAETransformer((2, 1), kl_warmup=0.5, **SMALL),
        MultimodalVAE(BLOCKS, 2, n_importance_samples=3, n_prior_components=3, **SMALL),
        MultimodalVAE(BLOCKS, 2, fusion="moe", n_prior_components=3, **SMALL),
    ],
    ids=["matching", "layers", "mopoe", "moe"],
)
@pytest.mark.filterwarnings("ignore")
def test_fits_on_the_only_share_are_plain_fits(estimator, monkeypatch):
    plain = clone(estimator).fit(X).transform(X)
    monkeypatch.setattr(Team, "part", lambda team, n_rows: slice(0, n_rows))
    np.testing.assert_array_equal(clone(estimator).fit(X).transform(X), plain)


def test_bounds_about_whole_batches_are_not_shared_out():
    assert WarmUp(ImportanceWeightedBound(), 2).by_rows
    assert not WarmUp(ImportanceWeightedBound(1, free_bits=0.1), 2).by_rows


@pytest.mark.parametrize("heard", [(True, False), (False, True)])
def test_members_end_loops_together_at_the_next_report(heard):
    """A stop ends one loop, an interruption all of them."""
    run, taken = Run(team=Member(0, 2, heard)), []
    for n_steps in (100, 40):
        with run.stage("count", n_steps, {}) as steps:
            taken.append(len(list(steps)))
    interrupted = heard[1]
    assert taken[0] == 5
    assert taken[1] == (0 if interrupted else 2)
    assert run.cut == interrupted
    own = Run(team=Member(1, 2, (False, False)))
    own.interrupted = True
    with own.stage("count", 100, {}) as steps:
        assert len(list(steps)) == 5


def test_only_the_first_writes_checkpoints(tmp_path):
    for rank in (1, 0):
        run = Run(checkpoint=Checkpoint(tmp_path / "fit"), team=Member(rank, 2, (False, False)))
        with run.stage("count", 3, {}) as steps:
            list(steps)
        assert (tmp_path / "fit").exists() == (rank == 0)


def test_a_team_of_one_leaves_gradients_as_they_are():
    team = ProcessTeam(None, torch.device("cpu"))
    used, unused = (torch.nn.Parameter(torch.ones(2, 3)) for _ in range(2))
    loss = (used**2).sum()
    loss.backward()
    team.add_up([used, unused], loss)
    assert torch.equal(used.grad, torch.full((2, 3), 2.0))
    assert torch.equal(unused.grad, torch.zeros(2, 3))
    assert float(loss.detach()) == 6.0
    assert team.agree({"a": 1}) == {"a": 1}
    assert team.any([True, False]) == [True, False]
