"""Whole jobs with a store on the seeded host: paused, resumed and killed at drawn steps, again and again.

Nothing of a killed runner survives but what is in the store; the next one goes on from there (`tests.runtime.world`,
which holds at every step and in every checkpoint what must hold there). `ROUTILUX_STRESS=1` (`make stress`) runs 2,000
seeds a shape and placement.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import Any

import pytest

from routilux import ErrorHandler, Flow, JobStatus, Routine
from routilux.turn import outbox
from supervisors.places.scripted import Faults
from tests.runtime import shapes
from tests.runtime.world import Odds, World

IS_STRESS = os.environ.get("ROUTILUX_STRESS") == "1"
SEEDS = range(2_000 if IS_STRESS else 3)
COUNT = 12
FAULTS = Faults(crash=0.01, crash_before_commit=0.02, start_failure=0.02)
NEVER_GIVE_UP = ErrorHandler("retry", max_retries=10_000, retry_delay=0.05, jitter=0.5)
EVERY = (None, 0.02, 0.3)

pytestmark = pytest.mark.timeout(6_000 if IS_STRESS else 300)


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL")


def draw_odds(seed: int, where: str) -> Odds:
    """Draw what happens: jobs on threads have a tenth of the steps, so more happens at each."""
    writing = Odds(fail=0.05 if seed % 3 == 0 else 0.0, die_writing=0.02 if seed % 2 else 0.0)
    if where != "thread":
        return writing
    return writing._replace(checkpoint=0.1, pause=0.1, die=0.03, leave=0.01)


@pytest.mark.parametrize("where", shapes.PLACEMENTS)
@pytest.mark.parametrize("shape", shapes.SLOTS)
def test_every_message_once_and_in_order_over_pauses_and_power_cuts(shape: str, where: str) -> None:
    for seed in SEEDS:
        world = World(
            lambda: getattr(shapes, shape)(shapes.PLACEMENTS[where], NEVER_GIVE_UP, max_restarts=10_000),
            seed,
            draw_odds(seed, where),
            FAULTS,
            EVERY[seed % 3],
        )
        cut = world.run([("source", {"count": COUNT})])
        told = f"{shape}, {where}, seed {seed}"
        assert cut.status is JobStatus.COMPLETED, f"{told}: {cut.error}"
        sink = world.job.state("sink")
        for slot in shapes.SLOTS[shape]:
            assert {key: sink[f"{slot}.{key}"] for key in ("last", "count", "sum")} == shapes.sums(COUNT), told
        assert "disorder" not in sink, told
        assert sink.get("totals.last", COUNT) == COUNT, told
        assert all(count.sent == count.handled for count in cut.connections), told
        check_last(world, cut, told)


def check_last(world: World, cut: Any, told: str) -> None:
    """The job's end is in the store, or its owner was told that it is not."""
    kept = world.newest().header.status
    assert kept == str(cut.status) or cut.unkept is not None, f"{told}: {kept}, {cut.error}"


# ---- All that a job may have in it


class Pay(Routine):
    """Does something once for each number; fails at every third, the first time, after that was recorded."""

    tickets = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)
        self.define_event("paid", ["n"])

    def handle(self, n: int) -> None:
        ticket = self.once("pay", lambda: next(self.tickets))
        self.state[f"ticket.{n}"] = ticket
        self.emit("paid", n=n)
        if n % 3 == 0 and self.attempt == 1:
            raise ValueError(n)


class Burst(Routine):
    """Makes five of each number: more than a turn holds back (R3)."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)
        self.define_event("part", ["n"])

    def handle(self, n: int) -> None:
        for k in range(5):
            self.emit("part", n=n * 5 + k)
        if n % 4 == 1 and self.attempt == 1:
            raise ValueError(n)


class Gather(Routine):
    """Counts by what its slot has gathered, and hands on."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle, merge_strategy="append")
        self.define_event("number", ["n"])

    def handle(self, n: list[int]) -> None:
        self.state["gathered"] = sum(n)
        self.emit("number", n=n[-1])


