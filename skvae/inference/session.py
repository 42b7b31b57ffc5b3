"""The library's own torch settings, whatever those of the user's session are."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Concatenate, ParamSpec, Protocol, TypeVar

import torch

from skvae.inference.devices import active_device, landing


class Placed(Protocol):
    """Whatever is on a device."""

    @property
    def device(self) -> torch.device:
        """Where it is."""


Owner = TypeVar("Owner", bound=Placed)
Options = ParamSpec("Options")
Result = TypeVar("Result")


@contextmanager
def torch_defaults(grad: bool = False, device: torch.device | None = None) -> Iterator[None]:
    """Single precision, with or without gradients; also serves as a decorator.

    Parameters
    ----------
    grad : bool, default=False
    device : torch.device, optional
        Where new tensors land; by default where those of the fit under way do, else on the CPU.
    """
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.inference_mode(False), torch.set_grad_enabled(grad), landing(device):
            yield
    finally:
        torch.set_default_dtype(dtype)


def where_it_is(
    method: Callable[Concatenate[Owner, Options], Result],
) -> Callable[Concatenate[Owner, Options], Result]:
    """Decorate a method: it runs under `torch_defaults` on its object's own `device`."""

    @functools.wraps(method)
    def run(self: Owner, *args: Options.args, **kwargs: Options.kwargs) -> Result:
        with torch_defaults(device=self.device):
            return method(self, *args, **kwargs)

    return run


@contextmanager
def seeded_torch(seed: int) -> Iterator[list[torch.Generator]]:
    """Torch's global generators at a seed, and back to where they were."""
    generators = [torch.default_generator]
    if active_device().type == "cuda":
        generators.append(torch.cuda.default_generators[active_device().index])
    states = [generator.get_state() for generator in generators]
    try:
        for generator in generators:
            generator.manual_seed(seed)
        yield generators
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
