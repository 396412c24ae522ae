"""Why something ended: the closed set of exit reasons, and the record of an error.

Owns the words in which an end is told. Never decides what follows from it (see
`policy`), never looks a class up by a name that came from data.
"""

from __future__ import annotations

import signal
import traceback
from typing import TypeAlias

import msgspec

from supervisors.text import printable

TEXT_LIMIT = 8_192
"""Characters of an error's text that are kept (arbitrary; a screenful or two)."""
TRACEBACK_LIMIT = 32_768
"""Characters of a traceback that are kept, its end being the part that tells."""
CHAIN_LIMIT = 16
"""Causes and contexts of an exception that are formatted (arbitrary)."""


class ErrorRecord(msgspec.Struct, frozen=True, array_like=True):
    """What is known of an exception, as text that always travels.

    Args:
        type: qualified class name, for people; nothing is ever imported by it.
        text: `str()` of the exception, cut to `TEXT_LIMIT` characters.
        traceback: formatted traceback with its chain, cut to `TRACEBACK_LIMIT`.
        notes: the exception's notes (PEP 678), each cut to `TEXT_LIMIT`.
    """

    type: str
    text: str
    traceback: str
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.type}: {self.text}" if self.text else self.type


def record_error(error: BaseException) -> ErrorRecord:
    """Describe `error` as text; works for any exception, however broken its methods are."""
    return ErrorRecord(
        type=_qualified_name(type(error)),
        text=_cut(_safe_text(error), TEXT_LIMIT),
        traceback=_format_traceback(error),
        notes=_notes(error),
    )


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
        exit_code: exit code where no signal ended it, or None.
        pid: process id it had.
        peak_bytes: largest resident memory seen, in bytes; None where unknown.
        last_output: last lines it wrote to stderr, newest last, as it wrote them: escape them by
            `supervisors.text.printable_output` before a terminal gets them.
    """

    signal: int | None = None
    exit_code: int | None = None
    pid: int | None = None
    peak_bytes: int | None = None
    last_output: tuple[str, ...] = ()

    def __str__(self) -> str:
        where = f"process {self.pid} " if self.pid is not None else "process "
        if self.signal is not None:
            return f"{where}was ended by {signal_name(self.signal)}"
        return f"{where}exited with code {self.exit_code} without finishing its work"


class OutOfMemory(msgspec.Struct, frozen=True, tag=True):
    """Its process was ended because memory ran out: the system's, or what it was allowed.

    Args:
        pid: process id it had.
        peak_bytes: largest resident memory seen, in bytes; None where unknown.
        limit_bytes: what it and all it had started were allowed, where that was it; None: the system ended it.
    """

    pid: int | None = None
    peak_bytes: int | None = None
    limit_bytes: int | None = None

    def __str__(self) -> str:
        if self.limit_bytes is not None:
            held = "more" if self.peak_bytes is None else f"{self.peak_bytes / 2**20:,.0f} MiB, over"
            than = " than" if self.peak_bytes is None else ""
            return f"process {self.pid} held {held}{than} its memory_limit of {self.limit_bytes / 2**20:,.0f} MiB"
        size = "" if self.peak_bytes is None else f" at {self.peak_bytes / 2**20:.0f} MiB"
        return f"process {self.pid} was ended by the system as memory ran out{size}"


class Killed(msgspec.Struct, frozen=True, tag=True):
    """It was ended by force: by a brutal kill, or because it did not end in the time it was given."""

    pid: int | None = None

    def __str__(self) -> str:
        return "was killed" if self.pid is None else f"process {self.pid} was killed"


class DeadlineExceeded(msgspec.Struct, frozen=True, tag=True):
    """It took longer than it was allowed, and was ended for it.

    Args:
        seconds: what it was allowed.
        pid: process id it had, or None on a thread.
        stack: the Python stacks of its threads at that moment, as text of several lines; empty where they were not had.
    """

    seconds: float
    pid: int | None = None
    stack: str = ""

    def __str__(self) -> str:
        return f"took longer than {self.seconds:g} s and was ended"


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


def _qualified_name(cls: type) -> str:
    module = getattr(cls, "__module__", "")
    name = getattr(cls, "__qualname__", cls.__name__)
    return name if module in {"builtins", ""} else f"{module}.{name}"


def _safe_text(error: BaseException) -> str:
    # A user's __str__ may raise anything at all, SystemExit included.
    try:
        return str(error)
    except BaseException as second:  # noqa: BLE001
        return f"<its __str__ raised {_qualified_name(type(second))}>"


def _notes(error: BaseException) -> tuple[str, ...]:
    notes = getattr(error, "__notes__", ())
    if not isinstance(notes, list | tuple):
        return ()
    return tuple(_cut(note, TEXT_LIMIT) for note in notes[:CHAIN_LIMIT] if isinstance(note, str))


def _format_traceback(error: BaseException) -> str:
    try:
        text = "".join(_format_chain(error))
    except BaseException as second:  # noqa: BLE001
        text = f"<its traceback could not be formatted: {_qualified_name(type(second))}>"
    text = _encodable(text)
    return text if len(text) <= TRACEBACK_LIMIT else "[cut]\n" + text[-TRACEBACK_LIMIT:]


def _format_chain(error: BaseException) -> list[str]:
    parts: list[str] = []
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen and len(seen) < CHAIN_LIMIT:
        seen.add(id(current))
        lines = traceback.format_exception(type(current), current, current.__traceback__, limit=-40, chain=False)
        cause, context = current.__cause__, current.__context__
        follows = cause if cause is not None else (None if current.__suppress_context__ else context)
        if parts:
            parts.insert(0, "\n")
        parts[:0] = lines
        if follows is not None:
            bridge = (
                "\nThe above exception was the direct cause of the following exception:\n\n"
                if cause is not None
                else "\nDuring handling of the above exception, another exception occurred:\n\n"
            )
            parts.insert(0, bridge)
        current = follows
    return parts


def _cut(text: str, limit: int) -> str:
    text = _encodable(text)
    return text if len(text) <= limit else text[: limit - 6] + " [cut]"


def _encodable(text: str) -> str:
    # Names of files may hold lone surrogates, which no encoding takes.
    return text.encode("utf-8", "backslashreplace").decode()
