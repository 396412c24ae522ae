"""How long the workers of a routine have been up, all together. Pure.

Owns when each of them became ready. It is the clock of the routine's restarts: what a start takes, and the wait before
it, is no time that a worker has held out, and would hide a crash loop from whoever counts deaths in a period. A routine
whose module takes longer to import than that, and then fails, would be started for ever.
"""

from __future__ import annotations


class Lives:
    """The time that workers have been ready.

    Args:
        workers: how many there are at most.
    """

    def __init__(self, workers: int) -> None:
        self._ready_at: list[float | None] = [None] * workers
        self._over = 0.0

    def note_ready(self, number: int, now: float) -> None:
        """A worker takes messages, as of clock reading `now`."""
        self._ready_at[number] = now

    def note_gone(self, number: int, now: float) -> None:
        """A worker has ended, ready or not."""
        ready_at, self._ready_at[number] = self._ready_at[number], None
        if ready_at is not None:
            self._over += now - ready_at

    def uptime(self, now: float) -> float:
        """Give the sum of the seconds that each was ready; it never gets less."""
        return self._over + sum(now - ready_at for ready_at in self._ready_at if ready_at is not None)
