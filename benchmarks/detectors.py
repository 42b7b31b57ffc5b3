"""What skvae's outlier detector is measured against: scores of test rows, larger where odd."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.covariance import EllipticEnvelope
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors

Score = Callable[[Any], Any]


def skvae(variant: str = "ensemble") -> Callable[[Any, int], Score]:
    """skvae with another score, or "all-rows": the ensemble without robust fitting."""
    options = {"robust": False} if variant == "all-rows" else {"score": variant}

    def fit(X: Any, seed: int) -> Score:
        from skvae import VAEOutlierDetector

        model = VAEOutlierDetector(**options, random_state=seed).fit(X)
        return lambda rows: -model.score_samples(rows)

    return fit


def knn(X: Any, seed: int) -> Score:
    """Distance to the fifth neighbour (PyOD's default); a training row is not its own."""
    index = NearestNeighbors(n_neighbors=6).fit(X)

    def score(rows: Any) -> Any:
        distance, _ = index.kneighbors(rows, n_neighbors=min(6, len(X)))
        own = distance[:, 0] == 0 if rows is X else np.zeros(len(rows), dtype=bool)
        return np.where(own, distance[:, -1], distance[:, min(4, len(X) - 1)])

    return score


def lof(X: Any, seed: int) -> Score:
    """Local outlier factor of 20 neighbours; training rows by their own factor."""
    model = LocalOutlierFactor(novelty=True).fit(X)
    return lambda rows: -model.negative_outlier_factor_ if rows is X else -model.score_samples(rows)


def mixture(X: Any, seed: int) -> Score:
    """Full covariances, 1, 2, 4 or 8 components by BIC."""
    counts = [k for k in (1, 2, 4, 8) if k <= len(X)]
    models = [GaussianMixture(k, reg_covar=1e-4, random_state=seed).fit(X) for k in counts]
    best = min(models, key=lambda model: model.bic(X))
    return lambda rows: -best.score_samples(rows)


def forest(X: Any, seed: int) -> Score:
    """Isolation forest of 100 trees."""
    model = IsolationForest(random_state=seed).fit(X)
    return lambda rows: -model.score_samples(rows)


def mcd(X: Any, seed: int) -> Score:
    """Robust Mahalanobis distance by the minimum covariance determinant."""
    model = EllipticEnvelope(random_state=seed).fit(X)
    return lambda rows: -model.score_samples(rows)


def pca(X: Any, seed: int) -> Score:
    """Probabilistic PCA's log-density, components for 90 % of the variance."""
    model = PCA(0.9, svd_solver="full").fit(X)
    return lambda rows: -model.score_samples(rows)


def pyod(module: str, name: str, **options: Any) -> Callable[[Any, int], Score]:
    """A detector of PyOD with its defaults, and a seed where it takes one."""

    def fit(X: Any, seed: int) -> Score:
        cls = getattr(importlib.import_module(f"pyod.models.{module}"), name)
        own = options | {"random_state": seed} if options else {}
        model = cls(**own).fit(X)
        return lambda rows: model.decision_scores_ if rows is X else model.decision_function(rows)

    return fit


def all_detectors() -> dict[str, Callable[[Any, int], Score]]:
    """By name, those of PyOD where it is installed."""
    detectors: dict[str, Callable[[Any, int], Score]] = {
        "skvae": skvae(),
        "KNN": knn,
        "LOF": lof,
        "GMM": mixture,
        "IForest": forest,
        "MCD": mcd,
        "PCA": pca,
    }
    if importlib.util.find_spec("pyod") is not None:
        detectors |= {
            "ECOD": pyod("ecod", "ECOD"),
            "COPOD": pyod("copod", "COPOD"),
            "PyOD_VAE": pyod("vae", "VAE", verbose=0),
            "PyOD_AutoEncoder": pyod("auto_encoder", "AutoEncoder", verbose=0),
        }
    return detectors
