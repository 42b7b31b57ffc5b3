"""Sinh-arcsinh margins are a monotone change of variables."""

import pytest
import torch

from skvae.distributions.margins import inverse_sinh_arcsinh, sinh_arcsinh

SHAPES = [(0.0, 0.0), (0.6, 0.0), (-0.6, 0.3), (0.2, -0.5), (1.5, 0.7)]


def shape(skew, log_tail, dtype=torch.float64):
    return torch.tensor(skew, dtype=dtype), torch.tensor(log_tail, dtype=dtype)


@pytest.mark.parametrize("parameters", SHAPES)
def test_there_and_back(parameters):
    x = torch.linspace(-12, 12, 401, dtype=torch.float64)
    y, _ = sinh_arcsinh(x, *shape(*parameters))
    assert (y.diff() > 0).all()
    torch.testing.assert_close(inverse_sinh_arcsinh(y, *shape(*parameters)), x)
    single = shape(*parameters, torch.float32)
    back = inverse_sinh_arcsinh(sinh_arcsinh(x.float(), *single)[0], *single)
    torch.testing.assert_close(back, x.float(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("parameters", SHAPES)
def test_the_log_derivative_is_autograds(parameters):
    x = torch.linspace(-12, 12, 401, dtype=torch.float64, requires_grad=True)
    y, log_derivative = sinh_arcsinh(x, *shape(*parameters))
    (slope,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(log_derivative, slope.log())


def test_zero_is_the_identity():
    x = torch.linspace(-50, 50, 1001, dtype=torch.float64)
    y, log_derivative = sinh_arcsinh(x, *shape(0.0, 0.0))
    torch.testing.assert_close(y, x)
    torch.testing.assert_close(log_derivative, torch.zeros_like(x))


@pytest.mark.parametrize("parameters", SHAPES)
def test_densities_integrate_to_one(parameters):
    # In steps of asinh(x), so that heavy tails are covered.
    t = torch.linspace(-16, 16, 40001, dtype=torch.float64)
    y, log_derivative = sinh_arcsinh(t.sinh(), *shape(*parameters))
    density = torch.distributions.Normal(0.0, 1.0).log_prob(y) + log_derivative
    mass = torch.trapezoid(density.exp() * t.cosh(), t)
    torch.testing.assert_close(mass, torch.ones(()).double(), atol=1e-6, rtol=0)


def test_a_positive_skew_makes_a_right_skewed_column_symmetric():
    skew, log_tail = shape(0.5, 0.0)
    level = torch.tensor([0.05, 0.5, 0.95], dtype=torch.float64)
    x = inverse_sinh_arcsinh(torch.special.ndtri(level), skew, log_tail)
    assert x[2] - x[1] > 1.5 * (x[1] - x[0])


def test_gradients_are_finite_far_out():
    skew, log_tail = (part.requires_grad_() for part in shape(0.4, 0.3, torch.float32))
    x = torch.tensor([-1e6, -30.0, 0.0, 30.0, 1e6], requires_grad=True)
    y, log_derivative = sinh_arcsinh(x, skew, log_tail)
    for loss in (y.sum(), log_derivative.sum()):
        for gradient in torch.autograd.grad(loss, (x, skew, log_tail), retain_graph=True):
            assert torch.isfinite(gradient).all()
