"""The training rows of a classifier, and what is made of them before any network is trained."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from skvae.distributions import Gaussian
from skvae.estimators._class_probabilities import MOST_REFERENCES, LabelledRows, Sources
from skvae.estimators._latent import Rows
from skvae.estimators._linear_labels import linear_start
from skvae.models.start import FeatureSpec
from skvae.training import Tensors


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """Everything about the training rows that does not change.

    Attributes
    ----------
    rows : Rows
    codes, fold : ndarray of int, shape (n,)
        Classes, and the fold that does without each label; -1 for none.
    weight : ndarray of shape (n,)
        With mean one.
    versions : ndarray of shape (n_versions, n, width)
        What classifiers read.
    frequency : ndarray of shape (n_classes,)
        Weight of the labels by class.
    """

    rows: Rows
    codes: np.ndarray
    fold: np.ndarray
    weight: np.ndarray
    versions: np.ndarray
    frequency: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """Numbers of labelled rows."""
        return np.flatnonzero(self.codes >= 0)

    @property
    def assumed(self) -> np.ndarray:
        """Class frequencies that the labels show."""
        return self.frequency / self.frequency.sum()

    def labels_of(self, some: np.ndarray) -> LabelledRows:
        """Labels of the rows with the given numbers."""
        return LabelledRows(
            self.codes[some], self.fold[some], self.weight[some], len(self.frequency)
        )


def latent_tensors(mean: Tensor, weight: Tensor) -> Tensors:
    """Standardised latents (n, k) as a table of Gaussian columns."""
    n, k = mean.shape
    return Tensors(
        features=mean,
        targets=mean,
        regression_targets=mean,
        observed=torch.ones(n, k, dtype=torch.bool),
        weight=weight,
        feature_columns=torch.arange(k),
        likelihoods=(Gaussian(),) * k,
        regression_likelihoods=(Gaussian(),) * k,
        specs=tuple(FeatureSpec(slice(j, j + 1), 0.0, 1.0) for j in range(k)),
        slope=torch.ones(k),
        intercept=torch.zeros(k),
    )


def linear_sources(train: TrainingRows, random: np.random.RandomState) -> Sources:
    """Logistic regressions of the labelled rows, all versions of each."""
    known, times = train.known, len(train.versions)
    vectors = train.versions[:, known].astype(float)
    start = linear_start(
        vectors.reshape(-1, vectors.shape[2]),
        np.tile(train.codes[known], times),
        np.tile(train.fold[known], times),
        np.tile(train.weight[known], times) / times,
        random,
    )
    return Sources(*(torch.as_tensor(part).float() for part in start))


def references(known: np.ndarray, n: int, random: np.random.RandomState) -> np.ndarray:
    """Rows that serve as neighbours: labelled ones first, as many as can be."""
    if n <= MOST_REFERENCES:
        return np.arange(n)
    known = random.permutation(known)[: MOST_REFERENCES // 2]
    others = random.permutation(np.setdiff1d(np.arange(n), known))
    return np.sort(np.concatenate([known, others[: MOST_REFERENCES - len(known)]]))
