"""Whole jobs on the seeded host: nothing lost, doubled or reordered in any order of steps.

`ROUTILUX_STRESS=1` (`make stress`) runs 2,000 seeds a shape and placement instead of 25.
"""

from __future__ import annotations

import os

import pytest

from routilux import ErrorHandler, Flow, JobStatus, Routine
from routilux.jobs.actor import JobCut
from supervisors.places.scripted import Faults
from supervisors.wire.values import decode
from tests.runtime import shapes
from tests.runtime.seeded import SeededJob

SEEDS = range(2_000 if os.environ.get("ROUTILUX_STRESS") == "1" else 15)
COUNT = 12
FAULTS = Faults(crash=0.01, crash_before_commit=0.02, start_failure=0.02)
NEVER_GIVE_UP = ErrorHandler("retry", max_retries=10_000, retry_delay=0.05, jitter=0.5)


@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("where", shapes.PLACEMENTS)
@pytest.mark.parametrize("shape", shapes.SLOTS)
def test_every_message_once_and_in_order_whatever_the_order_of_steps(shape: str, where: str) -> None:
    for seed in SEEDS:
        flow: Flow = getattr(shapes, shape)(shapes.PLACEMENTS[where], NEVER_GIVE_UP, max_restarts=10_000)
        job = SeededJob(flow, seed, FAULTS)
        job.send("source", count=COUNT)
        cut = job.run()
        told = f"{shape}, {where}, seed {seed}"
        assert cut.status is JobStatus.COMPLETED, f"{told}: {cut.error}"
        sink = job.state("sink")
        for slot in shapes.SLOTS[shape]:
            assert {key: sink[f"{slot}.{key}"] for key in ("last", "count", "sum")} == shapes.sums(COUNT), told
        assert "disorder" not in sink, told
        assert sink.get("totals.last", COUNT) == COUNT, told
        assert all(count.sent == count.handled for count in cut.connections), told


class Failing(Routine):
    """Fails on every third number, the first two times."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.handle)
        self.define_event("number", ["n"])

    def handle(self, n: int) -> None:
        self.state["count"] = self.state.get("count", 0) + 1
        self.emit("number", n=n)
        if n % 3 == 0 and self.attempt <= 2:
            raise ValueError(n)


@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("placement", ["thread", "process"])
@pytest.mark.parametrize(
    ("strategy", "status", "handled"),
    [("retry", "completed", 9), ("continue", "completed", 6), ("skip", "completed", 0), ("stop", "failed", 0)],
)
def test_each_strategy_gives_up_what_it_says_in_every_order(
    strategy: str, status: str, handled: int, placement: str
) -> None:
    for seed in SEEDS:
        flow = Flow("strategies")
        handler = ErrorHandler(strategy, retry_delay=0.1)
        flow.add_routine(Failing(), "failing", placement=placement, error_handler=handler)
        flow.add_routine(shapes.Sink(), "sink")
        flow.connect("failing", "number", "sink", "input")
        job = SeededJob(flow, seed, Faults())
        for n in range(9):
            job.send("failing", n=n)
        cut = job.run()
        assert (cut.status, job.state("failing").get("count", 0)) == (status, handled), f"seed {seed}"
        assert "disorder" not in job.state("sink")
        figures = cut.routines[0].figures
        assert figures.handled + figures.dead + figures.skipped + figures.waiting == 9


@pytest.mark.timeout(1_200)
@pytest.mark.parametrize(
    ("max_restarts", "seeds"),
    [(3, SEEDS), (20, SEEDS[::5])],  # 20: so many that the waits alone take longer than the period, and the test too
    ids=["3", "20"],
)
def test_a_crash_loop_stops_the_job_in_every_order(max_restarts: int, seeds: range) -> None:
    for seed in seeds:
        flow = shapes.chain(shapes.PLACEMENTS["process"], NEVER_GIVE_UP, max_restarts=max_restarts)
        job = SeededJob(flow, seed, Faults(start_failure=1.0))
        job.send("source", count=COUNT)
        cut = job.run()
        assert cut.status is JobStatus.FAILED
        assert "fruitless restarts" in (cut.error or "")


class Measuring(Routine):
    """Hands numbers on; fails on every fifth, the first time."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.handle)
        self.define_event("number", ["n"])

    def handle(self, n: int, weight: str) -> None:
        self.emit("number", n=n)
        if n % 5 == 0 and self.attempt == 1:
            raise ValueError(n)


def run_with_heavy_messages(seed: int, then: str, workers: int = 1) -> tuple[SeededJob, JobCut]:
    """Send ten numbers, of which the place cannot carry 3, 6 and 9, to a routine whose workers die at times."""
    flow = Flow("heavy")
    handler = ErrorHandler("retry", max_retries=10_000, retry_delay=0.1, then=then)
    flow.add_routine(Measuring(), "m", placement="process", workers=workers, error_handler=handler, max_restarts=10_000)
    flow.add_routine(shapes.Sink(), "sink")
    flow.connect("m", "number", "sink", "input")
    job = SeededJob(flow, seed, Faults(crash=0.02, crash_before_commit=0.02), max_request_bytes=200)
    for n in range(10):
        job.send("m", n=n, weight="x" * (300 if n % 3 == 0 and n else 1))
    return job, job.run()


@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("workers", [1, 3])
def test_a_message_that_no_frame_can_carry_costs_itself_alone_in_every_order(workers: int) -> None:
    for seed in SEEDS:
        job, cut = run_with_heavy_messages(seed, "continue", workers)
        told = f"seed {seed}"
        assert cut.status is JobStatus.COMPLETED, f"{told}: {cut.error}"
        assert sorted(decode(letter.message.payload)["n"] for letter in cut.dead_letters) == [3, 6, 9], told
        assert all(letter.attempts == 1 for letter in cut.dead_letters), told
        assert all("over the bound" in letter.cause for letter in cut.dead_letters), told
        sink = job.state("sink")
        assert (sink["input.count"], sink["input.sum"]) == (7, 0 + 1 + 2 + 4 + 5 + 7 + 8), told
        assert workers > 1 or "disorder" not in sink, told


@pytest.mark.timeout(1_200)
def test_a_message_that_no_frame_can_carry_stops_the_job_after_those_before_it_in_every_order() -> None:
    for seed in SEEDS:
        job, cut = run_with_heavy_messages(seed, "stop")
        told = f"seed {seed}"
        assert cut.status is JobStatus.FAILED, told
        assert "a request of" in (cut.error or ""), told
        # What was before it was handled, what was behind it waits.
        assert cut.routines[0].figures.handled == 3, told
        left = [decode(message.payload)["n"] for message in job.ledger.accounts[0].mailbox.waiting_held()]
        assert left == [4, 5, 6, 7, 8, 9], told
