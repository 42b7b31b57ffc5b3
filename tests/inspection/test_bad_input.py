"""Wrong arguments, and sessions that are set up oddly."""

import re

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from skvae import VAEImputer, VAETransformer
from skvae.inspection import (
    LatentMapDisplay,
    LossCurveDisplay,
    TraversalDisplay,
    amortization_gap,
    bound_curve,
    identifiability,
    latent_report,
    linear_report,
)

FUNCTIONS = [latent_report, bound_curve, amortization_gap, identifiability]
TAKERS = [
    *FUNCTIONS,
    linear_report,
    LatentMapDisplay.from_estimator,
    TraversalDisplay.from_estimator,
]
OTHERS = [PCA(), VAETransformer, make_pipeline(VAETransformer()), "vae"]
X = np.random.default_rng(0).normal(size=(20, 3))


@pytest.mark.parametrize("look", TAKERS)
def test_not_fitted(look):
    with pytest.raises(NotFittedError):
        look(VAETransformer(), X)


def test_loss_curve_not_fitted():
    with pytest.raises(NotFittedError):
        LossCurveDisplay.from_estimator(VAETransformer())


@pytest.mark.parametrize("look", TAKERS)
@pytest.mark.parametrize("other", OTHERS)
def test_other_estimators(look, other):
    kind = "estimator of skvae" if look is amortization_gap else "VAETransformer"
    with pytest.raises(ValueError, match=f"must be a fitted {kind}"):
        look(other, X)


@pytest.mark.parametrize("look", [look for look in TAKERS if look is not amortization_gap])
def test_estimators_without_a_latent_space(look):
    with pytest.raises(ValueError, match="must be a fitted VAETransformer"):
        look(VAEImputer(), X)


@pytest.mark.parametrize("look", TAKERS)
def test_other_columns(cases, look):
    with pytest.raises(ValueError, match="features"):
        look(cases.bent[0], np.zeros((5, 7)))


BAD = [
    (latent_report, {"n_samples": 0}, "n_samples must be an integer of at least 1, got 0"),
    (latent_report, {"n_samples": 2.5}, "n_samples"),
    (latent_report, {"threshold": -1}, "threshold must be a non-negative number, got -1"),
    (latent_report, {"threshold": "low"}, "threshold"),
    (bound_curve, {"n_samples": 5}, "sequence of positive integers"),
    (bound_curve, {"n_samples": ()}, "sequence of positive integers"),
    (bound_curve, {"n_samples": "15"}, "sequence of positive integers"),
    (bound_curve, {"n_samples": (1, 0)}, "at least 1, got 0"),
    (bound_curve, {"n_samples": (1, 2.5)}, "at least 1, got 2.5"),
    (bound_curve, {"n_samples": (True, 2)}, "at least 1, got True"),
    (amortization_gap, {"n_samples": -1}, "n_samples"),
    (amortization_gap, {"max_iter": -1}, "max_iter must be an integer of at least 0, got -1"),
    (amortization_gap, {"learning_rate": 0}, "learning_rate must be a positive number, got 0"),
    (amortization_gap, {"tol": float("nan")}, "tol must be a non-negative number, got nan"),
    (LatentMapDisplay.from_estimator, {"components": (0, 3)}, "positions of latent dimensions"),
    (LatentMapDisplay.from_estimator, {"components": (1, 1)}, "2 distinct positions"),
    (LatentMapDisplay.from_estimator, {"components": 1}, "2 distinct positions"),
    (LatentMapDisplay.from_estimator, {"components": ("a", "b")}, "0 to 2"),
    (LatentMapDisplay.from_estimator, {"y": [1, 2]}, "y must have shape (150,), got (2,)"),
    (TraversalDisplay.from_estimator, {"components": []}, "components"),
    (TraversalDisplay.from_estimator, {"components": -1}, "0 to 2"),
    (TraversalDisplay.from_estimator, {"row": 150}, "row must be a position in X, 0 to 149"),
    (TraversalDisplay.from_estimator, {"row": -1}, "row"),
    (TraversalDisplay.from_estimator, {"n_steps": 1}, "n_steps must be an integer of at least 2"),
    (TraversalDisplay.from_estimator, {"span": 0}, "span must be a positive number"),
    (TraversalDisplay.from_estimator, {"image_shape": (2, 3)}, "6 pixels, but rows have 4"),
    (TraversalDisplay.from_estimator, {"image_shape": 4}, "image_shape must be (height, width)"),
    (TraversalDisplay.from_estimator, {"condition": {"a": 1}}, "no condition"),
]


