"""Vectorised random draws that use a generator of their own, on any device."""

from __future__ import annotations

import torch
from torch import Tensor

# torch's Poisson sampler counts in 64-bit integers; rates beyond this would wrap around.
MAX_POISSON_RATE = 1e15


def fresh_generator(generator: torch.Generator | None) -> torch.Generator:
    """`generator`, or a new one seeded by the operating system; the global one stays untouched."""
    if generator is None:
        generator = torch.Generator()
        generator.seed()
    return generator


def normal_like(tensor: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal noise with the shape, dtype and device of `tensor`."""
    noise = torch.randn(
        tensor.shape, generator=generator, device=generator.device, dtype=tensor.dtype
    )
    return noise.to(tensor.device)


def uniform_like(tensor: Tensor, generator: torch.Generator) -> Tensor:
    """Uniform noise on [0, 1) with the shape, dtype and device of `tensor`."""
    noise = torch.rand(
        tensor.shape, generator=generator, device=generator.device, dtype=tensor.dtype
    )
    return noise.to(tensor.device)


def poisson(rate: Tensor, generator: torch.Generator) -> Tensor:
    """Poisson counts, in the shape, dtype and device of `rate`."""
    with torch.no_grad():
        bounded = rate.clamp(max=MAX_POISSON_RATE).to(generator.device)
        return torch.poisson(bounded, generator=generator).to(rate.device)


def standard_gamma(shape: Tensor, generator: torch.Generator) -> Tensor:
    """Gamma variates with the given shape parameters and scale one.

    The squeeze-free rejection method of Marsaglia and Tsang (2000), all pending entries at once;
    at least 95 % are accepted per round. torch's own sampler does not take a generator in its
    public interface.

    Parameters
    ----------
    shape : Tensor of any shape, positive
        Shape parameters; a NaN gives a NaN.
    generator : torch.Generator

    Returns
    -------
    Tensor like `shape`, without gradient.
    """
    alpha = shape.detach().to(generator.device).flatten()
    # The method needs a shape of at least one; G(a) = G(a + 1) U^(1/a) covers the rest (their
    # section 6).
    boosted = torch.where(alpha < 1, alpha + 1, alpha)
    d = boosted - 1 / 3
    c = (9 * d).rsqrt()
    result = torch.empty_like(d)
    pending = torch.arange(d.numel(), device=d.device)
    while pending.numel():
        d_pending = d[pending]
        normal = normal_like(d_pending, generator)
        uniform = uniform_like(d_pending, generator)
        v = (1 + c[pending] * normal) ** 3
        # Stated as rejection, so that the comparisons with NaN end the loop instead of prolonging
        # it for ever.
        excess = uniform.log() - 0.5 * normal**2 - d_pending * (1 - v + v.clamp(min=1e-30).log())
        rejected = (v <= 0) | (excess >= 0)
        result[pending] = d_pending * v
        pending = pending[rejected]
    shrink = uniform_like(alpha, generator) ** (1 / alpha)
    result = torch.where(alpha < 1, result * shrink, result)
    return result.reshape(shape.shape).to(shape.device)
