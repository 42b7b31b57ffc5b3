"""How a fit is spread over processes: Lightning Fabric starts them and connects them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from skvae.inference.devices import CPU, find_device

# Strategies under which every process has the whole model: models of tables are small.
SCRIPTED = ("auto", "ddp")
LAUNCHING = ("ddp_spawn", "ddp_fork", "ddp_notebook")
ACCELERATORS = ("auto", "cpu", "cuda", "gpu", "mps")
PRECISIONS = (None, "32", "32-true", "bf16-mixed")
# What Fabric leaves in the environment.
_OF_THREADS, _OF_PROCESSES = ("OMP_NUM_THREADS",), ("MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class FabricEngine:
    """Trains a model in several processes, through Lightning Fabric (``skvae[fabric]``).

    Every process goes through the whole fit, with the same rows and the same random numbers. In a
    gradient step each takes its share of the rows of the batch, and gradients are added up: the
    model is the one that a single process would have trained, but for rounding. This pays where
    steps are expensive: many rows in a batch, samples, wide layers.

    Parameters
    ----------
    strategy : {"ddp", "auto", "ddp_spawn", "ddp_fork", "ddp_notebook"}, default="ddp"
        "ddp" is for scripts: all processes run the whole script, whether Fabric starts the others,
        ``fabric run``, ``torchrun`` or a cluster, and all of them end with the fitted estimator.
        With the last three `fit` starts the processes itself, also from a notebook ("ddp_fork",
        "ddp_notebook"), and they are gone when it returns; scripts then need the guard ``if
        __name__ == "__main__":`` with "ddp_spawn".
    devices : int, str or list of int, default=1
        Processes on each machine, or the accelerators that they use.
    num_nodes : int, default=1
        Machines.
    accelerator : {"cpu", "cuda", "gpu", "mps", "auto"}, default="cpu"
        What processes train on, one device each. The estimator's own `device` must not name
        another one.
    precision : {None, "32-true", "bf16-mixed"}, default=None
        Of the forward passes of training; weights, gradients and predictions are single precision.

    Notes
    -----
    Shared are the steps of generative members, masked members and extra encoders of posterior
    matching, and of all networks of `VAETransformer`, `VAEOutlierDetector` and `MultimodalVAE`.
    Every process takes all of: the linear start, validations and what held-out rows decide;
    batches of fewer than eight rows a process; `free_bits`, which are about the whole batch;
    contexts compared within a batch (more than 512 distinct ones with ``conditioning="prior"``);
    models of holes (``mechanism="mnar"``); networks of the classifier after M1. Networks of users
    see their process's rows: batch normalisation and dropout are then not those of one process.

    Only the first process prints, calls callbacks and keeps a checkpoint. Ctrl-C reaches the others
    with the next twentieth of the training loop. Where `fit` starts the processes, callbacks run in
    one of them: what they collect stays there. Under "ddp", `partial_fit` needs a `random_state`
    for all processes to keep the same rows. An error in one process alone leaves the others
    waiting until torch's time limit.

    Processes that are forked compute on one thread each, and cannot use a GPU that the calling one
    has used; "ddp_spawn" shares the machine's threads out, unless OMP_NUM_THREADS says otherwise.

    Raises
    ------
    ValueError
        If a name is not among those above.

    Examples
    --------
    >>> from skvae import FabricEngine, VAEImputer
    >>> imputer = VAEImputer(engine=FabricEngine("ddp_spawn", devices=2), batch_size=2048)
    """

    strategy: str = "ddp"
    devices: Any = 1
    num_nodes: int = 1
    accelerator: str = "cpu"
    precision: str | None = None

    def __post_init__(self) -> None:
        for name, known in (
            ("strategy", SCRIPTED + LAUNCHING),
            ("accelerator", ACCELERATORS),
            ("precision", PRECISIONS),
        ):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"FabricEngine({name}={getattr(self, name)!r}) is not known; choose among "
                    f"{list(known)}."
                )

        for name in ("devices", "num_nodes"):
            value = getattr(self, name)
            if isinstance(value, int) and value < 1 and not (name == "devices" and value == -1):
                raise ValueError(f"FabricEngine({name}={value!r}) must be at least 1.")

    @property
    def alone(self) -> bool:
        """Whether it is one process, with an accelerator or a precision."""
        return self.devices == 1 and self.num_nodes == 1

    @property
    def launches(self) -> bool:
        """Whether a fit starts its processes itself."""
        return self.strategy in LAUNCHING and not self.alone

    @property
    def forks(self) -> bool:
        """Whether these begin as copies of the calling one."""
        return self.launches and self.strategy != "ddp_spawn"

    def fabric(self) -> Any:
        """The Fabric of these settings.

        Raises
        ------
        ImportError
            Without lightning-fabric.
        ValueError
            If this machine lacks the accelerator.
        """
        try:
            from lightning_fabric import Fabric
        except ImportError as error:
            raise ImportError(
                "FabricEngine needs lightning-fabric: pip install 'skvae[fabric]'."
            ) from error
        if self.accelerator != "gpu":
            find_device(self.accelerator)
        elif find_device("auto") == CPU:
            find_device("cuda")  # says what there is
        settings: dict[str, Any] = {
            "accelerator": self.accelerator,
            "strategy": "auto" if self.alone else self.strategy,
            "devices": self.devices,
            "num_nodes": self.num_nodes,
            "precision": self.precision,
        }
        with quiet_fabric(launches=False):
            return Fabric(**settings)


@contextmanager
def quiet_fabric(launches: bool) -> Iterator[None]:
    """Without Fabric's announcements, and with threads as they were afterwards.

    Parameters
    ----------
    launches : bool
        Whether the processes end within, so that nothing needs to know of them any more.
    """
    logger, threads = logging.getLogger("lightning_fabric"), torch.get_num_threads()
    level = logger.level
    names = [*_OF_THREADS, *(_OF_PROCESSES if launches else ())]
    kept = {name: os.environ.get(name) for name in names}
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        for name, value in kept.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
