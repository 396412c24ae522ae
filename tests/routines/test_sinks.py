from __future__ import annotations

import csv
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from routilux import ErrorHandler, Flow
from routilux.errors import FlowCheckError, InvalidNameError, OptionError
from routilux.routines import CsvSink, JsonLinesSink, LinesSource
from tests.routines.killed import RECORDS
from tests.routines.running import failure, flow_of, run, state_of
from tests.runtime.kept import wait_until

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60.0
"""How long a program may take (arbitrary)."""
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.floats(allow_nan=False, allow_infinity=False),
                    st.text(max_size=5))  # fmt: skip
JSON = st.recursive(SCALARS, lambda parts: st.lists(parts, max_size=3) | st.dictionaries(st.text(max_size=3), parts,
                    max_size=3), max_leaves=5)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


@given(st.lists(JSON, max_size=6))
def test_lines_are_read_again_as_what_was_written(folder: Path, values: list[Any]) -> None:
    file = folder / "out.jsonl"
    file.write_text("of an earlier job\n" * 9)
    state = run(JsonLinesSink(file, fsync=False), [{"value": value} for value in values])
    assert state.status == "completed", state.error
    if values:
        assert [json.loads(line)["value"] for line in file.read_text().split("\n")[:-1]] == values
        assert state_of(state) == {"end": file.stat().st_size}


@given(
    st.lists(st.tuples(st.text(max_size=5), st.integers(), st.booleans()), min_size=1, max_size=6),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    st.sampled_from([",", ";", "\t"]),
)
@example([("\r", 0, False), ("\n", 0, False), ("\r\n", 0, False)], "utf-8", ",")
def test_rows_are_read_again_as_what_was_written(
    folder: Path, rows: list[tuple[str, int, bool]], encoding: str, delimiter: str
) -> None:
    file = folder / "out.csv"
    sink = CsvSink(file, encoding=encoding, delimiter=delimiter, fsync=False)
    state = run(sink, [{"text": text, "n": n, "is it": flag} for text, n, flag in rows])
    assert state.status == "completed", state.error
    with file.open(encoding=encoding, newline="") as opened:
        assert list(csv.reader(opened, delimiter=delimiter)) == [
            ["text", "n", "is it"],
            *([text, str(n), str(flag)] for text, n, flag in rows),
        ]


def test_a_file_is_what_a_plain_loop_writes(tmp_path: Path) -> None:
    messages = [{"name": "é", "n": n} for n in range(3)]
    run(JsonLinesSink(tmp_path / "a"), messages)
    assert (tmp_path / "a").read_bytes() == "".join(f'{{"name": "é", "n": {n}}}\n' for n in range(3)).encode()
    run(CsvSink(tmp_path / "b", header=False, columns=["n", "x"], missing="-", ignore_others=True), messages)
    assert (tmp_path / "b").read_bytes() == b"0,-\n1,-\n2,-\n"
    run(CsvSink(tmp_path / "c", errors="xmlcharrefreplace", encoding="ascii"), messages[:1])
    assert (tmp_path / "c").read_bytes() == b"name,n\n&#233;,0\n"


def test_a_record_may_be_one_parameter(tmp_path: Path) -> None:
    run(JsonLinesSink(tmp_path / "a", parameter="x"), [{"x": [1], "y": 2}])
    assert (tmp_path / "a").read_text() == "[1]\n"
    run(CsvSink(tmp_path / "b", parameter="x"), [{"x": {"k": 1}, "y": 2}])
    assert (tmp_path / "b").read_text() == "k\n1\n"


def test_a_default_tells_what_json_does_not_know(tmp_path: Path) -> None:
    run(JsonLinesSink(tmp_path / "a", default=str), [{"x": Decimal("1.50")}])
    assert (tmp_path / "a").read_text() == '{"x": "1.50"}\n'


def test_half_a_surrogate_pair_is_told_in_ascii(tmp_path: Path) -> None:
    run(JsonLinesSink(tmp_path / "a"), [{"path": os.fsdecode(b"\xe9")}])
    assert json.loads((tmp_path / "a").read_bytes()) == {"path": os.fsdecode(b"\xe9")}


def test_characters_that_are_not_in_the_encoding_are_replaced_where_that_is_wanted(tmp_path: Path) -> None:
    run(CsvSink(tmp_path / "a", encoding="ascii", errors="replace"), [{"x": "café"}])
    assert (tmp_path / "a").read_text() == "x\ncaf?\n"


