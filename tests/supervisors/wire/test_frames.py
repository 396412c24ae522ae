"""Frames come out of a stream as they went in, however it is cut, and anything else is one error."""

from __future__ import annotations

import struct
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisors.errors import FrameError
from supervisors.reasons import ErrorRecord, Killed, Raised, Shutdown
from supervisors.wire.frames import (
    FRAME_OVERHEAD_BYTES,
    Boot,
    BootFailed,
    Bye,
    Deliver,
    Done,
    Failed,
    FrameReader,
    Go,
    Grant,
    Hold,
    Log,
    ParentReader,
    Parked,
    Part,
    Ready,
    Spawned,
    Stop,
    WorkerReader,
    decode_body,
    encode_body,
    encode_frame,
)
from tests.supervisors.wire.mutations import HEADS, check_decoder, mutated, peak_bytes

HEADER = struct.Struct("<2sBxII")
numbers = st.integers(0, 2**63 - 1)
seconds = st.floats(0, 1e9)

to_worker = st.one_of(
    st.builds(
        Boot,
        numbers,
        st.text(),
        st.binary(),
        st.integers(0, 50),
        st.just({"a": 10}),
        st.binary(),
        st.binary(),
        st.none() | numbers,
    ),
    st.lists(st.tuples(numbers, st.binary()), max_size=5).map(
        lambda items: Deliver(7, [seq for seq, _ in items], [body for _, body in items])
    ),
    st.builds(Grant, numbers),
    st.builds(Hold, numbers),
    st.just(Go()),
    st.builds(Stop, st.sampled_from([Shutdown("closed"), Killed(7), Raised(ErrorRecord("E", "text", "trace"))])),
)
from_worker = st.one_of(
    st.just(Spawned()),
    st.builds(Ready, numbers),
    st.just(BootFailed(ErrorRecord("T", "text", "trace", ("note",)))),
    st.lists(st.tuples(numbers, st.binary(max_size=400), seconds), min_size=1, max_size=5).map(
        lambda items: Done(*map(list, zip(*items, strict=True)))
    ),
    st.builds(Part, numbers, numbers, st.binary()),
    st.builds(Failed, numbers, st.binary(), seconds),
    st.builds(Log, st.text(), numbers, st.text(), seconds, st.text(), numbers, st.text(), st.none(), st.text()),
    st.just(Bye()),
    st.builds(Parked, numbers, st.none() | numbers),
)


def feed_in_pieces(reader: FrameReader[Any], data: bytes, sizes: list[int]) -> list[Any]:
    frames = []
    while data:
        size = sizes.pop() if sizes else len(data)
        frames += reader.feed(data[:size])
        data = data[size:]
    return frames


@given(st.lists(to_worker, max_size=8), st.lists(st.integers(1, 50)))
def test_a_worker_gets_what_was_sent(frames: list[Any], sizes: list[int]) -> None:
    data = b"".join(encode_frame(frame, 3) for frame in frames)
    assert feed_in_pieces(WorkerReader(3), data, sizes) == frames


@given(st.lists(from_worker, max_size=8), st.lists(st.integers(1, 50)))
def test_a_parent_gets_what_was_sent(frames: list[Any], sizes: list[int]) -> None:
    reader = ParentReader(3)
    data = b"".join(encode_frame(frame, 3) for frame in frames)
    assert feed_in_pieces(reader, data, sizes) == frames
    assert reader.is_empty


@pytest.mark.parametrize("size", [0, 1, 255 * 1024, 256 * 1024, 256 * 1024 + 1, 3_000_000])
def test_bodies_around_and_over_the_kept_buffer_come_through(size: int) -> None:
    frames = [Part(1, 1, b"a"), Part(2, 1, bytes(size)), Part(3, 1, b"c")] * 2
    data = b"".join(encode_frame(frame, 1) for frame in frames)
    for step in (7_001, 300_000, len(data)):
        reader = ParentReader(1)
        got = []
        for start in range(0, len(data), step):
            got += reader.feed(data[start : start + step])
        assert got == frames


