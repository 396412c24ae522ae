"""Trace files: what becomes of a history, and that no two slices of a track lie over one another."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routilux.executions import ExecutionRecord
from routilux.tracking.trace import LATE_SECONDS, SHORT_SECONDS, write_trace


def completed(at: float, seconds: float, routine_id: str = "parse", **parts: Any) -> ExecutionRecord:
    return ExecutionRecord(routine_id, "completed", at, "ab12", "read.file -> parse.source", 1, "", seconds, **parts)


def events(*records: ExecutionRecord, began_at: float = 0.0) -> list[dict[str, Any]]:
    written = json.loads(b"".join(write_trace("census", records, began_at)))
    assert written["displayTimeUnit"] == "ms"
    found: list[dict[str, Any]] = written["traceEvents"]
    return found


def names(found: list[dict[str, Any]]) -> dict[int, str]:
    return {event["tid"]: event["args"]["name"] for event in found if event["name"] == "thread_name"}


def test_nothing_is_a_trace_too() -> None:
    assert [event["args"] for event in events()] == [{"name": "census"}]


def test_a_turn_is_a_slice_on_the_track_of_its_routine() -> None:
    found = events(completed(1001.5, 0.5), completed(1003.0, 0.25, "tally"), began_at=1000.0)
    assert names(found) == {0: "parse", 1: "tally"}
    slices = [(e["ts"], e["dur"], e["tid"], e["pid"], e["name"]) for e in found if e["ph"] == "X"]
    label = "read.file -> parse.source"
    assert slices == [(1_000_000.0, 500_000.0, 0, 1, label), (2_750_000.0, 250_000.0, 1, 1, label)]
    assert found[2]["args"] == {"message": "ab12", "attempt": 1}


def test_a_failure_and_what_was_decided_are_marks() -> None:
    told = {"message_id": "ab12", "attempt": 2, "detail": "raised ValueError:\x1b[2J \udc80"}
    found = events(*(ExecutionRecord("parse", kind, 2.0, **told) for kind in ("start", "emit", "error", "retry")))
    marks = [(event["name"], event["ts"], event["tid"], event["s"]) for event in found if event["ph"] == "i"]
    assert marks == [("error", 2e6, 0, "t"), ("retry", 2e6, 0, "t")]
    assert found[-1]["args"] == {"message": "ab12", "attempt": 2, "detail": r"raised ValueError:\x1b[2J \udc80"}


@pytest.mark.parametrize("kind", ["stop", "continue", "skip", "skipped", "redelivered", "unjoined"])
def test_whatever_became_of_a_message_but_a_turn_is_a_mark(kind: str) -> None:
    found = events(ExecutionRecord("parse", kind, 2.0))
    assert [event["name"] for event in found if event["ph"] == "i"] == [kind]


def test_turns_at_a_time_have_a_track_each() -> None:
    found = events(completed(2.0, 1.0), completed(2.5, 1.0), completed(3.0, 1.0))
    assert [event["tid"] for event in found if event["ph"] == "X"] == [0, 1, 0]
    assert names(found) == {0: "parse", 1: "parse (2)"}


def test_short_turns_that_were_told_together_are_drawn_one_behind_the_other() -> None:
    found = events(*(completed(1.0, 0.0005) for _ in range(4)))
    assert names(found) == {0: "parse"}
    starts = [event["ts"] for event in found if event["ph"] == "X"]
    assert starts == pytest.approx([999_500.0, 1_000_000.0, 1_000_500.0, 1_001_000.0])


turns = st.lists(
    st.tuples(st.integers(0, 3_000), st.integers(1, 4_000), st.sampled_from(["parse", "tally"])), max_size=60
)


@given(turns)
def test_no_two_slices_of_a_track_lie_over_one_another(drawn: list[tuple[int, int, str]]) -> None:
    at, records = 10.0, []
    for gap, length, routine_id in drawn:
        at += gap * 1e-6
        records.append(completed(at, length * 1e-6, routine_id))
    slices = [event for event in events(*records) if event["ph"] == "X"]
    ends: dict[int, float] = {}
    for event, record in zip(slices, records, strict=True):
        assert event["ts"] >= ends.get(event["tid"], 0.0) - 1e-3
        ends[event["tid"]] = event["ts"] + event["dur"]
        late = event["ts"] - (record.at - record.seconds) * 1e6
        assert -1.0 < late < LATE_SECONDS * 1e6 + 1.0
        assert late < 1.0 or record.seconds < SHORT_SECONDS
