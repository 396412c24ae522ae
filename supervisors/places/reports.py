"""What a worker in this program tells its place: a thread beside the actor, or a simulated process. Plain values."""

from __future__ import annotations

from typing import Any, NamedTuple


class Ready(NamedTuple):
    """The service has booted."""


class Part(NamedTuple):
    """A request that is still running handed over a part."""

    seq: int
    body: Any


class Done(NamedTuple):
    """A request was run, in `seconds`; or, where `length` is not 0, so many of a batch, numbered from `seq`."""

    seq: int
    body: Any
    seconds: float
    length: int = 0

    @property
    def seqs(self) -> range:
        """The numbers of all that it tells of."""
        return range(self.seq, self.seq + (self.length or 1))


class Failed(NamedTuple):
    """A request raised."""

    seq: int
    body: Any


class Parked(NamedTuple):
    """The worker is held, by the hold of that number, on this request or on none; what is behind it was dropped."""

    hold: int
    seq: int | None
