from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from routilux import Flow
from routilux.cli.target import BrokenFlowError, UsageError, absolute_target, load_flow

FLOWS = """
from routilux import Flow, routine

@routine
def step(x=1):
    return {"x": x}

flow = Flow("thing")
flow.add_routine(step)

def make() -> Flow:
    return Flow("made")

def make_of(name):
    return Flow(name)

def fail():
    return flow.connect("step", "output", "step", "nowhere")

def leave():
    raise SystemExit(3)

def forget():
    Flow("forgotten")

class Box:
    inner = Flow("inner")

number = 3
"""


@pytest.fixture(autouse=True)
def _imports(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave neither `sys.path` nor `sys.modules` changed."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "tflows.py").write_text(FLOWS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(target: str) -> str:
    with pytest.raises(UsageError) as caught:
        load_flow(target)
    assert caught.value.exit_status == 2
    return str(caught.value)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("target", "flow_id"),
    [
        ("tflows:flow", "thing"),
        ("tflows:make", "made"),
        ("tflows:Box.inner", "inner"),
        ("tflows.py:flow", "thing"),
        ("./tflows.py:flow", "thing"),
    ],
)
def test_a_flow_is_found_in_the_present_folder(target: str, flow_id: str) -> None:
    flow = load_flow(target)
    assert isinstance(flow, Flow)
    assert flow.flow_id == flow_id


