"""Independent component analysis by nonstationarity: axes, means and scales given a context."""

import math

import pytest
import torch

from skvae.models.sources import LOG_SQUARE, LinearEffect, Sources


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def sources(n=20_000, k=3, uncertainty=0.0):
    """Standardised contexts, sources with log scales and means linear in them, and a mixing."""
    context = normal(n, 4, seed=1)
    slope = 0.4 * normal(4, k, seed=2)
    effect = 0.5 * normal(4, k, seed=3)
    scale = (context @ slope).exp()
    noise = normal(n, k, seed=4) * (1 - uncertainty) ** 0.5
    return context, context @ effect + scale * noise, effect, slope


def certain(k=3):
    return torch.zeros(1, k, k, dtype=torch.float64)


def unscaled_product(axes, mixing):
    """Of what was mixed and what unmixes, rows of length one."""
    product = axes @ mixing
    return product / product.norm(dim=1, keepdim=True)


def test_mixed_sources_are_found_up_to_order_and_sign():
    context, s, _, _ = sources()
    mixing = normal(3, 3, seed=6)
    found = Sources.find(s @ mixing.mT, certain(), context, torch.ones(len(s)).double())
    recovered = unscaled_product(found.axes, mixing).abs()
    assert (recovered.max(dim=1).values > 0.995).all()
    assert sorted(recovered.argmax(dim=1).tolist()) == [0, 1, 2]


def test_contexts_that_say_nothing_leave_the_axes_open():
    """Without nonstationarity all turns of white latents fit, and given ones are taken."""
    z, context = normal(5000, 2), normal(5000, 1, seed=1)
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]]).double()
    weight = torch.ones(5000).double()
    found, straight = (
        Sources.find(z, certain(2), context, weight, each) for each in (turn, torch.eye(2).double())
    )
    torch.testing.assert_close(found.axes, turn.mT @ straight.axes, atol=0.05, rtol=0)
    assert found.log_scale.slope.abs().max() < 0.05


def test_means_and_scales_given_the_context_are_found():
    context, s, effect, slope = sources()
    mixing = normal(3, 3, seed=6)
    found = Sources.find(s @ mixing.mT, certain(), context, torch.ones(len(s)).double())
    product = found.axes @ mixing
    own = product.abs().argmax(dim=1)
    gain = product[torch.arange(3), own]
    torch.testing.assert_close(found.mean.slope, effect[:, own] * gain, atol=0.12, rtol=0)
    torch.testing.assert_close(found.log_scale.slope, slope[:, own], atol=0.1, rtol=0)
    torch.testing.assert_close(found.log_scale.intercept, gain.abs().log(), atol=0.1, rtol=0)


def test_axes_have_length_one():
    """A standard normal latent then gives sources of variance one."""
    context, s, _, _ = sources(2000)
    found = Sources.find(s, certain(), context, torch.ones(2000).double())
    torch.testing.assert_close(found.axes.norm(dim=1), torch.ones(3).double())


def test_uncertainty_is_part_of_the_scales():
    """Posterior means vary less than latents: what rows leave open is added."""
    n = 20_000
    z, context = 0.6 * normal(n, 2), normal(n, 1, seed=1)
    open_still = 0.64 * torch.eye(2).double().expand(1, 2, 2)
    found = Sources.find(z, open_still, context, torch.ones(n).double(), torch.eye(2).double())
    torch.testing.assert_close(
        found.log_scale.intercept, torch.zeros(2).double(), atol=0.05, rtol=0
    )


def test_a_weight_of_two_is_a_row_twice():
    context, s, _, _ = sources(300)
    weight = 1 + (torch.arange(300) % 3 == 0).double()
    rows = torch.arange(300).repeat_interleave(weight.long())
    one = Sources.find(s, certain(), context, weight)
    two = Sources.find(s[rows], certain(), context[rows], torch.ones(len(rows)).double())
    torch.testing.assert_close(one.axes, two.axes)
    for name in ("mean", "log_scale"):
        torch.testing.assert_close(getattr(one, name)(context), getattr(two, name)(context))


def test_linear_effects_are_least_squares_up_to_the_ridge():
    context, weight = normal(500, 3), torch.rand(500, generator=torch.Generator()).double()
    y = normal(500, 2, seed=1) + context @ normal(3, 2, seed=2) + 1.0
    fitted = LinearEffect.fit(context, y, weight)
    design = torch.cat([context, torch.ones(500, 1).double()], 1) * weight.sqrt()[:, None]
    exact = torch.linalg.lstsq(design, y * weight.sqrt()[:, None]).solution
    torch.testing.assert_close(
        torch.cat([fitted.slope, fitted.intercept[None]]), exact, atol=5e-3, rtol=0
    )
    torch.testing.assert_close(fitted(context), context @ fitted.slope + fitted.intercept)


def test_the_logarithm_of_a_squared_normal_has_this_mean():
    """Digamma of a half plus the logarithm of two."""
    exact = torch.digamma(torch.tensor(0.5).double()) + math.log(2)
    assert float(exact) == pytest.approx(LOG_SQUARE, abs=1e-12)
