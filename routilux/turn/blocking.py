"""Async handlers where one turn is run at a time: in a worker process, on its main thread.

Owns the event loop of one incarnation. Imported only where there is an async handler: asyncio takes longer to import
than the rest of a worker's start. Never runs two turns at once (`concurrent` does).

Theory of operation. A turn gets what `asyncio.run` gives: its handler is run to the end, or to the next `yield`, and
nothing else runs meanwhile but the tasks that it has started, which are in its turn therefore. What is left of those
when the handler has ended is cancelled and waited for, so none lives to see the next turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from types import AsyncGeneratorType
from typing import Any

_END = object()


class BlockingLoop:
    """Runs the coroutines of one incarnation's handlers; belongs to the thread that runs its turns."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()

    def steps_of(self, work: Any) -> Generator[Any, None, None]:
        """Give what an async handler gave as a generator: one that stops where that yields."""
        try:
            if isinstance(work, AsyncGeneratorType):
                yield from self._run_steps(work)
            else:
                self._loop.run_until_complete(work)
        finally:
            self._end_tasks()

    def close(self) -> None:
        """Give back what the loop holds."""
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def _run_steps(self, work: AsyncGenerator[Any, None]) -> Generator[Any, None, None]:
        try:
            while (yielded := self._loop.run_until_complete(_step(work))) is not _END:
                yield yielded
        finally:
            self._loop.run_until_complete(work.aclose())

    def _end_tasks(self) -> None:
        loop = self._loop
        while left := asyncio.all_tasks(loop):
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.wait(left))
        loop.run_until_complete(loop.shutdown_asyncgens())


async def _step(work: AsyncGenerator[Any, None]) -> Any:
    return await anext(work, _END)
