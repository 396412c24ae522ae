"""A log gives back what was appended, up to the first record that is torn or wrong."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routilux.records.log import CHUNK_BYTES, MAX_RECORD_BYTES, LogReader, LogRecord, Read, frame
from tests.supervisors.wire.mutations import mutated, peak_bytes

BODIES = [b"first", b"x" * 300, b"\0"]
WHOLE = b"".join(map(frame, BODIES))
ENDS = [len(WHOLE) - len(frame(BODIES[2])) - len(frame(BODIES[1])), len(WHOLE) - len(frame(BODIES[2])), len(WHOLE)]


def reading(data: bytes) -> Read:
    return lambda offset, limit: data[offset : offset + limit]


def read(data: bytes, offset: int = 0, end: int | None = None) -> tuple[list[bytes], int, str | None]:
    reader = LogReader(reading(data), offset, end)
    return [record.body for record in reader], reader.offset, reader.problem


def test_records_come_back_in_order_with_their_ends() -> None:
    reader = LogReader(reading(WHOLE))

    assert list(reader) == [LogRecord(body, end) for body, end in zip(BODIES, ENDS, strict=True)]
    assert (reader.offset, reader.problem) == (len(WHOLE), None)


def test_an_empty_log_has_no_records_and_no_problem() -> None:
    assert read(b"") == ([], 0, None)


def test_a_log_is_read_from_the_end_of_any_record_and_up_to_one() -> None:
    assert read(WHOLE, ENDS[0]) == (BODIES[1:], ENDS[2], None)
    assert read(WHOLE, 0, ENDS[1]) == (BODIES[:2], ENDS[1], None)
    assert read(WHOLE, ENDS[1], ENDS[1]) == ([], ENDS[1], None)


def test_reading_goes_on_where_it_stopped_when_more_was_appended() -> None:
    data = bytearray(WHOLE)
    reader = LogReader(lambda offset, limit: bytes(data[offset : offset + limit]))
    assert len(list(reader)) == 3
    data += frame(b"later")

    assert [record.body for record in reader] == [b"later"]


def test_every_truncation_gives_the_records_before_it_and_says_where_it_is() -> None:
    for length in range(len(WHOLE)):
        whole = [end for end in ENDS if end <= length]
        at = whole[-1] if whole else 0
        problem = None if at == length else f"the last record is torn, at offset {at}"

        assert read(WHOLE[:length]) == (BODIES[: len(whole)], at, problem)


def test_every_flipped_bit_stops_at_its_record() -> None:
    data = bytearray(WHOLE)
    for bit in range(8 * len(data)):
        data[bit // 8] ^= 1 << bit % 8
        before = sum(end <= bit // 8 for end in ENDS)
        bodies, at, problem = read(bytes(data))
        assert bodies == BODIES[:before]
        assert at == ([0, *ENDS])[before]
        assert problem is not None
        data[bit // 8] ^= 1 << bit % 8


@pytest.mark.parametrize("zeros", [1, 7, 8, 9, 4096])
def test_zeros_at_the_end_are_no_records(zeros: int) -> None:
    bodies, at, problem = read(WHOLE + bytes(zeros))

    assert (bodies, at) == (BODIES, len(WHOLE))
    assert problem is not None


@pytest.mark.parametrize(("end", "problem"), [(len(WHOLE) + 5, "go on to"), (ENDS[1] + 3, "torn")])
def test_a_log_that_does_not_come_to_its_end_says_so(end: int, problem: str) -> None:
    assert problem in (read(WHOLE, 0, end)[2] or "")


@pytest.mark.parametrize("body", [b"", bytes(MAX_RECORD_BYTES + 1)], ids=["empty", "long"])
def test_no_record_is_empty_or_longer_than_the_bound(body: bytes) -> None:
    with pytest.raises(ValueError, match="the body of a record has 1 to"):
        frame(body)


@pytest.mark.parametrize("length", [MAX_RECORD_BYTES, MAX_RECORD_BYTES + 1, 2**32 - 1])
def test_an_announced_length_takes_no_memory(length: int) -> None:
    data = struct.pack("<II", length, 0) + bytes(100)

    assert peak_bytes(lambda: read(data)) < 100_000


def test_a_long_log_is_read_in_bounded_memory_and_few_pieces() -> None:
    record, asked = frame(b"x" * 10_000), 0

    def endless(offset: int, limit: int) -> bytes:
        nonlocal asked
        asked += 1
        start = offset % len(record)
        return (record * (limit // len(record) + 2))[start : start + limit] if offset < 10 * 2**20 else b""

    peak = peak_bytes(lambda: sum(1 for _ in LogReader(endless)))

    assert peak < 6 * CHUNK_BYTES
    assert asked < 50


@given(st.lists(st.integers(1, CHUNK_BYTES * 2), min_size=1, max_size=4))
def test_records_that_lie_across_chunks_come_back(sizes: list[int]) -> None:
    bodies = [bytes([number]) * size for number, size in enumerate(sizes)]
    data = b"".join(map(frame, bodies))

    assert read(data) == (bodies, len(data), None)


@given(mutated(st.lists(st.binary(min_size=1, max_size=20)).map(lambda bodies: b"".join(map(frame, bodies)))))
def test_whatever_is_read_was_framed_once(data: bytes) -> None:
    bodies, at, problem = read(data)

    assert data[:at] == b"".join(map(frame, bodies))
    assert (problem is None) == (at == len(data))
