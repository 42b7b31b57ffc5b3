"""What goes on around a fit: callbacks, progress, interruptions and checkpoints."""

from __future__ import annotations

import functools
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType
from typing import Any

from skvae.estimators._callbacks import (
    CallbackWatcher,
    has_parent,
    progress_bars,
    with_callbacks,
)
from skvae.estimators._processes import fit_in_processes, gathered, launches
from skvae.estimators._progress import ProgressLine, ReportLines
from skvae.inference.session import torch_defaults
from skvae.tabular.callers import user_level
from skvae.training.run import Run, Watcher, under


def watched(fit: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a fit: it can be followed, interrupted and taken up again."""

    @with_callbacks
    def managed(estimator: Any, X: Any, y: Any = None, **options: Any) -> Any:
        with gathered(estimator) as (device, team):
            callbacks = CallbackWatcher(estimator, X, y, options)
            first = team.rank == 0
            run = Run((callbacks, *_printed(estimator)) if first else (), team=team)
            heard = nullcontext() if first else _unheard()
            with heard, torch_defaults(device=device), under(run), _interruptible(run):
                if first:
                    callbacks.begin_fit()
                fit(estimator, X, y, **options)
            if first:
                _conclude(run)
                callbacks.end_fit()
        return estimator

    @functools.wraps(fit)
    def session(
        estimator: Any, X: Any, y: Any = None, sample_weight: Any = None, **options: Any
    ) -> Any:
        options["sample_weight"] = sample_weight
        if launches(estimator):
            return fit_in_processes(estimator, X, y, options)
        with progress_bars(estimator):
            return managed(estimator, X, y, **options)

    return session


def _printed(estimator: Any) -> tuple[Watcher, ...]:
    if estimator.verbose >= 2:
        return (ReportLines(type(estimator).__name__),)
    # Where scikit-learn has progress bars they are callbacks.
    if estimator.verbose and not progress_bars.available and not has_parent(estimator):
        return (ProgressLine(type(estimator).__name__),)
    return ()


@contextmanager
def _unheard() -> Iterator[None]:
    """What another process warns of already."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _conclude(run: Run) -> None:
    failure = None if run.checkpoint is None else run.checkpoint.failure
    if failure is not None:
        warnings.warn(
            f"checkpoint={str(run.checkpoint.folder.parent)!r} could not be written to, and the "
            f"fit went on without: {failure}. Free space, or choose another folder.",
            UserWarning,
            stacklevel=user_level(),
        )
    if run.cut:
        again = ""
        if run.checkpoint is not None and failure is None:
            again = " The same fit, run again, goes on from its checkpoint."
        warnings.warn(
            "The fit was interrupted: the estimator is fitted, but trained for fewer steps than "
            f"it should have been.{again}",
            UserWarning,
            stacklevel=user_level(),
        )
    elif run.checkpoint is not None:
        run.checkpoint.remove()


# Seconds within which a second Ctrl-C ends everything, be it in another fit of the same search.
SECONDS_OF_DOUBT = 5.0
_last_interrupt = -SECONDS_OF_DOUBT


@contextmanager
def _interruptible(run: Run) -> Iterator[None]:
    """Ctrl-C ends the training loops of a run, a second one everything.

    Only in the main thread, and where nobody else handles it.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        global _last_interrupt
        before, _last_interrupt = _last_interrupt, time.monotonic()
        if run.interrupted or _last_interrupt - before < SECONDS_OF_DOUBT:
            raise KeyboardInterrupt
        run.interrupted = True
        if run.team.rank:
            return
        print(
            "skvae: the training ends here; what it has learnt is made ready for use. "
            "Press Ctrl-C again to give that, and all that would come after, up too.",
            file=sys.stderr,
        )

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
