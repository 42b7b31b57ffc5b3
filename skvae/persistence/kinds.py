"""All that a file may hold."""

from __future__ import annotations

from typing import Any

from skvae.persistence import arrays, frames, scalars, tensors
from skvae.persistence.classes import names
from skvae.persistence.graph import PLAIN, Kind
from skvae.persistence.objects import OBJECT

_EXACT = scalars.KINDS | arrays.KINDS | tensors.KINDS | frames.KINDS
_FAMILIES = scalars.FAMILIES | frames.FAMILIES

BY_TAG: dict[str, Kind] = {
    kind.tag: kind
    for kind in (scalars.FLOAT, scalars.INT, OBJECT, *_EXACT.values(), *_FAMILIES.values())
}


def find(value: Any) -> Kind | None:
    """The kind of a value; None for JSON's own, and for what cannot be saved."""
    if type(value) in PLAIN:
        return scalars.special_number(value)
    if type(value) in _EXACT:
        return _EXACT[type(value)]
    for family, kind in _FAMILIES.items():
        if isinstance(value, family):
            return kind
    return OBJECT if type(value) in names() else None
