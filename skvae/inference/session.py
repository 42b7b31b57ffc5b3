"""The library's own torch settings, whatever those of the user's session are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch


@contextmanager
def torch_defaults(grad: bool = False) -> Iterator[None]:
    """Single precision on the CPU, with or without gradients; also serves as a decorator."""
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    # Naming a device costs microseconds in every operation: only where another one is the default.
    elsewhere = torch.get_default_device().type != "cpu"
    device = torch.device("cpu") if elsewhere else nullcontext()
    try:
        with torch.inference_mode(False), torch.set_grad_enabled(grad), device:
            yield
    finally:
        torch.set_default_dtype(dtype)


@contextmanager
def seeded_torch(seed: int) -> Iterator[None]:
    """Torch's global generator at a seed, and back to where it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