def run_killed(folder: Path, *words: object) -> int:
    """Run the program whose sink is killed; gives how it ended."""
    lines = "".join(f"line {n}\n" for n in range(1, RECORDS + 1))
    (folder / "lines").write_text(lines)
    command = [sys.executable, "-m", "tests.routines.killed", str(folder), *map(str, words)]
    return subprocess.run(command, cwd=ROOT, timeout=SECONDS, check=False).returncode


def has_each_record_once(sink: str, folder: Path) -> bool:
    expected = [{"path": str(folder / "lines"), "number": n, "line": f"line {n}"} for n in range(1, RECORDS + 1)]
    with (folder / "out").open(newline="") as file:
        if sink == "json":
            return [json.loads(line) for line in file] == expected
        return list(csv.DictReader(file)) == [{**row, "number": str(row["number"])} for row in expected]


@pytest.mark.processes
@pytest.mark.parametrize("sink", ["json", "csv"])
def test_each_record_is_in_the_file_once_when_its_program_is_killed(sink: str, tmp_path: Path) -> None:
    # Without a checkpoint all is run again each time; with many, from somewhere behind what was done.
    for when, at, every in [("torn", 1, 0), ("after", 10, 0), ("after", 20, 0.01), ("torn", 40, 0.01)]:
        assert run_killed(tmp_path, sink, "thread", when, at, every) == -signal.SIGKILL
    assert run_killed(tmp_path, sink, "thread", "never", RECORDS + 1, 0.01) == 0
    assert has_each_record_once(sink, tmp_path)


@pytest.mark.processes
@pytest.mark.parametrize("sink", ["json", "csv"])
@pytest.mark.parametrize(("when", "at"), [("torn", 1), ("after", 30)])
def test_each_record_is_in_the_file_once_when_its_worker_is_killed(
    sink: str, when: str, at: int, tmp_path: Path
) -> None:
    assert run_killed(tmp_path, sink, "process", when, at, 0.01) == 0
    assert (tmp_path / f"out.{when}{at}").exists()
    assert has_each_record_once(sink, tmp_path)


def test_a_record_that_was_given_up_leaves_nothing_behind(tmp_path: Path) -> None:
    for sink, text in ((JsonLinesSink(tmp_path / "a"), '{"x": 1}\n{"x": 2}\n'), (CsvSink(tmp_path / "b"), "x\n1\n2\n")):
        state = run(sink, [{"x": 1}, {"x": math.nan, "y": "\ud800"}, {"x": 2}], error_handler=ErrorHandler("continue"))
        assert state.status == "completed"
        assert len(state.dead_letters) == 1
        assert Path(sink.path).read_text() == text


@pytest.mark.parametrize("make", [JsonLinesSink, CsvSink])
def test_a_file_that_lost_what_the_job_has_written_is_told_and_not_written_to(make: Any, tmp_path: Path) -> None:
    file = tmp_path / "out"
    flow = flow_of(make(file), error_handler=ErrorHandler("continue"))
    with flow.start(keep_open=True) as job:
        job.send("it", "input", x="long enough")
        wait_until(lambda: job.state.routine_states["it"]["handled"])
        size = file.stat().st_size
        file.write_text("short")
        job.send("it", "input", x=2)
        wait_until(lambda: job.state.routine_states["it"]["dead"] == 1)
        assert file.read_text() == "short"
        file.unlink()
        job.send("it", "input", x=3)
    [short, gone] = [letter.cause for letter in job.state.dead_letters]
    assert short.endswith(
        f"cannot write {str(file)!r}: the job has written {size} bytes of it, and it has 5: somebody else changed it"
    )
    assert gone.endswith(f"cannot write {str(file)!r}: No such file or directory")
    assert not file.exists()


def test_what_is_no_file_to_write_is_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert "it is no regular file, which could be cut back" in failure(JsonLinesSink(tmp_path / "pipe"), {"x": 1})
    finally:
        os.close(reader)
    assert "No such device or address" in failure(JsonLinesSink(tmp_path / "pipe"), {"x": 1})
    assert "Is a directory" in failure(JsonLinesSink(tmp_path), {"x": 1})
    assert "No such file or directory" in failure(CsvSink(tmp_path / "none" / "a"), {"x": 1})
    assert "embedded null " in failure(CsvSink(str(tmp_path / "a\0")), {"x": 1})


