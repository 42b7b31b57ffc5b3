"""Where a fit happens: on which device, in this process alone or in several."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

from skvae.inference.devices import find_device
from skvae.tabular.callers import user_level
from skvae.tabular.chunks import is_chunked
from skvae.tabular.reservoir import KeptRows
from skvae.training.engine import FabricEngine, quiet_fabric
from skvae.training.team import ProcessTeam, Team

# Seconds that a process which fails gives the first one to say why.
PATIENCE = 20.0
# Of an estimator, what belongs to the process that it is in.
_OWN = ("_skl_callbacks", "_parent_callback_ctx", "_callback_fit_ctx")

# An estimator in a process that its fit has started, and the team of that.
_joined: ContextVar[tuple[Any, ProcessTeam] | None] = ContextVar("skvae_joined", default=None)


@contextmanager
def gathered(estimator: Any) -> Iterator[tuple[torch.device, Team]]:
    """Device and team of a fit in this process.

    Raises
    ------
    TypeError
        If the engine is none.
    ValueError
        If the device is not there, or not the engine's.
    ImportError
        If the engine needs a package that is not installed.
    """
    joined, engine = _joined.get(), estimator.engine
    if joined is not None and joined[0] is estimator:
        yield joined[1].device, joined[1]
        return
    if engine is None:
        yield find_device(estimator.device), Team()
        return
    fabric = _fabric(estimator)
    with quiet_fabric(launches=False):
        # Those that `fabric run` has started are connected already.
        if not engine.alone and os.environ.get("LT_CLI_USED") != "1":
            fabric.launch()
        team = ProcessTeam(fabric.autocast, fabric.device)
        if team.size != fabric.world_size:
            raise RuntimeError(
                f"The {team.size} processes of an earlier fit still run, and engine={engine!r} "
                f"asks for {fabric.world_size}. A script has one number of processes; with "
                "strategy='ddp_spawn' every fit has its own."
            )
        yield fabric.device, team


def launches(estimator: Any) -> bool:
    """Whether a fit starts processes and leaves the work to them."""
    joined, engine = _joined.get(), estimator.engine
    here = joined is not None and joined[0] is estimator
    return isinstance(engine, FabricEngine) and engine.launches and not here


def fit_in_processes(estimator: Any, X: Any, y: Any, options: dict[str, Any]) -> Any:
    """Fit in processes of its own, and take over what the first of them has learnt."""
    fabric = _fabric(estimator)
    if is_chunked(X):  # what can be read once is read here
        X = KeptRows(*estimator._rows_to_learn(X, y, options.pop("sample_weight")))
        y = None
    with (
        tempfile.TemporaryDirectory() as folder,
        quiet_fabric(launches=True),
        _left_to_processes(),
    ):
        task = _Task(estimator, X, y, options, Path(folder) / "outcome")
        try:
            fabric.launch(_fit_here, task)
        except Exception:
            if not task.path.exists():
                raise
        outcome = _Outcome.read(task.path)
    for message, category in outcome.warnings:
        warnings.warn(message, category, stacklevel=user_level())
    if outcome.error is not None:
        raise outcome.error from RuntimeError(f"In a process of the fit:\n{outcome.trace}")
    _take_over(estimator, outcome.fitted)
    return estimator


def _fabric(estimator: Any) -> Any:
    engine, named = estimator.engine, estimator.device
    if not isinstance(engine, FabricEngine):
        raise TypeError(f"engine must be a skvae.FabricEngine or None, got {engine!r}.")
    fabric = engine.fabric()
    used = fabric.device.type
    # "cpu" is also the default of `device`: nothing was said.
    if named not in ("cpu", "auto", used):
        raise ValueError(
            f"device={named!r} and FabricEngine(accelerator={engine.accelerator!r}), which uses "
            f"{used!r} here, contradict each other: name the accelerator in the engine alone."
        )
    return fabric


@dataclass
class _Task:
    """What a process that the fit has started does."""

    estimator: Any
    X: Any
    y: Any
    options: dict[str, Any]
    path: Path

    def __setstate__(self, state: dict[str, Any]) -> None:
        # In a new process, where Fabric is about to announce itself.
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        self.__dict__.update(state)


@dataclass
class _Outcome:
    """What came of it."""

    fitted: Any
    error: Exception | None
    trace: str
    warnings: list[tuple[str, type[Warning]]]

    def write(self, path: Path) -> None:
        """Into a file that is whole as soon as it is there."""
        try:
            content = pickle.dumps(self)
        except Exception as error:  # whatever users' objects refuse with
            self.fitted, self.error = None, RuntimeError(f"{error} ({self.error!r})")
            content = pickle.dumps(self)
        unfinished = path.with_suffix(".tmp")
        unfinished.write_bytes(content)
        os.replace(unfinished, path)

    @staticmethod
    def read(path: Path) -> _Outcome:
        outcome = pickle.loads(path.read_bytes())
        assert isinstance(outcome, _Outcome)
        return outcome


def _fit_here(fabric: Any, task: _Task) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    estimator, error, trace = task.estimator, None, ""
    if estimator.engine.forks:
        # Threads of the calling process are not here, and OpenMP would wait for them for ever.
        torch.set_num_threads(1)
    team = ProcessTeam(fabric.autocast, fabric.device)
    _joined.set((estimator, team))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            estimator.fit(task.X, task.y, **task.options)
        except Exception as raised:  # the calling process raises it
            error, trace = raised, traceback.format_exc()
    if team.rank == 0:
        told = [(str(each.message), each.category) for each in caught]
        _Outcome(None if error else estimator, error, trace, told).write(task.path)
    elif error is not None:
        _await(task.path, error)


def _await(path: Path, error: Exception) -> None:
    """Let the first process, which fails of the same, tell; or fail."""
    until = time.monotonic() + PATIENCE
    while not path.exists():
        if time.monotonic() > until:
            raise error
        time.sleep(0.05)


def _take_over(estimator: Any, fitted: Any) -> None:
    params = estimator.get_params(deep=False)
    stays = {*params, *_OWN}
    state = {name: value for name, value in vars(estimator).items() if name in stays}
    learnt = {name: value for name, value in vars(fitted).items() if name not in stays}
    estimator.__dict__ = {**state, **learnt}
    if isinstance(params.get("random_state"), np.random.RandomState):
        # What the fit has drawn is drawn here, too.
        estimator.random_state.set_state(fitted.random_state.get_state())


@contextmanager
def _left_to_processes() -> Iterator[None]:
    """The first Ctrl-C is for the processes, which hear it themselves; a second one ends all."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    heard = []

    def hear(number: int, frame: FrameType | None) -> None:
        heard.append(number)
        if len(heard) > 1:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, hear)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
