"""Who waits for whom: asks that would never be answered are refused before they wait.

Owns the one table of the actors of this program that wait in an ask, and the cell that says which
actor the present thread is. Never waits, never wakes anybody.

Theory of operation. An actor that asks waits for exactly one other, so the table is a forest, and
a new edge closes a ring just if the way from the asked one leads to the asker. Both, the look and
the new edge, are made under one lock; so of two asks that would close a ring together, the second is
refused. The edge of a wait that is over leads nowhere, although it is in the table until its thread
has woken up: the one that has answered may well ask back before.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from supervisors.errors import DeadlockError
from supervisors.renewals import renewals


class Waiter(Protocol):
    """An actor, as far as waiting goes; known by its identity."""

    path: str


class _Present(threading.local):
    actor: Waiter | None = None


class _Wait(NamedTuple):
    asked: Waiter
    is_over: Callable[[], bool]


_present = _Present()
# Guards the table.
_lock = threading.Lock()
_waits: dict[Waiter, _Wait] = {}
"""By who waits."""


def present_actor() -> Waiter | None:
    """Give the actor whose thread this is; None on any other thread."""
    return _present.actor


def enter_actor(actor: Waiter | None) -> None:
    """Say that this thread is the actor's from now on."""
    _present.actor = actor


def refuse_ring(asked: Waiter) -> None:
    """Raise if the present actor must not wait for `asked`; on other threads it never does.

    Raises:
        DeadlockError: `asked` is the present actor, or waits for it.
    """
    if _present.actor is not None:
        with _lock:
            _check(_present.actor, asked)


@contextmanager
def waiting_for(asked: Waiter, is_over: Callable[[], bool]) -> Iterator[None]:
    """Note, for the body, that the present actor waits for `asked`; nothing on other threads.

    Args:
        asked: who is to answer.
        is_over: whether it has; once True it stays so. Called by other threads as well.

    Raises:
        DeadlockError: as `refuse_ring`.
    """
    asker = _present.actor
    if asker is None:
        yield
        return
    with _lock:
        _check(asker, asked)
        _waits[asker] = _Wait(asked, is_over)
    try:
        yield
    finally:
        with _lock:
            del _waits[asker]


def _check(asker: Waiter, asked: Waiter) -> None:
    ring = [asker.path]
    follower: Waiter | None = asked
    while follower is not None:
        ring.append(follower.path)
        if follower is asker:
            raise DeadlockError(tuple(ring))
        wait = _waits.get(follower)
        follower = None if wait is None or wait.is_over() else wait.asked


def _start_anew() -> None:
    """Know of no actor, in a forked copy of the program: none of them runs there."""
    global _lock  # noqa: PLW0603  it may have been held by a thread that the copy does not have
    _lock = threading.Lock()
    _waits.clear()
    _present.actor = None


renewals.add(_start_anew)
