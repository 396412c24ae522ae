"""Facts come back from a log, or are refused with a named error."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routilux.executions import Names, RoutineNames
from routilux.facts import JOB, Fact
from routilux.ids import to_bytes
from routilux.records.errors import DamagedHistoryError, UnsupportedFormatError
from routilux.records.history_log import (
    BATCH_BYTES,
    LogHeader,
    read_facts,
    read_log_header,
    write_facts,
    write_log_header,
)
from routilux.records.log import LogReader
from routilux.records.schema import HistoryPosition
from supervisors.reasons import Crashed, ErrorRecord, Raised
from tests.supervisors.wire.mutations import mutated

NAMES = Names(
    (RoutineNames("read", ("file",)), RoutineNames("parse", ())), ("entry -> read", "read.file -> parse.source")
)
HEADER = LogHeader(generation=3, base=HistoryPosition(2, 77), names=NAMES, wall_offset=1_000.5)
FACTS = [
    Fact("committed", 0, 0, to_bytes(1), 1, 5.0, 0.25, (0, 0)),
    Fact("failed", 1, 1, to_bytes(1), 2, 6.0, reason=Raised(ErrorRecord("ValueError", "row 17", "trace", ("a note",)))),
    Fact("retry", 1, 1, to_bytes(1), 2, 6.0, reason=Crashed(9, None, 4321, 2**31, ("last words",))),
    Fact("skipped", 1, -1, b"", 0, 7.0, count=3),
    Fact("node_lost", JOB, -1, b"", 0, 8.0, detail="node ten was lost"),
]


def bodies(data: bytes) -> list[bytes]:
    return [record.body for record in LogReader(lambda offset, limit: data[offset : offset + limit])]


def test_a_header_comes_back() -> None:
    (body,) = bodies(write_log_header(HEADER))

    assert read_log_header(body) == HEADER


def test_facts_come_back_with_their_reasons() -> None:
    (body,) = bodies(write_facts(FACTS))

    assert read_facts(body, NAMES) == FACTS
    assert write_facts([]) == b""


def test_a_large_batch_is_split_so_that_a_record_can_be_read_as_a_whole() -> None:
    text = "x" * 30_000
    facts = [
        Fact("failed", 0, 0, to_bytes(seq), 1, 1.0, reason=Raised(ErrorRecord("E", "", text))) for seq in range(100)
    ]
    parts = bodies(write_facts(facts))

    assert [fact for part in parts for fact in read_facts(part, NAMES)] == facts
    assert max(map(len, parts)) <= BATCH_BYTES
    assert len(parts) == 4


def test_text_that_is_no_unicode_costs_no_record() -> None:
    (body,) = bodies(
        write_facts([Fact("failed", 0, 0, to_bytes(1), 1, 1.0, reason=Raised(ErrorRecord("E", "\udc80", "")))])
    )
    (fact,) = read_facts(body, NAMES)

    assert fact.reason == Raised(ErrorRecord("E", "?", ""))


@pytest.mark.parametrize(
    "fact",
    [
        Fact("committed", 2, 0, to_bytes(1), 1, 5.0),
        Fact("committed", JOB, -1, to_bytes(1), 1, 5.0),
        Fact("node_lost", JOB, 0, b"", 0, 5.0),
        Fact("committed", 0, 2, to_bytes(1), 1, 5.0),
        Fact("committed", 0, -2, to_bytes(1), 1, 5.0),
        Fact("committed", 0, 0, to_bytes(1), 1, 5.0, 0.0, (1,)),
        Fact("committed", 0, 0, to_bytes(1), 1, 5.0, 0.0, (-1,)),
    ],
)
def test_a_fact_of_what_has_no_name_is_refused(fact: Fact) -> None:
    with pytest.raises(DamagedHistoryError, match="that its header does not name"):
        read_facts(msgspec.msgpack.encode([fact]), NAMES)


def test_a_log_that_needs_a_newer_reader_is_refused_whatever_else_it_says() -> None:
    with pytest.raises(UnsupportedFormatError, match="the history needs a reader of format 2"):
        read_log_header(msgspec.msgpack.encode({"min_reader": 2, "names": "of another shape"}))


def test_what_a_newer_version_added_is_passed_over() -> None:
    header = {**msgspec.to_builtins(HEADER), "format": 2, "more": [1, {"a": b"b"}]}
    assert read_log_header(msgspec.msgpack.encode(header)) == msgspec.structs.replace(HEADER, format=2)

    fact = [*msgspec.structs.astuple(FACTS[0]), "more"]
    assert read_facts(msgspec.msgpack.encode([fact]), NAMES) == FACTS[:1]


@given(mutated(st.just(msgspec.msgpack.encode(HEADER))))
def test_nothing_but_a_named_error_comes_of_a_wrong_header(body: bytes) -> None:
    with contextlib.suppress(DamagedHistoryError, UnsupportedFormatError):
        read_log_header(body)


@given(mutated(st.lists(st.sampled_from(FACTS)).map(msgspec.msgpack.encode)))
def test_nothing_but_a_named_error_comes_of_wrong_facts(body: bytes) -> None:
    with contextlib.suppress(DamagedHistoryError):
        read_facts(body, NAMES)
