"""What the parent knows of one incarnation of a worker: the ledger of requests in its hands.

Owns the numbers that were sent and have not come back, their order, the epoch, how many the
worker should hold (its window), and what a death means for each of them. Pure: numbers and
seconds in, decisions out; it sends nothing, reads no page and no clock.

Theory of operation. A worker runs its requests in the order they were sent, so whatever it
reports must be about the oldest one outstanding; anything else is a breach of the protocol.
When a request fails, the worker drops all behind it, and this returns them to their sender;
both count an epoch up, so that what the parent had sent meanwhile is dropped too: it carries the
older epoch. A worker that is held does the same where it stops, whether or not the hold is over by the time its word
arrives: whoever is held and released at any moment gets each request once, and in order.

A worker that breaks the protocol has shown that something it ran does not leave it whole, and not always what: when
it had begun several requests that it had not reported, any of them may be the one. They go back, and the next
incarnation is doubted: it gets them one at a time, so that the culprit is alone when it does it again.

The window grows when requests are short, since then the way there and back would cost more than
the work, and is exactly one when they are long, since whatever waits in a worker cannot be run
by another. A window that was full is filled again once half of it is free: what comes together stays so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest

from supervisors.errors import FrameError
from supervisors.places.base import Lost
from supervisors.places.process.page import PageView
from supervisors.places.process.runs import Runs

WINDOW_SECONDS = 0.01
"""Work that a worker should hold, in seconds: twice as long as a thread of the program may have to wait for the
interpreter before it can take a report and hand out more (`sys.getswitchinterval`)."""
WINDOW_LIMIT = 2_000
"""Requests that a worker holds at most, however short they are (arbitrary: twice as many as come together)."""
_SECONDS_LIMIT = 1e9
"""Seconds that no request takes (arbitrary: 30 years)."""
_WEIGHT = 0.25
"""Weight of the newest duration in the moving average (arbitrary: some ten requests of memory)."""


class Link:
    """The ledger of one incarnation.

    Args:
        doubted: how many requests it gets one at a time before its window may grow.
    """

    def __init__(self, doubted: int = 0) -> None:
        self.epoch = 0
        self.doubted = doubted
        """How many more requests it gets one at a time; after its end, how many the next incarnation gets so."""
        self._window = 1
        self._outstanding = Runs()
        self._is_filling = True
        """Whether it was half empty, or more, when some were sent, and not full since."""
        self._average: float | None = None
        self._returned = 0

    def __len__(self) -> int:
        """Requests in the worker's hands."""
        return self._outstanding.count

    @property
    def window(self) -> int:
        """Requests that the worker should hold."""
        return 1 if self.doubted else self._window

    @property
    def room(self) -> int:
        """Requests that the worker should get now, over those it has."""
        return max(0, self.window - self._outstanding.count) if self._is_filling or self._is_low else 0

    @property
    def _is_low(self) -> bool:
        return 2 * self._outstanding.count <= self.window

    @property
    def outstanding(self) -> tuple[int, ...]:
        """The numbers in the worker's hands, oldest first."""
        return tuple(self._outstanding)

    @property
    def oldest(self) -> int | None:
        """The number that is to be reported next; None if it holds none."""
        return self._outstanding.oldest

    def send(self, seqs: Iterable[int]) -> None:
        """Note that `seqs` are on their way to the worker."""
        self._is_filling |= self._is_low
        self._outstanding.add(seqs)
        self._is_filling &= self._outstanding.count < self.window

    def done(self, seqs: list[int], seconds: list[float]) -> list[float]:
        """Note that `seqs` were run, and how long each took; gives that as far as it can be believed.

        Raises:
            FrameError: they are not the oldest ones outstanding; none of them is noted.
        """
        self._take(seqs, "done")
        seconds = _believable(seconds)
        self._learn(sum(seconds) / len(seconds), len(seconds))
        return seconds

    def done_together(self, first: int, count: int, seconds: float) -> float:
        """Note that `count` requests from `first` on were run, and how long all of them took; as `done`."""
        if count <= 0 or not self._outstanding.try_take(range(first, first + count)):
            raise FrameError(self._breach(first, f"{count} done"))
        self._note_reported(count)
        (seconds,) = _believable([seconds])
        self._learn(seconds / count, count)
        return seconds

    def part(self, seq: int) -> None:
        """Note that `seq` handed over a part.

        Raises:
            FrameError: it is not the oldest one outstanding.
        """
        if self.oldest != seq:
            raise FrameError(self._breach(seq, "a part"))

    def failed(self, seq: int, seconds: float) -> tuple[int, ...]:
        """Note that `seq` failed; give the numbers behind it, which are back; raises as `part`."""
        self._take([seq], "failed")
        (seconds,) = _believable([seconds])
        self._learn(seconds, 1)
        self.epoch += 1
        return self._outstanding.take_all()

    def parked(self, seq: int | None) -> tuple[int, ...]:
        """Note that it is held on `seq`, or on none; give the numbers behind, which are back.

        Raises:
            FrameError: `seq` is not the oldest one outstanding.
        """
        if seq is not None and self.oldest != seq:
            raise FrameError(self._breach(seq, "a hold"))
        kept = () if seq is None else (seq,)
        returned = self._outstanding.take_all()[len(kept) :]
        self._outstanding.add(kept)
        self.epoch += 1
        return returned

    def take_back(self, seqs: Sequence[int], returned: tuple[int, ...] = ()) -> None:
        """Note that what was reported of `seqs` could not be read: they are outstanding as before.

        So is what came back with that, `returned`.
        """
        behind = self._outstanding.take_all()
        for numbers in (seqs, returned, behind):
            self._outstanding.add(numbers)
        self._returned -= len(seqs)

    def lose(self, page: PageView) -> Lost:
        """Say what the worker's death means, given its page; all that was outstanding is back.

        Everything the worker reported must have been taken in before: what `page.ran` counts over
        the reported ones had run without its result having arrived. Where it was on nothing, those go back
        once more and are doubted: one that was alone, and again was not reported, is the suspect.
        """
        ran, rest = self._split(page)
        if page.seq is not None and rest and rest[0] == page.seq:
            return Lost(page.seq, ran, rest[1:])
        if self.doubted and len(ran) == 1:
            return Lost(ran[0], (), rest)
        self.doubted = max(self.doubted, len(ran))
        return Lost(None, ran, rest)

    def lose_for(self, seq: int) -> Lost:
        """Say what the worker's end means that was ended for what `seq` did; as `lose`.

        What is behind it may have been begun before the end came.
        """
        held = self._outstanding.take_all()
        if seq not in held:
            return Lost(None, (), held)
        at = held.index(seq)
        return Lost(seq, held[:at], held[at + 1 :])

    def lose_for_breach(self, page: PageView) -> Lost:
        """Say what the end means of a worker that broke the protocol; as `lose`.

        The one request that it had begun and not reported is the suspect. Of several none is, and as many are
        `doubted`; what is behind them may have been begun before the end came.
        """
        ran, rest = self._split(page)
        if page.seq is not None and rest and rest[0] == page.seq:
            ran, rest = (*ran, page.seq), rest[1:]
        if len(ran) == 1:
            return Lost(ran[0], (), rest)
        self.doubted = max(self.doubted, len(ran))
        return Lost(None, ran, rest)

    def lose_unseen(self) -> Lost:
        """Say what the end means of a worker of which nobody knows what it was on; as `lose`.

        A lone one in its hands is the suspect. Of several none is, any of them may have been begun, and as many are
        `doubted`.
        """
        held = self._outstanding.take_all()
        if len(held) == 1:
            return Lost(held[0], (), ())
        self.doubted = max(self.doubted, len(held))
        return Lost(None, held, ())

    def _split(self, page: PageView) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Give what had run and was not reported, and the rest."""
        held = self._outstanding.take_all()
        count = min(max(0, page.ran - self._returned), len(held))
        return held[:count], held[count:]

    def _take(self, seqs: list[int], what: str) -> None:
        if not self._outstanding.try_take(seqs):
            wrong = next(seq for seq, due in zip_longest(seqs, self._outstanding) if seq != due)
            raise FrameError(self._breach(wrong, what))
        self._note_reported(len(seqs))

    def _note_reported(self, count: int) -> None:
        self._returned += count
        if self.doubted:
            self.doubted = max(0, self.doubted - count)

    def _breach(self, seq: int, what: str) -> str:
        expected = f"request {self.oldest}" if self._outstanding.count else "nothing, as it holds no request"
        return f"it reported {what} for request {seq}, expected {expected}"

    def _learn(self, mean: float, count: int) -> None:
        before = self._average
        weight = _WEIGHT if count == 1 else 1.0 - (1.0 - _WEIGHT) ** count
        self._average = average = mean if before is None else before + weight * (mean - before)
        wanted = WINDOW_SECONDS / average if average > 0 else WINDOW_LIMIT
        self._window = max(1, min(WINDOW_LIMIT, int(wanted)))


def _believable(seconds: list[float]) -> list[float]:
    """Give how long a worker says that requests took, with 0.0 for what a worker gone mad may say."""
    if min(seconds) >= 0.0 and sum(seconds) < _SECONDS_LIMIT:  # no sum with a NaN in it is less than anything
        return seconds
    return [each if 0.0 <= each < _SECONDS_LIMIT else 0.0 for each in seconds]
