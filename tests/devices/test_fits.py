"""Fits and predictions on a device: no tensor is left behind, results are the CPU's.

On a pretended device anywhere, on a real one where there is one.
"""

import pickle
from copy import deepcopy

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_iris
from torch.utils._pytree import tree_leaves

from skvae import (
    MultimodalVAE,
    SemiSupervisedVAEClassifier,
    VAEImputer,
    VAEOutlierDetector,
    VAETransformer,
)
from skvae.datasets import ampute
from skvae.inference import devices
from skvae.inference.devices import CPU
from skvae.inspection import amortization_gap, bound_curve, latent_report, linear_report
from skvae.persistence.devices import on
from skvae.training.checkpoint import Checkpoint

SOME = np.arange(0, 150, 5)
COMPLETE = load_iris().data[SOME]
X = ampute(load_iris().data, rate=0.15, random_state=0)[SOME]
X[::2] = COMPLETE[::2]
Y = np.where(np.arange(30) % 4, -1, load_iris().target[SOME])
GIVEN = np.column_stack([np.arange(30) % 8, X[:, 1:]])
MIXED = pd.DataFrame(
    {
        "number": X[:, 0],
        "count": np.round(3 * np.nan_to_num(X[:, 1])),
        "amount": np.exp(COMPLETE[:, 2]),
        "level": np.array(list("abc"))[np.arange(30) % 3],
        "rank": pd.Categorical(np.arange(30) % 4, ordered=True),
    }
)
KINDS = {"column_types": {"count": "count", "amount": "positive"}}
BLOCKS = {"sepal": [0, 1], "petal": [2, 3]}
FEW = {"n_prior_components": 2}
SMALL = {"hidden_layer_sizes": (4,), "max_iter": 3, "random_state": 0}


def imputed(fitted, X):
    lower, upper = fitted.predict_interval(X)
    (drawn,) = fitted.sample_imputations(X, 1, random_state=0)
    return [fitted.transform(X), lower, upper, drawn, fitted.score_samples(X)]


def transformed(fitted, X):
    z = fitted.transform(X)
    return [
        z,
        *(fitted.score_samples(X, method=m, n_samples=8) for m in ("importance", "elbo", "prior")),
        fitted.reconstruct(X),
        fitted.sample(4, random_state=0),
        fitted.sample(4, source="aggregated", random_state=0),
        fitted.loadings_,
        bound_curve(fitted, X, n_samples=(1, 3)),
        latent_report(fitted, X).dimensions,
    ]


def conditioned(fitted, X):
    return [*transformed(fitted, X), fitted.counterfactual(X[:3], [[2.0]])]


def judged(fitted, X):
    explained = fitted.explain(X[:3], n_samples=8).drop(columns=["value"])
    gap = amortization_gap(fitted, X[:4], n_samples=4, max_iter=2)
    return [fitted.score_samples(X), explained.astype(float), gap]


def classified(fitted, X):
    return [
        fitted.predict_proba(X),
        fitted.transform(X),
        fitted.score_samples(X[:4], n_samples=8),
        fitted.sample(3, random_state=0),
    ]


def blocked(fitted, X):
    return [
        fitted.transform(X),
        fitted.predict(X, target="sepal"),
        fitted.sample_conditional(X[:3], "sepal", 1, random_state=0)[0],
        fitted.score_samples(X[:3], target="petal"),
        fitted.sample(3, random_state=0),
    ]


def linear(fitted, X):
    return [fitted.score_samples(X), linear_report(fitted, X).dimensions.astype(float)]


def scored(fitted, X):
    return [fitted.score_samples(X)]


def classifier(model, **kwargs):
    return SemiSupervisedVAEClassifier(model=model, **SMALL, **kwargs), X, Y, classified


FITS = {
    "imputer": (VAEImputer(n_components=2, **SMALL), X, None, imputed),
    "mixed imputer": (VAEImputer(n_components=2, **KINDS, **SMALL), MIXED, None, imputed),
    "mnar": (VAEImputer(n_components=1, mechanism="mnar", **SMALL), X, None, imputed),
    "matching": (
        VAEImputer(n_components=2, inference="posterior_matching", **SMALL),
        X,
        None,
        imputed,
    ),
    "transformer": (VAETransformer(2, kl_warmup=0.5, **SMALL), X, None, transformed),
    "vamp": (VAETransformer(2, prior="vamp", **SMALL), X, None, transformed),
    "mixture": (
        VAETransformer(2, prior="mixture", n_importance_samples=1, free_bits=0.1, **SMALL),
        X,
        None,
        transformed,
    ),
    "layers": (VAETransformer((2, 1), **SMALL), X, None, transformed),
    "sparse": (VAETransformer(2, decoder="sparse", **SMALL), X, None, transformed),
    "adaptive": (VAETransformer(2, inference="adaptive", **SMALL), X, None, scored),
    "linear": (VAETransformer(2, hidden_layer_sizes=(), noise=0.3), X, None, linear),
    "users": (
        VAETransformer(2, decoder=torch.nn.Linear(2, 3), encoder=None, **SMALL),
        X,
        None,
        scored,
    ),
    "prior": (
        VAETransformer(2, condition_on=[0], conditioning="prior", **SMALL),
        GIVEN,
        None,
        conditioned,
    ),
    "decoder": (VAETransformer(2, condition_on=[0], **SMALL), GIVEN, None, conditioned),
    "mixed": (VAETransformer(2, **KINDS, **SMALL), MIXED, None, scored),
    "detector": (VAEOutlierDetector(n_components=2, **SMALL), X, None, judged),
    "regret": (
        VAEOutlierDetector(n_components=2, score="likelihood_regret", **SMALL),
        X,
        None,
        scored,
    ),
    "m2": classifier("m2", n_components=2),
    "m1+m2": classifier("m1+m2", n_components=2),
    "auxiliary": classifier("skip_auxiliary", n_components=2),
    "multimodal": (MultimodalVAE(BLOCKS, 2, **FEW, **SMALL), X, None, blocked),
}
# Both are tried where they are.
ACCELERATORS = [
    pytest.param(name, marks=pytest.mark.skipif(not there(), reason="no such device here"))
    for name, there in (
        ("cuda", torch.cuda.is_available),
        ("mps", torch.backends.mps.is_available),
    )
]
# On a device without double precision.
SINGLE = {"mixed imputer", "mixture", "detector", "m2", "multimodal"}

