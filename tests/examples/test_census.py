from __future__ import annotations

import ast
import json
import os
import random
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from examples import census
from routilux import JobState
from routilux.observe import observe
from tests.examples.shell import Shell

ROOT = Path(__file__).resolve().parents[2]

TREE: dict[str, str | bytes] = {
    "pkg/__init__.py": "from . import one\nfrom .one import f\nfrom .. import beyond\n",
    "pkg/one.py": "import os.path, sys\nimport sys\n\ndef f(a):\n    return a if a else 0\n",
    "pkg/two.py": "from pkg.one import f\nclass A:\n    def m(self):\n        for x in self: pass\n",
    "b.py": "import sys\nasync def g(x):\n    async with x:\n        while x and x:\n            x = 1\n",
    "empty.py": "",
    "no_end.py": "x = 1\ny = 2",
    "broken.py": "def (:\n",
    "deep/null.py": "x = '\0'\n",
    "deep/coded.py": b"# -*- coding: latin-1 -*-\nname = '\xe9'\n",
    "deep/undecodable.py": b"name = '\xe9'\n",
    "deep/notes.txt": "no Python",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in TREE.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return tmp_path


def plain_loop(folder: Path, top: int = 10) -> dict[str, Any]:
    """The same figures without routilux."""
    counts: Counter[str] = Counter(files=0, unparsed=0, lines=0, functions=0, classes=0, branches=0)
    imports: Counter[str] = Counter()
    functions: list[list[Any]] = []
    unparsed, nesting = [], 0
    for path in census.python_files(str(folder)):
        try:
            measures = census.measure((folder / path).read_bytes(), path)
        except (SyntaxError, ValueError) as error:
            counts.update(files=1, unparsed=1)
            unparsed.append((type(error).__name__, path))
            continue
        counts.update(measures.counts)
        imports.update(measures.imports)
        functions += measures.functions
        nesting = max(nesting, measures.nesting)
    return {
        **counts,
        "nesting": nesting,
        "imports": dict(imports),
        "complex": sorted(functions, key=census.by_complexity)[:top],
        "longest": sorted(functions, key=census.by_length)[:top],
        "broken": sorted(unparsed),
    }


def figures(state: JobState) -> dict[str, Any]:
    """The same figures out of a job; restarts are not a figure of the files."""
    assert state.status == "completed", state.error
    tally = state.routine_states["tally"]["state"]
    summary = census.summarize(state)
    del summary["restarts"]
    return {
        **summary,
        "nesting": tally["nesting"],
        "imports": {key.removeprefix("import "): count for key, count in tally.items() if key.startswith("import ")},
        "complex": tally["complex"],
        "longest": tally["longest"],
        "broken": sorted(census.unparsed_files(state)),
    }


def measured(source: str, path: str = "pkg/mod.py") -> census.Measures:
    return census.measure(source.encode(), path)


@pytest.mark.parametrize(
    ("body", "complexity"),
    [
        ("pass", 1),
        ("return a if a else b", 2),
        ("if a:\n  pass\nelif b:\n  pass\nelse:\n  pass", 3),
        ("for x in a:\n  pass\nelse:\n  pass", 2),
        ("while a and b or c:\n  pass", 4),
        ("while a and b and c:\n  pass", 4),
        ("try:\n  pass\nexcept A:\n  pass\nexcept B:\n  pass\nelse:\n  pass\nfinally:\n  pass", 3),
        ("with a:\n  pass", 1),
        ("return [x for y in a if b if c for x in y]", 5),
        ("match a:\n  case 1:\n    pass\n  case _:\n    pass", 3),
        ("return lambda: a or b", 2),
        ("def inner():\n  if a:\n    pass\nreturn inner", 1),
        ("class Inner:\n  if a:\n    pass\nreturn Inner", 1),
    ],
)
def test_complexity_is_one_more_than_the_branches(body: str, complexity: int) -> None:
    lines = body.replace("\n", "\n    ")
    outer = measured(f"def outer(a, b, c):\n    {lines}\n").functions[0]
    assert outer[2] == "pkg/mod.py:1 outer"
    assert outer[0] == complexity


@pytest.mark.parametrize(
    ("source", "nesting"),
    [
        ("x = 1\n", 0),
        ("if a:\n  for b in a:\n    with c:\n      pass\n", 3),
        ("if a:\n  pass\nelif b:\n  pass\nelif c:\n  for x in a:\n    pass\n", 2),
        ("if a:\n  pass\nelse:\n  if b:\n    pass\n", 2),
        ("if a:\n  def f():\n    if b:\n      pass\n", 1),
        ("try:\n  if a:\n    pass\nexcept E:\n  while b:\n    if c:\n      pass\n", 3),
        ("match a:\n  case 1:\n    if b:\n      pass\n", 2),
    ],
)
def test_nesting_counts_blocks_inside_each_other_in_one_function(source: str, nesting: int) -> None:
    assert measured(source).nesting == nesting


@pytest.mark.parametrize(
    ("source", "imports"),
    [
        ("import a.b, c as d\n", {"a.b", "c"}),
        ("from a.b import c, d\n", {"a.b"}),
        ("from . import x\n", {"pkg"}),
        ("from .near import x\n", {"pkg.near"}),
        ("from .. import x\n", set()),
        ("from ..far import x\n", {"far"}),
        ("from ....far import x\n", {"far"}),
    ],
)
def test_imports_are_told_as_what_they_mean(source: str, imports: set[str]) -> None:
    assert measured(source).imports == imports


def test_a_function_is_as_long_as_from_its_def_to_its_last_line() -> None:
    measures = measured("@decorated\ndef f():\n    pass\n\n    pass\n\n\nclass A:\n    async def g(self): pass\n")
    assert [entry[1:] for entry in measures.functions] == [[1, "pkg/mod.py:9 g"], [4, "pkg/mod.py:2 f"]]
    assert measures.counts == {"files": 1, "lines": 9, "functions": 2, "classes": 1, "branches": 0}


def test_a_file_that_nests_deeper_than_python_recurses_is_measured() -> None:
    source = "x = " + "+".join("a" for _ in range(900)) + "\n"
    assert measured(source).counts["lines"] == 1
    assert sum(1 for _ in ast.walk(ast.parse(source))) > 900


def test_files_are_found_sorted_and_nothing_else(folder: Path) -> None:
    (folder / "folder.py").mkdir()
    found = list(census.python_files(str(folder), without=("deep",)))
    assert found == ["b.py", "broken.py", "empty.py", "no_end.py", "pkg/__init__.py", "pkg/one.py", "pkg/two.py"]


def test_the_standard_library_is_without_what_is_installed() -> None:
    paths = list(census.standard_library())
    assert "ast.py" in paths
    assert not [path for path in paths if "-packages/" in path]


@pytest.mark.processes
def test_on_ray_it_has_as_many_workers() -> None:
    options = census.flow("ray", 3).options["parse"]
    assert (options.placement, options.workers) == ("ray", 3)


@pytest.mark.parametrize(("placement", "workers"), [("thread", None), ("process", 1), ("process", 3)])
def test_figures_are_those_of_a_plain_loop(folder: Path, placement: str, workers: int | None) -> None:
    state = census.flow(placement, workers).execute("read", {"root": str(folder)})
    assert figures(state) == plain_loop(folder)
    assert figures(state)["files"] == 10
    broken = sorted(path for _error, path in figures(state)["broken"])
    assert broken == ["broken.py", "deep/null.py", "deep/undecodable.py"]


@pytest.mark.processes
def test_figures_are_the_same_when_workers_are_killed() -> None:
    folder = ROOT / "supervisors"
    draw = random.Random(1)
    with census.flow("process", 2).start("read", {"root": str(folder)}) as job:
        for number, _measures in enumerate(job.stream("parse", "measured")):
            pids = observe(job).routine("parse").pids
            if number % 8 == 0 and pids:
                os.kill(draw.choice(pids), signal.SIGKILL)
    state = job.wait()
    assert figures(state) == plain_loop(folder)
    assert census.summarize(state)["restarts"] > 0


@pytest.mark.processes
def test_the_program_prints_one_json_object_and_the_rest_on_stderr(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "census.py", folder, "--json", "--plain", "--kill-every", "0.5"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=60,
    )
    told = json.loads(done.stdout)
    expected = plain_loop(folder)
    assert list(told) == ["files", "unparsed", "lines", "functions", "classes", "branches", "restarts"]
    assert told == {**{name: expected[name] for name in list(told)[:-1]}, "restarts": told["restarts"]}
    assert done.stderr.startswith("killing a worker about every 0.5 s, seed ")


def has_parsed(told: list[str]) -> bool:
    return re.search(r"tally [1-9]\d* handled.* [1-9]\d*/s", told[-1]) is not None


@pytest.mark.processes
def test_figures_are_the_same_when_the_program_is_killed_and_paused_and_goes_on(tmp_path: Path) -> None:
    folder = ROOT / "supervisors"
    shell = Shell(tmp_path, ["census.py", "--plain", "--every", "0.05"], has_parsed)
    command = (str(folder), "--store", "jobs", "--checkpoint-every", "0.1", "--workers", "1")
    assert shell.run(*command, end=signal.SIGKILL)[0] == -signal.SIGKILL
    status, _, errors = shell.run(*command, end=signal.SIGINT)
    assert status == 130, errors
    assert errors.startswith("going on with job census-")
    assert errors.endswith("paused: the same command goes on\n")
    status, out, errors = shell.run(*command)
    assert status == 0, errors

    expected = plain_loop(folder)
    summary, complex_, longest, imported = out.split("\n\n")
    told = {
        name: int(count.replace(",", "")) for name, count in re.findall(r"^ *(.+?) +([\d,]+)$", summary, re.MULTILINE)
    }
    del told["restarts"]
    assert told == {**{name: expected[name] for name in list(told)[:-1]}, "deepest nesting": expected["nesting"]}
    assert complex_.splitlines()[2:] == [f"{entry[0]:>16} {entry[1]:>12}  {entry[2]}" for entry in expected["complex"]]
    assert longest.splitlines()[2:] == [f"{entry[1]:>16} {entry[0]:>12}  {entry[2]}" for entry in expected["longest"]]
    most = sorted(expected["imports"].items(), key=lambda item: (-item[1], item[0]))[:10]
    assert imported.splitlines()[2:] == [f"{count:>16}  {name}" for name, count in most]


def test_a_census_that_is_over_is_not_begun_again(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [str(folder), "--placement", "thread", "--store", str(tmp_path / "jobs"), "--job", "once", "--plain"]
    assert census.main(command) == 0
    assert census.main(command) == 1
    assert capsys.readouterr().err.startswith("census: job 'once' is completed; there is nothing left to go on with")


def test_each_folder_has_a_job_of_its_own() -> None:
    assert census.default_job_id("/usr/lib/python3.11") == "census-usr-lib-python3-11"
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", census.default_job_id("/" + "ä/x" * 100))


def test_the_program_prints_tables(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "evil\x1b[2J.py").write_text("x = = 1\n")
    assert census.main([str(folder), "--placement", "thread", "--top", "2"]) == 0
    out = capsys.readouterr().out
    assert "files           11\n" in out
    assert "               3            4  b.py:2 g\n" in out
    assert "               3  sys\n" not in out
    assert "               2  pkg.one\n               2  sys\n" in out
    assert "     SyntaxError  'evil\\x1b[2J.py'\n" in out
    assert "\x1b" not in out


@pytest.mark.parametrize(
    "words",
    [
        ["/no/such/folder"],
        ["--workers", "0"],
        ["--kill-every", "0"],
        ["--placement", "x"],
        ["--checkpoint-every", "0"],
        ["--placement", "ray", "--kill-every", "1"],
    ],
)
def test_what_cannot_be_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        census.main(words)
    assert caught.value.code == 2
    assert "error: " in capsys.readouterr().err
