"""A job's history as a trace: what Chrome's `about:tracing` and Perfetto's viewer open. Pure.

Owns the form (the Trace Event Format, as a JSON object) and what of the history becomes an event in it: a turn that
committed is a slice on the track of its routine, whatever went wrong or was decided a mark there. Where several turns
of a routine run at a time, it has several tracks. Gives the file in parts, and holds no more of it than those.

A slice is drawn by when its turn was committed. Of turns under a millisecond a process tells in batches, so some of
them would lie over one another: they are drawn one behind the other, at most `LATE_SECONDS` later than they were.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from routilux.executions import ExecutionRecord
from supervisors.text import printable

SHORT_SECONDS = 0.001
"""A turn that took less may have been told of later, with others (`supervisors.places.process`)."""
LATE_SECONDS = 0.01
"""How much later than it was such a turn may be drawn (arbitrary: nobody sees it beside longer ones)."""
MARKS = frozenset(
    {"error", "stop", "continue", "retry", "skip", "skipped", "redelivered", "discarded", "unjoined", "node_lost"}
)
"""Kinds of records that become marks."""
JOB_TRACK = "the job as a whole"
"""Where that is marked which happened to no routine in particular."""

_PID = 1
_encode = msgspec.json.Encoder().encode


def write_trace(title: str, records: Iterable[ExecutionRecord], began_at: float) -> Iterator[bytes]:
    """Give a trace file in parts.

    Args:
        title: what the trace is of.
        records: the history, oldest first.
        began_at: the time from which the trace counts, in seconds since the epoch.
    """
    yield b'{"displayTimeUnit":"ms","traceEvents":[\n' + _name("process_name", 0, title)
    tracks = _Tracks()
    for record in records:
        if record.kind == "completed":
            start, track = tracks.place(record, record.at - began_at)
            yield from tracks.take_new()
            yield b",\n" + _encode(_slice(record, start, track))
        elif record.kind in MARKS:
            track = tracks.first(record.routine_id or JOB_TRACK)
            yield from tracks.take_new()
            yield b",\n" + _encode(_mark(record, record.at - began_at, track))
    yield b"\n]}\n"


class _Tracks:
    """The tracks of all routines, and until when each is taken, in seconds."""

    def __init__(self) -> None:
        self._tracks: dict[str, list[int]] = {}
        self._ends: list[float] = []
        self._new: list[bytes] = []

    def first(self, routine_id: str) -> int:
        """Give the number of a routine's first track."""
        tracks = self._tracks.get(routine_id)
        return tracks[0] if tracks else self._add(routine_id, float("-inf"))

    def place(self, record: ExecutionRecord, end: float) -> tuple[float, int]:
        """Find room for a turn: give when it begins, and on which track."""
        start = end - record.seconds
        tracks = self._tracks.get(record.routine_id, ())
        free = [track for track in tracks if self._ends[track] <= start]
        if free:
            track = max(free, key=self._ends.__getitem__)  # the gap is the smallest there
        elif tracks and record.seconds < SHORT_SECONDS:
            track = min(tracks, key=self._ends.__getitem__)
            if self._ends[track] - start > LATE_SECONDS:
                track = self._add(record.routine_id, start)
        else:
            track = self._add(record.routine_id, start)
        start = max(start, self._ends[track])
        self._ends[track] = start + record.seconds
        return start, track

    def take_new(self) -> list[bytes]:
        """Give what names the tracks that are new."""
        new, self._new = self._new, []
        return new

    def _add(self, routine_id: str, end: float) -> int:
        track = len(self._ends)
        self._ends.append(end)
        tracks = self._tracks.setdefault(routine_id, [])
        tracks.append(track)
        name = routine_id if len(tracks) == 1 else f"{routine_id} ({len(tracks)})"
        self._new.append(b",\n" + _name("thread_name", track, name))
        return track


def _name(kind: str, track: int, name: str) -> bytes:
    return _encode({"ph": "M", "name": kind, "pid": _PID, "tid": track, "args": {"name": printable(name)}})


def _slice(record: ExecutionRecord, start: float, track: int) -> dict[str, Any]:
    return {
        "ph": "X",
        "name": printable(record.source) or record.routine_id,
        "cat": "turn",
        "ts": start * 1e6,
        "dur": record.seconds * 1e6,
        "pid": _PID,
        "tid": track,
        "args": {"message": record.message_id, "attempt": record.attempt},
    }


def _mark(record: ExecutionRecord, at: float, track: int) -> dict[str, Any]:
    told = {"message": record.message_id, "attempt": record.attempt, "detail": printable(record.detail)}
    return {
        "ph": "i",
        "s": "t",
        "name": record.kind,
        "cat": "failure",
        "ts": at * 1e6,
        "pid": _PID,
        "tid": track,
        "args": told,
    }
