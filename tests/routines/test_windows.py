"""Batches, windows and joins on the seeded host: to the second, and exact over kills, pauses and power cuts.

`ROUTILUX_STRESS=1` (`make stress`) runs 2,000 seeds a case.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from routilux import ErrorHandler, Flow, JobStatus, Routine
from routilux.routines import Aggregate, Batch, Filter, Join
from supervisors.places.scripted import Faults
from tests.runtime import shapes
from tests.runtime.seeded import SeededJob
from tests.runtime.world import Odds, World

IS_STRESS = os.environ.get("ROUTILUX_STRESS") == "1"
COUNT = 12
FAULTS = Faults(crash=0.01, crash_before_commit=0.02, start_failure=0.02)
NEVER_GIVE_UP = ErrorHandler("retry", max_retries=10_000, retry_delay=0.05, jitter=0.5)

pytestmark = [pytest.mark.timeout(6_000 if IS_STRESS else 300), pytest.mark.filterwarnings("ignore")]
each_placement = pytest.mark.parametrize(
    "options", [{}, {"placement": "process"}, {"placement": "process", "workers": 3}], ids=["thread", "process", "pool"]
)


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL")


# -- Their times


class Clocked(Routine):
    """Notes what came, and when."""

    def __init__(self) -> None:
        super().__init__()
        self.now: Callable[[], float] = float
        self.define_slot("input", handler=self.handle)

    def handle(self, data: dict[str, Any]) -> None:
        self.state["came"] = [*self.state.get("came", []), (self.now(), data)]


def clocked(routine: Routine, seed: int, **options: Any) -> SeededJob:
    """Give a job of a routine before one that notes the times."""
    flow = Flow("windows")
    watcher = Clocked()
    flow.add_routine(routine, "it", **options)
    flow.add_routine(watcher, "clocked")
    flow.connect("it", "output", "clocked", "input")
    job = SeededJob(flow, seed, Faults())
    watcher.now = job.host.now
    return job


def run(job: SeededJob, times: list[float], end: float) -> list[Any]:
    """Send a number at each of these times, say at `end` that nothing more comes, and give what came out."""
    for n, at in enumerate(times):
        job.settle(at - job.host.now())
        job.send("it", slot="input", n=n)
    job.settle(end - job.host.now())
    assert job.run().status is JobStatus.COMPLETED
    came: list[Any] = job.state("clocked")["came"]
    return came


@each_placement
def test_a_batch_goes_out_when_it_is_full_when_its_time_is_over_and_at_the_end(options: dict[str, Any]) -> None:
    for seed in range(10):
        came = run(clocked(Batch(3, 2.0), seed, **options), [0.0, 0.25, 1.75, 2.5, 4.25, 10.0, 10.0, 10.5], 11.0)
        assert [(at, [item["n"] for item in batch["items"]]) for at, batch in came] == [
            (1.75, [0, 1, 2]),
            (4.5, [3, 4]),
            (10.5, [5, 6, 7]),
        ], f"seed {seed}"
        came = run(clocked(Batch(9, 2.0), seed, **options), [0.0, 0.25, 5.0], 6.0)
        assert [(at, batch["count"]) for at, batch in came] == [(2.0, 2), (6.0, 1)], f"seed {seed}"


def is_even(n: int) -> bool:
    return n % 2 == 0


@each_placement
def test_a_window_by_time_is_folded_by_key_when_its_time_is_over(options: dict[str, Any]) -> None:
    for seed in range(10):
        windows = Aggregate("sum", key=is_even, value="n", seconds=2.0, most=4)
        came = run(clocked(windows, seed, **options), [0.0, 0.5, 1.75, 3.0, 3.0, 3.0, 3.5, 9.0], 9.5)
        assert [(at, *told.values()) for at, told in sorted(came, key=lambda one: one[0])] == [
            *((2.0, True, 0 + 2, 2), (2.0, False, 1, 1)),
            *((3.5, False, 3 + 5, 2), (3.5, True, 4 + 6, 2)),
            (9.5, False, 7, 1),
        ], f"seed {seed}"


def test_what_comes_while_the_routine_is_busy_is_in_the_window_of_its_time() -> None:
    class Busy(Batch):
        def take(self, items: list[dict[str, Any]]) -> None:
            super().take(items)
            if items[0]["n"] == 0:
                for n, seconds in enumerate([1.0, 1.0, 2.0], start=1):
                    job.host.clock.advance(seconds)
                    job.send("it", slot="input", n=n)
                job.host.clock.advance(1.0)

    job = clocked(Busy(10, 2.0), 1)
    came = run(job, [0.0], 20.0)
    # They came at 3, 4 and 6, and the first window was in hand until 7.
    assert [(at, [item["n"] for item in batch["items"]]) for at, batch in came] == [
        (7.0, [0]),
        (7.0, [1, 2]),
        (8.0, [3]),
    ]


# -- Over kills, pauses and power cuts


class Halting(Routine):
    """Emits numbers, two with each commit; fails now and then, so that time goes by until it is tried again."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.produce)
        self.define_event("number", ["n"])

    def produce(self, count: int) -> Any:
        for n in range(self.state.get("next", 0), count):
            if n % 4 == 2 and self.attempt <= n // 4 + 1:
                raise ValueError(n)
            self.emit("number", n=n)
            self.state["next"] = n + 1
            if n % 2:
                yield


