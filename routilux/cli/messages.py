"""`routilux show --messages`: what waits, is handled or was given up in the newest checkpoint, message for message.

Owns what is told of each. Nothing of users is imported, and nothing is unpickled.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from routilux.causes import tell_cause
from routilux.cli.errors import UsageError
from routilux.cli.output import width_of, write_result
from routilux.cli.picture import ID_SHOWN, Column, lay_out, tell_count
from routilux.cli.stored import check_routine, read_key, tell_size
from routilux.errors import RoutiluxError
from routilux.keeping.finding import latest
from routilux.keeping.messages import KeptMessage, each_message, match_messages, short_ids
from routilux.records.schema import Image
from routilux.serial.described import describe
from routilux.stores.base import Store
from supervisors.errors import SupervisorsError
from supervisors.text import cut, printable

NAMES_SHOWN = 8
"""Messages that an error names (arbitrary: a line or two)."""
DATA_SHOWN = 200
"""Characters of a message's data that are shown (arbitrary: what a terminal has room for)."""
MESSAGES_SHOWN = 1_000
"""Messages that are told to people (arbitrary: more than anybody reads)."""


class Row(NamedTuple):
    """One message, and what it is called here."""

    kept: KeptMessage
    name: str
    connection: str

    @property
    def tries(self) -> int:
        """How often it was tried."""
        return self.kept.message.failures if self.kept.letter is None else self.kept.letter.attempts

    @property
    def told(self) -> str:
        """Why it was given up; of others what they carry."""
        return _tell_data(self.kept) if self.kept.letter is None else tell_cause(self.kept.letter.reason)


COLUMNS: tuple[Column[Row], ...] = (
    Column("message", lambda row: row.name, 0, is_text=True),
    Column("routine", lambda row: row.kept.routine_id, 0, is_text=True),
    Column("is", lambda row: row.kept.place, 0, is_text=True),
    Column("tried", lambda row: tell_count(row.tries), 1),
    Column("size", lambda row: tell_size(len(row.kept.message.payload)), 3),
    Column("by", lambda row: row.connection, 2, is_text=True),
)


def show_messages(store: Store, options: argparse.Namespace) -> int:
    """List the messages of the newest checkpoint, or of one routine in it; JSON is an object a line."""
    found = latest(store, options.job, key=read_key(options))
    if options.routine is not None:
        check_routine(options.routine, [routine.id for routine in found.image.routines])
    rows = list_messages(found.image, options.routine)
    if options.json:
        write_result("".join(f"{msgspec.json.encode(_to_dict(row)).decode()}\n" for row in rows))
    elif not rows:
        print("no message waits, is handled or was given up", file=sys.stderr)
    else:
        width, more = width_of(sys.stdout), len(rows) - MESSAGES_SHOWN
        rows = rows[:MESSAGES_SHOWN]
        titles, lines = lay_out(COLUMNS, rows, width)
        write_result(f"{titles}\n")
        for row, line in zip(rows, lines, strict=True):
            write_result(f"{line}\n  {cut(printable(row.told), width - 2)}\n", flush=False)
        write_result("")
        if more > 0:
            print(f"and {tell_count(more)} more: --json tells all, and --routine ID those of one", file=sys.stderr)
    for problem in found.problems:
        print(printable(f"routilux: {problem}; the checkpoint before it is shown"), file=sys.stderr)
    return int(bool(found.problems))


def list_messages(image: Image, routine_id: str | None = None) -> list[Row]:
    """Give the messages of a checkpoint, each under the shortest name that is that of no other."""
    messages = list(each_message(image))
    names = short_ids([message.id for message in messages], ID_SHOWN)
    edges = image.topology.edges
    return [
        Row(message, names[message.id], edges[message.message.edge].label)
        for message in messages
        if routine_id in {None, message.routine_id}
    ]


def find_message(image: Image, given: str) -> KeptMessage:
    """Find the message that is meant by the beginning of its id.

    Raises:
        UsageError: there is none, or more than one; it names those.
    """
    messages = list(each_message(image))
    if not messages:
        raise UsageError("no message waits, is handled or was given up in the newest checkpoint")
    found = match_messages(messages, given.lower())
    if len({message.id for message in found}) == 1:
        return found[0]
    names = short_ids([message.id for message in messages], ID_SHOWN)
    if found:
        raise UsageError(f"{given!r} is the beginning of several: {_list_names(found, names)}")
    raise UsageError(
        f"there is no message {given!r} in the newest checkpoint; there are {_list_names(messages, names)}"
    )


def _list_names(messages: Sequence[KeptMessage], names: dict[str, str]) -> str:
    shown = [f"{names[message.id]} ({message.routine_id}, {message.place})" for message in messages[:NAMES_SHOWN]]
    rest = len(messages) - len(shown)
    return ", ".join(shown) + (f" and {rest} more (routilux show JOB --messages)" if rest else "")


def _tell_data(kept: KeptMessage) -> str:
    try:
        return cut(repr(describe(kept.message.payload)), DATA_SHOWN)
    except (SupervisorsError, RoutiluxError) as error:
        return f"<unreadable: {error}>"


def _to_dict(row: Row) -> dict[str, object]:
    kept = row.kept
    return {
        "message_id": kept.id,
        "routine_id": kept.routine_id,
        "is": kept.place,
        "tried": row.tries,
        "connection": row.connection,
        "size_bytes": len(kept.message.payload),
        "data": _tell_data(kept),
        "cause": None if kept.letter is None else tell_cause(kept.letter.reason),
    }
