"""What the parent knows of one incarnation of a worker: the ledger of requests in its hands.

Owns the numbers that were sent and have not come back, their order, the epoch, how many the
worker should hold (its window), and what a death means for each of them. Pure: numbers and
seconds in, decisions out; it sends nothing, reads no page and no clock.

Theory of operation. A worker runs its requests in the order they were sent, so whatever it
reports must be about the oldest one outstanding; anything else is a breach of the protocol.
When a request fails, the worker drops all behind it, and this returns them to their sender;
both count an epoch up, so that what the parent had sent meanwhile is dropped too: it carries the
older epoch.

The window grows when requests are short, since then the way there and back would cost more than
the work, and is exactly one when they are long, since whatever waits in a worker cannot be run
by another.
"""

from __future__ import annotations

from collections import deque

from supervisors.errors import FrameError
from supervisors.places.base import Lost
from supervisors.places.process.page import PageView

WINDOW_SECONDS = 0.005
"""Work that a worker should hold, in seconds (25 times the way there and back, `benchmarks/`)."""
WINDOW_LIMIT = 256
"""Requests that a worker holds at most, however short they are."""
_WEIGHT = 0.25
"""Weight of the newest duration in the moving average (arbitrary: some ten requests of memory)."""


class Link:
    """The ledger of one incarnation."""

    def __init__(self) -> None:
        self.epoch = 0
        self.window = 1
        self._outstanding: deque[int] = deque()
        self._average: float | None = None
        self._returned = 0

    def __len__(self) -> int:
        """Requests in the worker's hands."""
        return len(self._outstanding)

    @property
    def room(self) -> int:
        """Requests that the worker should get now, over those it has."""
        return max(0, self.window - len(self._outstanding))

    @property
    def outstanding(self) -> tuple[int, ...]:
        """The numbers in the worker's hands, oldest first."""
        return tuple(self._outstanding)

    def send(self, seq: int) -> None:
        """Note that `seq` is on its way to the worker."""
        self._outstanding.append(seq)

    def done(self, seq: int, seconds: float) -> None:
        """Note that `seq` was run in `seconds`.

        Raises:
            FrameError: `seq` is not the oldest one outstanding.
        """
        self._take(seq, "done")
        self._learn(seconds)

    def part(self, seq: int) -> None:
        """Note that `seq` handed over a part; raises as `done`."""
        if not self._outstanding or self._outstanding[0] != seq:
            raise FrameError(self._breach(seq, "a part"))

    def failed(self, seq: int, seconds: float) -> tuple[int, ...]:
        """Note that `seq` failed; give the numbers behind it, which are back; raises as `done`."""
        self._take(seq, "failed")
        self._learn(seconds)
        returned = tuple(self._outstanding)
        self._outstanding.clear()
        self.epoch += 1
        return returned

    def take_back(self, seq: int, returned: tuple[int, ...] = ()) -> None:
        """Note that what was reported of `seq` could not be read: it is outstanding as before, and so is `returned`.

        For a worker that is about to be ended for it.
        """
        self._outstanding.extendleft(reversed((seq, *returned)))
        self._returned -= 1

    def lose(self, page: PageView) -> Lost:
        """Say what the worker's death means, given its page; all that was outstanding is back.

        Everything the worker reported must have been taken in before: what `page.ran` counts over
        the reported ones had run without its result having arrived.
        """
        held = list(self._outstanding)
        self._outstanding.clear()
        count = min(max(0, page.ran - self._returned), len(held))
        ran, rest = tuple(held[:count]), held[count:]
        if page.seq is not None and rest and rest[0] == page.seq:
            return Lost(page.seq, ran, tuple(rest[1:]))
        return Lost(None, ran, tuple(rest))

    def _take(self, seq: int, what: str) -> None:
        if not self._outstanding or self._outstanding[0] != seq:
            raise FrameError(self._breach(seq, what))
        self._outstanding.popleft()
        self._returned += 1

    def _breach(self, seq: int, what: str) -> str:
        expected = f"request {self._outstanding[0]}" if self._outstanding else "nothing, as it holds no request"
        return f"it reported {what} for request {seq}, expected {expected}"

    def _learn(self, seconds: float) -> None:
        # A negative or absurd duration (a worker gone mad) must not make the window so.
        seconds = seconds if 0.0 <= seconds < float("inf") else 0.0
        before = self._average
        self._average = seconds if before is None else before + _WEIGHT * (seconds - before)
        wanted = WINDOW_SECONDS / self._average if self._average > 0 else WINDOW_LIMIT
        self.window = max(1, min(WINDOW_LIMIT, int(wanted)))
