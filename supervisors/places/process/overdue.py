"""When a request takes too long: what is to be done about it, and when to look again. Pure.

Owns the stages in which a limit of time is enforced. Never reads a page or a clock, never
sends a signal: it is shown what a page says, and its owner carries out what it gives back.

Theory of operation. A stack takes a moment to come, so it is asked for first, and what it was asked for is
done when it has had that moment: a warning at half of the limit, the end at the limit. A request that is over by
then has nothing to fear, and one that is past its limit already is not warned of first.

Time that a worker takes to begin a request, or to go on after a grant, counts for no request. But a worker that was
stopped there would hold its requests without end. So one that shows no sign of life for the limit and a while, though
nobody keeps it waiting, is given up too.
"""

from __future__ import annotations

import enum
import math

from supervisors.places.process.page import PageView

STACK_SECONDS = 0.05
"""What a worker gets to tell its stacks, which takes about 1 ms; looked for as often until they come (arbitrary)."""
STACK_PATIENCE = 0.5
"""What a worker gets to begin to tell them, on a busy machine; one that is stopped never does (arbitrary)."""
TERMINATE_SECONDS = 0.5
"""What a worker gets between SIGTERM and SIGKILL, to clean up (arbitrary)."""
SILENT_SECONDS = 2.0
"""What a worker gets, beyond the limit of a request, to begin one or to go on after a grant (arbitrary: far more than a
busy machine keeps it waiting, as it is not told to have taken too long but to be replaced)."""
_WARNED_AT = 0.5
"""Fraction of the limit at which is warned."""


class Step(enum.Enum):
    """What is to be done about the request that a worker is on."""

    NOTHING = enum.auto()
    ASK_STACK = enum.auto()
    """Ask for the worker's stacks."""
    WARN = enum.auto()
    """Tell that it is slow, with the stacks that have come."""
    END = enum.auto()
    """End the worker, with the stacks that have come."""
    GIVE_UP = enum.auto()
    """End the worker, which does nothing though it could."""


class Overdue:
    """Holds the requests of one incarnation to a limit of time.

    Args:
        timeout: seconds a request may take.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._seq: int | None = None
        self._is_warned = False
        self._asked_at: float | None = None
        self._silence: tuple[PageView, int | None] | None = None
        self._silent_since = 0.0

    @property
    def is_asking(self) -> bool:
        """Whether stacks were asked for, and what they were asked for is not done."""
        return self._asked_at is not None

    def decide_step(self, page: PageView, now: float, *, oldest: int | None, is_told: bool) -> Step:
        """Say what is to be done at clock reading `now`; to be carried out before the next call.

        Args:
            page: what the worker is on; since when it is infinite while it waits for a grant, which does not count.
            now: the clock that the page was written by.
            oldest: the request that it is to report next; None while it waits for somebody else.
            is_told: whether stacks have come; read only while they are asked for.
        """
        if page.seq != self._seq:
            self._seq, self._is_warned, self._asked_at = page.seq, False, None
        if page.seq is None or page.since == math.inf:
            self._asked_at = None
            return self._decide_silence(page, oldest, now)
        is_over = now >= page.since + self._timeout
        if self._asked_at is None:
            if not is_over and (self._is_warned or now < page.since + _WARNED_AT * self._timeout):
                return Step.NOTHING
            self._asked_at = now
            return Step.ASK_STACK
        if now < self._asked_at + (STACK_SECONDS if is_told else STACK_PATIENCE):
            return Step.NOTHING
        self._asked_at, self._is_warned = None, True
        return Step.END if is_over else Step.WARN

    def _decide_silence(self, page: PageView, oldest: int | None, now: float) -> Step:
        if oldest is None or self._silence != (page, oldest):
            self._silence, self._silent_since = (page, oldest), now
        return Step.NOTHING if now < self._silent_since + self._timeout + SILENT_SECONDS else Step.GIVE_UP

    def next_look(self, page: PageView, now: float) -> float:
        """Clock reading before which `decide_step` has nothing to say; the latest of what it can be."""
        is_same = page.seq == self._seq
        if is_same and self._asked_at is not None:
            first = self._asked_at + STACK_SECONDS
            return first if now < first else min(now + STACK_SECONDS, self._asked_at + STACK_PATIENCE)
        fraction = 1.0 if is_same and self._is_warned else _WARNED_AT
        # Not begun, or not counted as it waits for a grant: that may change at any time from now. What a worker
        # gone mad says of times to come is not believed.
        is_counted = page.seq is not None and page.since <= now
        return (page.since if is_counted else now) + fraction * self._timeout
