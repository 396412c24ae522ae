"""Whatever a handler does, its message pays for it, by name; all others are handled."""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from routilux import ErrorHandler, Flow, JobState, Routine
from routilux.messages import Emission, TurnResult
from routilux.turn import codec
from routilux.turn.outbox import COUNT_BOUND
from supervisors.errors import ValueEncodingError
from supervisors.reasons import Crashed, Raised
from supervisors.wire.values import MAX_VALUE_BYTES
from tests.supervisors.places.bench import own_channel

BAD = 7
COUNT = 20
LIMIT = 128 * 2**20


class Unpicklable(Exception):
    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)
        self.lock = threading.Lock()
        self.second = second


def exit_softly() -> None:
    sys.exit(3)


def exit_hard() -> None:
    os._exit(0)


def exit_hard_with_code() -> None:
    os._exit(7)


def be_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def segfault() -> None:
    ctypes.string_at(0)


def raise_plainly() -> None:
    raise ValueError("the message is bad")


def raise_unpicklable() -> None:
    raise Unpicklable("cannot", "travel")


def interrupt() -> None:
    raise KeyboardInterrupt


def recurse() -> None:
    recurse()


class Worker(Routine):
    """Handles numbers, and does something bad on one of them."""

    def __init__(self, deed: Callable[[], None], tries: int = 1_000) -> None:
        super().__init__()
        self.deed = deed
        self.tries = tries
        self.define_slot("trigger", handler=self.handle)
        self.define_event("handled", ["n"])

    def handle(self, n: int) -> None:
        self.state["seen"] = self.state.get("seen", 0) + 1
        self.emit("handled", n=n)
        if n == BAD and self.attempt <= self.tries:
            self.deed()


def run(routine: Routine, placement: str, handler: ErrorHandler, **options: Any) -> JobState:
    flow = Flow("failures")
    flow.add_routine(routine, "worker", placement=placement, error_handler=handler, **options)
    flow.output("worker", "handled")
    with flow.start(keep_open=True) as job:
        for n in range(COUNT):
            job.send("worker", "trigger", n=n)
        job.close_entry()
        job.collect()
    return job.state


DEEDS = [
    (exit_softly, "SystemExit"),
    (raise_plainly, "ValueError: the message is bad"),
    (raise_unpicklable, "Unpicklable: cannot"),
    (interrupt, "KeyboardInterrupt"),
    (recurse, "RecursionError"),
]
DEATHS = [
    (exit_hard, "exited with code 0"),
    (exit_hard_with_code, "exited with code 7"),
    (be_killed, "SIGKILL"),
    (segfault, "SIGSEGV"),
]


@pytest.mark.processes
@pytest.mark.parametrize("placement", ["thread", "process"])
@pytest.mark.parametrize(("deed", "told"), DEEDS, ids=lambda value: getattr(value, "__name__", None))
def test_what_a_handler_raises_costs_its_message_alone(deed: Callable[[], None], told: str, placement: str) -> None:
    state = run(Worker(deed), placement, ErrorHandler("continue"))
    check_one_dead(state, told)
    assert state.routine_states["worker"]["restarts"] == 0


@pytest.mark.processes
@pytest.mark.parametrize(("deed", "told"), DEATHS, ids=lambda value: getattr(value, "__name__", None))
def test_the_death_of_a_process_costs_one_message_alone(deed: Callable[[], None], told: str) -> None:
    state = run(Worker(deed), "process", ErrorHandler("continue"))
    check_one_dead(state, told)
    assert state.routine_states["worker"]["restarts"] == 1


@pytest.mark.processes
@pytest.mark.parametrize(("deed", "told"), DEATHS, ids=lambda value: getattr(value, "__name__", None))
def test_a_message_whose_process_died_is_tried_again_in_its_place(deed: Callable[[], None], told: str) -> None:
    state = run(Worker(deed, tries=2), "process", ErrorHandler("retry", retry_delay=0.0))
    assert state.status == "completed", state.error
    assert [item["n"] for item in state.results()] == list(range(COUNT))
    worker = state.routine_states["worker"]
    assert worker["state"] == {"seen": COUNT}
    assert (worker["restarts"], worker["retries"], worker["failed"]) == (2, 2, 2)
    errors = [record for record in state.history if record.kind == "error"]
    assert [record.attempt for record in errors] == [1, 2]
    assert all(told in record.detail for record in errors)


