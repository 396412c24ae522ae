"""Values for people to look at, without the code that made them.

Owns what stands for objects whose classes are not looked for. Never imports and never runs anything of a user's.
"""

from __future__ import annotations

import contextlib
import reprlib
from typing import Any, NamedTuple

from routilux.serial.graph import GRAPH, Reader
from routilux.serial.makers import APART, NUMPY
from supervisors.errors import ValueDecodingError
from supervisors.text import cut, printable
from supervisors.wire import sharing, values

_TEXT = 1_000
"""Characters of the text of an object (arbitrary; a screen shows less)."""


class Opaque:
    """Stands for an object whose class is not looked for.

    Args:
        name: name of its type.
        version: version of that; None: it has none.
        fields: what it holds, by name.
    """

    __slots__ = ("fields", "name", "version")

    def __init__(self, name: str, version: int | None, fields: dict[str, Any]) -> None:
        self.name = name
        self.version = version
        self.fields = fields

    @reprlib.recursive_repr("...")
    def __repr__(self) -> str:
        version = "" if self.version in {None, 1} else f" (version {self.version})"
        fields = ", ".join(f"{printable(name)}={value!r}" for name, value in self.fields.items())
        return cut(
            f"<{printable(self.name)}{version}: {fields}>" if fields else f"<{printable(self.name)}{version}>", _TEXT
        )


def describe(data: bytes | memoryview) -> Any:
    """Give a value as `Carried.decode` does, with `Opaque` for objects of registered types, arrays of NumPy, pickles.

    Raises:
        ValueDecodingError: the bytes are damaged, or are no encoded value.
    """
    view = memoryview(data)
    rung = bytes(view[:1])
    if rung == GRAPH:
        return _reader.read(view[1:])
    if rung == values.PICKLE:
        return Opaque("pickle", None, {"bytes": len(view)})
    found = sharing.find_buffers(data, None)
    if found is None:
        return values.decode(view)
    buffers, inner = found
    if bytes(inner[:1]) == GRAPH:
        return _reader.read(inner[1:], buffers)
    return Opaque("pickle", None, {"bytes": len(view)})


def find_types(data: bytes | memoryview) -> set[WrittenAs]:
    """Tell which registered types occur in a value, as they were written. Empty for what is no graph, or damaged."""
    types = _NotingTypes()
    with contextlib.suppress(ValueDecodingError):  # whoever reads the value is told
        buffers, view = sharing.find_buffers(data, None) or ((), memoryview(data))
        if bytes(view[:1]) == GRAPH:
            Reader(types, _ARRAYS).read(view[1:], buffers)
    return types.found


class WrittenAs(NamedTuple):
    """A type as it was written: its name, its version and the names of its fields."""

    name: str
    version: int
    fields: tuple[str, ...]


class _Type:
    """A type as it was written."""

    __slots__ = ("fields", "name", "version")

    def __init__(self, name: str, version: int, fields: tuple[str, ...]) -> None:
        self.name, self.version, self.fields = name, version, fields


class _OpaqueTypes:
    """Types that are not looked for."""

    def find_type(self, name: str, version: int, fields: tuple[str, ...]) -> Any:
        return _Type(name, version, fields)

    def find_class(self, found: Any) -> None:
        _check(found)

    def make_shell(self, found: Any) -> Any:
        _check(found)
        return Opaque(found.name, found.version, {})

    def make_whole(self, found: Any, state: Any) -> Any:
        shell = self.make_shell(found)
        if type(state) is tuple:
            state = dict(zip(found.fields, state, strict=True))
        self.fill(shell, (found, state))
        return shell

    def fill(self, obj: Any, content: Any) -> None:
        found, state = content
        _check(found)
        if type(obj) is not Opaque or type(state) is not dict or not {str}.issuperset(map(type, state)):
            raise TypeError("no object and what it holds")
        obj.fields = dict(state)


class _NotingTypes(_OpaqueTypes):
    """As those, and they are noted."""

    def __init__(self) -> None:
        self.found: set[WrittenAs] = set()

    def find_type(self, name: str, version: int, fields: tuple[str, ...]) -> Any:
        self.found.add(WrittenAs(name, version, fields))
        return super().find_type(name, version, fields)


def _check(found: Any) -> None:
    if type(found) is not _Type:
        raise TypeError("no type stands where one was expected")


def _describe_array(description: Any, shape: Any, *_rest: Any) -> Opaque:
    return Opaque("numpy", None, {"type": description, "shape": shape})


_ARRAYS = {NUMPY: _describe_array, APART: _describe_array}
_reader = Reader(_OpaqueTypes(), _ARRAYS)
