"""Loops that are watched, interrupted and taken up again."""

import pytest
import torch

from skvae.training.checkpoint import Checkpoint
from skvae.training.loop import History, RowStream
from skvae.training.run import Run, current_run, under


class Counter:
    """The simplest thing with a state."""

    def __init__(self):
        self.value = 0

    def state_dict(self):
        return {"value": self.value}

    def load_state_dict(self, state):
        self.value = state["value"]


class Listener:
    """Writes down what it hears, and stops a loop where it is told to."""

    def __init__(self, stop_at=None):
        self.heard, self.stop_at = [], stop_at

    def begin(self, stage):
        self.heard.append(("begin", stage.name))

    def report(self, stage):
        self.heard.append(stage.step)
        return stage.step == self.stop_at

    def end(self, stage):
        self.heard.append(("end", stage.name))


def count(run, n_steps, counter, until=None):
    with run.stage("count", n_steps, {"counter": counter}) as steps:
        for step in steps:
            counter.value += step
            if step == until:
                break
    return steps


@pytest.mark.parametrize("n_steps", [1, 7, 20, 39, 40, 1000])
def test_watchers_hear_of_every_loop_about_twenty_times(n_steps):
    listener, counter = Listener(), Counter()
    stage = count(Run((listener,)), n_steps, counter)
    assert counter.value == n_steps * (n_steps + 1) // 2
    assert listener.heard[0] == ("begin", "count")
    assert listener.heard[-2:] == [n_steps, ("end", "count")]
    assert len(listener.heard) - 2 == stage.n_reports <= 39


def test_a_watcher_ends_one_loop_alone():
    listener, counter = Listener(stop_at=10), Counter()
    run = Run((listener,))
    count(run, 100, counter)
    assert counter.value == 55
    assert not run.cut
    count(run, 8, counter)
    assert counter.value == 55 + 36


def test_an_interruption_ends_all_loops_before_their_next_step():
    run, counter = Run(), Counter()
    with run.stage("count", 100, {"counter": counter}) as steps:
        for step in steps:
            counter.value += 1
            run.interrupted = step == 3
    count(run, 100, counter)
    assert counter.value == 3
    assert run.cut


def test_outside_of_any_run_nobody_watches():
    assert current_run().watchers == ()
    run = Run((Listener(),))
    with under(run):
        assert current_run() is run
    assert current_run() is not run


@pytest.mark.parametrize("seconds", [0.0, 1e9])
def test_a_killed_loop_goes_on_from_its_last_state(tmp_path, seconds):
    counter = Counter()

    def killed():
        run = Run(checkpoint=Checkpoint(tmp_path / "fit", seconds))
        with run.stage("count", 10, {"counter": counter}) as steps:
            for step in steps:
                if step == 7:
                    raise RuntimeError("killed")
                counter.value += step

    with pytest.raises(RuntimeError, match="killed"):
        killed()
    again, seen = Counter(), []
    run = Run(checkpoint=Checkpoint(tmp_path / "fit", seconds))
    with run.stage("count", 10, {"counter": again}) as steps:
        for step in steps:
            seen.append(step)
            again.value += step
    assert again.value == 55
    assert seen == list(range(1 if seconds else 7, 11))


def test_a_loop_that_has_ended_is_not_run_again(tmp_path):
    first, second = Counter(), Counter()
    count(Run(checkpoint=Checkpoint(tmp_path / "fit")), 10, first, until=4)
    stage = count(Run(checkpoint=Checkpoint(tmp_path / "fit")), 10, second)
    assert second.value == first.value == 10
    assert stage.step == 3  # the fourth was left in the middle


def test_an_interrupted_loop_goes_on(tmp_path):
    run, counter = Run(checkpoint=Checkpoint(tmp_path / "fit")), Counter()
    with run.stage("count", 10, {"counter": counter}) as steps:
        for step in steps:
            counter.value += step
            run.interrupted = step == 3
    again = Counter()
    count(Run(checkpoint=Checkpoint(tmp_path / "fit")), 10, again)
    assert again.value == 55


@pytest.mark.parametrize("content", [b"", b"no such thing", b"PK\x03\x04 cut short"])
def test_a_damaged_checkpoint_is_named(tmp_path, content):
    checkpoint = Checkpoint(tmp_path / "fit")
    count(Run(checkpoint=checkpoint), 3, Counter())
    (file,) = (tmp_path / "fit").iterdir()
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"loop001.*cannot be read.*starts anew"):
        count(Run(checkpoint=checkpoint), 3, Counter())


def test_a_checkpoint_of_other_loops_is_named(tmp_path):
    checkpoint = Checkpoint(tmp_path / "fit")
    count(Run(checkpoint=checkpoint), 3, Counter())
    with (
        pytest.raises(ValueError, match="'count' where the fit has 'other'"),
        Run(checkpoint=checkpoint).stage("other", 3, {}),
    ):
        pass


def test_a_removed_checkpoint_leaves_no_folder(tmp_path):
    folder = tmp_path / "mine" / "fit"
    checkpoint = Checkpoint(folder)
    count(Run(checkpoint=checkpoint), 3, Counter())
    checkpoint.remove()
    assert not (tmp_path / "mine").exists()


def test_row_streams_go_on_within_a_pass():
    generator = torch.Generator().manual_seed(0)
    stream = RowStream(10, 3, generator)
    next(stream)
    state, random = stream.state_dict(), generator.get_state()
    rest = [next(stream).tolist() for _ in range(5)]
    other = RowStream(10, 3, torch.Generator())
    other.load_state_dict(state)
    other.generator.set_state(random)
    assert [next(other).tolist() for _ in range(5)] == rest


def test_row_streams_show_each_row_once_per_pass():
    stream = RowStream(9, 3, torch.Generator().manual_seed(0))
    for _ in range(3):
        assert sorted(torch.cat([next(stream) for _ in range(3)]).tolist()) == list(range(9))


def test_histories_come_back():
    history = History([1.0, 2.0], [[0.5]], 7, False, 3.0)
    other = History()
    other.load_state_dict(history.state_dict())
    assert other == history
