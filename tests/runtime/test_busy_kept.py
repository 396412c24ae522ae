"""A busy job does not run away from what is kept of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from routilux import Flow, Job, routine
from routilux.jobs import backlog
from routilux.stores import MemoryStore

COUNT = 20_000


class GatedStore(MemoryStore):
    """Takes nothing more of the history while its gate is shut."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()

    def append(self, *arguments: Any, **more: Any) -> int:
        self.gate.wait()
        return super().append(*arguments, **more)


@routine(events={"number": ["n"]})
def count(data: object) -> Iterator[int]:
    yield from range(COUNT)


@routine
def take(n: int) -> None:
    pass


def handled_at_last(job: Job) -> int:
    """Wait until no more is handled, and give how much was."""
    never, before = threading.Event(), -1
    while (now := job.state.routine_states["take"]["handled"]) != before or not now:
        before = now
        assert not never.wait(0.3)
    return before


def test_a_store_that_falls_behind_slows_the_job_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "PATIENCE_SECONDS", 60.0)
    monkeypatch.setattr(backlog, "BACKLOG_FACTS", COUNT // 2)
    store, flow = GatedStore(), Flow("busy")
    flow.add_routine(count, "count")
    flow.add_routine(take, "take")
    flow.connect("count", "number", "take", "input")
    with flow.start(store=store, keep_open=True) as job:
        store.gate.clear()
        job.send("count", "input", data=None)
        assert handled_at_last(job) < COUNT / 2
        store.gate.set()
        job.close_entry()
        state = job.wait()
    assert (state.status, state.routine_states["take"]["handled"]) == ("completed", COUNT)
