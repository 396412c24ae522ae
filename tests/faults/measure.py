"""The measure of the fault suite, in one function: what must hold of a job in which one message of many is faulty.

Every message is in exactly one place at the end, the cause is named, other routines and other jobs are untouched, the
next job of the same flow works, and the program is quiet about it. (That nothing is left behind is looked after by the
leak check that every test runs under.)

Owns the flow with its faulty routine and the expectations; which faults there are stands in `table`.
"""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import pytest

from routilux import ErrorHandler, Flow, Job, JobState, Routine
from supervisors.reasons import Crashed, DeadlineExceeded, OutOfMemory, ProtocolError, Raised, Reason
from tests.faults.deeds import shut_channel, stand_still, write_garbage
from tests.faults.table import Fault, Kind, Where

BAD = 7
COUNT = 20
RETRIES = 2
SECONDS = 60.0
"""By when a job has ended, whatever happens in it (arbitrary, far more than any takes)."""
LOG_LINES_A_FAILURE = 1
"""Records of level WARNING and above that one failed try of a message makes."""
SPOILERS = {shut_channel, write_garbage}
"""What is known of only when the messages that were in hand are run one by one."""
DECISIONS = frozenset({"stop", "continue", "retry", "skip"})


class Source(Routine):
    """Emits the numbers below `count` to the victim, one with what is to do harm there, and to the innocent."""

    def __init__(self, fault: Fault | None) -> None:
        super().__init__()
        self.fault = fault
        self.define_slot("trigger", handler=self.produce)
        self.define_event("number", ["n", "cargo"])
        self.define_event("plain", ["n"])

    def produce(self, count: int) -> None:
        for n in range(count):
            harms = n == BAD and self.fault is not None and self.fault.where is Where.ARRIVAL
            self.emit("number", n=n, cargo=self.fault.deed() if harms and self.fault else None)
            self.emit("plain", n=n)


class Victim(Routine):
    """Hands every number on, and counts; on one of them the fault happens, as often as it is told."""

    def __init__(self, fault: Fault | None, tries: int) -> None:
        super().__init__()
        self.fault = fault
        self.tries = tries
        self.define_slot("input", handler=self.handle)
        self.define_event("handled", ["n", "cargo"])

    def handle(self, n: int, cargo: Any) -> None:
        fault = self.fault
        harms = n == BAD and fault is not None and self.attempt <= self.tries
        self.state["seen"] = self.state.get("seen", 0) + 1
        self.emit("handled", n=n, cargo=fault.deed() if harms and fault and fault.where is Where.EMIT else None)
        if harms and fault and fault.where is Where.HANDLER:
            fault.deed()


class Sink(Routine):
    """Keeps which numbers came, in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)

    def handle(self, n: int) -> None:
        self.state["arrived"] = [*self.state.get("arrived", ()), n]


class Innocent(Routine):
    """Hands every number on."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)
        self.define_event("number", ["n"])

    def handle(self, n: int) -> None:
        self.emit("number", n=n)


class Expected(NamedTuple):
    """What a strategy makes of one faulty message of `COUNT`."""

    status: str
    routine_status: str
    decisions: list[str]
    arrived: list[int]
    dead: int


def is_spoiler(fault: Fault) -> bool:
    """Tell whether a worker may be lost to the fault with no message to blame."""
    return fault.deed in SPOILERS or fault.is_unseen


def expect(fault: Fault, strategy: str) -> Expected:
    """Give what is to come of a job with `fault` in it."""
    all_of_them = list(range(COUNT))
    without = [n for n in all_of_them if n != BAD]
    before = all_of_them[:BAD]
    if fault.kind is Kind.HARMLESS:
        return Expected("completed", "completed", [], all_of_them, 0)
    match strategy:
        case "continue":
            return Expected("completed", "error_continued", ["continue"], without, 1)
        case "retry" if fault.passes:
            return Expected("completed", "completed", ["retry"] * RETRIES, all_of_them, 0)
        case "retry":
            return Expected("completed", "error_continued", ["retry"] * RETRIES + ["continue"], without, 1)
        case "skip":
            return Expected("completed", "skipped", ["skip"], before, 1)
        case "stop":
            return Expected("failed", "failed", ["stop"], before, 0)
        case _:
            raise ValueError(strategy)


