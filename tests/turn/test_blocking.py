"""The loop of async handlers that are run one at a time: a generator is one task, whose steps it does not notice."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from routilux.turn.blocking import BlockingLoop

seen: ContextVar[int] = ContextVar("seen", default=0)


@pytest.fixture
def loop() -> Iterator[BlockingLoop]:
    loop = BlockingLoop()
    yield loop
    loop.close()


def test_a_generator_keeps_its_task_and_its_context_from_step_to_step(loop: BlockingLoop) -> None:
    async def work() -> AsyncIterator[Any]:
        task = asyncio.current_task()
        seen.set(7)
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            child = group.create_task(asyncio.sleep(0, "child"))
            yield "first"
            await asyncio.sleep(0)
            yield seen.get(), asyncio.current_task() is task
        yield child.result()

    assert list(loop.steps_of(work())) == ["first", (7, True), "child"]
    assert seen.get() == 0


def test_a_generator_that_is_thrown_away_is_closed_where_it_yielded(loop: BlockingLoop) -> None:
    ended: list[Any] = []

    async def work() -> AsyncIterator[Any]:
        try:
            yield 1
        except BaseException as error:
            ended.append(type(error))
            raise
        finally:
            await asyncio.sleep(0)
            ended.append("awaited")

    steps = loop.steps_of(work())
    assert next(steps) == 1
    steps.close()
    gc.collect()
    assert ended == [GeneratorExit, "awaited"]


def test_what_a_generator_raises_as_it_is_closed_is_raised_by_that(loop: BlockingLoop) -> None:
    async def work() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            raise ValueError("closing")

    steps = loop.steps_of(work())
    assert next(steps) == 1
    with pytest.raises(ValueError, match="closing"):
        steps.close()


def test_what_a_generator_raises_is_raised_where_its_step_was_asked_for(loop: BlockingLoop) -> None:
    async def work(error: BaseException) -> AsyncIterator[Any]:
        yield 1
        await asyncio.sleep(0)
        raise error

    for error in (ValueError("mine"), asyncio.CancelledError("mine"), SystemExit(3), KeyboardInterrupt()):
        steps = loop.steps_of(work(error))
        assert next(steps) == 1
        with pytest.raises(type(error)):
            next(steps)
    assert list(loop.steps_of(work_again())) == [2]


async def work_again() -> AsyncIterator[int]:
    yield 2


def test_a_handler_that_stops_the_loop_itself_is_run_to_its_end(loop: BlockingLoop) -> None:
    async def work() -> AsyncIterator[Any]:
        asyncio.get_running_loop().stop()
        await asyncio.sleep(0)
        yield 1

    assert list(loop.steps_of(work())) == [1]


def test_a_generator_that_a_handler_leaves_before_its_end_is_closed_in_its_turn(loop: BlockingLoop) -> None:
    ended: list[str] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            for n in range(10):
                yield n
        finally:
            ended.append("closed")

    async def work() -> None:
        async for n in numbers():
            if n == 3:
                return

    for _ in range(2):
        assert list(loop.steps_of(work())) == []
    assert ended == ["closed", "closed"]
