"""Objects of known classes, by the state that pickle would take."""

from __future__ import annotations

import copyreg
from typing import Any

from torch import nn

from skvae.persistence.classes import classes, names
from skvae.persistence.errors import Malformed
from skvae.persistence.graph import Kind, Reader, Writer, listed

# What every module has, and none of ours differs in: hooks, which are functions.
_HOOKS = frozenset(vars(nn.Module())) - {
    *("training", "_parameters", "_buffers", "_modules", "_non_persistent_buffers_set")
}


def _write_object(value: Any, writer: Writer) -> list[Any]:
    # The common way to an object's state: its class may define __getstate__, or have slots.
    make, arguments, state, *more = (*value.__reduce_ex__(2), None)[:5]
    new = copyreg.__newobj__  # type: ignore[attr-defined]
    if make is not new or arguments != (type(value),) or any(more):
        writer.refuse(value, "it has a way of its own to be copied")
    if isinstance(value, nn.Module):
        hooks = [name for name in _HOOKS if state.get(name)]
        if hooks:
            writer.refuse(value, f"it has hooks ({', '.join(sorted(hooks))}), which are functions")
        state = {name: part for name, part in state.items() if name not in _HOOKS}
    if isinstance(state, dict):
        pairs = [[name, writer.value(part, f".{name}")] for name, part in state.items()]
        return [names()[type(value)], "attributes", *pairs]
    return [names()[type(value)], "state", writer.value(state)]


def _read_object(fields: list[Any], reader: Reader) -> Any:
    name = fields[0]
    if not isinstance(name, str) or name not in classes():
        raise Malformed(
            f"it holds an object of {name!r:.99}, a class that this version does not know"
        )
    return object.__new__(classes()[name])


def _fill_object(made: Any, fields: list[Any], reader: Reader) -> None:
    _, sort, *rest = fields
    if sort == "state":
        (state,) = reader.values(rest)
    else:
        state = {}
        for pair in rest:
            name, part = listed(pair)
            if not isinstance(name, str) or not name.isidentifier() or name in _HOOKS:
                raise Malformed(f"an object has an attribute {name!r:.60}")
            state[name] = reader.value(part)
        if isinstance(made, nn.Module):
            state = state | {
                name: part for name, part in vars(nn.Module()).items() if name in _HOOKS
            }
    if hasattr(type(made), "__setstate__"):
        made.__setstate__(state)
        return
    # As pickle does: attributes, and those in slots apart.
    attributes, slots = state if isinstance(state, tuple) else (state, None)
    if attributes:
        vars(made).update(attributes)
    for name, part in (slots or {}).items():
        object.__setattr__(made, name, part)


OBJECT = Kind("object", _write_object, _read_object, _fill_object, shared=True)
