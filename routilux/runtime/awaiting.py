"""How a task of somebody's event loop waits for a job: woken from the job's threads, and cancelled as any task.

Owns the one way from a ring of the job to a loop. Imported only by those who await: asyncio takes longer to import than
all the rest of a program's start.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TypeVar

from routilux.accounts import Bell
from supervisors.errors import InternalError
from supervisors.mailbox import Mailbox

_Found = TypeVar("_Found")


class TaskParker:
    """Where tasks of the running loop wait to be unparked (a `Parker` but for `park`, which would block the loop)."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()

    @property
    def is_here(self) -> bool:
        """Whether the running loop is the one it was made on."""
        return asyncio.get_running_loop() is self._loop

    def park(self, timeout: float | None) -> None:
        """Refuse; raises `InternalError`."""
        message = "a task waits by `wait`"
        raise InternalError(message)

    def unpark(self) -> None:
        """Wake the task, from any thread; nothing if its loop is over."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._woken.set)

    def close(self) -> None:
        """Do nothing."""

    async def wait(self) -> None:
        """Wait until it is unparked, or was since the last wait."""
        await self._woken.wait()
        self._woken.clear()


async def wait_rung(mailbox: Mailbox, seen: int, parker: TaskParker) -> None:
    """Wait until `mailbox`, whose reader waits at `parker`, is rung; not at all if it was since `seen`."""
    if mailbox.fall_asleep(seen):
        await parker.wait()


async def wait_for(bell: Bell, look: Callable[[], _Found | None]) -> _Found:
    """Look until there is something, anew each time that `bell` is rung; as `Bell.wait_for`, without an end."""
    waiter, parker = bell.make_waiter(), TaskParker()
    waiter.attach(parker)
    bell.enter(waiter)
    try:
        while True:
            # Read before looking: a ring in between keeps the waiter from falling asleep.
            seen = waiter.rings
            found = look()
            if found is not None:
                return found
            await wait_rung(waiter, seen, parker)
    finally:
        bell.leave(waiter)
