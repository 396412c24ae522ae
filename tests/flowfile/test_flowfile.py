"""Flows are written in files by people, read with errors that say where, and written again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from routilux import ErrorHandler, Flow, Ray, routine
from routilux.flowfile.errors import FlowFileError
from routilux.model.error_handler import ErrorStrategy
from tests.flowfile.mill import Lines, Unregistered, count, plain
from tests.scripts import run_script

TOML = """
format = 1
flow = "mill"
error_handler = "continue"

[routines.read]
use = "mill.Lines"
with = { path = "PATH", limit = "2", marks = ["a"] }
config = { level = 3 }

[routines.count]
use = "mill.count"
placement = "process"
workers = 1
timeout = 20

[routines.count.error_handler]
strategy = "retry"
max_retries = 2
retryable_exceptions = ["ValueError", "builtins:OSError"]
then = "skip"

[routines."plus.one"]
use = "mill.plain"

[[connections]]
from = "read.line"
to = "count.input"
map = { text = "text" }

[[connections]]
from = "count.counted"
to = "plus.one.input"

[[outputs]]
event = "plus.one.output"
"""
YAML = """
format: 1
flow: mill
error_handler: {strategy: continue}
routines:
  read:
    use: mill.Lines
    with: {path: PATH, limit: 2, marks: [a]}
    config: {level: 3}
  count:
    use: mill.count
    placement: process
    workers: 1
    timeout: 20
    error_handler:
      strategy: retry
      max_retries: 2
      retryable_exceptions: [ValueError, "builtins:OSError"]
      then: skip
  plus.one:
    use: mill.plain
connections:
  - {from: read.line, to: count.input, map: {text: text}}
  - {from: count.counted, to: plus.one.input}
outputs:
  - event: plus.one.output