class Tally(Routine):
    """Counts in place, in two steps: by numbers it has begun, and by those it is done with."""

    state_policy = "in_place"

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)
        self.define_event("number", ["n"])

    def handle(self, n: int) -> Iterator[None]:
        if self.state.get("at") != n:
            self.state["at"] = n
            self.state["begun"] = self.state.get("begun", 0) + 1
            yield
        self.state["done"] = self.state.get("done", 0) + 1
        self.emit("number", n=n)


def make_rich(where: str, **options: Any) -> Flow:
    """A source, and one routine of each kind behind the other; on threads, on processes, or in turns."""
    first, second = {"thread": ("thread",) * 2, "process": ("process",) * 2, "mixed": ("process", "thread")}[where]
    common: dict[str, Any] = {"error_handler": NEVER_GIVE_UP, "max_restarts": 10_000, **options}
    flow = Flow("rich")
    flow.add_routine(shapes.Source(batch=1), "source", placement=second, **common)
    flow.add_routine(Pay(), "pay", placement=first, capacity=3, **common)
    flow.add_routine(Burst(), "burst", placement=second, capacity=3, **common)
    flow.add_routine(Gather(), "gather", placement=first, capacity=3, **common)
    flow.add_routine(Tally(), "tally", capacity=3, **common)
    flow.add_routine(shapes.Sink(), "sink", placement=first, **common)
    flow.connect("source", "number", "pay", "input")
    flow.connect("pay", "paid", "burst", "input")
    flow.connect("burst", "part", "gather", "input")
    flow.connect("gather", "number", "tally", "input")
    flow.connect("tally", "number", "sink", "input")
    flow.output("tally", "number")
    return flow


@pytest.mark.parametrize("where", shapes.PLACEMENTS)
def test_all_that_a_job_may_have_in_it_over_pauses_and_power_cuts(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "COUNT_BOUND", 2)
    for seed in SEEDS:
        world = World(lambda: make_rich(where), seed, draw_odds(seed, where), FAULTS, EVERY[seed % 3])
        cut = world.run([("source", {"count": 8})])
        told, job = f"{where}, seed {seed}", world.job
        assert cut.status is JobStatus.COMPLETED, f"{told}: {cut.error}"
        sink = job.state("sink")
        assert {key: sink[f"input.{key}"] for key in ("last", "count", "sum")} == shapes.sums(40), told
        assert "disorder" not in sink, told
        assert job.state("tally") == {"at": 39, "begun": 40, "done": 40}, told
        assert job.state("gather")["gathered"] == sum(range(40)), told
        # What was done once is what was first recorded, whatever became of the programs since.
        recorded = world.recorded()
        assert all(len(values) == 1 for values in recorded.values()), told
        tickets = [job.codec.decode(value) for values in recorded.values() for value in values]
        assert sorted(tickets) == sorted(job.state("pay").values()), told
        # Each result once and in order, those that were collected before a kill as well.
        (output,) = job.ledger.outputs
        results = [*output.collected, *output.mailbox.data]
        found = [job.codec.decode(m.payload) if isinstance(m.payload, bytes) else m.payload for m in results]
        assert [data["n"] for data in found] == list(range(40)), told
        check_last(world, cut, told)


@pytest.mark.parametrize("where", ["process"])
def test_a_pool_handles_each_message_once_over_pauses_and_power_cuts(where: str) -> None:
    def make() -> Flow:
        flow = Flow("pool")
        common: dict[str, Any] = {"error_handler": NEVER_GIVE_UP, "max_restarts": 10_000}
        flow.add_routine(shapes.Source(batch=3), "source", **common)
        flow.add_routine(Pay(), "pay", placement=where, workers=3, **common)
        flow.add_routine(shapes.Sink(), "sink", **common)
        flow.connect("source", "number", "pay", "input")
        flow.connect("pay", "paid", "sink", "input")
        return flow

    for seed in SEEDS:
        world = World(make, seed, draw_odds(seed, where), FAULTS, EVERY[seed % 3])
        cut = world.run([("source", {"count": COUNT})])
        told, job = f"seed {seed}", world.job
        assert cut.status is JobStatus.COMPLETED, f"{told}: {cut.error}"
        sink = job.state("sink")
        assert (sink["input.count"], sink["input.sum"]) == (COUNT, sum(range(COUNT))), told
        held = [job.state("pay", worker) for worker in range(3)]
        tickets = [value for state in held for value in state.values()]
        assert all(len(values) == 1 for values in world.recorded().values()), told
        assert sorted(tickets) == sorted(job.codec.decode(v) for vs in world.recorded().values() for v in vs), told


