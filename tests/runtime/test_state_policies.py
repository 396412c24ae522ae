"""State policies and the codec of a job, through whole jobs on real threads and processes."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any, ClassVar

import pytest

from routilux import ErrorHandler, Flow, Job, Routine
from routilux.jobs.errors import CheckpointFailedError
from routilux.keeping.finding import latest
from routilux.stores.memory import MemoryStore
from routilux.turn.state import InPlace
from supervisors.errors import ValueEncodingError
from tests.runtime.kept import wait_until

PLACEMENTS = ["thread", pytest.param("process", marks=pytest.mark.processes)]
RETRY = ErrorHandler("retry", max_retries=3, retry_delay=0.01)


class Summing(Routine):
    """Adds numbers up; at one of them it fails, or dies where it may, before its turn commits."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file
        self.state = {"sum": 0}
        self.define_slot("trigger", self.handle)
        self.define_event("sum", ["sum"])

    def handle(self, n: int) -> None:
        if self.state_policy == "value":
            self.state = {"sum": self.state["sum"] + n}
        else:
            self.state["sum"] += n
        self.emit("sum", sum=self.state["sum"])
        if n == 2 and not self.file.exists():
            self.file.touch()
            if self.file.name == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise ValueError(n)


class Encoded(Summing):
    state_policy: ClassVar[str] = "encoded"


class Value(Summing):
    state_policy: ClassVar[str] = "value"


class InPlaceSumming(Summing):
    state_policy: ClassVar[str] = "in_place"


class External(Summing):
    state_policy: ClassVar[str] = "external"


def start(flow: Flow, **options: Any) -> Job:
    return flow.start(keep_open=True, **options)


@pytest.mark.parametrize(
    ("kind", "placement", "end"),
    [
        (Encoded, "thread", "raise"),
        (Value, "thread", "raise"),
        (InPlaceSumming, "thread", "raise"),
        (External, "thread", "raise"),
        *(
            pytest.param(kind, "process", end, marks=pytest.mark.processes)
            for kind in (Encoded, Value, External)
            for end in ("raise", "kill")
        ),
    ],
)
@pytest.mark.parametrize("store", [None, MemoryStore()], ids=["pickled", "kept"])
def test_a_state_goes_through_failures_and_deaths_as_its_policy_says(
    kind: type[Summing], placement: str, end: str, store: Any, tmp_path: Path
) -> None:
    flow = Flow("summing")
    routine = kind(tmp_path / end)
    flow.add_routine(routine, "r", placement=placement, error_handler=RETRY)
    flow.output("r", "sum")
    with start(flow, store=store) as job:
        for n in range(4):
            job.send("r", "trigger", n=n)
        job.close_entry()
        sums = [item["sum"] for item in job.results()]
    more = 2 if kind is InPlaceSumming else 0
    assert sums == [0, 1, 3 + more, 6 + more]
    assert job.state.routine_states["r"]["state"] == {"sum": 6 + more}
    assert routine.state == {"sum": 0}, "another job begins anew"


def test_a_state_in_place_is_not_handed_out_while_the_job_runs(tmp_path: Path) -> None:
    flow = Flow("summing")
    flow.add_routine(InPlaceSumming(tmp_path / "raise"), "r")
    with start(flow) as job:
        assert isinstance(job.state.routine_states["r"]["state"], InPlace)
    assert job.state.routine_states["r"]["state"] == {"sum": 0}


class Waiting(Routine):
    """Changes its state in place, and waits in the middle."""

    state_policy: ClassVar[str] = "in_place"

    def __init__(self, goes_on: threading.Event) -> None:
        super().__init__()
        self.goes_on = goes_on
        self.state = {"begun": 0}
        self.define_slot("trigger", self.handle)

    def handle(self) -> None:
        self.state["begun"] += 1
        self.goes_on.wait()


def test_a_first_turn_that_changes_its_state_in_place_does_not_hold_up_the_start_of_its_job() -> None:
    store, goes_on = MemoryStore(), threading.Event()
    flow = Flow("waiting")
    flow.add_routine(Waiting(goes_on), "r")
    job = flow.start("r", store=store, job_id="j")
    image = latest(store, "j").image
    assert (image.header.cause, len(image.routines[0].waiting)) == ("start", 1)
    goes_on.set()
    assert job.wait().status == "completed"


def test_half_a_turn_of_a_state_in_place_is_never_kept() -> None:
    store, goes_on = MemoryStore(), threading.Event()
    flow = Flow("waiting")
    flow.add_routine(Waiting(goes_on), "r")
    job = flow.start("r", store=store, job_id="j")
    wait_until(lambda: job.ledger.accounts[0].in_hand)
    with pytest.raises(CheckpointFailedError, match="'r' was left behind in a handler that changes its state in place"):
        job.leave(shutdown=0.0)
    goes_on.set()
    state = Flow.resume(store, "j", flow=flow).wait()
    assert state.routine_states["r"]["state"] == {"begun": 1}


class Relay(Routine):
    """Hands on what came, or something that no checkpoint could carry."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", self.handle)
        self.define_slot("again", self.handle)
        self.define_event("out", ["value"])

    def handle(self, value: Any) -> None:
        self.emit("out", value=object() if value == "bad" else value)


@pytest.mark.parametrize("first", PLACEMENTS)
@pytest.mark.parametrize("second", PLACEMENTS)
def test_all_values_of_a_job_are_in_its_codec(first: str, second: str) -> None:
    flow = Flow("relay")
    flow.add_routine(Relay(), "a", placement=first, error_handler=ErrorHandler("continue"))
    flow.add_routine(Relay(), "b", placement=second)
    flow.connect("a", "out", "b", "again")
    flow.output("b", "out")
    with start(flow, store=MemoryStore()) as job:
        seen = job.stream("a", "out")
        with pytest.raises(ValueEncodingError, match=r"^data\['value'\]\[0\] cannot be carried"):
            job.send("a", "trigger", value=[object()])
        for value in ([1, {"x": 2}], "bad", 3):
            job.send("a", "trigger", value=value)
        job.close_entry()
        assert list(job.results()) == [{"value": [1, {"x": 2}]}, {"value": 3}]
        assert list(seen) == [{"value": [1, {"x": 2}]}, {"value": 3}]
    (letter,) = job.dead_letters
    assert letter.data == {"value": "bad"}
    assert "emit('out')['value'] cannot be carried: a object, which" in letter.cause


def test_values_by_reference_are_looked_at_by_a_codec_that_checks_alone() -> None:
    flow = Flow("relay")
    flow.add_routine(Relay(), "a")
    flow.output("a", "out")
    lock = threading.Lock()
    with start(flow) as job:
        job.send("a", "trigger", value=lock)
        job.close_entry()
        assert list(job.results()) == [{"value": lock}]
