"""The tracker's counts are the ledger's, also after retries and kills, and what it holds has a bound.

The short form is part of `make test`; `make stress` has a million events go through.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import msgspec
import pytest

from routilux import ErrorHandler, ErrorStrategy, ExecutionTracker, Flow, Job, JobState, Routine

EVENTS_A_MESSAGE = 3
TRACKER_BYTES = 100_000
"""What a tracker of four routines takes at most: 4 x 2 sketches of some thousand buckets of four bytes, and more."""


class Source(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.handle)
        self.define_event("item", ["n"])

    def handle(self, count: int) -> Iterator[None]:
        for n in range(self.state.get("next", 0), count):
            self.emit("item", n=n)
            if n % 100 == 0:
                self.state["next"] = n + 1
                yield


class Raising(Routine):
    """Raises at the first try of every so-manieth message."""

    def __init__(self, every: int) -> None:
        super().__init__()
        self.every = every
        self.define_slot("input", handler=self.handle)
        self.define_event("item", ["n"])

    def handle(self, n: int) -> None:
        if n % self.every == self.every - 1 and self.attempt == 1:
            raise ValueError(n)
        self.emit("item", n=n)


class Dying(Raising):
    """As that, and its process dies by SIGKILL instead."""

    def handle(self, n: int) -> None:
        if n % self.every == self.every - 1 and self.attempt == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        self.emit("item", n=n)


class Sink(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)

    def handle(self, n: int) -> None:
        self.state["last"] = n


def relay(messages: int, raises: int, kills: int) -> Flow:
    retry = ErrorHandler(ErrorStrategy.RETRY, max_retries=2, retry_delay=0.0)
    flow = Flow("exact")
    flow.add_routine(Source(), "source")
    flow.add_routine(Raising(messages // raises), "raising", error_handler=retry)
    flow.add_routine(Dying(messages // kills), "dying", placement="process", error_handler=retry)
    flow.add_routine(Sink(), "sink")
    flow.connect("source", "item", "raising", "input")
    flow.connect("raising", "item", "dying", "input")
    flow.connect("dying", "item", "sink", "input")
    return flow


def check_against_ledger(tracker: ExecutionTracker, state: JobState) -> None:
    """What was measured and what was counted were noted at different places, and taken at the same moment."""
    for id_, told in state.routine_states.items():
        found = tracker.get_routine_performance(id_)
        assert found is not None
        counted = (found.handled, found.failed, found.retries, found.restarts, found.dead, found.emitted)
        assert counted == tuple(
            told["stats"][name] for name in ("handled", "failed", "retries", "restarts", "dead", "emitted")
        )
        assert found.execution_time.count == found.waiting_time.count == told["handled"]
        incoming = [flow for flow in tracker.flows if flow.target == id_]
        assert sum(flow.handled for flow in incoming) == told["handled"]
        assert found.waiting + found.in_hand + found.in_retry == sum(flow.waiting for flow in incoming)
        outgoing = [flow for flow in tracker.flows if flow.source == id_]
        assert sum(flow.count for flow in outgoing) == found.emitted, "each event has one connection here"
    sent = {count.label: count.sent for count in state.connections if count.sent}
    assert {flow.label: flow.count for flow in tracker.flows if flow.count} == sent
    for flow in tracker.flows:
        assert flow.count == flow.handled + flow.waiting + flow.dead + flow.skipped


def watch(job: Job) -> Iterator[int]:
    """Give the size of the tracker again and again while the job runs, each time checked against the ledger."""
    while not job.is_over:
        state = job.state
        check_against_ledger(state.tracker, state)
        yield len(msgspec.msgpack.encode(state.tracker))
        job._end.bell.wait_for(lambda: job.is_over or None, lambda: 0.05)


@pytest.mark.processes
@pytest.mark.parametrize(
    ("messages", "raises", "kills"),
    [(6_000, 30, 3), pytest.param(350_000, 500, 20, marks=[pytest.mark.stress, pytest.mark.slow])],
)
def test_counts_are_those_of_the_ledger_after_retries_and_kills(messages: int, raises: int, kills: int) -> None:
    job = relay(messages, raises, kills).start("source", {"count": messages})
    sizes = list(watch(job))
    state = job.wait()
    assert state.status == "completed", state.error
    tracker = job.tracker
    check_against_ledger(tracker, state)
    found = {id_: tracker.get_routine_performance(id_) for id_ in tracker.routine_ids}
    told = [(one.handled, one.failed, one.retries, one.restarts) for one in found.values() if one is not None]
    assert told == [(1, 0, 0, 0), (messages, raises, raises, 0), (messages, kills, kills, kills), (messages, 0, 0, 0)]
    flow = tracker.get_flow_performance()
    assert flow.emitted == messages * EVENTS_A_MESSAGE
    assert flow.success_rate == pytest.approx(flow.handled / (flow.handled + raises + kills))
    assert max(sizes) < TRACKER_BYTES
    assert not any(account.samples for account in job.ledger.accounts), "nothing gathers there"
    assert state.tracker == tracker
    assert JobState.deserialize(state.serialize()).tracker == tracker
