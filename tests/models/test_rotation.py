"""Turned latents: another look at the same model."""

import pytest
import torch

from skvae.models.blocks import fit_block_linear_vae
from skvae.models.linear import LinearVAE, fit_linear_vae
from skvae.models.rotation import (
    joint_diagonaliser,
    promax_axes,
    random_rotation,
    rotated,
    turned,
    varimax,
)


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def spread(loadings):
    """Kaiser's criterion: variance of squared loadings, summed over latents."""
    return float(loadings.square().var(0, correction=0).sum())


def test_varimax_is_a_rotation_that_raises_its_criterion():
    loadings = normal(12, 4)
    turn = varimax(loadings)
    assert torch.allclose(turn @ turn.mT, torch.eye(4, dtype=turn.dtype), atol=1e-10)
    assert spread(loadings @ turn) > spread(loadings) + 0.1
    # No small turn of any two latents raises it further.
    for i in range(4):
        for j in range(i):
            for angle in (-0.05, 0.05):
                small = torch.eye(4, dtype=turn.dtype)
                small[i, i] = small[j, j] = torch.tensor(angle).cos()
                small[i, j], small[j, i] = torch.tensor(angle).sin(), -torch.tensor(angle).sin()
                assert spread(loadings @ turn @ small) < spread(loadings @ turn)


def test_simple_structure_is_found():
    simple = torch.block_diag(*(normal(5, 1, seed=s) for s in range(3)))
    mixed = simple @ torch.linalg.qr(normal(3, 3, seed=9))[0]
    found = mixed @ varimax(mixed)
    assert ((found.abs() > 1e-3).sum(1) == 1).all()


@pytest.mark.parametrize("n_private", [0, 1])
def test_densities_and_predictions_stay(n_private):
    x = normal(200, 3) @ normal(3, 9, seed=1) + 0.3 * normal(200, 9, seed=2)
    observed = torch.rand(200, 9, generator=torch.Generator().manual_seed(3)) > 0.2
    block_of = torch.arange(9) // 3
    model = fit_block_linear_vae(x, observed, block_of, 3, n_private=n_private)
    turned = rotated(model, 3)
    assert not torch.allclose(turned.point.loadings, model.point.loadings, atol=0.05)
    for name in ("log_prob", "conditional_mean"):
        before, after = (getattr(each.point, name)(x, observed) for each in (model, turned))
        assert torch.allclose(before, after, atol=1e-8)
    assert torch.allclose(
        model.conditional_mean(x, observed), turned.conditional_mean(x, observed), atol=1e-8
    )
    private = turned.point.loadings[:, 3:]
    assert torch.equal(private, model.point.loadings[:, 3:])


def test_principal_axes_have_independent_posteriors_most_informative_first():
    x = normal(300, 3) @ normal(3, 8, seed=1) + 0.4 * normal(300, 8, seed=2)
    observed = torch.ones(300, 8, dtype=torch.bool)
    model = turned(fit_linear_vae(x, observed, 3), "principal", torch.Generator())
    precision = model.posterior(x, observed).precision[0]
    assert torch.allclose(precision, torch.diag(precision.diagonal()), atol=1e-8)
    assert (precision.diagonal().diff() < 0).all()
    assert (model.loadings.sum(0) > 0).all()


def test_of_probabilistic_pca_they_are_the_scaled_principal_components():
    """Tipping and Bishop (1999): ``W = U (L - s I)^(1/2)``, s the mean of the other eigenvalues."""
    x = normal(400, 6) @ normal(6, 6, seed=4)
    observed = torch.ones(400, 6, dtype=torch.bool)
    fitted = fit_linear_vae(x, observed, 2, isotropic=True, tol=1e-12, max_iter=5000, ridge=0.0)
    loadings = turned(fitted, "principal", torch.Generator()).loadings
    values, vectors = torch.linalg.eigh(torch.cov(x.mT, correction=0))
    noise = values[:-2].mean()
    expected = vectors[:, -2:].flip(-1) * (values[-2:].flip(-1) - noise).sqrt()
    signs = (loadings * expected).sum(0).sign()
    assert torch.allclose(loadings, signs * expected, atol=1e-3)


