"""Who may write how much of a job's shared memory, and when waiting for room is of no use."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from routilux import Flow, routine
from routilux.errors import OptionError
from routilux.ledger import Ledger
from routilux.messages import TurnResult
from routilux.routing import Plan, compile_plan
from routilux.runtime.memory import JobMemory, bounds_of
from routilux.turn.values import PICKLED
from supervisors.locking import BriefLock
from supervisors.places.process.exchange import Exchange
from supervisors.wire.outside import LEAST_BYTES, Leased, Name, pack_outside

SIZE = LEAST_BYTES
PATIENCE = 30.0


@routine(events={"out": ["n"]})
def step(n: int) -> dict[str, int]:
    return {"n": n}


def flow_of(placements: dict[str, str], *connections: tuple[str, str]) -> Plan:
    """Compile routines, by name `thread` or `process`, and the connections between them."""
    flow = Flow("levels")
    for name, placement in placements.items():
        flow.add_routine(step, name, placement=placement)
    for source, target in connections:
        flow.connect(source, "out", target, "input")
    return compile_plan(flow)


class Trial:
    """A job of `make` on a thread, whose messages `work` handles in a process, then `see`, and `read` on a thread."""

    def __init__(self, limit: int = 3 * SIZE) -> None:
        placements = {"make": "thread", "work": "process", "see": "process", "read": "thread"}
        plan = flow_of(placements, ("make", "work"), ("work", "see"), ("see", "read"))
        self.memory = JobMemory(PICKLED, limit, plan)
        self.ledger = Ledger(
            plan,
            BriefLock(),
            on_quiet=lambda: None,
            on_facts=lambda: None,
            on_overflow=lambda _: None,
            codec=self.memory.codec,
        )
        self.make, self.work, self.see, self.read = self.ledger.accounts
        self.exchange: Exchange = self.memory.exchange(self.work, self.ledger)
        self.party = self.exchange.enter(0)

    def payload(self) -> Leased:
        """Have the worker write something."""
        assert self.memory.pool.lend(self.party, SIZE)
        (segment,) = self.party.take_orders().lend
        return self.exchange.lease(0, pack_outside([Name(segment, 0, SIZE)], b""))

    def put(self, account: Any, payload: Any) -> None:
        """Let a message wait at a routine."""
        edge = self.ledger.plan.entries[account.plan.id, "input"]
        self.ledger.admit(edge, payload)

    def waits(self) -> bool:
        """Whether a worker of `work` that wants what there is no room for is to wait."""
        self.exchange.note_waiting(1)
        try:
            return self.exchange.serve(self.party, SIZE) is None
        finally:
            self.exchange.note_waiting(0)


@pytest.fixture
def trial() -> Iterator[Trial]:
    made = Trial()
    yield made
    made.memory.close()


def test_those_further_down_may_hold_more() -> None:
    plan = flow_of({"a": "thread", "b": "process", "c": "process"}, ("a", "b"), ("b", "c"))
    assert bounds_of(plan, 300) == [100, 200, 300]


def test_those_who_write_nothing_take_no_share() -> None:
    plan = flow_of({"a": "thread", "b": "thread", "c": "process", "d": "thread"}, ("a", "b"), ("b", "c"), ("c", "d"))
    assert bounds_of(plan, 100) == [50, 50, 100, 100]


def test_routines_of_a_cycle_share_a_level() -> None:
    plan = flow_of({"a": "process", "b": "process"}, ("a", "b"), ("b", "a"))
    assert bounds_of(plan, 100) == [100, 100]


def test_one_that_nobody_is_behind_has_all_of_it() -> None:
    assert bounds_of(flow_of({"a": "process"}), 100) == [100]


def test_a_worker_waits_while_somebody_may_handle_what_holds_memory(trial: Trial) -> None:
    for _ in range(3):
        trial.put(trial.see, trial.payload())
    assert trial.waits()
    taken = trial.ledger.take(trial.see, 3)
    assert trial.waits(), "it is in hand"
    for delivery, _message in taken:
        trial.ledger.commit(trial.see, 0, [(delivery, TurnResult([], []), 0.0, 0.0)])
    del taken, _message
    assert trial.exchange.serve(trial.party, SIZE) is True


def test_memory_is_let_go_with_its_own_message_where_several_are_committed_together(trial: Trial) -> None:
    payloads = [trial.payload() for _ in range(2)]
    leases = [weakref.ref(payload.leases[0]) for payload in payloads]
    for number in range(2):
        trial.put(trial.see, {"n": number})
    taken = [delivery for delivery, _message in trial.ledger.take(trial.see, 2)]
    results = [TurnResult([(0, None, payload, ())], []) for payload in payloads]
    trial.ledger.commit(
        trial.see, 0, [(delivery, result, 0.0, 0.0) for delivery, result in zip(taken, results, strict=True)]
    )
    del payloads, results
    assert not trial.ledger.take_blocks(trial.read, 2)
    first, _second = [delivery for delivery, _message in trial.ledger.take(trial.read, 2)]
    trial.ledger.commit(trial.read, 0, [(first, TurnResult([], []), 0.0, 0.0)])
    assert [lease() is None for lease in leases] == [True, False]


def test_a_worker_does_not_wait_for_itself(trial: Trial) -> None:
    for _ in range(3):
        trial.put(trial.work, trial.payload())
    assert not trial.waits()
    trial.ledger.take(trial.work, 1)
    assert not trial.waits()


def test_a_worker_does_not_wait_for_what_nobody_is_about_to_handle(trial: Trial) -> None:
    kept = [trial.payload() for _ in range(3)]
    assert not trial.waits()
    assert kept


def test_a_worker_does_not_wait_for_a_routine_that_is_skipped(trial: Trial) -> None:
    for _ in range(3):
        trial.put(trial.see, trial.payload())
    trial.see.is_skipped = True
    assert not trial.waits()


def test_a_thread_waits_for_room_and_is_woken_by_it(trial: Trial) -> None:
    payloads = [trial.payload() for _ in range(3)]
    trial.put(trial.see, payloads.pop())
    codec = trial.memory.codec_for(trial.make, trial.ledger)
    got: list[Any] = []
    thread = threading.Thread(target=lambda: got.append(codec.empty(SIZE)))
    thread.start()
    pool = trial.memory.pool
    while not pool.is_pressed:
        threading.Event().wait(0.001)
    payloads.clear()
    ((delivery, message),) = trial.ledger.take(trial.see)
    trial.ledger.commit(trial.see, 0, [(delivery, TurnResult([], []), 0.0, 0.0)])
    del message
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert got[0] is not None


@pytest.mark.parametrize("deed", ["pause", "end"])
def test_a_thread_stops_waiting_when_the_job_is_paused_or_ends(trial: Trial, deed: str) -> None:
    for _ in range(3):
        trial.put(trial.see, trial.payload())
    codec = trial.memory.codec_for(trial.make, trial.ledger)
    got: list[Any] = []
    thread = threading.Thread(target=lambda: got.append(codec.empty(SIZE)))
    thread.start()
    while not trial.memory.pool.is_pressed:
        threading.Event().wait(0.001)
    if deed == "pause":
        trial.ledger.hold_gate()
    else:
        trial.ledger.close_gate()
    thread.join(PATIENCE)
    assert got == [None]
    assert not trial.memory.pool.is_pressed


@pytest.mark.parametrize("limit", [-1, 1.5, "much", True])
def test_a_limit_that_cannot_be_is_refused(limit: Any) -> None:
    flow = Flow("limits")
    flow.add_routine(step, "step")
    with pytest.raises(OptionError, match="shared_memory_limit"):
        flow.execute("step", {"n": 1}, shared_memory_limit=limit)
