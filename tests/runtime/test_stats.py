"""Numbers of routines in whole jobs: exact over retries, kills, pauses and power cuts, and told by the job's state."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from routilux import ErrorHandler, Flow, JobState, JobStatus, Routine
from routilux.errors import OutsideTurnError, StatError
from routilux.turn.stats import add_up
from supervisors.places.scripted import Faults
from tests.runtime import shapes
from tests.runtime.kept import STORES, Gate, finish, leave_at_gate, numbers
from tests.runtime.seeded import SeededJob
from tests.runtime.test_seeded_async import Turns
from tests.runtime.world import Odds, World

IS_STRESS = os.environ.get("ROUTILUX_STRESS") == "1"
SEEDS = range(2_000 if IS_STRESS else 10)
COUNT = 12
NEVER_GIVE_UP = ErrorHandler("retry", max_retries=10_000, retry_delay=0.05, jitter=0.5)
PLACEMENTS = ["thread", pytest.param("process", marks=pytest.mark.processes)]

pytestmark = pytest.mark.timeout(6_000 if IS_STRESS else 300)


class Counting(Routine):
    """Counts what it handles, by state and by numbers; some fail after that, the first two times."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.handle)
        self.define_slot("input", handler=self.handle)
        self.define_event("number", ["n"])

    def handle(self, n: int) -> None:
        self.increment_stat("count")
        self.increment_stat("sum", n)
        self.set_stat("last", n)
        self.state["count"] = self.state.get("count", 0) + 1
        self.emit("number", n=n)
        if n % 3 == 0 and self.attempt <= 2:
            raise ValueError(n)


EXPECTED = {"count": COUNT, "sum": sum(range(COUNT)), "last": COUNT - 1}


def counting(placement: str = "thread", **options: Any) -> Flow:
    flow = Flow("counting")
    flow.add_routine(Counting(), "counting", placement=placement, **options)
    return flow


def own(state: JobState, routine_id: str) -> dict[str, Any]:
    stats = state.routine_states[routine_id]["stats"]
    return {name: stats[name] for name in ("count", "sum", "last") if name in stats}


# ---- On the seeded host


@pytest.mark.parametrize("placement", ["thread", "process"])
def test_they_are_exact_in_every_order_of_steps_whatever_fails_and_dies(placement: str) -> None:
    for seed in SEEDS:
        flow = counting(placement, error_handler=NEVER_GIVE_UP, max_restarts=10_000)
        job = SeededJob(flow, seed, Faults(crash=0.01, crash_before_commit=0.02, start_failure=0.02))
        for n in range(COUNT):
            job.send("counting", n=n)
        cut = job.run()
        assert cut.status is JobStatus.COMPLETED, f"seed {seed}: {cut.error}"
        assert add_up(cut.routines[0].committed) == EXPECTED, f"seed {seed}"  # type: ignore[comparison-overlap]  # a dict
        assert job.state("counting") == {"count": COUNT}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("where", shapes.PLACEMENTS)
