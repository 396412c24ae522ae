"""A shell in a pseudo-terminal: what is typed there, and what it shows."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.runtime.programs import DEADLINE, MARK, Program

PROMPT = "prompt> "
CTRL_C = "\x03"
_BEGIN = """
import fcntl, os, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv("/bin/sh", ["sh", "-i"])
"""


class Terminal(Program):
    """An interactive shell with job control: what is typed as Ctrl-C goes to all of a command's processes."""

    def __init__(self, process: subprocess.Popen[str], mark: str, fd: int) -> None:
        super().__init__(process, mark)
        self._fd = fd
        self._seen = 0
        self.shown = ""
        """All that was written to it so far, escape sequences included."""
        self.is_open = True

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._fd, text.encode())

    def hang_up(self) -> None:
        """Close it, as a window is closed, or a connection ends."""
        self.is_open = False
        os.close(self._fd)

    def run(self, command: str) -> None:
        """Type a command."""
        self.type(f"{command}\n")

    def resize(self, columns: int, lines: int) -> None:
        """Give it another size."""
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def await_text(self, text: str) -> str:
        """Wait until it shows `text`, behind what was waited for before; give what is between."""
        deadline = time.monotonic() + DEADLINE
        while (at := self.shown.find(text, self._seen)) < 0:
            ready, _, _ = select.select([self._fd], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{text!r} was not shown, but\n{self.shown}"
            self.shown += os.read(self._fd, 65_536).decode(errors="replace")
        between, self._seen = self.shown[self._seen : at], at + len(text)
        return between

    def await_status(self) -> int:
        """Wait for the prompt, and give the exit status of the command that has ended."""
        self.await_text(PROMPT)
        self.run('echo "status" $?.')
        self.await_text("\nstatus ")
        return int(self.await_text("."))


@contextmanager
def open_terminal(folder: Path, *, columns: int = 100, lines: int = 30, **environment: str) -> Iterator[Terminal]:
    """Open a terminal with a shell in a folder; `routilux` is a command there. At the end nothing of it may be left."""
    mark = uuid.uuid4().hex
    master, slave = pty.openpty()
    terminal: Terminal | None = None
    try:
        given = {"PYTHONPATH": str(Path.cwd()), MARK: mark, "PS1": PROMPT, "TERM": "xterm", **environment}
        for name in ("NO_COLOR", "COLUMNS", "LINES", "ENV"):
            given.setdefault(name, "")
        inherited = {name: value for name, value in os.environ.items() if name not in given}
        process = subprocess.Popen(
            [sys.executable, "-c", _BEGIN],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=folder,
            env={**inherited, **{name: value for name, value in given.items() if value}},
            start_new_session=True,
            text=True,
        )
        with process:
            os.close(slave)
            terminal = Terminal(process, mark, master)
            try:
                terminal.resize(columns, lines)
                terminal.await_text(PROMPT)
                terminal.run(f'routilux() {{ {sys.executable} -m routilux "$@"; }}')
                terminal.await_text(PROMPT)
                yield terminal
                if terminal.is_open:
                    terminal.run("exit")
                process.wait(DEADLINE)
                assert terminal.await_gone(1.0) == []
            finally:
                terminal.await_gone(0.0)
                process.kill()
    finally:
        if terminal is None or terminal.is_open:
            os.close(master)
