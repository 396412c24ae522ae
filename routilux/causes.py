"""Reasons for failures, as they are kept: in one line, and in full as far as there is room.

Owns the one line and what may be told beside it, what a reason weighs, and what is left of one that is too old to be
kept in full. Pure.
Never decides how much room there is.
"""

from __future__ import annotations

import errno
import sys
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from routilux.frames import find_place
from supervisors.reasons import Abandoned, Crashed, DeadlineExceeded, Raised, Reason, StartFailed
from supervisors.text import cut, printable

LINE_KEPT = 500
"""Characters of each text that a shortened reason keeps (arbitrary)."""
LEFT_OUT = "[left out: only the newest failures are kept in full]"
"""Stands for the stack of a shortened reason."""

_STACKS = {"traceback", "stack"}
_NO_TERMINAL = {"bdb.BdbQuit", "EOFError: EOF when reading a line"}
"""What `breakpoint()` and `input()` come to without one."""
_TOO_MANY_FILES = f"[Errno {errno.EMFILE}]"
_FATAL = "Fatal Python error: "

_Key = TypeVar("_Key", bound=Hashable)


def tell_cause(reason: Reason) -> str:
    """Give a reason in one line: line ends and control characters in it are escaped."""
    return printable(str(reason))


def tell_details(reason: Reason, memory_limit: int | None = None, *, in_process: bool = False) -> list[str]:
    """Tell of a failure what its line does not: place in the user's code, memory, last output. Escape it.

    Args:
        reason: why.
        memory_limit: bytes that the routine's process is allowed; None for no limit.
        in_process: whether it is known that this was in a worker process.
    """
    details = []
    output = reason.last_output if isinstance(reason, Crashed) else ()
    # A process that ends by a fault writes its stack to stderr, if it can.
    place = find_place(stack_of(reason) or "\n".join(output))
    if place is not None:
        details.append(f"at {place}")
    if isinstance(reason, Crashed) and reason.peak_bytes:
        allowed = "" if memory_limit is None else f" of {_tell_mebibytes(memory_limit)} allowed"
        details.append(f"peak {_tell_mebibytes(reason.peak_bytes)}{allowed}")
    if isinstance(reason, Raised) and reason.error.type == "MemoryError" and memory_limit is not None:
        details.append(f"its memory_limit is {_tell_mebibytes(memory_limit)}")
    if in_process and isinstance(reason, Raised) and str(reason.error) in _NO_TERMINAL:
        details.append("a worker has no terminal to be asked at: use placement='thread' meanwhile")
    if isinstance(reason, Raised | StartFailed) and reason.error.text.startswith(_TOO_MANY_FILES):
        details.append("the limit of open files is reached: raise it by ulimit -n")
    if output:
        details.append(f"last wrote {_last_words(output)!r}")
    return details


def stack_of(reason: Reason) -> str:
    """Give the stack that a reason knows; empty where it knows none."""
    if isinstance(reason, Raised | StartFailed):
        return reason.error.traceback
    return reason.stack if isinstance(reason, DeadlineExceeded | Abandoned) else ""


def weigh(part: object) -> int:
    """Give the bytes of memory that the texts of a reason take."""
    if isinstance(part, str):
        return sys.getsizeof(part) if part else 0  # all that are empty are one
    if isinstance(part, tuple):
        return sum(map(weigh, part))
    if isinstance(part, msgspec.Struct):
        return sum(weigh(getattr(part, name)) for name in part.__struct_fields__)
    return 0


def _last_words(output: Sequence[str]) -> str:
    """Give the last line that is the program's own, and of a fatal error which one."""
    for at, line in enumerate(output):
        if line.startswith(_FATAL):
            # Behind that line come the stack, and modules that nobody asks for.
            before = next((said for said in reversed(output[:at]) if said.strip()), None)
            return (line if before is None else before).strip()
    return next((line for line in reversed(output) if line.strip()), "").strip()


def _tell_mebibytes(count: int) -> str:
    return f"{count / 2**20:,.0f} MiB"


def shorten(reason: Reason) -> Reason:
    """Give what is kept of an old reason: its kind, numbers and line, without stacks, notes and output."""
    short: Reason = _shortened(reason)
    return short


def _shortened(part: msgspec.Struct) -> Any:
    return msgspec.structs.replace(
        part, **{name: _shortened_field(name, getattr(part, name)) for name in part.__struct_fields__}
    )


def _shortened_field(name: str, value: object) -> object:
    if isinstance(value, str):
        return LEFT_OUT if value and name in _STACKS else cut(value, LINE_KEPT)
    if isinstance(value, msgspec.Struct):
        return _shortened(value)
    return () if isinstance(value, tuple) else value


class TextBudget(Generic[_Key]):
    """The room there is for reasons in full: the newest have it.

    Args:
        limit: bytes of text, as `weigh` counts them.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._sizes: OrderedDict[_Key, int] = OrderedDict()
        self._total = 0

    @property
    def oldest(self) -> _Key | None:
        """The key that was given room first, of those that have it; None: there is none."""
        return next(iter(self._sizes), None)

    def take(self, key: _Key, size: int) -> list[_Key]:
        """Give room to a reason; those that have it no more, oldest first, are to be shortened."""
        self._sizes[key] = size
        self._total += size
        over = []
        while self._total > self._limit:
            oldest, its_size = self._sizes.popitem(last=False)
            self._total -= its_size
            over.append(oldest)
        return over

    def give_back(self, key: _Key) -> None:
        """Note that a reason is gone; one that has no room is passed over."""
        self._total -= self._sizes.pop(key, 0)