def test_they_are_exact_over_pauses_resumes_and_power_cuts(where: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL")

    def make_flow() -> Flow:
        placements = shapes.PLACEMENTS[where]
        flow = Flow("kept")
        flow.add_routine(shapes.Source(batch=3), "source", placement=placements[0], error_handler=NEVER_GIVE_UP)
        flow.add_routine(
            Counting(), "counting", placement=placements[1], error_handler=NEVER_GIVE_UP, max_restarts=10_000
        )
        flow.connect("source", "number", "counting", "input")
        return flow

    for seed in SEEDS[::5]:
        odds = Odds(checkpoint=0.1, pause=0.1, die=0.03, leave=0.01)
        world = World(make_flow, seed, odds, Faults(crash=0.01, crash_before_commit=0.02), 0.02)
        cut = world.run([("source", {"count": COUNT})])
        assert cut.status is JobStatus.COMPLETED, f"{where}, seed {seed}: {cut.error}"
        assert add_up(cut.routines[1].committed) == EXPECTED, f"{where}, seed {seed}"  # type: ignore[comparison-overlap]


class Waiting(Routine):
    """Counts at once with others, whose numbers it does not see."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.handle)
        self.define_event("number", ["n"])

    async def handle(self, n: int) -> None:
        seen = self.stats()
        self.increment_stat("count")
        await Turns(n * 7 % 5)
        self.increment_stat("sum", n)
        self.set_stat("last", n)
        await Turns(n % 3)
        expected = {**seen, "count": seen.get("count", 0) + 1, "sum": seen.get("sum", 0) + n, "last": n}
        assert self.stats() == expected, "a turn saw what another did"
        if n % 3 == 0 and self.attempt <= 2:
            raise ValueError(n)


@pytest.mark.parametrize("is_ordered", [True, False])
def test_no_increment_is_lost_of_turns_that_run_at_once(is_ordered: bool) -> None:
    for seed in SEEDS:
        flow = Flow("waiting")
        flow.add_routine(Waiting(), "waiting", error_handler=NEVER_GIVE_UP, concurrency=5, ordered=is_ordered)
        job = SeededJob(flow, seed, Faults())
        for n in range(COUNT):
            job.send("waiting", n=n)
        cut = job.run()
        assert cut.status is JobStatus.COMPLETED, f"seed {seed}: {cut.error}"
        told = add_up(cut.routines[0].committed)
        assert (told["count"], told["sum"]) == (COUNT, sum(range(COUNT))), f"seed {seed}"
        assert told["last"] == COUNT - 1 or not is_ordered, f"seed {seed}"


# ---- In real jobs


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_the_state_of_a_job_tells_them_beside_the_figures(placement: str, tmp_path: Path) -> None:
    flow = counting(placement, error_handler=ErrorHandler("retry", retry_delay=0.0))
    with flow.start(keep_open=True) as job:
        for n in range(COUNT):
            job.send("counting", "input", n=n)
    state = job.state
    assert own(state, "counting") == EXPECTED
    assert state.routine_states["counting"]["stats"]["handled"] == COUNT
    assert state.routine_states["counting"]["state"] == {"count": COUNT}
    state.save(tmp_path / "state")
    assert JobState.load(tmp_path / "state").routine_states == state.routine_states
    assert flow.routines["counting"].stats() == {}


class Killed(Counting):
    """Is killed in the middle of the fifth message, after it has counted it, the first time."""

    def handle(self, n: int) -> None:
        self.increment_stat("count")
        self.increment_stat("sum", n)
        self.set_stat("last", n)
        if n == 5 and self.attempt == 1:
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.processes
def test_a_worker_that_is_killed_leaves_what_it_committed_and_its_successor_goes_on() -> None:
    flow = Flow("killed")
    flow.add_routine(
        Killed(), "killed", placement="process", error_handler=ErrorHandler("retry", max_retries=2, retry_delay=0.0)
    )
    with flow.start(keep_open=True) as job:
        for n in range(COUNT):
            job.send("killed", "input", n=n)
    assert job.state.status == "completed", job.state.error
    assert own(job.state, "killed") == EXPECTED
    assert job.state.routine_states["killed"]["restarts"] == 1


class Pooled(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.set_stat("size", 2)
        self.define_slot("input", handler=self.handle)

    def handle(self, n: int) -> None:
        self.increment_stat("count")
        self.increment_stat("sum", n)


@pytest.mark.processes
def test_each_worker_of_a_pool_has_its_own_and_the_state_tells_their_sum() -> None:
    flow = Flow("pool")
    flow.add_routine(Pooled(), "pool", placement="process", workers=3)
    with flow.start(keep_open=True) as job:
        for n in range(COUNT):
            job.send("pool", "input", n=n)
    stats = job.state.routine_states["pool"]["stats"]
    assert (stats["count"], stats["sum"], stats["size"]) == (COUNT, sum(range(COUNT)), 3 * 2)


class Gated(Gate):
    """A gate that counts."""

    def handle(self, n: int) -> None:
        self.increment_stat("sum", n)
        super().handle(n)


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("drop", [(), ("worker.state",)])
def test_a_resumed_job_goes_on_with_them_also_without_its_state(
    placement: str, drop: tuple[str, ...], tmp_path: Path
) -> None:
    store, file = STORES["files"](tmp_path / "jobs"), tmp_path / "open"
    job = numbers(Gated(file), placement=placement).start("numbers", {"upto": 10}, store=store, job_id="j")
    left = leave_at_gate(job, file).routine_states["worker"]["stats"].get("sum", 0)
    resumed = Flow.resume(store, "j", flow=numbers(Gated(file), placement=placement), drop=drop)
    state = finish(resumed)
    assert state.routine_states["worker"]["stats"]["sum"] == sum(range(10)) >= left


class Shared(Routine):
    """Waits for the others before it commits."""

    def __init__(self, others: int) -> None:
        super().__init__()
        self.others = others
        self.arrived = 0
        self.all_here = asyncio.Event()
        self.define_slot("input", handler=self.handle)

    async def handle(self, n: int) -> None:
        self.increment_stat("sum", n)
        self.arrived += 1
        if self.arrived == self.others:
            self.all_here.set()
        await self.all_here.wait()


def test_async_handlers_that_wait_for_one_another_all_count() -> None:
    flow = Flow("shared")
    flow.add_routine(Shared(50), "shared", concurrency=50)
    with flow.start(keep_open=True) as job:
        for n in range(50):
            job.send("shared", "input", n=n)
    assert job.state.routine_states["shared"]["stats"]["sum"] == sum(range(50))


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_while_a_job_has_the_routine_they_are_changed_by_its_handlers_alone(placement: str) -> None:
    flow = counting(placement)
    routine = flow.routines["counting"]
    with flow.start(keep_open=True):
        for change in (lambda: routine.set_stat("n", 1), lambda: routine.increment_stat("n"), routine.reset_stats):
            with pytest.raises(
                OutsideTurnError, match=r"Counting\..*stats? is for the handlers of the routine, on their own"
            ):
                change()
        assert routine.stats() == {}
    routine.set_stat("n", 1)
    assert flow.execute("counting", {"n": 1}).routine_states["counting"]["stats"]["n"] == 1


class Misnamed(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=lambda: self.increment_stat("handled"))


def test_a_figure_of_the_runtime_is_refused_as_a_name_at_its_line() -> None:
    flow = Flow("misnamed")
    flow.add_routine(Misnamed(), "misnamed")
    state = flow.execute("misnamed")
    assert StatError.__name__ in str(state.error)
    assert state.routine_states["misnamed"]["stats"]["handled"] == 0
