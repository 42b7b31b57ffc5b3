"""scikit-learn's callbacks, for training loops.

scikit-learn has them from 1.9 on; before, fits go without.
"""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from skvae.training.run import Stage

# Importing them draws from Python's generator, whose state is not ours to change.
_state = random.getstate()
try:
    from sklearn.callback import CallbackSupportMixin, ProgressBar, with_callbacks

    HAVE_CALLBACKS = True
except ImportError:
    HAVE_CALLBACKS = False

    class CallbackSupportMixin:
        """Says what callbacks need."""

        def set_callbacks(self, *callbacks: Any) -> Any:
            """Not here.

            Raises
            ------
            ImportError
            """
            raise ImportError("Callbacks need scikit-learn 1.9 or later.")

    def with_callbacks(method: Callable[..., Any]) -> Callable[..., Any]:
        return method
finally:
    random.setstate(_state)


def has_parent(estimator: Any) -> bool:
    """Whether a meta-estimator shows the progress."""
    return hasattr(estimator, "_parent_callback_ctx")


class CallbackWatcher:
    """Tells an estimator's callbacks how its fit goes.

    The fit is a task, each training loop one within it, and each twentieth of a loop one within
    that. A callback that asks to stop ends the loop. Only the end of the fit has a fitted
    estimator to show.

    Parameters
    ----------
    estimator : estimator
    X, y : object
        What it is fitted on, as given.
    metadata : dict
    """

    def __init__(self, estimator: Any, X: Any, y: Any, metadata: dict[str, Any]) -> None:
        self.estimator = estimator
        given = {key: value for key, value in metadata.items() if value is not None}
        self.data = {"X": X, "y": y, "metadata": given or None}
        self._fit: Any = None
        self._loop: Any = None
        self._part: Any = None

    def begin_fit(self) -> None:
        """The fit begins."""
        if HAVE_CALLBACKS:
            self._fit = self.estimator._init_callback_context(max_subtasks=None)
            self._begin(self._fit)

    def end_fit(self) -> None:
        """It has ended."""
        if self._fit is None:
            return
        # Nothing has to be added to the estimator for it to be a fitted one.
        self._fit.call_on_fit_task_end(
            estimator=self.estimator, reconstruction_attributes={}, **self.data
        )

    def begin(self, stage: Stage) -> None:
        """A loop begins."""
        if self._fit is not None:
            context = self._fit.subcontext(stage.name, max_subtasks=stage.n_reports)
            self._loop = self._begin(context)
            self._part = self._begin(self._loop.subcontext("steps"))

    def report(self, stage: Stage) -> bool:
        """One part of it ends and the next begins."""
        if self._loop is None:
            return False
        stop = self._end(self._part)
        self._part = None
        if not stop and stage.step < stage.n_steps:
            self._part = self._begin(self._loop.subcontext("steps"))
        return stop

    def end(self, stage: Stage) -> None:
        """A loop ends."""
        if self._loop is None:
            return
        if self._part is not None:
            self._end(self._part)
        self._end(self._loop)
        self._loop = self._part = None

    def _begin(self, context: Any) -> Any:
        context.call_on_fit_task_begin(estimator=self.estimator, **self.data)
        return context

    def _end(self, context: Any) -> bool:
        return bool(context.call_on_fit_task_end(estimator=self.estimator, **self.data))


class _ProgressBars:
    """scikit-learn's progress bars while ``verbose=1``."""

    @property
    def available(self) -> bool:
        """Whether scikit-learn has them here."""
        return HAVE_CALLBACKS and importlib.util.find_spec("rich") is not None

    @contextmanager
    def __call__(self, estimator: Any) -> Iterator[None]:
        own = list(getattr(estimator, "_skl_callbacks", []))
        wanted = int(estimator.verbose) == 1 and self.available and not has_parent(estimator)
        if not wanted or any(isinstance(callback, ProgressBar) for callback in own):
            yield
            return
        estimator.set_callbacks(*own, ProgressBar())
        try:
            yield
        finally:
            estimator.set_callbacks(*own)


progress_bars = _ProgressBars()
