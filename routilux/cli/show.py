"""`routilux show`: what is kept of one job, without its code.

Owns what is told of it. Objects of users are shown by the names of their types and fields: nothing of theirs is
imported, and nothing is unpickled.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from routilux.causes import tell_cause, tell_details
from routilux.cli.lookup import find_job, require_store
from routilux.cli.messages import show_messages
from routilux.cli.metrics import show_metrics
from routilux.cli.output import width_of, write_result
from routilux.cli.picture import ID_SHOWN, Column, lay_out, tell_count, tell_status
from routilux.cli.stored import (
    LOST,
    Standing,
    check_routine,
    how_to_resume,
    read_key,
    read_records,
    stand,
    tell_time,
)
from routilux.errors import RoutiluxError
from routilux.executions import ExecutionRecord
from routilux.ids import from_bytes, to_id
from routilux.keeping.finding import Found, JobSummary, latest
from routilux.keeping.history import StoredHistory
from routilux.keeping.listing import Problem
from routilux.records.schema import DeadLetterImage, Image, PausePoint, RoutineImage, StateImage, count_each
from routilux.serial.described import describe
from routilux.stores.base import Store
from routilux.turn.codec import decode_boot
from routilux.turn.state import OBJECT_KEY, is_reserved
from supervisors.errors import SupervisorsError
from supervisors.text import cut, printable

LETTERS_SHOWN = 10
"""Dead letters that are told, the newest (arbitrary: what a screen has room for)."""
VALUE_SHOWN = 500
"""Characters of a value's text (arbitrary: some lines of a terminal)."""


class Row(NamedTuple):
    """One routine of the newest good checkpoint."""

    image: RoutineImage
    job_status: str

    def count(self, name: str) -> int:
        """Give a count by its name."""
        return self.image.figures.get(name, 0)

    @property
    def left(self) -> int:
        """Messages that it has still to handle."""
        return count_each(self.image.held())


COLUMNS: tuple[Column[Row], ...] = (
    Column("routine", lambda row: row.image.id, 0, is_text=True),
    Column("status", lambda row: tell_status(row.image.status, row.job_status), 3, is_text=True),
    Column("handled", lambda row: tell_count(row.count("handled")), 0),
    Column("left", lambda row: tell_count(row.left), 1),
    Column("failed", lambda row: tell_count(row.count("failed")), 2),
    Column("retries", lambda row: tell_count(row.count("retries")), 5),
    Column("restarts", lambda row: tell_count(row.count("restarts")), 4),
    Column("dead", lambda row: tell_count(row.count("dead")), 1),
    Column("skipped", lambda row: tell_count(row.count("skipped")), 6),
)


def show(options: argparse.Namespace) -> int:
    """Show what is kept of a job: its routines, pauses, dead letters, its metrics, and its history."""
    found = find_job(options)
    if options.metrics or options.prometheus:
        return show_metrics(found, options)
    store = require_store(found)
    if options.messages:
        return show_messages(store, options)
    return show_history(store, options) if options.history else show_job(store, options)


def show_history(store: Store, options: argparse.Namespace) -> int:
    """Write the complete history, record for record, oldest first; JSON is an object a line."""
    history = StoredHistory(store, options.job)
    for record in read_records(store, history, options):
        write_result((_record_to_json(record) if options.json else _tell_record(record)) + "\n", flush=False)
    write_result("")
    for problem in history.problems:
        print(printable(f"routilux: {problem}"), file=sys.stderr)
    return int(bool(history.problems))


def show_job(store: Store, options: argparse.Namespace) -> int:
    """Tell of a job as its newest good checkpoint has it."""
    found = latest(store, options.job, key=read_key(options))
    header = found.image.header
    standing = stand(store, JobSummary(options.job, header, 0, 0, []))
    image = found.image if options.routine is None else _only(found.image, options.routine)
    if options.json:
        write_result(msgspec.json.encode(to_dict(image, standing, found.problems), enc_hook=repr).decode() + "\n")
    else:
        with_states = options.routine is not None
        write_result("\n".join(tell(image, standing, width_of(sys.stdout), with_states=with_states)) + "\n")
        tell_problems(found, standing, options)
    return int(bool(found.problems))


def tell(image: Image, standing: Standing, width: int, *, with_states: bool) -> Iterator[str]:
    """Tell of a job in lines.

    Args:
        image: the job, as it was kept.
        standing: where it stands now.
        width: characters a line of the table may have.
        with_states: whether declared states are told.
    """
    header = image.header
    yield printable(f"job {header.job_id} of flow {header.flow_id}: {standing.status}")
    if standing.owner is not None:
        yield printable(f"  run by {standing.owner}")
    if header.error:
        yield printable(f"  {header.error}")
    yield f"  begun {tell_time(header.job_created_at)}, kept {tell_time(header.created_at)} ({header.cause})"
    told = f"checkpoint {header.generation}-{header.number}, {tell_count(header.messages)} messages"
    yield printable(f"  {told}, by routilux {header.version} on Python {header.python}")
    if header.forked_from:
        yield printable(f"  forked from {header.forked_from}")
    if header.needs:
        yield printable(f"  to resume it takes: {', '.join(header.needs)}")
    titles, rows = lay_out(COLUMNS, [Row(routine, standing.status) for routine in image.routines], width)
    yield from (titles, *rows)
    for routine in image.routines:
        if routine.error:
            yield cut(printable(f"  {routine.id}: {routine.error}"), 2 * width)
    if with_states:
        for state in image.states:
            yield printable(f"state of {state.routine_id}, worker {state.worker}: {_show(_read_state(state))}")
    yield from _tell_points(image.job.pause_points)
    yield from _tell_letters(image.routines, width)


