from __future__ import annotations

import math
import os
import signal
import threading
import time
from typing import Any

import pytest

from routilux import Flow, Routine
from routilux.jobs.machine import JobStatus
from routilux.ledger import Ledger
from routilux.messages import TurnResult
from routilux.observe import Sampler, WorkerView, observe
from routilux.routing import ENTRY, compile_plan
from supervisors.locking import BriefLock
from supervisors.places.base import Worker
from supervisors.places.process.reap import Usage


class Echo(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.echo)
        self.define_event("said", ["word", "pid"])

    def echo(self, word: str) -> None:
        self.emit("said", word=word, pid=os.getpid())


class FakeJob:
    """What a sampler looks at, with a real ledger and nothing that runs."""

    id = "j1"
    flow_id = "echo"
    status = JobStatus.RUNNING
    is_over = False

    def __init__(self, flow: Flow) -> None:
        nothing: Any = lambda *_: None  # noqa: E731
        self.ledger = Ledger(compile_plan(flow), BriefLock(), on_quiet=nothing, on_facts=nothing, on_overflow=nothing)

    def seconds(self, now: float) -> float:
        return now - 90.0

    def admit(self, count: int) -> None:
        for _ in range(count):
            self.ledger.admit(self.ledger.plan.entries["echo", ENTRY], {"word": "hello"})

    def handle(self, count: int, seconds: float = 0.0) -> None:
        account = self.ledger.accounts[0]
        for delivery, _message in self.ledger.take(account, count):
            self.ledger.commit(account, 0, [(delivery, TurnResult([], []), seconds, 0.0)])


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def echo_flow(**options: Any) -> Flow:
    flow = Flow("echo")
    flow.add_routine(Echo(), "echo", **options)
    flow.output("echo", "said")
    return flow


def sampler_of(job: FakeJob, usages: dict[int, Usage], clock: Clock) -> Sampler:
    return Sampler(job, clock=clock, usage=usages.get)


def test_a_look_tells_the_counts_of_each_routine() -> None:
    job = FakeJob(echo_flow(capacity=7))
    job.admit(5)
    job.handle(2)
    job.ledger.take(job.ledger.accounts[0], 1)
    view = sampler_of(job, {}, Clock()).look()
    assert (view.job_id, view.flow_id, view.status, view.seconds) == ("j1", "echo", "running", 10.0)
    (routine,) = view.routines
    assert (routine.id, routine.placement, routine.capacity) == ("echo", "thread", 7)
    assert (routine.figures.handled, routine.figures.waiting, routine.figures.in_hand) == (2, 2, 1)
    assert routine.workers == ()
    assert view.routine("echo") is routine
    with pytest.raises(KeyError):
        view.routine("other")


def test_two_looks_make_a_rate_and_the_first_has_none() -> None:
    job, clock = FakeJob(echo_flow()), Clock()
    sampler = sampler_of(job, {}, clock)
    job.admit(30)
    job.handle(10)
    assert sampler.look().routines[0].rate is None
    job.handle(20)
    clock.now += 4.0
    view = sampler.look()
    assert view.routines[0].rate == 5.0
    assert view.seconds == 14.0


def test_two_looks_at_the_same_instant_make_no_rate() -> None:
    sampler = sampler_of(FakeJob(echo_flow()), {}, Clock())
    sampler.look()
    assert sampler.look().routines[0].rate is None


def test_two_looks_make_a_share_of_the_processor_for_each_worker() -> None:
    job, clock = FakeJob(echo_flow(placement="process", workers=2)), Clock()
    usages = {11: Usage(1.0, 5.0, 1000), 12: Usage(2.0, 7.0, 2000)}
    sampler = sampler_of(job, usages, clock)
    job.ledger.accounts[0].pids = (11, 12)
    first = sampler.look().routines[0]
    assert [worker.cpu_percent for worker in first.workers] == [None, None]
    assert (first.cpu_percent, first.rss_bytes, first.pids) == (None, 3000, (11, 12))
    usages[11] = Usage(1.0, 6.0, 1500)
    clock.now += 2.0
    second = sampler.look().routines[0]
    assert [worker.cpu_percent for worker in second.workers] == [50.0, 0.0]
    assert (second.cpu_percent, second.rss_bytes) == (50.0, 3500)


