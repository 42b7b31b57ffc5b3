"""What the imputer says about one row: means, draws, intervals and densities."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.datasets import load_diabetes, load_iris

from skvae import VAEImputer
from skvae.datasets import ampute

FAST = {"hidden_layer_sizes": (16,), "max_iter": 30, "random_state": 0}
LINEAR = {"hidden_layer_sizes": (), "random_state": 0}


@pytest.fixture(scope="module")
def iris():
    """Iris as a frame with its species, a fifth hidden."""
    frame = load_iris(as_frame=True).frame.astype({"target": "category"})
    frame["tenths"] = pd.array(np.rint(10 * frame["petal width (cm)"] ** 2), dtype="Int64")
    return ampute(frame, rate=0.2, random_state=0)


@pytest.fixture(scope="module", params=[FAST, LINEAR], ids=["nonlinear", "linear"])
def imputer(request, iris):
    return VAEImputer(**request.param).fit(iris)


def close(one, other):
    """The numbers of two frames agree up to single precision, the categories entirely."""
    pd.testing.assert_frame_equal(one, other, rtol=1e-4, atol=1e-5)


def test_rows_do_not_depend_on_each_other(imputer, iris):
    order = np.random.default_rng(0).permutation(len(iris))
    some = order[:7]
    close(imputer.transform(iris.iloc[order]), imputer.transform(iris).iloc[order])
    close(imputer.transform(iris.iloc[some]), imputer.transform(iris).iloc[some])
    for whole, part in zip(
        imputer.predict_interval(iris), imputer.predict_interval(iris.iloc[some]), strict=True
    ):
        close(part, whole.iloc[some])
    scores = imputer.score_samples(iris)
    np.testing.assert_allclose(imputer.score_samples(iris.iloc[order]), scores[order], rtol=1e-4)
    np.testing.assert_allclose(imputer.score_samples(iris.iloc[some]), scores[some], rtol=1e-4)
    single = np.concatenate([imputer.score_samples(iris.iloc[[i]]) for i in some])
    np.testing.assert_allclose(single, scores[some], rtol=1e-4)


def test_draws(imputer, iris):
    draws = imputer.sample_imputations(iris, n_draws=200, random_state=0)
    assert len(draws) == 200
    filled = imputer.transform(iris)
    holes = iris.isna()
    for draw in draws[:5]:
        pd.testing.assert_series_equal(draw.dtypes, filled.dtypes)
        pd.testing.assert_index_equal(draw.index, iris.index)
        assert not draw.isna().any(axis=None)
        for name in iris:
            pd.testing.assert_series_equal(
                draw.loc[~holes[name], name], iris.loc[~holes[name], name]
            )
    assert not draws[0].equals(draws[1])
    for name in iris.columns[:4]:
        where = holes[name].to_numpy()
        each = np.stack([draw[name].to_numpy()[where] for draw in draws])
        deviation = each.std(axis=0)
        assert (deviation > 0).all()
        away = np.abs(each.mean(axis=0) - filled[name].to_numpy()[where])
        # Importance resampling repeats few z where the posterior is far from the proposal.
        assert (away < 0.1 * iris[name].std() + 5 * deviation / np.sqrt(200)).all()
    counts = np.stack([draw["tenths"].to_numpy(dtype=int) for draw in draws])
    assert (counts >= 0).all()
    # Probable categories are drawn more often.
    where = holes["target"].to_numpy()
    drawn = np.stack([draw["target"].to_numpy()[where] for draw in draws])
    assert (drawn == filled["target"].to_numpy()[where]).mean() > 0.6


def test_scaled_counts_keep_their_mean():
    """Counts of 0 and 1 are the hardest to move without rounding everything to zero."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=400)
    X = np.column_stack([z, rng.poisson(0.4 * np.exp(0.3 * z))])
    frame = pd.DataFrame(X, columns=["z", "n"]).astype({"n": "Int64"})
    frame.loc[200:, "n"] = pd.NA
    imputer = VAEImputer(column_types={"n": "count"}, **FAST).fit(frame)
    draws = imputer.sample_imputations(frame, 50, random_state=0)
    mean = np.mean([draw["n"].to_numpy(dtype=float)[200:] for draw in draws])
    assert mean == pytest.approx(X[:200, 1].mean(), rel=0.35)


def test_draws_follow_their_random_state(imputer, iris):
    one, same, other = (imputer.sample_imputations(iris, 2, random_state=s) for s in (1, 1, 2))
    pd.testing.assert_frame_equal(one[1], same[1])
    assert not one[1].equals(other[1])
    generator = np.random.RandomState(1)
    first = imputer.sample_imputations(iris, 1, random_state=generator)[0]
    assert not first.equals(imputer.sample_imputations(iris, 1, random_state=generator)[0])


@pytest.mark.parametrize("n_draws", [0, -1, 2.5, "many"])
def test_bad_n_draws(imputer, iris, n_draws):
    with pytest.raises(ValueError, match="n_draws must be a positive integer"):
        imputer.sample_imputations(iris, n_draws)


