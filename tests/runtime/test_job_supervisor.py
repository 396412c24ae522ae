"""What the supervisor of a job decides about workers that were lost, with nothing but its decisions looked at."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, cast

import pytest

from routilux import ErrorHandler, ErrorStrategy, Flow, Routine
from routilux.jobs.actor import JobCut, StateActor
from routilux.jobs.machine import JobStatus
from routilux.ledger import Ledger
from routilux.routing import compile_plan
from routilux.runtime.commands import Cancel, Failure, Verdict
from routilux.runtime.job_supervisor import RESTART_BACKOFF, JobSupervisor
from supervisors.behavior import Behavior, Context, Ref
from supervisors.locking import BriefLock
from supervisors.messages import Terminate
from supervisors.policy import FailurePolicy, Strategy
from supervisors.reasons import Crashed, Normal
from supervisors.testing import StepHost
from tests.runtime import shapes

KILLED = Crashed(signal=9)


class Pool(Behavior):
    """In the place of a routine's actor: reports what it is told to, keeps the verdicts, ends when asked to."""

    handles_terminate = True

    def __init__(self, report: Callable[[Failure], None]) -> None:
        self.report = report
        self.verdicts: list[Verdict] = []

    def on_message(self, message: object, ctx: Context) -> None:
        if isinstance(message, Verdict):
            self.verdicts.append(message)
        elif isinstance(message, Terminate):
            ctx.stop(Normal())


class Decisions:
    """A job's supervisor with one routine, whose workers are lost at will."""

    def __init__(self, workers: int, state_actor: type[StateActor] = StateActor, **options: Any) -> None:
        flow = Flow("pool")
        flow.add_routine(
            shapes.Stage(),
            "pool",
            placement="process",
            workers=workers,
            error_handler=ErrorHandler("continue"),
            **options,
        )
        self.host = StepHost(1)
        self.ledger = ledger = Ledger(
            compile_plan(flow),
            BriefLock(),
            on_quiet=lambda: None,
            on_facts=lambda: None,
            on_overflow=lambda _cycle: None,
        )
        self.finished: Future[JobCut] = Future()
        self._pools: list[Pool] = []
        self.supervisor = JobSupervisor(
            ledger,
            state_actor(ledger, 0.0, lambda _: None),
            [self._make_pool],
            self.finished,
            job_id="job",
            shutdown=5.0,
        )
        self.root = self.host.start(self.supervisor, "job")
        self.host.run()

    def lose(self, worker: int, *, is_fruitless: bool = True, uptime: float = 0.0, abandoned: int = 0) -> Verdict:
        """Lose a worker that was idle."""
        [pool] = self._pools
        case = len(pool.verdicts) + 1
        self.report(worker, case, is_fruitless=is_fruitless, uptime=uptime, abandoned=abandoned)
        self.host.run()  # the clock stands still: nobody here sets a timer
        verdict = pool.verdicts[-1]
        assert verdict.case == case
        return verdict

    def report(
        self, worker: int, case: int = 1, *, is_fruitless: bool = True, uptime: float = 0.0, abandoned: int = 0
    ) -> None:
        """Report the loss of a worker, and wait for nothing."""
        [pool] = self._pools
        pool.report(
            Failure(
                routine=0,
                case=case,
                worker=worker,
                has_message=False,
                failures=0,
                crashes=0,
                is_retryable=True,
                reason=KILLED,
                is_lost=True,
                is_fruitless=is_fruitless,
                uptime=uptime,
                abandoned=abandoned,
            )
        )

    def _make_pool(self, report: Callable[[Failure], None]) -> Any:
        self._pools.append(Pool(report))
        return self._pools[-1]


def delay_of(verdict: Verdict) -> float:
    assert verdict.restart_delay is not None
    return verdict.restart_delay


def test_a_worker_waits_for_its_own_deaths_and_not_for_those_of_its_pool() -> None:
    decisions = Decisions(workers=8, max_restarts=3)
    first = [delay_of(decisions.lose(worker)) for worker in range(8)]
    assert max(first) <= RESTART_BACKOFF.delay
    second = [delay_of(decisions.lose(worker)) for worker in range(8)]
    assert max(second) <= RESTART_BACKOFF.delay * RESTART_BACKOFF.factor
    assert min(second) >= RESTART_BACKOFF.delay  # half of the wait at most is jitter


def test_work_done_by_one_worker_ends_its_own_streak_alone() -> None:
    decisions = Decisions(workers=2, max_restarts=100)
    for worker in (0, 1, 0, 1, 0, 1):
        decisions.lose(worker)
    assert delay_of(decisions.lose(0, is_fruitless=False)) == 0.0
    assert delay_of(decisions.lose(0)) <= RESTART_BACKOFF.delay
    assert delay_of(decisions.lose(1)) >= RESTART_BACKOFF.delay * RESTART_BACKOFF.factor**3 / 2


