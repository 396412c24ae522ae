"""A terminal that is drawn on again and again: the one door to `rich`.

`rich` is the optional extra of that name: only `live` imports this module, when there is a
terminal. Owns colours and the cursor. Never decides what is shown (see `picture`).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from routilux.cli.picture import Line

STYLES = {"head": "bold", "titles": "dim", "row": "", "bad": "red", "quiet": "dim"}


class Screen:
    """The lower part of a terminal while a job runs; it is cleared at the end.

    What the program prints meanwhile comes out above it. It has no thread of its own.

    Args:
        stream: the terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream, highlight=False, markup=False, emoji=False)
        # A stream that is no terminal is not taken over: what goes to a file goes there unchanged.
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=_is_terminal(sys.stdout),
            redirect_stderr=_is_terminal(sys.stderr),
        )

    @property
    def width(self) -> int:
        """Characters a line has now."""
        return self._console.width

    def show(self, lines: Sequence[Line]) -> None:
        """Replace what is shown."""
        text = Text("\n", no_wrap=True, overflow="crop").join(Text(line.text, STYLES[line.part]) for line in lines)
        self._live.update(text, refresh=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()
