"""What a worker prints, as lines: cut, bounded, the last ones remembered, and shown under a name.

Lines are told as they were printed. They are escaped by who shows them: here `show_output`.
"""

from __future__ import annotations

import sys
from collections import deque

from supervisors.text import printable, printable_output

LINE_BYTES = 65_536
"""Bytes of a line at most; a longer one is told in pieces."""
LAST_LINES = 50
"""Lines remembered for the report of a death: a stack of several threads is longer than a screen."""


class LineBuffer:
    """Makes lines of one stream of a worker."""

    def __init__(self) -> None:
        self._rest = b""
        self._last: deque[str] = deque(maxlen=LAST_LINES)

    @property
    def last(self) -> tuple[str, ...]:
        """The newest lines, newest last."""
        return tuple(self._last)

    def feed(self, data: bytes) -> list[str]:
        """Take what was read; give the lines that are complete, without their ends."""
        *whole, rest = (self._rest + data).split(b"\n")
        pieces = [piece for line in whole for piece in _cut(line)]
        *full, self._rest = _cut(rest)
        return [self._tell(piece) for piece in pieces + full]

    def finish(self) -> list[str]:
        """Give what is left when the stream has ended."""
        rest, self._rest = self._rest, b""
        return [self._tell(rest)] if rest else []

    def _tell(self, line: bytes) -> str:
        text = line.rstrip(b"\r").decode("utf-8", "backslashreplace")
        self._last.append(text)
        return text


def _cut(line: bytes) -> list[bytes]:
    """Cut a line into pieces of `LINE_BYTES`; the last one may be shorter, or the empty line."""
    return [line[start : start + LINE_BYTES] for start in range(0, len(line), LINE_BYTES)] or [b""]


def show_output(name: str, number: int, stream: str, line: str) -> None:
    """Print what a worker printed, under the name of what it runs; a terminal obeys none of it but its colours.

    Args:
        name: of what it runs.
        number: the worker's; told where it is not 0.
        stream: `stdout` or `stderr`.
        line: what it printed.
    """
    target = sys.stdout if stream == "stdout" else sys.stderr
    if target is None:
        return
    label = f"{name}[{number}]" if number else name
    try:
        target.write(f"[{printable(label)}] {printable_output(line)}\n")
    except Exception:  # noqa: BLE001  the stream may be the program's own object, which raises what it likes
        return  # it is closed, or broken: there is nobody left to tell
