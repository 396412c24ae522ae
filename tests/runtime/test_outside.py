"""Threads of the job's owner: readers, senders and bodies of `with` wait each for itself."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any

import pytest

from routilux import ErrorHandler, Flow, JobStatus, Routine
from routilux.errors import JobTimeoutError, OptionError
from routilux.facts import FACTS_BATCH


class Uneven(Routine):
    """Emits many `b`, then one `a`."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.run)
        self.define_event("a", ["n"])
        self.define_event("b", ["n"])

    def run(self, count: int) -> None:
        for n in range(count):
            self.emit("b", n=n)
        self.emit("a", n=count)


def uneven() -> Flow:
    flow = Flow("uneven")
    flow.add_routine(Uneven(), "s")
    flow.output("s", "a", capacity=5)
    flow.output("s", "b", capacity=5)
    return flow


def test_a_reader_that_waits_does_not_hold_up_another() -> None:
    job = uneven().start("s", {"count": 3_000})
    got: dict[str, list[Any]] = {"a": [], "b": []}
    readers = [threading.Thread(target=lambda e=event: got[e].extend(job.results("s", e))) for event in got]
    for reader in readers:
        reader.start()
    assert job.wait(30).status == "completed"
    for reader in readers:
        reader.join()
    assert (len(got["a"]), [item["n"] for item in got["b"]]) == (1, list(range(3_000)))


def test_the_end_of_a_with_collects_what_nobody_has_read() -> None:
    with uneven().start("s", {"count": 100}) as job:
        assert next(job.results("s", "b")) == {"n": 0}
    assert job.state.status == "completed"
    assert [item["n"] for item in job.state.results("s", "b")] == list(range(1, 100))


def test_a_job_that_is_over_and_held_by_nobody_goes_at_once() -> None:
    job = uneven().start("s", {"count": 10})
    job.collect()
    job.wait(30)
    held = weakref.ref(job)
    del job
    assert held() is None


class Held(Routine):
    """Handles nothing before it is let go."""

    def __init__(self, gate: threading.Event) -> None:
        super().__init__()
        self.gate = gate
        self.define_slot("input", handler=self.handle)

    def handle(self, n: int) -> None:
        assert self.gate.wait(30)


def test_a_send_without_room_gives_up_in_its_time_whoever_else_waits() -> None:
    gate = threading.Event()
    flow = Flow("held")
    for routine_id in ("x", "y"):
        flow.add_routine(Held(gate), routine_id, capacity=1)
    with flow.start(keep_open=True) as job:
        refused: list[str] = []

        def fill(routine_id: str) -> None:
            try:
                for n in range(10):
                    job.send(routine_id, "input", timeout=0.05, n=n)
            except JobTimeoutError:
                refused.append(routine_id)

        senders = [threading.Thread(target=fill, args=(routine_id,)) for routine_id in ("x", "y")]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join(10)
        assert sorted(refused) == ["x", "y"]
        gate.set()


class TwoEnds(Routine):
    """Fails for good on one message, and later, retryably, on another."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)

    def handle(self, n: int) -> None:
        if n == 0:
            raise ValueError("for good")
        threading.Event().wait(0.4)
        raise KeyError("later")


@pytest.mark.processes
def test_a_retry_of_a_routine_that_was_skipped_meanwhile_is_skipped_too() -> None:
    handler = ErrorHandler("retry", retry_delay=0.01, retryable_exceptions=(KeyError,), then="skip")
    flow = Flow("skipped")
    flow.add_routine(TwoEnds(), "x", placement="process", workers=2, error_handler=handler)
    with flow.start(keep_open=True) as job:
        job.send("x", "input", n=1)
        job.send("x", "input", n=0)
        job.close_entry()
        state = job.wait(30)
    told = state.routine_states["x"]
    assert (state.status, told["status"]) == (JobStatus.COMPLETED, "skipped")
    assert (told["skipped"], len(state.dead_letters)) == (1, 1)


def test_facts_are_fetched_in_batches_also_when_all_messages_fail() -> None:
    flow = Flow("failing")
    flow.add_routine(Failing(), "x", error_handler=ErrorHandler("continue"))
    most = 0
    with flow.start(keep_open=True) as job:
        for n in range(3_000):
            job.send("x", "input", n=n)
            most = max(most, len(job.ledger._facts))
    assert job.state.routine_states["x"]["failed"] == 3_000
    assert most < 6 * FACTS_BATCH  # of the 6,000 there are: the state actor may lag a little


class Failing(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)

    def handle(self, n: int) -> None:
        raise ValueError(n)


class Bound:
    """Can be decoded in the process that made it alone."""

    def __reduce__(self) -> Any:
        return load, (os.getpid(),)


def load(pid: int) -> Bound:
    if pid != os.getpid():
        raise LookupError("only there")
    return Bound()


class Binder(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.run)
        self.define_event("bound", ["value"])

    def run(self) -> None:
        for value in (1, Bound(), 2):
            self.emit("bound", value=value)


@pytest.mark.processes
@pytest.mark.parametrize("placement", ["thread", "process"])
@pytest.mark.parametrize("data", [{1: 2}, {"n": 1, None: 2}, [("n", 1)], None, "n"], ids=repr)
def test_a_message_that_is_no_dict_by_names_is_refused_at_its_sender(data: Any, placement: str) -> None:
    flow = Flow("named")
    flow.add_routine(Binder(), "binder", placement=placement)
    with pytest.raises(OptionError, match="expected a dict of parameters by their names"):
        flow.start("binder", data or {0: 1})
    with flow.start(keep_open=True) as job, pytest.raises(OptionError, match="message to 'binder'"):
        job.put("binder", "trigger", data)
