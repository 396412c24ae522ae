"""A person who types what the documentation shows, in a folder of one test.

What is nothing but `routilux` and its words is given to the command's `main` in this process: there are dozens of such,
and a process for each would take as long as many tests do. Whatever needs a shell or is a program of its own gets one:
a line with a pipe or a `;`, `python ...`, what runs on in the background (`&`), what is ended by a signal. There
`routilux` and `python` are this checkout under this Python, and `sleep` waits for what a person waits for: until two
newer checkpoints are kept below the folder. No other program is run but those of `KNOWN`, and `pip` is refused: a test
installs nothing.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from routilux.cli.main import main
from routilux.control.finding import find_running

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 100.0
"""How long a command may take, and what is waited for (arbitrary; a test has twenty more)."""

KNOWN = {"gzip", "head", "kill", "printf", "python", "routilux", "sleep", "sort", "uniq"}
"""Programs that are run, wherever in a line they stand."""

_PROGRAM = re.compile(r"(?:^|(?<!>)[|;&(])\s*(?P<name>[^\s|;&()]+)")
_NEEDS_SHELL = re.compile(r"[|;&$<>`]")
_PROGRAMS = {
    "routilux": f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m routilux "$@"\n',
    "python": f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n',
    "pip": "#!/bin/sh\necho 'a test installs nothing' >&2; exit 1\n",
    "sleep": """#!/bin/sh
        now=$(mktemp)
        until [ "$(find . -name 'checkpoint-*' -newer "$now" | wc -l)" -ge 2 ]; do /bin/sleep 0.05; done
        rm "$now"
    """,
}
_NUMBER = re.compile(r"\b[0-9a-f]{8,}\b|\d[\d,.:]*")
_BAR = re.compile(r"(?<=\s)[#.]{8}(?=\s)")


class Ending(NamedTuple):
    """How a command ends that is shown: its exit status, and what is sent to it, where it would go on."""

    status: int = 0
    signal: signal.Signals | None = None


class Typed(NamedTuple):
    """What came of a command: its exit status, and all that it wrote."""

    status: int
    told: str


class Typist:
    """Who types.

    Args:
        folder: where.
        bin: an empty folder, for the programs of the shell.
    """

    def __init__(self, folder: Path, bin: Path) -> None:  # noqa: A002  the word for it
        self.folder = folder
        for name, text in _PROGRAMS.items():
            (bin / name).write_text(text)
            (bin / name).chmod(0o755)
        self.environment = {
            **os.environ,
            "PATH": f"{bin}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "COLUMNS": "120",
        }
        self._background: list[tuple[subprocess.Popen[bytes], Path]] = []

    def type(self, command: str, ending: Ending, shown: list[str]) -> Typed:
        """Type a command, and give what came of it.

        Args:
            command: its words, without what is to be seen as a comment.
            ending: what is sent to it, if anything.
            shown: what it has written before that is sent.
        """
        programs = {found["name"] for found in _PROGRAM.finditer(command)}
        assert programs <= KNOWN, f"{command}: neither is {programs - KNOWN} run, nor is it said why not"
        if command.endswith("&"):
            self._begin(command.removesuffix("&").strip())
            return Typed(0, "")
        is_of_its_own = _NEEDS_SHELL.search(command) or (ending.signal and command.startswith("routilux run"))
        if command.startswith("routilux ") and not is_of_its_own:
            return self._call(shlex.split(command)[1:], ending)
        return self._run(command, ending, shown)

    def leave(self) -> list[Typed]:
        """Wait for what runs in the background; give what came of it."""
        ended = []
        for process, file in self._background:
            ended.append(Typed(process.wait(SECONDS), file.read_text()))
        self._background.clear()
        return ended

    def end(self) -> None:
        """End what is still there, as after a failure."""
        for process, _file in self._background:
            process.kill()
            process.wait()

    def _begin(self, command: str) -> None:
        process, file = self._start(command)
        self._background.append((process, file))
        wait_until(lambda: find_running() or process.poll() is not None, file.read_text)
        assert process.poll() is None, file.read_text()

    def _run(self, command: str, ending: Ending, shown: list[str]) -> Typed:
        process, file = self._start(command)
        try:
            if ending.signal is not None:
                wait_until(lambda: file.read_text() and not find_missing(shown, file.read_text()), file.read_text)
                os.killpg(process.pid, ending.signal)
            return Typed(process.wait(SECONDS), file.read_text())
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise

    def _start(self, command: str) -> tuple[subprocess.Popen[bytes], Path]:
        file = self.folder.with_name(f"told-{time.monotonic_ns()}")
        with file.open("wb") as stream:
            process = subprocess.Popen(
                ["bash", "-c", command if _NEEDS_SHELL.search(command) else f"exec {command}"],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return process, file

    def _call(self, words: list[str], ending: Ending) -> Typed:
        told = _Told(ending.signal)
        modules, path, stdin = {*sys.modules}, [*sys.path], sys.stdin
        sys.stdin = io.StringIO("where\nquit\n" if "--pdb" in words else "")
        # A debugger of an earlier test may have left its own, which asks a person what is to be done.
        heard = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with contextlib.chdir(self.folder), contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
                status = main(words)
        except KeyboardInterrupt:  # while it told of an error
            status = 1
        finally:
            sys.stdin, sys.path[:] = stdin, path
            signal.signal(signal.SIGINT, heard)
            for name in {*sys.modules} - modules:
                if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(self.folder)):
                    del sys.modules[name]
        return Typed(status, told.getvalue())


@contextlib.contextmanager
def typing_below(path: Path) -> Iterator[Typist]:
    """Give somebody in an empty folder below a path, who sees the jobs of this test alone."""
    for name in ("folder", "bin"):
        (path / name).mkdir()
    sockets = Path(os.environ["XDG_RUNTIME_DIR"], "routilux")  # of the tests of this process
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("routilux.control.folder._folders", lambda: [sockets])
        patch.setattr("routilux.cli.ps.LIVE_SECONDS", 0.1)
        patch.delenv("ROUTILUX_STORE", raising=False)
        typist = Typist(path / "folder", path / "bin")
        try:
            yield typist
        finally:
            typist.end()


class _Told(io.StringIO):
    """What a command writes; a signal is sent to this process once it has written a line."""

    def __init__(self, number: signal.Signals | None) -> None:
        super().__init__()
        self._signal = number

    def write(self, text: str) -> int:
        written = super().write(text)
        if self._signal is not None and "\n" in text:
            number, self._signal = self._signal, None
            signal.raise_signal(number)
        return written


def find_missing(shown: list[str], told: str) -> list[str]:
    """Give the lines that a page shows and that were not written, whatever their numbers and ids; `...` is anything."""
    shapes = "\n".join(shape_of(line) for line in told.splitlines())
    patterns = {line: re.escape(shape_of(line)).replace(re.escape("..."), ".*") for line in shown if line}
    return [line for line, pattern in patterns.items() if not re.search(f"^{pattern}$", shapes, re.MULTILINE)]


def shape_of(line: str) -> str:
    """Give a line without what is another one each time: numbers, ids, bars, and how far apart columns are."""
    return " ".join(_NUMBER.sub("0", _BAR.sub("#", line)).split())


def wait_until(is_so: Callable[[], object], tell: Callable[[], str]) -> None:
    """Wait until something is so; what is there is told where it does not come to that."""
    deadline, never = time.monotonic() + SECONDS, threading.Event()
    while not is_so():
        assert time.monotonic() < deadline, tell()
        never.wait(0.02)
