"""What the actor of a routine is given by those who put a job together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from routilux.messages import Message, Once
from supervisors.behavior import Context
from supervisors.places.base import Place
from supervisors.places.ordered import OrderedListener


class Journal(Protocol):
    """Where what is done once is written down (`routilux.jobs.journal`)."""

    def record(self, message: Message, once: Once) -> None:
        """Write it down, durably."""


class PlaceMaker(Protocol):
    """Makes the place a routine runs at, once its actor has started."""

    def __call__(self, listener: OrderedListener, ctx: Context, wait: Callable[[], bool]) -> Place:
        """Make it; `wait` is for places that run requests on the actor's own thread."""
