"""`save` and `load` of all estimators, and what pickles of them hold."""

from __future__ import annotations

import os
from typing import Any, TypeVar

import torch

from skvae import persistence
from skvae.inference.devices import CPU, device_if_here
from skvae.persistence.devices import on, on_cpu

Saved = TypeVar("Saved", bound="SavedEstimator")


class SavedEstimator:
    """An estimator that goes into a file and comes out of it, without pickle or with it."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the estimator, fitted or not, to one file without pickle.

        The file is a container of safetensors, with JSON for all that is no array; `load` and
        `skvae.load` read it back bit by bit, and execute nothing in doing so.

        Parameters
        ----------
        path : str or path-like
            A file there is replaced in one step.

        Raises
        ------
        ImportError
            Without safetensors (``pip install 'skvae[save]'``).
        TypeError
            If the estimator holds functions, torch modules or other objects of the user's; the
            message names the attribute. Pickle and joblib can store such estimators.
        OSError
            If the file cannot be written.
        """
        persistence.save(self, path)

    @classmethod
    def load(cls: type[Saved], path: str | os.PathLike[str]) -> Saved:
        """Read an estimator of this class from a file of `save`.

        Parameters
        ----------
        path : str or path-like

        Returns
        -------
        estimator
            As it was saved, on the device that it was on; on the CPU where this machine has none.

        Raises
        ------
        ImportError
            Without safetensors (``pip install 'skvae[save]'``).
        OSError
            If there is no such file, or it cannot be read.
        ValueError
            If the file is none of skvae, is damaged, comes from a newer version, or holds an
            estimator of another class (`skvae.load` reads any).
        """
        return persistence.load(path, cls)

    @property
    def _device(self) -> torch.device:
        """Where the fitted model is."""
        holder = getattr(self, "_latent", None) or getattr(self, "_predictor", None)
        return CPU if holder is None else holder.device

    def __getstate__(self) -> dict[str, Any]:
        # Pickles of a model that is on an accelerator open on machines that have none.
        state = on_cpu(self, super().__getstate__())
        return state if self._device == CPU else {**state, "_was_on": str(self._device)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        device = device_if_here(state.pop("_was_on", "cpu"))
        super().__setstate__(state)
        if device != CPU:
            self.__dict__ = on(self, self.__dict__, device)

    def __copy__(self) -> Any:
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        return twin