@pytest.mark.parametrize("how", ["principal", "varimax", "random"])
def test_the_model_is_the_same_however_it_is_turned(how):
    model = LinearVAE(normal(7, 3), normal(7, seed=1), normal(7, seed=2).square() + 0.1)
    other = turned(model, how, torch.Generator().manual_seed(5))
    assert not torch.allclose(other.loadings, model.loadings, atol=0.05)
    x = normal(20, 7, seed=3)
    observed = normal(20, 7, seed=4) > -0.5
    assert torch.allclose(model.log_prob(x, observed), other.log_prob(x, observed), atol=1e-10)


def test_random_rotations_are_orthogonal_and_favour_no_direction():
    generator = torch.Generator().manual_seed(0)
    each = torch.stack([random_rotation(3, generator) for _ in range(4000)])
    identity = torch.eye(3, dtype=each.dtype)
    assert torch.allclose(each @ each.mT, identity.expand(4000, 3, 3), atol=1e-10)
    assert each.mean(0).abs().max() < 0.05
    assert torch.allclose(each.square().mean(0), torch.full((3, 3), 1 / 3).to(each), atol=0.02)


@pytest.mark.parametrize("k", [2, 4])
def test_matrices_with_the_same_eigenvectors_are_diagonalised_jointly(k):
    basis = random_rotation(k, torch.Generator().manual_seed(3))
    matrices = basis @ torch.diag_embed(normal(5, k)) @ basis.mT
    before = matrices.clone()
    turn = joint_diagonaliser(matrices)
    assert torch.equal(matrices, before)
    assert torch.allclose(turn @ turn.mT, torch.eye(k).double(), atol=1e-10)
    left = turn.mT @ matrices @ turn
    assert torch.allclose(left, torch.diag_embed(left.diagonal(dim1=1, dim2=2)), atol=1e-8)
    # Axes are found up to order and sign.
    same = (turn.mT @ basis).abs()
    assert torch.allclose(same.sort(dim=1).values[:, -1], torch.ones(k).double(), atol=1e-8)


def off_diagonal(matrices, turn):
    left = turn.mT @ matrices @ turn
    return float((left - torch.diag_embed(left.diagonal(dim1=1, dim2=2))).square().sum())


def test_no_small_turn_diagonalises_disturbed_matrices_better():
    basis = random_rotation(3, torch.Generator().manual_seed(3))
    noise = 0.3 * normal(6, 3, 3, seed=1)
    matrices = basis @ torch.diag_embed(normal(6, 3)) @ basis.mT + noise + noise.mT
    turn = joint_diagonaliser(matrices)
    best = off_diagonal(matrices, turn)
    assert 0 < best < off_diagonal(matrices, torch.eye(3).double())
    for p in range(3):
        for q in range(p):
            for angle in (-0.03, 0.03):
                generator = torch.zeros(3, 3).double()
                generator[p, q], generator[q, p] = angle, -angle
                assert off_diagonal(matrices, turn @ torch.linalg.matrix_exp(generator)) > best


def test_one_symmetric_matrix_gives_its_eigenvectors():
    matrix = normal(4, 4)
    matrix = matrix + matrix.mT
    turn = joint_diagonaliser(matrix[None])
    values = (turn.mT @ matrix @ turn).diagonal().sort().values
    assert torch.allclose(values, torch.linalg.eigvalsh(matrix), atol=1e-8)


def test_promax_finds_simple_structure_of_correlated_latents():
    simple = torch.block_diag(*(normal(6, 1, seed=s) for s in range(3)))
    correlation = torch.tensor([[1.0, 0.6, 0.3], [0.6, 1.0, 0.1], [0.3, 0.1, 1.0]]).to(simple)
    # The same columns by independent latents, turned as varimax leaves them.
    mixed = simple @ torch.linalg.cholesky(correlation)
    mixed = mixed @ varimax(mixed)
    axes = promax_axes(mixed)
    found, implied = mixed @ torch.linalg.inv(axes), axes @ axes.mT
    assert torch.allclose(implied.diagonal(), torch.ones(3).to(implied))
    assert torch.allclose(found @ implied @ found.mT, mixed @ mixed.mT)  # the same covariance
    rest = found.abs().sort(dim=1).values[:, :2]
    assert rest.max() < 0.15 * found.abs().max()
    assert rest.square().sum() < 0.2 * mixed.abs().sort(dim=1).values[:, :2].square().sum()
