"""Deaths of a process at any other moment than in a handler (those stand in the table)."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from routilux import ErrorHandler, Flow, Job, JobState, Routine
from supervisors.places.process.launch import has_zygotes
from tests.faults.deeds import FOREVER, exit_hard_with_code, raise_plainly
from tests.faults.measure import SECONDS, Innocent, Sink, check_books
from tests.faults.watch import is_alive, pids, wait_for
from tests.runtime import shapes

pytestmark = [pytest.mark.faults, pytest.mark.processes]

COUNT = 20
RETRY = ErrorHandler("retry", max_retries=100, retry_delay=0.0)


def relays(workers: int = 1) -> Flow:
    flow = Flow("relays")
    flow.add_routine(Innocent(), "a", placement="process", error_handler=RETRY)
    flow.add_routine(Innocent(), "b", placement="process", error_handler=RETRY, workers=workers)
    flow.add_routine(Sink(), "sink", placement="process", error_handler=RETRY)
    flow.connect("a", "number", "b", "input")
    flow.connect("b", "number", "sink", "input")
    return flow


def check_delivered(job: Job, state: JobState, count: int) -> None:
    check_books(job, state)
    assert state.status == "completed", state.error
    assert sorted(state.routine_states["sink"]["state"]["arrived"]) == list(range(count))
    assert not state.dead_letters


def test_a_process_that_dies_idle_is_replaced_and_costs_no_message_a_try() -> None:
    with relays().start(keep_open=True) as job:
        for n in range(COUNT):
            job.send("a", "input", n=n)
        wait_for(lambda: not job.ledger.outstanding)
        for pid in pids(job):
            os.kill(pid, signal.SIGKILL)
        for n in range(COUNT, 2 * COUNT):
            job.send("a", "input", n=n)
        job.close_entry()
        state = job.wait(SECONDS)
    check_delivered(job, state, 2 * COUNT)
    assert [state.routine_states[name]["restarts"] for name in ("a", "b", "sink")] == [1, 1, 1]
    assert {told["failed"] for told in state.routine_states.values()} == {0}


def test_all_processes_killed_at_once_while_they_work_lose_nothing() -> None:
    job = relays(workers=3).start(keep_open=True)
    for n in range(10 * COUNT):
        job.send("a", "input", n=n)
        if n % (4 * COUNT) == COUNT:
            wait_for(lambda: len(pids(job)) == 5)
            for pid in pids(job):
                os.kill(pid, signal.SIGKILL)
    job.close_entry()
    check_delivered(job, job.wait(SECONDS), 10 * COUNT)


class Bootless(Routine):
    """Does not come up in a process of its own."""

    def __init__(self, deed: Callable[[], Any]) -> None:
        super().__init__()
        self.deed = deed
        self.define_slot("trigger", handler=raise_plainly)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.deed, ()


@pytest.mark.parametrize(
    ("deed", "told"), [(raise_plainly, "the message is bad"), (exit_hard_with_code, "exited with code 7")]
)
def test_a_worker_that_cannot_boot_stops_the_job_and_says_why(deed: Callable[[], Any], told: str) -> None:
    flow = Flow("boot")
    flow.add_routine(Bootless(deed), "bootless", placement="process", max_restarts=1)
    job = flow.start("bootless")
    state = job.wait(SECONDS)
    check_books(job, state)
    assert state.status == "failed"
    assert state.error is not None
    assert all(words in state.error for words in ("'bootless'", told, "more than 1 fruitless restart"))
    assert state.routine_states["bootless"]["stats"]["waiting"] == 1


def test_a_process_that_is_killed_while_it_starts_is_replaced() -> None:
    with relays().start(keep_open=True) as job:
        wait_for(lambda: len(_started()) >= 3)
        for pid in _started():
            os.kill(pid, signal.SIGKILL)
        for n in range(COUNT):
            job.send("a", "input", n=n)
        job.close_entry()
        state = job.wait(SECONDS)
    check_delivered(job, state, COUNT)


def _started() -> list[int]:
    """Processes of workers, ready or not: leaders of sessions, and children of a zygote where there is one."""
    program = psutil.Process()
    found = []
    for process in program.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            is_worker = (process.ppid() != program.pid) == has_zygotes() and "-c" in process.cmdline()
            if is_worker and os.getsid(process.pid) == process.pid:
                found.append(process.pid)
    return found


class Deadly(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)

    def handle(self, n: int) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_storm_of_deaths_is_ended_by_the_intensity_and_those_who_wait_are_kept() -> None:
    flow = Flow("storm")
    # Longer than any machine takes to notice two deaths: that these are too many is what is looked at.
    options: dict[str, Any] = {"max_restarts": 2, "restart_period": SECONDS}
    flow.add_routine(Deadly(), "deadly", placement="process", error_handler=ErrorHandler("continue"), **options)
    job = flow.start(keep_open=True)
    for n in range(COUNT):
        job.send("deadly", "input", n=n)
    state = job.wait(SECONDS)
    check_books(job, state)
    assert state.status == "failed"
    assert state.error is not None
    assert f"SIGKILL (more than 2 fruitless restarts in {SECONDS:g} s)" in state.error
    # Two were given up before; the third stopped the job and is kept with those behind it.
    assert (len(state.dead_letters), state.routine_states["deadly"]["stats"]["waiting"]) == (2, COUNT - 2)


class Held(Routine):
    """Works for ever, in a process; tells its id first."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)
        self.define_event("number", ["n"])

    def handle(self, n: int) -> None:
        FOREVER.wait(600)


