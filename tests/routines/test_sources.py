from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routilux import ErrorHandler, Flow, Routine
from routilux.errors import OptionError
from routilux.routines import Aggregate, FileSource, LinesSource
from routilux.routines.sources import LINES_A_COMMIT, Source
from tests.routines.running import emitted, failure, flow_of, go_on, leave_midway, run, state_of
from tests.runtime.kept import wait_until

NO_TEXT: Any = 5
MEGABYTE = 1024 * 1024
TEXTS = st.text(st.sampled_from("ab\n\r é\U0001f600"), max_size=30)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


def lines_of(text: str) -> list[str]:
    """Give the lines of a text, without their ends."""
    parts = text.split("\n")
    ended, rest = parts[:-1], parts[-1:]
    return [line.removesuffix("\r") for line in ended] + [line for line in rest if line]


@given(TEXTS, st.sampled_from(["utf-8", "utf-8-sig"]))
def test_lines_are_those_of_a_plain_loop(folder: Path, text: str, encoding: str) -> None:
    file = folder / "text"
    file.write_bytes(text.encode(encoding))
    state = run(LinesSource(encoding=encoding), [{"path": str(file), "name": "x"}], "trigger")
    expected = lines_of(text)
    assert emitted(state) == [
        {"path": str(file), "number": number, "line": line} for number, line in enumerate(expected, start=1)
    ]
    assert state_of(state) == {}


@given(st.binary(max_size=20), st.integers(1, 7))
def test_blocks_are_the_file(folder: Path, data: bytes, size: int) -> None:
    file = folder / "blocks"
    file.write_bytes(data)
    state = run(FileSource(encoding=None, block_bytes=size), [{"path": str(file)}] * 2, "trigger")
    once = [
        {"path": str(file), "offset": at, "content": data[at : at + size]} for at in range(0, max(len(data), 1), size)
    ]
    assert emitted(state) == once * 2
    assert state_of(state) == {}


@given(TEXTS)
def test_a_whole_file_is_its_text(folder: Path, text: str) -> None:
    file = folder / "whole"
    file.write_bytes(text.encode())
    assert emitted(run(FileSource(file), [{}], "trigger")) == [{"path": str(file), "offset": 0, "content": text}]
    assert emitted(run(FileSource(encoding=None), [{"path": file}], "trigger"))[0]["content"] == text.encode()


@pytest.mark.processes
def test_whole_files_are_read_by_several_workers(tmp_path: Path) -> None:
    for n in range(10):
        (tmp_path / str(n)).write_text(str(n))
    messages = [{"path": str(tmp_path / str(n))} for n in range(10)]
    state = run(FileSource(), messages, "trigger", placement="process", workers=2)
    assert sorted(item["content"] for item in emitted(state)) == [str(n) for n in range(10)]


class FailingLines(LinesSource):
    """Fails once, or kills its process, at some lines: at the file `die` or `fail` that it removes before."""

    def __init__(self, path: Path, fail: Path, die: Path) -> None:
        super().__init__(path)
        self.fail = fail
        self.die = die

    def emit(self, event: str, /, **data: Any) -> None:
        super().emit(event, **data)
        name = str(data["number"])
        if (self.fail / name).exists():
            (self.fail / name).unlink()
            raise ValueError(name)
        if (self.die / name).exists():
            (self.die / name).unlink()
            os.kill(os.getpid(), 9)


@pytest.mark.processes
def test_lines_go_out_once_when_their_source_fails_and_is_killed(tmp_path: Path) -> None:
    count = 5 * LINES_A_COMMIT + 17
    (tmp_path / "lines").write_text("".join(f"line {n}\n" for n in range(1, count + 1)))
    at = {"fail": [1, LINES_A_COMMIT, 500, count], "die": [LINES_A_COMMIT + 1, count - 1]}
    for name, numbers in at.items():
        (tmp_path / name).mkdir()
        for number in numbers:
            (tmp_path / name / str(number)).touch()
    source = FailingLines(tmp_path / "lines", tmp_path / "fail", tmp_path / "die")
    flow = flow_of(
        source,
        placement="process",
        error_handler=ErrorHandler("retry", max_retries=20, retry_delay=0.01),
        max_restarts=20,
    )
    state = flow.execute()
    assert [item["number"] for item in emitted(state)] == list(range(1, count + 1))
    assert list((tmp_path / "fail").iterdir()) == list((tmp_path / "die").iterdir()) == []
    assert state.routine_states["it"]["restarts"] == 2


@pytest.mark.parametrize("make", [
    LinesSource,
    lambda path: FileSource(path, encoding=None, block_bytes=9),
], ids=["LinesSource", "FileSource"])  # fmt: skip
def test_a_job_that_is_left_goes_on_where_it_was(make: Callable[[Path], Routine], tmp_path: Path) -> None:
    text = "".join(f"line {n:04}\n" for n in range(3_000))
    (tmp_path / "lines").write_text(text)
    read = leave_midway(make(tmp_path / "lines"), tmp_path / "jobs")
    assert len(read) < 3_000
    items = read + emitted(go_on(make(tmp_path / "lines"), tmp_path / "jobs"))
    parts = [item["line"] + "\n" if "line" in item else item["content"].decode() for item in items]
    assert "".join(parts) == text


