"""What behaviours need of where they run, in a test that calls them one message at a time."""

from __future__ import annotations

from typing import Any


class FakeTimer:
    """A timer that goes off when the test says so."""

    def __init__(self, delay: float, message: Any) -> None:
        self.delay = delay
        self.message = message
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class FakeContext:
    """A context whose clock stands still, and that keeps what it was asked for."""

    def __init__(self) -> None:
        self.time = 0.0
        self.timers: list[FakeTimer] = []
        self.stopped: list[Any] = []

    def now(self) -> float:
        return self.time

    def set_timer(self, delay: float, message: Any) -> FakeTimer:
        timer = FakeTimer(delay, message)
        self.timers.append(timer)
        return timer

    def stop(self, reason: Any) -> None:
        self.stopped.append(reason)

    def running(self) -> list[FakeTimer]:
        """The timers that were not cancelled."""
        return [timer for timer in self.timers if not timer.is_cancelled]


class FakeRef:
    """An address that keeps what was sent to it."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def signal(self, message: Any) -> bool:
        self.sent.append(message)
        return True
