"""Small immutable values, and Python's containers."""

from __future__ import annotations

import collections
import datetime
import decimal
import json
import math
import pathlib
import re
import struct
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from skvae.persistence.errors import Malformed
from skvae.persistence.graph import Kind, Reader, Writer, listed

# Plain data: neither objects nor fields, and nothing that numpy would have to parse further.
_DTYPE = re.compile(r"[<>|=][biufcSUmM]\d+(\[\d*[a-zA-Zμ]+\])?")
TORCH_DTYPES = {
    str(dtype): dtype
    for dtype in (
        *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
        *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
        *(torch.complex64, torch.complex128),
    )
}
# Integers that every reader of JSON takes as they are.
_SHORT = 63


def _bits(number: float) -> str:
    return struct.pack(">d", number).hex()


# Numbers that JSON cannot hold -------------------------------------------------------------------


def _read_float(fields: list[Any], reader: Reader) -> float:
    (bits,) = fields
    # The usual NaN is numpy's own object: containers find it by identity.
    return np.nan if bits == _bits(math.nan) else struct.unpack(">d", bytes.fromhex(bits))[0]


def _read_int(fields: list[Any], reader: Reader) -> int:
    (digits,) = fields
    return int(digits, 16)  # has no limit on digits, and takes linear time


FLOAT = Kind("float", lambda number, writer: [_bits(number)], _read_float)
INT = Kind("int", lambda number, writer: [hex(number)], _read_int)


def special_number(value: Any) -> Kind | None:
    """The kind of a number that JSON cannot hold."""
    if type(value) is float and not math.isfinite(value):
        return FLOAT
    return INT if type(value) is int and value.bit_length() > _SHORT else None


# numpy's and torch's words -----------------------------------------------------------------------


def array_dtype(name: Any) -> np.dtype:
    """A plain dtype by its ``str``."""
    if not isinstance(name, str) or not _DTYPE.fullmatch(name):
        raise Malformed(f"it holds an unknown dtype {name!r:.60}")
    return np.dtype(name)


def _write_dtype(dtype: np.dtype, writer: Writer) -> list[Any]:
    if dtype != np.dtype(object) and not _DTYPE.fullmatch(dtype.str):
        writer.refuse(dtype)
    return [dtype.str]


def _read_dtype(fields: list[Any], reader: Reader) -> np.dtype:
    (name,) = fields
    return np.dtype(object) if name == np.dtype(object).str else array_dtype(name)


def _write_scalar(scalar: np.generic, writer: Writer) -> list[Any]:
    if not _DTYPE.fullmatch(scalar.dtype.str):
        writer.refuse(scalar)
    return [scalar.dtype.str, scalar.tobytes().hex()]


def _read_scalar(fields: list[Any], reader: Reader) -> np.generic:
    name, bits = fields
    dtype, content = array_dtype(name), bytes.fromhex(bits)
    if not dtype.itemsize:  # an empty string
        return dtype.type()
    if len(content) != dtype.itemsize:
        raise Malformed(f"a number of {dtype} has {len(content)} bytes")
    return np.frombuffer(content, dtype)[0]


def _read_torch_dtype(fields: list[Any], reader: Reader) -> torch.dtype:
    (name,) = fields
    return TORCH_DTYPES[name]


def _read_device(fields: list[Any], reader: Reader) -> torch.device:
    (name,) = fields
    return torch.device(str(name))


# Python's own ------------------------------------------------------------------------------------


def _write_range(value: range, writer: Writer) -> list[Any]:
    return writer.values((value.start, value.stop, value.step))


def _write_slice(value: slice, writer: Writer) -> list[Any]:
    return writer.values((value.start, value.stop, value.step))


def _write_set(values: Any, writer: Writer) -> list[Any]:
    return sorted(writer.values(values), key=json.dumps)  # the same set makes the same file


def _write_dict(content: dict[Any, Any], writer: Writer) -> list[Any]:
    return [
        [writer.value(key, "[key]"), writer.value(value, f"[{key!r:.60}]")]
        for key, value in content.items()
    ]


def _fill_dict(content: dict[Any, Any], fields: list[Any], reader: Reader) -> None:
    for pair in fields:
        key, value = listed(pair)
        content[reader.value(key)] = reader.value(value)
    if len(content) != len(fields):
        raise Malformed("a dict has the same key twice")


def _write_words(value: Any, writer: Writer) -> list[Any]:
    if getattr(value, "tzinfo", None) is not None:
        writer.refuse(value)
    return [value.isoformat() if hasattr(value, "isoformat") else str(value)]


def _from_words(make: Callable[[str], Any]) -> Callable[[list[Any], Reader], Any]:
    def read(fields: list[Any], reader: Reader) -> Any:
        (words,) = fields
        if not isinstance(words, str):
            raise Malformed(f"words were expected, got {words!r:.60}")
        return make(words)

    return read


WORDS: dict[type, Callable[[str], Any]] = {
    datetime.date: datetime.date.fromisoformat,
    datetime.datetime: datetime.datetime.fromisoformat,
    datetime.time: datetime.time.fromisoformat,
    decimal.Decimal: decimal.Decimal,
    uuid.UUID: uuid.UUID,
}

KINDS: dict[type, Kind] = {
    complex: Kind(
        "complex",
        lambda value, writer: writer.values((value.real, value.imag)),
        lambda fields, reader: complex(*reader.values(fields)),
    ),
    bytes: Kind(
        "bytes",
        lambda value, writer: [value.hex()],
        lambda fields, reader: bytes.fromhex(*fields),
    ),
    range: Kind("range", _write_range, lambda fields, reader: range(*reader.values(fields))),
    slice: Kind("slice", _write_slice, lambda fields, reader: slice(*reader.values(fields))),
    tuple: Kind(
        "tuple",
        lambda values, writer: writer.values(values),
        lambda fields, reader: tuple(reader.values(fields)),
    ),
    torch.Size: Kind(
        "torch.Size",
        lambda values, writer: writer.values(values),
        lambda fields, reader: torch.Size(reader.values(fields)),
    ),
    frozenset: Kind(
        "frozenset", _write_set, lambda fields, reader: frozenset(reader.values(fields))
    ),
    set: Kind(
        "set",
        _write_set,
        lambda fields, reader: set(),
        lambda content, fields, reader: content.update(reader.values(fields)),
        shared=True,
    ),
    list: Kind(
        "list",
        lambda values, writer: writer.values(values),
        lambda fields, reader: [],
        lambda content, fields, reader: content.extend(reader.values(fields)),
        shared=True,
    ),
    dict: Kind("dict", _write_dict, lambda fields, reader: {}, _fill_dict, shared=True),
    collections.OrderedDict: Kind(
        "OrderedDict",
        _write_dict,
        lambda fields, reader: collections.OrderedDict(),
        _fill_dict,
        shared=True,
    ),
    torch.dtype: Kind("torch.dtype", lambda value, writer: [str(value)], _read_torch_dtype),
    torch.device: Kind("torch.device", lambda value, writer: [str(value)], _read_device),
    **{
        one: Kind(f"{one.__module__}.{one.__name__}", _write_words, _from_words(make))
        for one, make in WORDS.items()
    },
}
# Those of subclasses too.
FAMILIES: dict[type, Kind] = {
    np.generic: Kind("scalar", _write_scalar, _read_scalar),
    np.dtype: Kind("dtype", _write_dtype, _read_dtype),
    pathlib.PurePath: Kind("path", _write_words, _from_words(pathlib.Path)),
}