def check_one_dead(state: JobState, told: str) -> None:
    assert state.status == "completed", state.error
    assert [item["n"] for item in state.results()] == [n for n in range(COUNT) if n != BAD]
    assert state.routine_states["worker"]["state"] == {"seen": COUNT - 1}
    [letter] = state.dead_letters
    assert (letter.routine_id, letter.attempts) == ("worker", 1)
    assert told in letter.cause
    assert state.routine_states["worker"]["status"] == "error_continued"
    [error] = [record for record in state.history if record.kind == "error"]
    assert told in error.detail
    assert error.message_id == letter.message.id
    [decision] = [record for record in state.history if record.kind == "continue"]
    assert error.reason == decision.reason == letter.reason
    assert state.routine_states["worker"]["dead"] == 1
    match letter.reason:
        case Raised(record):
            assert "test_failures.py" in record.traceback
        case Crashed(number, code):
            assert (number is None) is (code is not None)
        case other:
            raise AssertionError(other)


def spin() -> None:
    sum(range(10**12))


def hold_memory() -> None:
    held = mmap.mmap(-1, LIMIT + 2**26)
    for at in range(0, len(held), mmap.PAGESIZE):
        held[at] = 1
    threading.Event().wait(30)


def take_memory() -> None:
    bytes(2 * LIMIT)


@pytest.mark.processes
@pytest.mark.parametrize(
    ("deed", "option", "told"),
    [
        (spin, {"timeout": 1.0}, "took longer than 1 s and was ended"),
        (hold_memory, {"memory_limit": LIMIT}, "MiB, over its memory_limit of 128 MiB"),
        (take_memory, {"memory_limit": LIMIT}, "MemoryError"),
    ],
)
def test_a_handler_that_goes_over_a_limit_costs_its_message_alone(
    deed: Callable[[], None], option: dict[str, Any], told: str
) -> None:
    check_one_dead(run(Worker(deed), "process", ErrorHandler("continue"), **option), told)


@pytest.mark.parametrize("placement", ["thread", pytest.param("process", marks=pytest.mark.processes)])
def test_retries_wait_and_give_up_as_the_handler_says(placement: str) -> None:
    handler = ErrorHandler("retry", max_retries=2, retry_delay=0.01, then="continue")
    state = run(Worker(raise_plainly), placement, handler)
    [letter] = state.dead_letters
    assert letter.attempts == 3
    decisions = [record.kind for record in state.history if record.kind in {"retry", "continue", "stop", "skip"}]
    assert decisions == ["retry", "retry", "continue"]


@pytest.mark.parametrize("placement", ["thread", pytest.param("process", marks=pytest.mark.processes)])
def test_what_is_not_retryable_is_given_up_at_once(placement: str) -> None:
    handler = ErrorHandler("retry", retryable_exceptions=(KeyError,), then="continue")
    check_one_dead(run(Worker(raise_plainly), placement, handler), "ValueError")


@pytest.mark.parametrize("placement", ["thread", pytest.param("process", marks=pytest.mark.processes)])
def test_stop_keeps_the_failing_message_and_those_behind_it(placement: str) -> None:
    flow = Flow("stopping")
    flow.add_routine(Worker(raise_plainly), "worker", placement=placement)
    flow.output("worker", "handled")
    job = flow.start(keep_open=True)
    for n in range(BAD + 1):
        job.send("worker", "trigger", n=n)
    state = job.wait(30)
    assert state.status == "failed"
    assert state.error is not None
    assert "'worker'" in state.error
    assert "the message is bad" in state.error
    assert state.routine_states["worker"]["status"] == "failed"
    assert state.routine_states["worker"]["state"] == {"seen": BAD}
    assert state.routine_states["worker"]["stats"]["waiting"] == 1
    assert not state.dead_letters
    assert list(job.results()) == [{"n": n} for n in range(BAD)]


@pytest.mark.parametrize("placement", ["thread", pytest.param("process", marks=pytest.mark.processes)])
def test_skip_gives_up_the_routine_and_nothing_else(placement: str) -> None:
    state = run(Worker(raise_plainly), placement, ErrorHandler("skip"))
    assert state.status == "completed", state.error
    worker = state.routine_states["worker"]
    assert worker["status"] == "skipped"
    assert (worker["handled"], worker["skipped"], len(state.dead_letters)) == (BAD, COUNT - BAD - 1, 1)
    assert worker["state"] == {"seen": BAD}


@pytest.mark.parametrize("strategy", ["continue", "skip", "retry"])
def test_a_critical_routine_stops_the_job_whatever_the_strategy_tolerates(strategy: str) -> None:
    handler = ErrorHandler(strategy, max_retries=1, retry_delay=0.0, is_critical=True, then="continue")
    flow = Flow("critical")
    flow.add_routine(Worker(raise_plainly), "worker", error_handler=handler)
    flow.output("worker", "handled")
    assert flow.execute("worker", {"n": BAD}).status == "failed"


