"""Who still needs a cluster: it is entered for the first, and left with the last.

Owns that one place is part of a cluster. Never begins one: its engine does.
"""

from __future__ import annotations

import threading

from supervisors.errors import StartError
from supervisors.places.ray.engine import Engine


class Membership:
    """The part that a place takes in its cluster, whose first need is the place's own. Any thread may call it.

    Args:
        engine: has the cluster.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # Guards whether the cluster was entered; held while that goes on, by workers that wait for it.
        self._entering = threading.Lock()
        self._is_entered = False
        # Guards who still needs it: the place, and each of its workers' threads.
        self._lock = threading.Lock()
        self._needs = 1
        self._is_open = True

    def hold(self) -> None:
        """Need the cluster until `let_go`, waiting for it; raises `StartError` if there is none, or after `close`."""
        with self._lock:
            # Whoever comes late would else enter what the last one is about to leave.
            if not self._is_open:
                raise StartError("its place was closed before it was started")
            self._needs += 1
        try:
            with self._entering:
                if not self._is_entered:
                    self._engine.enter()
                    self._is_entered = True
        except BaseException:
            self.let_go()
            raise

    def let_go(self) -> None:
        """Undo one `hold`."""
        with self._lock:
            self._needs -= 1
            is_last = self._needs == 0
        if is_last and self._is_entered:
            self._is_entered = False
            self._engine.leave()

    def close(self) -> None:
        """Need it no more, once all that was held was let go."""
        with self._lock:
            is_open, self._is_open = self._is_open, False
        if is_open:
            self.let_go()
