"""`VAETransformer` without networks: factor analysis, principal components and known noise."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import multivariate_normal
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.preprocessing import StandardScaler

from skvae import VAETransformer
from skvae.datasets import ampute

TABLES = {"iris": load_iris, "wine": load_wine, "breast_cancer": load_breast_cancer}


def in_units(X):
    """Standardised columns, and what their log-densities lack to be those of the columns."""
    return StandardScaler().fit_transform(X), -np.log(X.std(axis=0)).sum()


def decoder_columns(model, X):
    """Of the decoder of numbers, in units of the standardised columns; (p, k)."""
    k = model.n_components_
    moved = model.inverse_transform(np.eye(k)) - model.inverse_transform(np.zeros((k, k)))
    return (moved / X.std(axis=0)).T


def principal(Z):
    """Descending eigenvalues and eigenvectors of standardised columns."""
    values, vectors = np.linalg.eigh(Z.T @ Z / len(Z))
    return values[::-1], vectors[:, ::-1]


@pytest.mark.parametrize("k", [1, 2, 3, 5])
@pytest.mark.parametrize("name", TABLES)
@pytest.mark.filterwarnings("ignore:FactorAnalysis did not converge")
def test_linear_vae_is_factor_analysis(name, k):
    X = TABLES[name]().data
    Z, jacobian = in_units(X)
    k = min(k, X.shape[1] - 1)
    linear = VAETransformer(k, hidden_layer_sizes=()).fit(X)
    theirs = FactorAnalysis(k, tol=1e-10, max_iter=2000, svd_method="lapack").fit(Z)
    # The likelihood has several maxima: theirs may be a lower one.
    assert linear.score(X) - jacobian > theirs.score(Z) - 1e-3
    if name == "wine" and k <= 3:
        assert linear.score(X) - jacobian == pytest.approx(theirs.score(Z), abs=1e-4)


@pytest.mark.parametrize("k", [1, 3, 8, 25])
@pytest.mark.parametrize("name", TABLES)
def test_isotropic_linear_vae_is_probabilistic_pca(name, k):
    X = TABLES[name]().data
    Z, jacobian = in_units(X)
    k = min(k, X.shape[1] - 1)
    linear = VAETransformer(k, hidden_layer_sizes=(), noise="isotropic").fit(X)
    # scikit-learn divides by n - 1, which costs d / (4 n^2) nats.
    assert linear.score(X) - jacobian == pytest.approx(PCA(k).fit(Z).score(Z), abs=2e-4)
    values, vectors = principal(Z)
    columns = vectors[:, :k] * np.sqrt(values[:k] - values[k:].mean())
    signs = np.sign((columns * decoder_columns(linear, X)).sum(axis=0))
    assert_allclose(decoder_columns(linear, X), signs * columns, atol=2e-5)


@pytest.mark.parametrize("noise", [0.1, 0.5, 1, 3.0])
@pytest.mark.parametrize("name", TABLES)
def test_dimensions_that_do_not_rise_above_the_noise_collapse(name, noise):
    # Lucas et al. (2019): the others are principal components, scaled by what rises above it.
    X = TABLES[name]().data
    Z, _ = in_units(X)
    k = min(8, X.shape[1])
    linear = VAETransformer(k, hidden_layer_sizes=(), noise=noise).fit(X)
    columns, (values, vectors) = decoder_columns(linear, X), principal(Z)
    gone = values[:k] <= noise
    assert_allclose(columns[:, gone], 0, atol=1e-6)
    assert (np.linalg.norm(columns[:, ~gone], axis=0) > 0.05).all()
    expected = vectors[:, :k] * np.sqrt(np.maximum(values[:k] - noise, 0))
    signs = np.sign((columns * expected).sum(axis=0))
    assert_allclose(columns, signs * expected, atol=2e-5)
    mean, deviation = linear.posterior(X)
    assert_allclose(mean[:, gone], 0, atol=1e-6)
    assert_allclose(deviation[:, gone], 1, atol=1e-6)


def test_with_holes_dimensions_below_the_noise_shrink_to_nothing():
    X = ampute(load_wine().data, rate=0.2, random_state=0)
    linear = VAETransformer(4, hidden_layer_sizes=(), noise=1.2).fit(X)
    sizes = np.linalg.norm(decoder_columns(linear, np.ma.masked_invalid(X)), axis=0)
    assert (sizes[:2] > 0.5).all()
    assert sizes[3] < 0.02
    assert linear.n_iter_ > 1


def test_weights_count_in_closed_form():
    X = load_wine().data
    weight = np.arange(len(X)) % 3
    options = {"n_components": 3, "hidden_layer_sizes": (), "noise": 0.7}
    weighted = VAETransformer(**options).fit(X, sample_weight=weight)
    repeated = VAETransformer(**options).fit(np.repeat(X, weight, axis=0))
    assert_allclose(weighted.score_samples(X), repeated.score_samples(X), atol=1e-3)


def test_all_complete_rows_count(monkeypatch):
    monkeypatch.setattr("skvae.training.density.LINEAR_ROWS", 30)
    X = load_wine().data
    Z, jacobian = in_units(X)
    linear = VAETransformer(2, hidden_layer_sizes=(), noise="isotropic").fit(X)
    assert linear.score(X) - jacobian == pytest.approx(PCA(2).fit(Z).score(Z), abs=2e-4)


def test_networks_start_at_a_known_noise():
    X = load_wine().data
    model = VAETransformer(2, hidden_layer_sizes=(8,), noise=0.7, max_iter=1).fit(X)
    assert_allclose(model._latent.model.noise_variance, 0.7, rtol=1e-6)


@pytest.mark.parametrize("beta", [0.5, 2.0, 6])
def test_weight_on_the_divergence_multiplies_a_known_noise(beta):
    X, noise = StandardScaler().fit_transform(load_wine().data), 0.5
    linear = VAETransformer(5, hidden_layer_sizes=(), noise=noise, beta=beta).fit(X)
    W = decoder_columns(linear, X)
    values, _ = principal(X)
    expected = np.sqrt(np.maximum(values[:5] - beta * noise, 0))
    assert_allclose(np.linalg.norm(W, axis=0), expected, atol=1e-5)
    # The encoder is that of the noisier rows, the density that of the decoder.
    precision = np.eye(5) + W.T @ W / (beta * noise)
    assert_allclose(
        linear.transform(X), X @ W @ np.linalg.inv(precision) / (beta * noise), atol=1e-4
    )
    density = multivariate_normal(np.zeros(13), W @ W.T + noise * np.eye(13)).logpdf(X)
    assert linear.score_samples(X, n_samples=500).mean() == pytest.approx(density.mean(), abs=0.03)


def weighed_bound(X, W, deviation, mean, noise, beta):
    """``E_q log p(x | z) - beta KL`` per row for ``q = N(mean, deviation^2)``."""
    squares = ((X - mean @ W.T) ** 2).sum(1) + (W**2).sum(0) @ (deviation**2).T
    fit = -0.5 * (squares / noise + X.shape[1] * np.log(2 * np.pi * noise))
    divergence = 0.5 * (mean**2 + deviation**2 - 1 - 2 * np.log(deviation)).sum(1)
    return (fit - beta * divergence).mean()


def test_the_weighed_bound_is_at_its_maximum():
    X, noise, beta = StandardScaler().fit_transform(load_wine().data), 0.5, 3.0
    linear = VAETransformer(4, hidden_layer_sizes=(), noise=noise, beta=beta).fit(X)
    W, (mean, deviation) = decoder_columns(linear, X), linear.posterior(X)
    best = weighed_bound(X, W, deviation, mean, noise, beta)
    rng = np.random.default_rng(0)
    for _ in range(10):
        other = W + 0.03 * rng.normal(size=W.shape)
        scale = np.exp(0.03 * rng.normal(size=4))
        assert weighed_bound(X, other, deviation, mean, noise, beta) < best
        assert weighed_bound(X, W, deviation * scale, mean * scale, noise, beta) < best


def test_linear_densities_are_exact_for_partial_rows():
    X = StandardScaler().fit_transform(load_iris().data)
    linear = VAETransformer(1, hidden_layer_sizes=(), random_state=0).fit(X)
    model = linear._latent.model
    W, psi = model.loadings[0].double().numpy(), model.noise_variance[0].double().numpy()
    covariance, mean = W @ W.T + np.diag(psi), model.mean[0].double().numpy()
    part = X.copy()
    part[:, 2] = np.nan
    some = [0, 1, 3]
    scale, shift = X.std(axis=0)[some], X.mean(axis=0)[some]
    expected = (
        multivariate_normal(mean[some], covariance[np.ix_(some, some)]).logpdf(
            (X[:, some] - shift) / scale
        )
        - np.log(scale).sum()
    )
    assert_allclose(linear.score_samples(part), expected, atol=1e-3)
    assert_allclose(linear.effective_sample_size(part, n_samples=64), 64, rtol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta": 4}, r"beta=4 with noise='diagonal' is for the networks"),
        ({"beta": 0.5, "noise": "isotropic"}, r"beta=0.5 with noise='isotropic'"),
        ({"beta": 0, "noise": 0.5}, r"beta=0 with noise=0.5 is for the networks"),
    ],
)
def test_weights_on_the_divergence_need_networks_or_a_known_noise(options, message):
    with pytest.raises(ValueError, match=message):
        VAETransformer(2, hidden_layer_sizes=(), **options).fit(load_iris().data)
