from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from routilux import Flow, Routine
from routilux.cli.main import main
from routilux.cli.run import to_json

FLOWS = """
import os
import threading
from pathlib import Path
from routilux import ErrorHandler, Flow, Routine, routine

@routine(events={"number": ["n"]})
def count(upto, start=0):
    for n in range(start, upto):
        yield n

@routine(events={"square": ["n", "pid"]})
def square(n):
    if n == 13:
        raise ValueError("unlucky")
    return {"n": n * n, "pid": os.getpid()}

@routine(events={"square": ["n", "pid"]}, error_handler=ErrorHandler("continue"))
def lenient(n):
    return square(n)

def build(worker, **options):
    flow = Flow("squares")
    flow.add_routine(count, "count")
    flow.add_routine(worker, "square", **options)
    flow.connect("count", "number", "square", "input")
    flow.output("square", "square", capacity=2)
    return flow

threads = build(square)
tolerant = build(lenient)

def processes():
    return build(square, placement="process")

@routine
def typed(number: int, name: str, tags: list[int], path: Path = Path("x")):
    return {"told": repr((number, name, tags, path.name))}

annotated = Flow("annotated")
annotated.add_routine(typed, "typed")
annotated.output("typed", "output")

class Leaving:
    def __repr__(self):
        raise SystemExit(3)

class Odd(Routine):
    def __init__(self):
        super().__init__()
        self.define_slot("trigger", handler=self.run)
        self.define_event("odd", ["value"])
    def run(self):
        self.state["key"] = {1, 2}
        self.emit("odd", value=object)
        self.emit("odd", value={(1, 2): 3})
        self.emit("odd", value="\\ud800")
        self.emit("odd", value=Leaving())

odd = Flow("odd")
odd.add_routine(Odd(), "odd")
odd.output("odd", "odd")

class Bound:
    def __reduce__(self):
        return load, (os.getpid(),)

def load(pid):
    if pid != os.getpid():
        raise LookupError("only there")
    return Bound()

class Binder(Routine):
    def __init__(self):
        super().__init__()
        self.define_slot("trigger", handler=self.run)
        self.define_event("bound", ["value"])
    def run(self):
        self.state["bound"] = Bound()
        self.state["n"] = 1
        self.emit("bound", value=Bound())
        self.emit("bound", value=2)

def binder():
    flow = Flow("binder")
    flow.add_routine(Binder(), "binder", placement="process")
    flow.output("binder", "bound")
    return flow

class Endless(Routine):
    def __init__(self):
        super().__init__()
        self.define_slot("trigger", handler=self.run)
    def run(self):
        print("began", flush=True)
        while True:
            yield

endless = Flow("endless")
endless.add_routine(Endless(), "endless", placement="process")

empty = Flow("empty")
idle = Flow("idle")
idle.add_routine(count, "a")
idle.add_routine(square, "b")

class Pass(Routine):
    def __init__(self):
        super().__init__()
        self.define_slot("number", handler=self.pass_on)
        self.define_event("number", ["n"])
    def pass_on(self, n=3):
        if n:
            self.emit("number", n=n - 1)

class Begin(Pass):
    def __init__(self):
        super().__init__()
        self.define_slot("trigger", handler=self.pass_on)

circle = Flow("circle")
circle.add_routine(Pass(), "there")
circle.add_routine(Begin(), "back")
circle.connect("there", "number", "back", "number")
circle.connect("back", "number", "there", "number")

class Locked(Endless):
    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()

stuck = Flow("stuck")
stuck.add_routine(Locked(), "locked", placement="process")

twice = Flow("twice")
for name in "ab":
    twice.add_routine(Locked(), name, placement="process")
"""


@pytest.fixture(autouse=True)
def flows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "mflows.py"
    path.write_text(FLOWS)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    yield path
    sys.modules.pop("mflows", None)


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(words)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def run_json(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any]:
    status, out, _err = told(capsys, "run", *words, "--json")
    assert out.count("\n") == 1
    return status, json.loads(out)


def test_a_completed_job_is_summarized_on_stderr_and_stdout_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = told(capsys, "run", "mflows:threads", "--param", "upto=5")
    assert (status, out) == (0, "")
    assert "squares, job " in err
    assert "completed after" in err
    assert "results: square.square 5" in err


