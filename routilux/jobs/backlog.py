"""How far the recorder is behind a job, and the wait of those who make more facts than it writes.

Without that wait a busy job would run away from what is kept of it: its checkpoints would be ever older, and its memory
would have no bound. The actors of routines come here at the end of a turn, without any lock, and the recorder on its
own thread.
"""

from __future__ import annotations

import threading

from routilux.facts import FACTS_BATCH

BACKLOG_FACTS = 100 * FACTS_BATCH
"""Facts that may wait for the recorder before those who make more wait too (some tenths of a second of its work: a slow
fsync now and then is waited for by nobody)."""

PATIENCE_SECONDS = 1.0
"""How long a turn's end waits for that; a store that hangs makes a job slow, and does not stop it (arbitrary)."""


class Backlog:
    """Facts on their way to the recorder of one job."""

    def __init__(self) -> None:
        self._count = 0
        self._has_room = threading.Condition()

    def add(self, facts: int) -> None:
        """Count facts that are handed to the recorder."""
        with self._has_room:
            self._count += facts

    def done(self, facts: int) -> None:
        """Count facts that it has taken care of."""
        with self._has_room:
            self._count -= facts
            if self._count < BACKLOG_FACTS:
                self._has_room.notify_all()

    def wait(self) -> None:
        """Wait until there is room again, or for `PATIENCE_SECONDS`."""
        with self._has_room:
            self._has_room.wait_for(lambda: self._count < BACKLOG_FACTS, PATIENCE_SECONDS)
