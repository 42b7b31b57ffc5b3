"""Without holes the linear VAE is eigenvalues: probabilistic PCA, factor analysis, known noise."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine
from sklearn.decomposition import PCA, FactorAnalysis

from skvae.models.complete import Spectrum, solve_linear_vae
from skvae.models.linear import fit_linear_vae

TABLES = {
    "iris": load_iris,
    "wine": load_wine,
    "breast_cancer": load_breast_cancer,
    "diabetes": load_diabetes,
}


def standardised(name):
    x = torch.from_numpy(TABLES[name]().data).double()
    return (x - x.mean(0)) / x.std(0, correction=0)


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def factors(n=300, d=8, k=3):
    return normal(n, k) @ normal(k, d, seed=1) + 0.6 * normal(n, d, seed=2)


def everything(x):
    return torch.ones_like(x, dtype=torch.bool)


def mean_log_prob(model, x):
    return model.log_prob(x, everything(x)).mean().item()


def moments(x, weight=None):
    """Descending eigenvalues and eigenvectors of the covariance."""
    covariance = torch.cov(x.mT, correction=0, aweights=weight)
    values, vectors = torch.linalg.eigh(covariance)
    return values.flip(0), vectors.flip(1)


def same_columns(columns, others, atol=1e-8):
    signs = (columns * others).sum(0).sign()
    torch.testing.assert_close(columns, signs * others, atol=atol, rtol=0)


# One noise variance for all columns -------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("name", TABLES)
def test_equal_noise_has_the_likelihood_of_probabilistic_pca(name, k):
    x = standardised(name)
    n = len(x)
    # scikit-learn's divides by n - 1: a table that is as much narrower has the same covariance.
    shrunk = x.numpy() * np.sqrt((n - 1) / n)
    theirs = PCA(k).fit(shrunk)
    model = solve_linear_vae(x, k, isotropic=True)
    # The mean of (x - mu)' C^-1 (x - mu) is d for either, in the units that each covariance has.
    covariance = model.loadings @ model.loadings.mT + torch.diag(model.noise_variance)
    np.testing.assert_allclose(covariance, theirs.get_covariance(), atol=1e-9)
    d = x.shape[1]
    sign, size = np.linalg.slogdet(theirs.get_covariance())
    expected = -0.5 * (d * np.log(2 * np.pi) + size + d)
    assert sign == 1
    assert mean_log_prob(model, x) == pytest.approx(expected, abs=1e-9)


def test_equal_noise_is_the_mean_eigenvalue_that_is_left():
    x = factors()
    values, vectors = moments(x)
    model = solve_linear_vae(x, 3, isotropic=True)
    noise = values[3:].mean()
    torch.testing.assert_close(model.noise_variance, noise.expand(8))
    same_columns(model.loadings, vectors[:, :3] * (values[:3] - noise).sqrt())


def test_as_many_components_as_columns_gain_nothing_over_one_fewer():
    x = factors(d=5)
    all_of_them, one_fewer = (solve_linear_vae(x, k, isotropic=True) for k in (5, 4))
    torch.testing.assert_close(all_of_them.loadings[:, :4], one_fewer.loadings)
    assert (all_of_them.loadings[:, 4] == 0).all()
    values, _ = moments(x)
    torch.testing.assert_close(all_of_them.noise_variance, values[-1].expand(5))


def test_a_single_column_is_noise():
    x = normal(50, 1)
    model = solve_linear_vae(x, 1, isotropic=True)
    assert (model.loadings == 0).all()
    torch.testing.assert_close(model.noise_variance, x.var(0, correction=0))


# Known noise --------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [0.05, 0.3, 1.0, 2.0, 20.0])
@pytest.mark.parametrize("name", TABLES)
def test_just_those_dimensions_collapse_whose_eigenvalue_the_noise_covers(name, noise):
    x = standardised(name)
    k = x.shape[1]
    values, vectors = moments(x)
    model = solve_linear_vae(x, k, noise_variance=noise)
    gone = values <= noise
    assert (model.loadings[:, gone] == 0).all()
    assert (model.loadings[:, ~gone].norm(dim=0) > 1e-3).all()
    same_columns(model.loadings, vectors * (values - noise).clamp(min=0).sqrt())


def test_no_other_decoder_is_as_likely():
    x = factors()
    model = solve_linear_vae(x, 5, noise_variance=0.5)
    best = mean_log_prob(model, x)
    for seed in range(20):
        step = normal(8, 5, seed=seed)
        other = type(model)(model.loadings + 0.05 * step, model.mean, model.noise_variance)
        assert mean_log_prob(other, x) < best


@pytest.mark.parametrize("k", [2, 4])
def test_rounds_of_expectation_maximisation_end_here(k):
    x = factors()
    solved = solve_linear_vae(x, k, noise_variance=0.5)
    rounds = fit_linear_vae(
        x, everything(x), k, noise_variance=0.5, ridge=0.0, tol=1e-13, max_iter=5000
    )
    assert (rounds.noise_variance == 0.5).all()
    shared, expected = (m.loadings @ m.loadings.mT for m in (rounds, solved))
    torch.testing.assert_close(shared, expected, atol=1e-4, rtol=0)


# One noise variance for every column -----------------------------------------------------------


@pytest.mark.parametrize("k", [1, 2, 3, 5])
@pytest.mark.parametrize("name", TABLES)
def test_factor_analysis_is_as_likely_as_that_of_scikit_learn(name, k):
    x = standardised(name)
    k = min(k, x.shape[1] - 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs has not converged after many rounds
        theirs = FactorAnalysis(k, svd_method="lapack", tol=1e-10, max_iter=2000).fit(x.numpy())
    # Or likelier: the likelihood has several maxima, and theirs approaches noise of 0 slowly.
    assert mean_log_prob(solve_linear_vae(x, k), x) > theirs.score(x.numpy()) - 1e-5


def test_a_single_maximum_is_that_of_scikit_learn():
    x = standardised("wine")
    theirs = FactorAnalysis(2, svd_method="lapack", tol=1e-12, max_iter=5000).fit(x.numpy())
    model = solve_linear_vae(x, 2)
    assert mean_log_prob(model, x) == pytest.approx(theirs.score(x.numpy()), abs=1e-7)
    np.testing.assert_allclose(model.noise_variance, theirs.noise_variance_, atol=1e-4)


@pytest.mark.parametrize("k", [1, 3, 6])
def test_columns_are_eigenvectors_in_units_of_the_noise(k):
    x = standardised("wine")
    model = solve_linear_vae(x, k)
    scale = model.noise_variance.sqrt()
    values, vectors = moments(x / scale)
    expected = vectors[:, :k] * (values[:k] - 1).clamp(min=0).sqrt()
    same_columns(model.loadings / scale.unsqueeze(-1), expected, atol=1e-6)


@pytest.mark.parametrize("floor", [1e-6, 0.05])
def test_variances_are_met_wherever_noise_is_free(floor):
    x = standardised("wine")
    model = solve_linear_vae(x, 5, noise_floor=floor)
    fitted = model.loadings.square().sum(1) + model.noise_variance
    free = model.noise_variance > floor * 1.001
    assert not free.all()
    torch.testing.assert_close(
        fitted[free], torch.ones(int(free.sum())).double(), atol=1e-5, rtol=0
    )
    assert (fitted[~free] > 1 - 1e-5).all()  # less noise would fit better, if it could


def test_slope_of_the_deviance_is_the_misfit_of_the_variances():
    x = factors()
    root = torch.linalg.qr((x - x.mean(0)) / len(x) ** 0.5, mode="r").R
    variance = root.square().sum(0)

    def deviance(noise):
        return Spectrum.of(root, noise, 2).deviance(float((variance / noise).sum()))

    noise = 0.3 + 0.1 * torch.arange(8).double()
    model = Spectrum.of(root, noise, 2)
    misfit = (noise + model.loadings.square().sum(1) - variance) / (2 * noise)
    for j in range(8):
        step = torch.zeros(8).double()
        step[j] = 1e-5
        slope = (deviance(noise * step.exp()) - deviance(noise * (-step).exp())) / 2e-5
        assert slope == pytest.approx(misfit[j].item(), abs=1e-7)


# Any --------------------------------------------------------------------------------------------

KINDS = [{}, {"isotropic": True}, {"noise_variance": 0.4}]


@pytest.mark.parametrize("kind", KINDS)
def test_deviance_is_the_likelihood(kind):
    x = factors()
    model = solve_linear_vae(x, 2, **kind)
    root = torch.linalg.qr((x - x.mean(0)) / len(x) ** 0.5, mode="r").R
    spectrum = Spectrum.of(root, model.noise_variance, 2)
    deviance = spectrum.deviance(float((root.square().sum(0) / model.noise_variance).sum()))
    constant = 0.5 * 8 * np.log(2 * np.pi)
    assert mean_log_prob(model, x) == pytest.approx(-deviance - constant, abs=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_a_weight_of_two_is_a_row_twice(kind):
    x = factors(n=60)
    weight = torch.arange(60) % 3
    weighted = solve_linear_vae(x, 2, sample_weight=weight, **kind)
    repeated = solve_linear_vae(x[torch.arange(60).repeat_interleave(weight)], 2, **kind)
    torch.testing.assert_close(weighted.mean, repeated.mean)
    torch.testing.assert_close(
        weighted.noise_variance, repeated.noise_variance, atol=1e-3, rtol=1e-3
    )
    same_columns(weighted.loadings, repeated.loadings, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_fewer_rows_than_columns(kind):
    x = normal(6, 20)
    x = (x - x.mean(0)) / x.std(0, correction=0)
    model = solve_linear_vae(x, 10, **kind)
    assert model.loadings.shape == (20, 10)
    assert (model.loadings[:, 5:] == 0).all()  # five directions are all that six rows have
    assert torch.isfinite(model.log_prob(x, everything(x))).all()
    assert (model.noise_variance >= 1e-6).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_column_that_others_determine(kind):
    x = factors(d=4)
    x = torch.cat([x, x[:, :1]], dim=1)
    model = solve_linear_vae(x, 3, **kind)
    assert (model.noise_variance > 0).all()
    assert torch.isfinite(model.log_prob(x, everything(x))).all()
