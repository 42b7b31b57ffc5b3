"""`amortization_gap` of every estimator: what each scores rows by is what is looked into."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from skvae import (
    MultimodalVAE,
    SemiSupervisedVAEClassifier,
    VAEImputer,
    VAEOutlierDetector,
    VAETransformer,
)
from skvae.datasets import ampute
from skvae.inspection import amortization_gap

SMALL = {"n_components": 2, "hidden_layer_sizes": (12,), "max_iter": 60, "random_state": 0}
BLOCKS = {"who": ["group", "length"], "what": ["visits", "weight"]}
FAST = {"n_samples": 128, "max_iter": 40}
CLASSIFIERS = ("m1", "m2", "m1+m2", "auxiliary", "skip_auxiliary")

MAKE = {
    "transformer": lambda: VAETransformer(**SMALL),
    "detector": lambda: VAEOutlierDetector(score="log_likelihood", **SMALL),
    "imputer": lambda: VAEImputer(**SMALL),
    "linear imputer": lambda: VAEImputer(2, hidden_layer_sizes=(), random_state=0),
    "adaptive imputer": lambda: VAEImputer(inference="adaptive", **SMALL),
    "several imputers": lambda: VAEImputer(n_estimators=2, **SMALL),
    "self-masking": lambda: VAEImputer(
        mechanism="mnar", missingness_model={"length": "high"}, **SMALL
    ),
    "network of holes": lambda: VAEImputer(mechanism="mnar", missingness_model="network", **SMALL),
    "latent holes": lambda: VAEImputer(mechanism="mnar", missingness_model="latent", **SMALL),
    **{
        model: lambda model=model: SemiSupervisedVAEClassifier(model, **SMALL)
        for model in CLASSIFIERS
    },
    **{
        fusion: lambda fusion=fusion: MultimodalVAE(
            BLOCKS, fusion=fusion, early_stopping=False, **SMALL
        )
        for fusion in ("poe", "moe", "mopoe")
    },
}
every_estimator = pytest.mark.parametrize("kind", MAKE)


@pytest.fixture(scope="module")
def frame(mixed_frame):
    return ampute(mixed_frame(120), rate=0.15, random_state=0)


@pytest.fixture(scope="module")
def fitted(frame):
    """Estimators by kind, fitted when they are first asked for."""
    kept = {}
    rng = np.random.default_rng(0)
    known = np.where(rng.random(len(frame)) < 0.4, frame["weight"] > 4, -1)

    def get(kind):
        if kind not in kept:
            estimator = MAKE[kind]()
            kept[kind] = (
                estimator.fit(frame, known) if kind in CLASSIFIERS else estimator.fit(frame)
            )
        return kept[kind]

    return get


def log_density(estimator, X):
    if isinstance(estimator, VAEOutlierDetector):
        return estimator._latent.log_prob(estimator._rows(X), "importance", 256)
    if isinstance(estimator, SemiSupervisedVAEClassifier):
        return estimator.score_samples(X, n_samples=2048)  # few samples read high
    return estimator.score_samples(X)


@every_estimator
@pytest.mark.filterwarnings("ignore:Values of")
def test_levels_are_in_order_and_end_at_the_score(fitted, frame, kind):
    gap = amortization_gap(fitted(kind), frame, **FAST)
    pd.testing.assert_index_equal(gap.index, frame.index)
    assert gap["amortization_gap"].min() >= 0
    assert gap["approximation_gap"].min() >= -1e-9
    assert_allclose(gap["elbo"] + gap["amortization_gap"], gap["elbo_optimised"])
    assert_allclose(gap["elbo_optimised"] + gap["approximation_gap"], gap["log_prob"])
    # Estimators take 32 samples or more, in ways of their own.
    assert gap["log_prob"].mean() == pytest.approx(log_density(fitted(kind), frame).mean(), abs=0.1)


@every_estimator
def test_share_that_adaptive_inference_recovers(fitted, frame, kind):
    gap = amortization_gap(fitted(kind), frame.iloc[:60], **FAST)
    small = gap["amortization_gap"] < 1e-3
    assert_array_equal(gap["recovered"].isna(), small)
    some = gap[~small]
    assert_allclose(
        some["recovered"] * some["amortization_gap"], some["elbo_adaptive"] - some["elbo"]
    )
    # Other noise judged what it found; it does not lose much, nor win more than there is.
    assert (gap["elbo_adaptive"] - gap["elbo"]).min() > -0.05
    assert (gap["elbo_adaptive"] - gap["log_prob"]).max() < 0.05


@every_estimator
def test_estimator_is_left_as_it_was(fitted, frame, kind):
    estimator = fitted(kind)
    before = log_density(estimator, frame)
    amortization_gap(estimator, frame.iloc[:5], n_samples=8, max_iter=3)
    assert_array_equal(log_density(estimator, frame), before)


# Exact posteriors -------------------------------------------------------------------------------

LINEAR = {"n_components": 2, "hidden_layer_sizes": (), "random_state": 0}
EXACT = {
    "transformer": VAETransformer(**LINEAR),
    "detector": VAEOutlierDetector(**LINEAR),
    "imputer": VAEImputer(**LINEAR),
    "m1": SemiSupervisedVAEClassifier("m1", likelihood={"continuous": "gaussian"}, **LINEAR),
    "blocks": MultimodalVAE({"a": [0, 1, 2], "b": [3, 4, 5]}, fusion="moe", **LINEAR),
}


@pytest.mark.parametrize("kind", EXACT)
def test_linear_gaussian_models_have_no_gaps(tables, kind):
    X = ampute(tables.two_factors(), rate=0.1, random_state=0)
    labels = [(X[:, 0] > 0).astype(int)] if kind == "m1" else []
    gap = amortization_gap(EXACT[kind].fit(X, *labels), X, **FAST)
    gaps = ["amortization_gap", "approximation_gap"]
    # The imputer's two members, with holes of their own, are judged one by one: both are exact.
    assert_allclose(gap[gaps], 0.0, atol=2e-3)
    assert_allclose(gap["elbo_adaptive"], gap["elbo"], atol=1e-6)
    assert_allclose(gap["log_prob"], log_density(EXACT[kind], X), atol=5e-3)


def test_classes_are_mixed_by_their_prior(tables):
    # Linear given the class: every class's bound is exact, and so is what they add up to.
    X = tables.two_factors()
    y = (X[:, 0] > 0).astype(int)
    linear = {"likelihood": {"continuous": "gaussian"}, **LINEAR}
    model = SemiSupervisedVAEClassifier("m2", **linear).fit(X, y)
    gap = amortization_gap(model, X, **FAST)
    assert_allclose(gap["elbo"], model.score_samples(X), atol=5e-3)
    assert_allclose(gap["amortization_gap"], 0.0, atol=2e-3)


# Adaptive inference -----------------------------------------------------------------------------


def test_adaptive_level_is_that_of_an_adaptive_estimator(cases):
    amortized, X = cases.bent
    adaptive = VAETransformer(**{**amortized.get_params(), "inference": "adaptive"}).fit(X)
    gap = amortization_gap(amortized, X, n_samples=512, max_iter=0)
    bound = adaptive.score_samples(X, method="elbo", n_samples=512)
    assert gap["elbo_adaptive"].mean() == pytest.approx(bound.mean(), abs=0.05)
    # The encoder is the same: what the estimator does with it is of no account.
    assert_allclose(amortization_gap(adaptive, X, n_samples=512, max_iter=0), gap)


def test_what_a_poor_encoder_loses_is_recovered(cases, monkeypatch):
    model, X = cases.bent
    kind = type(model._latent.model)
    own = kind.posterior

    def astray(self, *args):
        posterior = own(self, *args)
        return posterior.shifted(torch.full_like(posterior.move, 0.8), 0 * posterior.move)

    monkeypatch.setattr(kind, "posterior", astray)
    gap = amortization_gap(model, X, n_samples=256, max_iter=200)
    assert gap["amortization_gap"].mean() > 0.5
    assert gap["recovered"].median() == pytest.approx(1.0, abs=0.05)
    assert gap["recovered"].quantile(0.1) > 0.8


# Input ------------------------------------------------------------------------------------------


def test_blocks_given_one_by_one_keep_their_index(frame):
    tables = {name: frame[columns] for name, columns in BLOCKS.items()}
    model = MultimodalVAE(**SMALL).fit(tables)
    some = {name: table.iloc[3:7] for name, table in tables.items()}
    gap = amortization_gap(model, some, **FAST)
    pd.testing.assert_index_equal(gap.index, frame.index[3:7])
    arrays = {name: table.to_numpy() for name, table in some.items()}
    plain = amortization_gap(MultimodalVAE(**SMALL).fit(arrays), arrays, **FAST)
    pd.testing.assert_index_equal(plain.index, pd.RangeIndex(4))


@pytest.mark.parametrize("kind", [VAEImputer, VAEOutlierDetector])
def test_constant_tables_have_no_posteriors(kind):
    X = np.ones((10, 2))
    with pytest.raises(ValueError, match=r"No column varied .* Fit it on rows that differ"):
        amortization_gap(kind().fit(X), X)


@every_estimator
def test_unfitted_estimators_are_refused(frame, kind):
    with pytest.raises(ValueError, match=re.escape("not fitted yet")):
        amortization_gap(MAKE[kind](), frame)


def test_holes_that_speak_are_scored_where_nothing_else_is(fitted, frame):
    nothing = frame.iloc[:1].copy()
    nothing.loc[:, :] = np.nan
    silent = amortization_gap(fitted("imputer"), nothing, **FAST)
    assert_array_equal(silent.drop(columns="recovered"), 0.0)
    spoken = amortization_gap(fitted("self-masking"), nothing, **FAST)
    assert spoken["log_prob"].iloc[0] == pytest.approx(
        fitted("self-masking").score_samples(nothing)[0], abs=0.05
    )
    assert spoken["log_prob"].iloc[0] < 0
