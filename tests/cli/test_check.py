"""`routilux check`: what is wrong is named before anything runs, also what only a worker finds out."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from routilux.cli.main import main

FLOWS = """
import os
import threading
from routilux import Flow, Routine, routine

class Client:
    def __init__(self):
        self._lock = threading.Lock()

class Bound:
    def __reduce__(self):
        return load, (os.getpid(),)

def load(pid):
    if pid != os.getpid():
        raise LookupError("only in its own process")
    return Bound()

class Killing:
    def __reduce__(self):
        return end, (os.getpid(),)

def end(pid):
    if pid != os.getpid():
        os._exit(7)
    return Killing()

class Holder(Routine):
    def __init__(self, held=None):
        super().__init__()
        self.client = held
        self.define_slot("trigger", handler=self.run)
        self.define_event("out", ["n"])

    def run(self, n=1):
        raise SystemExit("a handler was run")

def single(held, **options):
    flow = Flow("single")
    flow.add_routine(Holder(held), "parse", placement="process", **options)
    flow.output("parse", "out")
    return flow

class Within:
    def __init__(self, parts):
        self.parts = parts

locked = single(Client())
bound = single(Within({"a": 1, "b": Bound()}), workers=3)
killing = single(Killing())
preloading = single(None, preload=["no_such_module"])

class Stateful(Holder):
    def __init__(self):
        super().__init__()
        self.state["lock"] = threading.Lock()

stateful = Flow("stateful")
stateful.add_routine(Stateful(), "parse", placement="process")
stateful.output("parse", "out")

print("imported")
fine = Flow("fine")
fine.add_routine(Holder(), "read")
fine.add_routine(Holder(), "parse", placement="process", workers=2)
fine.connect("read", "out", "parse", "trigger")
fine.output("parse", "out")

odd = Flow("odd")
odd.add_routine(Holder(), "read")
empty = Flow("empty")
"""


@pytest.fixture(autouse=True)
def flows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "cflows.py").write_text(FLOWS)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    yield
    sys.modules.pop("cflows", None)


def told(capsys: pytest.CaptureFixture[str], flow: str, *words: str) -> tuple[int, str, str]:
    status = main(["check", f"cflows:{flow}", *words])
    captured = capsys.readouterr()
    return status, captured.out.removeprefix("imported\n"), captured.err


def test_what_cannot_be_carried_is_named_with_its_path(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = told(capsys, "locked")
    assert status == 1
    assert out.startswith("error: routine 'parse': cannot travel to its worker: parse.client._lock: a _thread.lock (")
    assert "make that part inside the handler, or use placement='thread'" in out
    assert err == "no worker was started to try the rest, as these are errors anyway\n"


@pytest.mark.processes
def test_what_cannot_be_made_again_in_a_worker_is_named_with_its_path(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = told(capsys, "bound")
    assert status == 1
    assert out.startswith(
        "error: routine 'parse': is carried to its process, but cannot be made again there: parse.client.parts['b']: "
        "LookupError: only in its own process; "
    )


@pytest.mark.processes
def test_what_ends_a_worker_as_it_starts_is_told_with_how_it_ended(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = told(capsys, "killing")
    assert status == 1
    assert out.startswith("error: routine 'parse': its worker did not start: process ")
    assert "exited with code 7" in out


@pytest.mark.processes
def test_a_module_that_workers_cannot_preload_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = told(capsys, "preloading")
    assert status == 1
    assert out.startswith(
        "error: routine 'parse': its workers cannot start: preload: module 'no_such_module' could not"
    )


def test_a_state_that_cannot_be_carried_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = told(capsys, "stateful")
    assert status == 1
    assert "cannot travel to its worker: parse.state['lock']: a _thread.lock" in out


@pytest.mark.processes
def test_a_flow_that_is_all_right_is_told_and_no_handler_was_run(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = told(capsys, "fine")
    assert (status, err) == (0, "parse| imported\n")  # what a worker prints as it imports the module
    assert out == (
        "fine: no problems; a worker of each process routine was started\n"
        "2 routines:\n"
        "  read   on a thread     gets the first message\n"
        "  parse  in 2 processes\n"
        "1 connection:\n"
        "  read.out -> parse.trigger\n"
        "1 output:\n"
        "  parse.out\n"
    )


def test_warnings_come_first_and_keep_no_flow_from_running(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = told(capsys, "odd")
    assert status == 0
    first, second, *_ = out.splitlines()
    assert first.startswith("warning: routine 'read': event 'out' goes nowhere")
    assert second == "odd: it can run, with 1 warning"


def test_a_flow_without_routines_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, "empty")[:2] == (1, "error: flow 'empty': has no routines; add some with add_routine\n")


@pytest.mark.processes
@pytest.mark.parametrize(("flow", "status", "problems"), [("fine", 0, 0), ("locked", 1, 1)])
def test_the_same_is_had_as_json(capsys: pytest.CaptureFixture[str], flow: str, status: int, problems: int) -> None:
    ended, out, _ = told(capsys, flow, "--json")
    found = json.loads(out)
    assert (ended, found["flow_id"] in {"fine", "single"}, len(found["problems"])) == (status, True, problems)
    if flow == "fine":
        assert found["routines"][1] == {"id": "parse", "placement": "process", "workers": 2}
        assert (found["entries"], found["connections"], found["outputs"]) == (
            ["read"],
            ["read.out -> parse.trigger"],
            ["parse.out"],
        )
    else:
        assert found["problems"][0]["where"] == "routine 'parse'"
