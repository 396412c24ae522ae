"""A flow that goes wrong in many ways, and what its user reads: each line says what, where, and what becomes of it."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from routilux.cli.main import main

FLOW = """
    import ctypes, json, os, signal, sys, threading, time
    from routilux import ErrorHandler, Flow, Routine, routine

    class Odd(Exception):
        def __init__(self, one, other):
            super().__init__(f"{one} and {other}")
            self.lock = threading.Lock()

    class Bound:
        def __reduce__(self):
            raise TypeError("I stay here")

    class Silent(Exception):
        def __str__(self):
            raise RuntimeError

    class Work(Routine):
        def __init__(self):
            super().__init__()
            self.define_slot("way", self.go)
            self.define_event("done", ["value"])

        def go(self, way):
            getattr(self, way)()

        def raises(self):
            raise ValueError("bad row 17\\x1b[2J")

        def odd(self):
            raise Odd(1, 2)

        def silent(self):
            raise Silent

        def library(self):
            json.loads("{")

        def leaves(self):
            sys.exit(3)

        def unknown_event(self):
            self.emit("dnoe", value=1)

        def lock(self):
            self.emit("done", value=[1, {"lock": threading.Lock()}])

        def bound(self):
            self.emit("done", value=Bound())

        def state_lock(self):
            self.state["lock"] = threading.Lock()

        def memory(self):
            bytearray(2**40)

        def segfault(self):
            print("about to read", file=sys.stderr, flush=True)
            ctypes.string_at(0)

        def exits(self):
            print("bye", file=sys.stderr, flush=True)
            os._exit(3)

        def killed(self):
            os.kill(os.getpid(), signal.SIGKILL)

        def hangs(self):
            threading.Event().wait(600)

    WAYS = [name for name in vars(Work) if name[0] != "_" and name != "go"]

    @routine(events={"way": ["way"]})
    def tell():
        for way in WAYS:
            yield way

    flow = Flow("ways")
    flow.add_routine(tell, "tell")
    flow.add_routine(
        Work(), "work", placement="process", timeout=2.0, memory_limit=2**30, max_restarts=100,
        error_handler=ErrorHandler("continue"),
    )
    flow.connect("tell", "way", "work", "way")

    @routine
    def take(value): ...

    flow.add_routine(take, "take", placement="process")
    flow.connect("work", "done", "take", "input")
"""

LOST = "; given up (dead letter); its worker is replaced now"
GIVEN_UP = "; given up (dead letter)"
TOLD = {
    "raises": r"raised ValueError: bad row 17\x1b[2J (at ways.py:N in raises)" + GIVEN_UP,
    "odd": "raised ways.Odd: 1 and 2 (at ways.py:N in odd)" + GIVEN_UP,
    "silent": "raised ways.Silent: <its __str__ raised RuntimeError> (at ways.py:N in silent)" + GIVEN_UP,
    "library": "raised json.decoder.JSONDecodeError: Expecting property name enclosed in double quotes: line 1 column "
    "2 (char 1) (at ways.py:N in library)" + GIVEN_UP,
    "leaves": "raised SystemExit: 3 (at ways.py:N in leaves)" + GIVEN_UP,
    "unknown_event": "raised routilux.errors.UnknownEventError: routine 'work' has no event 'dnoe'; its events are "
    "'done'; did you mean 'done'? (at ways.py:N in unknown_event)" + GIVEN_UP,
    "lock": "raised supervisors.errors.ValueEncodingError: emit('done')['value'][1]['lock'] cannot be carried: a "
    "_thread.lock (TypeError: cannot pickle '_thread.lock' object) (at ways.py:N in lock)" + GIVEN_UP,
    "bound": "raised supervisors.errors.ValueEncodingError: emit('done')['value'] cannot be carried: a ways.Bound "
    "(TypeError: I stay here) (at ways.py:N in bound)" + GIVEN_UP,
    "state_lock": "raised supervisors.errors.ValueEncodingError: state['lock'] cannot be carried: a _thread.lock "
    "(TypeError: cannot pickle '_thread.lock' object)" + GIVEN_UP,
    "memory": "raised MemoryError (at ways.py:N in memory; its memory_limit is 1,024 MiB)" + GIVEN_UP,
    "segfault": "process N was ended by SIGSEGV (at ways.py:N in segfault; peak N MiB of 1,024 MiB allowed; last wrote "
    "'about to read')" + LOST,
    "exits": "process N exited with code 3 without finishing its work (peak N MiB of 1,024 MiB allowed; last wrote "
    "'bye')" + LOST,
    "killed": "process N was ended by SIGKILL (peak N MiB of 1,024 MiB allowed)" + LOST,
    "hangs": "took longer than 2 s and was ended (at ways.py:N in hangs)" + LOST,
}


@pytest.fixture(autouse=True)
def ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "ways.py").write_text(textwrap.dedent(FLOW))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    yield
    sys.modules.pop("ways", None)


@pytest.mark.processes
def test_each_way_to_go_wrong_is_told_with_its_place_and_what_follows(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "ways.py:flow", "--plain"]) == 0
    lines = [record.getMessage() for record in caplog.records if record.name == "routilux"]
    said = [line.partition(", try 1 of 1: ")[2] for line in lines if line.startswith("routine 'work': message ")]
    numbered = [re.sub(r"(?<=process )\d+|(?<=ways\.py:)\d+|(?<=peak )\d+", "N", line) for line in said]
    # Of workers that die one after the other without work done, each waits a little longer.
    assert [re.sub(r"is replaced in 0\.\d+ s$", "is replaced now", line) for line in numbered] == list(TOLD.values())
    err = capsys.readouterr().err
    assert f"given up: {len(TOLD)}\n" in err
    assert "  1 x work: process was ended by SIGSEGV\n" in err
    assert "\x1b" not in err
