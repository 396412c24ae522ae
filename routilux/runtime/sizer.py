"""How a routine's pool grows and shrinks: what was decided is carried out, and nothing is lost by it.

Owns which workers are up, and the one that is leaving. Never decides how many there are to be (see `resizing`).

Theory of operation. The workers in use are those with the lowest numbers. One that is to go gets nothing new (its
number is not among those in use) until all it has is settled; then it is asked to end. If there is too much to do
meanwhile it goes on. A state that belongs to its number stays, and is taken up by the next one with that number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from routilux.resizing import Resizing
from routilux.runtime.alarm import Alarm
from routilux.runtime.commands import SizeDue
from supervisors.behavior import Context
from supervisors.places.base import Worker
from supervisors.reasons import Shutdown

RETIRED = Shutdown("its pool has less to do")
"""Why a worker is ended that is not needed."""


@runtime_checkable
class Retires(Protocol):
    """A place with workers that can be ended one by one."""

    def workers(self) -> tuple[Worker, ...]:
        """List the workers, by number."""

    def retire(self, number: int, reason: Shutdown) -> None:
        """Ask a worker that has nothing in hand to end; `on_lost` follows with `reason`."""


class Sizer:
    """The workers of one pool that may have more or less of them.

    Args:
        low: the least number of workers.
        high: the most.
        ctx: the actor's, which is sent `SizeDue` when it is to look again.
        start: starts a worker.
        use: told how many are in use from now on.
    """

    def __init__(
        self, low: int, high: int, ctx: Context, start: Callable[[int], None], use: Callable[[int], None]
    ) -> None:
        self._resizing = Resizing(low, high, ctx.now())
        self._ctx = ctx
        self._start = start
        self._use = use
        self._alarm = Alarm(ctx, SizeDue())
        self._up: set[int] = set()
        """Workers that were started, and whose end was not told."""
        self._leaving: int | None = None
        """The one that gets nothing new."""
        use(low)

    def wants(self, number: int) -> bool:
        """Whether a worker is to be up, and is not."""
        return (number < self._resizing.size or number == self._leaving) and number not in self._up

    def note_started(self, number: int) -> None:
        """Note that a worker was started."""
        self._up.add(number)

    def note_gone(self, number: int) -> None:
        """Note that a worker has ended."""
        self._up.discard(number)

    def note_done(self, seconds: float) -> None:
        """Note that a turn took so long."""
        self._resizing.note_done(seconds)

    def reset(self) -> None:
        """Note that `SizeDue` has come."""
        self._alarm.reset()

    def look(self, place: Retires, backlog: int, *, is_settled: bool) -> None:
        """Decide anew, and carry it out.

        Args:
            place: where the workers are.
            backlog: messages that wait or are in hand.
            is_settled: whether no failure has still to be dealt with, which may concern any worker.
        """
        if not is_settled:
            return  # what is tried again goes to the worker it was at
        change = self._resizing.decide(
            self._ctx.now(), backlog, lambda since: _count_long(place, since), may_shrink=self._leaving is None
        )
        if change:
            size = self._resizing.size
            self._use(size)
            if change < 0:
                self._leaving = size
            else:
                self._leaving = None
                if size - 1 not in self._up:
                    self._start(size - 1)
        if self._leaving is not None:
            # At once where it is idle: there may be nothing by which the actor would look again.
            self._let_go(place, self._leaving)
        self._alarm.set(self._resizing.next_look(may_shrink=self._leaving is None))

    def _let_go(self, place: Retires, number: int) -> None:
        if any(worker.number == number and worker.in_hand for worker in place.workers()):
            return
        self._leaving = None
        if number in self._up:
            place.retire(number, RETIRED)


def _count_long(place: Retires, since: float) -> int:
    """Count workers that have been at one message since a clock reading."""
    return sum(1 for worker in place.workers() if worker.since is not None and worker.since <= since)
