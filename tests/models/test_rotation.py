"""Turned latents: another look at the same model."""

import pytest
import torch

from skvae.models.blocks import fit_block_linear_vae
from skvae.models.rotation import rotated, varimax


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