def test_sample_posterior(iris):
    mean = VAEImputer(**LINEAR).fit(iris)
    drawing = VAEImputer(sample_posterior=True, **LINEAR).fit(iris)
    draw = drawing.transform(iris)
    pd.testing.assert_frame_equal(draw, drawing.transform(iris))
    assert not draw.equals(mean.transform(iris))
    assert not draw.isna().any(axis=None)
    name = "sepal width (cm)"  # the one that others say least about
    hole = iris[name].isna()
    # A draw has the spread of the column, where conditional means have less.
    assert draw.loc[hole, name].std() > mean.transform(iris).loc[hole, name].std()


def test_intervals_hold_the_fill_and_grow_with_coverage(imputer, iris):
    filled = imputer.transform(iris)
    numeric = [name for name in iris if name != "target"]
    widths = []
    for coverage in (0.5, 0.9, 0.99):
        lower, upper = imputer.predict_interval(iris, coverage=coverage)
        for bound in (lower, upper):
            assert not bound.isna().any(axis=None)
            pd.testing.assert_series_equal(bound.dtypes, filled.dtypes)
            pd.testing.assert_series_equal(bound["target"], filled["target"])
        assert (lower[numeric] <= filled[numeric]).all(axis=None)
        assert (filled[numeric] <= upper[numeric]).all(axis=None)
        seen = iris[numeric].notna()
        assert (lower[numeric] == upper[numeric])[seen].fillna(True).all(axis=None)
        assert (lower["tenths"] >= 0).all()
        widths.append((upper[numeric] - lower[numeric]).astype(float).to_numpy().sum())
    assert widths[0] < widths[1] < widths[2]


@pytest.mark.parametrize("coverage", [0, 1, -0.1, 90, np.nan, "wide", None])
def test_bad_coverage(imputer, iris, coverage):
    with pytest.raises(ValueError, match="coverage must lie between 0 and 1"):
        imputer.predict_interval(iris, coverage=coverage)


# Densities ------------------------------------------------------------------------------------


def gaussian_members(imputer):
    """Means and covariances of a fitted linear VAE's members, in the units of the table."""
    predictor = imputer._predictor
    model, scaler = predictor.ensemble.density.model, predictor.scaler
    k = model.n_components
    z = torch.cat([torch.zeros(1, k), torch.eye(k)]).expand(model.n_members, 1, k + 1, k)
    driven = model.likelihoods.mean(model.decode(z), model.free_parameters)[:, 0].double().numpy()
    noise = model.free_parameters[:, 0, 0].double().numpy()
    for location, log_scale in zip(driven, noise, strict=True):
        loadings = location[1:] - location[0]
        covariance = loadings.T @ loadings + np.diag(np.exp(2 * log_scale))
        yield (
            location[0] * scaler.scale + scaler.mean,
            covariance * np.outer(scaler.scale, scaler.scale),
        )


def gaussian_log_density(imputer, X):
    """Log-density of each row's observed part under the mixture of members."""
    members = list(gaussian_members(imputer))
    scores = np.zeros((len(members), len(X)))
    for m, (mean, covariance) in enumerate(members):
        for i, row in enumerate(X):
            o = ~np.isnan(row)
            if o.any():
                marginal = multivariate_normal(mean[o], covariance[np.ix_(o, o)])
                scores[m, i] = marginal.logpdf(row[o])
    return logsumexp(scores, axis=0) - np.log(len(members))


@pytest.fixture(scope="module")
def gaussian():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(300, 2))
    X = z @ rng.normal(size=(2, 5)) + 0.5 * rng.normal(size=(300, 5))
    return X * [1, 10, 0.1, 3, 1] + [0, 5, -1, 2, 7]


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_linear_scores_are_exact(gaussian, rate):
    X = ampute(gaussian, rate=rate, random_state=0) if rate else gaussian
    imputer = VAEImputer(2, **LINEAR).fit(X)
    scores = imputer.score_samples(X)
    assert scores.dtype == np.float64
    assert scores.shape == (300,)
    np.testing.assert_allclose(scores, gaussian_log_density(imputer, X), atol=2e-3)


def test_linear_fills_are_exact(gaussian):
    X = ampute(gaussian, rate=0.3, random_state=0)
    imputer = VAEImputer(2, **LINEAR).fit(X)
    filled = imputer.transform(X)
    expected = np.zeros_like(X)
    members = list(gaussian_members(imputer))
    for mean, covariance in members:
        for i, row in enumerate(X):
            o = ~np.isnan(row)
            gain = covariance[:, o] @ np.linalg.inv(covariance[np.ix_(o, o)])
            expected[i] += (mean + gain @ (row[o] - mean[o])) / len(members)
    hole = np.isnan(X)
    np.testing.assert_allclose(((filled - expected) / gaussian.std(0))[hole], 0, atol=1e-3)


