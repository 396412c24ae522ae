"""Where time comes from: the one seam through which anybody reads a clock.

Owns the readings, in seconds. Never waits, never tells the time of day.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Gives readings of which only differences mean anything."""

    def now(self) -> float:
        """Seconds since some fixed moment; never less than the reading before."""


class MonotonicClock:
    """The clock of the operating system that no setting of the time of day moves."""

    now = staticmethod(time.monotonic)
    """Seconds since some fixed moment. The system's own function: each turn asks several times."""
