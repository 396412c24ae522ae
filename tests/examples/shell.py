"""Runs an example as one does from a shell."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60.0
"""How long a program may take (arbitrary)."""


class Shell:
    """Runs one example in a folder.

    Args:
        folder: where.
        command: the example's file, and the words that it always gets.
        is_under_way: tells by the lines that it has written to stderr whether it may be sent a signal now.
    """

    def __init__(self, folder: Path, command: Sequence[str], is_under_way: Callable[[list[str]], bool]) -> None:
        self._folder = folder
        self._example, *self._always = command
        self._is_under_way = is_under_way

    def run(self, *words: str, end: signal.Signals | None = None) -> tuple[int, str, str]:
        """Run it to its end; or send it a signal once it is under way. Gives status, output, errors."""
        told: list[str] = []
        with subprocess.Popen(
            [sys.executable, ROOT / "examples" / self._example, *words, *self._always],
            cwd=self._folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as program:
            assert program.stdout is not None
            assert program.stderr is not None
            for line in program.stderr:
                told.append(line)
                if end is not None and self._is_under_way(told):
                    program.send_signal(end)
                    end = None
            out = program.stdout.read()
            return program.wait(SECONDS), out, "".join(told)
