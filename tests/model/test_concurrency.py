"""What can be handled several at a time, and what is refused, at the author's line."""

from __future__ import annotations

from typing import Any

import pytest

from routilux import Flow, Routine, routine
from routilux.errors import FlowCheckError, OptionError


class Waiting(Routine):
    def __init__(self, **slot: Any) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle, **slot)

    async def handle(self, n: int) -> None: ...


class InPlace(Waiting):
    state_policy = "in_place"


@routine
def plain(n: int) -> None: ...


@routine
async def waiting(n: int) -> None: ...


class Called(Routine):
    async def __call__(self, n: int) -> None: ...


@pytest.mark.parametrize(
    ("added", "options", "words"),
    [
        (plain, {"concurrency": 2}, ["routine 'it'", "concurrency=2", "'async def' handlers"]),
        (Waiting(merge_strategy="append"), {"concurrency": 2}, ["'input' does", "gather"]),
        (Waiting(merge_strategy=max), {"concurrency": 2}, ["'input' does", "gather"]),
        (InPlace(), {"concurrency": 2}, ["'in_place'"]),
        (Waiting(), {"concurrency": 0}, ["concurrency", "at least 1", "got 0"]),
        (Waiting(), {"concurrency": True}, ["concurrency", "got True"]),
        (Waiting(), {"ordered": 1}, ["ordered", "True, False or None", "got 1"]),
        (Waiting(), {"placement": "process", "concurrency": 2}, ["concurrency", "1 in a process"]),
    ],
)
def test_what_cannot_run_at_once_is_refused_where_it_is_added(added: Any, options: Any, words: list[str]) -> None:
    flow = Flow()
    with pytest.raises(OptionError) as caught:
        flow.add_routine(added, "it", **options)
    for word in words:
        assert word in str(caught.value)
    assert not flow.routines


@pytest.mark.parametrize("added", [waiting, Waiting(), Called()])
def test_async_handlers_take_a_concurrency(added: Routine) -> None:
    flow = Flow()
    flow.add_routine(added, "it", concurrency=10, ordered=False)
    assert flow.check() == [] or all(problem.severity == "warning" for problem in flow.check())


def test_a_slot_that_is_defined_later_is_looked_at_when_the_flow_is_started() -> None:
    flow = Flow()
    added = Waiting()
    flow.add_routine(added, "it", concurrency=10)
    added.define_slot("more", handler=added.handle, merge_strategy="append")
    with pytest.raises(FlowCheckError, match="'more' does"):
        flow.start(keep_open=True)
