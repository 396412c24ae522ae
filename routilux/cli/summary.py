"""How a job went, as text: a final state in, lines out.

Owns the words of the summary and how failures are grouped by their cause. Pure. Never writes.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

from routilux.accounts import DeadLetter
from routilux.cli.picture import Column, lay_out, tell_count, tell_rate, tell_seconds
from routilux.jobs.state import JobState, RoutineFigures
from supervisors.text import cut, printable

CAUSES_SHOWN = 10
"""Causes that get a line of their own (arbitrary: what a screen has room for)."""

_PROCESS = re.compile(r"\bprocess \d+ ")


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
    Column("left", lambda row: tell_count(row.figures.waiting + row.figures.in_hand + row.figures.in_retry), 7),
)


class Cause(NamedTuple):
    """Messages that were given up for the same cause.

    Args:
        routine_id: where.
        kind: what they have in common, such as `raised ValueError`.
        messages: how many.
        example: the cause of the first of them, in full.
    """

    routine_id: str
    kind: str
    messages: int
    example: str


def summarize(state: JobState, width: int = 100) -> str:
    """Tell how a job went: its end, a line a routine, and what was given up, by cause.

    Args:
        state: the job's final state.
        width: characters a line may have.
    """
    seconds = max(0.0, state.updated_at - state.created_at)
    head = f"{state.flow_id}, job {state.job_id}: {state.status} after {tell_seconds(seconds)}"
    lines = [printable(head)]
    if state.error:
        lines.append(cut(printable(f"  {state.error}"), 4 * width))
    rows = [
        Row(routine_id, told["status"], RoutineFigures(**told["stats"]), seconds)
        for routine_id, told in state.routine_states.items()
    ]
    titles, table = lay_out(COLUMNS, rows, width)
    lines += [titles, *table, *_tell_causes(state, rows, width), *_tell_abandoned(rows, width), *_tell_outputs(state)]
    return "\n".join(lines)


def group_causes(letters: list[DeadLetter]) -> list[Cause]:
    """Group dead letters by routine and kind of cause, the most frequent first."""
    counts: Counter[tuple[str, str]] = Counter()
    examples: dict[tuple[str, str], str] = {}
    for letter in letters:
        key = letter.routine_id, kind_of(letter.cause)
        counts[key] += 1
        examples.setdefault(key, letter.cause)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [Cause(*key, count, examples[key]) for key, count in ordered]


def kind_of(cause: str) -> str:
    """Give what a cause has in common with others of its kind.

    `raised ValueError: bad row 17` is a `raised ValueError`, and which process was killed says
    nothing about why.
    """
    line = cause.partition("\n")[0]
    if line.startswith("raised "):
        return line.partition(":")[0]
    return _PROCESS.sub("process ", line)


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
        text = f"  {tell_count(cause.messages)} x {cause.routine_id}: {cause.kind}"
        detail = cause.example.removeprefix(f"{cause.kind}: ")
        if detail != cause.example:
            text += f" ({'such as ' if cause.messages > 1 else ''}{detail})"
        lines.append(cut(printable(text), width))
    if len(causes) > CAUSES_SHOWN:
        lines.append(f"  and {tell_count(len(causes) - CAUSES_SHOWN)} more causes")
    return lines


def _tell_abandoned(rows: list[Row], width: int) -> list[str]:
    counts = [f"{row.id} {tell_count(row.figures.abandoned)}" for row in rows if row.figures.abandoned]
    return [cut(printable("threads left behind in their handlers: " + ", ".join(counts)), width)] if counts else []


def _tell_outputs(state: JobState) -> list[str]:
    counts = [f"{routine_id}.{event} {tell_count(len(items))}" for (routine_id, event), items in state.outputs.items()]
    return [printable("results: " + ", ".join(counts))] if counts else []
