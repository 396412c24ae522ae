"""Delays and throttles on the seeded host: to the second, in any order of steps, and nothing that waits is in the way.

With a store, pauses and power cuts come in by `World`. `ROUTILUX_STRESS=1` (`make stress`) runs 2,000 seeds a case.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from routilux import ErrorHandler, Flow, JobStatus, Routine
from routilux.jobs.checkpoints import Pause
from routilux.ledger import Admission
from routilux.pacing import Throttled
from routilux.routines import Delay, Throttle
from routilux.runtime.commands import Cancel, PauseJob, ResumeJob
from routilux.stores.memory import MemoryStore
from supervisors.places.scripted import Faults
from tests.runtime import shapes
from tests.runtime.seeded import SeededJob
from tests.runtime.test_seeded_async import Turns
from tests.runtime.world import Odds, World

IS_STRESS = os.environ.get("ROUTILUX_STRESS") == "1"
SEEDS = range(2_000 if IS_STRESS else 10)
COUNT = 12
CRASHES = Faults(crash=0.02, crash_before_commit=0.03, start_failure=0.02)
NEVER_GIVE_UP = ErrorHandler("retry", max_retries=10_000, retry_delay=0.25, jitter=0.5)

pytestmark = [pytest.mark.timeout(6_000 if IS_STRESS else 300), pytest.mark.filterwarnings("ignore")]
each_placement = pytest.mark.parametrize("options", [{}, {"placement": "process"}], ids=["thread", "process"])


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL")


class Clocked(Routine):
    """Notes when each number came."""

    def __init__(self) -> None:
        super().__init__()
        self.now: Callable[[], float] = float
        self.define_slot("input", handler=self.handle)

    def handle(self, n: int) -> None:
        self.state[f"{n}"] = self.now()


class Bench:
    """A job of one paced routine before one that notes the times."""

    def __init__(self, seed: int, paced: Routine, faults: Faults | None = None, **options: Any) -> None:
        self.flow = Flow("paced")
        self.flow.add_routine(paced, "paced", **{"max_restarts": 10_000, **options})
        self.flow.add_routine(Clocked(), "clocked")
        self.flow.connect("paced", "output", "clocked", "input")
        self.job = SeededJob(self.flow, seed, faults or Faults())
        self.watch(self.job)

    def watch(self, job: SeededJob) -> None:
        self.flow.routines["clocked"].now = job.host.now  # type: ignore[attr-defined]

    def send(self, *numbers: int) -> None:
        for n in numbers:
            self.job.send("paced", slot="input", n=n)

    def times(self, job: SeededJob | None = None) -> dict[int, float]:
        return {int(n): at for n, at in (job or self.job).state("clocked").items()}

    def run(self) -> Any:
        return self.job.run()

    def ask(self, make: Callable[[Future[Any]], object]) -> Future[Any]:
        """Send the supervisor a command, and let it be carried out as far as that takes no time."""
        reply: Future[Any] = Future()
        self.job.root.signal(make(reply))
        self.job.settle()
        return reply


def pause(reply: Future[Any]) -> PauseJob:
    return PauseJob(Pause("lunch", None), None, "abort", reply)


@each_placement
def test_each_message_comes_at_the_very_end_of_its_delay(options: dict[str, Any]) -> None:
    for seed in SEEDS:
        bench = Bench(seed, Delay(2.0), **options)
        for n, pause_before in enumerate([0.0, 0.0, 0.3, 1.7, 0.0, 5.25]):
            bench.job.settle(pause_before)
            bench.send(n)
        assert bench.run().status is JobStatus.COMPLETED
        assert bench.times() == {0: 2.0, 1: 2.0, 2: 2.3, 3: 4.0, 4: 4.0, 5: 9.25}, f"seed {seed}"


@each_placement
def test_so_many_messages_come_in_any_window(options: dict[str, Any]) -> None:
    for seed in SEEDS:
        bench = Bench(seed, Throttle(2, 10.0), **options)
        bench.send(0)
        bench.job.settle(4.0)
        bench.send(1, 2, 3, 4)
        bench.job.settle(30.0)
        bench.send(5)
        assert bench.run().status is JobStatus.COMPLETED
        assert bench.times() == {0: 0.0, 1: 4.0, 2: 10.0, 3: 14.0, 4: 20.0, 5: 34.0}, f"seed {seed}"


def test_all_workers_of_a_pool_keep_one_pace() -> None:
    for seed in SEEDS:
        bench = Bench(seed, Throttle(2, 1.0), placement="process", workers=3)
        bench.send(*range(7))
        assert bench.run().status is JobStatus.COMPLETED
        assert sorted(bench.times().values()) == [0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0], f"seed {seed}"


def test_nothing_is_looked_at_while_nothing_can_be_taken() -> None:
    for paced in (Delay(1_000.0), Throttle(1, 1_000.0)):
        bench = Bench(1, paced)
        bench.send(0, 1)
        bench.job.settle()
        before = bench.job.host.steps
        bench.job.settle(999.0)
        assert bench.job.host.steps == before


def test_a_full_mailbox_holds_back_who_sends() -> None:
    bench = Bench(1, Delay(10.0), capacity=2)
    bench.send(0, 1)
    assert bench.job.try_send("paced", slot="input", n=2) is Admission.FULL
    bench.job.settle(10.0)
    bench.send(2)
    assert bench.run().status is JobStatus.COMPLETED
    assert bench.times() == {0: 10.0, 1: 10.0, 2: 20.0}


@each_placement
def test_a_pause_takes_no_time_and_the_delay_goes_on_in_it(options: dict[str, Any]) -> None:
    for seed in SEEDS:
        bench = Bench(seed, Delay(10.0), **options)
        bench.send(0)
        bench.job.settle(4.0)
        bench.send(1)
        assert bench.ask(pause).done()
        assert (bench.job.host.now(), bench.times()) == (4.0, {})
        bench.job.settle(8.0)
        assert bench.times() == {}
        assert bench.ask(ResumeJob).result(0) is True
        assert bench.times() == {0: 12.0}, f"seed {seed}"
        assert bench.run().status is JobStatus.COMPLETED
        assert bench.times() == {0: 12.0, 1: 14.0}, f"seed {seed}"


@pytest.mark.parametrize("paced", [Delay(1_000.0), Throttle(1, 1_000.0)], ids=lambda paced: type(paced).__name__)
def test_a_job_that_is_cancelled_waits_for_nothing(paced: Routine) -> None:
    for seed in SEEDS:
        bench = Bench(seed, paced)
        bench.send(0, 1)
        bench.job.settle(1.0)
        bench.job.root.signal(Cancel("enough"))
        cut = bench.run()
        assert (cut.status, bench.job.host.now()) == (JobStatus.CANCELLED, 1.0), f"seed {seed}"
        assert cut.routines[0].figures.waiting == 2 - len(bench.times()), f"seed {seed}"


class Failing(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)

    def handle(self) -> None:
        raise ValueError


def test_a_job_that_fails_keeps_what_waits() -> None:
    flow = Flow("failing")
    flow.add_routine(Delay(10.0), "delay")
    flow.add_routine(Failing(), "failing")
    job = SeededJob(flow, 1, Faults())
    job.send("delay", slot="input", n=0)
    job.send("failing", slot="input")
    cut = job.run()
    assert (cut.status, job.host.now(), cut.routines[0].figures.waiting) == (JobStatus.FAILED, 0.0, 1)


class FailingDelay(Delay):
    """Fails at the first two tries of every third number."""

    def take(self, data: dict[str, Any]) -> None:
        if data["n"] % 3 == 0 and self.attempt <= 2:
            raise ValueError(data)
        super().take(data)


@each_placement
def test_a_message_that_is_tried_again_does_not_wait_for_its_delay_again(options: dict[str, Any]) -> None:
    for seed in SEEDS:
        handler = ErrorHandler("retry", max_retries=2, retry_delay=1.0, retry_backoff=1.0)
        bench = Bench(seed, FailingDelay(10.0), error_handler=handler, **options)
        bench.send(*range(5))
        assert bench.run().status is JobStatus.COMPLETED
        assert bench.times() == {0: 12.0, 1: 12.0, 2: 12.0, 3: 14.0, 4: 14.0}, f"seed {seed}"


class FailingThrottle(Throttle):
    """Fails at the first try of every third number, and notes when each try began."""

    def __init__(self, count: int, seconds: float) -> None:
        super().__init__(count, seconds)
        self.now: Callable[[], float] = float
        self.begun: list[float] = []

    def take(self, data: dict[str, Any]) -> None:
        self.begun.append(self.now())
        if data["n"] % 3 == 0 and self.attempt == 1:
            raise ValueError(data)
        super().take(data)


@each_placement
def test_each_try_counts(options: dict[str, Any]) -> None:
    for seed in SEEDS:
        paced = FailingThrottle(2, 10.0)
        handler = ErrorHandler("retry", max_retries=1, retry_delay=1.0)
        bench = Bench(seed, paced, error_handler=handler, **options)
        paced.now = bench.job.host.now
        bench.send(*range(4))
        assert bench.run().status is JobStatus.COMPLETED
        assert len(paced.begun) == 6
        check_windows(paced, seed)


@pytest.mark.parametrize("workers", [1, 3])
def test_no_window_has_too_many_whichever_worker_dies(workers: int) -> None:
    for seed in SEEDS:
        paced = FailingThrottle(2, 1.0)
        bench = Bench(seed, paced, CRASHES, placement="process", workers=workers, error_handler=NEVER_GIVE_UP)
        paced.now = bench.job.host.now
        bench.send(*range(COUNT))
        assert bench.run().status is JobStatus.COMPLETED
        times = bench.times()
        assert sorted(times) == list(range(COUNT)), f"seed {seed}"
        assert workers > 1 or list(times.values()) == sorted(times.values()), f"seed {seed}"
        check_windows(paced, seed)


def check_windows(paced: FailingThrottle, seed: int) -> None:
    for at in paced.begun:
        together = [other for other in paced.begun if at <= other < at + paced.seconds]
        assert len(together) <= paced.count, f"seed {seed}: {paced.begun}"


class Waiting(Routine):
    """Hands numbers on after a while, several at once; the first one fails once."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)
        self.define_event("output", ["n"])

    def own_pace(self) -> Throttled:
        return Throttled(3, 10.0)

    async def handle(self, n: int) -> None:
        await Turns(n * 7 % 5)
        if n == 0 and self.attempt == 1:
            raise ValueError(n)
        self.emit("output", n=n)


