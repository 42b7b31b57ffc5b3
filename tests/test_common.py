"""scikit-learn's common checks on every estimator."""

from typing import ClassVar

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from skvae import (
    MultimodalVAE,
    SemiSupervisedVAEClassifier,
    VAEImputer,
    VAEOutlierDetector,
    VAETransformer,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

ESTIMATORS = [
    VAEImputer(),
    VAEImputer(max_iter=20, hidden_layer_sizes=(8,)),
    VAEImputer(hidden_layer_sizes=()),
    VAEImputer(hidden_layer_sizes=(), max_iter=20, mechanism="mnar"),
    *(
        VAEImputer(max_iter=20, hidden_layer_sizes=(8,), inference=inference)
        for inference in ("posterior_matching", "adaptive")
    ),
    VAETransformer(),
    VAETransformer(n_components=2, hidden_layer_sizes=(8,), max_iter=20),
    VAETransformer(n_components=(1, 1), hidden_layer_sizes=(8,), max_iter=20),
    VAETransformer(decoder="sparse", n_components=2, hidden_layer_sizes=(8,), max_iter=20),
    VAETransformer(hidden_layer_sizes=()),
    *(
        VAETransformer(n_components=2, hidden_layer_sizes=(8,), max_iter=20, inference=inference)
        for inference in ("posterior_matching", "adaptive")
    ),
    VAEOutlierDetector(),
    VAEOutlierDetector("log_likelihood", hidden_layer_sizes=(8,), max_iter=20, robust=False),
    VAEOutlierDetector("elbo", hidden_layer_sizes=()),
    VAEOutlierDetector("elbo", hidden_layer_sizes=(8,), max_iter=20, inference="adaptive"),
    # By default half of the time of all checks, for hundreds of steps on tables of thirty rows.
    SemiSupervisedVAEClassifier(max_iter=20),
    SemiSupervisedVAEClassifier("m1+m2", hidden_layer_sizes=(8,), max_iter=20),
    SemiSupervisedVAEClassifier("skip_auxiliary", hidden_layer_sizes=(8,), max_iter=20),
    SemiSupervisedVAEClassifier("m1", hidden_layer_sizes=()),
    MultimodalVAE(),
    MultimodalVAE({"first": slice(0, 1), "rest": slice(1, None)}, max_iter=20),
    MultimodalVAE(hidden_layer_sizes=()),
]


class Ensemble(VAEOutlierDetector):
    """The detector without its parameter `score`, whose name scikit-learn's checks call."""

    _statistic = "ensemble"

    def __init__(self, contamination="auto", max_iter=20, random_state=None):
        super().__init__(contamination=contamination, max_iter=max_iter, random_state=random_state)
        del self.score

    _parameter_constraints: ClassVar = {
        name: VAEOutlierDetector._parameter_constraints[name]
        for name in ("contamination", "max_iter", "random_state")
    }


class Holed(VAEImputer):
    """The imputer of values that hide: it does not see large ones, as the checks hide none."""

    def fit(self, X, y=None, sample_weight=None):
        return super().fit(without_large(X), y, sample_weight)

    def transform(self, X):
        return super().transform(without_large(X))

    def score_samples(self, X):
        return super().score_samples(without_large(X))


def without_large(X):
    """What is above 1 hidden; what is no table of numbers as it is."""
    frame = hasattr(X, "iloc") and all(dtype.kind == "f" for dtype in X.dtypes)
    array = isinstance(X, np.ndarray) and X.ndim == 2 and X.dtype.kind == "f"
    if frame:
        return X.mask(X > 1)
    return np.where(X > 1, np.nan, X).astype(X.dtype) if array else X


ESTIMATORS += [
    Ensemble(),
    Holed(
        hidden_layer_sizes=(),
        max_iter=20,
        keep_empty_features=True,
        mechanism="mnar",
        missingness_model="high",
    ),
]


MEANS_UNLABELLED = "It calls -1 a class, which here means that a row has no label."
RANDOM_ROWS = "Batches and held-out rows are drawn at random: two rows weigh two on average only."
SCORE_IS_A_PARAMETER = "`score` names a statistic: it is no method. `Ensemble` passes this check."
# Class name -> {name of the check: why it cannot pass}.
EXPECTED_FAILURES = {
    "VAETransformer": {
        "check_sample_weight_equivalence_on_dense_data": RANDOM_ROWS,
    },
    "MultimodalVAE": {
        "check_sample_weight_equivalence_on_dense_data": RANDOM_ROWS,
    },
    "Ensemble": {
        "check_sample_weight_equivalence_on_dense_data": RANDOM_ROWS,
    },
    "SemiSupervisedVAEClassifier": {
        "check_classifiers_classes": MEANS_UNLABELLED,
        "check_sample_weight_equivalence_on_dense_data": RANDOM_ROWS,
    },
    "VAEOutlierDetector": {
        "check_sample_weight_equivalence_on_dense_data": RANDOM_ROWS,
        "check_dataframe_column_names_consistency": SCORE_IS_A_PARAMETER,
        "check_fit_score_takes_y": SCORE_IS_A_PARAMETER,
        "check_n_features_in_after_fitting": SCORE_IS_A_PARAMETER,
        "check_pipeline_consistency": SCORE_IS_A_PARAMETER,
    },
}

# scikit-learn runs these on its own estimators, but does not yield them to others.
CHECKS_NOT_YIELDED = [
    "check_dataframe_column_names_consistency",
    "check_n_features_in_after_fitting",
    "check_param_validation",
    "check_parameters_default_constructible",
]
TRANSFORMER_CHECKS_NOT_YIELDED = [
    "check_global_output_transform_pandas",
    "check_global_set_output_transform_polars",
    "check_set_output_transform",
    "check_set_output_transform_pandas",
    "check_set_output_transform_polars",
    "check_transformer_get_feature_names_out",
    "check_transformer_get_feature_names_out_pandas",
]
NOT_YIELDED = [
    (estimator, check)
    for estimator in ESTIMATORS
    for check in CHECKS_NOT_YIELDED
    + (TRANSFORMER_CHECKS_NOT_YIELDED if hasattr(estimator, "transform") else [])
]


def expected_failures(estimator):
    return EXPECTED_FAILURES.get(type(estimator).__name__, {})


@parametrize_with_checks(ESTIMATORS, expected_failed_checks=expected_failures)
def test_sklearn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize(("estimator", "check"), NOT_YIELDED, ids=str)
def test_checks_not_yielded(estimator, check, request):
    name = type(estimator).__name__
    if check in expected_failures(estimator):
        request.applymarker(pytest.mark.xfail(reason=expected_failures(estimator)[check]))
    getattr(estimator_checks, check)(name, clone(estimator))