@pytest.mark.parametrize("kind", ["continuous", "positive"])
@pytest.mark.parametrize("settings", [FAST, LINEAR], ids=["nonlinear", "linear"])
def test_scores_are_in_the_units_of_the_table(kind, settings):
    X = ampute(load_iris().data, rate=0.2, random_state=0)
    scaled = X * [1000, 1, 1, 1]
    kinds = dict.fromkeys(range(4), kind)
    one = VAEImputer(column_types=kinds, **settings).fit(X)
    other = VAEImputer(column_types=kinds, **settings).fit(scaled)
    shift = np.log(1000) * ~np.isnan(X[:, 0])
    np.testing.assert_allclose(other.score_samples(scaled), one.score_samples(X) - shift, atol=0.02)
    np.testing.assert_allclose(
        other.transform(scaled) / [1000, 1, 1, 1], one.transform(X), rtol=2e-3, atol=1e-6
    )


def test_score_is_the_mean(imputer, iris):
    assert imputer.score(iris) == pytest.approx(imputer.score_samples(iris).mean())
    assert imputer.score(iris, np.zeros(len(iris))) == imputer.score(iris)


def test_constants_and_empty_rows_say_nothing(gaussian):
    X = np.column_stack([gaussian, np.full(300, 4.0)])
    X[0] = np.nan
    X[1, -1] = np.nan
    imputer = VAEImputer(2, **LINEAR).fit(X)
    scores = imputer.score_samples(X)
    assert scores[0] == 0
    X[1:, -1] = np.nan
    np.testing.assert_allclose(imputer.score_samples(X), scores, atol=1e-5)
    only = VAEImputer(**LINEAR).fit(np.full((10, 2), 3.0))
    np.testing.assert_array_equal(only.score_samples(np.full((4, 2), 3.0)), np.zeros(4))


def test_odd_rows_score_low(imputer, iris):
    odd = iris.head(20).copy()
    odd[iris.columns[0]] = 30.0
    assert (imputer.score_samples(odd) < imputer.score_samples(iris).min()).mean() > 0.9


# Weights --------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [FAST, LINEAR], ids=["nonlinear", "linear"])
def test_weight_zero_is_a_row_left_out(iris, settings):
    weight = np.where(np.arange(150) % 3, 1.0, 0.0)
    spoilt = iris.copy()
    spoilt.loc[weight == 0, iris.columns[0]] = 1e6
    kept = iris[weight > 0]
    weighted = VAEImputer(**settings).fit(spoilt, sample_weight=weight)
    without = VAEImputer(**settings).fit(kept)
    pd.testing.assert_frame_equal(weighted.transform(iris), without.transform(iris))


@pytest.mark.parametrize("factor", [5.0, 1e300, 1e-300])
def test_only_ratios_of_weights_count(iris, factor):
    weight = np.random.default_rng(0).uniform(0.5, 2.0, size=150)
    one = VAEImputer(**LINEAR).fit(iris, sample_weight=weight)
    other = VAEImputer(**LINEAR).fit(iris, sample_weight=factor * weight)
    close(one.transform(iris), other.transform(iris))


def test_weights_move_the_fit():
    X = ampute(load_diabetes().data, rate=0.2, random_state=0)
    X = np.vstack([X, [np.nan] * X.shape[1]])
    heavy = np.r_[np.where(load_diabetes().data[:, 2] > 0, 20.0, 1.0), 1.0]
    plain = VAEImputer(2, **LINEAR).fit(X).transform(X)
    tilted = VAEImputer(2, **LINEAR).fit(X, sample_weight=heavy).transform(X)
    assert tilted[-1, 2] > plain[-1, 2] + 0.01


@pytest.mark.parametrize("low", [0, 2007])
def test_draws_of_whole_numbers_spread_like_the_column(low):
    rng = np.random.default_rng(0)
    z = rng.normal(size=300)
    frame = pd.DataFrame({"n": low + np.clip(np.round(2 + z), 0, 4).astype(int), "z": z})
    frame["n"] = frame["n"].astype("Int64").mask(rng.random(300) < 0.3)
    imputer = VAEImputer(**FAST).fit(frame)
    drawn = imputer.sample_imputations(frame, n_draws=5, random_state=0)
    holes = frame["n"].isna()
    filled = np.concatenate([draw["n"][holes].to_numpy(float) for draw in drawn])
    assert filled.std() < 2 * frame["n"].dropna().to_numpy(float).std()
    assert filled.min() >= 0


def test_sessions_with_other_torch_defaults():
    X = (
        np.where(np.random.default_rng(0).random((40, 3)) < 0.2, np.nan, 1.0)
        * np.arange(40)[:, None]
    )
    plain = VAEImputer(**FAST).fit_transform(X)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.no_grad():
            double = VAEImputer(**FAST).fit_transform(X)
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    np.testing.assert_allclose(plain, double, rtol=1e-5)