def test_memory_is_taken_for_a_length_that_was_checked_and_given_back() -> None:
    reader = ParentReader(1, max_bytes=10_000_000)
    data = encode_frame(Part(1, 1, bytes(5_000_000)), 1)
    assert reader.feed(data[:20]) == []
    assert len(reader.space()) > 5_000_000 - 20
    assert len(reader.feed(data[20:])) == 1
    assert len(reader.space()) == KEPT


def test_a_reader_takes_little_at_first_and_many_frames_in_one_call_once_it_was_full() -> None:
    reader = ParentReader(1)
    frame = encode_frame(Part(1, 1, bytes(1_000)), 1)
    first = len(reader.space())
    reader.feed(frame)
    assert len(reader.space()) == first <= KEPT / 8
    assert len(reader.feed(frame * 20)) == 20
    assert len(reader.space()) == KEPT


def test_a_length_over_the_bound_is_refused_from_its_header_alone() -> None:
    reader = ParentReader(1, max_bytes=1_000)
    before = len(reader.space())
    with pytest.raises(FrameError, match="1001 bytes is over the bound of 1000"):
        reader.feed(HEADER.pack(b"SV", 1, 1, 1_001))
    assert len(reader.space()) <= before


def test_a_frame_over_the_bound_is_not_made() -> None:
    with pytest.raises(FrameError, match=r"Part frame of .* is over the bound of 100"):
        encode_frame(Part(1, 1, bytes(100)), 1, max_bytes=100)


def test_the_overhead_covers_what_a_frame_with_one_body_needs() -> None:
    most = 2**63 - 1
    for frame in (
        Deliver(most, [most], [b"x" * 70_000]),
        Done([most], [b"x" * 70_000], [1.5]),
        Part(most, most, b"x" * 70_000),
    ):
        assert len(encode_frame(frame, 2**32 - 1)) - 70_000 <= FRAME_OVERHEAD_BYTES


@pytest.mark.parametrize(
    ("header", "what"),
    [
        (HEADER.pack(b"XX", 1, 1, 1), "version"),
        (HEADER.pack(b"SV", 2, 1, 1), "version"),
        (HEADER.pack(b"SV", 1, 2, 1), "incarnation 1, got one of 2"),
        (HEADER.pack(b"SV", 1, 1, 2**32 - 1), "over the bound"),
    ],
)
def test_a_wrong_header_ends_the_stream(header: bytes, what: str) -> None:
    with pytest.raises(FrameError, match=what):
        ParentReader(1).feed(header + b"\xc0")


@pytest.mark.parametrize(
    "body",
    [
        [17],  # a field is missing
        [17, 1, 2],  # one too many
        [17, "1"],  # of another type
        [99, 1],  # an unknown kind
        [1, 0, "", "", 0, {}, b"", b""],  # a kind of the other direction
        {"type": 17},
        None,
        [19, [1], [b""], ["long"]],
        [19, [1], [b""], []],  # columns of different lengths
        [19, [1], [], [0.0]],
        [19, [], [], []],  # nothing
        [[[]]],
    ],
)
def test_a_body_that_is_not_the_protocol_ends_the_stream(body: Any) -> None:
    data = msgspec.msgpack.encode(body)
    with pytest.raises(FrameError, match="is not the protocol"):
        ParentReader(1).feed(HEADER.pack(b"SV", 1, 1, len(data)) + data)


@given(st.binary(min_size=1, max_size=200), st.booleans())
def test_garbage_is_frames_or_one_error(garbage: bytes, has_header: bool) -> None:
    data = HEADER.pack(b"SV", 1, 1, len(garbage)) + garbage if has_header else garbage
    try:
        frames = ParentReader(1).feed(data)
    except FrameError:
        return
    assert all(type(frame).__module__ == "supervisors.wire.frames" for frame in frames)


@given(from_worker, st.data())
def test_a_changed_byte_is_a_frame_or_one_error(frame: Any, data: st.DataObject) -> None:
    changed = encode_frame(frame, 1)
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        ParentReader(1).feed(changed)
    except FrameError:
        return


MAX = 4_096
KEPT = 256 * 1024