"""
TOLD: dict[str, Any] = {
    "format": 1,
    "flow": "mill",
    "error_handler": {"strategy": "continue"},
    "routines": {
        "read": {
            "use": "mill.Lines",
            "with": {"path": "PATH", "limit": 2, "marks": ["a"]},
            "config": {"level": 3},
        },
        "count": {
            "use": "mill.count",
            "placement": "process",
            "timeout": 20,
            "error_handler": {
                "strategy": "retry",
                "max_retries": 2,
                "retryable_exceptions": ["ValueError", "OSError"],
                "then": "skip",
            },
        },
        "plus.one": {"use": "mill.plain"},
    },
    "connections": [
        {"from": "read.line", "to": "count.input", "map": {"text": "text"}},
        {"from": "count.counted", "to": "plus.one.input"},
    ],
    "outputs": [{"event": "plus.one.output"}],
}
TEXTS = {".toml": TOML, ".yaml": YAML, ".yml": YAML, ".json": json.dumps(TOLD)}


def write(folder: Path, text: str, ending: str = ".toml") -> Path:
    words = folder / "words.txt"
    words.write_text("a\nbcd\nnever\n")
    file = folder / f"flow{ending}"
    file.write_text(text.replace("PATH", str(words)))
    return file


@pytest.mark.parametrize("ending", TEXTS)
def test_a_file_of_each_kind_is_the_same_flow_and_runs(tmp_path: Path, ending: str) -> None:
    flow = Flow.from_file(write(tmp_path, TEXTS[ending], ending), allow_modules=["builtins"])
    read = flow.routines["read"]
    assert isinstance(read, Lines)
    assert (read.path, read.limit, read.marks, read.get_config()) == (
        tmp_path / "words.txt",
        2,
        ["a"],
        {"level": 3},
    )
    handler = flow.effective_error_handler("count")
    assert (handler.strategy, handler.max_retries, handler.retryable_exceptions, handler.then) == (
        ErrorStrategy.RETRY,
        2,
        (ValueError, OSError),
        ErrorStrategy.SKIP,
    )
    assert flow.effective_error_handler("read").strategy is ErrorStrategy.CONTINUE
    assert (flow.options["count"].placement, flow.options["count"].timeout) == ("process", 20)
    assert flow.routines["count"] is not count  # settings of the one in the file are its own
    assert flow.execute("read").results() == [{"n": 2}, {"n": 4}]


@pytest.mark.parametrize("ending", TEXTS)
def test_what_is_written_is_read_and_written_again(tmp_path: Path, ending: str) -> None:
    flow = Flow.from_file(write(tmp_path, TOML), allow_modules=["builtins"])
    file = tmp_path / f"again{ending}"
    flow.to_file(file)
    again = Flow.from_file(file)
    assert again.serialize() == flow.serialize()
    again.to_file(tmp_path / "third.json")
    told = json.loads((tmp_path / "third.json").read_text())
    assert told == json.loads(json.dumps(TOLD).replace("PATH", str(tmp_path / "words.txt")))


@pytest.mark.parametrize("ending", TEXTS)
def test_a_routine_on_ray_is_written_with_what_it_needs_and_read_again(tmp_path: Path, ending: str) -> None:
    flow = Flow("far")
    env = {"pip": ["pillow"], "env_vars": {"A": "1"}}
    needs = Ray(num_cpus=0, num_gpus=0.5, resources={"tape_drive": 2}, label_selector={"zone": "!a"}, runtime_env=env)
    flow.add_routine(count, "count", placement="ray", workers=(1, 4), ray=needs)
    flow.add_routine(routine(plain), "plain", placement="ray")
    file = tmp_path / f"far{ending}"
    flow.to_file(file)
    again = Flow.from_file(file)
    assert (again.options["count"].ray, again.options["plain"].ray) == (needs, None)
    assert again.options == flow.options
    assert again.serialize() == flow.serialize()
    flow.to_file(tmp_path / "far.json")
    assert json.loads((tmp_path / "far.json").read_text())["routines"]["count"] == {
        "use": "mill.count",
        "placement": "ray",
        "workers": [1, 4],
        "ray": {
            "num_cpus": 0,
            "num_gpus": 0.5,
            "resources": {"tape_drive": 2},
            "label_selector": {"zone": "!a"},
            "runtime_env": env,
        },
    }


def test_a_name_with_dots_is_found_whole(tmp_path: Path) -> None:
    flow = Flow("dots")
    flow.add_routine(Lines(tmp_path), "a")
    flow.add_routine(Lines(tmp_path), "a.b")
    flow.routines["a"].define_event("b.line", ["text"])
    flow.add_routine(count, "count.input")
    flow.add_routine(count, "count")
    flow.connect("a.b", "line", "count.input", "input")
    with pytest.raises(FlowFileError, match=r"routines\.a: its events changed after it was made"):
        flow.to_file(tmp_path / "flow.json")
    text = json.dumps(
        {
            "routines": {
                "a.b": {"use": "mill.Lines", "with": {"path": "x"}},
                "count": {"use": "mill.count"},
                "count.input": {"use": "mill.count"},
            },
            "connections": [{"from": "a.b.line", "to": "count.input.input"}, {"from": "a.b.line", "to": "count.input"}],
        }
    )
    read = Flow.from_file(write(tmp_path, text, ".json"))
    assert [str(link) for link in read.connections] == ["a.b.line -> count.input.input", "a.b.line -> count.input"]


WRONG: list[tuple[str, str, str, str]] = [
    ("[[routines]]\nx = 1", "", "routines", "expected a table of names and values, got"),
    ("flwo = 1", "", "", "there is no 'flwo' here: .*did you mean 'flow'"),
    ("format = 2", "", "format", "a newer version"),
    ('flow = "no name"', "", "flow", "the id of a flow is"),
    ('error_handler = "retyr"', "", "error_handler", "expected strategy to be one of"),
    ("[error_handler]\nmax_retrys = 1", "", "error_handler", "unexpected keyword argument 'max_retrys'.*'max_retries'"),
    ('[routines.a]\nuse = "mill.Lins"', "", "routines.a.use", "did you mean 'mill.Lines'"),
    ('[routines.a]\nuse = "os:system"', "", "routines.a.use", "its module is not allowed"),
    ('[routines.a]\nuse = "ValueError"', "", "routines.a.use", "no class is registered as 'ValueError'"),
    ("[routines.a]\nues = 1", "", "routines.a", "expected 'use', .*did you mean 'ues'"),
    ('[routines.a]\nuse = "mill.Lines"', "", "routines.a", "missing a required argument: 'path'"),
    (
        '[routines.a]\nuse = "mill.Lines"\nwith = {path = "x", limt = 1}',
        "",
        "routines.a",
        "unexpected keyword argument 'limt'.*did you mean 'limit'",
    ),
    (
        '[routines.a]\nuse = "mill.Lines"\nwith = {path = "x", limit = "many"}',
        "",
        "routines.a",
        "with.limit: Expected `int`, got `str`",
    ),
    ('[routines.a]\nuse = "mill.count"\nwith = {x = 1}', "", "routines.a.with", "is a function"),
    ('[routines.a]\nuse = "mill.count"\nwrokers = 2', "", "routines.a", "no option 'wrokers'.*did you mean 'workers'"),
    ('[routines.a]\nuse = "mill.count"\nplacement = "moon"', "", "routines.a", "expected placement to be one of"),
    (
        '[routines.a]\nuse = "mill.count"\nplacement = "ray"\nray = {num_gpu = 1}',
        "",
        "routines.a",
        "Ray: there is no 'num_gpu'.*did you mean 'num_gpus'",
    ),
    ('[routines.a]\nuse = "mill.count"\nray = {}', "", "routines.a", "expected ray to be None on a thread"),
    ('[routines.a]\nuse = "mill.count"\nplacement = "ray"\nray = 1', "", "routines.a", "expected ray to be a Ray"),
    ('[routines."a b"]\nuse = "mill.count"', "", "routines.a b", "the id of a routine"),
    ('[[connections]]\nfrom = "a"', "", r"connections[0].from", "expected 'ROUTINE.NAME', got 'a'"),
    ('[[connections]]\nfrom = "a.b"\nto = "c.d"', "", "connections[0]", "'a'"),
    ('[[outputs]]\nevents = "a.b"', "", "outputs[0]", "there is no 'events' here.*did you mean 'event'"),
    ("routines: {1: {}}", ".yaml", "routines", "expected names, got 1"),
    ("flow: a\nflow: b", ".yaml", "", "the key 'flow' is there twice"),
    ('{"flow": "a", "flow": "b"}', ".json", "", "the key 'flow' is there twice"),
    ("flow: !!python/object/apply:os.getpid []", ".yaml", "", "it is no YAML"),
    ("flow = ", "", "", "it is no TOML"),
    ("[1]", ".json", "", "expected a table"),
    ("", ".yaml", "", "expected a table of names and values, got None"),
]


@pytest.mark.parametrize("at", range(len(WRONG)))
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, at: int) -> None:
    text, ending, path, says = WRONG[at]
    file = write(tmp_path, text, ending or ".toml")
    with pytest.raises(FlowFileError, match=says) as raised:
        Flow.from_file(file)
    assert (raised.value.file, raised.value.path) == (str(file), path)
    assert str(raised.value).startswith(f"{file}: ")


def test_a_file_of_another_kind_and_no_file_are_told(tmp_path: Path) -> None:
    with pytest.raises(FlowFileError, match="expected a file that ends with one of"):
        Flow.from_file(tmp_path / "flow.ini")
    with pytest.raises(FileNotFoundError):
        Flow.from_file(tmp_path / "flow.toml")
    (tmp_path / "flow.toml").write_bytes(b"\xff")
    with pytest.raises(FlowFileError, match="it is no TOML"):
        Flow.from_file(tmp_path / "flow.toml")


def test_what_a_constructor_raises_is_told_with_its_place(tmp_path: Path) -> None:
    text = f'[routines.a]\nuse = "{__name__}:Broken"\n'
    with pytest.raises(FlowFileError, match=r"routines\.a: ZeroDivisionError: division by zero"):
        Flow.from_file(write(tmp_path, text), allow_modules=[__name__])


class Broken(Unregistered):
    def __init__(self) -> None:
        _ = 1 / 0


def test_what_no_file_can_tell_is_refused_with_its_place(tmp_path: Path) -> None:
    def flow_of(routine: Any, **options: Any) -> Flow:
        flow = Flow("f")
        flow.add_routine(routine, "a", **options)
        return flow

    changed = Lines(Path("x"))
    changed.limit = 7
    counted = Lines(Path("x"))
    counted.set_stat("lines", 1)
    for flow, says in (
        (flow_of(counted), "routines.a: its stats changed after it was made"),
        (flow_of(changed), "routines.a: its attributes changed after it was made"),
        (flow_of(Lines(b"x")), "routines.a.with.path: a bytes cannot be told in a file"),  # type: ignore[arg-type]
        (flow_of(Unregistered(a=lambda: 1)), "routines.a.with.a: a function cannot be told"),
        (flow_of(count, error_handler=ErrorHandler(retryable_exceptions=(Local,))), "retryable_exceptions: it is"),
    ):
        with pytest.raises(FlowFileError, match=says):
            flow.to_file(tmp_path / "flow.json")
    assert list(tmp_path.iterdir()) == []
    flow_of(Unregistered(a=1, b=[2])).to_file(tmp_path / "flow.json")
    told = json.loads((tmp_path / "flow.json").read_text())
    assert told["routines"]["a"] == {"use": "tests.flowfile.mill:Unregistered", "with": {"a": 1, "b": [2]}}


def _local() -> type[Exception]:
    class Local(Exception):
        pass

    return Local


Local = _local()


@pytest.mark.parametrize(
    ("module", "ending", "project"), [("yaml", ".yaml", "PyYAML"), ("tomli_w", ".toml", "tomli-w")]
)
def test_a_library_that_is_missing_is_asked_for_by_its_extra(
    tmp_path: Path, module: str, ending: str, project: str
) -> None:
    script = (
        f"import sys; sys.modules[{module!r}] = None\nfrom routilux import Flow, errors\n"
        f"try: Flow('f').to_file('flow{ending}')\nexcept errors.MissingExtraError as error: print(error)"
    )
    assert run_script(script, tmp_path) == f"flow files of this kind take {project}: pip install 'routilux[files]'\n"
