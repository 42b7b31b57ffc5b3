"""The linear VAE is factor analysis, and Gaussian conditioning under any mask."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA, FactorAnalysis

from skvae.models import choose_n_components, fit_linear_vae

EXACT = {"ridge": 0.0, "noise_floor": 1e-9, "tol": 1e-11}


def factor_data(toys, n=300, d=6, k=2, seed=0):
    truth = toys.linear_vae(d, k, seed, torch.float64)
    g = toys.seeded(seed + 1)
    z = torch.randn(n, k, generator=g, dtype=torch.float64)
    noise = torch.randn(n, d, generator=g, dtype=torch.float64)
    return z @ truth.loadings.mT + truth.mean + noise * truth.noise_variance.sqrt()


def covariance(model):
    return model.loadings @ model.loadings.mT + torch.diag(model.noise_variance)


def everything(x):
    return torch.ones_like(x, dtype=torch.bool)


def mean_log_prob(model, x, observed):
    return model.log_prob(x, observed).mean().item()


def test_complete_data_give_factor_analysis(toys):
    x = factor_data(toys)
    model = fit_linear_vae(x, everything(x), 2, max_iter=3000, **EXACT)
    theirs = FactorAnalysis(2, svd_method="lapack", tol=1e-12, max_iter=5000).fit(x.numpy())
    np.testing.assert_allclose(
        mean_log_prob(model, x, everything(x)), theirs.score(x.numpy()), atol=1e-6
    )
    np.testing.assert_allclose(covariance(model), theirs.get_covariance(), atol=2e-3)
    np.testing.assert_allclose(model.mean, theirs.mean_, atol=1e-4)


def test_equal_noise_is_probabilistic_pca_in_closed_form(toys):
    x = factor_data(toys)
    model = fit_linear_vae(x, everything(x), 2, isotropic=True, max_iter=3000, **EXACT)
    values, vectors = np.linalg.eigh(np.cov(x.numpy().T, bias=True))
    sigma2 = values[:-2].mean()  # Tipping and Bishop (1999), equation 8
    np.testing.assert_allclose(model.noise_variance, sigma2, rtol=1e-4)
    projector = vectors[:, -2:] @ vectors[:, -2:].T
    np.testing.assert_allclose(projector @ model.loadings.numpy(), model.loadings, atol=1e-3)
    gram = model.loadings @ model.loadings.mT
    np.testing.assert_allclose(np.linalg.eigvalsh(gram)[-2:], values[-2:] - sigma2, rtol=1e-3)
    # scikit-learn's divides by n - 1.
    pca = PCA(2).fit(x.numpy())
    ratio = len(x) / (len(x) - 1)
    np.testing.assert_allclose(covariance(model) * ratio, pca.get_covariance(), atol=1e-3)


@pytest.mark.parametrize("isotropic", [False, True])
@pytest.mark.parametrize("share", [1.0, 0.6])
@pytest.mark.parametrize("weighted", [False, True])
def test_no_round_lowers_the_likelihood(toys, isotropic, share, weighted):
    x = factor_data(toys, n=80)
    observed = toys.random_mask(*x.shape, share)
    weight = torch.rand(80, generator=toys.seeded(3)).double() + 0.1 if weighted else None
    path = []
    for rounds in range(1, 16):
        model = fit_linear_vae(
            x,
            observed,
            2,
            sample_weight=weight,
            isotropic=isotropic,
            max_iter=rounds,
            ridge=0.0,
            noise_floor=1e-9,
            tol=-math.inf,
        )
        each = model.log_prob(x, observed)
        path.append((each if weight is None else weight * each).mean().item())
    assert np.diff(path).min() > -1e-7
    assert path[-1] > path[0]


@pytest.mark.parametrize("share", [1.0, 0.7])
def test_known_noise_stays_and_no_round_lowers_the_likelihood(toys, share):
    x = factor_data(toys, n=80)
    observed = toys.random_mask(*x.shape, share)
    settings = {"noise_variance": 0.7, "ridge": 0.0, "tol": -math.inf}
    fits = [fit_linear_vae(x, observed, 2, max_iter=rounds, **settings) for rounds in range(12)]
    assert all((fit.noise_variance == 0.7).all() for fit in fits)
    assert np.diff([mean_log_prob(fit, x, observed) for fit in fits]).min() > -1e-9


def test_equal_noise_starts_equal(toys):
    """A better fit with unequal noise at the start would end the rounds after the first."""
    x = factor_data(toys, n=80)
    observed = toys.random_mask(*x.shape, 0.7)
    observed[:, 0], observed[:, 1] = True, x[:, 0] > 0
    few, many = (fit_linear_vae(x, observed, 2, isotropic=True, max_iter=n) for n in (0, 200))
    assert (few.noise_variance == few.noise_variance[0]).all()
    assert many.n_iter > 5
    assert mean_log_prob(many, x, observed) > mean_log_prob(few, x, observed) + 0.1


def test_complete_rows_are_their_own_second_moment(toys):
    x = factor_data(toys, n=40)
    model = toys.linear_vae(6, 2, 5, torch.float64)
    centred = x - model.mean
    torch.testing.assert_close(model.second_moment(x, everything(x)), centred.mT @ centred)


def test_second_moment_of_holes_is_that_of_gaussian_conditioning(toys):
    x = factor_data(toys, n=20)
    observed = toys.random_mask(*x.shape, 0.5)
    observed[0] = False
    model, expected = toys.linear_vae(6, 2, 5, torch.float64), torch.zeros(6, 6).double()
    full = covariance(model)
    for row, seen in zip(x - model.mean, observed, strict=True):
        gain = full[:, seen] @ torch.linalg.inv(full[seen][:, seen])
        mean = gain @ row[seen]
        expected += torch.outer(mean, mean) + full - gain @ full[seen]
    dirty = x.where(observed, math.nan)
    torch.testing.assert_close(model.second_moment(dirty, observed), expected)


@pytest.mark.parametrize("kind", [{"isotropic": True}, {"noise_variance": 0.7}])
def test_with_holes_columns_are_eigenvectors_of_what_is_expected(toys, kind):
    """By Fisher's identity, wherever the holes are: here the second column hides by the first."""
    x = factor_data(toys, n=80)
    observed = toys.random_mask(*x.shape, 0.7)
    observed[:, 0], observed[:, 1] = True, x[:, 0] > 0
    model = fit_linear_vae(x, observed, 2, max_iter=5000, **EXACT, **kind)
    scale = model.noise_variance.sqrt().unsqueeze(-1)
    moment = model.second_moment(x, observed) / len(x) / scale / scale.mT
    columns = model.loadings / scale
    gram = torch.eye(2).double() + columns.mT @ columns
    torch.testing.assert_close(moment @ columns, columns @ gram, atol=1e-3, rtol=0)


