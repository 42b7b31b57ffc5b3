"""`VAEImputer` on tables of every kind."""

import copy

import numpy as np
import pandas as pd
from fuzz_checks import (
    check_complete,
    check_kept,
    check_new_rows,
    check_rows,
    check_same,
    holds_numbers,
    holes_of,
    loud,
    of_far_values,
    refused,
)
from fuzz_settings import column_types, few, many, of_column_types, parameters
from fuzz_tables import as_frame, counted, live, recipes, weights
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone

from skvae import VAEImputer

MODELS = ["high", "low", "self_masking", "fully_connected", "network", "latent"]


@st.composite
def cases(draw):
    """A table, weights and parameters."""
    recipe = draw(recipes())
    mnar = st.fixed_dictionaries(
        {"mechanism": st.just("mnar"), "missingness_model": st.sampled_from([None, *MODELS])}
    )
    options = draw(
        parameters(
            recipe,
            alpha=st.sampled_from(["auto", 0.1, (0.1, 1.0)]),
            inference=st.sampled_from(["amortized"] * 8 + ["adaptive", "posterior_matching"]),
            missing_values=st.sampled_from([np.nan, np.nan, np.nan, 0, -1, "a", None]),
            keep_empty_features=st.booleans(),
            add_indicator=st.integers(0, 4).map(lambda k: k == 4),
            sample_posterior=st.integers(0, 4).map(lambda k: k == 4),
            n_estimators=st.sampled_from([1, 1, 1, 1, 2]),
        )
    )
    if draw(st.integers(0, 4)) == 4:
        options |= draw(mnar)
        options["max_iter"] = max(1, options["max_iter"])  # laws of holes take steps in any case
    options["column_types"] = draw(column_types(recipe))
    if options["inference"] == "posterior_matching":
        recipe = recipe.without_holes()
    return recipe, draw(weights(recipe.n)), options


def results(imputer, X):
    """What it says of rows."""
    lower, upper = imputer.predict_interval(X, 0.8)
    said = {
        "lower": lower,
        "upper": upper,
        "score_samples": imputer.score_samples(X),
        "effective_sample_size": imputer.effective_sample_size(X),
    }
    if not imputer.sample_posterior:  # draws are made for a table, not row by row
        said["filled"] = imputer.transform(X)
    return said


def examine(case):
    recipe, weight, options = case
    X = recipe.X
    before = copy.deepcopy(X)
    imputer = VAEImputer(**options)
    _, was_refused = refused(lambda: imputer.fit(X, sample_weight=weight), reasons(case))
    check_same(before, X, "the table after the fit")
    if was_refused:
        return
    assert not (weight is None and recipe.complaints()), "accepted what should be refused"
    rng = np.random.default_rng(recipe.seed)
    far = () if counted(recipe, weight).all() else of_far_values(recipe)
    said = check_rows(imputer, recipe, results, rng, far)
    if said is None:
        return
    check_filled(imputer, recipe, weight, X)
    assert (numbers(said["lower"]) <= numbers(said["upper"])).all()
    check_draws(imputer, recipe)
    with loud():
        twin = clone(imputer).fit(X, sample_weight=weight)
        check_same(imputer.transform(X), twin.transform(X), "transform of a clone")
    check_new_rows(imputer, recipe, results, rng, weight)


def reasons(case):
    """Patterns of errors that a fit may end with."""
    recipe, weight, options = case
    rows = live(recipe, weight)
    found = recipe.complaints() + of_column_types(options["column_types"])
    if holes_of(rows, options["missing_values"]).all():
        found.append("No column of X has an observed value")
    if options["inference"] == "posterior_matching":
        found.append(r"inference='posterior_matching' (learns from complete rows: \d+ of|is for)")
    if options.get("missingness_model") in ("high", "low"):
        found += [
            f"Column {recipe.name(j)} has levels without an order"
            for j in range(rows.shape[1])
            if not pd.api.types.is_numeric_dtype(rows.dtypes.iloc[j])
        ]
    return found


def numbers(table):
    """The columns of numbers."""
    return as_frame(table).select_dtypes("number").to_numpy(dtype=float, na_value=np.nan)


def check_filled(imputer, recipe, weight, X):
    """Every hole is filled, and nothing else is touched."""
    with loud():
        filled = as_frame(imputer.transform(X))
    check_complete(filled, "transform")
    table, sentinel = as_frame(X), imputer.missing_values
    seen = ~holes_of(live(recipe, weight), sentinel)
    kept = seen.any(axis=0) | imputer.keep_empty_features
    plain = filled.iloc[:, : kept.sum()]
    if recipe.container != "frame":
        plain = plain.set_axis(table.columns[kept], axis=1)
    holes = holes_of(X, sentinel) | unseen(recipe, weight, sentinel, imputer.column_types)
    check_kept(table.loc[:, kept], plain, holes[:, kept])
    for j, name in enumerate(plain.columns):
        old, new = table.dtypes.iloc[np.flatnonzero(kept)[j]], plain.dtypes.iloc[j]
        is_list = recipe.container.startswith("lists")
        same = is_list or old == new or not seen[:, kept][:, j].any()
        assert same, f"{name!r} was {old}, is {new}"
    with loud():
        assert len(imputer.get_feature_names_out()) == filled.shape[1]
        if kept.all() and sentinel is np.nan and not imputer.add_indicator:
            again = imputer.transform(imputer.transform(X))
            check_same(filled, again, "the filled table, filled again")


def unseen(recipe, weight, sentinel, column_types):
    """Cells of levels that no row of the fit has: they count as holes."""
    frame, rows = as_frame(recipe.X), live(recipe, weight)
    strange = np.zeros(frame.shape, dtype=bool)
    for j, name in enumerate(frame.columns):
        kind = (column_types or {}).get(name)
        seen = rows.iloc[:, j][~holes_of(rows.iloc[:, [j]], sentinel)[:, 0]]
        discrete = kind in ("binary", "categorical", "ordinal") or not holds_numbers(seen)
        if discrete and seen.nunique() > 1:
            strange[:, j] = ~frame.iloc[:, j].isin(set(seen))
    return strange


def check_draws(imputer, recipe):
    """Draws are whole tables, and the same for the same seed."""
    X = recipe.X
    # Models of resampled rows may lack the one that is a score of orders of magnitude away.
    may = of_far_values(recipe) if imputer.n_estimators > 1 else ()
    draws, was_refused = refused(lambda: imputer.sample_imputations(X, 3, random_state=0), may)
    if not was_refused:
        with loud():
            again = imputer.sample_imputations(X, 3, random_state=0)
        check_same(draws[2], again[2], "a draw again")
        for draw in draws:
            check_complete(draw, "sample_imputations")
    with loud():
        assert np.isfinite(imputer.score(X))


@few
@given(cases())
def test_tables(case):
    examine(case)


@many
@given(cases())
def test_many_tables(case):
    examine(case)
