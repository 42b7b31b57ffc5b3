"""Products of Gaussians are sums of natural parameters."""

import math

import pytest
import torch
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from skvae.distributions import DiagonalNaturalGaussian, NaturalGaussian, gaussian_experts


def covariances(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(*shape, shape[-1], generator=generator, dtype=dtype)
    return root @ root.mT + 0.5 * torch.eye(shape[-1], dtype=dtype)


def normals(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_moments_there_and_back(dtype):
    mean, covariance = normals(4, 3, dtype=dtype), covariances(4, 3, dtype=dtype)
    gaussian = NaturalGaussian.from_moments(mean, covariance)
    tolerance = {"rtol": 1e-3, "atol": 1e-4} if dtype == torch.float32 else {}
    torch.testing.assert_close(gaussian.mean, mean, **tolerance)
    torch.testing.assert_close(gaussian.covariance, covariance, **tolerance)
    torch.testing.assert_close(gaussian.log_det_precision, -torch.logdet(covariance), **tolerance)


def test_density_and_divergence_agree_with_torch():
    mean, covariance, z = normals(4, 3), covariances(4, 3), normals(7, 4, 3, seed=1)
    other_mean, other_covariance = normals(4, 3, seed=2), covariances(4, 3, seed=3)
    gaussian = NaturalGaussian.from_moments(mean, covariance)
    other = NaturalGaussian.from_moments(other_mean, other_covariance)
    expected = MultivariateNormal(mean, covariance)
    torch.testing.assert_close(gaussian.log_prob(z), expected.log_prob(z))
    torch.testing.assert_close(
        gaussian.kl(other),
        kl_divergence(expected, MultivariateNormal(other_mean, other_covariance)),
    )
    torch.testing.assert_close(gaussian.kl(gaussian), torch.zeros(4).double())


def test_product_matches_its_closed_formula():
    # For two experts: covariance A (A + B)^-1 B, mean B (A + B)^-1 a + A (A + B)^-1 b.
    a, b, A, B = normals(3), normals(3, seed=1), covariances(3), covariances(3, seed=1)
    product = NaturalGaussian.from_moments(a, A).product(NaturalGaussian.from_moments(b, B))
    both = torch.linalg.inv(A + B)
    torch.testing.assert_close(product.covariance, A @ both @ B)
    torch.testing.assert_close(product.mean, B @ both @ a + A @ both @ b)


def test_product_is_the_normalised_product_of_densities():
    experts = [
        NaturalGaussian.from_moments(0.5 * normals(2, seed=s), covariances(2, seed=s))
        for s in range(3)
    ]
    axis = torch.linspace(-6, 6, 401, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    product = sum(expert.log_prob(grid) for expert in experts).exp()
    product = product / (product.sum() * (axis[1] - axis[0]) ** 2)
    result = NaturalGaussian.product(*experts).log_prob(grid).exp()
    torch.testing.assert_close(result, product, rtol=1e-6, atol=1e-8)


def test_order_of_experts_does_not_matter_and_silent_ones_do_nothing():
    a, b, c = (
        NaturalGaussian.from_moments(normals(2, 3, seed=s), covariances(2, 3, seed=s))
        for s in range(3)
    )
    present = torch.tensor([1.0, 0.0]).double()
    silenced = a.product(b.power(present), c)
    torch.testing.assert_close(silenced.mean[0], c.product(b, a).mean[0])
    torch.testing.assert_close(silenced.mean[1], a.product(c).mean[1])


def test_samples_have_the_moments():
    mean, covariance = normals(2, 3), covariances(2, 3)
    gaussian = NaturalGaussian.from_moments(mean, covariance)
    noise = normals(40000, 1, 3, seed=5)
    z = gaussian.rsample(noise)
    assert z.shape == (40000, 2, 3)
    torch.testing.assert_close(z.mean(0), mean, atol=0.05, rtol=0.02)
    deviation = z - z.mean(0)
    empirical = torch.einsum("snk,snl->nkl", deviation, deviation) / len(z)
    torch.testing.assert_close(empirical, covariance, atol=0.1, rtol=0.03)
    # Without extra dimensions: one sample per row, the same as with a leading one.
    torch.testing.assert_close(gaussian.rsample(noise[0].expand(2, 3)), z[0])


def test_density_of_a_sample_is_known_from_its_noise():
    gaussian = NaturalGaussian.from_moments(normals(2, 3), covariances(2, 3))
    noise = normals(5, 1, 3, seed=1)
    torch.testing.assert_close(
        gaussian.log_prob_of_noise(noise), gaussian.log_prob(gaussian.rsample(noise))
    )


def test_samples_are_differentiable():
    precision = covariances(2, 3).requires_grad_()
    shift = normals(2, 3).requires_grad_()
    noise = normals(5, 1, 3)

    def sample(precision, shift):
        symmetric = (precision + precision.mT) / 2
        return NaturalGaussian(symmetric, shift).rsample(noise)

    assert torch.autograd.gradcheck(sample, (precision, shift))


def test_diagonal_is_full_on_a_diagonal_precision():
    mean, variance, z = normals(4, 3), normals(4, 3, seed=1).exp(), normals(7, 4, 3, seed=2)
    other = DiagonalNaturalGaussian.from_moments(normals(4, 3, seed=3), variance.flip(0))
    weight = torch.tensor([0.0, 0.5, 1.0, 2.0]).double()
    diagonal = DiagonalNaturalGaussian.from_moments(mean, variance)
    full = diagonal.to_full()
    for of_diagonal, of_full in [
        (diagonal.mean, full.mean),
        (diagonal.covariance, full.covariance),
        (diagonal.log_det_precision, full.log_det_precision),
        (diagonal.log_prob(z), full.log_prob(z)),
        (diagonal.rsample(z), full.rsample(z)),
        (diagonal.log_prob_of_noise(z), full.log_prob_of_noise(z)),
        (diagonal.kl(other), full.kl(other.to_full())),
        (
            diagonal.product(other.power(weight)).mean,
            full.product(other.to_full().power(weight)).mean,
        ),
    ]:
        torch.testing.assert_close(of_diagonal, of_full)
    torch.testing.assert_close(
        diagonal.log_prob(z), Normal(mean, variance.sqrt()).log_prob(z).sum(-1)
    )


@pytest.fixture
def linear_model():
    loadings, noise_variance = normals(6, 2), normals(6, seed=1).exp()
    x = normals(20, 6, seed=2)
    observed = normals(20, 6, seed=3) > 0
    observed[0], observed[1] = True, False
    return loadings, noise_variance, x, observed


def test_experts_give_the_conditional_of_the_joint_gaussian(linear_model):
    loadings, noise_variance, x, observed = linear_model
    posterior = gaussian_experts(loadings, noise_variance, x, observed)
    marginal = loadings @ loadings.T + torch.diag(noise_variance)
    for row in range(len(x)):
        seen = observed[row]
        gain = loadings[seen].T @ torch.linalg.inv(marginal[seen][:, seen])
        torch.testing.assert_close(posterior.mean[row], gain @ x[row, seen])
        torch.testing.assert_close(
            posterior.covariance[row], torch.eye(2).double() - gain @ loadings[seen]
        )


def test_experts_multiply_any_normal_prior(linear_model):
    loadings, noise_variance, x, observed = linear_model
    prior = NaturalGaussian(covariances(1, 2)[0], torch.zeros(2).double())
    assert not torch.allclose(prior.precision, torch.eye(2).double(), atol=0.1)
    standard = gaussian_experts(loadings, noise_variance, x, observed)
    other = gaussian_experts(loadings, noise_variance, x, observed, prior.precision)
    torch.testing.assert_close(
        other.precision, standard.precision - torch.eye(2).double() + prior.precision
    )
    torch.testing.assert_close(other.shift, standard.shift)
    torch.testing.assert_close(other.precision[1], prior.precision)  # nothing was observed


def test_experts_are_a_product_column_by_column(linear_model):
    loadings, noise_variance, x, observed = linear_model
    prior = NaturalGaussian(torch.eye(2).double(), torch.zeros(2).double())
    experts = [
        NaturalGaussian(
            torch.outer(loadings[j], loadings[j]) / noise_variance[j],
            x[:, j, None] * loadings[j] / noise_variance[j],
        ).power(observed[:, j].double())
        for j in range(6)
    ]
    product = prior.product(*experts)
    together = gaussian_experts(loadings, noise_variance, x, observed)
    torch.testing.assert_close(together.precision, product.precision)
    torch.testing.assert_close(together.shift, product.shift)


def test_without_observations_the_posterior_is_the_prior(linear_model):
    posterior = gaussian_experts(*linear_model)
    assert torch.equal(posterior.precision[1], torch.eye(2).double())
    assert torch.equal(posterior.shift[1], torch.zeros(2).double())


@pytest.mark.parametrize("garbage", [math.nan, math.inf, 1e300])
def test_hidden_values_cannot_matter(linear_model, garbage):
    loadings, noise_variance, x, observed = linear_model
    loadings.requires_grad_()
    results = []
    for rows in (x, x.where(observed, garbage)):
        posterior = gaussian_experts(loadings, noise_variance, rows, observed)
        loss = posterior.log_prob(torch.ones(2).double()).sum()
        results.append([posterior.mean, *torch.autograd.grad(loss, loadings)])
    for clean, dirty in zip(*results, strict=True):
        assert torch.isfinite(clean).all()
        assert torch.equal(clean, dirty)


def test_posterior_in_single_precision_keeps_up(linear_model):
    exact = gaussian_experts(*linear_model)
    single = gaussian_experts(*(t.float() if t.is_floating_point() else t for t in linear_model))
    torch.testing.assert_close(single.mean, exact.mean.float(), rtol=1e-4, atol=1e-5)
    assert single.rsample(torch.zeros(3, 1, 2)).dtype == torch.float32
