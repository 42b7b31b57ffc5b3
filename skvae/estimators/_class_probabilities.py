"""Class probabilities of rows: sources, what neighbours say, calibration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from skvae.estimators._latent import Rows
from skvae.estimators._representation import (
    PREDICTION_VERSIONS,
    ColumnVectors,
    LatentVectors,
)
from skvae.inference import noise_block
from skvae.inference.label_stack import (
    mixture_weights,
    reweigh,
    sharpen,
    temperature,
)
from skvae.inference.propagation import NeighbourGraph
from skvae.inference.session import where_it_is
from skvae.models.semi_supervised import ClassConditionalVAE, LabelNetworks

# How far predictions are averaged over neighbours; held-out labels choose.
STRENGTHS = (0.0, 0.5, 0.8, 0.95)
# The same where labels alone are spread.
SPREAD = 0.99
# Labels granted to all sources together before they are looked at.
PRIOR_LABELS = 5.0
# Rows that are neighbours of others.
MOST_REFERENCES = 60_000
# Draws of the auxiliary latent that predictions are averaged over.
AUXILIARY_DRAWS = 8
ROWS_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class Sources:
    """What is known about the class of a row from the row alone.

    Attributes
    ----------
    coefficients : Tensor of shape (n_folds + 1, width, n_classes)
        Logistic regressions, that of all labels last.
    intercepts : Tensor of shape (n_folds + 1, n_classes)
    networks : LabelNetworks or None
        Two members for each fold.
    model : ClassConditionalVAE or None
    students : LabelNetworks or None
        One member for each fold, taught by what all others say without its labels.
    """

    coefficients: Tensor
    intercepts: Tensor
    networks: LabelNetworks | None = None
    model: ClassConditionalVAE | None = None
    students: LabelNetworks | None = None

    @property
    def device(self) -> torch.device:
        """Where the sources are."""
        return self.coefficients.device

    @property
    def n_folds(self) -> int:
        """Number of folds of the labels."""
        return len(self.coefficients) - 1

    @property
    def n_sources(self) -> int:
        """Number of sources: one, and one more for networks and students each."""
        return 1 + (self.networks is not None) + (self.students is not None)

    @where_it_is
    def by_fold(self, versions: np.ndarray) -> np.ndarray:
        """Probabilities without each fold's labels, shape (n_folds, n_sources, n, n_classes)."""
        return self._means(versions, slice(0, self.n_folds), whole=False)

    @where_it_is
    def whole(self, versions: np.ndarray) -> np.ndarray:
        """Probabilities with all labels, shape (n_sources, n, n_classes)."""
        return self._means(versions, slice(self.n_folds, None), whole=True)[0]

    def _means(self, versions: np.ndarray, fits: slice, whole: bool) -> np.ndarray:
        """Means over versions of rows, (n_fits, n_sources, n, n_classes)."""
        parts = []
        for start in range(0, max(versions.shape[1], 1), ROWS_AT_ONCE):
            part = torch.as_tensor(versions[:, start : start + ROWS_AT_ONCE])
            parts.append(
                torch.stack([self._of(rows, fits, whole) for rows in part]).mean(0).double()
            )
        return torch.cat(parts, dim=2).numpy()

    def _of(self, vectors: Tensor, fits: slice, whole: bool) -> Tensor:
        linear = vectors @ self.coefficients[fits] + self.intercepts[fits].unsqueeze(1)
        each = linear.softmax(-1).unsqueeze(1)
        if self.networks is None:
            return each
        members = self._network_probabilities(vectors)
        # The class-conditional model has seen all labels, and members that follow it have by that:
        # held-out labels judge the others.
        members = members.mean(0, keepdim=True) if whole else members[: self.n_folds]
        parts = [each, members.unsqueeze(1)]
        if self.students is not None:
            taught = self.students(vectors).exp()
            taught = taught.mean(0, keepdim=True) if whole else taught
            parts.append(taught.unsqueeze(1))
        return torch.cat(parts, dim=1)

    def _network_probabilities(self, vectors: Tensor) -> Tensor:
        """Of all members, averaged over ``q(a | x)`` if there is one."""
        assert self.networks is not None
        if self.model is None or self.model.auxiliary is None:
            return self.networks(vectors).exp()
        mean, log_scale = self.model.auxiliary.posterior(vectors)
        noise = noise_block(AUXILIARY_DRAWS, mean.shape[1], 0)
        draws = [self.networks(vectors, mean + log_scale.exp() * e).exp() for e in noise]
        return torch.stack(draws).mean(0)


