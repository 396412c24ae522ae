"""The work that all contestants do, and how it is seen that it was done.

The same functions for all, so that only the way there and back differs. Each is next to nothing, but for `burn`.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

AHEAD = 4
"""Requests that a client has sent and not seen answered, where several are on their way (arbitrary)."""
DEADLINE = 60.0
"""Seconds after which what has not happened is given up (arbitrary)."""

TINY = {"n": 1, "text": "tiny"}
"""The message of all rows but those of arrays."""

BURN_SECONDS = 0.05
"""Processor time of one CPU-heavy task."""

DEATH_NOTE = "ROUTILUX_BENCH_DEATH"
"""The environment variable that names the file in which a worker notes the moment of its death."""


class WrongResultError(Exception):
    """Work was lost, doubled or done wrong: its figures mean nothing."""


class Tally:
    """The sink of a pipeline: counts messages and adds up their numbers. One thread calls `take`."""

    def __init__(self) -> None:
        self.expect(0)

    def expect(self, messages: int) -> None:
        """Begin anew, for messages numbered from 0; called while nothing is on its way."""
        self._expected = messages
        self._count = 0
        self._total = 0
        self._done = threading.Event()

    def take(self, number: int) -> None:
        """Take the number of one message that arrived."""
        self._count += 1
        self._total += number
        if self._count == self._expected:
            self._done.set()

    def wait_done(self) -> None:
        """Wait until what is expected has arrived, each message once and worked on.

        Raises:
            WrongResultError: it was not so within `DEADLINE` seconds.
        """
        self._done.wait(DEADLINE)
        expected = self._expected * (self._expected + 1)  # step_b(step_a(n)) of all, added up
        if (self._count, self._total) != (self._expected, expected):
            raise WrongResultError(
                f"expected {self._expected} messages that add up to {expected}, got {self._count} and {self._total}"
            )


def step_a(number: int) -> int:
    """Do the work of the first stage."""
    return number + 1


def step_b(number: int) -> int:
    """Do the work of the second stage."""
    return number * 2


def stage_a(item: dict[str, Any]) -> dict[str, Any]:
    """Be the first stage, for those that call a function of each message."""
    return {"n": step_a(item["n"]), "text": item["text"]}


def stage_b(item: dict[str, Any]) -> dict[str, Any]:
    """Be the second stage, for those that call a function of each message."""
    return {"n": step_b(item["n"]), "text": item["text"]}


def answer(payload: Any) -> Any:
    """Answer a request: a mapping as it came, an array by a new one that is 1 more everywhere."""
    return payload if isinstance(payload, dict | bytes) else payload + 1


def burn() -> None:
    """Compute for so much processor time of this thread, however long that takes."""
    end = time.thread_time() + BURN_SECONDS
    while time.thread_time() < end:
        sum(range(500))


def die_once() -> None:
    """Note the moment, and end this process by SIGKILL; the second time, do nothing."""
    note = Path(os.environ[DEATH_NOTE])
    if note.exists():
        return
    # The system's monotonic clock is one for all processes.
    note.write_text(repr(time.monotonic()), encoding="ascii")
    os.kill(os.getpid(), signal.SIGKILL)