def make_flow(fault: Fault | None, strategy: str, placement: str) -> Flow:
    """Make the flow: source, victim and sink, and beside them source, innocent and sink."""
    # A value is encoded where a process sends or receives it, and no sooner.
    source = "process" if fault is not None and fault.where is Where.ARRIVAL else "thread"
    sink = "process" if fault is not None and fault.where is Where.EMIT and placement == "thread" else "thread"
    handler = ErrorHandler(
        strategy, max_retries=RETRIES, retry_delay=0.0, retryable_exceptions=(BaseException,), then="continue"
    )
    tries = RETRIES if strategy == "retry" else 1
    flow = Flow("measured")
    flow.add_routine(Source(fault), "source", placement=source)
    options = fault.options if fault is not None else {}
    flow.add_routine(Victim(fault, tries), "victim", placement=placement, error_handler=handler, **options)
    flow.add_routine(Sink(), "sink", placement=sink)
    flow.add_routine(Innocent(), "innocent")
    flow.add_routine(Sink(), "other-sink")
    flow.connect("source", "number", "victim", "input")
    flow.connect("victim", "handled", "sink", "input")
    flow.connect("source", "plain", "innocent", "input")
    flow.connect("innocent", "number", "other-sink", "input")
    return flow


class Companion:
    """An innocent job that runs beside all others of its module: two routines, one in a process."""

    def __init__(self) -> None:
        flow = Flow("companion")
        flow.add_routine(Innocent(), "first")
        flow.add_routine(Innocent(), "second", placement="process")
        flow.connect("first", "number", "second", "input")
        flow.output("second", "number")
        self.job: Job = flow.start(keep_open=True)
        self._results = self.job.results()
        self._next = 0
        self.work()

    def work(self) -> None:
        """Have some messages handled; they come out in order."""
        numbers = range(self._next, self._next + 10)
        self._next = numbers.stop
        for n in numbers:
            self.job.send("first", "input", n=n)
        assert [next(self._results)["n"] for _ in numbers] == list(numbers)

    def close(self) -> None:
        """End it, and check that nothing had happened to it."""
        self.job.close_entry()
        state = self.job.wait(SECONDS)
        assert state.status == "completed", state.error
        assert {told["failed"] for told in state.routine_states.values()} == {0}
        assert state.routine_states["second"]["restarts"] == 0


