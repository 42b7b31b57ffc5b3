"""`VAEOutlierDetector` on tables of every kind."""

import copy

import numpy as np
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
from fuzz_tables import counted, live, recipes, weights
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone

from skvae import VAEOutlierDetector
from skvae.estimators._detection import SCORES


@st.composite
def cases(draw):
    """A table, weights and parameters."""
    recipe = draw(recipes())
    options = draw(
        parameters(
            recipe,
            score=st.sampled_from([*SCORES]),
            contamination=st.sampled_from(["auto", "auto", 0.1, 0.5]),
            robust=st.booleans(),
            alpha=st.sampled_from([0.3, 0.0, 2.0]),
            inference=st.sampled_from(["amortized"] * 8 + ["adaptive", "posterior_matching"]),
        )
    )
    if not options["hidden_layer_sizes"]:
        options["beta"] = 1.0
    options["column_types"] = draw(column_types(recipe))
    if options["inference"] == "posterior_matching":
        recipe = recipe.without_holes()
    return recipe, draw(weights(recipe.n)), options


def results(detector, X):
    """What it says of rows."""
    return {"score_samples": detector.score_samples(X), "predict": detector.predict(X)}


def reasons(case):
    """Patterns of errors that a fit may end with."""
    recipe, weight, options = case
    found = recipe.complaints() + of_column_types(options["column_types"]) + of_widths(options)
    found += [p for p in of_constant_tables(recipe, weight) if "observed" in p]
    if len(live(recipe, weight)) < 2:
        found.append(r"n_samples=1 row of X .* is not enough")
    if options["inference"] == "posterior_matching":
        found.append(r"inference='posterior_matching' (learns from complete rows: \d+ of|is for)")
    return found


def examine(case):
    recipe, weight, options = case
    X = recipe.X
    before = copy.deepcopy(X)
    detector = VAEOutlierDetector(**options)
    _, was_refused = refused(lambda: detector.fit(X, sample_weight=weight), reasons(case))
    check_same(before, X, "the table after the fit")
    if was_refused:
        return
    assert not (weight is None and recipe.complaints()), "accepted what should be refused"
    assert np.isfinite(detector.offset_)
    rng = np.random.default_rng(recipe.seed)
    far = () if counted(recipe, weight).all() else of_far_values(recipe)
    said = check_rows(detector, recipe, results, rng, far)
    if said is None:
        return
    with loud():
        decisions = detector.decision_function(X)
        assert (decisions == said["score_samples"] - detector.offset_).all()
        assert (np.where(decisions < 0, -1, 1) == said["predict"]).all()
        twin = clone(detector).fit(X, sample_weight=weight)
        check_same(said["score_samples"], twin.score_samples(X), "scores of a clone")
    check_explained(detector, recipe)
    check_new_rows(detector, recipe, results, rng, weight)


def check_explained(detector, recipe):
    """Every entry has an expectation, those that are there a surprise."""
    with loud():
        table = detector.explain(recipe.X, n_samples=16)
    check_complete(table[["expected"]], "explain")
    assert (table["std"].dropna() >= 0).all()
    frame, most = recipe.frame, detector.max_categories
    many = [recipe.labels[j] for j, n in enumerate(frame.nunique()) if n > most]
    # Entries of levels that are not modelled count as absent.
    unknown = table["value"].isna() | table.index.get_level_values("column").isin(many)
    check_complete(table.loc[~unknown, ["surprise", "contribution"]], "explain")


@few
@given(cases())
def test_tables(case):
    examine(case)


@many
@given(cases())
def test_many_tables(case):
    examine(case)
