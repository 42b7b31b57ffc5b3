"""A mixture as the prior of the linear VAE of blocks: everything keeps its closed form."""

from dataclasses import replace

import torch
from scipy.stats import multivariate_normal

from skvae.models.blocks import fit_block_linear_vae
from skvae.models.clusters import ClusteredBlocks, fit_clusters

BLOCK_OF = torch.tensor([0, 0, 0, 1, 1, 1, 1])


def clustered_rows(n=240, seed=0):
    """Three kinds of rows; blocks are related through the kind alone."""
    generator = torch.Generator().manual_seed(seed)
    centres = 3 * torch.randn(3, 7, generator=generator, dtype=torch.float64)
    kind = torch.arange(n) % 3
    x = centres[kind] + torch.randn(n, 7, generator=generator, dtype=torch.float64)
    x = (x - x.mean(0)) / x.std(0)
    observed = torch.ones(n, 7, dtype=torch.bool)
    observed[: n // 3, :3] = False
    observed[n // 3 : n // 2, 3:] = False
    observed[-5:, 1] = False
    return x, observed, kind


def fitted(n_clusters=3, **options):
    x, observed, kind = clustered_rows()
    blocks = fit_block_linear_vae(x, observed, BLOCK_OF, 4, **options)
    return fit_clusters(blocks, x, observed, n_clusters), x, observed, kind


def density(model, x, observed):
    """Of the observed columns of one row, from the covariance matrix of each cluster."""
    point = model.blocks.point
    loadings, noise = point.loadings[observed], point.noise_variance[observed]
    covariance = loadings @ torch.linalg.inv(model.within) @ loadings.mT + torch.diag(noise)
    each = [
        float(weight) + multivariate_normal(mean, covariance).logpdf(x[observed])
        for weight, mean in zip(
            model.log_weights, model.centres @ loadings.mT + point.mean[observed], strict=True
        )
    ]
    return torch.tensor(each).logsumexp(0)


def test_log_prob_is_that_of_a_mixture_of_gaussians():
    model, x, observed, _ = fitted()
    some = [0, 90, 130, 239]
    expected = torch.stack([density(model, x[i], observed[i]) for i in some])
    assert torch.allclose(model.log_prob(x[some], observed[some]), expected, atol=1e-8)


def test_one_cluster_is_the_linear_model():
    model, x, observed, _ = fitted()
    single = ClusteredBlocks.single(model.blocks)
    assert torch.allclose(single.mean(x, observed), model.blocks.moments(x, observed)[0])
    exact = model.blocks.point.log_prob(x[:5], observed[:5])
    assert torch.allclose(single.log_prob(x[:5], observed[:5]), exact, atol=1e-8)


def test_clusters_are_found_and_make_rows_more_likely():
    model, x, observed, kind = fitted()
    whole = torch.ones_like(observed)
    found = model.responsibilities(x, whole).argmax(1)
    for c in range(3):
        assert (kind[found == c].bincount(minlength=3).max() / (found == c).sum()) > 0.9
    single = ClusteredBlocks.single(model.blocks)
    assert model.log_prob(x, whole).mean() > single.log_prob(x, whole).mean()


def test_an_absent_block_is_predicted_better_with_clusters():
    model, x, observed, _ = fitted()
    shown = torch.ones_like(observed)
    shown[:, 3:] = False
    single = ClusteredBlocks.single(model.blocks)
    errors = [(m.conditional_mean(x, shown) - x)[:, 3:].square().mean() for m in (model, single)]
    assert errors[0] < errors[1]


def test_hidden_values_do_not_matter():
    model, x, observed, _ = fitted()
    other = x.where(observed, 1e6)
    assert torch.equal(model.mean(x, observed), model.mean(other, observed))
    assert torch.equal(model.log_prob(x, observed), model.log_prob(other, observed))


def test_private_dimensions_stay_out_of_clusters_and_other_blocks():
    x, observed, _ = clustered_rows()
    own = torch.randn(len(x), 1, generator=torch.Generator().manual_seed(1), dtype=x.dtype)
    x[:, :3] += 3 * own  # all columns of one block move together, and nothing else does
    blocks = fit_block_linear_vae(x, observed, BLOCK_OF, 2, n_private=1)
    model = fit_clusters(blocks, x, observed, 3, shared=torch.tensor([True, True, False, False]))
    assert torch.equal(model.centres[:, 2:], torch.zeros(3, 2, dtype=x.dtype))
    assert torch.allclose(model.within[2:, 2:], torch.eye(2, dtype=x.dtype))
    assert blocks.point.loadings[BLOCK_OF == 1][:, 2].abs().max() < 1e-6
    assert blocks.point.loadings[BLOCK_OF == 0][:, 3].abs().max() < 1e-6


def test_weights_are_powers_of_experts():
    x, observed, _ = clustered_rows()
    weights = torch.tensor([2.0, 0.5], dtype=torch.float64)
    model = fit_block_linear_vae(x, observed, BLOCK_OF, 3, block_weights=weights)
    plain = fit_block_linear_vae(x, observed, BLOCK_OF, 3)
    weighted = replace(plain, weights=weights)
    for block, weight in enumerate(weights):
        mine, theirs = (m.expert(block, x[-3:], observed[-3:]) for m in (weighted, plain))
        assert torch.allclose(mine.precision, weight * theirs.precision)
        assert torch.allclose(mine.shift, weight * theirs.shift)
    assert not torch.allclose(model.point.loadings, plain.point.loadings)
