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


@parametrize_with_checks(ESTIMATORS)
def test_sklearn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("check", CHECKS_NOT_YIELDED)
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
def test_checks_not_yielded(estimator, check):
    getattr(estimator_checks, check)(type(estimator).__name__, clone(estimator))
