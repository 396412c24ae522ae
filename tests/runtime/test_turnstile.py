from __future__ import annotations

from typing import Any

from routilux import Flow
from routilux.accounts import Account
from routilux.ledger import Admission, Ledger
from routilux.pacing import Delayed, Pace, Throttled
from routilux.routing import compile_plan
from routilux.runtime.commands import PaceDue
from routilux.runtime.turnstile import Turnstile
from supervisors.locking import BriefLock
from tests.jobs.contexts import FakeContext
from tests.runtime.shapes import Sink


class Bench:
    """A turnstile before a mailbox."""

    def __init__(self, pace: Pace) -> None:
        flow = Flow("turnstile")
        flow.add_routine(Sink(), "sink")
        plan = compile_plan(flow)

        def nothing(*_: Any) -> None:
            pass

        self.ledger = Ledger(plan, BriefLock(), on_quiet=nothing, on_facts=nothing, on_overflow=nothing, job_id="job")
        self.account: Account = self.ledger.accounts[0]
        self.ctx = FakeContext()
        self.turnstile = Turnstile(pace, self.ledger, self.ctx)  # type: ignore[arg-type]
        self.edge = plan.entries["sink", "input"]

    def send(self, at: float) -> None:
        assert self.ledger.admit(self.edge, {"n": 1}, at=at) is Admission.ADMITTED

    def take(self, now: float, limit: int = 9) -> list[int]:
        """Take what may be taken; gives the delivery numbers."""
        self.ctx.time = now
        return [delivery for delivery, _ in self.turnstile.take(self.account, limit)]

    def timers(self) -> list[float]:
        """When the actor is to look again."""
        running = self.ctx.running()
        assert all(timer.message == PaceDue() for timer in running)
        return [self.ctx.time + timer.delay for timer in running]


def test_there_is_a_timer_for_what_may_not_be_taken_yet_and_for_nothing_else() -> None:
    bench = Bench(Delayed(10.0))
    assert (bench.take(0.0), bench.timers()) == ([], [])
    bench.send(at=4.0)
    assert (bench.take(4.0), bench.timers()) == ([], [14.0])
    assert (bench.take(14.0), len(bench.ctx.timers)) == ([1], 1)


def test_there_is_one_timer_however_often_it_looks_and_whatever_is_first_then() -> None:
    bench = Bench(Delayed(10.0))
    bench.send(at=4.0)
    assert bench.take(4.0) == bench.take(6.0) == []
    assert bench.timers() == [14.0]
    [taken] = bench.take(14.0)
    bench.send(at=14.0)
    assert (bench.take(14.0), bench.timers()) == ([], [24.0])
    bench.ledger.put_back(bench.account, [taken])
    assert bench.take(15.0) == [2]
    assert (bench.take(16.0), bench.timers()) == ([], [24.0])


def test_what_was_not_taken_does_not_count() -> None:
    bench = Bench(Throttled(2, 10.0))
    for _ in range(4):
        bench.send(at=0.0)
    bench.ledger.hold_gate()
    assert (bench.take(0.0), bench.take(1.0), bench.timers()) == ([], [], [])
    bench.ledger.open_gate()
    assert (bench.take(2.0), bench.take(3.0), bench.timers()) == ([1, 2], [], [12.0])


def test_what_has_to_come_ahead_of_all_does_not_wait_and_counts() -> None:
    bench = Bench(Throttled(1, 10.0))
    bench.send(at=0.0)
    bench.send(at=0.0)
    taken = bench.take(0.0)
    ticket = bench.ledger.set_aside(bench.account, taken, redelivered=False, due_at=3.0, holds=True)
    bench.ctx.time = 3.0
    assert len(bench.turnstile.take_forward(bench.account, ticket)) == 1
    assert (bench.take(10.0), bench.timers()) == ([], [13.0])
