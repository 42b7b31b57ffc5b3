"""`VAEOutlierDetector`: what scores mean, what explanations say, how it does on real data."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import multivariate_normal, norm
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from skvae import VAEOutlierDetector, VAETransformer
from skvae.estimators._detection import SCORES

SMALL = {"hidden_layer_sizes": (12,), "max_iter": 40, "random_state": 0}


def two_factors(n=400, seed=0):
    random = np.random.default_rng(seed)
    loadings = np.random.default_rng(1).normal(size=(2, 5))
    return random.normal(size=(n, 2)) @ loadings + 0.4 * random.normal(size=(n, 5))


def mixed_frame(n=300, seed=0):
    random = np.random.default_rng(seed)
    z = random.normal(size=n)
    frame = pd.DataFrame(
        {
            "length": 10 + 3 * z + random.normal(size=n),
            "visits": random.poisson(np.exp(1 + 0.4 * z)),
            "group": pd.Categorical(np.where(z + 0.3 * random.normal(size=n) > 0, "high", "low")),
            "weight": 5 - z + 0.5 * random.normal(size=n),
        },
        index=pd.Index(np.arange(n) + 1000, name="id"),
    )
    return frame.mask(random.random(frame.shape) < 0.05)


@pytest.fixture(scope="module")
def linear():
    """A linear VAE's detector, whose density is known in closed form; all rows are kept."""
    X = two_factors()
    detector = VAEOutlierDetector(
        "log_likelihood", n_components=2, hidden_layer_sizes=(), robust=False, random_state=0
    )
    return detector.fit(X), X


@pytest.fixture(scope="module")
def mixed():
    frame = mixed_frame()
    return VAEOutlierDetector(random_state=0, max_iter=100).fit(frame), frame


def gaussian_of(detector):
    """Mean and covariance of the standardised columns."""
    model = detector._latent.model
    loadings, noise = model.loadings[0].double(), model.noise_variance[0].double()
    covariance = loadings @ loadings.mT + noise.diag()
    return model.mean[0].double().numpy(), covariance.numpy()


# ---------------------------------------------------------------------------------- scores


def test_linear_log_likelihood_is_exact(linear):
    detector, X = linear
    mean, covariance = gaussian_of(detector)
    expected = multivariate_normal(mean, covariance).logpdf((X - X.mean(0)) / X.std(0))
    np.testing.assert_allclose(detector.score_samples(X), expected, rtol=1e-3, atol=5e-3)


def test_linear_bound_is_tight(linear):
    detector, X = linear
    detection, rows = detector._detection, detector._rows(X)
    each = detection.statistics(["elbo", "log_likelihood"], rows, np.zeros(len(X)))
    np.testing.assert_allclose(each["elbo"], each["log_likelihood"], atol=2e-3)
    # The posterior is exact: no row gains by another one.
    regret = detection.statistic("likelihood_regret", rows, np.zeros(len(X)))
    assert (regret >= 0).all()
    assert regret.max() < 0.02


def test_log_likelihood_is_the_transformers_but_for_units(linear):
    detector, X = linear
    transformer = VAETransformer(2, hidden_layer_sizes=(), random_state=0).fit(X)
    units = np.log(X.std(0)).sum()
    expected = transformer.score_samples(X) + units
    np.testing.assert_allclose(detector.score_samples(X), expected, atol=0.05)


def test_typicality_is_the_distance_from_the_mean_log_likelihood(linear):
    detector, X = linear
    detection, rows = detector._detection, detector._rows(X)
    names = ["typicality", "log_likelihood"]
    each = detection.statistics(names, rows, np.zeros(len(X)))
    expected = np.abs(detection.typical + each["log_likelihood"])
    np.testing.assert_allclose(each["typicality"], expected)


