"""The training loop: members side by side, held-out entries decide when each is at its best."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from skvae.inference.devices import active_device
from skvae.models.vae import VAE
from skvae.training.data import TrainingTable
from skvae.training.objectives import Objective
from skvae.training.run import current_run
from skvae.training.team import Team

# Devices on which torch updates all parameters in one go, from its oldest supported version on.
FUSED = ("cpu", "cuda")


@dataclass(frozen=True)
class LoopSettings:
    """How to train.

    Attributes
    ----------
    max_iter : int
        Gradient steps.
    batch_size : int
    learning_rate : float
        Peak of a one-cycle schedule (Smith and Topin 2019).
    weight_decay : Tensor of shape (n_members,)
        Decoupled from the gradient (Loshchilov and Hutter 2019); it pulls towards the linear VAE.
    n_validations : int
        How often the held-out score is taken.
    n_iter_no_change : int
        Validations without progress of any member after which training ends, in the second half
        of the schedule; 0 never ends early.
    tol : float
        What counts as progress of the held-out score.
    """

    max_iter: int
    batch_size: int
    learning_rate: float
    weight_decay: Tensor
    n_validations: int = 20
    n_iter_no_change: int = 8
    tol: float = 1e-4


@dataclass
class History:
    """What happened.

    Attributes
    ----------
    loss : list of float
        Mean over members, one value per validation interval.
    scores : list of list of float
        Held-out score of every member at each validation, larger is better.
    n_iter : int
    recovered : bool
        Whether the loss left the finite numbers and the best earlier state was restored.
    pending : float
        Sum of the losses since the last validation.
    """

    loss: list[float] = field(default_factory=list)
    scores: list[list[float]] = field(default_factory=list)
    n_iter: int = 0
    recovered: bool = False
    pending: float = 0.0

    def close_interval(self, interval: int) -> float:
        """Add the mean loss of the steps since the last validation, and return it."""
        self.loss.append(self.pending / (self.n_iter - interval * len(self.loss)))
        self.pending = 0.0
        return self.loss[-1]

    def state_dict(self) -> dict[str, Any]:
        """All of it."""
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The reverse of `state_dict`."""
        self.__dict__.update(state)


