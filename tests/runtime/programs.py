"""Whole programs as subprocesses: what they print, how they end, and that they leave no process behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import psutil

MARK = "ROUTILUX_TEST_PROGRAM"
"""Environment variable by which a program and all its processes are known."""
DEADLINE = 60.0
"""Seconds a program may take before it is ended, with the stacks of its threads."""

COMMON = """
    import os, sys, threading, time
    from routilux import Flow, Routine, routine

    class Sleeper(Routine):
        "Tells that it has begun, and sleeps."
        def __init__(self, seconds=600.0):
            super().__init__()
            self.define_slot("trigger", handler=self.run)
            self.define_event("begun", ["pid"])
            self.seconds = seconds

        def run(self):
            self.emit("begun", pid=os.getpid())
            for _ in range(1_000):
                self.emit("begun", pid=os.getpid())  # past the bound at which a turn's emissions go out
            open(f"asleep-{self.job_id}", "w").close()
            time.sleep(self.seconds)

    def await_sleep(job_id):
        "Wait until the handler of a job sleeps. Where its first emission is read, it may still be within another."
        while not os.path.exists(f"asleep-{job_id}"):
            threading.Event().wait(0.001)

    def sleep_in_a_job(placement, **options):
        "Start a job whose handler sleeps; give it once it does."
        flow = Flow("sleepers")
        flow.add_routine(Sleeper(), "sleeper", placement=placement)
        flow.output("sleeper", "begun")
        job = flow.start("sleeper", **options)
        next(job.results())
        await_sleep(job.id)
        return job
"""
_QUICK = "from routilux.cli import live; live.PLAIN_SECONDS = 0.1; from routilux.cli.main import main; exit(main())"
COMMAND = [sys.executable, "-c", f"from sys import exit; {_QUICK}"]
"""`python -m routilux`, whose plain lines come ten times a second: for who waits for the first of them."""


class Ended(NamedTuple):
    """How a program ended."""

    code: int
    out: str
    errors: str
    seconds: float


class Program:
    """A running program.

    Args:
        process: the process.
        mark: the value of `MARK` in its environment.
    """

    def __init__(self, process: subprocess.Popen[str], mark: str) -> None:
        self.process = process
        self.mark = mark

    def await_line(self, line: str) -> None:
        """Wait until it prints `line`."""
        assert self.process.stdout is not None
        told = self.process.stdout.readline()
        assert told == line + "\n", self.end_by_force() if told == "" else told

    def await_error(self, start: str) -> None:
        """Wait until it writes a line to stderr that begins with `start`."""
        assert self.process.stderr is not None
        lines = []
        while not (line := self.process.stderr.readline()).startswith(start):
            lines.append(line)
            assert line, lines

    def interrupt(self, number: int = signal.SIGINT) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def finish(self, given: str = "") -> Ended:
        """Wait for its end; then no process of it may be left, a second later."""
        began = time.monotonic()
        try:
            out, errors = self.process.communicate(given, timeout=DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)  # it shows where its threads hang
            out, errors = self.process.communicate()
        seconds = time.monotonic() - began
        assert self.await_gone(1.0) == []
        return Ended(self.process.returncode, out, errors, seconds)

    def end_by_force(self) -> str:
        """Kill it; give what it wrote to stderr."""
        self.process.kill()
        return self.process.communicate()[1]

    def await_gone(self, seconds: float) -> list[str]:
        """Give what processes of it are left after at most so many seconds."""
        deadline, never = time.monotonic() + seconds, threading.Event()
        while (left := self._family()) and time.monotonic() < deadline:
            never.wait(0.02)
        told = [" ".join(process.cmdline()) for process in left]
        for process in left:
            with suppress(psutil.Error):
                process.kill()
        return told

    def _family(self) -> list[psutil.Process]:
        family = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    family.append(process)
        return family


@contextmanager
def start_program(
    folder: Path,
    text: str,
    *words: str,
    options: Sequence[str] = (),
    common: bool = True,
    stdin: int = subprocess.PIPE,
    stdout: int = subprocess.PIPE,
) -> Iterator[Program]:
    """Start a script.

    Args:
        folder: where its file is written.
        text: the script.
        words: its arguments.
        options: of the interpreter.
        common: whether `COMMON` stands before it.
        stdin, stdout: what the program has for these; pipes.
    """
    path = folder / "program.py"
    path.write_text((textwrap.dedent(COMMON) if common else "") + textwrap.dedent(text))
    with start_command(
        [sys.executable, "-X", "faulthandler", *options, str(path), *words], folder, stdin=stdin, stdout=stdout
    ) as program:
        yield program


@contextmanager
def start_command(
    command: Sequence[str], folder: Path, *, stdin: int = subprocess.PIPE, stdout: int = subprocess.PIPE
) -> Iterator[Program]:
    """Start a command with this checkout's packages."""
    mark = uuid.uuid4().hex
    with subprocess.Popen(
        command,
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path.cwd()), MARK: mark},
    ) as process:
        try:
            yield Program(process, mark)
        finally:
            if process.poll() is None:
                process.kill()


def run_program(folder: Path, text: str, *words: str, options: Sequence[str] = ()) -> Ended:
    """Run a script to its end."""
    with start_program(folder, text, *words, options=options) as program:
        return program.finish()