def test_neighbours_of_complete_rows_are_those_of_standardised_rows():
    X, new = two_factors(), two_factors(seed=5)
    detector = VAEOutlierDetector("neighbours", robust=False, **SMALL).fit(X)
    scaler = StandardScaler().fit(X)
    index = NearestNeighbors(n_neighbors=10).fit(scaler.transform(X))
    distance = index.kneighbors(scaler.transform(new))[0].mean(axis=1)
    np.testing.assert_allclose(detector.score_samples(new), -np.log(distance), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("score", SCORES)
def test_every_score_finds_a_glaring_row(score):
    X = two_factors()
    new = np.vstack([two_factors(50, seed=3), np.full((1, 5), 30.0)])
    detector = VAEOutlierDetector(score, contamination=0.05, **SMALL).fit(X)
    scores = detector.score_samples(new)
    assert scores.dtype == np.float64
    assert np.isfinite(scores).all()
    assert scores.argmin() == 50
    assert detector.predict(new)[-1] == -1


@pytest.mark.parametrize("score", SCORES)
def test_scores_do_not_depend_on_company_or_order(score):
    X = mixed_frame()
    detector = VAEOutlierDetector(score, **SMALL).fit(X)
    scores = detector.score_samples(X)
    backwards = detector.score_samples(X.iloc[::-1])[::-1]
    np.testing.assert_allclose(backwards, scores, rtol=1e-4, atol=1e-4)
    alone = [detector.score_samples(X.iloc[[i]])[0] for i in range(3)]
    np.testing.assert_allclose(alone, scores[:3], rtol=1e-4, atol=1e-4)


def test_a_hidden_value_cannot_move_anything():
    X = mixed_frame()
    other = X.copy()
    hole = int(np.flatnonzero(X["length"].isna())[0])
    values = other["length"].to_numpy(copy=True)
    values[hole] = np.nan  # the only thing a hole can hold
    other["length"] = values
    detector = VAEOutlierDetector(**SMALL)
    np.testing.assert_array_equal(
        detector.fit(X).score_samples(X), detector.fit(other).score_samples(other)
    )
    rows = detector._rows(X)
    rows.values[~rows.observed] = 7.0  # what lies under the mask
    moved = detector._detection.statistic("ensemble", rows, np.zeros(len(X)))
    np.testing.assert_allclose(-moved, detector.score_samples(X), rtol=1e-6)


def test_rows_of_weight_zero_are_not_there():
    X = two_factors()
    odd = np.vstack([X, np.full((40, 5), 25.0)])
    weight = np.r_[np.ones(len(X)), np.zeros(40)]
    weighted = VAEOutlierDetector(**SMALL).fit(odd, sample_weight=weight)
    plain = VAEOutlierDetector(**SMALL).fit(X)
    np.testing.assert_allclose(weighted.score_samples(odd), plain.score_samples(odd))


def test_fits_repeat_survive_pickling_and_leave_global_generators_alone():
    X = mixed_frame()
    before = torch.random.get_rng_state()
    first, second = (VAEOutlierDetector(**SMALL).fit(X) for _ in range(2))
    torch.testing.assert_close(before, torch.random.get_rng_state())
    np.testing.assert_array_equal(first.score_samples(X), second.score_samples(X))
    revived = pickle.loads(pickle.dumps(first))
    np.testing.assert_array_equal(first.predict(X), revived.predict(X))


def test_contamination_is_the_share_of_training_rows(mixed):
    X = mixed[1]
    detector = VAEOutlierDetector(contamination=0.1, **SMALL)
    assert (detector.fit_predict(X) < 0).mean() == pytest.approx(0.1, abs=0.005)
    np.testing.assert_allclose(
        detector.decision_function(X), detector.score_samples(X) - detector.offset_
    )


@pytest.mark.parametrize("score", ["ensemble", "local", "latent", "neighbours", "elbo"])
def test_contamination_holds_for_new_rows(score):
    detector = VAEOutlierDetector(score, contamination=0.1, random_state=0, max_iter=100)
    detector.fit(two_factors(1000))
    assert (detector.predict(two_factors(1000, seed=7)) < 0).mean() == pytest.approx(0.1, abs=0.05)


def test_contamination_is_a_share_of_the_weight():
    X = two_factors(200)
    weight = np.r_[np.full(100, 5.0), np.ones(100)]
    detector = VAEOutlierDetector("marginal", contamination=0.2, **SMALL).fit(X, None, weight)
    called = detector.predict(X) < 0
    assert weight[called].sum() / weight.sum() == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize(
    "table",
    [
        pd.DataFrame(np.random.default_rng(0).integers(1, 6, (1000, 2)), columns=["q1", "q2"]),
        pd.DataFrame({"g": np.repeat(["x", "y", "z"], [100, 52, 48])}),
    ],
)
def test_auto_contamination_does_not_call_common_answers_outliers(table):
    detector = VAEOutlierDetector(random_state=0, max_iter=60).fit(table)
    assert (detector.predict(table) < 0).mean() <= 0.1


def test_the_score_is_the_one_at_fit():
    X = two_factors()
    detector = VAEOutlierDetector(**SMALL).fit(X)
    before = detector.predict(X)
    np.testing.assert_array_equal(detector.set_params(score="elbo").predict(X), before)


@pytest.mark.parametrize("score", ["elbo", "log_likelihood", "reconstruction", "marginal"])
def test_holes_neither_raise_nor_lower_scores_on_average(score):
    X = two_factors(600)
    detector = VAEOutlierDetector(score, robust=False, random_state=0, max_iter=100).fit(X)
    holed = np.where(np.random.default_rng(0).random(X.shape) < 0.3, np.nan, X)
    whole, partial = detector.score_samples(X), detector.score_samples(holed)
    assert abs(whole.mean() - partial.mean()) < 0.5 * whole.std()


def test_every_kind_of_column():
    frame = mixed_frame()
    frame["rank"] = pd.cut(frame["length"], 4, labels=list("abcd"), ordered=True)
    frame["price"] = np.exp(0.3 * frame["weight"])
    frame["flag"] = frame["length"] > 10
    detector = VAEOutlierDetector(column_types={"price": "positive"}, **SMALL).fit(frame)
    assert np.isfinite(detector.score_samples(frame)).all()
    table = detector.explain(frame.dropna().iloc[:2])
    assert np.isfinite(table["surprise"].to_numpy(float)).all()


def test_auto_contamination_calls_few_clean_rows_outliers():
    detector = VAEOutlierDetector(random_state=0, max_iter=100).fit(two_factors(600))
    assert (detector.predict(two_factors(600, seed=7)) < 0).mean() < 0.05


def test_grid_search_over_scores():
    X, y = two_factors(150), None
    search = GridSearchCV(
        VAEOutlierDetector(**SMALL),
        {"score": ["elbo", "neighbours"]},
        scoring=lambda detector, rows, _=None: float((detector.predict(rows) > 0).mean()),
        cv=2,
    )
    assert search.fit(X, y).best_params_["score"] in ("elbo", "neighbours")


# ---------------------------------------------------------------------------- explanations


def test_linear_explanations_are_gaussian_conditionals(linear):
    detector, X = linear
    mean, covariance = gaussian_of(detector)
    table = detector.explain(X[:20], n_samples=1024)
    location, scale = X.mean(0), X.std(0)
    for j in range(5):
        rest = np.delete(np.arange(5), j)
        slope = np.linalg.solve(covariance[np.ix_(rest, rest)], covariance[rest, j])
        z = (X[:20] - location) / scale
        expected = (mean[j] + (z[:, rest] - mean[rest]) @ slope) * scale[j] + location[j]
        spread = np.sqrt(covariance[j, j] - covariance[j, rest] @ slope) * scale[j]
        own = table.xs(j, level="column").loc[np.arange(20)]
        np.testing.assert_allclose(own["value"].astype(float), X[:20, j])
        np.testing.assert_allclose(own["expected"].astype(float), expected, atol=0.05 * scale[j])
        np.testing.assert_allclose(own["std"], spread, rtol=0.05)
        surprise = -norm(expected, spread).logpdf(X[:20, j])
        np.testing.assert_allclose(own["surprise"], surprise, atol=0.05)


def test_explanations_are_in_the_users_units(mixed):
    detector, frame = mixed
    row = frame.dropna().iloc[[0]].copy()
    row["length"] = 60.0
    table = detector.explain(row)
    assert list(table.columns) == ["value", "expected", "std", "surprise", "contribution"]
    assert table.index.names == ["row", "column"]
    label = row.index[0]
    assert table.index[0] == (label, "length")
    assert table.loc[(label, "length"), "expected"] == pytest.approx(10, abs=10)
    assert table.loc[(label, "group"), "expected"] in ("high", "low")
    assert np.isnan(table.loc[(label, "group"), "std"])
    assert table["contribution"].is_monotonic_decreasing


def test_absent_entries_have_an_expectation_alone(mixed):
    detector, frame = mixed
    row = frame.dropna().iloc[[3]].copy()
    row["weight"] = np.nan
    line = detector.explain(row).loc[(row.index[0], "weight")]
    assert np.isfinite(line["expected"])
    assert np.isnan(line["surprise"])
    assert np.isnan(line["contribution"])


def test_names_may_be_tuples(mixed):
    frame = mixed_frame()
    frame.columns = pd.MultiIndex.from_product([["q"], frame.columns])
    detector = VAEOutlierDetector(**SMALL).fit(frame)
    for n in (2, 3):
        table = detector.explain(frame.iloc[:n])
        assert set(table.index.get_level_values("column")) == set(frame.columns)


def test_replaced_entries_rank_first_on_real_data():
    random = np.random.default_rng(0)
    X = load_breast_cancer().data
    X = X[random.permutation(len(X))]
    train, before = X[:300], X[300:]
    after, columns = before.copy(), random.integers(30, size=len(before))
    spread = 6 * X.std(0)[columns]
    after[np.arange(len(before)), columns] += spread
    detector = VAEOutlierDetector(random_state=0).fit(train)
    found = (detector.predict(before) > 0) & (detector.predict(after) < 0)
    assert found.mean() > 0.3
    table = detector.explain(after[found]).reset_index().drop_duplicates("row")
    assert (table.sort_values("row")["column"].to_numpy() == columns[found]).mean() > 0.85


# -------------------------------------------------------------------------------- real data


def test_malignant_cells_are_outliers_among_benign_ones():
    data = load_breast_cancer()
    benign, malignant = data.data[data.target == 1], data.data[data.target == 0]
    train, normal = np.array_split(benign, 2)
    detector = VAEOutlierDetector(random_state=0).fit(train)
    test = np.vstack([normal, malignant])
    labels = np.repeat([0, 1], [len(normal), len(malignant)])
    assert roc_auc_score(labels, -detector.score_samples(test)) > 0.9
    holed = np.where(np.random.default_rng(0).random(test.shape) < 0.2, np.nan, test)
    assert roc_auc_score(labels, -detector.score_samples(holed)) > 0.85


def test_outliers_among_the_training_rows_do_not_teach_what_is_normal():
    X, y = load_wine(return_X_y=True)
    few = np.flatnonzero(y == 0)[:10]
    table = np.vstack([X[y == 1], X[few]])
    labels = np.repeat([0, 1], [(y == 1).sum(), 10])
    scores = VAEOutlierDetector(random_state=0).fit(table).score_samples(table)
    assert roc_auc_score(labels, -scores) > 0.8


def test_faded_digits_fool_the_likelihood_but_not_the_ensemble():
    X = load_digits().data
    train, test = X[:1200], X[1200:]
    faded = np.round(test / 3)
    labels = np.repeat([0, 1], len(test))
    areas = {}
    for score in ("reconstruction", "ensemble"):
        detector = VAEOutlierDetector(score, random_state=0).fit(train)
        both = np.concatenate([detector.score_samples(test), detector.score_samples(faded)])
        areas[score] = roc_auc_score(labels, -both)
    assert areas["reconstruction"] < 0.7
    assert areas["ensemble"] > 0.9