@pytest.mark.parametrize("seed", range(3))
def test_density_is_that_of_the_observed_subvector(toys, seed):
    model = toys.linear_vae(5, 2, seed, torch.float64)
    x = factor_data(toys, n=20, d=5, seed=seed)
    observed = toys.random_mask(20, 5, 0.6, seed)
    full = covariance(model).numpy()
    results = model.log_prob(x, observed)
    for row, mask, result in zip(x.numpy(), observed.numpy(), results, strict=True):
        expected = 0.0
        if mask.any():
            expected = multivariate_normal.logpdf(
                row[mask], model.mean.numpy()[mask], full[np.ix_(mask, mask)]
            )
        np.testing.assert_allclose(result, expected, atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_conditional_means_are_gaussian_conditioning(toys, seed):
    model = toys.linear_vae(5, 2, seed, torch.float64)
    x = factor_data(toys, n=20, d=5, seed=seed)
    observed = toys.random_mask(20, 5, 0.6, seed)
    result, full = model.conditional_mean(x, observed), covariance(model)
    for i, mask in enumerate(observed):
        # The cross-covariance of x is that of its smooth part: noise is independent.
        inverse = torch.linalg.inv(full[mask][:, mask])
        gain = model.loadings[mask].mT @ inverse
        mean = gain @ (x[i] - model.mean)[mask]
        torch.testing.assert_close(result[i], model.loadings @ mean + model.mean)


@pytest.mark.parametrize("garbage", [math.nan, math.inf, 1e30])
def test_hidden_values_do_not_matter(toys, garbage):
    x = factor_data(toys, n=60)
    observed = toys.random_mask(*x.shape)
    dirty = x.where(observed, garbage)
    clean, other = (fit_linear_vae(rows, observed, 2, max_iter=10) for rows in (x, dirty))
    for name in ("loadings", "mean", "noise_variance"):
        assert torch.equal(getattr(clean, name), getattr(other, name))
    assert torch.equal(clean.log_prob(x, observed), clean.log_prob(dirty, observed))
    assert torch.equal(clean.conditional_mean(x, observed), clean.conditional_mean(dirty, observed))
    held_out = observed & toys.random_mask(*x.shape, 0.2, seed=5)
    assert choose_n_components(x, observed, held_out, [1, 2]) == choose_n_components(
        dirty, observed, held_out, [1, 2]
    )


@pytest.mark.parametrize("ridge", [0.0, 1e-2])
def test_a_weight_of_two_is_a_row_twice(toys, ridge):
    x = factor_data(toys, n=120)
    observed = toys.random_mask(*x.shape, 0.8)
    weight = 1 + (torch.arange(120) % 3 == 0).double()
    rows = torch.arange(120).repeat_interleave(weight.long())
    settings = EXACT | {"ridge": ridge, "max_iter": 600}
    weighted = fit_linear_vae(x, observed, 2, sample_weight=weight, **settings)
    repeated = fit_linear_vae(x[rows], observed[rows], 2, **settings)
    torch.testing.assert_close(covariance(weighted), covariance(repeated), atol=2e-3, rtol=1e-3)
    torch.testing.assert_close(
        weighted.log_prob(x, observed), repeated.log_prob(x, observed), atol=5e-3, rtol=1e-3
    )


def test_only_the_proportions_of_weights_matter(toys):
    x = factor_data(toys, n=60)
    weight = torch.rand(60, generator=toys.seeded(2)).double()
    fits = [
        fit_linear_vae(x, everything(x), 2, sample_weight=w, max_iter=20)
        for w in (weight, 40 * weight)
    ]
    torch.testing.assert_close(fits[0].loadings, fits[1].loadings)


def test_a_determined_column_stays_above_the_noise_floor(toys):
    x = factor_data(toys, n=100)
    x[:, 1] = x[:, 0]
    model = fit_linear_vae(x, everything(x), 2, noise_floor=1e-3, max_iter=500)
    assert (model.noise_variance >= 1e-3).all()
    assert torch.isfinite(model.log_prob(x, everything(x))).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_models_keep_the_dtype_of_the_data(toys, dtype):
    x = factor_data(toys, n=50).to(dtype)
    model = fit_linear_vae(x, everything(x), 2, sample_weight=torch.ones(50), max_iter=5)
    assert model.loadings.dtype == model.mean.dtype == model.noise_variance.dtype == dtype
    assert model.n_components == 2


@pytest.mark.parametrize("seed", range(3))
def test_the_true_number_of_components_is_found(toys, seed):
    x = factor_data(toys, n=600, d=12, k=3, seed=seed)
    x = (x - x.mean(0)) / x.std(0)
    observed = toys.random_mask(*x.shape, 0.9, seed)
    held_out = toys.random_mask(*x.shape, 0.15, seed + 10)
    best, scores = choose_n_components(x, observed, held_out, [1, 2, 3, 4, 6, 8])
    assert best == 3
    assert min(scores, key=scores.get) in (3, 4)
    assert scores[3] < scores[2] < scores[1]


def test_the_search_ends_after_two_candidates_without_progress(toys):
    x = factor_data(toys, n=400, d=8, k=1)
    observed = everything(x)
    held_out = toys.random_mask(*x.shape, 0.15, 10)
    best, scores = choose_n_components(x, observed, held_out, [1, 2, 3, 4, 5, 6])
    assert (best, list(scores)) == (1, [1, 2, 3])


# Other axes -----------------------------------------------------------------------------------


@pytest.fixture
def axes(toys):
    """Invertible and far from orthogonal."""
    skew = torch.randn(2, 2, generator=toys.seeded(4), dtype=torch.float64)
    return torch.eye(2).double() + 0.7 * skew


def test_along_other_axes_the_density_is_the_same(toys, axes):
    x = factor_data(toys, n=30)
    observed = toys.random_mask(*x.shape, 0.6)
    model = toys.linear_vae(6, 2, 5, torch.float64)
    other = model.along(axes)
    assert not torch.allclose(other.loadings, model.loadings, atol=0.05)
    torch.testing.assert_close(other.log_prob(x, observed), model.log_prob(x, observed))
    torch.testing.assert_close(
        other.conditional_mean(x, observed), model.conditional_mean(x, observed)
    )
    torch.testing.assert_close(other.second_moment(x, observed), model.second_moment(x, observed))


def test_the_posterior_of_other_latents_is_that_of_their_linear_map(toys, axes):
    x = factor_data(toys, n=30)
    observed = toys.random_mask(*x.shape, 0.6)
    model = toys.linear_vae(6, 2, 5, torch.float64)
    one, other = model.posterior(x, observed), model.along(axes).posterior(x, observed)
    torch.testing.assert_close(other.mean, one.mean @ axes.mT)
    torch.testing.assert_close(other.covariance, axes @ one.covariance @ axes.mT)


def test_maps_after_each_other_are_their_product(toys, axes):
    model = toys.linear_vae(6, 2, 5, torch.float64)
    back = model.along(axes).along(torch.linalg.inv(axes))
    torch.testing.assert_close(back.loadings, model.loadings)
    torch.testing.assert_close(back.prior_precision, torch.eye(2).double())
    twice, at_once = model.along(axes).along(axes), model.along(axes @ axes)
    torch.testing.assert_close(twice.loadings, at_once.loadings)
    torch.testing.assert_close(twice.prior_precision, at_once.prior_precision)
    assert model.along(axes).single().prior_precision.dtype == torch.float32