def test_with_json_state_and_results_are_one_object_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    status, state = run_json(capsys, "mflows:threads", "--entry", "count", "--param", "upto=5", "--param", "start=2")
    assert status == 0
    assert (state["status"], state["error"], state["flow_id"]) == ("completed", None, "squares")
    assert [item["n"] for item in state["outputs"]["square.square"]] == [4, 9, 16]
    assert state["routines"]["square"]["handled"] == 3
    assert state["dead_letters"] == []


@pytest.mark.processes
def test_a_flow_of_a_file_runs_in_processes(capsys: pytest.CaptureFixture[str], flows: Path) -> None:
    status, state = run_json(capsys, f"{flows}:processes", "--param", "upto=5")
    assert status == 0
    items = state["outputs"]["square.square"]
    assert [item["n"] for item in items] == [0, 1, 4, 9, 16]
    assert os.getpid() not in {item["pid"] for item in items}


@pytest.mark.processes
def test_what_only_its_worker_can_read_hides_nothing_else(capsys: pytest.CaptureFixture[str], flows: Path) -> None:
    status, state = run_json(capsys, f"{flows}:binder")
    assert status == 0, state
    told = state["routines"]["binder"]["state"]
    assert told["n"] == 1
    assert told["bound"].startswith("<unreadable, ")
    assert "LookupError: only there" in told["bound"]
    assert state["outputs"]["binder.bound"] == [{"value": 2}]
    assert "LookupError: only there" in state["dead_letters"][0]["cause"]


def test_a_circle_begins_where_it_can(capsys: pytest.CaptureFixture[str]) -> None:
    status, state = run_json(capsys, "mflows:circle")
    assert status == 0
    assert {name: routine["handled"] for name, routine in state["routines"].items()} == {"there": 2, "back": 2}


def test_a_failed_job_is_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    status, state = run_json(capsys, "mflows:threads", "--param", "upto=20")
    assert status == 1
    assert state["error"] == "routine 'square': raised ValueError: unlucky"


def test_tolerated_failures_are_told_by_cause_and_the_job_is_completed(capsys: pytest.CaptureFixture[str]) -> None:
    status, _out, err = told(capsys, "run", "mflows:tolerant", "--param", "upto=20")
    assert status == 0
    assert re.search(
        r"given up: 1\n  1 x square: raised ValueError\n      message [0-9a-f]{8}: unlucky; at mflows.py:", err
    )


@pytest.mark.processes
def test_a_job_that_takes_too_long_is_status_4(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _err = told(capsys, "run", "mflows:endless", "--timeout", "0.1", "--json")
    state = json.loads(out.splitlines()[-1])  # what its handler prints, if it comes to that, goes before
    assert status == 4
    assert (state["status"], state["error"]) == ("cancelled", "it took longer than 0.1 s")


def test_what_is_no_json_is_told_as_its_repr(capsys: pytest.CaptureFixture[str]) -> None:
    status, state = run_json(capsys, "mflows:odd")
    assert status == 0
    assert state["outputs"]["odd.odd"] == [
        {"value": "<class 'object'>"},
        {"value": {"(1, 2)": 3}},
        "{'value': '\\ud800'}",
        "<a dict whose repr raised SystemExit>",
    ]
    assert state["routines"]["odd"]["state"] == {"key": [1, 2]}


def test_parameters_are_read_as_the_handler_annotates_them(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["number=3", "name=3", "tags=[1, 2]", "path=src/a"]
    status, state = run_json(capsys, "mflows:annotated", *(word for each in words for word in ("--param", each)))
    assert (status, state["outputs"]["typed.output"]) == (0, [{"told": "(3, '3', [1, 2], 'a')"}])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["mflows:thread"], "module 'mflows' has no 'thread'; its flows are 'threads', 'tolerant', 'annotated', 'odd'"),
        (["mflows:threads", "--entry", "cuont"], "--entry: the flow has no routine 'cuont'; its routines are 'count'"),
        (["mflows:threads", "--entry", "square", "--param", "m=1"], "the entry of 'square' has no parameter 'm'"),
        (["mflows:threads"], "the entry of 'count' needs upto: give it with --param upto=VALUE"),
        (["mflows:threads", "--param", "upto"], "--param: expected NAME=VALUE, got 'upto'"),
        (["mflows:annotated", "--param", "number=many"], "--param number: Expected `int`, got `str`, got 'many'"),
        (
            ["mflows:threads", "--param", "upto=3", "--param", "stop=1"],
            "has no parameter 'stop'; it takes 'upto', 'start'",
        ),
        (["mflows:idle"], "say with --entry which routine gets the first message; it can be 'a', 'b'"),
        (["mflows:empty"], "say with --entry which routine gets the first message; the flow has no routines"),
    ],
)
def test_usage_errors_are_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], words: list[str], expected: str
) -> None:
    status, out, err = told(capsys, "run", *words)
    assert (status, out) == (2, "")
    assert err.startswith("routilux: ")
    assert expected in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("words", [[], ["run"], ["run", "mflows:threads", "--timeout", "0"]])
