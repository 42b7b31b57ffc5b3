"""Each likelihood is a distribution: it integrates to one, has its mean, and draws from itself."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from scipy import stats

from skvae.distributions import (
    Bernoulli,
    Categorical,
    Gaussian,
    HeteroscedasticGaussian,
    LogNormal,
    NegativeBinomial,
    Ordinal,
    Poisson,
    StudentT,
)

# One column each: likelihood, driven, free, and a grid that holds (nearly) all the mass.
CASES = {
    "gaussian": (Gaussian(), [0.7], [-0.5], np.linspace(-12, 12, 40001)),
    "heteroscedastic": (
        HeteroscedasticGaussian(),
        [0.7, 0.4],
        [-0.5],
        np.linspace(-12, 12, 40001),
    ),
    "student": (StudentT(), [0.7], [-0.5, 3.0], np.linspace(-400, 400, 800001)),
    "lognormal": (LogNormal(), [0.3], [-0.7], np.linspace(1e-9, 60, 400001)),
    "bernoulli": (Bernoulli(), [0.8], [], np.arange(2.0)),
    "categorical": (Categorical(4), [0.3, -1.0, 2.0, 0.0], [], np.arange(4.0)),
    "ordinal": (Ordinal(5), [0.4], [-1.0, 0.5, -2.0, 1.0], np.arange(5.0)),
    "ordinal2": (Ordinal(2), [0.4], [-1.0], np.arange(2.0)),
    "poisson": (Poisson(), [1.7], [], np.arange(200.0)),
    "negative_binomial": (NegativeBinomial(), [1.2], [0.4], np.arange(1000.0)),
}
FINITE = [name for name, case in CASES.items() if hasattr(case[0], "n_categories")]
NUMERIC = [name for name in CASES if name != "categorical"]


def parameters(name, dtype=torch.float64):
    likelihood, driven, free, grid = CASES[name]
    return (
        likelihood,
        torch.tensor([driven], dtype=dtype),
        torch.tensor([free], dtype=dtype),
        torch.tensor(grid, dtype=dtype).unsqueeze(-1),
    )


def expectation(name, function):
    """E f(x) by quadrature or summation."""
    likelihood, driven, free, grid = parameters(name)
    weighted = (likelihood.log_prob(driven, free, grid).exp() * function(grid)).squeeze(-1)
    if likelihood.discrete:
        return float(weighted.sum())
    return float(torch.trapezoid(weighted, grid.squeeze(-1)))


@pytest.mark.parametrize("name", CASES)
def test_total_probability_is_one(name):
    assert expectation(name, torch.ones_like) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", NUMERIC)
def test_mean_is_the_mean_of_the_density(name):
    likelihood, driven, free, _ = parameters(name)
    expected = expectation(name, lambda x: x)
    assert likelihood.mean(driven, free).item() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_samples_follow_the_distribution(name, dtype):
    likelihood, driven, free, grid = parameters(name, dtype)
    generator = torch.Generator().manual_seed(1)
    sample = likelihood.sample(driven.expand(20000, 1, -1), free, generator)
    assert sample.shape == (20000, 1)
    assert sample.dtype == dtype
    x = sample.squeeze(-1).double().numpy()
    density = likelihood.log_prob(driven, free, grid).exp().squeeze(-1).double().numpy()
    grid = grid.squeeze(-1).double().numpy()
    if likelihood.discrete:
        edges, cdf = grid, np.cumsum(density)
    else:
        edges = np.quantile(x, np.linspace(0.02, 0.98, 25))
        steps = np.diff(grid) * (density[1:] + density[:-1]) / 2
        cdf = np.interp(edges, grid[1:], np.cumsum(steps))
    empirical = (x[:, None] <= edges[:25]).mean(0)
    # Kolmogorov's bound at a level of 1e-4 for 20000 draws is 0.0158.
    assert np.abs(empirical - cdf[:25]).max() < 0.0158


def test_log_prob_agrees_with_scipy():
    rng = np.random.default_rng(0)
    driven, first, second = rng.normal(size=(3, 200))
    real = driven + 2 * rng.normal(size=200)
    counts = rng.poisson(4, size=200).astype(float)
    mean, scale, r = np.exp(driven), np.exp(first), np.exp(first)
    df = 2 + np.log1p(np.exp(second))
    binary = (counts > 3).astype(float)
    for likelihood, free, x, expected in [
        (Gaussian(), [first], real, stats.norm.logpdf(real, driven, scale)),
        (StudentT(), [first, second], real, stats.t.logpdf(real, df, driven, scale)),
        (
            LogNormal(),
            [first],
            np.exp(real),
            stats.lognorm.logpdf(np.exp(real), scale, scale=np.exp(driven)),
        ),
        (Bernoulli(), [], binary, stats.bernoulli.logpmf(binary, 1 / (1 + np.exp(-driven)))),
        (Poisson(), [], counts, stats.poisson.logpmf(counts, mean)),
        (NegativeBinomial(), [first], counts, stats.nbinom.logpmf(counts, r, r / (r + mean))),
    ]:
        free = np.stack(free, -1) if free else np.zeros((200, 0))
        for dtype, tolerance in [(torch.float64, 1e-10), (torch.float32, 2e-5)]:
            arguments = [torch.tensor(a, dtype=dtype) for a in (driven[:, None], free, x)]
            result = likelihood.log_prob(*arguments)
            assert result.dtype == dtype
            np.testing.assert_allclose(result, expected, rtol=tolerance, atol=tolerance)


def test_categorical_is_a_softmax():
    logits = torch.randn(6, 3, 4, generator=torch.Generator().manual_seed(0))
    probs = Categorical(4).probs(logits, logits.new_zeros(3, 0))
    torch.testing.assert_close(probs, logits.softmax(-1))
    with pytest.raises(TypeError, match="no mean"):
        Categorical(4).mean(logits, logits.new_zeros(3, 0))


@pytest.mark.parametrize("name", FINITE)
def test_probs_are_the_masses(name):
    likelihood, driven, free, codes = parameters(name)
    probs = likelihood.probs(driven, free)
    assert probs.shape == (1, likelihood.n_categories)
    torch.testing.assert_close(
        probs.squeeze(0), likelihood.log_prob(driven, free, codes)[:, 0].exp()
    )


@pytest.mark.parametrize("name", sorted(set(CASES) - set(FINITE)))
def test_probs_are_for_finite_kinds_only(name):
    likelihood, driven, free, _ = parameters(name)
    with pytest.raises(TypeError, match="finitely many"):
        likelihood.probs(driven, free)


def test_ordinal_is_the_cumulative_logit_model():
    likelihood, driven, free, _ = parameters("ordinal")
    cuts = likelihood.cut_points(free)
    assert (cuts.diff() > 0).all()
    cumulative = likelihood.probs(driven, free).cumsum(-1)[..., :-1]
    torch.testing.assert_close(cumulative, torch.sigmoid(cuts - driven))


def test_ordinal_moves_up_with_its_location():
    _, _, free, _ = parameters("ordinal")
    location = torch.linspace(-8, 8, 50, dtype=torch.float64)[:, None, None]
    cumulative = Ordinal(5).probs(location, free).cumsum(-1)[..., :-1]
    assert (cumulative.diff(dim=0) < 0).all()
    assert (Ordinal(5).mean(location, free).diff(dim=0) > 0).all()


def test_ordinal_tail_is_accurate_where_differences_of_sigmoids_vanish():
    _, _, free, _ = parameters("ordinal")
    cuts = Ordinal(5).cut_points(free)[0]
    # Far out, sigma(a) - sigma(b) = e^a - e^b.
    location = -200.0
    expected = -(cuts[0] - location) + torch.log(-torch.expm1(-(cuts[1] - cuts[0])))
    result = Ordinal(5).log_prob(torch.tensor([[location]]).double(), free, torch.ones(1).double())
    torch.testing.assert_close(result[0], expected)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("value", [-100.0, -50.0, -1.0, 0.0, 50.0, 100.0])
def test_extreme_parameters_give_finite_losses_and_gradients(name, value):
    likelihood, driven, free, grid = parameters(name, torch.float32)
    # Alternating signs, so that the logits of nominal categories are far apart.
    signs = torch.tensor([1.0, -1.0]).repeat(2)[: likelihood.n_driven]
    driven = (torch.full_like(driven, value) * signs).requires_grad_()
    free.requires_grad_()
    x = grid[:: max(1, len(grid) // 50)]
    loss = likelihood.log_prob(driven, free, x).sum()
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(driven.grad).all()
    assert free.numel() == 0 or torch.isfinite(free.grad).all()
    assert torch.isfinite(likelihood.statistics(driven, free)).all()
    assert torch.isfinite(likelihood.sample(driven, free)).all()


@pytest.mark.parametrize("likelihood", [Poisson(), NegativeBinomial()])
def test_runaway_rates_keep_a_gradient_that_brings_them_back(likelihood):
    driven = torch.full((1, 1), 90.0, requires_grad=True)
    likelihood.log_prob(driven, torch.zeros(1, likelihood.n_free), torch.ones(1)).sum().backward()
    assert driven.grad.item() < -1e-3


def test_large_counts_keep_their_digits_in_single_precision():
    rate, counts = 1e6, torch.tensor([[1e6], [1.001e6], [0.998e6]])
    driven = torch.tensor([[math.log(rate)]])
    expected = stats.poisson.logpmf(counts.numpy(), math.exp(driven.item()))
    np.testing.assert_allclose(
        Poisson().log_prob(driven, torch.zeros(1, 0), counts), expected, atol=5e-3
    )


@pytest.mark.parametrize(
    ("likelihood", "limit", "free"),
    [
        (StudentT(), Gaussian(), lambda: torch.tensor([[0.2, 1e7]])),
        (NegativeBinomial(), Poisson(), lambda: torch.tensor([[15.0]])),
    ],
)
def test_limits_hold_in_single_precision(likelihood, limit, free):
    x = torch.arange(10.0).unsqueeze(-1)
    driven = torch.tensor([[1.0]])
    result = likelihood.log_prob(driven, free(), x)
    torch.testing.assert_close(
        result, limit.log_prob(driven, free()[..., : limit.n_free], x), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("name", sorted(set(CASES) - {"gaussian", "student", "heteroscedastic"}))
@pytest.mark.parametrize("x", [-1.0, 0.5, math.nan, math.inf, 1e6])
def test_outside_the_support_is_impossible_but_harmless(name, x):
    likelihood, driven, free, _ = parameters(name)
    inside = (name == "lognormal" and 0 < x < math.inf) or (
        name in ("poisson", "negative_binomial") and x == 1e6
    )
    driven.requires_grad_()
    result = likelihood.log_prob(driven, free, torch.tensor([x], dtype=torch.float64))
    assert torch.isfinite(result).all() if inside else (result == -math.inf).all()
    result.where(torch.tensor(inside), 0.0).sum().backward()
    assert torch.isfinite(driven.grad).all()


@pytest.mark.parametrize("name", CASES)
def test_leading_dimensions_broadcast(name):
    likelihood, driven, free, grid = parameters(name)
    x = grid[[0, 1, -1, 1]].expand(4, 3)
    driven = driven.expand(2, 4, 3, -1)
    member = free.expand(2, 1, 3, -1)
    result = likelihood.log_prob(driven, member, x)
    assert result.shape == (2, 4, 3)
    torch.testing.assert_close(
        result[1, 2], likelihood.log_prob(driven[0, 0], free.expand(3, -1), x[2])
    )
    assert likelihood.sample(driven, member).shape == (2, 4, 3)
    statistics = likelihood.statistics(driven, member)
    assert statistics.shape == (2, 4, 3, likelihood.n_statistics)
    assert likelihood.point(statistics).shape == (2, 4, 3)


def test_the_first_of_equal_levels_is_the_point():
    """However rounding may tell them apart."""
    third = torch.full((3, 3), 1 / 3) + 1e-7 * (torch.eye(3) - 0.5)
    assert Categorical(3).point(third).tolist() == [0, 0, 0]
    assert Categorical(3).point(torch.tensor([[0.2, 0.3, 0.5]])).tolist() == [2]
    half = torch.tensor([[0.5 - 1e-7, 0.5 + 1e-7], [0.5 + 1e-7, 0.5 - 1e-7], [0.4, 0.6]])
    assert Ordinal(2).point(half).tolist() == [0, 0, 1]


@pytest.mark.parametrize("name", CASES)
def test_sampling_needs_nothing_but_its_generator(name):
    likelihood, driven, free, _ = parameters(name)
    driven = driven.expand(50, 1, -1)
    before = torch.get_rng_state()
    draws = [
        likelihood.sample(driven, free, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)
    ]
    likelihood.sample(driven, free)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


@pytest.mark.parametrize("name", CASES)
def test_start_values_ignore_hidden_entries_and_survive_poor_columns(name):
    likelihood, driven, free, _ = parameters(name)
    generator = torch.Generator().manual_seed(0)
    x = likelihood.sample(driven.expand(60, 4, -1), free, generator)
    x[:, 1] = x[0, 1]  # constant
    observed = torch.rand(60, 4, generator=generator) < 0.7
    observed[:, 2] = False  # nothing seen
    observed[:, 3] = torch.arange(60) == 5  # one value
    for method, width in [("init_driven", likelihood.n_driven), ("init_free", likelihood.n_free)]:
        start = getattr(likelihood, method)
        result = start(x, observed)
        assert result.shape == (4, width)
        assert result.dtype == x.dtype
        assert torch.isfinite(result).all()
        for garbage in (math.nan, 1e30, -math.inf):
            assert torch.equal(start(x.where(observed, garbage), observed), result)


@pytest.mark.parametrize("name", CASES)
def test_start_values_are_near_the_truth(name):
    likelihood, driven, free, _ = parameters(name)
    generator = torch.Generator().manual_seed(0)
    x = likelihood.sample(driven.expand(20000, 1, -1), free, generator)
    observed = torch.rand(x.shape, generator=generator) < 0.8
    start = likelihood.init_driven(x, observed), likelihood.init_free(x, observed)
    truth = likelihood.log_prob(driven, free, x).mean()
    # Nats per entry lost against the truth; robust moments are not maximum likelihood.
    assert likelihood.log_prob(*start, x).mean() > truth - 0.02


def test_equal_likelihoods_are_one_value():
    assert Categorical(3) == Categorical(3)
    assert Categorical(3) != Ordinal(3)
    assert Gaussian() != StudentT()
    assert len({Gaussian(), Gaussian(), Ordinal(3), Ordinal(3), Ordinal(4)}) == 3
    for likelihood, *_ in CASES.values():
        assert pickle.loads(pickle.dumps(likelihood)) == likelihood == copy.deepcopy(likelihood)


@pytest.mark.parametrize(("kind", "n"), [(Categorical, 0), (Ordinal, 1)])
def test_impossible_numbers_of_categories_are_refused(kind, n):
    with pytest.raises(ValueError, match="n_categories"):
        kind(n)


@pytest.mark.parametrize("name", sorted(set(CASES) - set(FINITE)))
def test_variance_is_the_variance_of_the_density(name):
    likelihood, driven, free, _ = parameters(name)
    mean = expectation(name, lambda x: x)
    expected = expectation(name, lambda x: (x - mean) ** 2)
    # A t density with few degrees of freedom keeps a little of its variance beyond the grid.
    tolerance = 1e-3 if name in ("student", "heteroscedastic") else 1e-4
    assert likelihood.variance(driven, free).item() == pytest.approx(expected, rel=tolerance)


@pytest.mark.parametrize("name", FINITE)
def test_categories_have_no_variance(name):
    likelihood, driven, free, _ = parameters(name)
    with pytest.raises(TypeError, match="categories"):
        likelihood.variance(driven, free)


@pytest.mark.parametrize("name", sorted(set(CASES) - set(FINITE)))
def test_variances_broadcast_and_stay_finite(name):
    likelihood, driven, free, _ = parameters(name, torch.float32)
    member = free.expand(2, 1, 3, -1)
    for shift in (-100.0, 0.0, 100.0):
        variance = likelihood.variance((driven + shift).expand(2, 4, 3, -1), member)
        assert variance.shape == (2, 4, 3)
        assert torch.isfinite(variance).all()
        assert (variance >= 0).all()


def test_log_normal_numbers_are_finite_however_far_out():
    kind, far = LogNormal(), torch.tensor([[-1e8], [1e4], [3e38]])[:, None]
    free = torch.tensor([[3.0]])
    for moment in (kind.mean(far, free), kind.variance(far, free), kind.sample(far, free)):
        assert torch.isfinite(moment).all()
