"""How good the fills are on real tables, with margins that leave room for chance."""

import warnings

import numpy as np
import pandas as pd
import pytest
from palmerpenguins import load_penguins
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, SimpleImputer

from skvae import VAEImputer
from skvae.datasets import ampute

SMALL = {"hidden_layer_sizes": (16,), "max_iter": 60, "random_state": 0}
TABLES = {
    "iris": (load_iris, 0.2),
    "wine": (load_wine, 0.3),
    "diabetes": (load_diabetes, 0.3),
    "breast": (load_breast_cancer, 0.3),
}


@pytest.fixture(scope="module", params=list(TABLES))
def case(request):
    """A complete table, where it was hidden, the table with holes, and a fitted imputer."""
    load, rate = TABLES[request.param]
    truth = load().data
    holes = ampute(truth, rate=rate, random_state=0)
    # Choosing among many components takes most of the time on the widest table.
    components = 12 if request.param == "breast" else "auto"
    return truth, np.isnan(holes), holes, VAEImputer(components, **SMALL).fit(holes)


def rmse(filled, truth, hidden):
    """In standard deviations of the columns, at the hidden entries."""
    return np.sqrt((((filled - truth) / truth.std(axis=0))[hidden] ** 2).mean())


def test_better_than_means_and_as_good_as_chained_regressions(case):
    truth, hidden, holes, imputer = case
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        chained = IterativeImputer(random_state=0, max_iter=5).fit_transform(holes)
    own = rmse(imputer.transform(holes), truth, hidden)
    assert own < 0.85 * rmse(SimpleImputer().fit_transform(holes), truth, hidden)
    assert own < 1.1 * rmse(chained, truth, hidden)


@pytest.mark.parametrize(("coverage", "margin"), [(0.9, 0.07), (0.5, 0.12)])
def test_intervals_cover(case, coverage, margin):
    truth, hidden, holes, imputer = case
    lower, upper = imputer.predict_interval(holes, coverage=coverage)
    inside = ((lower <= truth) & (truth <= upper))[hidden].mean()
    assert abs(inside - coverage) < margin


def test_draws_spread_as_errors_do(case):
    truth, hidden, holes, imputer = case
    scale = truth.std(axis=0)
    draws = np.stack(imputer.sample_imputations(holes, 20, random_state=0))
    spread = (draws.std(axis=0) / scale)[hidden]
    error = rmse(imputer.transform(holes), truth, hidden)
    assert 0.6 * error < np.sqrt((spread**2).mean()) < 1.6 * error


def test_new_rows_are_filled_as_well():
    truth = load_wine().data
    order = np.random.default_rng(0).permutation(len(truth))
    train, test = order[:120], order[120:]
    holes = ampute(truth, rate=0.3, random_state=0)
    filled = VAEImputer(**SMALL).fit(holes[train]).transform(holes[test])
    hidden = np.isnan(holes[test])
    means = SimpleImputer().fit(holes[train]).transform(holes[test])
    assert rmse(filled, truth[test], hidden) < 0.9 * rmse(means, truth[test], hidden)


@pytest.fixture(scope="module")
def penguins():
    truth = load_penguins().astype(
        {"species": "category", "island": "category", "sex": "category", "year": "category"}
    )
    return truth, ampute(truth, rate=0.2, random_state=0)


@pytest.mark.parametrize("hidden_layer_sizes", [(16,), ()])
def test_penguins(penguins, hidden_layer_sizes):
    truth, holes = penguins
    imputer = VAEImputer(**{**SMALL, "hidden_layer_sizes": hidden_layer_sizes})
    filled = imputer.fit_transform(holes)
    assert not filled.isna().any(axis=None)
    pd.testing.assert_series_equal(filled.dtypes, holes.dtypes)
    hidden = holes.isna() & truth.notna()
    gains = {}
    for name in ("species", "island", "sex"):
        where = hidden[name]
        mode = (truth[name][where] == holes[name].mode()[0]).mean()
        gains[name] = (filled[name][where] == truth[name][where]).mean() - mode
    assert min(gains.values()) > 0
    assert np.mean(list(gains.values())) > 0.2
    for name in truth.select_dtypes("float"):
        where = hidden[name]
        error = (filled[name] - truth[name])[where]
        mean_error = (holes[name].mean() - truth[name])[where]
        assert (error**2).mean() < 0.5 * (mean_error**2).mean()


def test_log_likelihood_prefers_its_own_rows(penguins):
    _, holes = penguins
    imputer = VAEImputer(**SMALL).fit(holes)
    rng = np.random.default_rng(0)
    shuffled = holes.apply(lambda column: column.iloc[rng.permutation(len(holes))].array)
    assert imputer.score(shuffled) < imputer.score(holes) - 1