def test_words_that_are_no_command_are_status_2(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    status, out, err = told(capsys, *words)
    assert (status, out) == (2, "")
    assert "usage: routilux" in err


def test_help_and_version_are_status_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, "--help")[0] == 0
    status, out, _err = told(capsys, "--version")
    assert status == 0
    assert out.startswith("routilux ")


def test_a_flow_that_cannot_run_is_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    status, _out, err = told(capsys, "run", "mflows:twice", "--entry", "a")
    assert status == 1
    head, *problems = err.splitlines()
    assert head == "routilux: flow 'twice' cannot run:"
    assert [problem[:22] for problem in problems if "error" in problem] == [
        f"  error: routine '{name}': "[:22] for name in "ab"
    ]
    status, _out, err = told(capsys, "run", "mflows:stuck")
    assert status == 1
    assert "cannot run" in err
    assert err.count("\n") == 1


def test_graph_draws(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _err = told(capsys, "graph", "mflows:threads")
    assert status == 0
    assert out.startswith("flowchart LR\n")
    status, out, _err = told(capsys, "graph", "mflows:threads", "--format", "dot")
    assert status == 0
    assert out.startswith('digraph "squares" {')


@pytest.mark.processes
@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_a_run_in_order(number: signal.Signals, expected: int) -> None:
    root = Path(__file__).resolve().parents[2]
    program = subprocess.Popen(
        [sys.executable, "-m", "routilux", "run", "mflows:endless", "--plain"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root), "PYTHONUNBUFFERED": "1"},
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "[endless] began\n"
    program.send_signal(number)
    _out, err = program.communicate(timeout=30)
    assert program.returncode == expected, err
    assert "Traceback" not in err


def run_shell(redirections: str, flows: Path) -> subprocess.CompletedProcess[str]:
    words = f"{sys.executable} -m routilux run {flows}:threads --param upto=5 --json {redirections}"
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(["/bin/sh", "-c", words], capture_output=True, text=True, timeout=60, check=False, env=env)


@pytest.mark.processes
def test_a_program_without_stderr_runs_its_flow_and_says_nothing_on_stdout_but_the_result(flows: Path) -> None:
    done = run_shell("2>&-", flows)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["status"] == "completed"


@pytest.mark.processes
def test_a_program_without_stdout_runs_its_flow_and_tells_of_it(flows: Path) -> None:
    done = run_shell(">&-", flows)
    assert (done.returncode, done.stdout) == (0, "")
    assert "completed after" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.processes
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is always full")
def test_a_result_that_cannot_be_written_is_told_in_one_line(flows: Path) -> None:
    done = run_shell(">/dev/full", flows)
    assert done.returncode == 1
    assert done.stderr.endswith("\nroutilux: cannot write to stdout: No space left on device\n")
    assert "Traceback" not in done.stderr


class Naming(Routine):
    """Counts under names that the object has otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", self.count)

    def count(self) -> None:
        for name in ("status", "state", "rows"):
            self.increment_stat(name)


def test_numbers_of_a_routine_are_told_apart_from_the_figures() -> None:
    flow = Flow("named")
    flow.add_routine(Naming(), "it")
    told = json.loads(to_json(flow.execute("it")))["routines"]["it"]
    assert told["stats"] == {"status": 1, "state": 1, "rows": 1}
    assert (told["status"], told["state"], told["handled"]) == ("completed", {}, 1)


def test_an_error_of_a_command_comes_with_its_stack_where_that_is_wanted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, flows: Path
) -> None:
    flows.with_name("mbroken.py").write_text("1 / 0\n")
    monkeypatch.setenv("ROUTILUX_FULL_TRACEBACK", "1")
    status, _out, err = told(capsys, "run", "mbroken.py:flow")
    assert status == 1
    assert err.startswith("Traceback (most recent call last):\n")
    assert "ZeroDivisionError: division by zero\n\nThe above" in err
    assert "\nroutilux: importing 'mbroken' raised ZeroDivisionError: division by zero" in err
