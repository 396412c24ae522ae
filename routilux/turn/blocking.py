"""Async handlers where one turn is run at a time: in a worker process, on its main thread.

Owns the event loop of one incarnation. Imported only where there is an async handler: asyncio takes longer to import
than the rest of a worker's start. Never runs two turns at once (`concurrent` does).

Theory of operation. A turn gets what `asyncio.run` gives: its handler is run to the end, or to the next `yield`, and
nothing else runs meanwhile but the tasks that it has started, which are in its turn therefore. What is left of those
when the handler has ended is cancelled and waited for, so none lives to see the next turn.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Generator
from types import AsyncGeneratorType
from typing import Any

_Stops = list[tuple[Any, "asyncio.Future[None]"]]
"""What was yielded, and what lets the generator go on."""


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
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def _run_steps(self, work: AsyncGenerator[Any, None]) -> Generator[Any, None, None]:
        stops: _Stops = []
        task = self._loop.create_task(_run_in_steps(work, stops))
        try:
            while not self._is_done(task, stops):
                yielded, passed = stops.pop()
                yield yielded
                passed.set_result(None)
        except BaseException:  # it is thrown away, or interrupted
            task.cancel()
            if self._is_done(task, stops) and not task.cancelled():
                task.result()
            raise
        task.result()

    def _is_done(self, task: asyncio.Task[None], stops: _Stops) -> bool:
        """Run to the next stop, or to the end; tells whether that has come."""
        while not (task.done() or stops):
            try:
                self._loop.run_forever()
            except (KeyboardInterrupt, SystemExit):
                if not task.done():
                    raise
        return task.done()

    def _end_tasks(self) -> None:
        loop = self._loop
        loop.run_until_complete(_let_generators_close())
        while left := asyncio.all_tasks(loop):
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.wait(left))


async def _let_generators_close() -> None:
    """Let those be closed that the handler has left before their end, while its turn goes on.

    Not by `shutdown_asyncgens`, after which a loop warns of each new one.
    """
    await asyncio.sleep(0)  # the loop makes a task of each,
    await asyncio.sleep(0)  # and that its first step


async def _run_in_steps(work: AsyncGenerator[Any, None], stops: _Stops) -> None:
    """Run it in one task, since what it enters at one step it may leave at another; the loop stops where it yields."""
    loop = asyncio.get_running_loop()
    try:
        async with contextlib.aclosing(work):
            async for yielded in work:
                passed = loop.create_future()
                stops.append((yielded, passed))
                loop.stop()
                await passed
    finally:
        loop.stop()
