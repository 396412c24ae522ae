"""State policies of jobs that are kept: cut while they run, and gone on with as if nothing had been."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from routilux import ErrorHandler, Flow, Job, Routine
from routilux.jobs import checkpoints
from routilux.jobs.errors import CheckpointFailedError
from routilux.keeping.finding import latest
from routilux.stores.base import Owner
from routilux.stores.errors import JobOwnedError
from routilux.stores.files import FileStore
from routilux.stores.memory import MemoryStore
from routilux.turn.codec import decode_boot
from routilux.turn.state import OBJECT_KEY
from tests.runtime.kept import finish, wait_until

PROCESS = pytest.mark.processes
SIZE = 2_000


class Summing(Routine):
    """Adds up what comes, as its policy wants it."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.add)
        self.define_event("sum", ["sum"])

    def add(self, n: int) -> None:
        before = 0 if self.state_policy == "none" else self.state.get("sum", 0)
        if self.state_policy == "value":
            self.state = {"sum": before + n}
        elif self.state_policy != "none":
            self.state["sum"] = before + n
        self.emit("sum", sum=before + n)


class Value(Summing):
    state_policy: ClassVar[str] = "value"

    def __init__(self) -> None:
        super().__init__()
        self.state = {"sum": 0}


class InPlaceSumming(Summing):
    state_policy: ClassVar[str] = "in_place"

    def __init__(self) -> None:
        super().__init__()
        self.state = {"sum": 0}


class External(Summing):
    state_policy: ClassVar[str] = "external"


class Free(Summing):
    state_policy: ClassVar[str] = "none"


def summing(kind: type[Summing], placement: str) -> Flow:
    flow = Flow("summing")
    flow.add_routine(kind(), "r", placement=placement)
    flow.output("r", "sum")
    return flow


def send(job: Job, *numbers: int) -> None:
    for n in numbers:
        job.send("r", "trigger", n=n)
    wait_until(lambda: not job.ledger.outstanding)


@pytest.mark.parametrize(
    ("kind", "placement"),
    [
        *((kind, "thread") for kind in (Summing, Value, InPlaceSumming, External, Free)),
        *(pytest.param(kind, "process", marks=PROCESS) for kind in (Summing, Value)),
        *(pytest.param(kind, "process", marks=[PROCESS, pytest.mark.stress]) for kind in (External, Free)),
    ],
)
def test_a_job_goes_on_from_a_checkpoint_of_while_it_ran_as_if_nothing_had_been(
    kind: type[Summing], placement: str
) -> None:
    store, flow = MemoryStore(), summing(kind, placement)
    job = flow.start(keep_open=True, store=store, job_id="j")
    send(job, 1, 2)
    job.checkpoint()
    Flow.fork(store, "j", "again")  # as it is after a kill: what follows was not kept
    send(job, 3, 4)
    job.close_entry()
    expected = finish(job)
    again = Flow.resume(store, "again", flow=flow)
    send(again, 3, 4)
    again.close_entry()
    state = finish(again)
    assert state.results() == expected.results()
    assert state.routine_states["r"]["state"] == expected.routine_states["r"]["state"]
    assert state.connections == expected.connections


class Large(Routine):
    """Changes a large dict and an array in place; whoever looks in the middle of a turn sees them differ."""

    state_policy: ClassVar[str] = "in_place"

    def __init__(self) -> None:
        super().__init__()
        self.state = {"table": dict.fromkeys(map(str, range(SIZE)), 0), "array": np.zeros(SIZE, np.int64), "turns": 0}
        self.define_slot("trigger", handler=self.change)
        self.define_event("again", ["n"])

    def change(self, n: int) -> None:
        for key in self.state["table"]:
            self.state["table"][key] += 1
        self.state["array"] += 1
        self.state["turns"] += 1
        if n:
            self.emit("again", n=n - 1)