def test_a_pool_may_lose_as_many_workers_as_all_of_them_may_alone() -> None:
    for workers in (1, 4):
        decisions = Decisions(workers=workers, max_restarts=3)
        for _ in range(3 * workers):
            assert decisions.lose(0).strategy is Strategy.CONTINUE
        last = decisions.lose(workers - 1)
        assert (last.strategy, last.restart_delay) == (Strategy.STOP, None)
        decisions.host.run()
        cut = decisions.finished.result(timeout=0)
        assert cut.status is JobStatus.FAILED
        told = "more than 12 fruitless restarts in 5 s among 4 workers" if workers == 4 else "more than 3 fruitless"
        assert told in (cut.error or "")


def test_time_in_which_no_worker_was_up_hides_no_crash_loop() -> None:
    decisions = Decisions(workers=2, max_restarts=1)
    clock = decisions.host.clock
    for worker in (0, 1):
        clock.advance(3_600.0)
        assert decisions.lose(worker).strategy is Strategy.CONTINUE
    clock.advance(3_600.0)
    assert decisions.lose(0).strategy is Strategy.STOP


@pytest.mark.parametrize("workers", [1, 4])
def test_deaths_are_forgotten_once_each_worker_could_have_been_up_for_the_period(workers: int) -> None:
    decisions = Decisions(workers=workers, max_restarts=1, restart_period=5.0)
    for n in range(10 * workers):
        assert decisions.lose(n % workers, uptime=5.1 * n).strategy is Strategy.CONTINUE
    assert decisions.lose(0, uptime=5.1 * (10 * workers - 1) + 0.1).strategy is Strategy.STOP


def test_without_restarts_allowed_the_first_fruitless_death_in_a_pool_stops_the_job() -> None:
    assert Decisions(workers=4, max_restarts=0).lose(2).strategy is Strategy.STOP


class Watched:
    """The way to an actor, which notes whether the gate was open at each message."""

    def __init__(self, ref: Ref, ledger: Ledger) -> None:
        self._ref = ref
        self._ledger = ledger
        self.was_open: list[bool] = []

    def signal(self, message: object) -> None:
        self.was_open.append(self._ledger.is_open)
        self._ref.signal(message)


def test_nothing_can_be_taken_any_more_when_a_routine_hears_that_the_job_stops() -> None:
    decisions = Decisions(workers=1, max_restarts=0)
    child = decisions.supervisor._routines[0]
    assert child.ref is not None
    child.ref = watched = cast("Any", Watched(child.ref, decisions.ledger))
    assert decisions.lose(0).strategy is Strategy.STOP
    assert watched.was_open[0] is False


class Unstartable(StateActor):
    def on_start(self, ctx: Context) -> None:
        raise OSError("no room for it")


def test_a_job_whose_state_actor_cannot_start_has_failed_and_says_why() -> None:
    cut = Decisions(workers=1, state_actor=Unstartable).finished.result(timeout=0)
    assert cut.status is JobStatus.FAILED
    assert "the state actor ended: " in (cut.error or "")
    assert "no room for it" in (cut.error or "")


def test_an_actor_that_was_asked_to_end_is_given_no_verdict_any_more(caplog: pytest.LogCaptureFixture) -> None:
    decisions = Decisions(workers=1)
    decisions.root.signal(Cancel("enough"))
    decisions.report(0)
    decisions.host.run()
    [pool] = decisions._pools
    assert pool.verdicts == []
    assert decisions.finished.result(timeout=0).status is JobStatus.CANCELLED
    assert [record.getMessage() for record in caplog.records] == [
        "routine 'pool': worker 0, with no message in hand: process was ended by SIGKILL; the job is ending"
    ]


class Changing(ErrorHandler):
    """Says what it wants done once, and raises after that."""

    asked = 0

    def policy(self) -> FailurePolicy:
        self.asked += 1
        if self.asked > 1:
            raise ValueError("asked again")
        return super().policy()


def test_an_error_handler_is_asked_when_the_job_starts_and_not_while_it_decides() -> None:
    flow = Flow("asked")
    handler = Changing("continue")
    flow.add_routine(Failing(), "failing", error_handler=handler)
    with flow.start(keep_open=True) as job:
        handler.strategy = handler.then = ErrorStrategy.STOP
        for n in range(2):
            job.send("failing", "input", n=n)
    assert (job.state.status, handler.asked) == ("completed", 1)
    assert job.state.routine_states["failing"]["dead"] == 2


class Failing(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)

    def handle(self, n: int) -> None:
        raise ValueError(n)


def test_a_routine_that_has_abandoned_more_threads_than_it_may_stops_the_job_and_says_what_helps() -> None:
    decisions = Decisions(workers=1, max_abandoned=2)
    for abandoned in (1, 2):
        assert decisions.lose(0, is_fruitless=False, abandoned=abandoned).strategy is Strategy.CONTINUE
    last = decisions.lose(0, is_fruitless=False, abandoned=3)
    assert (last.strategy, last.restart_delay) == (Strategy.STOP, None)
    decisions.host.run()
    error = decisions.finished.result(timeout=0).error or ""
    assert "still in their handlers: 3, max_abandoned is 2" in error
    assert "use placement='process'" in error
