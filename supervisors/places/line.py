"""Of several requests that run at once, which may be told of next.

Owns the order in which reports about them go on to the listener, and what they have reported before it was their
turn. Pure. Never runs a request, never decides what a failure means.

Theory of operation. In an ordered line reports of the request at its head alone come out; those of the others are
kept, in their order, until all that was entered before has left. A request that failed leaves and *blocks* the line:
nobody may be told of those behind it while it is open whether it is tried again. What is entered meanwhile was at the
head before, so it goes there, and the line goes on; or it goes on without (`pass_by`). A line without order hands
everything out as it comes.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Protocol


class Reported(Protocol):
    """A report about a request."""

    @property
    def seq(self) -> int:
        """The request's number."""


class Line:
    """The line of the requests in one worker's hands.

    Args:
        is_ordered: whether they are told of in the order in which they were entered.
    """

    def __init__(self, *, is_ordered: bool) -> None:
        self._is_ordered = is_ordered
        self._kept: OrderedDict[int, deque[Reported]] = OrderedDict()
        self._coming: deque[Reported] = deque()
        self.is_blocked = False
        """Whether a request that failed was at the head, and it is open what becomes of it."""

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, seq: object) -> bool:
        return seq in self._kept

    def enter(self, seqs: Sequence[int]) -> None:
        """Let requests join at the end, in order; at the head where it is blocked, which ends that."""
        for seq in seqs:
            self._kept[seq] = deque()
        if self.is_blocked:
            self.is_blocked = False
            for seq in reversed(seqs):
                self._kept.move_to_end(seq, last=False)

    def append(self, seq: int) -> None:
        """Let a request join at the end, also where the head is awaited."""
        self._kept[seq] = deque()

    def keep(self, report: Reported) -> None:
        """Keep a report about a request in the line until it may be told."""
        if self._is_ordered:
            self._kept[report.seq].append(report)
        else:
            self._coming.append(report)

    def take(self) -> Reported | None:
        """Give the next report that may be told; None where there is none."""
        if not self._is_ordered:
            while self._coming:
                report = self._coming.popleft()
                if report.seq in self._kept:
                    return report
            return None
        if self.is_blocked or not self._kept:
            return None
        head = next(iter(self._kept.values()))
        return head.popleft() if head else None

    def list_behind(self) -> Iterator[Reported]:
        """Give the oldest report about each request behind the head of an ordered line, up to one without any."""
        for kept in islice(self._kept.values(), 1, None):
            if not kept:
                return
            yield kept[0]

    def has_next(self) -> bool:
        """Tell whether some report may be told."""
        if not self._is_ordered:
            return bool(self._coming)
        return not self.is_blocked and bool(self._kept) and bool(next(iter(self._kept.values())))

    @property
    def head(self) -> int | None:
        """The request at the head of an ordered line; None where there is none."""
        return next(iter(self._kept), None)

    def drop_kept(self, seq: int) -> tuple[Reported, ...]:
        """Forget and give what an ordered line keeps of a request, which stays where it is."""
        kept = self._kept[seq]
        dropped = tuple(kept)
        kept.clear()
        return dropped

    def leave(self, seq: int) -> None:
        """Let a request leave: what is kept of it is dropped."""
        self._kept.pop(seq, None)

    def fail(self, seq: int) -> None:
        """Let a request leave that failed; an ordered line is blocked by it."""
        self.leave(seq)
        self.is_blocked = self._is_ordered

    def pass_by(self) -> None:
        """Go on without the request that failed."""
        self.is_blocked = False

    def split(self, suspect: int | None) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Give the requests in the line before `suspect`, and those behind it; where there is none, all are before."""
        seqs = tuple(self._kept)
        if suspect not in self._kept:
            return seqs, ()
        at = seqs.index(suspect)
        return seqs[:at], seqs[at + 1 :]

    def clear(self) -> None:
        """Let all leave; it is not blocked any more."""
        self._kept.clear()
        self._coming.clear()
        self.is_blocked = False