@given(st.data(), st.booleans())
def test_a_spoiled_stream_is_frames_or_one_error_in_bounded_memory(data: st.DataObject, is_worker: bool) -> None:
    kinds, make = (to_worker, WorkerReader) if is_worker else (from_worker, ParentReader)
    stream = data.draw(
        mutated(st.lists(kinds, max_size=4).map(lambda frames: b"".join(encode_frame(f, 1) for f in frames)))
    )
    reader = make(1, MAX)
    while stream:
        size = data.draw(st.integers(1, max(1, len(stream))))
        try:
            frames = reader.feed(stream[:size])
        except FrameError:
            return
        assert len(reader.space()) <= max(KEPT, MAX + HEADER.size)
        for frame in frames:
            again = encode_frame(frame, 1)
            assert b"".join(encode_frame(f, 1) for f in make(1).feed(again)) == again
        stream = stream[size:]


@given(mutated(from_worker.map(lambda frame: bytes(encode_frame(frame, 1)[HEADER.size :]))))
def test_a_spoiled_body_behind_a_right_header_is_a_frame_or_one_error(body: bytes) -> None:
    def decode(body: bytes) -> Any:
        [frame] = ParentReader(1).feed(HEADER.pack(b"SV", 1, 1, len(body)) + body)
        return frame

    check_decoder(decode, lambda frame: bytes(encode_frame(frame, 1)[HEADER.size :]), body)


@given(mutated(to_worker.map(lambda frame: bytes(encode_frame(frame, 1)[HEADER.size :]))))
def test_a_spoiled_body_from_the_parent_is_a_frame_or_one_error(body: bytes) -> None:
    def decode(body: bytes) -> Any:
        [frame] = WorkerReader(1).feed(HEADER.pack(b"SV", 1, 1, len(body)) + body)
        return frame

    check_decoder(decode, lambda frame: bytes(encode_frame(frame, 1)[HEADER.size :]), body)


@pytest.mark.parametrize("head", HEADS)
def test_a_body_that_announces_more_than_there_is_takes_no_memory(head: str) -> None:
    for lead in (b"", b"\x92\x13", b"\x92\x13\x91", b"\x94\x14\x00\x01", b"\x92\x12", b"\x92\x12\x94"):
        body = lead + HEADS[head]
        reader = ParentReader(1)
        stream = HEADER.pack(b"SV", 1, 1, len(body)) + body
        assert peak_bytes(lambda reader=reader, stream=stream: reader.feed(stream)) < 100_000  # type: ignore[misc]


def test_deep_nesting_is_one_error() -> None:
    body = b"\x91" * 100_000
    with pytest.raises(FrameError):
        ParentReader(1).feed(HEADER.pack(b"SV", 1, 1, len(body)) + body)


class Pair(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """A body that is part of its frame."""

    number: int
    data: bytes


BODIES = [Pair(1, b"a"), (2, b"b"), msgspec.Raw(msgspec.msgpack.encode((3, b"c")))]
"""One in each of the forms in which it may be handed over."""


def test_bodies_of_a_type_are_part_of_their_frame() -> None:
    parent, worker = ParentReader(1, body=Pair), WorkerReader(1)
    worker.expect(Pair)
    read = [Pair(1, b"a"), Pair(2, b"b"), Pair(3, b"c")]
    [done] = parent.feed(encode_frame(Done([1, 2, 3], BODIES, [0.0] * 3), 1))
    [delivered] = worker.feed(encode_frame(Deliver(0, [1, 2, 3], BODIES), 1))
    assert (done, delivered) == (Done([1, 2, 3], read, [0.0] * 3), Deliver(0, [1, 2, 3], read))


@pytest.mark.parametrize("body", [b"bytes", [1], [1, b"", 2], ["1", b""], None])
def test_a_body_that_is_not_of_its_type_ends_the_stream(body: Any) -> None:
    worker = WorkerReader(1)
    worker.expect(Pair)
    for reader, frame in (
        (ParentReader(1, body=Pair), Done([1], [body], [0.0])),
        (worker, Deliver(0, [1], [body])),
    ):
        with pytest.raises(FrameError, match="is not the protocol"):
            reader.feed(encode_frame(frame, 1))
    with pytest.raises(FrameError, match="is not the protocol"):
        decode_body(encode_body(body), Pair)


def test_a_body_comes_by_itself_as_in_a_frame() -> None:
    assert [decode_body(encode_body(body), Pair) for body in BODIES] == [Pair(1, b"a"), Pair(2, b"b"), Pair(3, b"c")]