def broken(folder: Path) -> Path:
    """Give a file whose line 402 is no UTF-8."""
    file = folder / "broken"
    file.write_bytes(b"fine\n" * 401 + b"caf\xe9\n" + b"fine\n" * 3)
    return file


def test_a_line_that_is_not_in_the_encoding_is_told_and_those_before_are_out(tmp_path: Path) -> None:
    file = broken(tmp_path)
    state = flow_of(LinesSource(file)).execute()
    assert state.status == "failed"
    assert state.error is not None
    assert state.error.endswith(
        f"FileReadError: cannot read '{file}', line 402: byte 0xe9 at 3 is not utf-8 (unexpected end of data); "
        "errors= goes on past it"
    )
    assert len(state.outputs["it", "output"]) == 401


def test_a_file_that_was_given_up_goes_on_behind_what_was_read_when_it_is_mended(tmp_path: Path) -> None:
    file = broken(tmp_path)
    (tmp_path / "other").write_text("one\ntwo\n")
    flow = flow_of(LinesSource(), error_handler=ErrorHandler("continue"))
    with flow.start(keep_open=True) as job:
        job.send("it", "trigger", path=str(file))
        job.send("it", "trigger", path=str(tmp_path / "other"))
        wait_until(lambda: job.state.routine_states["it"]["handled"] == 1)
        file.write_bytes(file.read_bytes().replace(b"\xe9", b"e"))
        assert job.redeliver() == 1
    numbers = [item["number"] for item in emitted(job.state)]
    assert numbers == [*range(1, 402), 1, 2, *range(402, 406)]
    assert state_of(job.state) == {}


@pytest.mark.parametrize(
    "make", [LinesSource, FileSource, lambda **options: FileSource(encoding=None, block_bytes=5, **options)]
)
def test_what_cannot_be_read_is_an_event_where_that_is_wanted(make: Any, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "good").write_text("one\n")
    paths = [str(tmp_path / name) for name in ("none", "pipe", "good", "zero\0")] + [str(tmp_path)]
    with pytest.raises(ValueError, match="embedded null") as zero:
        os.open(paths[3], os.O_RDONLY)
    state = run(make(unreadable="event"), [{"path": path} for path in paths], "trigger")
    assert len(emitted(state)) == 1
    assert emitted(state, "unreadable") == [
        {"path": paths[0], "line": None, "error": "No such file or directory"},
        {"path": paths[1], "line": None, "error": "it is a pipe, and no regular file"},
        {"path": paths[3], "line": None, "error": str(zero.value)},
        {"path": paths[4], "line": None, "error": "it is a folder, and no regular file"},
    ]


def test_the_lines_before_one_that_cannot_be_read_are_out_and_its_event_tells_it(tmp_path: Path) -> None:
    file = broken(tmp_path)
    state = run(LinesSource(unreadable="event"), [{"path": str(file)}], "trigger")
    assert len(emitted(state)) == 401
    [told] = emitted(state, "unreadable")
    assert (told["path"], told["line"]) == (str(file), 402)
    assert state_of(state) == {}


def test_bytes_that_are_not_in_the_encoding_are_replaced_where_that_is_wanted(tmp_path: Path) -> None:
    state = flow_of(LinesSource(broken(tmp_path), errors="replace")).execute()
    assert emitted(state)[401]["line"] == "caf\ufffd"
    state = flow_of(LinesSource(broken(tmp_path), encoding="latin-1")).execute()
    assert emitted(state)[401]["line"] == "café"


def test_a_codec_that_does_not_say_which_byte_it_fails_at_is_told_as_others(tmp_path: Path) -> None:
    (tmp_path / "odd").write_bytes(b"99999999")
    told = failure(FileSource(encoding="punycode"), {"path": str(tmp_path / "odd")}, "trigger")
    assert f"FileReadError: cannot read '{tmp_path / 'odd'}': " in told
    assert "not punycode (" in told


def test_a_file_that_became_shorter_while_the_job_was_left_is_told(tmp_path: Path) -> None:
    file = tmp_path / "lines"
    file.write_text("line\n" * 3_000)
    leave_midway(LinesSource(file), tmp_path / "jobs")
    file.write_text("new\n")
    error = go_on(LinesSource(file), tmp_path / "jobs").error
    assert error is not None
    assert "bytes of it were read before, and now it has 4" in error


def test_a_line_without_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    (tmp_path / "long").write_text("12345\n123456\n")
    assert f"cannot read '{tmp_path / 'long'}', line 2: it has more than max_line_bytes=6 bytes" in failure(
        LinesSource(max_line_bytes=6), {"path": str(tmp_path / "long")}, "trigger"
    )