def test_the_routines_own_handler_comes_before_the_flows() -> None:
    flow = Flow("own")
    flow.set_error_handler(ErrorHandler("stop"))
    routine = Worker(raise_plainly)
    routine.set_as_optional()
    flow.add_routine(routine, "worker")
    flow.output("worker", "handled")
    state = flow.execute("worker", {"n": BAD})
    assert (state.status, len(state.dead_letters)) == ("completed", 1)


class Emitter(Routine):
    """Emits a value that cannot travel on one of its messages."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.handle)
        self.define_event("value", ["value"])

    def handle(self, n: int) -> None:
        value: Any = {"items": [1, threading.Lock()]} if n == BAD else n
        self.emit("value", value=value)


class Receiver(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)

    def handle(self, value: Any) -> None:
        self.state["sum"] = self.state.get("sum", 0) + value


@pytest.mark.processes
@pytest.mark.parametrize("placement", ["thread", "process"])
def test_a_payload_that_cannot_travel_fails_at_its_emit_with_its_path(placement: str) -> None:
    flow = Flow("payload")
    flow.add_routine(Emitter(), "emitter", placement=placement, error_handler=ErrorHandler("continue"))
    flow.add_routine(Receiver(), "receiver", placement="process")
    flow.connect("emitter", "value", "receiver", "input")
    with flow.start(keep_open=True) as job:
        for n in range(COUNT):
            job.send("emitter", "trigger", n=n)
    state = job.state
    assert state.status == "completed", state.error
    [letter] = state.dead_letters
    assert letter.routine_id == "emitter"
    assert "items" in letter.cause
    assert state.routine_states["receiver"]["state"] == {"sum": sum(range(COUNT)) - BAD}


class Heavy(Routine):
    """Emits a value that no message can carry on one of its messages."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.handle)
        self.define_event("value", ["value"])

    def handle(self, n: int) -> None:
        self.emit("value", value=bytes(MAX_VALUE_BYTES) if n == BAD else n)


@pytest.mark.processes
@pytest.mark.parametrize("placement", ["thread", "process"])
def test_a_payload_too_large_for_a_message_fails_at_its_emit(placement: str) -> None:
    flow = Flow("heavy")
    flow.add_routine(Heavy(), "heavy", placement=placement, error_handler=ErrorHandler("continue"))
    flow.add_routine(Receiver(), "receiver", placement="process")
    flow.connect("heavy", "value", "receiver", "input")
    with flow.start(keep_open=True) as job:
        for n in range(COUNT):
            job.send("heavy", "trigger", n=n)
    state = job.state
    assert state.status == "completed", state.error
    [letter] = state.dead_letters
    assert (letter.routine_id, letter.data) == ("heavy", {"n": BAD})
    assert "emit('value') cannot be carried: it takes more than the 267," in letter.cause
    assert state.routine_states["receiver"]["state"] == {"sum": sum(range(COUNT)) - BAD}


@pytest.mark.processes
def test_a_payload_too_large_for_a_message_is_refused_at_its_send() -> None:
    flow = Flow("heavy")
    flow.add_routine(Receiver(), "receiver", placement="process")
    with flow.start(keep_open=True) as job:
        job.send("receiver", "input", value=1)
        with pytest.raises(ValueEncodingError, match="data cannot be carried: it takes"):
            job.send("receiver", "input", value=bytes(MAX_VALUE_BYTES))
        job.send("receiver", "input", value=2)
    assert job.state.status == "completed", job.state.error
    assert job.state.routine_states["receiver"]["state"] == {"sum": 3}