class Notes(Routine):
    """Notes what came, by slot."""

    def __init__(self) -> None:
        super().__init__()
        for slot in ("batch", "window", "pair", "unmatched"):
            self.define_slot(slot, handler=Noting(self, slot))


class Noting:
    def __init__(self, owner: Routine, slot: str) -> None:
        self.owner = owner
        self.slot = slot

    def __call__(self, data: dict[str, Any]) -> None:
        self.owner.state[self.slot] = [*self.owner.state.get(self.slot, []), data]


def is_paired(value: int) -> bool:
    return value % 4 != 3


def all_of_them(where: tuple[str, str, str, str]) -> Flow:
    """Numbers into a batch, into windows by time, and by two arms, of which one lets some fall, into a join."""
    flow = Flow("all")
    routines: dict[str, tuple[Routine, str]] = {
        "source": (Halting(), where[0]),
        "batch": (Batch(5, 0.02), where[1]),
        "window": (Aggregate("sum", key=is_even, value="n", seconds=0.02), where[2]),
        "left": (shapes.Left(), where[1]),
        "some": (Filter(is_paired), where[2]),
        "join": (Join("value"), where[1]),
        "told": (Notes(), where[3]),
    }
    for name, (routine, placement) in routines.items():
        flow.add_routine(routine, name, placement=placement, error_handler=NEVER_GIVE_UP, max_restarts=10_000)
    flow.connect("source", "number", "batch", "input")
    flow.connect("source", "number", "window", "input")
    flow.connect("source", "number", "left", "input", {"n": "value"})
    flow.connect("source", "number", "some", "input", {"n": "value"})
    flow.connect("left", "out", "join", "left")
    flow.connect("some", "output", "join", "right")
    for source, event, slot in (
        ("batch", "output", "batch"), ("window", "output", "window"),
        ("join", "output", "pair"), ("join", "unmatched", "unmatched"),
    ):  # fmt: skip
        flow.connect(source, event, "told", slot)
    return flow


def check(told: dict[str, list[dict[str, Any]]], seed: str) -> None:
    numbers = [item["n"] for batch in told["batch"] for item in batch["items"]]
    assert numbers == list(range(COUNT)), seed
    assert all(batch["count"] == len(batch["items"]) <= 5 for batch in told["batch"]), seed
    for parity in (True, False):
        windows = [window for window in told["window"] if window["key"] is parity]
        expected = [n for n in range(COUNT) if is_even(n) is parity]
        assert sum(window["value"] for window in windows) == sum(expected), seed
        assert sum(window["count"] for window in windows) == len(expected), seed
    assert told["pair"] == [{"value": n} for n in range(COUNT) if is_paired(n)], seed
    assert told["unmatched"] == [
        {"side": "left", "key": n, "message": {"value": n}} for n in range(COUNT) if not is_paired(n)
    ], seed


@pytest.mark.parametrize("where", shapes.PLACEMENTS)
def test_all_is_exact_in_every_order_of_steps_whatever_is_killed(where: str) -> None:
    for seed in range(2_000 if IS_STRESS else 4):
        job = SeededJob(all_of_them(shapes.PLACEMENTS[where]), seed, FAULTS)
        job.send("source", count=COUNT)
        cut = job.run()
        assert cut.status is JobStatus.COMPLETED, f"seed {seed}: {cut.error}"
        check(job.state("told"), f"{where}, seed {seed}")
        assert all(count.sent == count.handled for count in cut.connections), f"seed {seed}"


def draw_odds(seed: int, where: str) -> Odds:
    """Draw what happens: jobs on threads have a tenth of the steps, so more happens at each."""
    often = 3.0 if where == "thread" else 1.0
    return Odds(
        checkpoint=0.1 * often,
        pause=0.1 * often,
        wait=0.1 * often,
        die=0.02 * often,
        leave=0.01 * often,
        die_writing=0.02 if seed % 2 else 0.0,
    )


class Regrouping(World):
    """A world that does not hold messages to their ids.

    Which messages a window has, and which side of a pair comes last, is another one when what was done after the last
    checkpoint is done again: what is emitted then are other messages, with the same content.
    """

    def note_begun(self, plan: Any, message: Any) -> None:
        self.note_step(plan)


@pytest.mark.parametrize("where", shapes.PLACEMENTS)
def test_all_is_exact_over_pauses_and_power_cuts_in_the_middle_of_a_window(where: str) -> None:
    for seed in range(2_000 if IS_STRESS else 3):
        world = Regrouping(
            lambda: all_of_them(shapes.PLACEMENTS[where]),
            seed,
            draw_odds(seed, where),
            FAULTS,
            (None, 0.02, 0.3)[seed % 3],
        )
        cut = world.run([("source", {"count": COUNT})])
        assert cut.status is JobStatus.COMPLETED, f"seed {seed}: {cut.error}"
        check(world.job.state("told"), f"{where}, seed {seed}")