@pytest.mark.parametrize("shutdown", [0.0, 60.0])
def test_a_death_during_the_shutdown_ends_it_and_no_message_is_lost(shutdown: float) -> None:
    flow = Flow("ending")
    flow.add_routine(Held(), "held", placement="process", error_handler=RETRY)
    job = flow.start(keep_open=True, shutdown=shutdown)
    for n in range(COUNT):
        job.send("held", "input", n=n)
    wait_for(lambda: len(job.ledger.accounts[0].in_hand) == 1 and pids(job) != [])
    [pid] = pids(job)
    job.cancel("enough")
    if shutdown:
        wait_for(lambda: not job.ledger.is_open)
        os.kill(pid, signal.SIGKILL)
    state = job.wait(SECONDS)
    check_books(job, state)
    assert (state.status, state.error) == ("cancelled", "enough")
    held = state.routine_states["held"]["stats"]
    assert (held["waiting"], held["failed"], held["restarts"]) == (COUNT, 0, 0)
    assert not is_alive(pid)


def test_two_jobs_whose_processes_are_killed_in_turn_do_not_touch_each_other() -> None:
    jobs = [shapes.chain(shapes.PLACEMENTS["mixed"]).start("source", {"count": 5_000}) for _ in range(2)]
    states: dict[int, JobState] = {}
    waiters = [threading.Thread(target=lambda n=n: states.update({n: jobs[n].wait(SECONDS)})) for n in range(2)]
    for waiter in waiters:
        waiter.start()
    for turn in range(6):
        victims = pids(jobs[turn % 2])
        with contextlib.suppress(ProcessLookupError):  # it has ended since, by an earlier kill or with its job
            if victims:
                os.kill(victims[0], signal.SIGKILL)
        FOREVER.wait(0.05)
    for waiter in waiters:
        waiter.join()
    for n, job in enumerate(jobs):
        check_books(job, states[n])
        assert states[n].status == "completed", states[n].error
        sink = states[n].routine_states["sink"]["state"]
        assert {key: sink[f"input.{key}"] for key in ("last", "count", "sum")} == shapes.sums(5_000)
        assert "disorder" not in sink


def test_an_idle_process_that_says_no_goodbye_is_ended_and_its_routine_is_not_left_behind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    flow = Flow("ending")
    flow.add_routine(Innocent(), "idle", placement="process")
    job = flow.start(keep_open=True, shutdown=0.0)
    job.send("idle", "input", n=0)
    wait_for(lambda: job.ledger.accounts[0].handled == 1)
    [pid] = pids(job)
    os.kill(pid, signal.SIGSTOP)
    job.cancel()
    state = job.wait(SECONDS)
    check_books(job, state)
    assert state.status == "cancelled"
    assert not is_alive(pid)
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == []
