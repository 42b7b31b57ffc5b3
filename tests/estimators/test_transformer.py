"""`VAETransformer`: latents, density, samples and walks."""

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import logsumexp
from scipy.stats import norm
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import VAETransformer
from skvae.datasets import ampute
from skvae.inspection import bound_curve

PRIORS = ["normal", "mixture", "vamp"]


def mixed_frame(n=200, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    frame = pd.DataFrame(
        {
            "amount": 10 + 3 * z + rng.normal(size=n),
            "visits": rng.poisson(np.exp(1 + 0.5 * z)),
            "group": pd.Categorical(np.where(z + 0.5 * rng.normal(size=n) > 0, "high", "low")),
            "flag": rng.random(n) < 1 / (1 + np.exp(-2 * z)),
        },
        index=pd.Index(np.arange(n) + 100, name="id"),
    )
    holes = rng.random(n) < 0.15
    frame["amount"] = frame["amount"].mask(holes)
    return frame


@pytest.fixture(scope="module")
def mixed():
    X = mixed_frame()
    return X, VAETransformer(2, max_iter=150, random_state=0).fit(X)


# Latents --------------------------------------------------------------------------------------


def test_latents_do_not_depend_on_other_rows(mixed):
    X, model = mixed
    z = model.transform(X)
    assert z.shape == (200, 2)
    order = np.random.default_rng(0).permutation(200)
    assert_allclose(model.transform(X.iloc[order]), z[order], atol=1e-6)
    assert_allclose(model.transform(X[:1]), z[:1], atol=1e-6)
    assert_allclose(model.score_samples(X[:5]), model.score_samples(X)[:5], rtol=1e-5)


def test_missing_cells_widen_the_posterior(mixed):
    X, model = mixed
    whole = X.dropna()
    part = whole.assign(visits=np.nan, flag=pd.NA)
    assert (model.posterior(part)[1].mean(0) > 1.1 * model.posterior(whole)[1].mean(0)).any()


def test_hidden_values_do_not_matter():
    X = load_iris().data
    model = VAETransformer(2, max_iter=50, random_state=0).fit(X)
    holes = X[:5].copy()
    holes[:, 1] = np.nan
    other = X[:5].copy()
    other[:, 1] = 1e3
    assert np.abs(model.transform(other) - model.transform(X[:5])).max() > 0.1
    assert np.isfinite(model.transform(holes)).all()


def test_same_seed_same_model_and_pickles(mixed):
    X, model = mixed
    again = VAETransformer(2, max_iter=150, random_state=0).fit(X)
    assert_array_equal(again.transform(X), model.transform(X))
    assert_array_equal(pickle.loads(pickle.dumps(model)).transform(X), model.transform(X))


def test_inverse_keeps_names_dtypes_and_index(mixed):
    X, model = mixed
    back = model.reconstruct(X)
    assert_array_equal(back.index, X.index)
    assert back.dtypes.equals(X.dtypes)
    assert set(back["group"].unique()) <= {"high", "low"}
    assert not back.isna().any(axis=None)
    plain = model.inverse_transform(model.transform(X))
    assert_array_equal(plain.to_numpy(), back.to_numpy())
    # Two dimensions hold what one factor drives.
    assert (back["group"] == X["group"]).mean() > 0.7


def test_arrays_come_back_as_arrays():
    X = load_iris().data
    model = VAETransformer(2, max_iter=50, random_state=0).fit(X)
    assert isinstance(model.reconstruct(X), np.ndarray)
    assert isinstance(model.sample(3, random_state=0), np.ndarray)


def test_set_output_and_feature_names(mixed):
    X, model = mixed
    assert_array_equal(model.get_feature_names_out(), ["vaetransformer0", "vaetransformer1"])
    frame = VAETransformer(2, max_iter=5).set_output(transform="pandas").fit_transform(X)
    assert_array_equal(frame.index, X.index)


def test_beta_trades_reconstruction_for_divergence():
    X = StandardScaler().fit_transform(load_breast_cancer().data)
    common = {
        "n_components": 5,
        "max_iter": 600,
        "n_importance_samples": 1,
        "likelihood": {"continuous": "gaussian"},
        "random_state": 0,
    }
    widths = [
        VAETransformer(beta=beta, **common).fit(X).posterior(X)[1].mean() for beta in (0.2, 8.0)
    ]
    assert widths[0] < 0.8 * widths[1]


# Density --------------------------------------------------------------------------------------


@pytest.mark.parametrize("prior", PRIORS)
def test_prior_monte_carlo_agrees_with_importance_sampling(prior):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 1)) ** 2 @ [[1.0, -1.0]] + rng.normal(size=(300, 2))
    model = VAETransformer(
        2,
        hidden_layer_sizes=(16,),
        prior=prior,
        n_prior_components=4,
        likelihood={"continuous": "gaussian"},
        max_iter=200,
        random_state=0,
    ).fit(X)
    rows = X[:40]
    importance = model.score_samples(rows, n_samples=4096)
    by_prior = model.score_samples(rows, method="prior", n_samples=65_536)
    assert_allclose(by_prior, importance, atol=0.15)
    assert (model.score_samples(rows, method="elbo", n_samples=4096) <= importance).all()