def test_where_turns_run_at_once_a_retry_goes_ahead_of_the_pace_and_counts() -> None:
    for seed in SEEDS:
        bench = Bench(seed, Waiting(), error_handler=ErrorHandler("retry", retry_delay=1.0), concurrency=5)
        bench.send(*range(6))
        assert bench.run().status is JobStatus.COMPLETED
        # The retry of 0 is the fourth, and counts until 11: so at 10 there is room for two.
        assert bench.times() == {0: 1.0, 1: 1.0, 2: 1.0, 3: 10.0, 4: 10.0, 5: 11.0}, f"seed {seed}"


# ---- With a store


def test_a_job_that_is_resumed_has_waited_for_as_long_as_it_had() -> None:
    for seed in SEEDS:
        store = MemoryStore()
        bench = Bench(seed, Delay(10.0))
        bench.job = SeededJob(bench.flow, seed, Faults(), keeping={"store": store})
        bench.watch(bench.job)
        bench.send(0)
        bench.job.settle(4.0)
        bench.send(1)
        bench.job.settle(1.0)
        info = bench.job.ask_checkpoint()
        bench.job.settle()
        assert info.done()
        bench.job.settle(2.0)  # is rolled back with all that was later
        bench.job.kept.lease.release()  # type: ignore[union-attr]

        again = SeededJob.go_on(bench.flow, seed, Faults(), store, {}, wall=1_000.0)
        bench.watch(again)
        assert again.run().status is JobStatus.COMPLETED
        assert bench.times(again) == {0: 5.0, 1: 9.0}, f"seed {seed}"


