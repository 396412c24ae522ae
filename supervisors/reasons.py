"""Why something ended: the closed set of exit reasons, and the record of an error.

Owns the words in which an end is told. Never decides what follows from it (see
`policy`), never looks a class up by a name that came from data.
"""

from __future__ import annotations

import signal
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from supervisors.text import printable
from supervisors.tracebacks import (
    CHAIN_LIMIT,
    CHAIN_TEXT_LIMIT,
    NAME_LIMIT,
    NOTES_LIMIT,
    TEXT_LIMIT,
    TRACEBACK_LIMIT,
    read_chain,
    text_of,
    type_name,
)

_Note: TypeAlias = Annotated[str, Meta(max_length=TEXT_LIMIT)]
_ChainLine: TypeAlias = Annotated[str, Meta(max_length=CHAIN_TEXT_LIMIT)]


class ErrorRecord(msgspec.Struct, frozen=True, array_like=True):
    """What is known of an exception, as text that always travels.

    The sizes are those of `supervisors.tracebacks`. What was cut says so. Control characters stay as they are:
    who prints a record escapes them (`supervisors.text`).

    Args:
        type: qualified class name, for people, in 256 characters; nothing is ever imported by it.
        text: `str()` of the exception, in 8,192 characters.
        traceback: formatted traceback, as Python prints it, in 32,768 characters. All exceptions of the chain
            share them, and 64 frames, evenly: frames that repeat are folded, and of more the outermost and the
            innermost are shown.
        notes: the exception's notes (PEP 678), 16 at most, each in 8,192 characters.
        chain: a line `Type: text`, in 512 characters, for each cause, context and member of a group that the
            exception came with, nearest first, 16 at most. Where there are more the last of these is the one that
            all began with, and one line more says how many are not shown.
    """

    # The bounds are checked where a record is decoded: what a worker says goes into a history that is kept.
    type: Annotated[str, Meta(max_length=NAME_LIMIT)]
    text: Annotated[str, Meta(max_length=TEXT_LIMIT)]
    traceback: Annotated[str, Meta(max_length=TRACEBACK_LIMIT)]
    notes: Annotated[tuple[_Note, ...], Meta(max_length=NOTES_LIMIT + 2)] = ()
    chain: Annotated[tuple[_ChainLine, ...], Meta(max_length=CHAIN_LIMIT + 1)] = ()

    def __str__(self) -> str:
        return f"{self.type}: {self.text}" if self.text else self.type

    def with_note(self, note: str) -> ErrorRecord:
        """Give the same with one note more."""
        return msgspec.structs.replace(self, notes=(*self.notes, text_of(note)))


def record_error(error: BaseException) -> ErrorRecord:
    """Describe `error` as text; works for any exception, however broken its methods are.

    It takes milliseconds at most, whatever the chain, beside what the exception's own `__str__` takes.
    """
    try:
        chain = read_chain(error)
        first = chain.links[0]
        return ErrorRecord(first.name, first.text, chain.to_traceback(), first.notes, chain.to_lines())
    except BaseException as second:  # noqa: BLE001 - none is known of, but memory may run out at any line
        return ErrorRecord(type_name(type(error)), f"<it could not be described: {type_name(type(second))}>", "")


class Normal(msgspec.Struct, frozen=True, tag=True):
    """It ended because its work was done."""

    def __str__(self) -> str:
        return "ended normally"


class Shutdown(msgspec.Struct, frozen=True, tag=True):
    """It was asked to end, by its supervisor or its owner."""

    info: str = ""

    def __str__(self) -> str:
        return f"shut down ({self.info})" if self.info else "shut down"


class Raised(msgspec.Struct, frozen=True, tag=True):
    """An exception came out of it."""

    error: ErrorRecord

    def __str__(self) -> str:
        return f"raised {self.error}"


