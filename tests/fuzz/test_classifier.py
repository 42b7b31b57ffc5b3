"""`SemiSupervisedVAEClassifier` on tables of every kind."""

import copy

import numpy as np
import pandas as pd
from fuzz_checks import (
    check_complete,
    check_new_rows,
    check_rows,
    check_same,
    loud,
    of_far_values,
    refused,
)
from fuzz_settings import (
    column_types,
    few,
    many,
    of_column_types,
    of_constant_tables,
    of_widths,
    parameters,
)
from fuzz_tables import counted, recipes, weights
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone

from skvae import SemiSupervisedVAEClassifier

CLASSES = {
    "numbers": [-1, 0, 1],
    "more numbers": [-1, 3, 5, 8, 0],
    "floats": [np.nan, 0.0, 1.0],
    "words": [-1, "a", "b"],
    "words or None": [None, "a", "b", "c"],
    "NA": [pd.NA, "a", "b"],
    "bools": [None, True, False],
    "few numbers": [-1] * 6 + [0, 1],
    "one class": [-1, 1],
}


@st.composite
def cases(draw):
    """A table, weights, labels and parameters."""
    recipe = draw(recipes())
    options = draw(
        parameters(
            recipe,
            model=st.sampled_from(["m2", "m1", "m1+m2", "auxiliary", "skip_auxiliary"]),
            label_prior=st.sampled_from(["learned", "empirical", "uniform"]),
            class_weight=st.sampled_from([None, None, "balanced"]),
            classifier_weight=st.sampled_from([1.0, 0.01, 30.0]),
            n_neighbors=st.sampled_from([10, 1, 3]),
            beta=st.sampled_from(["auto", 1.0, 0.0, 3.0]),
            alpha=st.sampled_from([0.3, 0.0, 2.0]),
        )
    )
    if "auxiliary" in options["model"] and not options["hidden_layer_sizes"]:
        options["hidden_layer_sizes"] = (5,)
    options["column_types"] = draw(column_types(recipe))
    kind = draw(st.sampled_from(["words", *CLASSES]))
    return recipe, draw(weights(recipe.n)), options, kind


def labels_of(recipe, kind):
    rng = np.random.default_rng(recipe.seed + 1)
    y = np.empty(recipe.n, dtype=object)
    y[:] = [CLASSES[kind][k] for k in rng.integers(0, len(CLASSES[kind]), recipe.n)]
    return (
        y.astype(float if kind == "floats" else int) if kind.endswith(("numbers", "floats")) else y
    )


def results(classifier, X):
    """What it says of rows."""
    return {
        "predict_proba": classifier.predict_proba(X),
        "predict_log_proba": classifier.predict_log_proba(X),
        "transform": classifier.transform(X),
        "score_samples": classifier.score_samples(X, n_samples=16),
    }


def reasons(case, y):
    """Patterns of errors that a fit may end with."""
    recipe, weight, options, _ = case
    found = recipe.complaints() + of_column_types(options["column_types"]) + of_widths(options)
    found += of_constant_tables(recipe, weight)
    given = y[counted(recipe, weight)]
    classes = {label for label in given if not pd.isna(label) and label != -1}
    if not classes:
        found.append("y labels no row")
    elif len(classes) == 1:
        found.append("y has only one class")
    return found


def examine(case):
    recipe, weight, options, kind = case
    X, y = recipe.X, labels_of(recipe, kind)
    before = copy.deepcopy(X)
    classifier = SemiSupervisedVAEClassifier(**options)
    _, was_refused = refused(lambda: classifier.fit(X, y, sample_weight=weight), reasons(case, y))
    check_same(before, X, "the table after the fit")
    if was_refused:
        return
    assert not (weight is None and recipe.complaints()), "accepted what should be refused"
    rng = np.random.default_rng(recipe.seed)
    far = () if counted(recipe, weight).all() else of_far_values(recipe)
    said = check_rows(classifier, recipe, results, rng, far)
    if said is None:
        return
    check_probabilities(classifier, X, said["predict_proba"])
    with loud():
        twin = clone(classifier).fit(X, y, sample_weight=weight)
        check_same(said["predict_proba"], twin.predict_proba(X), "probabilities of a clone")
    check_new_rows(classifier, recipe, results, rng, weight)


def check_probabilities(classifier, X, probabilities):
    """They are such; labels and draws go with them."""
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-9)
    np.testing.assert_allclose(classifier.label_prior_.sum(), 1, rtol=1e-9)
    with loud():
        labels = classifier.predict(X)
        assert (labels == classifier.classes_[probabilities.argmax(axis=1)]).all()
        assert set(classifier.transduction_.tolist()) <= set(classifier.classes_.tolist())
        draws = classifier.sample(4, random_state=0)
        check_complete(draws, "sample")
        check_same(draws, classifier.sample(4, random_state=0), "the same draws")
        check_complete(classifier.sample(3, y=classifier.classes_[0]), "sample of a class")


@few
@given(cases())
def test_tables(case):
    examine(case)


@many
@given(cases())
def test_many_tables(case):
    examine(case)
