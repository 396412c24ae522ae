"""The history of a job in logs, one for each of its runners: facts in batches, behind a header that names things. Pure.

Owns what the records of such a log hold. Never reads or writes a log (see `log` for its framing, `keeping.history`
for the history over all runners).

The first record is the header. Each other one is a batch of facts, oldest first.
"""

from __future__ import annotations

import msgspec

from routilux.executions import Names
from routilux.facts import JOB, Fact
from routilux.records.errors import DamagedHistoryError, UnsupportedFormatError
from routilux.records.log import frame
from routilux.records.packing import Unpacker, pack
from routilux.records.schema import Count, HistoryPosition, Number

FORMAT = 1
"""What is written here."""
MIN_READER = 1
"""The oldest format whose readers can read what is written here."""
BATCH_BYTES = 1024 * 1024
"""A batch of more is split, as far as it can be: a record is read as a whole (arbitrary)."""


class LogHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What a history log begins with.

    Args:
        generation: which runner of the job wrote it.
        base: how far the history had come in the checkpoint that this runner began with; None where it began anew.
        names: what the indexes in its facts stand for.
        wall_offset: what to add to a clock reading to get seconds since the epoch.
        format: the format it is written in.
        min_reader: the oldest format whose readers can read it.
    """

    generation: Number
    base: HistoryPosition | None
    names: Names
    wall_offset: float
    format: Number = FORMAT
    min_reader: Number = MIN_READER


def write_log_header(header: LogHeader) -> bytes:
    """Give the first record of a log."""
    return frame(pack(header))


def write_facts(facts: list[Fact]) -> bytes:
    """Give a batch of facts as records to append: several where it is large, none where there are no facts."""
    if not facts:
        return b""
    body = pack(facts)
    if len(body) <= BATCH_BYTES or len(facts) == 1:
        return frame(body)
    half = len(facts) // 2
    return write_facts(facts[:half]) + write_facts(facts[half:])


def read_log_header(body: bytes) -> LogHeader:
    """Read the body of a log's first record.

    Raises:
        DamagedHistoryError: it is no header.
        UnsupportedFormatError: a newer version wrote it.
    """
    needed = _read_version(body, "its header").min_reader
    if needed > FORMAT:
        raise UnsupportedFormatError("the history", needed, FORMAT)
    return _read_header(body, "its header")


def read_facts(body: bytes, names: Names) -> list[Fact]:
    """Read the body of another record of a log.

    Args:
        body: the body.
        names: the log's, from its header.

    Raises:
        DamagedHistoryError: it is no batch of facts, or a fact names what the header does not.
    """
    facts = _read_facts(body, "a batch of facts")
    for fact in facts:
        if not is_named(fact, names):
            raise DamagedHistoryError("a fact is of a routine, event or connection that its header does not name")
    return facts


def is_named(fact: Fact, names: Names) -> bool:
    """Tell whether what a fact speaks of is among the names."""
    if fact.routine == JOB:
        return fact.kind == "node_lost" and fact.edge == -1 and not fact.events
    if not (0 <= fact.routine < len(names.routines) and -1 <= fact.edge < len(names.edges)):
        return False
    events = len(names.routines[fact.routine].events)
    return all(0 <= event < events for event in fact.events)


class _Version(msgspec.Struct):
    """What every format's header has."""

    min_reader: Count


_read_version = Unpacker(_Version, DamagedHistoryError).unpack
_read_header = Unpacker(LogHeader, DamagedHistoryError).unpack
_read_facts = Unpacker(list[Fact], DamagedHistoryError).unpack