class Crashed(msgspec.Struct, frozen=True, tag=True):
    """Its process ended without a word.

    Args:
        signal: number of the signal that ended it, or None.
        exit_code: exit code where no signal ended it, or None. Both are None where nobody knows: the process that had
            started it was ended itself, or somebody else took its status.
        pid: process id it had.
        peak_bytes: largest resident memory seen, in bytes; None where unknown.
        last_output: last lines it wrote to stderr, newest last, as it wrote them: escape them by
            `supervisors.text.printable_output` before a terminal gets them.
        detail: what is said of it by whoever had it on another machine; empty where it was on this one.
        node: that machine, as it is called in its cluster.
    """

    signal: int | None = None
    exit_code: int | None = None
    pid: int | None = None
    peak_bytes: int | None = None
    last_output: tuple[str, ...] = ()
    detail: str = ""
    node: str = ""

    def __str__(self) -> str:
        where = f"{_tell_process(self.pid, self.node)} "
        if self.signal is not None:
            return f"{where}was ended by {signal_name(self.signal)}"
        if self.exit_code is None and self.detail:
            return f"{where}was lost: {printable(self.detail)}"
        if self.exit_code is None:
            return f"{where}ended, and nobody is left to tell how"
        return f"{where}exited with code {self.exit_code} without finishing its work"


class OutOfMemory(msgspec.Struct, frozen=True, tag=True):
    """Its process was ended because memory ran out: the system's, or what it was allowed.

    Args:
        pid: process id it had.
        peak_bytes: largest resident memory seen, in bytes; None where unknown.
        limit_bytes: what it and all it had started were allowed, where that was it; None: the system ended it.
        node: the machine that it was on, as that is called in its cluster; empty for this one.
    """

    pid: int | None = None
    peak_bytes: int | None = None
    limit_bytes: int | None = None
    node: str = ""

    def __str__(self) -> str:
        process = _tell_process(self.pid, self.node)
        if self.limit_bytes is not None:
            held = "more" if self.peak_bytes is None else f"{self.peak_bytes / 2**20:,.0f} MiB, over"
            than = " than" if self.peak_bytes is None else ""
            return f"{process} held {held}{than} its memory_limit of {self.limit_bytes / 2**20:,.0f} MiB"
        size = "" if self.peak_bytes is None else f" at {self.peak_bytes / 2**20:.0f} MiB"
        return f"{process} was ended by the system as memory ran out{size}"


class Killed(msgspec.Struct, frozen=True, tag=True):
    """It was ended by force: by a brutal kill, or because it did not end in the time it was given."""

    pid: int | None = None

    def __str__(self) -> str:
        return "was killed" if self.pid is None else f"process {self.pid} was killed"


class DeadlineExceeded(msgspec.Struct, frozen=True, tag=True):
    """It took longer than it was allowed: its process was ended, it was cancelled, or its thread abandoned.

    Args:
        seconds: what it was allowed.
        pid: process id it had, or None on a thread.
        stack: the Python stacks of its threads at that moment, as text of several lines; empty where they were not had.
        is_cancelled: whether it was cancelled, on a loop that goes on.
    """

    seconds: float
    pid: int | None = None
    stack: str = ""
    is_cancelled: bool = False

    def __str__(self) -> str:
        end = "was ended" if self.pid is not None else "its thread was abandoned"
        if self.is_cancelled:
            end = "was cancelled"
        return f"took longer than {self.seconds:g} s and {end}"


class ProtocolError(msgspec.Struct, frozen=True, tag=True):
    """Its channel carried something that is not the protocol."""

    detail: str
    pid: int | None = None

    def __str__(self) -> str:
        # The detail may quote what the channel carried.
        return f"broke the channel's protocol: {printable(self.detail)}"


class StartFailed(msgspec.Struct, frozen=True, tag=True):
    """It never became ready."""

    error: ErrorRecord

    def __str__(self) -> str:
        return f"could not start: {self.error}"


class Abandoned(msgspec.Struct, frozen=True, tag=True):
    """Its thread did not end in time; it was fenced off and left behind."""

    stack: str

    def __str__(self) -> str:
        return "its thread did not end in time and was abandoned"


Reason: TypeAlias = (
    Normal
    | Shutdown
    | Raised
    | Crashed
    | OutOfMemory
    | Killed
    | DeadlineExceeded
    | ProtocolError
    | StartFailed
    | Abandoned
)
"""Every way in which an actor or a worker can end."""


def is_clean(reason: Reason) -> bool:
    """Tell whether `reason` is an end that nobody needs to repair."""
    return isinstance(reason, Normal | Shutdown)


def signal_name(number: int) -> str:
    """Give the name of a signal, such as `SIGKILL`; unknown ones as `signal 99`."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _tell_process(pid: int | None, node: str) -> str:
    where = f" on node {printable(node)}" if node else ""
    return ("process" if pid is None else f"process {pid}") + where