def test_a_process_on_another_machine_is_told_and_not_looked_at_here() -> None:
    job = FakeJob(echo_flow(placement="ray", workers=2))
    job.ledger.accounts[0].pids = (11, 12)
    view = sampler_of(job, {11: Usage(1.0, 5.0, 1000)}, Clock()).look().routines[0]
    assert (view.placement, view.workers) == ("ray", (WorkerView(0, 11), WorkerView(1, 12)))


def at_work(*since: float | None) -> Any:
    """Workers, each on a request since then; None: on none."""
    return lambda: tuple(
        Worker(number, 1, None, True, 1, None if at is None else 0, at) for number, at in enumerate(since)
    )


def test_a_routine_is_busy_for_the_time_that_its_turns_took() -> None:
    job, clock = FakeJob(echo_flow()), Clock()
    sampler = sampler_of(job, {}, clock)
    job.admit(10)
    job.handle(2, seconds=5.0)
    assert sampler.look().routines[0].busy is None
    job.handle(2, seconds=0.5)
    job.ledger.fetch_times_held()
    job.handle(1, seconds=0.5)
    clock.now += 2.0
    assert sampler.look().routines[0].busy == 0.75
    clock.now += 2.0
    assert sampler.look().routines[0].busy == 0.0


def test_a_turn_that_outlasts_the_looks_counts_while_it_runs_and_not_again_as_it_commits() -> None:
    job, clock = FakeJob(echo_flow()), Clock()
    account, sampler = job.ledger.accounts[0], sampler_of(job, {}, clock)
    job.admit(1)
    sampler.look()
    account.list_workers = at_work(clock.now + 1.0)
    clock.now += 2.0
    assert sampler.look().routines[0].busy == 0.5
    clock.now += 2.0
    assert sampler.look().routines[0].busy == 1.0
    account.list_workers = at_work(None)
    job.handle(1, seconds=4.0)
    clock.now += 2.0
    assert sampler.look().routines[0].busy == 0.5


def test_a_turn_that_waits_for_room_is_not_busy() -> None:
    job, clock = FakeJob(echo_flow()), Clock()
    sampler = sampler_of(job, {}, clock)
    job.ledger.accounts[0].list_workers = at_work(math.inf)
    sampler.look()
    clock.now += 2.0
    assert sampler.look().routines[0].busy == 0.0


def test_all_of_it_is_all_of_each_worker() -> None:
    job, clock = FakeJob(echo_flow(placement="process", workers=2)), Clock()
    sampler = sampler_of(job, {}, clock)
    sampler.look()
    job.ledger.accounts[0].list_workers = at_work(clock.now, None)
    clock.now += 2.0
    assert sampler.look().routines[0].busy == 0.5
    job.ledger.accounts[0].list_workers = at_work(clock.now - 2.0, clock.now - 2.0)
    clock.now += 1.0
    assert sampler.look().routines[0].busy == 1.0


def test_what_runs_several_at_once_on_a_loop_is_told_apart_and_has_no_busy_share() -> None:
    class Waiting(Routine):
        def __init__(self) -> None:
            super().__init__()
            self.define_slot("trigger", handler=self.wait)

        async def wait(self) -> None: ...

    flow = Flow("loop")
    flow.add_routine(Waiting(), "loop", concurrency=4)
    clock = Clock()
    sampler = sampler_of(FakeJob(flow), {}, clock)
    sampler.look()
    clock.now += 1.0
    (routine,) = sampler.look().routines
    assert (routine.placement, routine.is_async, routine.busy) == ("thread", True, None)


def test_of_a_pool_between_two_bounds_those_are_told_that_run() -> None:
    job = FakeJob(echo_flow(placement="process", workers=(1, 4)))
    sampler = sampler_of(job, {13: Usage(1.0, 5.0, 1000)}, Clock())
    assert [worker.number for worker in sampler.look().routines[0].workers] == [0]
    job.ledger.accounts[0].pids = (None, None, 13, None)
    assert [worker.number for worker in sampler.look().routines[0].workers] == [0, 2]


def test_a_process_that_has_vanished_is_a_worker_without_one() -> None:
    job, clock = FakeJob(echo_flow(placement="process", workers=2)), Clock()
    sampler = sampler_of(job, {12: Usage(2.0, 7.0, 2000)}, clock)
    job.ledger.accounts[0].pids = (11, 12)
    routine = sampler.look().routines[0]
    assert routine.workers[0] == WorkerView(0)
    assert routine.pids == (12,)


