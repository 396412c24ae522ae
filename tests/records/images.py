"""Images of jobs, made by hand."""

from __future__ import annotations

from typing import Any

from routilux.records.format import WrittenCheckpoint
from routilux.records.schema import (
    DeadLetterImage,
    EdgeImage,
    Header,
    HistoryPosition,
    Image,
    JobImage,
    MessageImage,
    OutputImage,
    PausePoint,
    RetryImage,
    RoutineImage,
    RoutineShape,
    RoutineSummary,
    StateImage,
    Topology,
    TypeShape,
)
from supervisors.reasons import Crashed, ErrorRecord, Raised

KEY = b"a key of 24 bytes, guess"


def message(edge: int = 0, seq: int = 1, **parts: Any) -> MessageImage:
    return MessageImage(edge, seq, seq.to_bytes(16, "big"), f"payload {seq}".encode(), **parts)


def header(**parts: Any) -> Header:
    given = {
        "job_id": "nightly",
        "flow_id": "census",
        "generation": 1,
        "number": 12,
        "status": "paused",
        "error": None,
        "cause": "pause",
        "job_created_at": 1_700_000_000.0,
        "created_at": 1_700_000_600.25,
        "forked_from": None,
        "python": "3.11",
        "version": "0.1.0",
        "needs": [],
        "routines": [
            RoutineSummary("read", "running", None, 1, 0, 40),
            RoutineSummary("parse", "error_continued", "raised ValueError: row 17", 5, 2, 31),
        ],
        "messages": 9,
    }
    return Header(**{**given, **parts})  # type: ignore[arg-type]


def topology() -> Topology:
    return Topology(
        "census",
        [
            RoutineShape("read", "Reader", "thread", 1, {"trigger": "override"}, ["file"], "dict", "encoded"),
            RoutineShape("parse", "Parse", "process", 2, {"source": "append"}, ["parsed"], "dict", "value", "ab12"),
        ],
        [
            EdgeImage("read", "file", "parse", "source", "read.file -> parse.source", [("name", "path")]),
            EdgeImage("parse", "parsed", "", "", "parse.parsed -> output", []),
            EdgeImage("", "", "read", "", "entry -> read", []),
        ],
        {"census.Point": TypeShape(2, ["x", "y"])},
    )


def routines() -> list[RoutineImage]:
    letters = [
        DeadLetterImage(
            message(0, 17, failures=3), Raised(ErrorRecord("ValueError", "row 17", "at line 3")), 3, 1_700_000_100.5
        ),
        DeadLetterImage(message(0, 18, crashes=1), Crashed(9, None, 4321), 1, 1_700_000_101.5),
    ]
    return [
        RoutineImage("read", "running", None, False, [message(2, 1, released=3)], [], [], [], {"handled": 40}),
        RoutineImage(
            "parse",
            "error_continued",
            "raised ValueError: row 17",
            False,
            [message(0, 37, redelivered=True, once={"charge": b"\xc3"})],
            [message(0, 39), message(0, 40, stepped=2)],
            [RetryImage([message(0, 38, failures=1)], 0.75, True)],
            letters,
            {"handled": 31, "failed": 5, "dead": 2, "retries": 3, "restarts": 1},
        ),
    ]


def image(states: list[StateImage] | None = None, **parts: Any) -> Image:
    """Give a job with a bit of everything."""
    job = JobImage(
        [40, 31, 1],
        [31, 30, 0],
        [2, 0, 0],
        [3, 0, 0],
        True,
        [PausePoint(1_700_000_600.0, "lunch", b"\xa4note", 1, 12)],
        HistoryPosition(1, 4_096),
        [OutputImage("parse", "parsed", [message(1, 31)], [message(1, 30)])],
    )
    given = [
        StateImage("parse", 0, b"\x81\xa5files\x1f"),
        StateImage("parse", 1, b"\x80"),
        StateImage("read", 0, b"\x80"),
    ]
    return Image(header(**parts), topology(), job, routines(), given if states is None else states)


def to_bytes(written: WrittenCheckpoint) -> bytes:
    return b"".join(written.parts)


def no_object(name: str, limit: int) -> bytes:
    raise AssertionError(name)
