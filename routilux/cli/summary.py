"""How a job went, as text: a final state in, lines out.

Owns the words of the summary and how failures are grouped by their cause. Pure. Never writes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from routilux.cli.picture import Column, fit, lay_out, tell_bytes, tell_count, tell_rate, tell_seconds
from routilux.cli.target import OWN_FOLDERS
from routilux.dead_letters import DeadLetter
from routilux.figures import RoutineFigures, figures_in
from routilux.jobs.machine import JobStatus
from routilux.jobs.state import JobState
from supervisors.reasons import Crashed, OutOfMemory, Raised, Reason, StartFailed
from supervisors.text import printable

CAUSES_SHOWN = 10
"""Causes that get a line of their own (arbitrary: what a screen has room for)."""
TEXT_SHOWN = 50
"""Characters of an error's text in an example (arbitrary: what leaves room for its place in the code)."""

_NO_PROCESS = "process 0 "
_FRAME = re.compile(r'File "([^"]*)", line (\d+)(?:,)? in (.+)')
_FATAL = "Fatal Python error: "
_NEWEST_FIRST = "most recent call first"
ID_SHOWN = 8
"""Digits of a message's id that people are shown: enough to find it by (32 bits, arbitrary)."""
_DETAIL = "      "


class Row(NamedTuple):
    """One routine of a finished job."""

    id: str
    status: str
    figures: RoutineFigures
    seconds: float


COLUMNS: tuple[Column[Row], ...] = (
    Column("routine", lambda row: row.id, 0, is_text=True),
    Column("status", lambda row: row.status, 3, is_text=True),
    Column("handled", lambda row: tell_count(row.figures.handled), 0),
    Column("per s", lambda row: tell_rate(row.figures.handled / row.seconds if row.seconds > 0 else None), 4),
    Column("failed", lambda row: tell_count(row.figures.failed), 2),
    Column("retries", lambda row: tell_count(row.figures.retries), 5),
    Column("restarts", lambda row: tell_count(row.figures.restarts), 2),
    Column("dead", lambda row: tell_count(row.figures.dead), 1),
    Column("skipped", lambda row: tell_count(row.figures.skipped), 6),
    Column("left", lambda row: tell_count(row.figures.left), 7),
)


class Cause(NamedTuple):
    """Messages that were given up for the same cause.

    Args:
        routine_id: where.
        kind: what they have in common, such as `raised ValueError`.
        messages: how many.
        example: the newest of them, whose reason is most likely still known in full.
    """

    routine_id: str
    kind: str
    messages: int
    example: DeadLetter


def summarize(state: JobState, width: int = 100) -> str:
    """Tell how a job went: its end, a line a routine, and what was given up, by cause.

    Args:
        state: the job's final state.
        width: characters a line may have.
    """
    seconds = max(0.0, state.updated_at - state.created_at)
    head = f"{state.flow_id}, job {state.job_id}: {state.status} after {tell_seconds(seconds)}"
    lines = [printable(head)]
    lines += _tell_error(state, width)
    rows = [
        Row(routine_id, told["status"], figures_in(told["stats"]), seconds)
        for routine_id, told in state.routine_states.items()
    ]
    titles, table = lay_out(COLUMNS, rows, width)
    lines += [titles, *table, *_tell_causes(state, rows, width), *_tell_abandoned(rows, width), *_tell_outputs(state)]
    return "\n".join(lines)


def group_causes(letters: Iterable[DeadLetter]) -> list[Cause]:
    """Group dead letters by routine and kind of cause, the most frequent first."""
    groups: dict[tuple[str, str], list[DeadLetter]] = {}
    for letter in letters:
        groups.setdefault((letter.routine_id, kind_of(letter.reason)), []).append(letter)
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    return [Cause(*key, len(group), group[-1]) for key, group in ordered]


def kind_of(reason: Reason) -> str:
    """Give what a reason has in common with others of its kind.

    `raised ValueError: bad row 17` is a `raised ValueError`; which process was killed, and how large it
    was, says nothing about why.
    """
    if isinstance(reason, Raised):
        return f"raised {reason.error.type}"
    own: dict[str, int | None] = {"peak_bytes": None} if isinstance(reason, Crashed | OutOfMemory) else {}
    if getattr(reason, "pid", None) is not None:
        own["pid"] = 0
    return str(msgspec.structs.replace(reason, **own)).partition("\n")[0].replace(_NO_PROCESS, "process ")