def tell_problems(found: Found, standing: Standing, options: argparse.Namespace) -> None:
    """Tell, on stderr, of newer checkpoints that are damaged, and what may be done."""
    for problem in found.problems:
        print(printable(f"routilux: {problem}; the checkpoint before it is shown"), file=sys.stderr)
    if standing.owner is None and standing.status in {LOST, "paused", "failed"}:
        print(printable(f"go on with: {how_to_resume(options.job, options.store)}"), file=sys.stderr)


def to_dict(image: Image, standing: Standing, problems: list[Problem]) -> dict[str, object]:
    """Give what is told of a job, for JSON; values of users as text."""
    header, owner = image.header, standing.owner
    return {
        "job_id": header.job_id,
        "flow_id": header.flow_id,
        "status": standing.status,
        "error": header.error,
        "created_at": header.job_created_at,
        "kept_at": header.created_at,
        "checkpoint": f"{header.generation}-{header.number}",
        "cause": header.cause,
        "forked_from": header.forked_from,
        "needs": header.needs,
        "messages": header.messages,
        "owner": None if owner is None else {"pid": owner.pid, "host": owner.host},
        "routines": {
            routine.id: {
                "status": routine.status,
                "error": routine.error,
                **routine.figures,
                "waiting": count_each(routine.waiting),
                "in_hand": count_each(routine.in_hand),
                "merging": len(routine.merging),
                "in_retry": sum(count_each(wait.messages) for wait in routine.retries),
                "states": [_show(_read_state(state)) for state in image.states if state.routine_id == routine.id],
            }
            for routine in image.routines
        },
        "pause_points": [
            {
                "at": point.at,
                "reason": point.reason,
                "checkpoint": None if point.checkpoint is None else tell_kept(point.checkpoint),
                "number": f"{point.generation}-{point.number}",
            }
            for point in image.job.pause_points
        ],
        "dead_letters": [
            {
                "routine_id": id_,
                "message_id": to_id(from_bytes(letter.message.key)),
                "attempts": letter.attempts,
                "at": letter.at,
                "cause": tell_cause(letter.reason),
            }
            for id_, letter in _letters(image.routines)
        ],
        "problems": [str(problem) for problem in problems],
    }


def _only(image: Image, routine_id: str) -> Image:
    check_routine(routine_id, [routine.id for routine in image.routines])
    routines = [routine for routine in image.routines if routine.id == routine_id]
    states = [state for state in image.states if state.routine_id == routine_id]
    return msgspec.structs.replace(image, routines=routines, states=states)


def _read_state(state: StateImage) -> Any:
    try:
        stored = decode_boot(state.body)
    except SupervisorsError as error:
        return f"<unreadable: {error}>"
    values = {key: _describe(value) for key, value in stored.items() if not is_reserved(key)}
    return values.get(OBJECT_KEY, values)


def _describe(value: Any) -> Any:
    """Give a committed value for people to look at."""
    if not isinstance(value, bytes):
        return value
    try:
        return describe(value)
    except (SupervisorsError, RoutiluxError) as error:
        return f"<unreadable: {error}>"


def tell_kept(value: bytes) -> str:
    """Say what a kept value is, for people to look at: objects by the names of their types and fields."""
    return _show(_describe(value))


def _show(value: Any) -> str:
    return cut(printable(repr(value)), VALUE_SHOWN)


def _tell_points(points: list[PausePoint]) -> Iterator[str]:
    for point in points:
        reason = f": {point.reason}" if point.reason else ""
        kept = "" if point.checkpoint is None else f", with {tell_kept(point.checkpoint)}"
        where = f"checkpoint {point.generation}-{point.number}"
        yield printable(f"paused {tell_time(point.at)}, {where}{reason}") + kept


def _letters(routines: list[RoutineImage]) -> list[tuple[str, DeadLetterImage]]:
    letters = [(routine.id, letter) for routine in routines for letter in routine.dead_letters]
    return sorted(letters, key=lambda found: found[1].at)


def _tell_letters(routines: list[RoutineImage], width: int) -> Iterator[str]:
    letters = _letters(routines)
    if letters:
        yield f"dead letters: {tell_count(len(letters))}"
    for id_, letter in letters[-LETTERS_SHOWN:]:
        message = to_id(from_bytes(letter.message.key))[:ID_SHOWN]
        details = "; ".join(tell_details(letter.reason))
        told = f"  {id_}: message {message}, tried {letter.attempts} x: {tell_cause(letter.reason)}"
        told += f" ({details})" if details else ""
        yield cut(printable(told), 2 * width)


def _tell_record(record: ExecutionRecord) -> str:
    parts = [tell_time(record.at), record.kind]
    parts += [record.routine_id] if record.routine_id else []
    parts += [record.event] if record.event else []
    parts += [f"message {record.message_id[:ID_SHOWN]}"] if record.message_id else []
    parts += [f"try {record.attempt}"] if record.attempt > 1 else []
    parts += [f"{record.seconds:.3g} s"] if record.kind == "completed" else []
    parts += [record.detail] if record.detail else []
    return printable("  ".join(parts))


def _record_to_json(record: ExecutionRecord) -> str:
    return msgspec.json.encode(record, enc_hook=repr).decode()
