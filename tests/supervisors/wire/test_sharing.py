"""Values with large buffers: a flat dict of arrays is written the short way, as all others are the long one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from supervisors.errors import ValueDecodingError, ValueEncodingError
from supervisors.wire import arrays, sharing, values
from supervisors.wire.outside import LEAST_BYTES, Name, pack_outside

LARGE = np.arange(LEAST_BYTES, dtype=np.uint32).astype(np.uint8) % 8


class Shelf:
    """Shared memory that keeps each buffer as a segment."""

    def __init__(self) -> None:
        self.kept: list[bytes] = []

    def share(self, inner: bytes, buffers: Sequence[memoryview]) -> bytes | None:
        first = len(self.kept)
        self.kept += map(bytes, buffers)
        return pack_outside([Name(at, 0, len(self.kept[at])) for at in range(first, len(self.kept))], inner)

    def empty(self, size: int) -> memoryview | None:
        raise NotImplementedError

    def find(self, data: bytes | memoryview, names: Sequence[Name]) -> list[memoryview]:
        return [memoryview(self.kept[name.segment]) for name in names]

    def withdraw(self, data: bytes) -> None:
        raise NotImplementedError


def way_of(value: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, int, bool]:
    """Give what comes back, how many buffers lay apart, and whether it went the short way."""
    long_ways = []
    encode_code = values.encode_code
    monkeypatch.setattr(values, "encode_code", lambda *args: long_ways.append(1) or encode_code(*args))
    shelf = Shelf()
    return sharing.decode(sharing.share(value, "value", shelf), shelf), len(shelf.kept), not long_ways


@pytest.mark.parametrize(
    ("value", "apart"),
    [
        ({"a": LARGE}, 1),
        ({"a": LARGE, "b": LARGE.reshape(2, -1).T, "n": 1, "text": "x", "raw": b"x", "none": None, "flag": True}, 2),
        ({"a": LARGE[::2], "small": np.arange(3.0)}, 0),
        ({"a": np.repeat(LARGE, 2)[::2], "b": np.repeat(LARGE, 2).reshape(2, -1)[:, ::2]}, 2),
        ({"none": np.empty((0, 3)), "number": np.array(1.5), "columns": np.asfortranarray(np.eye(3)[:2])}, 0),
        ({"a": LARGE.view("datetime64[s]"), "b": LARGE.view(">f8"), "c": LARGE.view("U4"), "d": LARGE.view("?")}, 4),
    ],
    ids=["one", "several", "in-pieces", "large-in-pieces", "small", "kinds"],
)
def test_flat_dicts_of_arrays_come_back_by_the_short_way(
    value: dict[str, Any], apart: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    back, count, is_short = way_of(value, monkeypatch)
    assert is_short
    assert count == apart
    assert list(back) == list(value)
    for name, part in value.items():
        assert type(back[name]) is type(part)
        if isinstance(part, np.ndarray):
            assert back[name].dtype == part.dtype
            assert back[name].flags.f_contiguous >= part.flags.f_contiguous
        np.testing.assert_array_equal(back[name], part)


def test_what_came_the_short_way_goes_on_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    back, _count, _is_short = way_of({"a": LARGE}, monkeypatch)
    assert way_of({"a": back["a"] + 1}, monkeypatch)[2]


class Tagged(np.ndarray[Any, Any]):
    """An array with more to it."""


@pytest.mark.parametrize(
    "value",
    [
        [LARGE],
        {1: LARGE},
        {"a": [LARGE]},
        {"a": LARGE.view(Tagged)},
        {"a": np.array([{}, None], dtype=object)},
        {"a": LARGE.view([("x", "u1"), ("y", "u1")])},
        {"a": LARGE.view(np.dtype("u1", metadata={"made": lambda: 1}))},
        {"a": LARGE, "made": lambda: 1},
        {"a": LARGE, "b": LARGE},
        {"a": LARGE, "b": 1 << 64},
        {"a": LARGE.view("V8")},
        {"a": np.broadcast_to(np.arange(3), (3,))},
        {"a": LARGE.reshape(4, 8, -1).transpose(1, 2, 0)},
    ],
    ids=[
        *["list", "key", "nested", "subclass", "objects", "fields", "metadata", "code", "twice", "huge", "bytes"],
        *["small-read-only", "axes"],
    ],
)
def test_all_else_goes_the_long_way(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    back, _count, is_short = way_of(value, monkeypatch)
    assert not is_short
    assert type(back) is type(value)


def test_a_small_array_that_cannot_be_written_comes_back_so() -> None:
    small = np.arange(3)
    small.flags.writeable = False
    back = sharing.decode(sharing.share({"a": small, "b": small.copy()}, "value", shelf := Shelf()), shelf)
    assert not back["a"].flags.writeable
    assert back["b"].flags.writeable


def test_an_array_with_other_axes_first_comes_back_as_it_lay() -> None:
    turned = LARGE.reshape(4, 8, -1).transpose(1, 2, 0)
    back = sharing.decode(sharing.share({"a": turned}, "value", shelf := Shelf()), shelf)
    assert back["a"].strides == turned.strides
    np.testing.assert_array_equal(back["a"], turned)


def test_an_array_that_is_there_twice_comes_back_as_one() -> None:
    back = sharing.decode(sharing.share({"a": LARGE, "b": LARGE}, "value", shelf := Shelf()), shelf)
    assert back["a"] is back["b"]


def test_a_small_array_can_be_written_where_it_comes() -> None:
    back = sharing.decode(sharing.share({"a": np.zeros(3)}, "value", shelf := Shelf()), shelf)
    back["a"][:] = 1
    assert back["a"].sum() == 3


def test_what_is_too_long_for_a_message_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "MAX_VALUE_BYTES", 1_000)
    with pytest.raises(ValueEncodingError, match="in one message"):
        sharing.share({"a": LARGE, "raw": bytes(1_000)}, "value", Shelf())


def test_what_cannot_be_carried_is_told_by_its_path() -> None:
    with pytest.raises(ValueEncodingError, match=r"value\['b'\]"):
        sharing.share({"a": LARGE, "b": (n for n in "x")}, "value", Shelf())


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data[:1],
        lambda data: data[:1] + b"\xc0",
        lambda data: data.replace(b"|u1", b"|O1"),
        lambda data: data.replace(b"|u1", b"<f8"),
    ],
    ids=["short", "empty", "else", "objects", "longer"],
)
def test_damaged_arrays_are_told_as_such(damage: Callable[[bytes], bytes]) -> None:
    inner = arrays.encode({"a": LARGE}, lambda _buffer: None)
    assert inner is not None
    with pytest.raises(ValueDecodingError, match="could not be turned back"):
        arrays.decode(memoryview(damage(inner)), [memoryview(LARGE)])


def test_an_array_without_its_buffer_is_told_as_such() -> None:
    inner = arrays.encode({"a": LARGE}, lambda _buffer: None)
    assert inner is not None
    with pytest.raises(ValueDecodingError):
        arrays.decode(memoryview(inner), [])


def test_arrays_cannot_be_read_where_there_is_no_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    inner = arrays.encode({"a": np.zeros(3)}, lambda _buffer: None)
    assert inner is not None
    monkeypatch.setitem(sys.modules, "numpy", None)  # type: ignore[arg-type]  # as of a module that is not there
    assert arrays.encode({"a": 1}, lambda _buffer: None) is None
    with pytest.raises(ValueDecodingError, match="numpy"):
        arrays.decode(memoryview(inner), [])
