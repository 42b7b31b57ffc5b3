"""Networks that learn what neighbours, networks and the bound agree upon about all rows."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning

from skvae.estimators._class_probabilities import ClassProbabilities, beliefs_by_fold
from skvae.estimators._training_rows import TrainingRows
from skvae.models.semi_supervised import LabelNetworks
from skvae.tabular.callers import user_level
from skvae.training.distillation import Lessons, distil
from skvae.training.labels import RowSource
from skvae.training.semi_supervised import SemiSupervisedSettings


def teach(
    predicted: ClassProbabilities,
    source: RowSource,
    train: TrainingRows,
    chosen: np.ndarray,
    hidden: tuple[int, ...],
    settings: SemiSupervisedSettings,
    random: np.random.RandomState,
) -> LabelNetworks | None:
    """One student for each fold, taught without its labels; None if training diverged.

    Parameters
    ----------
    predicted : ClassProbabilities
        The teacher.
    source : RowSource
    train : TrainingRows
    chosen : ndarray of int
        Rows to learn from: those that are neighbours of others.
    hidden : tuple of int
    settings : SemiSupervisedSettings
    random : RandomState
    """
    sources, labels = predicted.sources, train.labels_of(chosen)
    versions = train.versions[:, chosen]
    beliefs = beliefs_by_fold(sources, predicted.graph, versions, labels, predicted.mixture)
    generator = torch.Generator().manual_seed(int(random.randint(2**31 - 1)))
    folds = slice(0, sources.n_folds)
    students = LabelNetworks(
        sources.coefficients[folds], sources.intercepts[folds], hidden, generator
    )
    lessons = Lessons(
        torch.as_tensor(chosen),
        torch.as_tensor(beliefs).float(),
        torch.as_tensor(labels.weight).float(),
    )
    finite = distil(
        students,
        source,
        lessons,
        settings.max_iter,
        settings.batch_size,
        settings.learning_rate,
        generator,
    )
    if finite:
        return students
    warnings.warn(
        "The loss of the last networks, which learn what is believed about all rows, stopped "
        "being finite; they were left out. Lower learning_rate_init.",
        ConvergenceWarning,
        stacklevel=user_level(),
    )
    return None