def train(
    model: VAE,
    table: TrainingTable,
    objective: Objective,
    validate: Callable[[VAE], Tensor] | None,
    settings: LoopSettings,
    generator: torch.Generator,
    name: str = "model",
) -> History:
    """Train all members and leave each at its best held-out score.

    Parameters
    ----------
    model : VAE
        Changed in place.
    table : TrainingTable
    objective : Objective
    validate : callable or None
        Gives the held-out score of every member, shape (n_members,); None keeps the last state.
    settings : LoopSettings
    generator : torch.Generator
        Source of batches, masks and noise.
    name : str
        Of the loop, for those who watch it.

    Returns
    -------
    History
    """
    optimizer, scheduler = one_cycle(model.parameters(), settings.learning_rate, settings.max_iter)
    keeper = _BestStates(model, settings.tol)
    history = History()
    interval = max(1, settings.max_iter // settings.n_validations)
    if validate is not None:
        keeper.update(_score(validate, model))  # the linear start may be the best there is
    rows = RowStream(table.n_rows, settings.batch_size, generator)
    parts = {
        "model": model,
        "optimizer": optimizer,
        "scheduler": scheduler,
        "generator": generator,
        "rows": rows,
        "history": history,
        "best": keeper,
    }
    if isinstance(objective, Stateful):
        parts["objective"] = objective
    run = current_run()
    team = run.team
    part = team.part(rows.size) if getattr(objective, "by_rows", False) else None
    team.align(model.state_dict().values())
    with run.stage(name, settings.max_iter, parts) as steps:
        for step in steps:
            batch = table.batch(next(rows), part)
            with team.autocast():
                value = objective(model, table, batch, generator)
            loss = -(batch.weight * value).sum(1).div(rows.size).sum()
            if not gradient_step(loss, optimizer, model.n_members, team if part else None):
                history.recovered = True
                break
            _decay(model, settings.weight_decay, optimizer.param_groups[0]["lr"])
            scheduler.step()
            history.pending += float(loss.detach()) / model.n_members
            history.n_iter = step
            if step % interval and step != settings.max_iter:
                continue
            steps.loss = history.close_interval(interval)
            if validate is None:
                continue
            scores = _score(validate, model)
            history.scores.append(scores.tolist())
            keeper.update(scores)
            # At its peak the learning rate often spoils what its descent then improves.
            descending = step > settings.max_iter // 2
            if descending and 0 < settings.n_iter_no_change <= keeper.stalled:
                break
    if validate is not None or history.recovered:
        keeper.restore()
    team.align(model.state_dict().values())
    model.zero_grad(set_to_none=True)
    return history


def _score(validate: Callable[[VAE], Tensor], model: VAE) -> Tensor:
    model.eval()  # users' modules may drop units or count batches
    scores = validate(model)
    model.train()
    current_run().team.align([scores])
    return scores


def gradient_step(
    loss: Tensor, optimizer: torch.optim.Optimizer, n_members: int, team: Team | None = None
) -> bool:
    """Step down a loss summed over members; False, and no step, if it is not finite.

    Of a team each process has the loss of its rows, and afterwards that of all rows.
    """
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    if team is not None:
        team.add_up(parameters, loss)
    norm = torch.nn.utils.clip_grad_norm_(parameters, 5.0 * n_members)
    finite = math.isfinite(float(norm) + float(loss.detach()))
    if finite:
        optimizer.step()
    return finite


def one_cycle(
    parameters: Iterable[nn.Parameter] | Sequence[dict[str, Any]],
    learning_rate: float,
    max_iter: int,
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Adam under a one-cycle schedule (Smith and Topin 2019) that peaks at `learning_rate`.

    Groups of parameters may have a peak of their own, their "lr".
    """
    fused = active_device().type in FUSED or None
    optimizer = torch.optim.Adam(parameters, lr=learning_rate, betas=(0.9, 0.99), fused=fused)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        [group["lr"] for group in optimizer.param_groups],
        total_steps=max_iter + 1,
        # The schedule divides by the length of its rise, which must not round to nothing.
        pct_start=max(0.2, 1.5 / (max_iter + 1)),
        cycle_momentum=False,
    )
    return optimizer, scheduler


@torch.no_grad()
def _decay(model: VAE, weight_decay: Tensor, learning_rate: float) -> None:
    factor = (1 - learning_rate * weight_decay).clamp(min=0.0)[:, None, None]
    for weight in model.network_weights:
        if weight.requires_grad:
            weight.mul_(factor)


@runtime_checkable
class Stateful(Protocol):
    """What changes in training and can be put back."""

    def state_dict(self) -> dict[str, Any]:
        """What it is now."""

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Be that again."""


class RowStream:
    """Endless batches of row numbers, each row once per pass as far as whole batches reach.

    Parameters
    ----------
    n_rows, batch_size : int
    generator : torch.Generator
    """

    def __init__(self, n_rows: int, batch_size: int, generator: torch.Generator) -> None:
        self.n_rows, self.size, self.generator = n_rows, min(batch_size, n_rows), generator
        self.order, self.start = torch.arange(0), 0

    def __next__(self) -> Tensor:
        if self.start + self.size > len(self.order):
            self.order = torch.randperm(self.n_rows, generator=self.generator)
            self.start = 0
        self.start += self.size
        return self.order[self.start - self.size : self.start]

    def state_dict(self) -> dict[str, Any]:
        """Where the pass stands."""
        return {"order": self.order, "start": self.start}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The reverse of `state_dict`."""
        self.order, self.start = state["order"], state["start"]


class _BestStates:
    """Each member's parameters at its best held-out score."""

    def __init__(self, model: VAE, tol: float) -> None:
        self.model, self.tol = model, tol
        # Modules of users have no dimension of members, but buffers that training changes.
        whole = model.n_members == 1
        self.tensors = list(model.state_dict().values() if whole else _trained(model))
        self.best = torch.full((model.n_members,), -math.inf)
        self.states = [tensor.detach().clone() for tensor in self.tensors]
        self.stalled = 0

    @torch.no_grad()
    def update(self, scores: Tensor) -> None:
        better = scores > self.best  # false for NaN
        self.stalled = 0 if (scores > self.best + self.tol).any() else self.stalled + 1
        self.best = torch.where(better, scores, self.best)
        if not better.any():
            return
        for state, tensor in zip(self.states, self.tensors, strict=True):
            if self.model.n_members == 1:
                state.copy_(tensor)
            else:
                state[better] = tensor[better]

    @torch.no_grad()
    def restore(self) -> None:
        for state, tensor in zip(self.states, self.tensors, strict=True):
            tensor.copy_(state)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "states": self.states, "stalled": self.stalled}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.states, self.stalled = state["best"], state["states"], state["stalled"]


def _trained(model: VAE) -> list[Tensor]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]