def make_paced(where: str) -> Flow:
    flow = Flow("paced")
    common: dict[str, Any] = {"error_handler": NEVER_GIVE_UP, "max_restarts": 10_000, "capacity": 3}
    flow.add_routine(shapes.Source(batch=1), "source", **common)
    flow.add_routine(Throttle(2, 0.5), "throttle", placement=where, **common)
    flow.add_routine(Delay(0.75), "delay", placement=where, **common)
    flow.add_routine(shapes.Sink(), "sink", placement=where, **common)
    flow.connect("source", "number", "throttle", "input")
    flow.connect("throttle", "output", "delay", "input")
    flow.connect("delay", "output", "sink", "input")
    return flow


@pytest.mark.parametrize("where", ["thread", "process"])
def test_every_message_once_and_in_order_over_pauses_and_power_cuts(where: str) -> None:
    odds = Odds(checkpoint=0.1, pause=0.1, die=0.01, leave=0.005)
    for seed in SEEDS:
        world = World(lambda: make_paced(where), seed, odds, CRASHES, (None, 0.3)[seed % 2])
        cut = world.run([("source", {"count": COUNT})])
        assert cut.status is JobStatus.COMPLETED, f"seed {seed}: {cut.error}"
        sink = world.job.state("sink")
        assert {key: sink[f"input.{key}"] for key in ("last", "count", "sum")} == shapes.sums(COUNT), f"seed {seed}"
        assert "disorder" not in sink, f"seed {seed}"