@pytest.mark.parametrize(("look", "arguments", "message"), BAD)
def test_arguments(cases, look, arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        look(*cases.bent, **arguments)


def test_report_needs_two_rows(cases):
    model, rows = cases.bent
    with pytest.raises(ValueError, match="single row"):
        latent_report(model, rows[:1])


def test_map_needs_two_dimensions():
    model = VAETransformer(1, hidden_layer_sizes=()).fit(X)
    with pytest.raises(ValueError, match="needs two latent dimensions"):
        LatentMapDisplay.from_estimator(model, X)


def test_map_refuses_more_labels_than_colours(cases):
    model, rows = cases.bent
    with pytest.raises(ValueError, match="150 distinct labels"):
        LatentMapDisplay.from_estimator(model, rows, y=[f"row {i}" for i in range(150)])


def test_traversal_needs_a_condition_or_a_row(cases):
    model, rows = cases.conditional
    with pytest.raises(ValueError, match="pass condition="):
        TraversalDisplay.from_estimator(model, rows)
    two = rows[["group"]].iloc[:2]
    with pytest.raises(ValueError, match="2 rows"):
        TraversalDisplay.from_estimator(model, rows, condition=two)


def test_images_are_made_of_numbers(cases):
    model, rows = cases.mixed
    with pytest.raises(ValueError, match="tables of numbers"):
        TraversalDisplay.from_estimator(model, rows, image_shape=(2, 2))


def test_traversal_needs_numeric_columns():
    rng = np.random.default_rng(0)
    codes = rng.integers(3, size=(60, 3)).astype(str).astype(object)
    model = VAETransformer(1, hidden_layer_sizes=(4,), max_iter=5, random_state=0).fit(codes)
    with pytest.raises(ValueError, match="no numeric columns"):
        TraversalDisplay.from_estimator(model, codes)


def test_linear_models_have_no_loss_curve(cases):
    with pytest.raises(ValueError, match="no gradient steps"):
        LossCurveDisplay.from_estimator(cases.linear[0])


def test_several_loss_curves_are_drawn_one_by_one():
    imputer = VAEImputer(hidden_layer_sizes=(4,), max_iter=5, random_state=0)
    imputer.fit(np.where(X > 1, np.nan, X))
    with pytest.raises(ValueError, match="no single loss curve"):
        LossCurveDisplay.from_estimator(imputer)


# The user's session -----------------------------------------------------------------------------


def settings():
    return {
        "dtype": torch.get_default_dtype(),
        "gradients": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "torch's random state": torch.get_rng_state().tolist(),
        "numpy's random state": np.random.get_state()[1].tolist(),  # noqa: NPY002
        "threads": torch.get_num_threads(),
    }


@pytest.mark.parametrize("kind", ["bent", "layered"])
@pytest.mark.parametrize("look", FUNCTIONS)
def test_session_is_neither_heeded_nor_changed(cases, look, kind):
    model, rows = getattr(cases, kind)
    options = {amortization_gap: {"max_iter": 5}, identifiability: {"n_refits": 1}}

    def numbers():
        result = look(model, rows[:30], **options.get(look, {}))
        parts = {latent_report: "dimensions", identifiability: "refits"}
        return getattr(result, parts[look]) if look in parts else result

    usual = numbers()
    before = settings()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.inference_mode():
            odd = settings()
            again = numbers()
            assert settings() == odd
    finally:
        torch.set_default_dtype(torch.float32)
    assert settings() == before
    assert_allclose(again.to_numpy(float), usual.to_numpy(float), rtol=1e-6)
