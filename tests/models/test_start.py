"""The generalised linear decoder that a linear VAE implies keeps the margins."""

import math

import pytest
import torch

from skvae.distributions import (
    Bernoulli,
    Categorical,
    ColumnLikelihoods,
    Gaussian,
    LogNormal,
    Ordinal,
    Poisson,
    StudentT,
)
from skvae.models import LinearVAE
from skvae.models.start import DecoderStart, FeatureSpec, decoder_start


def standard_normal(k, n=20000):
    return torch.randn(n, k, generator=torch.Generator().manual_seed(0))


def start_of(likelihood, loadings, spec, noise=0.5, **options):
    d = len(loadings)
    linear = LinearVAE(loadings, torch.full((d,), 0.1), torch.full((d,), noise))
    table = ColumnLikelihoods([likelihood])
    return table, decoder_start(linear, table, [spec], torch.zeros(table.n_free), **options)


def marginal(table, start):
    """Probabilities averaged over the prior of z."""
    z = standard_normal(len(start.weight))
    return table.statistics(z @ start.weight + start.bias, start.free).mean(0)


def indicator_loadings(p, between, seed=0):
    """Loadings of indicator z-scores when categories explain a share `between` of z at most."""
    p = torch.tensor(p)
    means = torch.randn(len(p), 2, generator=torch.Generator().manual_seed(seed))
    means = means - p @ means
    variance = torch.linalg.eigvalsh((means * p[:, None]).mT @ means).max()
    means = means * (between / variance).sqrt()
    return means * p[:, None] / (p * (1 - p)).sqrt()[:, None]


@pytest.mark.parametrize(
    ("between", "tolerance"), [(0.0, 1e-4), (0.2, 0.01), (0.5, 0.04), (0.8, 0.1)]
)
@pytest.mark.parametrize("p", [(0.5, 0.3, 0.2), (0.9, 0.05, 0.05), (0.25,) * 4])
@pytest.mark.parametrize("seed", range(3))
def test_categories_keep_their_frequencies(p, between, tolerance, seed):
    spec = FeatureSpec(slice(0, len(p)), 0.0, 1.0, probabilities=p)
    loadings = indicator_loadings(p, between, seed)
    table, start = start_of(Categorical(len(p)), loadings, spec)
    # Exact when categories say nothing about z, an approximation that loosens as they say more.
    torch.testing.assert_close(marginal(table, start), torch.tensor(p), atol=tolerance, rtol=0)


@pytest.mark.parametrize("size", [0.0, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("p", [0.5, 0.2, 0.05])
def test_binary_columns_keep_their_frequencies(p, size):
    spec = FeatureSpec(slice(0, 1), p, math.sqrt(p * (1 - p)), probabilities=(1 - p, p))
    loadings = torch.tensor([[size, 0.0]])
    table, start = start_of(Bernoulli(), loadings, spec)
    torch.testing.assert_close(marginal(table, start)[1].item(), p, atol=0.06, rtol=0)
    # The loading says which way the code goes.
    assert (start.weight[0] > 0).all() if size else (start.weight == 0).all()


@pytest.mark.parametrize("size", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("p", [(0.5, 0.3, 0.2), (0.1, 0.1, 0.1, 0.7), (0.4, 0.6)])
def test_cut_points_keep_the_frequencies(p, size):
    spec = FeatureSpec(slice(0, 1), 0.0, 1.0, probabilities=p)
    loadings = torch.tensor([[size, 0.0]])
    table, start = start_of(Ordinal(len(p)), loadings, spec, noise=max(1 - size**2, 0.05))
    torch.testing.assert_close(marginal(table, start), torch.tensor(p), atol=0.03, rtol=0)
    assert (Ordinal(len(p)).cut_points(start.free[None]).diff() > 0).all()
    assert (start.weight[0] > 0).all() if size else (start.weight == 0).all()


@pytest.mark.parametrize(
    ("likelihood", "p"), [(Categorical(3), (0.5, 0.5, 0.0)), (Ordinal(3), (0.0, 0.4, 0.6))]
)
def test_unseen_levels_and_perfect_relations_stay_finite(likelihood, p):
    width = 3 if isinstance(likelihood, Categorical) else 1
    spec = FeatureSpec(slice(0, width), 0.0, 1.0, probabilities=p)
    loadings = torch.eye(3, 2)[:width]
    _, start = start_of(likelihood, loadings, spec, noise=1e-3)
    for part in (start.weight, start.bias, start.free):
        assert torch.isfinite(part).all()


def test_numbers_keep_their_loadings_on_the_scale_of_their_link():
    loadings = torch.tensor([[0.6, -0.3]])
    plain = FeatureSpec(slice(0, 1), 5.0, 3.0)
    for kind in (Gaussian(), StudentT()):
        _, start = start_of(kind, loadings, plain)
        torch.testing.assert_close(start.weight, loadings.mT)
        assert start.bias.item() == pytest.approx(0.1)
        assert start.free[0].item() == pytest.approx(0.5 * math.log(0.5))
    # log x = 3 feature + 5 and the target is x / exp(5).
    logarithm = FeatureSpec(slice(0, 1), 5.0, 3.0, offset=-5.0)
    _, start = start_of(LogNormal(), loadings, logarithm)
    torch.testing.assert_close(start.weight, 3 * loadings.mT)
    assert start.bias.item() == pytest.approx(0.3)
    assert start.free.item() == pytest.approx(math.log(3 * math.sqrt(0.5)))
    _, start = start_of(Poisson(), loadings, FeatureSpec(slice(0, 1), 2.0, 0.5))
    torch.testing.assert_close(start.weight, 0.5 * loadings.mT)
    assert start.bias.item() == pytest.approx(2.05)


def test_a_noise_scale_may_be_given():
    spec = FeatureSpec(slice(0, 1), 0.0, 1.0)
    _, start = start_of(Gaussian(), torch.tensor([[0.6]]), spec, log_noise_scale=-1.5)
    assert start.free.item() == -1.5


def test_a_mixed_table_starts_column_by_column(toys):
    data = toys.mixed_tensors()
    linear = toys.linear_vae(data.features.shape[1], 2)
    table = ColumnLikelihoods(data.likelihoods)
    free = torch.randn(table.n_free, generator=toys.seeded(5))
    together = decoder_start(linear, table, data.specs, free)
    for j, likelihood in enumerate(data.likelihoods):
        one = ColumnLikelihoods([likelihood])
        alone = decoder_start(linear, one, [data.specs[j]], free[table.free_columns == j])
        mine = table.driven_columns == j
        torch.testing.assert_close(together.weight[:, mine], alone.weight)
        torch.testing.assert_close(together.bias[mine], alone.bias)
        torch.testing.assert_close(together.free[table.free_columns == j], alone.free)


def test_a_decoder_of_other_latents_says_the_same(toys):
    """The first latents are mapped, columns given to the decoder stay as they are."""
    g = toys.seeded()
    weight, axes = torch.randn(5, 7, generator=g), torch.randn(3, 3, generator=g)
    start = DecoderStart(weight, torch.randn(7, generator=g), torch.randn(2, generator=g))
    other = start.along(axes)
    z, given = torch.randn(20, 3, generator=g), torch.randn(20, 2, generator=g)
    before = torch.cat([z, given], 1) @ start.weight + start.bias
    after = torch.cat([z @ axes.mT, given], 1) @ other.weight + other.bias
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)
    assert torch.equal(other.weight[3:], weight[3:])
    assert torch.equal(other.free, start.free)
