"""The pending timers of one actor, earliest first.

Owns the order in which timers are due: by their time, then as they were set. Reads no clock and
wakes nobody: its actor asks when the next is due, and sleeps no longer. For one thread.
"""

from __future__ import annotations

import heapq

_SWEEP_FROM = 64
"""Cancelled timers that are put up with before they are swept out (arbitrary)."""


class PendingTimer:
    """One timer; `cancel` may be called at any time, by the thread of its actor."""

    __slots__ = ("_queue", "message")

    def __init__(self, queue: TimerQueue, message: object) -> None:
        self._queue: TimerQueue | None = queue
        self.message = message

    @property
    def is_pending(self) -> bool:
        """Whether it has neither fired nor been cancelled."""
        return self._queue is not None

    def cancel(self) -> None:
        """Forget the timer; nothing happens if it has fired or was cancelled already."""
        queue, self._queue = self._queue, None
        if queue is not None:
            self.message = None
            queue.note_cancelled()

    def fire(self) -> object:
        """Give its message, for the last time."""
        self._queue = None
        return self.message


class TimerQueue:
    """A heap of timers."""

    __slots__ = ("_cancelled", "_count", "_heap")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, PendingTimer]] = []
        self._count = 0
        self._cancelled = 0

    def __bool__(self) -> bool:
        return bool(self._heap)

    def add(self, due: float, message: object) -> PendingTimer:
        """Add a timer that is due at clock reading `due`, in seconds."""
        timer = PendingTimer(self, message)
        self._count += 1
        heapq.heappush(self._heap, (due, self._count, timer))
        return timer

    def next_due(self) -> float | None:
        """Clock reading at which the earliest timer is due; None without timers."""
        while self._heap and not self._heap[0][2].is_pending:
            heapq.heappop(self._heap)
            self._cancelled -= 1
        return self._heap[0][0] if self._heap else None

    def take_due(self, now: float) -> PendingTimer | None:
        """Take the earliest timer that is due at `now`; None if there is none."""
        if not self._heap or self._heap[0][0] > now:
            return None
        due = self.next_due()
        return heapq.heappop(self._heap)[2] if due is not None and due <= now else None

    def clear(self) -> None:
        """Forget all timers."""
        self._heap.clear()
        self._cancelled = 0

    def note_cancelled(self) -> None:
        """Count a timer that was cancelled where it stands; called by the timer itself."""
        self._cancelled += 1
        if self._cancelled > _SWEEP_FROM and self._cancelled * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].is_pending]
            heapq.heapify(self._heap)
            self._cancelled = 0
