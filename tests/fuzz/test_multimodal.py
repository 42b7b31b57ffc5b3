"""`MultimodalVAE` on tables of every kind."""

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
from fuzz_tables import counted, recipes, weights
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone

from skvae import MultimodalVAE


@st.composite
def cases(draw):
    """A table, weights and parameters."""
    recipe = draw(recipes())
    options = draw(
        parameters(
            recipe,
            alpha=st.sampled_from([0.3, 0.0, 2.0]),
            n_private_components=st.sampled_from([0, 0, 1]),
            fusion=st.sampled_from(["poe", "moe", "mopoe"]),
            modality_weights=st.sampled_from([None, None, "balanced"]),
            readout=st.sampled_from(["kernel", "decoder"]),
            prior=st.sampled_from(["mixture", "normal"]),
            n_prior_components=st.sampled_from(["auto", 1, 3]),
        )
    )
    options["modalities"] = draw(blocks(recipe))
    options["column_types"] = draw(column_types(recipe))
    return recipe, draw(weights(recipe.n)), options


@st.composite
def blocks(draw, recipe):
    """One to three blocks of columns, by position, most of which vary."""
    p = len(recipe.kinds)
    if p == 1 or draw(st.integers(0, 3)) == 0:
        return None
    varies = np.array([column.nunique() > 1 for _, column in recipe.frame.items()])
    owner = np.array([draw(st.integers(0, 2)) for _ in range(p)])
    if draw(st.integers(0, 9)) < 9:  # no block without a column to model
        dull = [b for b in set(owner.tolist()) if not varies[owner == b].any()]
        lively = set(owner.tolist()) - set(dull)
        owner[np.isin(owner, dull)] = min(lively, default=0)
    return {f"block {b}": owner == b for b in sorted(set(owner.tolist()))}


def results(model, X):
    """What it says of rows."""
    mean, deviation = model.posterior(X)
    said = {
        "transform": model.transform(X),
        "posterior": np.hstack([mean, deviation]),
        "predicted blocks": model.predict(X),
        "reconstruct": model.reconstruct(X),
        "score_samples": model.score_samples(X, n_samples=16),
        "elbo": model.score_samples(X, method="elbo", n_samples=16),
    }
    if len(model.modalities_) > 1:
        target = list(model.modalities_)[-1]
        said["a block"] = model.predict(X, target=target)
        said["density of a block"] = model.score_samples(X, target=target, n_samples=16)
    return said


def reasons(case):
    """Patterns of errors that a fit may end with."""
    recipe, weight, options = case
    found = recipe.complaints() + of_column_types(options["column_types"]) + of_widths(options)
    found += of_constant_tables(recipe, weight)
    if options["modalities"] is not None:
        found.append(
            "modalities: block 'block .' (is absent in all rows|has no column that varies)"
        )
    return found


def examine(case):
    recipe, weight, options = case
    X = recipe.X
    before = copy.deepcopy(X)
    model = MultimodalVAE(**options)
    _, was_refused = refused(lambda: model.fit(X, sample_weight=weight), reasons(case))
    check_same(before, X, "the table after the fit")
    if was_refused:
        return
    assert not (weight is None and recipe.complaints()), "accepted what should be refused"
    rng = np.random.default_rng(recipe.seed)
    far = () if counted(recipe, weight).all() else of_far_values(recipe)
    said = check_rows(model, recipe, results, rng, far)
    if said is None:
        return
    check_generated(model, X, said["transform"])
    with loud():
        twin = clone(model).fit(X, sample_weight=weight)
        check_same(said["transform"], twin.transform(X), "transform of a clone")
    check_new_rows(model, recipe, results, rng, weight)


def check_generated(model, X, z):
    """Tables from latents, and draws."""
    with loud():
        made = {
            "inverse_transform": model.inverse_transform(z),
            "far latents": model.inverse_transform(50 * z + 9),
            "sample": model.sample(5, random_state=0),
            "aggregated": model.sample(5, source="aggregated", random_state=0),
            "precisions": model.expert_precisions_,
        }
        if len(model.modalities_) > 1:
            target = next(iter(model.modalities_))
            made["conditional"] = model.sample_conditional(X, target, 2, random_state=0)[1]
        for name, table in made.items():
            check_complete(table, name)
        check_same(made["sample"], model.sample(5, random_state=0), "the same draws")
    assert all(0 <= share <= 1 for share in model.decoder_shares_.values())


@few
@given(cases())
def test_tables(case):
    examine(case)


@many
@given(cases())
def test_many_tables(case):
    examine(case)