def test_another_process_of_the_same_number_is_not_taken_for_the_one_before() -> None:
    job, clock = FakeJob(echo_flow(placement="process")), Clock()
    usages = {11: Usage(1.0, 50.0, 1000)}
    sampler = sampler_of(job, usages, clock)
    job.ledger.accounts[0].pids = (11,)
    sampler.look()
    usages[11] = Usage(9.0, 0.5, 1000)
    clock.now += 1.0
    assert sampler.look().routines[0].workers[0].cpu_percent is None


def test_a_job_that_is_over_has_no_processes() -> None:
    job = FakeJob(echo_flow(placement="process"))
    job.ledger.accounts[0].pids = (11,)
    job.is_over = True
    view = sampler_of(job, {11: Usage(1.0, 5.0, 1000)}, Clock()).look()
    assert view.routines[0].pids == ()


def test_this_program_is_told_too() -> None:
    assert observe(FakeJob(echo_flow())).program.pid == os.getpid()


@pytest.mark.processes
def test_a_running_job_shows_its_workers_and_a_finished_one_none() -> None:
    flow = echo_flow(placement="process")
    with flow.start(keep_open=True) as job:
        job.send("echo", "trigger", word="hello")
        pid = next(job.results())["pid"]
        worker = observe(job).routine("echo").workers[0]
        assert worker.pid == pid
        assert worker.rss_bytes is not None
        assert worker.rss_bytes > 1_000_000
    over = observe(job)
    assert over.status == "completed"
    assert over.routine("echo").figures.handled == 1
    assert over.routine("echo").pids == ()


@pytest.mark.processes
def test_a_killed_worker_shows_as_a_restart() -> None:
    flow = echo_flow(placement="process")
    with flow.start(keep_open=True) as job:
        job.send("echo", "trigger", word="hello")
        results = job.results()
        os.kill(next(results)["pid"], signal.SIGKILL)
        job.send("echo", "trigger", word="again")
        pid = next(results)["pid"]
        routine = observe(job).routine("echo")
        assert routine.pids == (pid,)
        assert routine.figures.restarts == 1
        assert "SIGKILL" in str(routine.error)


def test_a_routine_on_a_thread_is_busy_while_its_handler_runs() -> None:
    begun, let_go = threading.Event(), threading.Event()

    class Held(Routine):
        def __init__(self) -> None:
            super().__init__()
            self.define_slot("trigger", handler=self.run)

        def run(self) -> None:
            begun.set()
            assert let_go.wait(30)

    flow = Flow("held")
    flow.add_routine(Held(), "held")
    with flow.start("held") as job:
        clock = Clock()
        clock.now = time.monotonic() + 1_000.0
        sampler = Sampler(job, clock=clock)
        assert begun.wait(30)
        sampler.look()
        clock.now += 1.0
        assert sampler.look().routines[0].busy == pytest.approx(1.0)
        let_go.set()


@pytest.mark.processes
def test_a_routine_in_a_process_is_busy_while_its_handler_runs() -> None:
    flow = echo_flow(placement="process")
    flow.add_routine(Stuck(), "stuck", placement="process")
    flow.output("stuck", "begun")
    job = flow.start("stuck")
    try:
        next(job.results())
        clock = Clock()
        clock.now = time.monotonic() + 1_000.0
        sampler = Sampler(job, clock=clock)
        sampler.look()
        clock.now += 1.0
        view = sampler.look()
        assert view.routine("stuck").busy == pytest.approx(1.0)
        assert view.routine("echo").busy == 0.0
    finally:
        job.cancel(shutdown=0.0)
        job.wait()


class Stuck(Routine):
    """Tells that it has begun, and does not end."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.run)
        self.define_event("begun", ["n"])

    def run(self) -> None:
        for n in range(1_001):
            self.emit("begun", n=n)
        threading.Event().wait(600)


def test_no_time_passes_for_a_job_that_is_paused() -> None:
    with echo_flow().start(keep_open=True) as job:
        job.pause()
        now = time.monotonic()
        assert job.seconds(now + 1_000.0) == job.seconds(now + 2_000.0) < 900.0
        assert observe(job).seconds == job.seconds(now)
        job.cancel()