pytestmark = pytest.mark.filterwarnings("ignore")


def numbers(results):
    """All of them in a row."""
    each = []
    for result in results:
        for _, column in pd.DataFrame(result).items():
            is_number = pd.api.types.is_numeric_dtype(column)
            each.append(column if is_number else pd.factorize(column)[0])
    return np.concatenate([np.asarray(part, dtype=float) for part in each])


def outcome(name, **params):
    estimator, table, y, ask = FITS[name]
    fitted = clone(estimator).set_params(**params).fit(table, y)
    return fitted, numbers(ask(fitted, table))


def assert_same(here, there):
    np.testing.assert_allclose(here, there, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", FITS)
def test_fits_and_answers_are_those_of_the_cpu(name, pretence, pretended, monkeypatch):
    if name in SINGLE:
        monkeypatch.setattr(devices, "SINGLE", (pretended.type,))
    with pretence(double=name not in SINGLE):
        fitted, here = outcome(name, device=pretended.type)
        assert fitted._device == pretended
    assert_same(here, outcome(name)[1])


@pytest.mark.parametrize("device", ACCELERATORS)
@pytest.mark.parametrize("name", ["imputer", "transformer", "detector", "m2", "multimodal"])
def test_so_are_those_of_real_devices(name, device):
    fitted, here = outcome(name, device=device)
    assert fitted._device.type == device
    assert_same(here, outcome(name)[1])
    for copied in (pickle.loads(pickle.dumps(fitted)), deepcopy(fitted)):
        assert copied._device == fitted._device
        assert_same(numbers(FITS[name][3](copied, FITS[name][1])), here)
    state = fitted.__getstate__()
    assert state.pop("_was_on") == str(fitted._device)
    on_cpu = clone(fitted)
    on_cpu.__setstate__(state)
    assert on_cpu._device == CPU
    assert_same(numbers(FITS[name][3](on_cpu, FITS[name][1])), here)


def test_pickles_open_on_machines_without_the_device(pretence, pretended):
    name = "transformer"
    with pretence():
        fitted, here = outcome(name, device=pretended.type)
        stored = pickle.dumps(fitted)
        back = pickle.loads(stored)
        assert back._device == pretended
        assert fitted._device == pretended
        ask = FITS[name][3]
        np.testing.assert_array_equal(numbers(ask(back, X)), here)
    elsewhere = pickle.loads(stored)
    assert elsewhere._device == CPU
    assert_same(numbers(ask(elsewhere, X)), here)
    assert pickle.dumps(elsewhere)


def test_moving_shares_what_is_shared_and_copies_no_arrays(pretence, pretended):
    weight, array = torch.nn.Parameter(torch.ones(3), requires_grad=False), np.zeros(2)
    state = {"one": [weight, array], "two": {"again": weight}}
    state["self"] = state
    with pretence():
        there = on(object(), state, pretended)
        assert there["one"][0] is there["two"]["again"]
        assert there["one"][0].device == pretended
        assert isinstance(there["one"][0], torch.nn.Parameter)
        assert not there["one"][0].requires_grad
    assert there["one"][1] is array
    assert there["self"] is there
    assert state["one"][0] is weight
    assert weight.device == CPU


def test_checkpoints_hold_tensors_of_the_cpu(pretence, pretended, tmp_path, monkeypatch):
    estimator = clone(FITS["vamp"][0]).set_params(device=pretended.type, checkpoint=tmp_path / "c")
    saved = []

    def kept(checkpoint, number, name, state):
        saved.append(state)
        write(checkpoint, number, name, state)
        if len(saved) == 2:
            raise KeyboardInterrupt

    write = Checkpoint.write
    monkeypatch.setattr(Checkpoint, "is_due", True)
    with pretence():
        monkeypatch.setattr(Checkpoint, "write", kept)
        with pytest.raises(KeyboardInterrupt):
            clone(estimator).fit(X)
        monkeypatch.setattr(Checkpoint, "write", write)
        resumed = estimator.fit(X).score_samples(X)
        whole = estimator.set_params(checkpoint=None).fit(X).score_samples(X)
    tensors = [x for x in tree_leaves(saved) if isinstance(x, torch.Tensor)]
    assert tensors
    assert all(x.device == CPU for x in tensors)
    np.testing.assert_array_equal(resumed, whole)
