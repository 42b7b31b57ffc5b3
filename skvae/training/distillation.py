"""Students of class probabilities: networks that learn what others believe about all rows.

What neighbours agree upon says more about a row than a network learns from labels alone, but a
new row has to be placed among its neighbours first. A network that reproduces it (distillation,
Hinton et al. 2015) from rows that noise has moved (noisy students, Xie et al. 2020) reads it off
the row.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from skvae.models.semi_supervised import LabelNetworks
from skvae.training.labels import RowSource
from skvae.training.loop import History, gradient_step, one_cycle
from skvae.training.run import current_run

# Standard deviation of the noise on standardised latents.
NOISE = 0.5


@dataclass(frozen=True, eq=False)
class Lessons:
    """What students learn.

    Attributes
    ----------
    rows : LongTensor of shape (m,)
        Numbers of the rows.
    teachers : Tensor of shape (n_members, m, n_classes)
        Probabilities, those of each member.
    weight : Tensor of shape (m,)
    """

    rows: Tensor
    teachers: Tensor
    weight: Tensor


def distil(
    students: LabelNetworks,
    source: RowSource,
    lessons: Lessons,
    max_iter: int,
    batch_size: int,
    learning_rate: float,
    generator: torch.Generator,
) -> bool:
    """Train students in place; False if their loss stopped being finite.

    Parameters
    ----------
    students : LabelNetworks
    source : RowSource
        Its vectors are standardised.
    lessons : Lessons
    max_iter, batch_size : int
    learning_rate : float
        Peak of a one-cycle schedule.
    generator : torch.Generator
    """
    optimizer, scheduler = one_cycle(students.parameters(), learning_rate, max_iter)
    history = History()
    parts = {
        "model": students,
        "optimizer": optimizer,
        "scheduler": scheduler,
        "generator": generator,
        "history": history,
    }
    with current_run().stage("distillation", max_iter, parts) as steps:
        for _ in steps:
            some = torch.randint(len(lessons.rows), (batch_size,), generator=generator)
            vectors = source.draw(lessons.rows[some], generator).vectors
            vectors = vectors + NOISE * torch.randn(vectors.shape, generator=generator)
            each = -(lessons.teachers[:, some] * students(vectors)).sum(-1)
            loss = (lessons.weight[some] * each).mean(1).sum()
            if not gradient_step(loss, optimizer, students.n_members):
                history.recovered = True
                break
            scheduler.step()
    students.zero_grad(set_to_none=True)
    students.eval().requires_grad_(False)
    return not history.recovered
