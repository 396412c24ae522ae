"""Values whose buffers lie beside them: their bytes, and what is no such bytes."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisors.errors import ValueDecodingError, ValueEncodingError
from supervisors.wire import outside, values
from supervisors.wire.outside import (
    BESIDE,
    LEAST_BYTES,
    OUTSIDE,
    Leased,
    Name,
    count_outside,
    inner_of,
    lay_out,
    materialize,
    pack_beside,
    pack_outside,
    read_beside,
    read_names,
)
from supervisors.wire.sharing import decode, share
from tests.supervisors.wire.shelf import Block, Shelf

NAMES = st.lists(st.builds(Name, st.integers(0, 2**63 - 1), st.integers(0, 2**40), st.integers(1, 2**40)))


@given(NAMES, st.binary())
def test_names_and_what_is_inside_come_back(names: list[Name], inner: bytes) -> None:
    data = pack_outside(names, inner)
    read, rest = read_names(data)
    assert (read, bytes(rest)) == (names, inner)
    assert count_outside(data) == sum(name.length for name in names)
    assert bytes(inner_of(data)) == inner


@given(st.lists(st.binary()), st.binary())
def test_buffers_that_follow_come_back(buffers: list[bytes], inner: bytes) -> None:
    data = pack_beside([memoryview(buffer) for buffer in buffers], inner)
    read, rest = read_beside(data)
    assert (read, bytes(rest)) == (buffers, inner)
    assert bytes(inner_of(data)) == inner


@given(st.binary(max_size=200))
def test_nonsense_is_refused_or_read_and_nothing_else(data: bytes) -> None:
    for tag, read in ((OUTSIDE, read_names), (BESIDE, read_beside)):
        with contextlib.suppress(ValueDecodingError):
            read(tag + data)
        with pytest.raises(ValueDecodingError):
            decode(tag + data, Shelf() if tag == BESIDE else None)


@given(st.lists(st.binary(min_size=1, max_size=500), max_size=6))
def test_buffers_in_one_segment_do_not_overlap(buffers: list[bytes]) -> None:
    offsets, size = lay_out([memoryview(buffer) for buffer in buffers])
    ends = [offset + len(buffer) for offset, buffer in zip(offsets, buffers, strict=True)]
    assert all(offset % outside.ALIGNMENT == 0 for offset in offsets)
    assert all(end <= start for end, start in zip(ends, [*offsets[1:], size], strict=False))


def test_names_that_cannot_be_are_refused() -> None:
    for name in (Name(1, -1, 5), Name(1, 0, 0), Name(1, 0, -3)):
        with pytest.raises(ValueDecodingError, match="cannot be"):
            read_names(pack_outside([name], b""))


def test_a_large_buffer_lies_outside_and_a_small_one_does_not() -> None:
    shelf = Shelf()
    large, small = bytearray(LEAST_BYTES), bytearray(LEAST_BYTES - 1)
    data = share({"large": Block(large), "small": Block(small)}, "value", shelf)
    assert data[:1] == OUTSIDE
    assert len(data) < len(small) + 1_000
    read = decode(data, shelf)
    assert read["large"].data == large
    assert read["small"].data == small
    assert read["large"].data.readonly


def test_a_value_without_large_buffers_is_encoded_as_ever() -> None:
    for value in ({"a": (1, 2)}, {"a": (bytes(LEAST_BYTES),)}, {"a": Block(bytearray(5))}):
        assert share(value, "value", Shelf()) == values.encode(value, "value")


def test_the_buffers_follow_where_there_is_no_room() -> None:
    data = share(Block(bytearray(LEAST_BYTES)), "value", Shelf(has_room=False))
    assert data[:1] == BESIDE
    assert decode(data, None).data == bytes(LEAST_BYTES)


def test_what_fits_into_no_message_and_has_no_room_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "MAX_VALUE_BYTES", 2 * LEAST_BYTES)
    value = {"a": Block(bytearray(2 * LEAST_BYTES))}
    with pytest.raises(ValueEncodingError, match="a larger shared_memory_limit") as caught:
        share(value, "emit('out')", Shelf(has_room=False))
    assert caught.value.path == "emit('out')"
    assert share(value, "emit('out')", Shelf())[:1] == OUTSIDE


def test_a_value_that_names_memory_is_not_read_without_any() -> None:
    shelf = Shelf()
    data = share(Block(bytearray(LEAST_BYTES)), "value", shelf)
    with pytest.raises(ValueDecodingError, match="there is none here"):
        decode(data, None)


def test_a_payload_that_holds_no_memory_is_not_materialized() -> None:
    data = pack_outside([Name(1, 0, 5)], b"")
    with pytest.raises(ValueDecodingError, match="not here"):
        materialize(Leased.of(data, ()))


def test_a_buffer_in_pieces_is_left_to_the_pickler() -> None:
    with pytest.raises(ValueEncodingError):
        share(Block(memoryview(bytearray(4 * LEAST_BYTES))[::2]), "value", Shelf())
