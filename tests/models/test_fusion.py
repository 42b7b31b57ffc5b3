"""Products of experts match their formula, mixtures of them are densities."""

import pytest
import torch

from skvae.distributions.natural import NaturalGaussian
from skvae.models.fusion import FusedPosterior, Patterns, product, view_weights, views

K, N_CLUSTERS = 2, 3


def posterior(n=4, temperature=1.0, n_views=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(2, K, K, generator=generator)
    within = 1.5 * torch.eye(K)
    centres = torch.randn(N_CLUSTERS, K, generator=generator)
    patterns = Patterns.from_precision(root @ root.mT + within, centres, within)
    which = torch.arange(n) % 2
    log_weights = torch.tensor([0.2, 0.3, 0.5]).log()
    own = log_weights - 0.5 * (centres @ within * centres).sum(1)
    shifts = torch.randn(n_views, n, K, generator=generator)
    parts = tuple(product(shift, which, patterns, own, temperature) for shift in shifts)
    weights = torch.full((n, n_views), 1 / n_views)
    return FusedPosterior(parts, weights), (root @ root.mT, within, centres, log_weights, shifts)


def test_clusters_multiply_with_experts():
    fused, (precision, within, centres, log_weights, shifts) = posterior()
    for row, which in enumerate([0, 1, 0, 1]):
        expert = NaturalGaussian(precision[which], shifts[0, row])
        z = torch.randn(6, K, generator=torch.Generator().manual_seed(row))
        # Up to a constant: the expert times the prior's mixture.
        log_expert = z @ expert.shift - 0.5 * (z @ expert.precision * z).sum(1)
        away = z.unsqueeze(1) - centres
        log_prior = (log_weights - 0.5 * (away @ within * away).sum(-1)).logsumexp(-1)
        gap = fused.log_prob_at(z.expand(1, 4, -1, -1))[0, row] - log_expert - log_prior
        assert torch.allclose(gap, gap[:1].expand(6), atol=1e-4)


@pytest.mark.parametrize("n_views", [1, 3])
@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_density_integrates_to_one(n_views, temperature):
    fused, _ = posterior(temperature=temperature, n_views=n_views)
    line = torch.linspace(-12, 12, 401)
    grid = torch.cartesian_prod(line, line)
    density = fused.log_prob_at(grid.expand(1, 4, -1, -1))[0].double().exp()
    total = density.sum(1) * float(line[1] - line[0]) ** 2
    assert torch.allclose(total, torch.ones(4, dtype=total.dtype), atol=1e-3)


@pytest.mark.parametrize("n_views", [1, 3])
def test_samples_have_the_moments(n_views):
    fused, _ = posterior(n_views=n_views)
    mean, deviation = fused.moments(None)
    noise = torch.randn(40_000, K, generator=torch.Generator().manual_seed(3))
    z, log_q = fused.rsample(noise)
    assert torch.allclose(z.mean(2), mean, atol=0.03)
    assert torch.allclose(z.std(2), deviation, rtol=0.03)
    assert torch.allclose(log_q, fused.log_prob_at(z))
    assert fused.sample(torch.Generator().manual_seed(0)).shape == (1, 4, K)


def moves(n=4):
    move, log_scale = 0.5 * torch.randn(2, 1, n, K, generator=torch.Generator().manual_seed(8))
    return move, log_scale


@pytest.mark.parametrize("n_views", [1, 3])
def test_moved_posteriors_are_densities_with_their_moments(n_views):
    fused, _ = posterior(n_views=n_views)
    moved = fused.shifted(*moves())
    line = torch.linspace(-12, 12, 401)
    grid = torch.cartesian_prod(line, line)
    density = moved.log_prob_at(grid.expand(1, 4, -1, -1))[0].double().exp()
    total = density.sum(1) * float(line[1] - line[0]) ** 2
    assert torch.allclose(total, torch.ones(4, dtype=total.dtype), atol=2e-3)
    mean, deviation = moved.moments(None)
    noise = torch.randn(40_000, K, generator=torch.Generator().manual_seed(3))
    z, log_q = moved.rsample(noise)
    assert torch.allclose(z.mean(2), mean, atol=0.03)
    assert torch.allclose(z.std(2), deviation, rtol=0.03)
    assert torch.allclose(log_q, moved.log_prob_at(z))


def test_moves_add_up():
    fused, _ = posterior()
    move, log_scale = moves()
    noise = torch.randn(50, K, generator=torch.Generator().manual_seed(3))
    twice = fused.shifted(0.3 * move, 0.3 * log_scale).shifted(0.7 * move, 0.7 * log_scale)
    for one, other in zip(
        fused.shifted(move, log_scale).rsample(noise), twice.rsample(noise), strict=True
    ):
        assert torch.allclose(one, other, atol=1e-5)
    nowhere = fused.shifted(0 * move, 0 * log_scale)
    for one, other in zip(fused.rsample(noise), nowhere.rsample(noise), strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_views_are_those_of_the_papers():
    assert views(3, "poe").tolist() == [[True, True, True]]
    assert views(3, "moe").sum(1).tolist() == [1, 1, 1]
    assert len(views(3, "mopoe")) == 7


def test_what_views_share_with_a_row_is_each_of_its_subsets_as_often():
    present = torch.tensor([[True, False, True], [False, True, False], [False, False, False]])
    each = views(3, "mopoe")
    weights = view_weights(each, present)
    assert torch.allclose(weights.sum(1), torch.ones(3))
    for row, subsets in zip(range(2), (3, 1), strict=True):
        share = {}
        for view, weight in zip(each & present[row], weights[row].tolist(), strict=True):
            share[tuple(view.tolist())] = share.get(tuple(view.tolist()), 0.0) + weight
        share = {view: weight for view, weight in share.items() if weight}
        assert len(share) == subsets
        assert all(weight == pytest.approx(1 / subsets) for weight in share.values())
        assert not share.get((False, False, False))


def test_single_views_of_absent_blocks_have_no_weight():
    present = torch.tensor([[True, False, True]])
    assert view_weights(views(3, "moe"), present).tolist() == [[0.5, 0.0, 0.5]]


def test_of_too_many_subsets_all_blocks_and_random_ones():
    each = views(10, "mopoe")
    assert each.shape == (63, 10)
    assert each[0].all()
    assert each.any(1).all()
    assert 0.4 < each.float().mean() < 0.6
    assert torch.equal(each, views(10, "mopoe"))
