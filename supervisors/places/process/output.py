"""What a worker prints, as lines: cut, bounded, and the last ones remembered. Pure."""

from __future__ import annotations

from collections import deque

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
        *whole, self._rest = (self._rest + data).split(b"\n")
        while len(self._rest) > LINE_BYTES:
            whole.append(self._rest[:LINE_BYTES])
            self._rest = self._rest[LINE_BYTES:]
        return [self._tell(line) for line in whole]

    def finish(self) -> list[str]:
        """Give what is left when the stream has ended."""
        rest, self._rest = self._rest, b""
        return [self._tell(rest)] if rest else []

    def _tell(self, line: bytes) -> str:
        text = line.rstrip(b"\r").decode("utf-8", "backslashreplace")
        self._last.append(text)
        return text
