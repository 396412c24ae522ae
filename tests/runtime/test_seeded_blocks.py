"""Blocks of messages on the seeded host: turns of every kind among plain ones, whatever the order of steps."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from routilux import ErrorHandler, Flow, JobStatus, Routine
from routilux.jobs.actor import JobCut
from routilux.turn.stats import add_up
from supervisors.places.scripted import Faults
from tests.runtime import shapes
from tests.runtime.seeded import SeededJob
from tests.runtime.world import Odds, World

IS_STRESS = os.environ.get("ROUTILUX_STRESS") == "1"
SEEDS = range(2_000 if IS_STRESS else 15)
COUNT = 24
FAULTS = Faults(crash=0.01, crash_before_commit=0.02, start_failure=0.02)
NEVER_GIVE_UP = ErrorHandler("retry", max_retries=10_000, retry_delay=0.05, jitter=0.5)


class Burst(Routine):
    """Emits numbers together."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.handle)
        self.define_event("number", ["n"])

    def handle(self, count: int) -> None:
        for n in range(count):
            self.emit("number", n=n)


class Relay(Routine):
    """Hands each number on, so that what its turns came to is told of in parts, some of which wait together."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)
        self.define_event("number", ["n"])

    def handle(self, n: int) -> None:
        self.emit("number", n=n)


class Mixed(Routine):
    """Hands on three times each number, in one of many ways."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)
        self.define_event("number", ["n"])

    def handle(self, n: int) -> Iterator[None] | None:
        if "part" not in self.state:
            self.state.setdefault("seen", []).append(n)
            self.increment_stat("seen")
        way = n % 8
        if way == 1:
            return self.step(n)
        self.emit("number", n=3 * n)
        if way == 2 and self.attempt == 1:
            raise ValueError(n)
        if way == 3:
            self.once("key", lambda: n)
        self.emit("number", n=3 * n + 1)
        self.emit("number", n=3 * n + 2)
        return None

    def step(self, n: int) -> Iterator[None]:
        for part in range(self.state.get("part", 0), 3):
            self.emit("number", n=3 * n + part)
            self.state["part"] = part + 1
            yield
        del self.state["part"]
        if n == 9 and self.attempt == 1:
            raise ValueError(n)


def flow_of(where: str, **options: Any) -> Flow:
    """Numbers that come together, handed on in all ways."""
    flow = Flow("blocks")
    options = {"error_handler": NEVER_GIVE_UP, "max_restarts": 10_000, **options}
    flow.add_routine(Burst(), "burst", **options)
    flow.add_routine(Relay(), "relay", placement=where, **options)
    flow.add_routine(Mixed(), "mixed", placement=where, **options)
    flow.add_routine(shapes.Sink(), "sink", placement=where, **options)
    flow.connect("burst", "number", "relay", "input")
    flow.connect("relay", "number", "mixed", "input")
    flow.connect("mixed", "number", "sink", "input")
    return flow


def check(job: SeededJob, cut: JobCut, told: str) -> None:
    assert cut.status is JobStatus.COMPLETED, f"{told}: {cut.error}"
    assert job.state("sink") == {f"input.{key}": value for key, value in shapes.sums(3 * COUNT).items()}, told
    assert job.state("mixed") == {"seen": list(range(COUNT))}, told
    assert add_up(cut.routines[2].committed) == {"seen": COUNT}, told  # type: ignore[comparison-overlap]  # a dict
    assert all(count.sent == count.handled for count in cut.connections), told


@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("where", ["thread", "process"])
def test_turns_of_all_kinds_in_a_block_leave_what_they_are_to_leave(where: str) -> None:
    for seed in SEEDS:
        job = SeededJob(flow_of(where), seed, FAULTS)
        job.send("burst", count=COUNT)
        check(job, job.run(), f"{where}, seed {seed}")


@pytest.mark.timeout(6_000 if IS_STRESS else 300)
@pytest.mark.parametrize("where", ["thread", "process"])
def test_they_do_so_over_pauses_and_power_cuts(where: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL")
    for seed in range(2_000 if IS_STRESS else 6):
        world = World(lambda: flow_of(where), seed, Odds(), FAULTS, (None, 0.02, 0.3)[seed % 3])
        cut = world.run([("burst", {"count": COUNT})])
        check(world.job, cut, f"{where}, seed {seed}")