def measure(
    fault: Fault,
    strategy: str,
    placement: str,
    companion: Companion,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Run a job with `fault` in it, and check all that the suite promises."""
    expected = expect(fault, strategy)
    job = make_flow(fault, strategy, placement).start("source", {"count": COUNT})
    companion.work()
    state = job.wait(SECONDS)
    check_books(job, state)
    check_victim(state, fault, expected)
    check_others(state, expected)
    check_causes(state, fault, expected)
    check_next_job(placement if fault.kind is Kind.DIES else "thread")
    companion.work()
    check_quiet(len(expected.decisions), fault, capfd, caplog)


def check_books(job: Job, state: JobState) -> None:
    """Check that every message is in exactly one place (R7)."""
    job.ledger.check()
    assert all(connection.is_conserved for connection in state.connections), state.connections
    assert {c.in_hand + c.in_retry for c in state.connections} == {0}, state.connections
    if state.status == "completed":
        # Results are not the job's any more: they may be read when it is over.
        waiting = {c.waiting for c in state.connections if not c.label.endswith(" -> output")}
        assert waiting <= {0}, state.connections


def check_victim(state: JobState, fault: Fault, expected: Expected) -> None:
    """Check which messages the faulty routine handled, and what it kept of them."""
    assert state.status == expected.status, state.error
    told = state.routine_states["victim"]
    figures = told["stats"]
    failed = len(expected.decisions)
    handled = len(expected.arrived)
    is_given_up = expected.routine_status in {"skipped", "failed"}
    if fault.kind is Kind.DIES and is_given_up:
        # What a dead process had run without its commit having arrived is not run again.
        assert figures["handled"] <= handled
        handled = figures["handled"]
    skipped = COUNT - handled - 1 if expected.routine_status == "skipped" else 0
    waiting = COUNT - handled if expected.status == "failed" else 0
    assert told["status"] == expected.routine_status
    counted = [figures[key] for key in ("handled", "failed", "skipped", "dead", "waiting")]
    assert counted == [handled, failed, skipped, expected.dead, waiting], state.connections
    assert figures["retries"] == expected.decisions.count("retry")
    deaths = failed if fault.kind is Kind.DIES and not is_given_up else 0
    # Where a worker broke its channel with several messages run, the one that did it is found by running each alone.
    assert deaths <= figures["restarts"] <= deaths + (failed if is_spoiler(fault) else 0)
    assert told["state"] == ({"seen": handled} if handled else {})
    arrived = _arrived(state, "sink")
    assert arrived == expected.arrived[: len(arrived)]
    assert len(arrived) + state.routine_states["sink"]["stats"]["waiting"] == handled


def check_others(state: JobState, expected: Expected) -> None:
    """Check that the other routines took no notice."""
    others = {routine_id: told for routine_id, told in state.routine_states.items() if routine_id != "victim"}
    assert {(told["failed"], told["restarts"], told["error"]) for told in others.values()} == {(0, 0, None)}
    arrived = _arrived(state, "other-sink")
    assert arrived == list(range(COUNT))[: len(arrived)]
    if expected.status == "completed":
        assert len(arrived) == COUNT
        assert {told["status"] for told in others.values()} == {"completed"}


def check_causes(state: JobState, fault: Fault, expected: Expected) -> None:
    """Check that the cause is named, wherever a user looks for it."""
    records = state.get_execution_history("victim")
    errors = [record for record in records if record.kind == "error"]
    assert [record.attempt for record in errors] == list(range(1, len(expected.decisions) + 1))
    assert [record.kind for record in records if record.kind in DECISIONS] == expected.decisions
    for text in [record.detail for record in errors] + [letter.cause for letter in state.dead_letters]:
        assert all(words in text for words in fault.told), text
        assert "\n" not in text or fault.kind is Kind.RAISES
    assert len({record.message_id for record in errors}) <= 1
    assert len(state.dead_letters) == expected.dead == state.routine_states["victim"]["dead"]
    decided = [record.reason for record in records if record.kind in DECISIONS]
    assert [record.reason for record in errors] == decided
    for reason in decided:
        check_reason(reason, fault)
    for letter in state.dead_letters:
        assert (letter.routine_id, letter.attempts) == ("victim", len(expected.decisions))
        assert letter.message.id == errors[0].message_id
        if fault.where is not Where.ARRIVAL:  # whoever looks at what it carried decodes it
            assert letter.data == {"n": BAD, "cargo": None}
    if expected.status == "failed":
        assert state.error is not None
        assert all(words in state.error for words in ("routine 'victim'", *fault.told))
    else:
        assert state.error is None


def check_reason(reason: Reason | None, fault: Fault) -> None:
    """Check that the whole of what is known is kept: a traceback, or how a process ended."""
    match reason:
        case Raised(record):
            assert fault.kind is Kind.RAISES
            assert record.traceback
        case DeadlineExceeded():
            # A process that stands still tells nothing.
            assert (fault.deed.__name__ in reason.stack) is (fault.deed is not stand_still)
        case Crashed():
            assert fault.is_unseen or (reason.signal is None) is (reason.exit_code is not None)
            assert reason.pid is not None
        case OutOfMemory() | ProtocolError():
            assert reason.pid is not None
        case _:
            raise AssertionError(reason)


def check_next_job(placement: str) -> None:
    """Check that the same flow, without the fault, runs in the same program."""
    state = make_flow(None, "stop", placement).execute("source", {"count": BAD})
    assert state.status == "completed", state.error
    assert _arrived(state, "sink") == _arrived(state, "other-sink") == list(range(BAD))


def check_quiet(
    failures: int, fault: Fault, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Check that nothing is printed but by the faulty worker itself, and as much logged as is promised."""
    records = [record for record in caplog.records if record.levelno >= logging.WARNING]
    # A hang is told of at half of its time too, unless its stack is waited for in vain.
    hangs = failures if "timeout" in fault.options and fault.deed is not stand_still else 0
    # A worker that is lost with no message to blame has a line of its own.
    spoiled = range(failures + 1) if is_spoiler(fault) else range(1)
    lines = [record.getMessage() for record in records]
    assert len(lines) - LOG_LINES_A_FAILURE * failures - hangs in spoiled, lines
    printed = "".join(capfd.readouterr()).splitlines()
    strange = [line for line in printed if not (fault.prints and line.startswith("[victim] "))]
    assert strange == [], "\n".join(strange)


def _arrived(state: JobState, sink: str) -> list[int]:
    arrived: list[int] = state.routine_states[sink]["state"].get("arrived", [])
    return arrived
