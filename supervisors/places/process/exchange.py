"""The part that the workers of one place have in their owner's shared memory.

Owns the parties by the numbers of the workers, and the decision whether one of them may go on waiting for room. Lives
on the place's thread.
"""

from __future__ import annotations

from collections.abc import Callable

from supervisors.errors import FrameError
from supervisors.parking import NOTICE_SECONDS
from supervisors.places.process.segment_pool import Party, SegmentPool
from supervisors.wire.outside import Leased

LOOK_SECONDS = NOTICE_SECONDS
"""Between two looks whether waiting for room may still help: room itself is told of at once (arbitrary)."""


class Exchange:
    """The shared memory of one place.

    Args:
        pool: the owner's.
        note_blocked: told how many of the place's workers wait for room.
        may_help: tells whether room may come if they go on waiting.
        bound: what may be held by all together when they get some; None for the pool's limit.
    """

    def __init__(
        self,
        pool: SegmentPool,
        note_blocked: Callable[[int], None] = lambda _count: None,
        may_help: Callable[[], bool] = lambda: False,
        bound: int | None = None,
    ) -> None:
        self._bound = bound
        self._pool = pool
        self._note_blocked = note_blocked
        self._may_help = may_help
        self._parties: dict[int, Party] = {}
        self._waiting = 0
        self._wake: Callable[[], None] = lambda: None
        self.is_called = False
        """Whether the place is to look at its workers: room may have come, or one is to be told something."""

    def begin(self, wake: Callable[[], None]) -> None:
        """Have `wake` called, from any thread, whenever the place is called."""
        self._wake = wake

    def ring(self) -> None:
        """Call the place; from any thread."""
        self.is_called = True
        self._wake()

    def enter(self, number: int) -> Party:
        """Take in a new incarnation of a worker."""
        party = self._parties[number] = self._pool.enter(self.ring)
        return party

    def lease(self, number: int, data: bytes) -> Leased:
        """Give bytes that a worker reported with the leases of what they name. Raises `FrameError`, see `Party`."""
        party = self._parties.get(number)
        if party is None:
            raise FrameError("a worker that was never started names shared memory")
        return party.lease(data)

    def serve(self, party: Party, size: int) -> bool | None:
        """Let a worker have room for so many bytes; False: there will be none; None: it is to wait."""
        if not self._pool.may_hold(size):
            return False
        if self._pool.lend(party, size, self._bound):
            return True
        return None if self._may_help() else False

    def note_waiting(self, count: int) -> None:
        """Note that so many of the workers wait: the place is called when there may be room."""
        before, self._waiting = self._waiting, count
        if count == before:
            return
        self._note_blocked(count)
        if count and not before:
            self._pool.add_waiting(self.ring)
        elif before and not count:
            self._pool.remove_waiting(self.ring)