def test_a_state_in_place_is_cut_at_a_boundary_however_large_it_is() -> None:
    store = MemoryStore()
    flow = Flow("large")
    flow.add_routine(Large(), "r")
    flow.connect("r", "again", "r", "trigger")
    job = flow.start("r", {"n": 60}, store=store, job_id="j", keep_checkpoints=99)
    codec = job.ledger.codec
    turns = []
    while not job.is_over and len(turns) < 5:
        try:
            job.checkpoint()
        except RuntimeError:
            break  # it has come to its end
        image = latest(store, "j").image
        (body,) = (state.body for state in image.states)
        cut = codec.decode(decode_boot(body)[OBJECT_KEY])
        turns.append(cut["turns"])
        assert set(cut["table"].values()) == {cut["turns"]}
        assert (cut["array"] == cut["turns"]).all()
        assert image.routines[0].figures["handled"] == cut["turns"]
    Flow.fork(store, "j", "again")
    assert finish(job).routine_states["r"]["state"]["turns"] == 61
    state = finish(Flow.resume(store, "again", flow=flow)).routine_states["r"]["state"]
    assert state["turns"] == 61
    assert set(state["table"].values()) == {61}
    assert turns == sorted(turns)


class Stuck(Large):
    def __init__(self, gate: threading.Event) -> None:
        super().__init__()
        self.gate = gate

    def change(self, n: int) -> None:
        self.gate.wait(60)


def test_a_handler_that_does_not_end_fails_a_checkpoint_by_name_and_the_job_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checkpoints, "BOUNDARY_SECONDS", 0.2)
    gate = threading.Event()
    flow = Flow("stuck")
    flow.add_routine(Stuck(gate), "stuck")
    flow.add_routine(Summing(), "r")
    job = flow.start(keep_open=True, store=MemoryStore(), job_id="j")
    job.send("stuck", "trigger", n=1)
    wait_until(lambda: job.ledger.accounts[0].in_hand)
    with pytest.raises(CheckpointFailedError, match=r"routine 'stuck' did not come to the end of a turn within 0\.2 s"):
        job.checkpoint()
    job.send("r", "trigger", n=1)
    wait_until(lambda: job.state.routine_states["r"]["handled"] == 1)
    gate.set()
    wait_until(lambda: not job.ledger.outstanding)
    job.checkpoint()
    job.close_entry()
    assert finish(job).status == "completed"


# ---- another program


_PROGRAM = """
import os, signal, sys
from routilux import Flow
from tests.runtime.test_kept_states import Summing, send, summing

job = summing(Summing, sys.argv[2]).start(keep_open=True, store=sys.argv[1], job_id="j")
send(job, 1, 2)
job.checkpoint()
send(job, 100)
print("ready", flush=True)
sys.stdin.read()
"""


@PROCESS
@pytest.mark.parametrize("placement", ["thread", "process"])
def test_a_job_of_another_program_is_taken_over_once_that_is_killed(tmp_path: Path, placement: str) -> None:
    store = FileStore(tmp_path)
    command = [sys.executable, "-c", _PROGRAM, str(tmp_path), placement]
    flow = summing(Summing, placement)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        with pytest.raises(JobOwnedError, match=f"job 'j' is run by process {program.pid} on ") as caught:
            Flow.resume(store, "j", flow=flow)
        assert isinstance(caught.value.owner, Owner)
        program.kill()
    job = Flow.resume(store, "j", flow=flow)  # waits for its workers, which see that it is gone
    assert job.state.routine_states["r"]["state"] == {"sum": 3}, "what came after the checkpoint was not kept"
    send(job, 3)
    job.close_entry()
    assert [item["sum"] for item in finish(job).results()] == [1, 3, 6]


def test_a_turn_that_streams_is_gone_on_with_behind_what_it_has_released() -> None:
    class Streaming(Routine):
        fails: ClassVar[bool] = True

        def __init__(self) -> None:
            super().__init__()
            self.define_slot("trigger", handler=self.stream)
            self.define_event("n", ["n"])

        def stream(self) -> None:
            for n in range(5_000):
                self.emit("n", n=n)
            if self.fails:
                raise ValueError("in the end")

    def flow(routine: Routine) -> Flow:
        made = Flow("streaming")
        made.add_routine(routine, "r", error_handler=ErrorHandler("stop"))
        made.output("r", "n")
        return made

    store: Any = MemoryStore()
    assert flow(Streaming()).start("r", store=store, job_id="j").wait(60).status == "failed"
    (message,) = latest(store, "j").image.routines[0].waiting
    assert message.released > 0
    Streaming.fails = False
    state = finish(Flow.resume(store, "j", flow=flow(Streaming())))
    assert [item["n"] for item in state.results()] == list(range(5_000))
