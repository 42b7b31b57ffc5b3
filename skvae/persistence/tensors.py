"""Tensors: windows on memory that others may share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skvae.persistence.errors import Malformed
from skvae.persistence.graph import Kind, Reader, Writer, whole_numbers
from skvae.persistence.scalars import TORCH_DTYPES

# numpy has no such numbers.
_AS_INTEGERS = {torch.bfloat16: torch.int16}
# Bytes, where safetensors may not know the numbers.
_AS_BYTES = (torch.complex64, torch.complex128)


@dataclass(frozen=True, eq=False)
class Storage:
    """Memory that tensors are windows on, all of it.

    Attributes
    ----------
    content : Tensor of shape (n,)
    shape : tuple of int
        Of the first tensor on it that covers it; for those who look into a file.
    """

    content: Tensor
    shape: tuple[int, ...]


def _storage(tensor: Tensor, writer: Writer) -> Storage:
    if not tensor.numel():  # a window on nothing, whatever lies behind it
        return Storage(torch.empty(0, dtype=tensor.dtype), (0,))
    memory = tensor.untyped_storage()
    key = str(tensor.device), memory.data_ptr()
    if key not in writer.storages:
        n = memory.nbytes() // tensor.element_size()
        content = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
        content = content.set_(memory, 0, (n,), (1,))
        covers = tensor.is_contiguous() and tensor.numel() == n
        writer.storages[key] = Storage(content, tuple(tensor.shape) if covers else (n,))
    return writer.storages[key]


def _write_storage(storage: Storage, writer: Writer) -> list[Any]:
    content = storage.content.cpu()
    if content.dtype in _AS_BYTES:
        array = content.view(torch.uint8).numpy()
    else:
        array = content.view(_AS_INTEGERS.get(content.dtype, content.dtype)).numpy()
        array = array.reshape(storage.shape)
    return [str(content.dtype), writer.blob(array)]


def _read_storage(fields: list[Any], reader: Reader) -> Tensor:
    name, blob = fields
    content = torch.from_numpy(np.array(reader.blob(blob)).reshape(-1).view(np.uint8))
    # Into memory of torch's own: its kernels go by how memory is aligned.
    return torch.empty(len(content), dtype=torch.uint8).copy_(content).view(TORCH_DTYPES[name])


def _write_tensor(tensor: Tensor, writer: Writer) -> list[Any]:
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type == "meta":
        writer.refuse(tensor, f"it is a tensor of layout {tensor.layout} on {tensor.device}")
    if str(tensor.dtype) not in TORCH_DTYPES:
        writer.refuse(tensor, f"it is a tensor of {tensor.dtype}")
    if tensor.is_conj() or tensor.is_neg():
        tensor = tensor.resolve_conj().resolve_neg()
    return [
        str(tensor.dtype),
        list(tensor.shape),
        list(tensor.stride()),
        tensor.storage_offset() if tensor.numel() else 0,
        bool(tensor.requires_grad and tensor.is_leaf),
        writer.value(_storage(tensor, writer)),
    ]


def _read_tensor(fields: list[Any], reader: Reader) -> Tensor:
    name, shape, stride, offset, grad, storage = fields
    dtype, content = TORCH_DTYPES[name], reader.value(storage)
    shape, stride, (offset,) = (whole_numbers(one) for one in (shape, stride, [offset]))
    if not isinstance(content, Tensor) or len(shape) != len(stride) or type(grad) is not bool:
        raise Malformed("a tensor is not described as one")
    memory = content.untyped_storage()
    reach = offset + sum((n - 1) * step for n, step in zip(shape, stride, strict=True)) + 1
    if 0 not in shape and reach * dtype.itemsize > memory.nbytes():
        raise Malformed("a tensor reaches beyond its memory")
    tensor = torch.empty(0, dtype=dtype).set_(memory, offset, shape, stride)
    return tensor.requires_grad_(grad)


def _read_parameter(fields: list[Any], reader: Reader) -> nn.Parameter:
    tensor = _read_tensor(fields, reader)
    return nn.Parameter(tensor.detach(), tensor.requires_grad)


KINDS: dict[type, Kind] = {
    Tensor: Kind("tensor", _write_tensor, _read_tensor, shared=True),
    nn.Parameter: Kind("parameter", _write_tensor, _read_parameter, shared=True),
    Storage: Kind("storage", _write_storage, _read_storage, shared=True),
}
