"""scikit-learn's common checks on every estimator."""

import pytest
from sklearn.base import clone
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from skvae import VAEImputer

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

ESTIMATORS = [
    VAEImputer(),
    VAEImputer(max_iter=20, hidden_layer_sizes=(8,)),
    VAEImputer(hidden_layer_sizes=()),
]

# Class name -> {name of the check: why it cannot pass}. A reason is required.
EXPECTED_FAILURES: dict[str, dict[str, str]] = {}

# scikit-learn runs these on its own estimators, but does not yield them to others.
CHECKS_NOT_YIELDED = [
    "check_dataframe_column_names_consistency",
    "check_global_output_transform_pandas",
    "check_global_set_output_transform_polars",
    "check_n_features_in_after_fitting",
    "check_param_validation",
    "check_parameters_default_constructible",
    "check_set_output_transform",
    "check_set_output_transform_pandas",
    "check_set_output_transform_polars",
    "check_transformer_get_feature_names_out",
    "check_transformer_get_feature_names_out_pandas",
]


def expected_failures(estimator):
    return EXPECTED_FAILURES.get(type(estimator).__name__, {})


@parametrize_with_checks(ESTIMATORS, expected_failed_checks=expected_failures)
def test_sklearn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("check", CHECKS_NOT_YIELDED)
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
def test_checks_not_yielded(estimator, check, request):
    failures = expected_failures(estimator)
    if check in failures:
        request.applymarker(pytest.mark.xfail(reason=failures[check], strict=True))
    getattr(estimator_checks, check)(type(estimator).__name__, clone(estimator))


def test_expected_failures_name_real_checks():
    for failures in EXPECTED_FAILURES.values():
        for check, reason in failures.items():
            assert hasattr(estimator_checks, check)
            assert reason.strip()
