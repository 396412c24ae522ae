"""Who waits for whom: asks that would never be answered are refused before they wait.

Owns the one table of the actors of this program that wait in an ask, and the cell that says which
actor the present thread is. Never waits, never wakes anybody.

Theory of operation. An actor that asks waits for exactly one other, so the table is a forest, and
a new edge closes a ring just if the way from the asked one leads to the asker. Both, the look and
the new edge, are made under one lock; so of two asks that would close a ring together, the second is
refused.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from supervisors.errors import DeadlockError


class Waiter(Protocol):
    """An actor, as far as waiting goes; known by its identity."""

    path: str


class _Present(threading.local):
    actor: Waiter | None = None


_present = _Present()
# Guards the table.
_lock = threading.Lock()
_waits_for: dict[Waiter, Waiter] = {}


def present_actor() -> Waiter | None:
    """Give the actor whose thread this is; None on any other thread."""
    return _present.actor


def enter_actor(actor: Waiter | None) -> None:
    """Say that this thread is the actor's from now on."""
    _present.actor = actor


@contextmanager
def waiting_for(asked: Waiter) -> Iterator[None]:
    """Note, for the body, that the present actor waits for `asked`; nothing on other threads.

    Raises:
        DeadlockError: `asked` is the present actor, or waits for it.
    """
    asker = _present.actor
    if asker is None:
        yield
        return
    with _lock:
        ring = [asker.path]
        follower: Waiter | None = asked
        while follower is not None:
            ring.append(follower.path)
            if follower is asker:
                raise DeadlockError(tuple(ring))
            follower = _waits_for.get(follower)
        _waits_for[asker] = asked
    try:
        yield
    finally:
        with _lock:
            del _waits_for[asker]