def test_the_bound_grows_with_the_number_of_samples():
    X = StandardScaler().fit_transform(load_wine().data)
    train, test = train_test_split(X, random_state=0)
    model = VAETransformer(3, max_iter=400, random_state=0).fit(train)
    curve = bound_curve(model, test, n_samples=(1, 5, 50, 500))["bound"]
    assert (curve.diff().dropna() > 0).all()
    assert model.score(test) == pytest.approx(curve[500], abs=0.3)


def test_density_is_in_the_units_of_the_columns(mixed):
    X = load_iris().data
    model = VAETransformer(2, max_iter=100, random_state=0).fit(X)
    scaled = VAETransformer(2, max_iter=100, random_state=0).fit(10 * X)
    assert_allclose(scaled.score(10 * X), model.score(X) - 4 * np.log(10), atol=1e-2)


def test_density_integrates_to_one():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(-2, 0.3, 200), rng.normal(1, 0.8, 200)])[:, None]
    model = VAETransformer(1, hidden_layer_sizes=(16,), max_iter=300, random_state=0).fit(x)
    grid = np.linspace(-15, 15, 6001)
    total = logsumexp(model.score_samples(grid[:, None])) + np.log(grid[1] - grid[0])
    assert np.exp(total) == pytest.approx(1, abs=0.05)
    # Two modes that no Gaussian has.
    assert model.score(x) > norm(x.mean(), x.std()).logpdf(x).mean() + 0.2


def test_empty_rows_score_zero():
    X = ampute(load_iris().data, rate=0.2, random_state=0)
    model = VAETransformer(2, max_iter=20, random_state=0).fit(X)
    assert_array_equal(model.score_samples(np.full((2, 4), np.nan)), 0.0)


# Generation -----------------------------------------------------------------------------------


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("source", ["prior", "aggregated"])
def test_samples_look_like_the_table(prior, source):
    X = mixed_frame(400)
    model = VAETransformer(2, prior=prior, max_iter=400, random_state=0).fit(X)
    drawn = model.sample(4000, source=source, random_state=0)
    assert drawn.dtypes.equals(X.dtypes)
    assert drawn["amount"].mean() == pytest.approx(X["amount"].mean(), abs=0.6)
    assert drawn["amount"].std() == pytest.approx(X["amount"].std(), rel=0.25)
    assert drawn["visits"].min() >= 0
    assert drawn["flag"].mean() == pytest.approx(X["flag"].mean(), abs=0.1)
    # The columns hang together as they do in the table.
    high = drawn["group"] == "high"
    gap = drawn.loc[high, "amount"].mean() - drawn.loc[~high, "amount"].mean()
    real = (
        X.loc[X["group"] == "high", "amount"].mean() - X.loc[X["group"] == "low", "amount"].mean()
    )
    assert gap == pytest.approx(real, rel=0.4)


def test_samples_follow_their_seed(mixed):
    _, model = mixed
    assert model.sample(5, random_state=0).equals(model.sample(5, random_state=0))
    assert not model.sample(5, random_state=0).equals(model.sample(5, random_state=1))


# Walks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["linear", "spherical"])
def test_walks_start_and_end_where_they_should(mixed, method):
    X, model = mixed
    path = model.interpolate(X[:3], X[-3:], 7, method=method)
    assert len(path) == 21
    for ends, rows in ((path[::7], X[:3]), (path[6::7], X[-3:])):
        whole = model.reconstruct(rows)
        pd.testing.assert_frame_equal(ends.set_axis(whole.index), whole)


def test_spherical_walks_keep_their_radius():
    from skvae.estimators._walks import _spherical

    rng = np.random.default_rng(0)
    start, end = rng.normal(size=(2, 5, 3))
    start /= np.linalg.norm(start, axis=1, keepdims=True)
    end /= np.linalg.norm(end, axis=1, keepdims=True)
    end[0] = start[0]
    path = _spherical(start, end, np.linspace(0, 1, 9)[:, None])
    assert_allclose(np.linalg.norm(path, axis=-1), 1, atol=1e-6)


