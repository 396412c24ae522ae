"""Comparing values as graphs: same types, same content, and the same objects in the same places."""

from __future__ import annotations

import array
import struct
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterator
from enum import Enum
from typing import Any

import numpy as np

from routilux.serial.kinds import ObjectKind, find_kind

_CONTAINERS = (list, tuple, dict, set, frozenset, deque, slice)


def assert_same(left: Any, right: Any) -> None:
    """Fail unless one graph is the other: there is a one-to-one map of objects that keeps types, content and places."""
    to_right: dict[int, int] = {}
    to_left: dict[int, int] = {}
    todo = [("value", left, right)]
    while todo:
        path, a, b = todo.pop()
        assert type(a) is type(b), (path, a, b)
        if not _is_graph(a):
            assert _leaf(a) == _leaf(b), (path, a, b)
            continue
        if not a and isinstance(a, tuple | frozenset):  # there is one of them in all of a program
            assert not b, path
            continue
        is_known = id(a) in to_right or id(b) in to_left
        assert to_right.setdefault(id(a), id(b)) == id(b), path
        assert to_left.setdefault(id(b), id(a)) == id(a), path
        if not is_known:
            todo += [(path + step, x, y) for step, x, y in _parts(path, a, b)]


def _is_graph(value: Any) -> bool:
    if isinstance(value, Enum | np.generic | np.ndarray | array.array | memoryview):
        return False
    return isinstance(value, _CONTAINERS) or type(value).__module__.startswith("tests.")


def _leaf(value: Any) -> Any:
    if isinstance(value, float):
        return struct.pack("d", value)
    if isinstance(value, complex):
        return struct.pack("dd", value.real, value.imag)
    if isinstance(value, np.ndarray | np.generic):
        is_fortran = value.flags.f_contiguous and not value.flags.c_contiguous
        return value.dtype, value.shape, is_fortran, value.tobytes()
    if isinstance(value, memoryview):
        return value.format, value.shape, value.readonly, value.tobytes()
    if isinstance(value, array.array):
        return value.typecode, value.tobytes()
    return value, getattr(value, "fold", None), repr(getattr(value, "tzinfo", None))


def _parts(path: str, a: Any, b: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(a, deque):
        assert a.maxlen == b.maxlen, path
    if isinstance(a, defaultdict):
        assert a.default_factory is b.default_factory, path
    if isinstance(a, slice):
        a, b = (a.start, a.stop, a.step), (b.start, b.stop, b.step)
    if isinstance(a, set | frozenset):
        assert len(a) == len(b), path
        others = {part: part for part in b}
        yield from ((".element", part, others[part]) for part in a)
    elif isinstance(a, dict | OrderedDict):
        assert len(a) == len(b), path
        for (key, x), (other, y) in zip(a.items(), b.items(), strict=True):
            yield f".key({key!r})", key, other
            yield f"[{key!r}]", x, y
    elif isinstance(a, list | tuple | deque):
        assert len(a) == len(b), path
        yield from ((f"[{at}]", x, y) for at, (x, y) in enumerate(zip(a, b, strict=True)))
    else:
        kind = find_kind(type(a))
        assert isinstance(kind, ObjectKind)
        mine, others = kind.take(a), kind.take(b)
        assert mine.keys() == others.keys(), path
        yield from ((f".{name}", part, others[name]) for name, part in mine.items())
