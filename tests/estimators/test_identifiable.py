"""Identifiable VAEs, ``p(x | z) p(z | c)``: latents that come back because contexts differ."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from skvae import VAETransformer
from skvae.datasets import make_nonstationary_sources
from skvae.inspection import mean_correlation_coefficient

OPTIONS = {"hidden_layer_sizes": (32,), "max_iter": 400, "random_state": 0}
GIVEN = {"condition_on": ["segment"], "conditioning": "prior"}
SMALL = {**GIVEN, "hidden_layer_sizes": (8,), "max_iter": 40, "random_state": 0}


def mcc(table, model, X):
    return mean_correlation_coefficient(table.latents, model.transform(X))


@pytest.fixture(scope="module", params=[1, 2], ids=["linear", "nonlinear"])
def fitted(request):
    options = {"n_layers": request.param, "modulate": "both", "random_state": 0}
    table = make_nonstationary_sources(20, 100, 3, **options)
    model = VAETransformer(3, **OPTIONS, **GIVEN).fit(table.data)
    plain = VAETransformer(3, **OPTIONS).fit(table.data.drop(columns="segment"))
    return table, model, plain


@pytest.fixture(scope="module")
def small():
    table = make_nonstationary_sources(8, 25, 2, n_layers=1, modulate="both", random_state=0)
    return table.data, VAETransformer(2, **SMALL).fit(table.data)


# What is found --------------------------------------------------------------------------------


def test_contexts_identify_latents_that_a_plain_model_mixes(fitted):
    table, model, plain = fitted
    found = mcc(table, model, table.data)
    assert found > 0.85
    assert found > mcc(table, plain, table.data.drop(columns="segment")) + 0.05


def test_the_prior_knows_the_moments_of_the_segments(fitted):
    table, model, _ = fitted
    Z, segments = model.transform(table.data), table.data["segment"]
    drawn = model.transform(model.sample(len(Z), condition=segments.to_frame(), random_state=1))
    means, theirs = (pd.DataFrame(each).groupby(segments.to_numpy()).mean() for each in (Z, drawn))
    for latent in range(3):
        assert np.corrcoef(means[latent], theirs[latent])[0, 1] > 0.9


def test_a_known_context_makes_rows_more_likely(fitted):
    table, model, plain = fitted
    some = table.data.iloc[::10]
    assert model.score(some) > plain.score(some.drop(columns="segment")) + 0.2


def test_encoders_do_not_hear_the_context(fitted):
    table, model, _ = fitted
    some = table.data.iloc[::50]
    other = some.assign(segment=some["segment"].to_numpy()[::-1])
    assert_array_equal(model.transform(some), model.transform(other))
    assert not np.allclose(model.score_samples(some), model.score_samples(other), atol=1.0)


def test_numbers_may_be_the_condition_and_rows_may_have_holes():
    """Two latents whose means and scales change along a number, mixed."""
    rng = np.random.default_rng(0)
    c = rng.uniform(-1.5, 1.5, size=700)
    scales = np.exp(np.column_stack([c, -c]))
    z = rng.normal(size=(700, 2)) * scales
    mixing = np.array([[1.0, 0.8, -0.6, 0.3], [-0.7, 0.9, 0.5, 1.0]])
    X = pd.DataFrame(z @ mixing + 0.1 * rng.normal(size=(700, 4)), columns=list("abcd"))
    X = X.mask(rng.random(X.shape) < 0.1)
    X["when"] = c
    given = {"condition_on": ["when"], "conditioning": "prior"}
    options = {**OPTIONS, "max_iter": 200}
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model = VAETransformer(2, **options, **given).fit(X)
    found = mean_correlation_coefficient(z, model.transform(X))
    rest = X.drop(columns="when")
    plain = VAETransformer(2, **options).fit(rest).transform(rest)
    assert found > 0.9
    assert found > mean_correlation_coefficient(z, plain) + 0.05
    late, early = (
        model.sample(800, condition={"when": [at] * 800}, random_state=0) for at in (1.4, -1.4)
    )
    assert (late["when"] == 1.4).all()
    # The first latent is loud late, the second early.
    signs = [np.sign(np.corrcoef(d["a"], d["b"])[0, 1]) for d in (late, early)]
    assert signs == [1, -1]


# The contract of estimators -------------------------------------------------------------------


def test_the_same_model_again_and_after_pickling(small):
    X, model = small
    Z = model.transform(X)
    assert_array_equal(clone(model).fit(X).transform(X), Z)
    again = pickle.loads(pickle.dumps(model))
    assert_array_equal(again.transform(X), Z)
    assert_array_equal(again.score_samples(X[:5]), model.score_samples(X[:5]))
    order = np.random.default_rng(0).permutation(len(X))
    assert_allclose(model.transform(X.iloc[order]), Z[order], atol=1e-5)


def test_both_estimates_of_the_density_agree(small):
    X, model = small
    some = X.iloc[::20]
    importance = model.score_samples(some, n_samples=1024)
    prior = model.score_samples(some, method="prior", n_samples=100_000)
    assert_allclose(importance, prior, atol=0.4)


def test_rows_of_no_weight_are_not_there(small):
    X, _ = small
    weight = np.ones(len(X))
    weight[::4] = 0
    part = VAETransformer(2, **SMALL).fit(X[weight > 0])
    weighted = VAETransformer(2, **SMALL).fit(X, sample_weight=weight)
    assert_array_equal(weighted.transform(X), part.transform(X))


def test_walks_samples_and_loadings(small):
    X, model = small
    drawn = model.sample(30, random_state=0)
    assert (drawn.dtypes == X.dtypes).all()
    assert drawn.notna().all().all()
    segment = X["segment"].iloc[0]
    assert (model.sample(5, condition={"segment": segment})["segment"] == segment).all()
    assert len(model.interpolate(X[:2], X[-2:], 4)) == 8
    same = model.counterfactual(X[:10], condition=X[["segment"]][:10])
    pd.testing.assert_frame_equal(same, model.reconstruct(X[:10]), rtol=1e-3, atol=1e-3)
    loadings = model.loadings_
    assert loadings.shape == (2, 2)
    assert (loadings.abs().sum(axis=1) > 0.5).all()


def test_arrays_are_conditioned_by_position(small):
    X, _ = small
    values = X.assign(segment=X["segment"].astype(int)).to_numpy(dtype=float)
    options = {**SMALL, "condition_on": [2], "column_types": {2: "categorical"}}
    model = VAETransformer(2, **options).fit(values)
    assert model.transform(values).shape == (200, 2)
    assert model.sample(3, condition=[[1], [2], [3]]).shape == (3, 3)


@pytest.mark.parametrize(
    "options",
    [
        {"early_stopping": False},
        {"inference": "adaptive"},
        {"inference": "posterior_matching"},
        {"n_components": 1},
        {"rotation": "random"},
        {"max_iter": 1},
        {"max_iter": 0},
    ],
    ids=str,
)
def test_it_goes_with_other_options(small, options):
    X, _ = small
    model = VAETransformer(2, **SMALL).set_params(**options)
    model.fit(X)
    assert np.isfinite(model.transform(X)).all()
    assert np.isfinite(model.score_samples(X[::10])).all()


# Few contexts ---------------------------------------------------------------------------------


def few(n_segments, n_per_segment=20):
    options = {"n_layers": 1, "modulate": "both", "random_state": 0}
    return make_nonstationary_sources(n_segments, n_per_segment, 2, **options).data


def test_too_few_contexts_are_named_with_the_remedy():
    words = (
        r"condition_on take 4 different values together in several rows each, fewer than the "
        r"2 \* n_components \+ 1 = 5 that .*Lower n_components to 1, or condition on more columns"
    )
    with pytest.warns(UserWarning, match=words) as caught:
        VAETransformer(2, **SMALL).fit(few(4))
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="2 different values.*axes. Condition on more columns"):
        VAETransformer(2, **SMALL).fit(few(2))


def test_contexts_of_single_rows_do_not_count_unless_all_are():
    X = few(4)
    alone = [f"alone {i}" for i in range(len(X) // 8)]
    segment = X["segment"].astype(str).astype(object)
    segment.iloc[: len(alone)] = alone
    with pytest.warns(UserWarning, match="condition_on take 4 different values"):
        VAETransformer(2, **SMALL).fit(X.assign(segment=segment))


def test_a_prior_without_a_condition_is_refused():
    X = few(4).drop(columns="segment")
    with pytest.raises(ValueError, match="conditioning='prior' needs a condition: name columns"):
        VAETransformer(2, conditioning="prior", max_iter=1).fit(X)


def test_columns_of_the_condition_count_together():
    """Two times three values are six."""
    X = few(6).rename(columns={"segment": "both"})
    codes = X.pop("both").astype(int)
    X["half"] = pd.Categorical(codes % 2)
    X["third"] = pd.Categorical(codes // 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        VAETransformer(2, **{**SMALL, "condition_on": ["half", "third"]}).fit(X)
        VAETransformer(2, **SMALL).fit(few(5))
    with pytest.warns(UserWarning, match="take 3 different values"):
        VAETransformer(2, **{**SMALL, "condition_on": ["third"]}).fit(X)


@pytest.mark.parametrize("conditioning", ["decoder", "both"])
def test_other_conditional_models_promise_nothing(conditioning):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        VAETransformer(2, **{**SMALL, "conditioning": conditioning}).fit(few(3))
