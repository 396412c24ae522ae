"""What is left of a simulated loop that nobody moves any more."""

from __future__ import annotations

import gc
import random
import sys
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from supervisors.places.request import Request
from supervisors.places.simulated_loop import SimulatedLoop


class Never:
    """Waits for what never comes."""

    def __await__(self) -> Iterator[Callable[[], bool]]:
        yield lambda: False


class Service:
    """Runs async functions, each its own execution."""

    def boot(self, number: int, boot: Any) -> None: ...

    def begin(self, request: Callable[[], Coroutine[Any, Any, None]], port: Any) -> Any:
        class Running:
            run = staticmethod(request)

        return Running()

    def describe_failure(self, error: BaseException) -> str:
        return repr(error)


@pytest.fixture
def unraisable(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What went wrong where nobody could hear of it, such as in the garbage collector."""
    gc.collect()
    told: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    yield told
    monkeypatch.undo()


def make_loop(*works: Callable[[], Coroutine[Any, Any, None]]) -> tuple[SimulatedLoop, list[Request]]:
    """Give a started loop that was handed these, and has not begun them."""
    loop = SimulatedLoop(Service, None, random.Random(0))  # type: ignore[arg-type]
    loop.start()
    assert loop.tick()
    requests = [loop.make_request(seq, work) for seq, work in enumerate(works)]
    loop.submit(requests)
    return loop, requests


@pytest.mark.parametrize("is_heard", [False, True])
def test_a_loop_that_is_dropped_leaves_no_coroutine_that_was_not_begun(is_heard: bool, unraisable: list[Any]) -> None:
    async def work() -> None: ...

    loop, _ = make_loop(*[work] * 20)
    if is_heard:
        while loop._orders:
            loop._hear()
    loop.drop()
    del loop
    gc.collect()
    assert unraisable == []


def test_what_runs_on_a_loop_that_is_dropped_is_closed_at_once_and_nothing_is_told(unraisable: list[Any]) -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await Never()
        finally:
            ended.append("closed")

    loop, _ = make_loop(*[work] * 20)
    while loop.tick():
        pass
    loop.drop()
    assert ended == ["closed"] * 20
    assert not loop.has_reports()
    assert loop.is_over()
    assert not loop.tick()
    del loop
    gc.collect()
    assert unraisable == []


def test_a_request_that_is_cancelled_before_its_first_step_is_never_made() -> None:
    made: list[int] = []

    async def work() -> None:
        made.append(1)

    loop, requests = make_loop(work)
    loop._hear()
    loop.cancel(requests[0])
    loop._hear()
    while loop.tick():
        pass
    assert (made, loop.is_over()) == ([], False)
    assert [loop.next_report() for _ in range(3)][1:] == [(0,), None]
