"""Sources, neighbours, students: which labels may reach which probabilities."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss

from skvae import SemiSupervisedVAEClassifier
from skvae.estimators._class_probabilities import LabelledRows, Sources, beliefs_by_fold, stack
from skvae.inference.propagation import NeighbourGraph

N, CLASSES, FOLDS = 60, 2, 3


def labelled_points(seed=0):
    """Points, a graph of them, logistic regressions that disagree by fold, some labels."""
    random = np.random.default_rng(seed)
    points = random.normal(size=(N, 2))
    codes = np.where(np.arange(N) < 24, (points[:, 0] > 0).astype(int), -1)
    fold = np.where(codes >= 0, np.arange(N) % FOLDS, -1)
    coefficients = torch.tensor([[-1.0, 1.0], [0.0, 0.0]]) * torch.arange(1.0, FOLDS + 2).view(
        -1, 1, 1
    )
    sources = Sources(coefficients, torch.zeros(FOLDS + 1, CLASSES))
    graph = NeighbourGraph.build(torch.from_numpy(points).float(), 5)
    versions = points[None].astype(np.float32)
    return sources, graph, versions, LabelledRows(codes, fold, np.ones(N), CLASSES)


def test_beliefs_by_fold_do_without_its_labels():
    sources, graph, versions, labels = labelled_points()
    mixture, _ = stack(sources, graph, versions, labels)
    before = beliefs_by_fold(sources, graph, versions, labels, mixture)
    assert before.sum(axis=2) == pytest.approx(1)
    codes = np.where(labels.fold == 1, 1 - labels.codes, labels.codes)
    flipped = LabelledRows(codes, labels.fold, labels.weight, CLASSES)
    after = beliefs_by_fold(sources, graph, versions, flipped, mixture)
    assert after[1] == pytest.approx(before[1], abs=1e-12)
    assert np.abs(after[[0, 2]] - before[[0, 2]]).max() > 0.1


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    X, y = X[order][:1100], y[order][:1100]
    known = np.where(np.arange(700) < 100, y[:700], -1)
    classifier = SemiSupervisedVAEClassifier("m1+m2", max_iter=300, random_state=0)
    return classifier.fit(X[:700], known), X[700:], y[700:]


def test_students_beat_the_linear_start_on_new_rows(digits):
    classifier, X, y = digits
    probabilities = classifier._probabilities
    sources = probabilities.sources
    versions = probabilities.representation.versions(classifier._rows(X))
    linear, _, students = (p / p.sum(axis=1, keepdims=True) for p in sources.whole(versions))
    assert log_loss(y, students) < log_loss(y, linear)
    assert (students.argmax(axis=1) == y).mean() > (linear.argmax(axis=1) == y).mean()
    assert probabilities.mixture.weights.shape == (3 * 4 + 1,)


def test_students_have_a_member_for_each_fold(digits):
    classifier, X, _ = digits
    sources = classifier._probabilities.sources
    versions = classifier._probabilities.representation.versions(classifier._rows(X))
    by_fold = sources.by_fold(versions)
    assert by_fold.shape == (sources.n_folds, 3, len(X), 10)
    # Apart, because each was taught without the labels of its fold.
    assert np.abs(by_fold[0, 2] - by_fold[1, 2]).max() > 0.05


def test_students_that_diverge_are_left_out():
    X, y = load_digits(return_X_y=True)
    classifier = SemiSupervisedVAEClassifier(
        "m1", max_iter=20, learning_rate_init=1e20, random_state=0
    )
    with pytest.warns(ConvergenceWarning) as said:
        classifier.fit(X[:60], y[:60])
    assert any("left out" in str(warning.message) for warning in said)
    assert classifier._probabilities.sources.students is None
    assert np.isfinite(classifier.predict_proba(X[60:90])).all()


def test_only_models_that_read_latents_have_students():
    X, y = load_digits(return_X_y=True)
    known = np.where(np.arange(200) < 50, y[:200], -1)
    small = {"max_iter": 5, "random_state": 0}
    assert (
        SemiSupervisedVAEClassifier("m2", **small)
        .fit(X[:200], known)
        ._probabilities.sources.students
        is None
    )
