"""Normal variables that a logistic law hides: closed forms against quadrature."""

import math

import pytest
import torch
from scipy.stats import norm

from skvae.distributions.selection import (
    SCALES,
    WEIGHTS,
    hidden_value,
    log_interval,
    log_share,
)

NODES = 20001
# Slope, threshold, mean, variance: shallow, usual, steep, a step, and far from the threshold.
CASES = [
    (0.0, 0.0, 0.3, 1.0),
    (0.7, -0.4, 1.2, 2.0),
    (-2.0, 0.5, 0.0, 0.25),
    (8.0, 1.0, 0.2, 1.0),
    (-60.0, -0.5, 0.3, 0.6),
    (400.0, 0.5, 0.0, 1.0),
    (3.0, 2.5, 0.0, 0.3),
    (-3.0, -2.5, 0.0, 0.3),
]
# Reach below -10: of the share no digit is left in single precision.
FAR = [(40.0, 12.0, 0.0, 1.0), (-40.0, -12.0, 0.0, 1.0), (400.0, 4.0, -1.0, 0.09)]


def tensors(case, dtype=torch.float64):
    return [torch.tensor(number, dtype=dtype) for number in case]


def logistic(t):
    return torch.nn.functional.logsigmoid(t)


def mixture(t):
    """What the logistic curve is replaced by; in its tails only their logarithms differ."""
    parts = [
        math.log(w) + torch.special.log_ndtr(s * t) for w, s in zip(WEIGHTS, SCALES, strict=True)
    ]
    return torch.stack(parts).logsumexp(0)


def tilted(case, law):
    """Grid, and the logarithm of density times hiding probability times spacing."""
    slope, threshold, mean, variance = tensors(case)
    y = mean + variance.sqrt() * torch.linspace(-20, 20, NODES, dtype=torch.float64)
    log_density = -0.5 * (y - mean).square() / variance - 0.5 * (2 * math.pi * variance).log()
    return y, log_density + law(slope * (y - threshold)) + (y[1] - y[0]).log()


def draws(case, dtype, n=1 << 16):
    points = torch.quasirandom.SobolEngine(3, scramble=True, seed=0).draw(n, dtype=torch.float64)
    points = points.clamp(1e-7, 1 - 1e-7)
    component, uniform, noise = points[:, 0], points[:, 1], torch.special.ndtri(points[:, 2])
    parts = [part.to(dtype) for part in (component, uniform, noise)]
    return hidden_value(*(one.expand(n) for one in tensors(case, dtype)), *parts).double()


