"""Programs with jobs on Ray, as tests have them: watched, paused, killed; and what is left of one.

Knows what a program has started by a mark in the environment, which all of it inherits, Ray's parts and their workers
too.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from benchmarks.killing import MARK, _marked, end_marked
from benchmarks.machines import ROOT, SETTINGS

GRACE_SECONDS = 20.0
"""What the parts of Ray get to notice that their program has been killed; some look every few seconds."""


class Program:
    """A program that runs; behind its `with` block it does not, and nothing that it has started.

    Args:
        command: what is behind the interpreter.
        errors: file to which what it writes to stderr is added.
        address: of the cluster that it joins; None for one of its own.
    """

    def __init__(self, command: Sequence[str], errors: Path, address: str | None = None) -> None:
        self.mark = uuid.uuid4().hex
        environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
        environment |= {**SETTINGS, MARK: self.mark} | ({} if address is None else {"RAY_ADDRESS": address})
        with errors.open("ab") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, *command],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        self.lines: list[str] = []
        self._is_finished = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.kill()
        self.finish()
        end_marked(self.mark)

    def wait_until_at(self, count: int) -> None:
        """Wait until so many messages are handled."""
        for line in self._hear():
            if line.startswith("at ") and int(line[3:]) >= count:
                return
        raise AssertionError(f"it was over before it was at {count}: {self.lines[-3:]}")

    def pause(self) -> None:
        """Have the job paused."""
        assert self.process.stdin is not None
        self.process.stdin.write("pause\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        """Kill the program, and it alone."""
        self.process.kill()

    def finish(self) -> str:
        """Let it come to its end; gives the last line that it printed."""
        if not self._is_finished:
            self._is_finished = True
            for _line in self._hear():
                pass
            for pipe in (self.process.stdin, self.process.stdout):
                assert pipe is not None
                pipe.close()
            self.process.wait()
        return self.lines[-1] if self.lines else ""

    def find_left(self) -> list[str]:
        """List what is left of it and all that it has started, some time after its end; that is killed then."""
        end, pause = time.monotonic() + GRACE_SECONDS, threading.Event()
        while (left := _marked(self.mark)) and time.monotonic() < end:
            pause.wait(0.1)
        told = [_describe(process.pid) for process in left]
        end_marked(self.mark)
        return told

    def _hear(self) -> Iterator[str]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.strip())
            yield self.lines[-1]


def _describe(pid: int) -> str:
    with contextlib.suppress(OSError):
        return f"{pid}: " + Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8").replace("\0", " ")[:200]
    return f"{pid}, which has ended since"
