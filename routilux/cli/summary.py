"""How a job went, as text: a final state in, lines out.

Owns the words of the summary and how failures are grouped by their cause. Pure. Never writes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from routilux.causes import tell_details
from routilux.cli.picture import (
    ID_SHOWN,
    Column,
    fit,
    lay_out,
    tell_bytes,
    tell_count,
    tell_rate,
    tell_seconds,
    tell_status,
    width_of,
)
from routilux.dead_letters import DeadLetter
from routilux.executions import ExecutionRecord
from routilux.figures import RoutineFigures, figures_in
from routilux.jobs.machine import JobStatus
from routilux.jobs.state import JobState
from routilux.tracking.performance import rate_of
from supervisors.reasons import Crashed, OutOfMemory, Raised, Reason, StartFailed
from supervisors.text import printable

CAUSES_SHOWN = 10
"""Causes that get a line of their own (arbitrary: what a screen has room for)."""
TEXT_SHOWN = 50
"""Characters of an error's text in an example (arbitrary: what leaves room for its place in the code)."""

_NO_PROCESS = "process 0 "
_DETAIL = "      "


class Row(NamedTuple):
    """One routine of a finished job."""

    id: str
    status: str
    figures: RoutineFigures
    rate: float | None


COLUMNS: tuple[Column[Row], ...] = (
    Column("routine", lambda row: row.id, 0, is_text=True),
    Column("status", lambda row: row.status, 4, is_text=True),
    Column("handled", lambda row: tell_count(row.figures.handled), 0),
    Column("per s", lambda row: tell_rate(row.rate), 5),
    Column("failed", lambda row: tell_count(row.figures.failed), 3),
    Column("retries", lambda row: tell_count(row.figures.retries), 6),
    Column("restarts", lambda row: tell_count(row.figures.restarts), 3),
    Column("dead", lambda row: tell_count(row.figures.dead), 2),
    Column("skipped", lambda row: tell_count(row.figures.skipped), 7),
    Column("left", lambda row: tell_count(row.figures.left), 1),
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
    seconds = state.tracker.seconds
    head = f"{state.flow_id}, job {state.job_id}: {state.status} after {tell_seconds(seconds)}"
    lines = [printable(head)]
    lines += _tell_error(state, width)
    rows = [
        Row(
            routine_id,
            tell_status(told["status"], state.status),
            figures := figures_in(told["stats"]),
            rate_of(figures.handled, seconds),
        )
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


def tell_example(reason: Reason) -> list[str]:
    """Tell of one failure what its kind does not: text, process, memory, place in the code, last output. Escape it."""
    told = []
    if isinstance(reason, Raised | StartFailed) and reason.error.text:
        told.append(fit(printable(reason.error.text.partition("\n")[0]), TEXT_SHOWN))
    if pid := getattr(reason, "pid", None):
        told.append(f"process {pid}")
    if isinstance(reason, OutOfMemory) and reason.peak_bytes:
        told.append(f"peak {tell_bytes(reason.peak_bytes)}")
    return told + tell_details(reason)


def find_stop(state: JobState) -> ExecutionRecord | None:
    """Give the failure of a message by which a job failed; None where it was another, or the job did not fail."""
    if state.status is not JobStatus.FAILED:
        return None
    stops = [record for record in state.history if record.kind == "stop" and record.reason is not None]
    return stops[-1] if stops else None


def _tell_error(state: JobState, width: int) -> list[str]:
    if not state.error:
        return []
    lines = [fit(printable(f"  {state.error}"), 4 * width)]
    stop = find_stop(state)
    if stop is not None and stop.reason is not None:
        lines += _tell_message(f"message {stop.message_id[:ID_SHOWN]}", tell_details(stop.reason), width)
    return lines


def _tell_message(message: str, details: list[str], width: int) -> list[str]:
    """Tell of a message and what is known of its failure, in as many lines as that takes."""
    lines, line = [], f"{_DETAIL}{message}"
    for number, detail in enumerate(map(printable, details)):
        separator = "; " if number else ": "
        if width_of(line + separator + detail) <= width:
            line += separator + detail
        else:
            lines.append(line)
            line = f"{_DETAIL}  {detail}"
    return [fit(told, width) for told in [*lines, line]]


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
        letter = cause.example
        lead = "such as " if cause.messages > 1 else ""
        tried = f", tried {letter.attempts} times" if letter.attempts > 1 else ""
        told = f"{lead}message {letter.message.id[:ID_SHOWN]}{tried}"
        lines += _tell_message(told, tell_example(letter.reason), width)
    if len(causes) > CAUSES_SHOWN:
        lines.append(f"  and {tell_count(len(causes) - CAUSES_SHOWN)} more causes")
    return lines


def _tell_abandoned(rows: list[Row], width: int) -> list[str]:
    counts = [f"{row.id} {tell_count(row.figures.abandoned)}" for row in rows if row.figures.abandoned]
    return [fit(printable("threads left behind in their handlers: " + ", ".join(counts)), width)] if counts else []


def _tell_outputs(state: JobState) -> list[str]:
    counts = [f"{routine_id}.{event} {tell_count(len(items))}" for (routine_id, event), items in state.outputs.items()]
    return [printable("results: " + ", ".join(counts))] if counts else []