class Hoarder(Routine):
    """Emits more in one turn than a frame may hold, though each emission is within its bound."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.handle)
        self.define_event("value", ["value"])

    def handle(self, n: int) -> None:
        value = bytes(MAX_VALUE_BYTES // 2) if n == BAD else b""
        for _ in range(3):
            self.emit("value", value=value)


@pytest.mark.processes
def test_a_turn_whose_emissions_are_too_large_together_fails_by_itself() -> None:
    flow = Flow("hoard")
    flow.add_routine(Hoarder(), "hoarder", placement="process", atomic=True, error_handler=ErrorHandler("continue"))
    flow.output("hoarder", "value")
    with flow.start(keep_open=True) as job:
        for n in range(BAD + 2):
            job.send("hoarder", "trigger", n=n)
    state = job.state
    assert state.status == "completed", state.error
    [letter] = state.dead_letters
    assert letter.data == {"n": BAD}
    assert "over the bound" in letter.cause
    assert len(state.results()) == 3 * (BAD + 1)
    assert state.routine_states["hoarder"]["restarts"] == 0


class Explosive:
    """A payload that travels, and fails where it arrives."""

    def __reduce__(self) -> tuple[Any, ...]:
        return explode, ()


def explode() -> None:
    raise RuntimeError("it does not unpickle")


class Sender(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.handle)
        self.define_event("value", ["value"])

    def handle(self, count: int) -> None:
        for n in range(count):
            self.emit("value", value=Explosive() if n == BAD else n)


@pytest.mark.processes
@pytest.mark.parametrize("placement", ["thread", "process"])
def test_a_payload_that_does_not_unpickle_fails_in_the_turn_that_receives_it(placement: str) -> None:
    flow = Flow("arrival")
    flow.add_routine(Sender(), "sender", placement="process")
    flow.add_routine(Receiver(), "receiver", placement=placement, error_handler=ErrorHandler("continue"))
    flow.connect("sender", "value", "receiver", "input")
    state = flow.execute("sender", {"count": COUNT})
    assert state.status == "completed", state.error
    [letter] = state.dead_letters
    assert letter.routine_id == "receiver"
    assert "does not unpickle" in letter.cause
    assert state.routine_states["receiver"]["state"] == {"sum": sum(range(COUNT)) - BAD}


@pytest.mark.processes
def test_a_worker_that_cannot_boot_stops_the_job_and_says_why() -> None:
    flow = Flow("boot")
    flow.add_routine(Bootless(), "bootless", placement="process", max_restarts=1)
    state = flow.execute("bootless", {})
    assert state.status == "failed"
    assert state.error is not None
    assert "cannot be here" in state.error


class Bootless(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.handle)

    def handle(self) -> None:
        return

    def __reduce__(self) -> tuple[Any, ...]:
        return refuse, ()


def refuse() -> None:
    raise RuntimeError("cannot be here")


class Liar(Routine):
    """Hands every number on; its process says nonsense of one of them, at each of the first tries.

    Args:
        nonsense: does so in place of a report.
        tries: how often.
    """

    def __init__(self, nonsense: Callable[[], None], tries: int = 1_000) -> None:
        super().__init__()
        self.nonsense = nonsense
        self.tries = tries
        self.define_slot("input", handler=self.handle)
        self.define_event("number", ["n"])

    def handle(self, n: int) -> None:
        self.emit("number", n=n)
        if n == BAD and self.attempt <= self.tries:
            self.nonsense()


def tell_result(result: bytes) -> None:
    codec.WireCodec.result = lambda *_: result  # type: ignore[method-assign, assignment, return-value]


def tell_nothing_readable() -> None:
    tell_result(b"nonsense")


def tell_of_no_such_event() -> None:
    tell_result(msgspec.msgpack.encode(TurnResult([Emission(1, None, b"")], [])))


def tell_of_no_data() -> None:
    tell_result(msgspec.msgpack.encode(TurnResult([Emission(0, None, None)], [])))


def tell_no_readable_failure() -> None:
    codec.WireCodec.failure = lambda *_args, **_kwargs: b"nonsense"  # type: ignore[method-assign]
    raise ValueError


def write_into_the_channel() -> None:
    own_channel().send(b"this is not a frame")


NONSENSE = [
    tell_nothing_readable,
    tell_of_no_such_event,
    tell_of_no_data,
    tell_no_readable_failure,
    write_into_the_channel,
]


def run_liar(liar: Liar, handler: ErrorHandler, **options: Any) -> JobState:
    flow = Flow("nonsense")
    flow.add_routine(liar, "liar", placement="process", error_handler=handler, **options)
    flow.output("liar", "number")
    with flow.start(keep_open=True) as job:
        for n in range(COUNT):
            job.send("liar", "input", n=n)
    return job.state


@pytest.mark.processes
@pytest.mark.parametrize("nonsense", NONSENSE)
def test_nonsense_of_a_process_costs_the_message_it_was_about_alone(nonsense: Callable[[], None]) -> None:
    state = run_liar(Liar(nonsense), ErrorHandler("continue"))
    assert state.status == "completed", state.error
    assert [item["n"] for item in state.results()] == [n for n in range(COUNT) if n != BAD]
    [letter] = state.dead_letters
    assert (letter.data, letter.attempts) == ({"n": BAD}, 1)
    assert letter.cause.startswith("broke the channel's protocol: ")
    assert state.routine_states["liar"]["failed"] == 1


@pytest.mark.processes
@pytest.mark.parametrize("nonsense", NONSENSE)
def test_a_message_of_which_its_process_said_nonsense_is_tried_again_as_after_a_death(
    nonsense: Callable[[], None],
) -> None:
    state = run_liar(Liar(nonsense, tries=2), ErrorHandler("retry", retry_delay=0.0, max_crashes=2))
    assert state.status == "completed", state.error
    assert [item["n"] for item in state.results()] == list(range(COUNT))
    assert state.routine_states["liar"]["retries"] == 2


@pytest.mark.processes
def test_the_culprit_is_found_in_a_pool_too() -> None:
    state = run_liar(Liar(write_into_the_channel), ErrorHandler("continue"), workers=2)
    assert state.status == "completed", state.error
    assert sorted(item["n"] for item in state.results()) == [n for n in range(COUNT) if n != BAD]
    assert [letter.data for letter in state.dead_letters] == [{"n": BAD}]


@pytest.mark.processes
def test_nonsense_stops_the_job_where_that_is_what_failures_do() -> None:
    state = run_liar_to_the_end(ErrorHandler("stop"))
    assert state.status == "failed"
    assert "are not a result" in (state.error or "")
    assert not state.dead_letters


@pytest.mark.processes
def test_a_process_that_says_nonsense_each_time_is_a_crash_loop_where_its_message_is_tried_again() -> None:
    handler = ErrorHandler("retry", max_retries=100, retry_delay=0.0)
    state = run_liar_to_the_end(handler, max_restarts=0)
    assert state.status == "failed"
    assert "are not a result" in (state.error or "")
    assert "fruitless restarts" in (state.error or "")


def run_liar_to_the_end(handler: ErrorHandler, **options: Any) -> JobState:
    flow = Flow("nonsense")
    flow.add_routine(Liar(tell_nothing_readable), "liar", placement="process", error_handler=handler, **options)
    job = flow.start(keep_open=True)
    job.send("liar", "input", n=BAD)
    return job.wait()


STARVED = """
import os, resource
from routilux import Flow
from tests.runtime.test_failures import Emitter