@pytest.mark.parametrize(
    ("make", "message", "told"),
    [
        (JsonLinesSink, {"x": math.nan}, "cannot be told in JSON: Out of range float values are not JSON compliant"),
        (JsonLinesSink, {"x": {1}}, "Object of type set is not JSON serializable; default= can make another value"),
        (lambda path: JsonLinesSink(path, parameter="y"), {"x": 1}, "routine 'it' expected 'y', got 'x'"),
        (lambda path: CsvSink(path, columns=["x"]), {"x": 1, "y": 2}, "has ['y'], and the columns are ['x']; name"),
        (lambda path: CsvSink(path, parameter="x"), {"x": 1}, "is a dict by columns, got int"),
        (lambda path: CsvSink(path, encoding="ascii"), {"x": "é"}, "cannot be written: 'ascii' codec can't encode"),
        (CsvSink, {}, "has no parameters: name the columns in columns="),
        (lambda path: CsvSink(path, parameter="x"), {"x": {(1, 2): 3}}, "is a dict by names, got the names [(1, 2)]"),
        (lambda path: CsvSink(path, parameter="x"), {"x": {b"k": 3}}, "is a dict by names, got the names [b'k']"),
    ],
    ids=range(9),
)  # fmt: skip
def test_what_fails_is_told(make: Any, message: dict[str, Any], told: str, tmp_path: Path) -> None:
    error = failure(make(tmp_path / "out"), message)
    assert told in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (JsonLinesSink, "JsonLinesSink: expected path to be that of a file, got 5"),
        (lambda it: JsonLinesSink("a", default=it), "JsonLinesSink: expected default to be a function, got 5"),
        (
            lambda _: CsvSink("a", delimiter="::"),
            "delimiter to be one character that is no line end or quote, got '::'",
        ),
        (lambda it: CsvSink("a", delimiter=it), "delimiter to be one character that is no line end or quote, got 5"),
        (lambda _: CsvSink("a", delimiter="\n"), "delimiter to be one character that is no line end or quote"),
        (lambda _: CsvSink("a", encoding="utf-9"), "CsvSink: expected encoding to be that of a text"),
        (lambda _: CsvSink("a", encoding="undefined"), "that of a text, such as 'utf-8', got 'undefined'"),
        (lambda _: CsvSink("a", encoding="utf\0"), "that of a text, such as 'utf-8', got 'utf\\x00'"),
        (lambda _: CsvSink("a", encoding="punycode"), "CsvSink: in 'punycode' rows cannot be written one by one"),
        (lambda _: CsvSink("a", errors="lenient"), "CsvSink: expected errors to be one of 'strict'"),
        (lambda _: CsvSink("a", errors="strict\0"), "'strict', 'replace', 'ignore', ..., got 'strict\\x00'"),
        (lambda _: CsvSink("a", columns=[]), "CsvSink: expected columns to be one name at least, or None, got none"),
    ],
)
def test_what_cannot_be_is_refused(make: Callable[[Any], Any], told: str) -> None:
    with pytest.raises(OptionError) as caught:
        make(5)
    assert told in str(caught.value)


def test_columns_are_names_and_each_is_there_once() -> None:
    columns: Any
    for columns in ("text", ["a", "a"], [""]):
        with pytest.raises(InvalidNameError, match="columns of CsvSink"):
            CsvSink("a", columns=columns)


def test_several_workers_and_threads_that_may_be_left_behind_are_refused() -> None:
    def objection(**options: Any) -> str:
        flow = Flow("refused")
        flow.add_routine(JsonLinesSink("a"), "it", **options)
        return "".join(problem.message for problem in flow.check() if problem.severity == "error")

    assert "each of 2 workers would keep its own" in objection(placement="process", workers=2)
    assert "JsonLinesSink goes without a timeout on a thread" in objection(timeout=5.0)
    assert objection(placement="process", timeout=5.0) == objection() == ""


def test_what_reads_and_writes_files_says_that_it_needs_them_here(tmp_path: Path) -> None:
    file = tmp_path / "a"
    assert JsonLinesSink(file).needs_here() == f"the file {str(file.resolve())!r}"
    assert LinesSource(file).needs_here() == f"the files of {str(file)!r}"
    assert LinesSource().needs_here() == "files that messages name"


def test_two_sinks_of_one_file_are_refused_by_whatever_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "out")
    for first, second in (("out", "out"), ("out", tmp_path / "out"), ("./out", b"link"), ("a\0", "a\0")):
        flow = Flow("refused")
        flow.add_routine(JsonLinesSink(first), "one")
        flow.add_routine(CsvSink(tmp_path / "else"), "other")
        flow.add_routine(CsvSink(second), "two")
        [problem] = [problem for problem in flow.check() if problem.severity == "error"]
        assert problem.where == "routine 'two'"
        assert problem.message.startswith("needs the file '")
        assert problem.message.endswith(" to itself, and so does routine 'one'")
        with pytest.raises(FlowCheckError):
            flow.start(keep_open=True)
