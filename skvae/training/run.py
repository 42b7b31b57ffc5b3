"""A fit under way: who watches it, whether it shall end, and where its state is kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol

import torch

from skvae.training.checkpoint import Checkpoint, restore, state_of
from skvae.training.team import Team

# How often those who watch hear of a loop.
N_REPORTS = 20


class Watcher(Protocol):
    """Hears of the loops of a fit."""

    def begin(self, stage: Stage) -> None:
        """A loop begins."""

    def report(self, stage: Stage) -> bool:
        """It has come further; True ends it."""

    def end(self, stage: Stage) -> None:
        """It has ended."""


@dataclass(eq=False)
class Run:
    """What the training loops of one fit share.

    Attributes
    ----------
    watchers : tuple of Watcher
    checkpoint : Checkpoint or None
    generators : list of torch.Generator
        That loops draw from beside their own.
    team : Team
        Processes that go through the fit together. The first alone has watchers, and writes
        checkpoints.
    interrupted : bool
        Loops end before their next step; those of a team at their next report, together.
    cut : bool
        Whether a loop ended because of that.
    n_stages : int
        Loops begun.
    """

    watchers: tuple[Watcher, ...] = ()
    checkpoint: Checkpoint | None = None
    generators: list[torch.Generator] = field(default_factory=list)
    team: Team = field(default_factory=Team)
    interrupted: bool = False
    agreed: bool = False
    cut: bool = False
    n_stages: int = 0

    @property
    def ends(self) -> bool:
        """Whether all loops end."""
        return self.interrupted if self.team.size == 1 else self.agreed

    def agree(self, stop: bool) -> bool:
        """Whether any process stops a loop; they tell each other of interruptions, too."""
        if self.team.size == 1:
            return stop
        stop, self.agreed = self.team.any([stop, self.interrupted])
        return stop

    def stage(self, name: str, n_steps: int, parts: Mapping[str, Any]) -> Stage:
        """A loop of so many steps.

        Parameters
        ----------
        name : str
        n_steps : int
        parts : mapping of str to object
            All that the loop changes: generators, and whatever has a ``state_dict``.
        """
        self.n_stages += 1
        others = {f"generator {i}": g for i, g in enumerate(self.generators)}
        return Stage(self, name, n_steps, {**parts, **others}, self.n_stages)


@dataclass(eq=False)
class Stage:
    """One training loop, as a context: iterate over it for the numbers of its steps.

    Where a checkpoint has seen it before it begins with the step after, or has none left.

    Attributes
    ----------
    run : Run
    name : str
    n_steps : int
    parts : dict
    number : int
        Among the loops of the run, from 1.
    step : int
        Steps taken.
    loss : float or None
        The last that the loop has told.
    """

    run: Run
    name: str
    n_steps: int
    parts: dict[str, Any]
    number: int
    step: int = 0
    loss: float | None = None
    _finished: bool = False
    _skipped: bool = False

    def __enter__(self) -> Stage:
        checkpoint = self.run.checkpoint
        # After a loop that was cut short nothing is as it would be: not worth keeping.
        self._skipped = self.run.cut
        kept = None
        if checkpoint is not None:
            if self.run.team.rank == 0:
                kept = checkpoint.read(self.number, self.name)
            kept = self.run.team.agree(kept)
        if kept is not None:
            self.step, self._finished = int(kept["step"]), bool(kept["finished"])
            for key, part in self.parts.items():
                restore(part, kept["parts"][key])
        for watcher in self.run.watchers:
            watcher.begin(self)
        return self

    def __iter__(self) -> Iterator[int]:
        every = self._every
        while not self._finished and self.step < self.n_steps:
            if self.run.ends:
                self.run.cut = True
                return
            yield self.step + 1
            self.step += 1
            checkpoint = self.run.checkpoint
            if checkpoint is not None and checkpoint.is_due:
                self._save()
            at_mark = self.step % every == 0 or self.step == self.n_steps
            if not at_mark:
                continue
            # Every watcher shall hear of it.
            stop = any([watcher.report(self) for watcher in self.run.watchers])
            if self.run.agree(stop):
                return

    @property
    def _every(self) -> int:
        return max(1, self.n_steps // N_REPORTS)

    @property
    def n_reports(self) -> int:
        """How often those who watch hear of it, at most."""
        return max(1, -(-self.n_steps // self._every))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None and not self._finished and not self._skipped:
            # A loop that was cut short goes on where it stood, when the same fit is run again.
            self._finished = not self.run.cut
            self._save()
        for watcher in self.run.watchers:
            watcher.end(self)

    def _save(self) -> None:
        if self.run.checkpoint is not None and self.run.team.rank == 0:
            parts = {key: state_of(part) for key, part in self.parts.items()}
            state = {"step": self.step, "finished": self._finished, "parts": parts}
            self.run.checkpoint.write(self.number, self.name, state)


_current: ContextVar[Run | None] = ContextVar("skvae_run", default=None)


def current_run() -> Run:
    """That of the fit under way; one that nobody watches outside of any."""
    return _current.get() or Run()


@contextmanager
def under(run: Run) -> Iterator[Run]:
    """Let the loops within belong to a run."""
    token = _current.set(run)
    try:
        yield run
    finally:
        _current.reset(token)
