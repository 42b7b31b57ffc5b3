"""The state of training loops on disk, from which a killed fit goes on."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from torch.utils._pytree import tree_map

from skvae.inference.devices import CPU, active_device

SECONDS_BETWEEN = 30.0


class Checkpoint:
    """A folder with the state of every loop of one fit.

    A fit is run again from its beginning, with the same data and seeds: what comes before and
    between the loops comes out as before, and loops take up what they find here.

    Parameters
    ----------
    folder : Path
        Made where it is not there.
    seconds : float
        Between two states of a loop.

    Attributes
    ----------
    failure : str or None
        Why a state could not be written.

    Raises
    ------
    OSError
        If it cannot be made.
    """

    def __init__(self, folder: Path, seconds: float = SECONDS_BETWEEN) -> None:
        self.folder, self.seconds = folder, seconds
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OSError(
                f"checkpoint={str(folder.parent)!r} cannot be made a folder: {error}. Give one "
                "that is there, or can be made."
            ) from error
        self._last = time.monotonic()
        self.failure: str | None = None

    @property
    def is_due(self) -> bool:
        """Whether it is time to write."""
        return time.monotonic() - self._last >= self.seconds

    def write(self, number: int, name: str, state: dict[str, Any]) -> None:
        """Keep the state of a loop; a kill in between leaves the state before.

        A disk that is full costs the checkpoint, not the fit: see `failure`.
        """
        self._last = time.monotonic()
        path = self._path(number)
        unfinished = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            self._replace(path, unfinished, {"name": name, **state})
        except (OSError, RuntimeError) as error:  # torch's own, when a disk is full
            with contextlib.suppress(OSError):
                unfinished.unlink(missing_ok=True)
            self.failure = str(error).splitlines()[0]

    def _replace(self, path: Path, unfinished: Path, state: dict[str, Any]) -> None:
        # The same fit elsewhere may have ended, and taken the folder with it.
        self.folder.mkdir(parents=True, exist_ok=True)
        torch.save(state, unfinished)
        os.replace(unfinished, path)

    def read(self, number: int, name: str) -> dict[str, Any] | None:
        """The state of a loop, None if it has none.

        Raises
        ------
        ValueError
            If the file is damaged or not of this loop.
        """
        path = self._path(number)
        if not path.exists():
            return None
        remedy = f"Remove {self.folder}; the fit then starts anew."
        try:
            state = torch.load(path, map_location=CPU, weights_only=True)  # executes nothing
            known = state["name"]
        except Exception as error:  # whatever damaged bytes may lead to
            raise ValueError(
                f"The checkpoint {path} cannot be read ({type(error).__name__}): it is damaged. "
                f"{remedy}"
            ) from error
        if known != name:
            raise ValueError(
                f"The checkpoint {path} is of {known!r} where the fit has {name!r}: another "
                f"version wrote it. {remedy}"
            )
        return state

    def remove(self) -> None:
        """Forget a fit that has ended, and the folder above where nothing else is in it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        try:
            self.folder.parent.rmdir()
        except OSError:  # other fits are in it
            return

    def _path(self, number: int) -> Path:
        return self.folder / f"loop{number:03d}.pt"


def state_of(part: Any) -> Any:
    """Of a generator, or of whatever has a ``state_dict``; its tensors on the CPU."""
    state = part.get_state() if isinstance(part, torch.Generator) else part.state_dict()
    return _moved(state, CPU)


def restore(part: Any, state: Any) -> None:
    """The reverse of `state_of`."""
    if isinstance(part, torch.Generator):
        part.set_state(state)
    else:
        part.load_state_dict(_moved(state, active_device()))


def _moved(state: Any, device: torch.device) -> Any:
    if active_device() == CPU:
        return state
    return tree_map(lambda x: x.to(device) if isinstance(x, torch.Tensor) else x, state)