def run():
    flow = Flow("starved")
    flow.add_routine(Emitter(), "emitter", placement="process")
    return flow.execute("emitter", {"n": 1})

def count():
    return len(os.listdir("/proc/self/fd"))

assert run().status == "completed"
before = count()
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
for limit in (4, 5, 6, 9, 14):
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    state = run()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert state.status == "failed", state
    assert "could not start: OSError: [Errno 24] Too many open files" in state.error, state.error
    assert count() == before, (limit, os.listdir("/proc/self/fd"))
assert run().status == "completed"
"""


@pytest.mark.processes
def test_a_job_for_which_no_descriptors_are_left_fails_by_that_name_and_the_next_one_runs() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", STARVED],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr


class Stuck(Routine):
    """Is left behind in the middle of a turn, and counts what it does when it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.is_stuck, self.go_on = threading.Event(), threading.Event()
        self.done = 0
        self.define_slot("short", handler=self.handle)
        self.define_slot("steps", handler=self.step)
        self.define_slot("stream", handler=self.stream)
        self.define_event("number", ["n"])

    def handle(self, n: int) -> None:
        if n == BAD:
            self._hang()
        self.done += 1

    def step(self, n: int) -> Any:
        for _ in range(COUNT):
            self.handle(BAD if n == 0 else n)
            yield

    def stream(self, n: int) -> None:
        self._hang()
        for _ in range(3 * COUNT_BOUND):
            self.emit("number", n=n)
            self.done += 1

    def _hang(self) -> None:
        self.is_stuck.set()
        self.go_on.wait()


@pytest.mark.parametrize(("slot", "more"), [("short", 1), ("steps", 1), ("stream", COUNT_BOUND - 1)])
def test_a_thread_that_was_left_behind_does_nothing_after_the_turn_it_hung_in(slot: str, more: int) -> None:
    routine = Stuck()
    flow = Flow("stuck")
    flow.add_routine(routine, "stuck")
    job = flow.start(keep_open=True, shutdown=0.0)
    for n in range(COUNT):
        job.send("stuck", slot, n=n)
    routine.is_stuck.wait()
    [thread] = [thread for thread in threading.enumerate() if thread.name.endswith("/stuck")]
    job.cancel()
    state = job.wait()
    before = routine.done
    routine.go_on.set()
    thread.join()
    # A release is due after so many emissions, or sooner on a busy machine: 50 ms after the first.
    assert 1 <= routine.done - before <= more
    assert (state.status, state.routine_states["stuck"]["handled"]) == ("cancelled", before)