# ---- Failures that are given up


class Failing(Routine):
    """Always fails on every third number, as long as it is broken."""

    broken = True

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.handle)
        self.define_event("number", ["n"])

    def handle(self, n: int) -> None:
        self.state["count"] = self.state.get("count", 0) + 1
        self.emit("number", n=n)
        if n % 3 == 2 and self.broken:
            raise ValueError(n)


def make_failing(handler: ErrorHandler, placement: str) -> Flow:
    flow = Flow("failing")
    flow.add_routine(Failing(), "failing", placement=placement, error_handler=handler)
    flow.add_routine(shapes.Sink(), "sink")
    flow.connect("failing", "number", "sink", "input")
    return flow


SENDS: list[tuple[str, dict[str, Any]]] = [("failing", {"n": n}) for n in range(9)]


@pytest.mark.parametrize("placement", ["thread", "process"])
def test_what_is_given_up_is_given_up_once_and_after_as_many_tries(placement: str) -> None:
    handler = ErrorHandler("retry", max_retries=2, retry_delay=0.1, then="continue")
    for seed in SEEDS:
        world = World(lambda: make_failing(handler, placement), seed, draw_odds(seed, placement), every=EVERY[seed % 3])
        cut = world.run(SENDS)
        told, job = f"seed {seed}", world.job
        assert cut.status is JobStatus.COMPLETED, f"{told}: {cut.error}"
        payloads = [letter.message.payload for letter in cut.dead_letters]
        dead = [job.codec.decode(p)["n"] if isinstance(p, bytes) else p["n"] for p in payloads]
        assert sorted(dead) == [2, 5, 8], told
        # Three tries that counted; and one that was cut short before anybody had decided what became of it.
        cuts = world.deaths + sum(world.pauses.values())
        assert all(3 <= letter.attempts <= 3 + cuts for letter in cut.dead_letters), told
        assert job.state("sink")["input.count"] == 6, told
        assert "disorder" not in job.state("sink"), told
        figures = cut.routines[0].figures
        assert (figures.handled, figures.dead) == (6, 3), told
        assert max(world.begun.values()) <= 3 + cuts, told


@pytest.mark.parametrize("placement", ["thread", "process"])
def test_what_is_skipped_stays_skipped(placement: str) -> None:
    handler = ErrorHandler("skip")
    for seed in SEEDS:
        world = World(lambda: make_failing(handler, placement), seed, draw_odds(seed, placement), every=EVERY[seed % 3])
        cut = world.run(SENDS)
        told = f"seed {seed}"
        assert cut.status is JobStatus.COMPLETED, f"{told}: {cut.error}"
        figures = cut.routines[0].figures
        assert (figures.handled, figures.skipped + figures.dead) == (2, 7), told
        assert world.job.state("sink")["input.count"] == 2, told


@pytest.mark.parametrize("placement", ["thread", "process"])
def test_a_failed_job_has_what_it_failed_by_first_in_line(placement: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in SEEDS:
        monkeypatch.setattr(Failing, "broken", True)
        odds = draw_odds(seed, placement)._replace(fail=0.0)
        world = World(lambda: make_failing(ErrorHandler("stop"), placement), seed, odds, every=EVERY[seed % 3])
        cut = world.run(SENDS)
        told = f"seed {seed}"
        assert cut.status is JobStatus.FAILED, told
        image = world.newest()
        assert image.header.status == "failed", told
        waiting = image.routines[0].waiting
        numbers = [world.job.codec.decode(message.payload)["n"] for message in waiting]
        assert numbers == [2, 3, 4, 5, 6, 7, 8], told
        assert waiting[0].failures >= 1, told
        monkeypatch.setattr(Failing, "broken", False)
        cut = world.go_on()
        assert cut.status is JobStatus.COMPLETED, f"{told}: {cut.error}"
        assert world.job.state("sink")["input.count"] == 9, told
        assert "disorder" not in world.job.state("sink"), told
        assert cut.routines[0].status == "completed", told