@dataclass(frozen=True, eq=False)
class Mixture:
    """What held-out labels decided about the candidates: every source at every strength.

    Attributes
    ----------
    weights : ndarray of shape (n_candidates,)
    powers : ndarray of shape (n_candidates,)
        Each candidate's calibration; smoothing makes probabilities too even.
    power : float
        That of their mixture.
    """

    weights: np.ndarray
    powers: np.ndarray
    power: float

    def __call__(self, candidates: np.ndarray) -> np.ndarray:
        """Calibrated probabilities (n, C) from candidates (n_candidates, n, C)."""
        each = [sharpen(p, power) for p, power in zip(candidates, self.powers, strict=True)]
        return sharpen(np.einsum("s,snc->nc", self.weights, np.stack(each)), self.power)


@dataclass(eq=False)
class ClassProbabilities:
    """``q(y | x_o)``: a mixture of what rows say alone and with the nearest training rows.

    Attributes
    ----------
    representation : ColumnVectors or LatentVectors
    sources : Sources
    graph : NeighbourGraph
        Of the reference rows.
    mixture : Mixture
    references : ndarray of shape (n_candidates, m, n_classes)
        Candidates of the reference rows.
    odds : ndarray of shape (n_classes,)
        Class frequencies relative to those among labelled rows, and weights of the classes.
    """

    representation: ColumnVectors | LatentVectors
    sources: Sources
    graph: NeighbourGraph
    mixture: Mixture
    references: np.ndarray
    odds: np.ndarray | float = 1.0

    @property
    def device(self) -> torch.device:
        """Where the sources are."""
        return self.sources.device

    @where_it_is
    def without_odds(self, versions: np.ndarray) -> np.ndarray:
        """Under the class frequencies of the labels, (n_versions, n, width) to (n, n_classes)."""
        alone = self.sources.whole(versions)
        weight, index = self.graph.weights(self.place(versions))
        weight, index = weight.double().numpy(), index.numpy()
        near = [np.einsum("nk,nkc->nc", weight, each[index]) for each in self.references]
        strengths = np.append(np.repeat(STRENGTHS, len(alone)), 1.0)[:, None, None]
        own = np.concatenate([*(alone,) * len(STRENGTHS), alone[:1]])  # the last weighs nothing
        return self.mixture((1 - strengths) * own + strengths * np.stack(near))

    def place(self, versions: np.ndarray) -> Tensor:
        """Where rows are among their neighbours, shape (n, width)."""
        return place(self.representation, versions)

    def __call__(self, rows: Rows) -> np.ndarray:
        """Probabilities of rows, shape (n, n_classes)."""
        out = np.empty((len(rows.values), self.references.shape[2]))
        whole = rows.observed.all(axis=1)
        for kind, places in ((True, np.flatnonzero(whole)), (False, np.flatnonzero(~whole))):
            for start in range(0, len(places), ROWS_AT_ONCE):
                some = places[start : start + ROWS_AT_ONCE]
                versions = self.representation.versions(rows.take(some), PREDICTION_VERSIONS)
                # What is absent is marginalised: every version of a row is predicted for itself.
                each = [versions] if kind else np.split(versions, len(versions))
                mixed = np.mean([self.without_odds(one) for one in each], axis=0)
                out[some] = reweigh(mixed, self.odds)
        return out


