"""An object graph as a list of nodes in JSON, beside the arrays that it holds.

Small immutable values stand where they are used, as ``[tag, ...]`` or as JSON's own. Whatever has
an identity is a node, written once and pointed at by ``["ref", place]``: what was shared is shared
again, and cycles close. Nodes stand in the order in which they were completed, so that all but
what closes a cycle is there when it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from torch import nn

from skvae.persistence.errors import Malformed

# JSON's own, exactly as they are; numbers that it cannot hold have kinds.
PLAIN = (type(None), bool, str, int, float)


@dataclass(frozen=True)
class Kind:
    """How values of some types are written, and read.

    Attributes
    ----------
    tag : str
        Its name in files.
    write : callable
        ``(value, writer)`` to a list in JSON.
    read : callable
        ``(fields, reader)`` to the value; without its content, where there is `fill`.
    fill : callable or None
        ``(value, fields, reader)`` puts the content in, once all nodes exist.
    shared : bool
        Whether the value has an identity: it is a node then.
    """

    tag: str
    write: Callable[[Any, Writer], list[Any]]
    read: Callable[[list[Any], Reader], Any]
    fill: Callable[[Any, list[Any], Reader], None] | None = None
    shared: bool = False


class Writer:
    """Collects nodes and arrays.

    Parameters
    ----------
    find : callable
        The `Kind` of a value, None where it has none.
    name : str
        Of the first value, in names of arrays and in messages.

    Attributes
    ----------
    nodes : list
    blobs : dict of str to ndarray
    storages : dict
        For the kinds of tensors: the memory that they are windows on.
    """

    def __init__(self, find: Callable[[Any], Kind | None], name: str) -> None:
        self.nodes: list[Any] = []
        self.blobs: dict[str, np.ndarray] = {}
        self.storages: dict[Any, Any] = {}
        self._find = find
        self._steps = [name]
        self._references: dict[int, list[Any]] = {}
        self._alive: list[Any] = []  # an id is an object's own only while it lives

    @property
    def path(self) -> str:
        """Where the value at hand was found."""
        return "".join(self._steps)

    def value(self, value: Any, step: str = "") -> Any:
        """A value in JSON; `step` leads to it from the one that holds it."""
        with self._at(step):
            kind = self._find(value)
            if kind is None:
                if type(value) in PLAIN:
                    return value
                self.refuse(value)
            if not kind.shared:
                return [kind.tag, *kind.write(value, self)]
            if id(value) not in self._references:
                # All that point at the node hold this one list: its place is known at the end.
                reference = self._references[id(value)] = ["ref", None]
                self._alive.append(value)
                fields = kind.write(value, self)
                reference[1] = len(self.nodes)
                self.nodes.append([kind.tag, *fields])
            return self._references[id(value)]

    def values(self, values: Any) -> list[Any]:
        """Several values in JSON."""
        return [self.value(value, f"[{i}]") for i, value in enumerate(values)]

    def blob(self, array: np.ndarray) -> str:
        """Name under which an array goes into the file."""
        name, n = self.path, 1
        while name in self.blobs:
            n += 1
            name = f"{self.path}#{n}"
        self.blobs[name] = array
        return name

    def refuse(self, value: Any, why: str = "") -> NoReturn:
        """Say that a value cannot be saved.

        Raises
        ------
        TypeError
        """
        name = f"{type(value).__module__}.{type(value).__qualname__}"
        why = why or f"it is {_article(name)} {name}, and a file holds data only, no code"
        remedy = ""
        if isinstance(value, nn.Module):
            remedy = "; torch.save of its state_dict() keeps a module's weights alone"
        raise TypeError(
            f"{self.path} cannot be saved: {why}. Store the estimator with joblib.dump or pickle "
            f"instead: whoever loads it must have the same code, and trust the file{remedy}."
        )

    @contextmanager
    def _at(self, step: str) -> Iterator[None]:
        self._steps.append(step)
        try:
            yield
        finally:
            self._steps.pop()


def _article(name: str) -> str:
    return "an" if name[0] in "aeiou" else "a"


class Reader:
    """Builds objects from nodes and arrays.

    Parameters
    ----------
    kinds : dict of str to Kind
        By tag.
    blobs : dict of str to ndarray
    """

    def __init__(self, kinds: dict[str, Kind], blobs: dict[str, np.ndarray]) -> None:
        self._kinds = kinds
        self._blobs = dict(blobs)
        self._made: dict[int, Any] = {}

    def build(self, nodes: Any) -> list[Any]:
        """All objects, in the order of their nodes.

        Raises
        ------
        Malformed
            Or anything else that reading nonsense raises.
        """
        if not isinstance(nodes, list):
            raise Malformed("its objects are no list")
        kinds = [self._kind(node, shared=True) for node in nodes]
        for place, (node, kind) in enumerate(zip(nodes, kinds, strict=True)):
            if kind.fill is not None:
                self._made[place] = kind.read(node[1:], self)
        for place, (node, kind) in enumerate(zip(nodes, kinds, strict=True)):
            if kind.fill is not None:
                kind.fill(self._made[place], node[1:], self)
            else:
                self._made[place] = kind.read(node[1:], self)
        return [self._made[place] for place in range(len(nodes))]

    def value(self, encoded: Any) -> Any:
        """What `Writer.value` was given."""
        if type(encoded) in PLAIN:
            return encoded
        if isinstance(encoded, list) and len(encoded) == 2 and encoded[0] == "ref":
            place = encoded[1]
            if type(place) is not int or place not in self._made:
                raise Malformed(f"it points at an object {place!r:.60} that is not there")
            return self._made[place]
        return self._kind(encoded, shared=False).read(encoded[1:], self)

    def values(self, encoded: Any) -> list[Any]:
        """What `Writer.values` was given."""
        return [self.value(one) for one in listed(encoded)]

    def blob(self, name: Any) -> np.ndarray:
        """An array by its name; each belongs to one object only."""
        if not isinstance(name, str) or name not in self._blobs:
            raise Malformed(f"array {name!r:.60} is missing, or is used twice")
        return self._blobs.pop(name)

    def _kind(self, encoded: Any, shared: bool) -> Kind:
        tag = encoded[0] if isinstance(encoded, list) and encoded else None
        kind = self._kinds.get(tag) if isinstance(tag, str) else None
        if kind is None or kind.shared != shared:
            raise Malformed(f"it holds a value of unknown kind {tag!r:.60}")
        return kind


def listed(encoded: Any) -> list[Any]:
    """A list of the file, checked to be one."""
    if not isinstance(encoded, list):
        raise Malformed(f"a list was expected, got {type(encoded).__name__}")
    return encoded


def whole_numbers(encoded: Any) -> list[int]:
    """A list of integers that are not negative, such as a shape."""
    numbers = listed(encoded)
    if any(type(number) is not int or number < 0 for number in numbers):
        raise Malformed(f"non-negative integers were expected, got {numbers[:5]}")
    return numbers
