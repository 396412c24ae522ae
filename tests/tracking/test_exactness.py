"""The tracker's counts are the ledger's, also after retries and kills, and what it holds does not grow.

The short form is part of `make test`; `make stress` has a million events go through. Where a figure can be counted by
somebody who never heard of the ledger, it is: by the handlers in their states, and by the records of the history.
"""

from __future__ import annotations

import gc
import logging
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from routilux import ErrorHandler, ErrorStrategy, ExecutionTracker, Flow, Job, JobState, Routine
from routilux.jobs.tracks import track_image
from routilux.keeping.finding import latest
from routilux.keeping.history import StoredHistory
from routilux.observe import observe
from routilux.stores import FileStore
from routilux.tracking.meters import Meters
from tests.tracking.samples import one

TRACKER_BYTES = 100_000
"""What a tracker of four routines takes at most where it is written: eight sketches of some thousand buckets."""
METERS_BYTES = 400_000
"""What is held of four routines at most while the job runs: a kilobyte for each octave that a duration was in, and of
these there are forty between a microsecond and a week."""
COUNTS = ("handled", "failed", "skipped", "dead", "retries", "restarts", "emitted", "waiting", "in_hand", "in_retry")


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
    """Raises at the first try of every so-manieth message, and at each try of the one behind it."""

    def __init__(self, every: int) -> None:
        super().__init__()
        self.every = every
        self.define_slot("input", handler=self.handle)
        self.define_event("item", ["n"])

    def handle(self, n: int) -> None:
        if n % self.every == 1 or (n % self.every == 0 and self.attempt == 1):
            raise ValueError(n)
        self.emit("item", n=n)


class Dying(Raising):
    """As that, and its process dies by SIGKILL instead."""

    def handle(self, n: int) -> None:
        if n % self.every == 0 and self.attempt == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        self.emit("item", n=n)


class Sink(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)

    def handle(self, n: int) -> None:
        self.state["handled"] = self.state.get("handled", 0) + 1


class Size(NamedTuple):
    """What the tracker takes.

    Args:
        events: how many had been sent by then.
        written: bytes of it where it is kept.
        held: bytes of what is held for it while the job runs.
    """

    events: int
    written: int
    held: int