def test_the_mixture_is_the_logistic_curve():
    t = torch.linspace(-40, 40, 8001, dtype=torch.float64)
    parts = [w * torch.special.ndtr(s * t) for w, s in zip(WEIGHTS, SCALES, strict=True)]
    assert (sum(parts) - torch.sigmoid(t)).abs().max() < 1e-5
    assert math.isclose(sum(WEIGHTS), 1.0, abs_tol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_the_share_is_an_integral(case):
    expected = tilted(case, logistic)[1].logsumexp(0).exp()
    share = log_share(*tensors(case)).exp()
    torch.testing.assert_close(share, expected, atol=2e-5, rtol=0)
    torch.testing.assert_close(log_share(*tensors(case, torch.float32)).exp().double(), share)


@pytest.mark.parametrize("case", CASES + FAR)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_hidden_and_shown_are_all(case, dtype):
    slope, *rest = tensors(case, dtype)
    both = torch.stack([log_share(slope, *rest), log_share(-slope, *rest)])
    tolerance = {"atol": 1e-6, "rtol": 0}
    torch.testing.assert_close(both.logsumexp(0), torch.tensor(0.0, dtype=dtype), **tolerance)


def test_far_shares_of_a_step_keep_their_logarithm():
    # A steep law is a step, whose share is a normal tail however small.
    slope, threshold, mean, variance = tensors((1e5, 9.0, -1.0, 0.25), torch.float32)
    expected = norm.logsf(9.0, -1.0, 0.5)
    assert math.isclose(float(log_share(slope, threshold, mean, variance)), expected, rel_tol=1e-3)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_draws_follow_the_tilted_density(case, dtype):
    y, log_mass = tilted(case, logistic)
    mass, sd = log_mass.softmax(0), math.sqrt(case[3])
    mean = (mass * y).sum()
    variance = (mass * (y - mean).square()).sum()
    drawn = draws(case, dtype)
    assert abs(drawn.mean() - mean) < 0.01 * sd
    assert abs(drawn.var() / variance - 1) < 0.03
    levels = torch.tensor([0.01, 0.1, 0.5, 0.9, 0.99], dtype=torch.float64)
    expected = y[torch.searchsorted(mass.cumsum(0), levels)]
    torch.testing.assert_close(torch.quantile(drawn, levels), expected, atol=0.04 * sd, rtol=0)


@pytest.mark.parametrize("case", FAR)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_draws_follow_the_mixture_in_the_far_tail(case, dtype):
    y, log_mass = tilted(case, mixture)
    mass, threshold = log_mass.softmax(0), case[1]
    mean = (mass * y).sum()
    drawn = draws(case, dtype)
    spread = (mass * (y - mean).square()).sum().sqrt()
    assert abs(drawn.mean() - mean) < 0.05 * spread
    assert abs(drawn.std() / spread - 1) < 0.05
    assert (drawn - threshold).mean() * case[0] > 0
    levels = torch.tensor([0.05, 0.5, 0.95], dtype=torch.float64)
    expected = y[torch.searchsorted(mass.cumsum(0), levels)]
    torch.testing.assert_close(torch.quantile(drawn, levels), expected, atol=0.1 * spread, rtol=0)


@pytest.mark.parametrize("case", FAR)
def test_far_shares_are_the_mixtures(case):
    expected = tilted(case, mixture)[1].logsumexp(0)
    assert expected < -40
    for dtype in (torch.float32, torch.float64):
        share = log_share(*tensors(case, dtype)).double()
        torch.testing.assert_close(share, expected, rtol=1e-3, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_draws_are_finite_at_the_ends_of_the_uniform(dtype):
    ends = torch.tensor([0.0, 1.0], dtype=dtype)
    for case in CASES + FAR:
        for sign in (1.0, -1.0):
            slope, *rest = (part.expand(2, 2) for part in tensors(case, dtype))
            component, uniform = torch.meshgrid(ends, ends, indexing="ij")
            drawn = hidden_value(sign * slope, *rest, component, uniform, torch.zeros(2, 2))
            assert torch.isfinite(drawn).all()


@pytest.mark.parametrize("case", [*CASES, *FAR, (60.0, 50.0, 0.0, 1e-3), (-60.0, 50.0, 0.0, 1e-3)])
def test_gradients_are_finite(case):
    slope, threshold, mean, variance = (
        part.requires_grad_() for part in tensors(case, torch.float32)
    )
    for sign in (1.0, -1.0):
        share = log_share(sign * slope, threshold, mean, variance)
        assert torch.isfinite(share)
        for gradient in torch.autograd.grad(share, (slope, threshold, mean, variance)):
            assert torch.isfinite(gradient)


def test_gradients_are_those_of_the_share():
    parts = [part.requires_grad_() for part in tensors((1.3, 0.2, -0.5, 0.8))]
    assert torch.autograd.gradcheck(log_share, parts)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_intervals_keep_their_mass_in_both_tails(dtype):
    lower = torch.tensor([-9.0, -3.0, -0.5, 0.0, 2.0, 8.0, 20.0, -40.0], dtype=dtype)
    upper = torch.tensor([-8.5, -1.0, 0.7, 6.0, 2.5, 9.0, 20.3, 40.0], dtype=dtype)
    low, high = lower.double(), upper.double()
    # Of the tail that the interval is in.
    flipped = low + high > 0
    near = torch.where(flipped, -low, high).numpy()
    far = torch.where(flipped, -high, low).numpy()
    ratio = torch.from_numpy(norm.logcdf(far) - norm.logcdf(near))
    expected = torch.from_numpy(norm.logcdf(near)) + torch.log(-torch.expm1(ratio))
    tolerance = {"rtol": 1e-5, "atol": 1e-5} if dtype == torch.float32 else {}
    torch.testing.assert_close(log_interval(lower, upper).double(), expected, **tolerance)
    middle = (low > -6) & (high < 6)
    by_difference = norm.cdf(high[middle]) - norm.cdf(low[middle])
    torch.testing.assert_close(expected[middle].exp(), torch.from_numpy(by_difference))


def test_intervals_mirror_and_add_up():
    edges = torch.linspace(-30, 30, 241, dtype=torch.float64)
    parts = log_interval(edges[:-1], edges[1:])
    torch.testing.assert_close(parts, parts.flip(0))
    torch.testing.assert_close(parts.logsumexp(0), torch.zeros(()).double(), atol=1e-12, rtol=0)


def test_gradients_of_intervals_are_finite():
    for low, high in [(-30.0, -29.0), (29.0, 30.0), (-1.0, 1.0), (0.0, 1e-4), (-9.0, 9.0)]:
        ends = [torch.tensor(end, requires_grad=True) for end in (low, high)]
        for gradient in torch.autograd.grad(log_interval(*ends), ends):
            assert torch.isfinite(gradient)
