"""Roots that still run when the program ends; whole programs are in `tests/runtime/test_program_end.py`."""

from __future__ import annotations

import atexit
import logging
import math
from collections.abc import Callable, Iterator

import pytest

from supervisors.messages import Terminate
from supervisors.program_end import REASON, ProgramEnd
from supervisors.reasons import Normal, Reason
from supervisors.report import reporter


class FakeRoot:
    """A root that notes what is done to it."""

    def __init__(self, *, is_over: bool = False, interrupts: bool = False) -> None:
        self.is_over = is_over
        self.interrupts = interrupts
        self.signals: list[object] = []
        self.waits: list[float | None] = []
        self.watchers: list[Callable[[Reason], object]] = []

    def signal(self, message: object) -> bool:
        """Note it."""
        self.signals.append(message)
        return not self.is_over

    def watch(self, notify: Callable[[Reason], object]) -> Callable[[], bool]:
        """Keep it, or call it if the root has ended."""
        if self.is_over:
            notify(Normal())
        else:
            self.watchers.append(notify)
        return lambda: False

    def wait_terminated(self, timeout: float | None) -> bool:
        """Note it."""
        self.waits.append(timeout)
        if self.interrupts:
            raise KeyboardInterrupt
        return True


@pytest.fixture
def end() -> Iterator[ProgramEnd]:
    """One of its own, which is not the program's."""
    program_end = ProgramEnd()
    yield program_end
    atexit.unregister(program_end.end_all)


def watch_over(end: ProgramEnd, root: FakeRoot, seconds: float = 10.0) -> None:
    end.watch_over(root, "it still ran", reporter("supervisors"), seconds)


def test_a_root_that_runs_is_asked_to_end_told_and_waited_for(
    end: ProgramEnd, caplog: pytest.LogCaptureFixture
) -> None:
    root = FakeRoot()
    watch_over(end, root)
    with caplog.at_level(logging.WARNING):
        end.end_all()
    assert root.signals == [Terminate(REASON)]
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [("WARNING", "it still ran")]
    (left,) = root.waits
    assert left is not None
    assert 0.0 < left <= 10.0


def test_all_are_asked_before_one_is_waited_for_and_infinite_time_is_no_limit(end: ProgramEnd) -> None:
    first, second = FakeRoot(interrupts=True), FakeRoot()
    watch_over(end, first, math.inf)
    watch_over(end, second)
    end.end_all()  # the interrupt cuts the waits short, and does not come out
    assert (first.signals, second.signals) == ([Terminate(REASON)], [Terminate(REASON)])
    assert (first.waits, second.waits) == ([None], [])


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_root_that_has_ended_is_forgotten(end: ProgramEnd, when: str) -> None:
    root = FakeRoot(is_over=when == "before")
    watch_over(end, root)
    for notify in root.watchers:
        notify(Normal())
    end.end_all()
    assert root.signals == []


def test_a_forked_copy_ends_nothing(end: ProgramEnd) -> None:
    root = FakeRoot()
    watch_over(end, root)
    end.forget()
    end.end_all()
    assert root.signals == []