@pytest.mark.processes
@pytest.mark.parametrize(
    "source", [LinesSource(), FileSource(encoding=None, block_bytes=MEGABYTE)], ids=["LinesSource", "FileSource"]
)
def test_a_file_is_read_that_is_larger_than_the_memory(source: Routine, tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:  # holes, but for the newlines
        for number in range(1, 193):
            file.seek(number * MEGABYTE - 1)
            file.write(b"\n")
    flow = Flow("large")
    flow.add_routine(source, "source", placement="process", memory_limit=128 * MEGABYTE)
    flow.add_routine(Aggregate(), "count")
    flow.connect("source", "output", "count", "input")
    state = flow.execute("source", {"path": str(tmp_path / "large")})
    assert state.status == "completed", state.error
    assert Aggregate().results(state.routine_states["count"]["state"]) == {None: 192}


@pytest.mark.parametrize(
    ("source", "message", "told"),
    [
        (LinesSource(), {}, "slot 'trigger' of routine 'it' expected 'path', got no parameters"),
        (LinesSource(), {"path": 5}, "LinesSource: expected path to be a path, got 5"),
        (FileSource(), {"path": "/no/such"}, "cannot read '/no/such': No such file or directory"),
        (FileSource(), {"path": ""}, "FileSource: expected path to be a path, got ''"),
    ],
)
def test_what_fails_is_told(source: Routine, message: dict[str, Any], told: str) -> None:
    assert told in failure(source, message, "trigger")


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: LinesSource(encoding="utf-9"), "expected encoding to be that of a text, such as 'utf-8', got 'utf-9'"),
        (lambda: LinesSource(encoding="hex"), "expected encoding to be that of a text, such as 'utf-8', got 'hex'"),
        (lambda: FileSource(encoding=NO_TEXT), "expected encoding to be that of a text, such as 'utf-8', got 5"),
        (lambda: LinesSource(encoding="utf-16"), "a file in 'utf-16' is not read by lines; use FileSource and FlatMap"),
        (lambda: LinesSource(encoding="idna"), "expected encoding to be that of a text, such as 'utf-8', got 'idna'"),
        (lambda: LinesSource(encoding="utf\0"), "expected encoding to be that of a text, such as 'utf-8', got 'utf"),
        (lambda: FileSource(errors="lenient"), "expected errors to be one of 'strict', 'replace', 'ignore', ..."),
        (
            lambda: LinesSource(errors="xmlcharrefreplace"),
            "errors to be one of 'strict', 'replace', 'ignore', ..., got",
        ),
        (lambda: LinesSource(unreadable="skip"), "expected unreadable to be 'error' or 'event', got 'skip'"),
        (lambda: LinesSource(max_line_bytes=0), "expected max_line_bytes to be a number of bytes of at least 1, got 0"),
        (lambda: FileSource(block_bytes=5), "blocks are bytes, since a character may lie in two of them"),
        (lambda: FileSource(NO_TEXT), "FileSource: expected path to be a path, got 5"),
        (lambda: LinesSource(""), "LinesSource: expected path to be a path, got ''"),
    ],
)
def test_what_cannot_be_is_refused(make: Callable[[], Any], told: str) -> None:
    with pytest.raises(OptionError) as caught:
        make()
    assert told in str(caught.value)


def test_several_workers_are_refused_where_there_is_a_place_to_keep() -> None:
    for source in (LinesSource(), FileSource(encoding=None, block_bytes=9)):
        [problem] = flow_of(source, placement="process", workers=2).check()[:1]
        assert "keeps its place in its state, and each of 2 workers would keep its own" in problem.message


@pytest.mark.parametrize("source", [
    LinesSource(), FileSource(encoding=None, block_bytes=9), LinesSource(unreadable="event"),
], ids=["LinesSource", "FileSource", "event"])  # fmt: skip
def test_a_file_that_becomes_shorter_while_it_is_read_is_told(source: Source, tmp_path: Path) -> None:
    file = tmp_path / "lines"
    file.write_text("line one\n" * 100_000)
    flow = Flow("shortened")
    flow.add_routine(source, "it", error_handler=ErrorHandler("continue"))
    flow.output("it", "output", capacity=5)  # it goes no further than somebody reads
    if source.unreadable == "event":
        flow.output("it", "unreadable")
    with flow.start("it", {"path": str(file)}) as job:
        results = job.results()
        next(results)
        os.truncate(file, 4)
        told = [item for item in results if "error" in item]
    expected = "bytes of it were read before, and now it has 4"
    if source.unreadable == "event":
        [event] = told
        assert (event["path"], event["error"].partition(" ")[2]) == (str(file), expected)
    else:
        [letter] = job.state.dead_letters
        assert letter.cause.endswith(expected)


def test_a_file_that_has_no_size_and_is_read_nevertheless_is_read() -> None:
    expected = Path("/proc/self/limits").read_text()
    assert [item["line"] for item in emitted(flow_of(LinesSource("/proc/self/limits")).execute())] == lines_of(expected)
    assert emitted(flow_of(FileSource("/proc/self/limits")).execute())[0]["content"] == expected