def test_directions_carry_their_attribute():
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    model = VAETransformer(5, max_iter=300, random_state=0).fit(X)
    direction = model.attribute_direction(X, y)
    classifier = LogisticRegression(max_iter=1000).fit(X, y)
    malignant = X[y == 0]
    before = classifier.predict_proba(model.shift(malignant, direction, 0.0))[:, 1].mean()
    after = classifier.predict_proba(model.shift(malignant, direction))[:, 1].mean()
    assert before < 0.2
    assert after > 0.6
    twice = model.shift(malignant, np.stack([direction, direction]), [0.25, 0.75])
    assert_allclose(twice, model.shift(malignant, direction), atol=1e-3)


# In scikit-learn's company --------------------------------------------------------------------


def test_pipeline_and_grid_search():
    X, y = load_wine(return_X_y=True)
    pipeline = make_pipeline(VAETransformer(3, max_iter=100, random_state=0), LogisticRegression())
    assert pipeline.fit(X, y).score(X, y) > 0.9
    search = GridSearchCV(
        VAETransformer(hidden_layer_sizes=(), random_state=0), {"n_components": [1, 4]}, cv=3
    ).fit(load_breast_cancer().data)
    assert search.best_params_ == {"n_components": 4}


def test_vamp_density_beats_factor_analysis_on_real_data():
    X, _ = load_breast_cancer(return_X_y=True)
    train, test = train_test_split(StandardScaler().fit_transform(X), random_state=0)
    model = VAETransformer(None, prior="vamp", max_iter=600, random_state=0).fit(train)
    linear = VAETransformer(hidden_layer_sizes=(), random_state=0).fit(train)
    assert model.score(test) > linear.score(test) + 2


# What a newcomer broke ------------------------------------------------------------------------


def test_odd_cells_do_not_lead_the_density_astray():
    random = np.random.default_rng(0)
    X = random.normal(size=(300, 2)) @ random.normal(size=(2, 4)) + 0.3 * random.normal(
        size=(300, 4)
    )
    model = VAETransformer(2, max_iter=60, random_state=0).fit(X)
    odd = X[:40].copy()
    odd[:, 0] += 5 * X[:, 0].std()
    importance = model.score_samples(odd, n_samples=1024)
    prior = model.score_samples(odd, method="prior", n_samples=50_000)
    assert_allclose(importance.mean(), prior.mean(), atol=2.0)
    # The encoder's own samples are far off, and the effective sample size knows.
    assert model.effective_sample_size(odd).mean() < 0.2 * model.effective_sample_size(X).mean()


def test_directions_follow_the_order_of_categories(mixed):
    X, model = mixed
    low = X["visits"] <= X["visits"].median()
    labels = pd.Categorical(np.where(low, "low", "high"), categories=["low", "high"], ordered=True)
    direction = model.attribute_direction(X, labels)
    assert_allclose(direction, model.attribute_direction(X, (~low).to_numpy()), atol=1e-6)
    assert_allclose(
        direction, -model.attribute_direction(X, np.where(low, "low", "high")), atol=1e-6
    )


@pytest.mark.parametrize("kind", ["float", "boolean", "object"])
def test_labels_with_holes_are_refused(mixed, kind):
    X, model = mixed
    labels = {
        "float": np.r_[np.nan, np.arange(len(X) - 1) % 2],
        "boolean": pd.array([None] + [True, False] * 99 + [True], dtype="boolean"),
        "object": np.array([None] + ["a", "b"] * 99 + ["a"], dtype=object),
    }[kind]
    with pytest.raises(ValueError, match="missing in 1 rows"):
        model.attribute_direction(X, labels)


def test_frames_of_latents_come_back_without_a_warning(mixed, recwarn):
    X, model = mixed
    z = pd.DataFrame(model.transform(X))
    z.to_numpy().flags.writeable = False
    model.inverse_transform(z)
    assert not [w for w in recwarn if "writable" in str(w.message)]


def test_stronger_divergence_compresses_more():
    X = StandardScaler().fit_transform(load_wine().data)
    options = {"n_components": 3, "max_iter": 150, "random_state": 0, "early_stopping": False}
    plain, strong = (VAETransformer(beta=beta, **options).fit(X) for beta in (1.0, 20.0))
    assert strong.layer_divergences_.sum() < 0.7 * plain.layer_divergences_.sum()
