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

from routilux.cli.output import for_people
from routilux.cli.picture import Line, width_of

STYLES = {"head": "bold", "titles": "dim", "row": "", "bad": "red", "quiet": "dim"}


class Screen:
    """The lower part of a terminal while a job runs; it is cleared at the end.

    What the program prints meanwhile comes out above it. It has no thread of its own.

    Args:
        stream: the terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._console = Console(file=stream, highlight=False, markup=False, emoji=False)
        # A stream that is no terminal is not taken over: what goes to a file goes there unchanged.
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=_is_terminal(sys.stdout),
            redirect_stderr=_is_terminal(sys.stderr),
        )
        self._shown: list[Line] = []
        self._shown_width = 0

    @property
    def width(self) -> int:
        """Columns that a line has now."""
        return self._console.width

    @property
    def height(self) -> int:
        """Lines there are for a picture now: the last one is the cursor's."""
        return self._console.height - 1

    def show(self, lines: Sequence[Line]) -> None:
        """Replace what is shown."""
        width = self.width
        self._clear_wrapped(width)
        self._shown, self._shown_width = list(lines), width
        text = Text("\n", no_wrap=True, overflow="crop").join(Text(line.text, STYLES[line.part]) for line in lines)
        self._live.update(text, refresh=True)

    def _clear_wrapped(self, width: int) -> None:
        """Clear what the lines that are shown take more than they did, where the terminal is narrower since.

        Nearly all terminals wrap what no longer fits, and `rich` would clear as many lines as it wrote.
        """
        if self._shown and width < self._shown_width:
            wrapped = sum(max(0, width_of(line.text) - 1) // max(1, width) for line in self._shown)
            if wrapped:
                self._console.file.write(f"\x1b[{wrapped}A\x1b[J")

    def __enter__(self) -> Self:
        with for_people(self._stream):
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with for_people(self._stream):
            self._clear_wrapped(self.width)
            self._live.stop()


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()
