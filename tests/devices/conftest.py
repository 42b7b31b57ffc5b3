"""A device that this machine does not have, pretended with the memory of the CPU.

Its tensors hold numbers, and using them together with tensors of the CPU is as wrong as it is
with those of a real accelerator.
"""

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

# Torch knows the name, and runs its gradients in the thread that asks for them.
PRETENDED = torch.device("lazy")
# Operations that may take tensors of several devices; the latter only places on the CPU.
BRIDGES = {"aten::copy_", "aten::_to_copy"}
INDEXING = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"}


class PretendedTensor(torch.Tensor):
    """Says that it is on the pretended device; `inner` is on the CPU."""

    @staticmethod
    def __new__(cls, inner):
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=PRETENDED,
        )
        made.inner = inner
        return made

    def __repr__(self):
        return f"PretendedTensor({self.inner})"

    def tolist(self):  # torch's own refuses subclasses
        return self.inner.tolist()

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        return _run(operation, args, kwargs or {})


def _run(operation, args, kwargs, double=True):
    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
    there = [x for x in tensors if isinstance(x, PretendedTensor)]
    here = [x for x in tensors if not isinstance(x, PretendedTensor) and x.ndim]
    name = operation._schema.name
    places = name in INDEXING and all(x.dtype in (torch.long, torch.bool) for x in here)
    fine = name in BRIDGES or (places and isinstance(args[0], PretendedTensor))
    if there and here and not fine:
        raise RuntimeError(f"{name} got tensors of both devices")
    asked = kwargs.get("device")
    if asked is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    bare_args, bare_kwargs = tree_map(
        lambda x: x.inner if isinstance(x, PretendedTensor) else x, (args, kwargs)
    )
    out = operation(*bare_args, **bare_kwargs)
    if name == "aten::copy_":
        return args[0]
    onto = bool(there) if asked is None else torch.device(asked) == PRETENDED
    if not onto:
        return out
    if not double and any(getattr(x, "dtype", None) == torch.float64 for x in tree_leaves(out)):
        raise RuntimeError(f"{name} made numbers in double precision")
    out = tree_map(lambda x: PretendedTensor(x) if type(x) is torch.Tensor else x, out)
    return return_and_correct_aliasing(operation, args, kwargs, out) if there else out


class _Makers(TorchFunctionMode):
    """What torch puts on devices behind the back of dispatch modes."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        makes = function in (torch.tensor, torch.as_tensor, torch.asarray)
        if makes and kwargs.get("device") == PRETENDED:
            del kwargs["device"]
            return function(*args, **kwargs).to(PRETENDED)
        if function is torch.Tensor.new_tensor and isinstance(args[0], PretendedTensor):
            return torch.tensor(args[1], dtype=args[0].dtype, device="cpu").to(PRETENDED)
        if function in (torch.Tensor.__getitem__, torch.Tensor.__setitem__):
            args = (args[0], _with_tensors(args[1]), *args[2:])
        return function(*args, **kwargs)


def _with_tensors(place):
    """Lists of positions as tensors on the CPU."""
    if isinstance(place, tuple):
        return tuple(map(_with_tensors, place))
    return torch.tensor(place, device="cpu") if isinstance(place, list) else place


class Pretence(TorchDispatchMode):
    """Inside, the pretended device is there; `double` says whether it has double precision."""

    def __init__(self, double=True):
        super().__init__()
        self.double = double

    def __enter__(self):
        self.makers = _Makers()
        self.makers.__enter__()
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        self.makers.__exit__(*error)

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        return _run(operation, args, kwargs or {}, self.double)


@pytest.fixture
def pretence():
    """Makes contexts in which `PRETENDED` is there."""
    return Pretence


@pytest.fixture
def pretended():
    """The device, only in such contexts."""
    return PRETENDED