def tell_details(reason: Reason) -> list[str]:
    """Tell of one failure what its kind does not: text, process, memory, place in the code, last output."""
    details = []
    stack = getattr(reason, "stack", None)  # which reasons have one is their own affair
    if isinstance(reason, Raised | StartFailed):
        if reason.error.text:
            details.append(fit(printable(reason.error.text.partition("\n")[0]), TEXT_SHOWN))
        stack = reason.error.traceback
    if pid := getattr(reason, "pid", None):
        details.append(f"process {pid}")
    if peak := getattr(reason, "peak_bytes", None):
        details.append(f"peak {tell_bytes(peak)}")
    output = reason.last_output if isinstance(reason, Crashed) else ()
    # A process that ends by a fault writes its stack to stderr, if it can.
    frame = innermost_frame(stack or "\n".join(output))
    if frame is not None:
        details.append(f"at {frame}")
    if output:
        # Behind that line come the stack, and modules that nobody asks for.
        last = next((line for line in output if line.startswith(_FATAL)), output[-1])
        details.append(f"last wrote {last.strip()!r}")
    return details


def innermost_frame(stack: str) -> str | None:
    """Give the last place in a stack that is the user's, as `file.py:12 in function`; None if there is none.

    A value that cannot be kept is refused deep within our own code, and it is the line of the `emit` that counts.

    Args:
        stack: as `traceback` or `faulthandler` writes it: the one has the newest frame last, the other first.
    """
    found = _FRAME.findall(stack)
    frames = [frame for frame in found if not frame[0].startswith(OWN_FOLDERS)] or found
    if not frames:
        return None
    file, line, function = frames[0 if _NEWEST_FIRST in stack else -1]
    return f"{file.rpartition('/')[2]}:{line} in {function}"


def _tell_error(state: JobState, width: int) -> list[str]:
    if not state.error:
        return []
    lines = [fit(printable(f"  {state.error}"), 4 * width)]
    stops = [record for record in state.history if record.kind == "stop" and record.reason is not None]
    if state.status is JobStatus.FAILED and stops:
        lines += _tell_example(stops[-1].message_id, stops[-1].reason, width)
    return lines


def _tell_example(message_id: str, reason: Reason | None, width: int, *, lead: str = "") -> list[str]:
    details = [] if reason is None else tell_details(reason)
    text = f"{_DETAIL}{lead}message {message_id[:ID_SHOWN]}" + (f": {'; '.join(details)}" if details else "")
    return [fit(printable(text), width)]


def _tell_causes(state: JobState, rows: list[Row], width: int) -> list[str]:
    dead = sum(row.figures.dead for row in rows)
    if not dead:
        return []
    kept = len(state.dead_letters)
    lines = [
        f"given up: {tell_count(dead)}" + (f", of which the newest {tell_count(kept)} were kept" if kept < dead else "")
    ]
    causes = group_causes(state.dead_letters)
    for cause in causes[:CAUSES_SHOWN]:
        lines.append(fit(printable(f"  {tell_count(cause.messages)} x {cause.routine_id}: {cause.kind}"), width))
        lead = "such as " if cause.messages > 1 else ""
        lines += _tell_example(cause.example.message.id, cause.example.reason, width, lead=lead)
    if len(causes) > CAUSES_SHOWN:
        lines.append(f"  and {tell_count(len(causes) - CAUSES_SHOWN)} more causes")
    return lines


def _tell_abandoned(rows: list[Row], width: int) -> list[str]:
    counts = [f"{row.id} {tell_count(row.figures.abandoned)}" for row in rows if row.figures.abandoned]
    return [fit(printable("threads left behind in their handlers: " + ", ".join(counts)), width)] if counts else []


def _tell_outputs(state: JobState) -> list[str]:
    counts = [f"{routine_id}.{event} {tell_count(len(items))}" for (routine_id, event), items in state.outputs.items()]
    return [printable("results: " + ", ".join(counts))] if counts else []
