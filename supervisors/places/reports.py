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
    """A request was run, in `seconds`."""

    seq: int
    body: Any
    seconds: float


class Failed(NamedTuple):
    """A request raised."""

    seq: int
    body: Any


class Parked(NamedTuple):
    """The worker is held, by the hold of that number, on this request or on none; what is behind it was dropped."""

    hold: int
    seq: int | None
