"""Text that came from somebody else, made fit for a log line or a terminal. Pure.

Owns the escaping and the cutting. Never decides where a text goes.
"""

from __future__ import annotations

import re

_COLOUR = re.compile("(\x1b\\[[0-9;]*m)")
"""Escape sequences that change how text looks and nothing else (SGR of ECMA-48)."""
_PLAIN = "\x1b[0m"


def printable(text: str) -> str:
    """Escape what a terminal would obey: control characters, line ends, direction marks."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def printable_output(line: str) -> str:
    """As `printable` for a line that a program printed: tabs and colours stay, and end with the line."""
    if line.isprintable():
        return line
    # Every other piece is what the pattern matched.
    pieces = _COLOUR.split(line)
    pieces[::2] = ["\t".join(map(printable, piece.split("\t"))) for piece in pieces[::2]]
    return "".join(pieces) + (_PLAIN if len(pieces) > 1 else "")


def cut(text: str, width: int) -> str:
    """Give at most `width` characters of `text`, with dots where some are missing."""
    return text if len(text) <= width else text[: max(0, width - 3)] + "..."[:width]
