"""Arrays of numpy, sparse matrices of scipy, and random states."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import sparse

from skvae.persistence.errors import Malformed
from skvae.persistence.graph import Kind, Reader, Writer, listed, whole_numbers
from skvae.persistence.scalars import array_dtype

# What safetensors knows by itself; others are kept as bytes beside the name of their dtype.
NATIVE = frozenset("?bhilqBHILQefd")
MATRICES = {one.__name__: one for one in (sparse.csr_array, sparse.csr_matrix)}
_TWISTER_WORDS = 624


# Numbers -----------------------------------------------------------------------------------------


def _write_array(array: np.ndarray, writer: Writer) -> list[Any]:
    if array.dtype == object:
        return [array.dtype.str, list(array.shape), writer.values(array.ravel().tolist())]
    if array.dtype.kind not in "biufcSUmM":
        writer.refuse(array, f"it is an array of {array.dtype}")
    # Axes from the widest step to the narrowest: products depend on how memory is laid out.
    axes = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
    if array.flags.c_contiguous:  # steps along axes of length one say nothing
        axes = list(range(array.ndim))
    dense = np.array(array.transpose(axes), order="C")
    if dense.dtype.char not in NATIVE or not dense.dtype.isnative:
        dense = dense.reshape(-1).view(np.uint8)
    return [array.dtype.str, list(array.shape), axes, writer.blob(dense)]


def _read_array(fields: list[Any], reader: Reader) -> np.ndarray:
    """An array; that of objects still empty."""
    name, shape = fields[0], whole_numbers(fields[1])
    if name == np.dtype(object).str:
        if math.prod(shape) != len(listed(fields[2])):
            raise Malformed(f"an array of shape {tuple(shape)} has {len(fields[2])} entries")
        return np.empty(shape, dtype=object)
    axes = whole_numbers(fields[2])
    if sorted(axes) != list(range(len(shape))):
        raise Malformed(f"an array of shape {tuple(shape)} has axes {axes}")
    # A copy, as numpy itself places arrays: what is read starts anywhere.
    flat = np.array(reader.blob(fields[3])).reshape(-1).view(array_dtype(name))
    places = [axes.index(axis) for axis in range(len(shape))]
    return flat.reshape([shape[axis] for axis in axes]).transpose(places)


def _fill_array(array: np.ndarray, fields: list[Any], reader: Reader) -> None:
    if array.dtype == object:
        flat = array.reshape(-1)
        for place, one in enumerate(fields[2]):  # numpy would look into a list of lists
            flat[place] = reader.value(one)


# Matrices ----------------------------------------------------------------------------------------


def _write_matrix(matrix: Any, writer: Writer) -> list[Any]:
    parts = [writer.value(getattr(matrix, part), f".{part}") for part in _PARTS]
    return [type(matrix).__name__, list(matrix.shape), *parts]


def _read_matrix(fields: list[Any], reader: Reader) -> Any:
    kind, shape, *parts = fields
    data, indices, indptr = reader.values(parts)
    matrix = MATRICES[kind]((data, indices, indptr), shape=tuple(whole_numbers(shape)))
    matrix.check_format(full_check=True)  # compiled code does not look where an index points
    matrix.indices, matrix.indptr = indices, indptr  # of the integers that they were
    return matrix


_PARTS = ("data", "indices", "indptr")


# Random states -----------------------------------------------------------------------------------


def _write_random(random: np.random.RandomState, writer: Writer) -> list[Any]:
    state: Any = random.get_state(legacy=False)
    if state["bit_generator"] != "MT19937":
        writer.refuse(random, f"its generator is {state['bit_generator']}")
    key, place = state["state"]["key"], int(state["state"]["pos"])
    spare = int(state["has_gauss"]), float(state["gauss"])
    return [writer.value(key, ".key"), place, *writer.values(spare)]


def _read_random(fields: list[Any], reader: Reader) -> np.random.RandomState:
    key, place, has_gauss, gauss = reader.values(fields)
    # numpy takes the place for granted, and would read beyond the key.
    if type(place) is not int or not 0 <= place <= _TWISTER_WORDS:
        raise Malformed("a random state stands outside its key")
    random = np.random.RandomState()
    random.set_state(("MT19937", key, place, has_gauss, gauss))
    return random


KINDS: dict[type, Kind] = {
    np.ndarray: Kind("array", _write_array, _read_array, _fill_array, shared=True),
    np.memmap: Kind("array", _write_array, _read_array, _fill_array, shared=True),
    **dict.fromkeys(MATRICES.values(), Kind("matrix", _write_matrix, _read_matrix, shared=True)),
    np.random.RandomState: Kind("RandomState", _write_random, _read_random, shared=True),
}
