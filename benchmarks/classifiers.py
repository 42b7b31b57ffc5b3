"""Classifiers that semi_supervised.py compares: skvae and scikit-learn's, at sane settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# Label spreading holds all pairs of rows that its graph looks through.
MOST_SPREAD_ROWS = 20_000
MOST_SELF_TRAINED_ROWS = 10_000

Fit = Callable[[Any, Any, int], Callable[[Any], Any]]


def skvae(**settings: Any) -> Fit:
    """Takes frames as they are, y with -1, a seed; gives a function to probabilities."""

    def fit(X: Any, y: Any, seed: int) -> Callable[[Any], Any]:
        from skvae import SemiSupervisedVAEClassifier

        return SemiSupervisedVAEClassifier(**settings, random_state=seed).fit(X, y).predict_proba

    return fit


def labelled_only(make: Callable[[int], Any]) -> Fit:
    """Of scikit-learn: encoded columns, labelled rows."""

    def fit(X: Any, y: Any, seed: int) -> Callable[[Any], Any]:
        encoder = encode(X)
        known = y >= 0
        model = make(seed).fit(encoder.transform(X)[known], y[known])
        return lambda new: model.predict_proba(encoder.transform(new))

    return fit


def all_rows(make: Callable[[int], Any], most: int) -> Fit:
    """Of scikit-learn: encoded columns, all labelled rows and at most so many others."""

    def fit(X: Any, y: Any, seed: int) -> Callable[[Any], Any]:
        import numpy as np

        encoder = encode(X)
        other = np.random.default_rng(seed).permutation(np.flatnonzero(y < 0))[:most]
        rows = np.concatenate([np.flatnonzero(y >= 0), other])
        model = make(seed).fit(encoder.transform(X)[rows], y[rows])
        return lambda new: model.predict_proba(encoder.transform(new))

    return fit


def imputed(make: Callable[[int], Any]) -> Fit:
    """Holes filled by IterativeImputer, fitted on all training rows, then labelled rows."""

    def fit(X: Any, y: Any, seed: int) -> Callable[[Any], Any]:
        from sklearn.experimental import enable_iterative_imputer  # noqa: F401
        from sklearn.impute import IterativeImputer

        encoder = encode(X)
        imputer = IterativeImputer(max_iter=10, random_state=seed).fit(encoder.transform(X))
        known = y >= 0
        model = make(seed).fit(imputer.transform(encoder.transform(X)[known]), y[known])
        return lambda new: model.predict_proba(imputer.transform(encoder.transform(new)))

    return fit


def encode(X: Any) -> Any:
    """Fitted: numbers standardised, categories as indicators; holes stay."""
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    number = make_column_selector(dtype_include="number")
    other = make_column_selector(dtype_exclude="number")
    return make_column_transformer(
        (StandardScaler(), number),
        (OneHotEncoder(sparse_output=False, handle_unknown="ignore"), other),
    ).fit(X)


def peers() -> dict[str, Fit]:
    """By name."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier
    from sklearn.svm import SVC

    def logreg(seed: int) -> Any:
        return LogisticRegression(max_iter=2000)

    def forest(seed: int) -> Any:
        return RandomForestClassifier(300, random_state=seed)

    def svc(seed: int) -> Any:
        # What SVC(probability=True) did: Platt's scaling by held-out scores.
        return CalibratedClassifierCV(SVC(C=10.0, gamma="scale"), ensemble=False)

    def spreading(seed: int) -> Any:
        return LabelSpreading(kernel="knn", n_neighbors=10, alpha=0.8, max_iter=200)

    return {
        "logreg": labelled_only(logreg),
        "rf": labelled_only(forest),
        "hgb": labelled_only(lambda seed: HistGradientBoostingClassifier(random_state=seed)),
        "svc": labelled_only(svc),
        "self_logreg": all_rows(
            lambda seed: SelfTrainingClassifier(logreg(seed)), MOST_SELF_TRAINED_ROWS
        ),
        "self_svc": all_rows(
            lambda seed: SelfTrainingClassifier(svc(seed)), MOST_SELF_TRAINED_ROWS
        ),
        "label_spreading": all_rows(spreading, MOST_SPREAD_ROWS),
        "imputed_rf": imputed(forest),
        "imputed_logreg": imputed(logreg),
    }