def relay(messages: int, raises: int, kills: int) -> Flow:
    again = ErrorHandler(ErrorStrategy.RETRY, max_retries=1_000, retry_delay=0.0)  # also when it is killed from outside
    twice = ErrorHandler(ErrorStrategy.RETRY, max_retries=2, retry_delay=0.0, then=ErrorStrategy.CONTINUE)
    flow = Flow("exact")
    flow.add_routine(Source(), "source")
    flow.add_routine(Raising(messages // raises), "raising", error_handler=twice)
    flow.add_routine(Dying(messages // kills), "dying", placement="process", error_handler=again, max_restarts=10_000)
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
        assert {name: getattr(found, name) for name in COUNTS} == {name: told["stats"][name] for name in COUNTS}
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


def check_against_accounts(tracker: ExecutionTracker, job: Job) -> None:
    """Of a job that is over the ledger itself can be asked."""
    job.ledger.check()
    for account in job.ledger.accounts:
        found = one(tracker, account.plan.id)
        names = ("handled", "failed", "skipped", "dead", "retries", "restarts", "emitted")
        assert [getattr(found, name) for name in names] == [getattr(account, name) for name in names]
        assert (found.waiting, found.in_hand, found.in_retry) == (0, 0, 0)
        assert not account.samples, "nothing gathers there"
    told = [(flow.label, flow.count, flow.handled, flow.dead) for flow in tracker.flows]
    counts = job.ledger.counts()
    assert told == [(count.label, count.sent, count.handled, count.dead) for count in counts if count.sent]


def check_against_history(tracker: ExecutionTracker, history: StoredHistory) -> None:
    """Each try, decision and commit has left a record."""
    kinds = Counter((record.routine_id, record.kind) for record in history)
    assert not history.problems
    for id_ in tracker.routine_ids:
        found = one(tracker, id_)
        told = tuple(kinds[id_, kind] for kind in ("completed", "error", "retry", "continue"))
        assert (found.handled, found.failed, found.retries, found.dead) == told


def all_meters() -> list[Meters]:
    """Find what state actors measure with: nobody hands it out. Jobs of other tests may still be there."""
    return [thing for thing in gc.get_objects() if type(thing) is Meters]


def held_by(meters: Meters) -> int:
    total = 0
    for meter in meters._meters:
        total += sys.getsizeof(meter.recent._counts) + sys.getsizeof(meter.recent._seconds)
        for histogram in (meter.turns, meter.waits):
            octaves = histogram._octaves
            total += sys.getsizeof(octaves) + sum(map(sys.getsizeof, octaves.values()))
    return total


def watch(job: Job, kills: int, meters: Meters) -> Iterator[Size]:
    """Give the size of the tracker again and again while the job runs, each time checked against the ledger.

    Meanwhile workers are killed from outside, wherever they are just then.
    """
    draw, handled = random.Random(5), 0
    while not job.is_over:
        state = job.state
        check_against_ledger(state.tracker, state)
        events = sum(flow.count for flow in state.tracker.flows)
        yield Size(events, len(msgspec.msgpack.encode(state.tracker)), held_by(meters))
        dying = observe(job).routine("dying")
        if kills and dying.pids and dying.figures.handled > handled:  # else it would be a crash loop, and be held back
            kills, handled = kills - 1, dying.figures.handled
            with suppress(ProcessLookupError):
                os.kill(draw.choice(dying.pids), signal.SIGKILL)
        with suppress(TimeoutError):
            job.wait(0.05)


def check_figures(tracker: ExecutionTracker, state: JobState, messages: int, raises: int, kills: int) -> None:
    """The figures are those that the flow was made for."""
    raising, dying = one(tracker, "raising"), one(tracker, "dying")
    passed = messages - raises  # as many are given up
    assert (one(tracker, "source").handled, one(tracker, "source").emitted) == (1, messages)
    told = (raising.handled, raising.failed, raising.retries, raising.restarts, raising.dead)
    assert told == (passed, raises + 3 * raises, raises + 2 * raises, 0, raises)
    assert (dying.handled, dying.dead, dying.emitted) == (passed, 0, passed)
    assert kills <= dying.failed == dying.retries <= dying.restarts, "one that has nothing in hand dies for no message"
    assert one(tracker, "sink").handled == passed == state.routine_states["sink"]["state"]["handled"]
    whole = tracker.get_flow_performance()
    assert whole.handled == whole.execution_time.count == whole.waiting_time.count == 1 + 3 * passed
    assert whole.success_rate == whole.handled / (whole.handled + whole.failed)


@pytest.fixture
def quiet() -> Iterator[None]:
    """Let no failure be told: there are thousands, on purpose."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.processes
@pytest.mark.parametrize(
    ("messages", "raises", "kills", "outside"),
    [(6_000, 30, 2, 2), pytest.param(350_000, 5_000, 20, 40, marks=[pytest.mark.stress, pytest.mark.slow])],
)
def test_counts_are_those_of_the_ledger_after_retries_and_kills(
    messages: int, raises: int, kills: int, outside: int, quiet: None, tmp_path: Path
) -> None:
    store = FileStore(tmp_path / "jobs")
    keeping = {"store": store, "checkpoint_every": 1.0}
    others = all_meters()
    job = relay(messages, raises, kills).start("source", {"count": messages}, job_id="exact", **keeping)
    [meters] = [found for found in all_meters() if not any(found is other for other in others)]
    sizes = list(watch(job, outside, meters))
    state = job.wait()
    assert state.status == "completed", state.error
    tracker = job.tracker
    check_against_ledger(tracker, state)
    check_against_accounts(tracker, job)
    check_against_history(tracker, StoredHistory(store, "exact"))
    check_figures(tracker, state, messages, raises, kills)
    assert state.tracker == tracker
    assert JobState.deserialize(state.serialize()).tracker == tracker
    kept = track_image(latest(store, "exact").image)
    assert [one(kept, id_).handled for id_ in kept.routine_ids] == [
        one(tracker, id_).handled for id_ in kept.routine_ids
    ]
    check_sizes(sizes)


def check_sizes(sizes: list[Size]) -> None:
    assert sizes
    assert max(size.written for size in sizes) < TRACKER_BYTES
    assert max(size.held for size in sizes) < METERS_BYTES
    early = [size for size in sizes if size.events >= 100_000]
    if early:  # in the long run; some orders of magnitude come up late
        assert early[-1].events > 900_000
        assert early[-1].held < 2 * early[0].held