def place(representation: ColumnVectors | LatentVectors, versions: np.ndarray) -> Tensor:
    """Where rows (n_versions, n, width) are among their neighbours, shape (n, width)."""
    points = representation.place(versions.mean(axis=0))
    return torch.as_tensor(np.ascontiguousarray(points, dtype=np.float32))


@dataclass(frozen=True, eq=False)
class LabelledRows:
    """Labels of the reference rows.

    Attributes
    ----------
    codes, fold : ndarray of int, shape (m,)
    weight : ndarray of shape (m,)
    n_classes : int
    """

    codes: np.ndarray
    fold: np.ndarray
    weight: np.ndarray
    n_classes: int

    def one_hot(self, seen: np.ndarray) -> np.ndarray:
        """Zero where not `seen`, shape (m, n_classes)."""
        return (self.codes[:, None] == np.arange(self.n_classes)) * seen[:, None].astype(float)


def stack(
    sources: Sources, graph: NeighbourGraph, versions: np.ndarray, labels: LabelledRows
) -> tuple[Mixture, np.ndarray]:
    """Mix sources and strengths of averaging by held-out labels, then calibrate.

    Parameters
    ----------
    sources : Sources
    graph : NeighbourGraph
        Of the reference rows.
    versions : ndarray of shape (n_versions, m, width)
    labels : LabelledRows

    Returns
    -------
    mixture : Mixture
    candidates : ndarray of shape (n_candidates, m, n_classes)
        Of the reference rows, with all labels.
    """
    held_out, known = labels.fold >= 0, labels.codes >= 0
    candidates = _candidates(sources.whole(versions), graph, labels.one_hot(known))
    equal = np.full(len(candidates), 1 / len(candidates))
    if not held_out.any():
        return Mixture(equal, np.ones(len(equal)), 1.0), candidates
    by_fold = sources.by_fold(versions)
    judged = np.empty_like(candidates)
    for f in range(sources.n_folds):
        mine = labels.fold == f
        judged[:, mine] = _without(f, by_fold[f], graph, labels)[:, mine]
    judged, own, weight = judged[:, held_out], labels.codes[held_out], labels.weight[held_out]
    powers = np.array([temperature(each, own, weight) for each in judged])
    judged = np.stack([sharpen(p, power) for p, power in zip(judged, powers, strict=True)])
    weights = mixture_weights(judged, own, weight, PRIOR_LABELS * equal)
    power = temperature(np.einsum("s,snc->nc", weights, judged), own, weight)
    return Mixture(weights, powers, power), candidates


def beliefs_by_fold(
    sources: Sources,
    graph: NeighbourGraph,
    versions: np.ndarray,
    labels: LabelledRows,
    mixture: Mixture,
) -> np.ndarray:
    """What is believed about the reference rows without each fold's labels, (n_folds, m, C)."""
    by_fold = sources.by_fold(versions)
    each = [mixture(_without(f, p, graph, labels)) for f, p in enumerate(by_fold)]
    return np.stack(each)


def _without(
    f: int, probabilities: np.ndarray, graph: NeighbourGraph, labels: LabelledRows
) -> np.ndarray:
    """Candidates that do without the labels of a fold, (n_candidates, m, C)."""
    seen = labels.one_hot((labels.codes >= 0) & (labels.fold != f))
    return _candidates(probabilities, graph, seen)


def _candidates(
    probabilities: np.ndarray, graph: NeighbourGraph, one_hot: np.ndarray
) -> np.ndarray:
    """Sources (n_sources, m, C) at every strength, then labels alone, (n_candidates, m, C)."""
    n_sources, m, n_classes = probabilities.shape
    known = one_hot.any(axis=1)
    start = np.where(known[:, None], one_hot, probabilities)
    side_by_side = start.transpose(1, 0, 2).reshape(m, -1)
    out = []
    for strength in STRENGTHS:
        smooth = graph.smooth(side_by_side, strength) if strength else side_by_side
        out.append(smooth.reshape(m, n_sources, n_classes).transpose(1, 0, 2))
    return np.concatenate([*out, graph.spread(one_hot, SPREAD)[None]])
