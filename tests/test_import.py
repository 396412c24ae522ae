"""Importing loads what is asked for, and no more: programs start fast, and so do the workers of their routines."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import routilux
import supervisors
from routilux.model.options import RoutineOptions
from routilux.runtime.workers import launch_of

ROOT = Path(__file__).resolve().parents[1]
MOST_MODULES = 200
"""As many may be loaded, those of the interpreter itself included, once a program has imported what makes flows."""
DEFERRED = ("routilux", "routilux.flowfile", "routilux.runtime", "routilux.stores", "supervisors")
"""The packages that load names late."""


def told_by(program: str) -> object:
    """Give the value that a fresh interpreter prints."""
    path = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
    ended = subprocess.run([sys.executable, "-c", path + program], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    told: object = ast.literal_eval(ended.stdout)
    return told


@pytest.mark.parametrize(
    "imports",
    ["import routilux", "from routilux import Flow, Routine, routine, ErrorHandler", "import supervisors"],
)
def test_what_makes_flows_is_imported_with_few_modules_and_without_what_runs_them(imports: str) -> None:
    loaded = told_by(f"{imports}\nprint(sorted(sys.modules))")
    assert isinstance(loaded, list)
    assert len(loaded) <= MOST_MODULES
    heavy = {
        "asyncio",
        "pykka",
        "psutil",
        "sqlite3",
        "subprocess",
        "multiprocessing",
        "tomllib",
        "routilux.runtime.tree",
    }
    assert heavy.isdisjoint(loaded)


def test_stores_of_folders_are_had_without_a_database() -> None:
    program = "from routilux.stores import FileStore; print('sqlite3' in sys.modules)"
    assert told_by(program) is False


@pytest.mark.parametrize("package", DEFERRED)
def test_each_name_is_told_to_type_checkers_as_it_is_found(package: str) -> None:
    module = importlib.import_module(package)
    tree = ast.parse(Path(str(module.__file__)).read_text("utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    told = {name.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for name in node.names}
    assert set(told) == set(module.__all__)
    for name, home in told.items():
        source = importlib.import_module(str(home))
        expected = getattr(source, name, None)
        if expected is None:  # it is a module itself
            expected = importlib.import_module(f"{home}.{name}")
        assert module.__getattr__(name) is expected  # anew: other tests load modules again


def test_a_name_that_is_not_there_is_an_error_that_says_whose() -> None:
    with pytest.raises(AttributeError, match="module 'routilux' has no attribute 'Flwo'"):
        _ = routilux.Flwo  # type: ignore[attr-defined]


def test_public_modules_need_no_import_of_their_own() -> None:
    program = "import routilux; print([routilux.errors.RoutiluxError.__name__, routilux.stores.__name__])"
    assert told_by(program) == ["RoutiluxError", "routilux.stores"]


@pytest.mark.parametrize("module", [routilux, supervisors])
def test_all_names_are_listed_before_they_are_loaded(module: object) -> None:
    program = f"import {module.__name__} as it; print(dir(it))"  # type: ignore[attr-defined]
    listed = told_by(program)
    assert isinstance(listed, list)
    assert set(listed) >= set(module.__all__)  # type: ignore[attr-defined]


def test_plain_data_finds_each_class_of_the_package_though_none_was_loaded() -> None:
    registering = {
        node.args[0].value
        for path in (ROOT / "routilux").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "built_in.register"
        if isinstance(node.args[0], ast.Constant)
    }
    assert "routilux.Flow" in registering
    program = f"""
from routilux.serial.naming import Naming, built_in
from routilux.serial.registry import default
before = [name for name in {sorted(map(str, registering))} if built_in.find(name)]
Naming(default).find_class("routilux.ExecutionTracker")
print([before, [name for name in {sorted(map(str, registering))} if not built_in.find(name)]])
"""
    assert told_by(program) == [[], []]


@pytest.mark.processes
def test_a_worker_has_what_modules_of_routines_import_and_what_turns_take() -> None:
    program = """
import routilux
from routilux import Flow, routine

@routine(events={"loaded": ["modules"]})
def look(data):
    for name in set(routilux.__all__) - {"Job"}:
        getattr(routilux, name)
    return {"modules": (sorted(sys.modules), data)}

flow = Flow("importing")
flow.add_routine(look, "look", placement="process")
flow.output("look", "loaded")
with flow.start(keep_open=True) as job:
    for _ in range(2):
        job.send("look", "input", data=bytearray(100_000))
        (modules, _), = next(iter(job.results())).values()
    job.close_entry()
print(modules)
"""
    ahead = "import routilux.preloaded, supervisors.places.process.zygote_program, supervisors.places.process.zygote"
    in_worker, in_zygote = told_by(program), told_by(f"{ahead}; print(sorted(sys.modules))")
    assert isinstance(in_worker, list)
    assert isinstance(in_zygote, list)
    assert set(in_worker) <= {*in_zygote, "__main__", "__mp_main__"}


def test_workers_have_what_runs_jobs_only_where_the_program_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(vars(routilux), "Job", raising=False)
    options = RoutineOptions(placement="process", preload=["netrc"])
    unasked = launch_of(options).preload
    monkeypatch.setitem(vars(routilux), "Job", object)
    asked = launch_of(options).preload
    assert (unasked[0], unasked[-1]) == ("routilux.preloaded", "netrc")
    assert set(asked) - set(unasked) == {"routilux.runtime.job"}


@pytest.mark.processes
def test_the_first_job_has_its_zygote_begin_before_what_runs_jobs_is_loaded() -> None:
    program = """
from routilux import Flow, routine
from supervisors.places.process.spawn import Spawner
flow = Flow("first")
flow.add_routine(routine(lambda: None), "first", placement="process")
seen = []
given = Spawner.give_head_start
def give_head_start(self, modules):
    seen.append(["routilux.runtime.tree" in sys.modules, list(modules)])
    given(self, modules)
Spawner.give_head_start = give_head_start
assert flow.execute().status == "completed"
print(seen)
"""
    assert told_by(program) == [[False, ["routilux.preloaded"]]]
