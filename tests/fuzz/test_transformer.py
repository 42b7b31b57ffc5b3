"""`VAETransformer` on tables of every kind."""

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
from fuzz_tables import as_frame, counted, recipes, weights
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone

from skvae import VAETransformer

# Conditions must be there, and known.
ABSENT = r"Column .* of condition_on is absent.* in \d+ row\(s\) of"
LAYERED = {"n_components": (2, 1), "hidden_layer_sizes": (6,), "rotation": "auto"}
SPARSE = {"decoder": "sparse", "hidden_layer_sizes": (6,), "early_stopping": True}
VARIANTS = (
    {},
    {},
    {"prior": "mixture", "hidden_layer_sizes": (6,), "n_prior_components": 3},
    {"prior": "vamp", "hidden_layer_sizes": (6,), "n_prior_components": 3},
    {"hidden_layer_sizes": (), "noise": "isotropic", "beta": 1.0},
    {"hidden_layer_sizes": (), "noise": 0.3, "beta": 2.0},
    {"n_importance_samples": 1, "free_bits": 0.5, "kl_warmup": 0.5},
    LAYERED,
    {**LAYERED, "hierarchy": "skip", "layer_inference": "bottom_up"},
    {**LAYERED, "layer_inference": "both"},
    SPARSE,
    {"n_components": None},
    {"rotation": "varimax"},
    {"rotation": "random"},
    {"inference": "adaptive"},
    {"inference": "posterior_matching"},
)


@st.composite
def cases(draw):
    """A table, weights and parameters."""
    recipe = draw(recipes())
    options = draw(parameters(recipe, alpha=st.sampled_from([0.3, 0.0, 2.0])))
    options |= draw(st.sampled_from(VARIANTS))
    if not options["hidden_layer_sizes"] and "noise" not in options:
        options["beta"] = 1.0
    if len(recipe.kinds) > 1 and draw(st.integers(0, 3)) == 3:
        j = draw(st.integers(0, len(recipe.kinds) - 1))
        options["condition_on"] = [recipe.labels[j]]
        plain = "prior" not in options and options.get("decoder") is None
        if plain and options["hidden_layer_sizes"]:
            options["conditioning"] = draw(st.sampled_from(["decoder", "prior", "both"]))
    options["column_types"] = draw(column_types(recipe))
    if options.get("inference") == "posterior_matching" or "condition_on" in options:
        recipe = recipe.without_holes()
    return recipe, draw(weights(recipe.n)), options


def results(model, X):
    """What it says of rows."""
    mean, deviation = model.posterior(X)
    return {
        "transform": model.transform(X),
        "posterior": np.hstack([mean, deviation]),
        "reconstruct": model.reconstruct(X),
        "score_samples": model.score_samples(X, n_samples=16),
        "by prior": model.score_samples(X, method="prior", n_samples=16),
        "elbo": model.score_samples(X, method="elbo", n_samples=16),
        "effective_sample_size": model.effective_sample_size(X, n_samples=16),
        "layer_divergences": model.layer_divergences(X, n_samples=16),
    }


def reasons(case):
    """Patterns of errors that a fit may end with."""
    recipe, weight, options = case
    found = recipe.complaints() + of_column_types(options["column_types"])
    found += of_constant_tables(recipe, weight) + of_widths(options)
    if options.get("inference") == "posterior_matching":
        found.append(r"inference='posterior_matching' (learns from complete rows: \d+ of|is for)")
    if options.get("condition_on"):
        found += [
            r"Column .* of condition_on has (no values|a single value)",
            "condition_on=.* takes every column of X that varies",
            ABSENT,
        ]
    return found


def examine(case):
    recipe, weight, options = case
    X = recipe.X
    before = copy.deepcopy(X)
    model = VAETransformer(**options)
    _, was_refused = refused(lambda: model.fit(X, sample_weight=weight), reasons(case))
    check_same(before, X, "the table after the fit")
    if was_refused:
        return
    assert not (weight is None and recipe.complaints()), "accepted what should be refused"
    rng = np.random.default_rng(recipe.seed)
    may = [] if model.condition_on is None else [ABSENT]
    others = not counted(recipe, weight).all()
    said = check_rows(model, recipe, results, rng, [*may, *of_far_values(recipe)] if others else ())
    if said is None:
        return
    assert (said["posterior"][:, model.n_components_ :] > 0).all()
    check_latents(model, X, said["transform"])
    with loud():
        twin = clone(model).fit(X, sample_weight=weight)
        check_same(said["transform"], twin.transform(X), "transform of a clone")
    check_new_rows(model, recipe, results, rng, weight, may)


def check_latents(model, X, z):
    """What can be made of latents, and draws."""
    options = {}
    if model.condition_on is not None:
        options["condition"] = as_frame(X)[model.condition_on].iloc[:1]
    with loud():
        made = {
            "inverse_transform": model.inverse_transform(z, **options),
            "far latents": model.inverse_transform(50 * z + 9, **options),
            "sample": model.sample(5, random_state=0),
            "of a condition": model.sample(3, random_state=0, **options),
            "aggregated": model.sample(5, source="aggregated", random_state=0, **options),
            "interpolate": model.interpolate(X, X, 3),
            "spherical": model.interpolate(X, X, 2, method="spherical"),
            "shift": model.shift(X, np.ones(model.n_components_), 2.0),
            "loadings_": model.loadings_,
        }
        if options:
            made["counterfactual"] = model.counterfactual(X, options["condition"])
        for name, table in made.items():
            check_complete(table, name)
        check_same(made["sample"], model.sample(5, random_state=0), "the same draws")
        assert list(model.anchor_columns_) == list(model.get_feature_names_out())
        assert np.isfinite(model.score(X))


@few
@given(cases())
def test_tables(case):
    examine(case)


@many
@given(cases())
def test_many_tables(case):
    examine(case)