def test_a_file_is_imported_under_a_name_that_workers_can_import(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    flow = load_flow(f"{folder}/tflows.py:flow")
    assert str(folder) in sys.path
    assert sys.modules["tflows"].flow is flow


def test_a_file_in_a_package_is_imported_as_part_of_it(folder: Path) -> None:
    inner = folder / "pkg" / "sub"
    inner.mkdir(parents=True)
    (folder / "pkg" / "__init__.py").write_text("")
    (inner / "__init__.py").write_text("")
    (inner / "deep.py").write_text("from .near import name\nfrom routilux import Flow\nflow = Flow(name)\n")
    (inner / "near.py").write_text("name = 'deep'\n")
    assert load_flow("pkg/sub/deep.py:flow").flow_id == "deep"
    assert "pkg.sub.deep" in sys.modules


@pytest.mark.usefixtures("folder")
def test_what_is_not_there_is_told_with_what_is() -> None:
    assert refusal("tflows:flwo") == (
        "module 'tflows' has no 'flwo'; its flows are 'flow', 'make'; did you mean 'flow'?"
    )
    assert refusal("tflows:Box.outer").startswith("module 'tflows' has no 'Box.outer'")
    assert refusal("nowhere:flow").startswith("there is no module 'nowhere' in ")
    assert refusal("tflows.inner:flow").startswith("there is no module 'tflows.inner'")
    assert refusal("other.py:flow") == "there is no file 'other.py'"
    assert refusal("tflow.py:flow") == "there is no file 'tflow.py'; did you mean 'tflows.py'?"
    assert refusal("tflow:flow").endswith(" or on sys.path; did you mean 'tflows'?")
    assert refusal("no/folder/tflows.py:flow") == "there is no file 'no/folder/tflows.py'"
    assert refusal("tflows.py") == (
        "say which flow of 'tflows.py' is meant, as in tflows.py:flow; its flows are 'flow', 'make'"
    )


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("target", ["", "tflows", ":flow", "tflows:", "a b:flow", "dir/x:flow"])
def test_what_is_no_target_is_told(target: str) -> None:
    assert refusal(target).startswith("expected ")


@pytest.mark.parametrize("target", ["starting:flow", "starting.py:flow", "around:flow"])
def test_a_module_that_starts_a_job_where_it_is_imported_is_refused_with_its_line(folder: Path, target: str) -> None:
    (folder / "starting.py").write_text(f"{FLOWS}\nflow.execute('step')\n")
    (folder / "around.py").write_text("from starting import flow\n")
    line = FLOWS.count("\n") + 2
    with pytest.raises(BrokenFlowError) as caught:
        load_flow(target)
    assert caught.value.exit_status == 1
    assert str(caught.value) == (
        f"module 'starting' starts a job where it is imported ({folder}/starting.py, line {line}): put that under "
        '`if __name__ == "__main__":`, because workers import the module too'
    )


def test_a_function_that_starts_a_job_to_give_a_flow_is_refused_with_its_line(folder: Path) -> None:
    (folder / "eager.py").write_text(f"{FLOWS}\ndef run():\n    flow.execute('step')\n    return flow\n")
    with pytest.raises(BrokenFlowError) as caught:
        load_flow("eager:run")
    line = FLOWS.count("\n") + 3
    assert str(caught.value).startswith(f"a job is started at {folder}/eager.py, line {line}, while that code is only")
    flow = load_flow("eager:flow")
    assert flow.execute("step").status == "completed"


FLOW_FILE = """
flow = "told"
[routines.double]
use = "tmill:Double"
with = { by = 2 }
[routines.keep]
use = "routilux.Filter"
with = { predicate = "n" }
[[connections]]
from = "double.output"
to = "keep.input"
"""
MILL = """
from routilux import Routine, register_serializable

class Double(Routine):
    def __init__(self, by: int) -> None:
        super().__init__()
        self.define_slot("trigger", lambda n: None)
        self.define_event("output", ["n"])

register_serializable("tmill.Double")(Double)
"""


def test_a_flow_file_is_a_target_with_the_modules_that_it_may_use(folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "tmill.py").write_text(MILL)
    file = folder / "deep" / "told.toml"
    file.write_text(FLOW_FILE)
    flow = load_flow("deep/told.toml:tmill,json")
    assert (flow.flow_id, list(flow.routines)) == ("told", ["double", "keep"])
    file.write_text(FLOW_FILE.replace("tmill:Double", "tmill.Double"))
    assert load_flow("deep/told.toml:tmill").flow_id == "told"
    assert absolute_target("deep/told.toml:tmill") == f"{file}:tmill"
    assert absolute_target("deep/told.toml") == str(file)


def test_what_is_wrong_with_a_flow_file_is_told_with_its_place(folder: Path) -> None:
    (folder / "told.toml").write_text(FLOW_FILE)
    with pytest.raises(BrokenFlowError, match=r"told.toml: routines.double.use: .* its module is not allowed"):
        load_flow("told.toml")
    assert refusal("other.yaml") == "'other.yaml' cannot be read: No such file or directory"
    assert refusal("told.toml:nowhere").startswith("there is no module 'nowhere' in ")
    assert refusal("told.toml:") == "expected the name of a module or the path of a .py file, got ''"


@pytest.mark.usefixtures("folder")
def test_what_is_no_flow_is_told() -> None:
    assert refusal("tflows:number") == "tflows:number is no Flow but of type int"
    assert refusal("tflows:Box") == "tflows:Box is no Flow but of type Box"
    assert "cannot be called without arguments" in refusal("tflows:make_of")
    assert refusal("tflows:forget") == (
        "tflows:forget was called, and gave nothing: a function that makes a Flow ends with 'return flow'"
    )


@pytest.mark.usefixtures("folder")
def test_an_error_where_the_flow_is_built_is_told_with_its_line() -> None:
    with pytest.raises(BrokenFlowError) as caught:
        load_flow("tflows:fail")
    text = str(caught.value)
    assert text.startswith("tflows:fail raised UnknownSlotError: routine 'step' has no slot 'nowhere'")
    assert text.endswith("tflows.py, line 18)")
    assert caught.value.exit_status == 1
    with pytest.raises(BrokenFlowError, match="raised SystemExit: 3"):
        load_flow("tflows:leave")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import nothing_of_that_name\n", "ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        ("1 / 0\n", "ZeroDivisionError: division by zero"),
        ("x = = 1\n", "SyntaxError: invalid syntax"),
        ("raise SystemExit\n", "SystemExit"),
    ],
)
def test_an_error_while_importing_is_told(folder: Path, source: str, expected: str) -> None:
    (folder / "broken.py").write_text(source)
    for target in ("broken:flow", "broken.py:flow"):
        with pytest.raises(BrokenFlowError) as caught:
            load_flow(target)
        assert str(caught.value).startswith(f"importing 'broken' raised {expected}")


def test_a_file_whose_name_is_taken_is_refused(folder: Path) -> None:
    (folder / "json.py").write_text(FLOWS)
    assert "'json' is already " in refusal("json.py:flow")


def test_a_file_that_cannot_be_a_module_is_refused(folder: Path) -> None:
    (folder / "a.b.py").write_text(FLOWS)
    assert "a module's name has no dots" in refusal("a.b.py:flow")
