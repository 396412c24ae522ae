"""What a worker uses, told by itself: its parent is on another machine, and cannot look.

Owns when that is told: about once a second while it is busy, once when it is no more, and at its end; and how often its
weight is read, where that is bounded. Never sends it.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from typing import NamedTuple

from supervisors.places.base import Used
from supervisors.places.process.reap import own_peak_bytes, read_usage

PERIOD_SECONDS = 1.0
"""Between two looks (arbitrary)."""
BUSY_PERCENT = 5.0
"""The share of a core from which on a worker is busy (arbitrary: more than an engine itself takes of it)."""


class Reading(NamedTuple):
    """What this process has used.

    Args:
        cpu_seconds: processor time of its own.
        others_cpu_seconds: that of what it has started and waited for.
        rss_bytes: resident memory now.
        peak_bytes: resident memory at most.
    """

    cpu_seconds: float
    others_cpu_seconds: float
    rss_bytes: int
    peak_bytes: int


def read_own() -> Reading:
    """Read what this process uses."""
    times, usage = os.times(), read_usage(os.getpid())
    rss = 0 if usage is None else usage.rss_bytes
    others = times.children_user + times.children_system
    return Reading(times.user + times.system, others, rss, max(rss, own_peak_bytes()))


class Gauge:
    """What is used from now on. For one thread.

    Args:
        read: gives what was used so far.
        clock: gives seconds on a clock that never goes back.
    """

    def __init__(self, read: Callable[[], Reading] = read_own, clock: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._clock = clock
        first = read()
        self._first_seconds = first.cpu_seconds + first.others_cpu_seconds
        self._last_seconds = first.cpu_seconds
        self._last_at = clock()
        self._is_told_busy = True
        """So that the first look is told: there is memory that it holds."""

    def look(self) -> Used | None:
        """Give what is used now, where that is to be told; costs next to nothing where it is not time to look."""
        if self._clock() - self._last_at < PERIOD_SECONDS:
            return None
        used = self.take()
        was_busy, self._is_told_busy = self._is_told_busy, used.cpu_percent >= BUSY_PERCENT
        return used if was_busy or self._is_told_busy else None

    def take(self) -> Used:
        """Give what is used now."""
        now, reading = self._clock(), self._read()
        elapsed = now - self._last_at
        percent = (reading.cpu_seconds - self._last_seconds) / elapsed * 100.0 if elapsed > 0 else 0.0
        self._last_at, self._last_seconds = now, reading.cpu_seconds
        spent = reading.cpu_seconds + reading.others_cpu_seconds - self._first_seconds
        return Used(spent, max(0.0, percent), reading.rss_bytes, reading.peak_bytes)


class Scale:
    """The weight of a worker, which is not read again soon. For one thread.

    Args:
        read: gives the bytes that it holds now; to find all that it has started, every process of the system is looked
            at (`TreeMemory`), so this is dear.
        period_seconds: between two reads at the least.
        clock: gives seconds on a clock that never goes back.
    """

    def __init__(
        self, read: Callable[[], int], period_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._read = read
        self._period_seconds = period_seconds
        self._clock = clock
        self._next_at = -math.inf
        self._last_bytes = 0

    def weigh(self) -> int:
        """Give the bytes that were held when that was read last; costs next to nothing where it is not read again."""
        now = self._clock()
        if now >= self._next_at:
            self._next_at, self._last_bytes = now + self._period_seconds, self._read()
        return self._last_bytes
