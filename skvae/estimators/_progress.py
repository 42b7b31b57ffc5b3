"""Progress in plain text, on the standard error stream."""

from __future__ import annotations

import sys

from skvae.training.run import Stage

WIDTH = 30


class ProgressLine:
    """One line that fills up, for each loop; without a terminal, one line at its end.

    Parameters
    ----------
    name : str
        Of the estimator.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def begin(self, stage: Stage) -> None:
        """Show an empty bar."""
        self.report(stage)

    def report(self, stage: Stage) -> bool:
        """Fill it."""
        if sys.stderr.isatty():
            sys.stderr.write("\r" + self._line(stage))
            sys.stderr.flush()
        return False

    def end(self, stage: Stage) -> None:
        """Leave it as it is."""
        start = "\r" if sys.stderr.isatty() else ""
        sys.stderr.write(start + self._line(stage) + "\n")
        sys.stderr.flush()

    def _line(self, stage: Stage) -> str:
        share = stage.step / max(stage.n_steps, 1)
        bar = ("=" * round(WIDTH * share)).ljust(WIDTH)
        loss = "" if stage.loss is None else f" loss {stage.loss:.4g}"
        return f"{self.name} {stage.name:<12} [{bar}] {stage.step}/{stage.n_steps}{loss}"


class ReportLines:
    """A line for every report of a loop.

    Parameters
    ----------
    name : str
        Of the estimator.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def begin(self, stage: Stage) -> None:
        """Say where a loop begins if a checkpoint has seen it before."""
        if stage.step:
            print(f"[{self.name}] {stage.name} goes on from step {stage.step}/{stage.n_steps}")

    def report(self, stage: Stage) -> bool:
        """Say how far it has come."""
        loss = "" if stage.loss is None else f" loss {stage.loss:.4f}"
        print(f"[{self.name}] {stage.name} step {stage.step}/{stage.n_steps}{loss}")
        return False

    def end(self, stage: Stage) -> None:
        """Say that it ended before its last step."""
        if 0 < stage.step < stage.n_steps:
            print(f"[{self.name}] {stage.name} ended at step {stage.step}/{stage.n_steps}")
