"""Small fitted transformers that the diagnostics look at."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from skvae import VAETransformer

SMALL = {"hidden_layer_sizes": (12,), "max_iter": 60, "random_state": 0}


def exact_table(n, covariance, seed=0):
    """Rows whose mean is exactly zero and whose covariance exactly is the one given."""
    x = np.random.default_rng(seed).normal(size=(n, len(covariance)))
    x = np.linalg.qr(x - x.mean(axis=0))[0] * np.sqrt(n)
    return x @ np.linalg.cholesky(covariance).T


def two_factors(n=150, d=6, seed=0):
    """Columns of one scale that share two factors and nothing else."""
    loadings = np.random.default_rng(seed).normal(size=(2, d))
    loadings /= np.linalg.norm(loadings, axis=0)
    return exact_table(n, loadings.T @ loadings + 0.25 * np.eye(d), seed)


def bent_table(n=150, seed=0):
    """A curve in four dimensions, with noise and holes."""
    rng = np.random.default_rng(seed)
    t = rng.uniform(-2, 2, size=n)
    curves = [t, t**2, np.sin(2 * t), np.cos(t)]
    x = np.stack(curves, axis=1) + 0.2 * rng.normal(size=(n, 4))
    return np.where(rng.random(x.shape) < 0.1, np.nan, x)


def grouped_frame(n=150, seed=0):
    """Mixed columns, two groups and an index of its own."""
    rng = np.random.default_rng(seed)
    group = rng.integers(2, size=n)
    z = rng.normal(size=n) + 2 * group
    columns = {
        "group": np.where(group, "high", "low"),
        "length": 10 + 3 * z + rng.normal(size=n),
        "visits": rng.poisson(np.exp(0.5 + 0.3 * z)),
        "weight": 5 - z + 0.5 * rng.normal(size=n),
    }
    return pd.DataFrame(columns, index=pd.Index(np.arange(n) + 1000, name="id"))


@pytest.fixture(scope="package")
def cases():
    """Fitted transformers with the rows that they were fitted on."""
    linear, bent, frame = two_factors(), bent_table(), grouped_frame()
    given = {"condition_on": ["group"], "conditioning": "both"}
    return SimpleNamespace(
        linear=(VAETransformer(2, hidden_layer_sizes=(), random_state=0).fit(linear), linear),
        bent=(VAETransformer(3, **SMALL).fit(bent), bent),
        layered=(VAETransformer((3, 2), **SMALL).fit(bent), bent),
        conditional=(VAETransformer(2, **given, **SMALL).fit(frame), frame),
        mixed=(VAETransformer(2, **SMALL).fit(frame), frame),
        vamp=(VAETransformer(2, prior="vamp", n_prior_components=8, **SMALL).fit(bent), bent),
    )


@pytest.fixture(scope="session")
def mixed_frame():
    return grouped_frame


@pytest.fixture(scope="session")
def tables():
    return SimpleNamespace(exact=exact_table, two_factors=two_factors)


@pytest.fixture
def plt():
    """pyplot without a screen; its figures are closed afterwards."""
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as pyplot

    yield pyplot
    pyplot.close("all")
