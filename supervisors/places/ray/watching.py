"""Nodes whose workers cannot be reached: whether they turn out to be lost.

Owns the thread that looks at them. An agent that cannot be reached is replaced at once; but whether its node is lost,
or only that agent, or the way to it, an engine knows some seconds later. Never decides what follows from either.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

LOOK_SECONDS = 1.0
"""Between two looks at nodes in doubt (arbitrary)."""
PATIENCE_SECONDS = 60.0
"""For how long a node is in doubt (arbitrary; Ray finds a lost one within half of that by default)."""


class _Doubt(NamedTuple):
    node_id: str
    settle: Callable[[str], None]
    until: float


class NodeWatch:
    """Looks at the nodes that are in doubt, for as long as there are some. Any thread may call it.

    Args:
        find_lost: gives why each lost node is lost, by its id.
        clock: gives seconds on a clock that never goes back.
        period: seconds between two looks.
        patience: seconds for which a node is in doubt.
    """

    def __init__(
        self,
        find_lost: Callable[[], Mapping[str, str]],
        *,
        clock: Callable[[], float] = time.monotonic,
        period: float = LOOK_SECONDS,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._find_lost = find_lost
        self._clock = clock
        self._period = period
        self._patience = patience
        # Guards the two below; the thread waits here.
        self._changed = threading.Condition()
        self._doubts: list[_Doubt] = []
        self._thread: threading.Thread | None = None

    def add(self, node_id: str, settle: Callable[[str], None]) -> None:
        """Have `settle` called with why the node is lost, or with "" once it is there after its time.

        It is called on the thread of this watch.
        """
        with self._changed:
            self._doubts.append(_Doubt(node_id, settle, self._clock() + self._patience))
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="supervisors-ray-nodes", daemon=True)
                self._thread.start()

    def forget(self) -> None:
        """Let all doubts rest, without a word, and wait for the end of the thread; not to be called by a `settle`."""
        with self._changed:
            self._doubts = []
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _watch(self) -> None:
        while self._has_doubts():
            lost, now = self._find_lost(), self._clock()
            with self._changed:
                settled = [doubt for doubt in self._doubts if doubt.node_id in lost or doubt.until <= now]
                self._doubts = [doubt for doubt in self._doubts if doubt not in settled]
            for doubt in settled:
                doubt.settle(lost.get(doubt.node_id, ""))
            with self._changed:
                self._changed.wait_for(lambda: not self._doubts, self._period)

    def _has_doubts(self) -> bool:
        """Tell whether some are left; if none are, the thread ends, and the next doubt gets another one."""
        with self._changed:
            if not self._doubts:
                self._thread = None
            return bool(self._doubts)
