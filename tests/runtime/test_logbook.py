from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from routilux import Flow, routine
from routilux.context import enter_turn
from routilux.runtime.logbook import LINE_CHARACTERS, LINES_KEPT, Logbook, _logbooks

log = logging.getLogger("mine")


def texts(logbook: Logbook, first: int = 0) -> list[str]:
    return [line.text for line in logbook.read(first, LINES_KEPT)[0]]


@pytest.fixture
def logbook() -> Iterator[Logbook]:
    book = Logbook("a")
    book.open()
    yield book
    book.close()


def test_the_newest_lines_are_kept_and_those_before_counted(logbook: Logbook) -> None:
    for n in range(LINES_KEPT + 10):
        logbook.add("INFO", str(n))
    lines, following, gone = logbook.read(0, 3)
    assert ([line.text for line in lines], following, gone) == (["10", "11", "12"], 13, 10)
    assert logbook.read(LINES_KEPT + 10, 3) == ([], LINES_KEPT + 10, 0)


def test_the_last_lines_of_a_routine_are_found(logbook: Logbook) -> None:
    for n in range(10):
        logbook.add("INFO", str(n), routine="even" if n % 2 == 0 else "odd")
    assert logbook.find_last("", 3) == (7, 10)
    assert logbook.find_last("even", 2) == (6, 10)
    assert texts(logbook, 6) == ["6", "7", "8", "9"]
    assert logbook.find_last("", None) == logbook.find_last("even", 100) == (0, 10)
    assert logbook.find_last("", 0) == (10, 10)


def test_lines_are_given_up_to_an_end_though_there_are_more_and_those_before_are_gone(logbook: Logbook) -> None:
    for n in range(LINES_KEPT + 10):
        logbook.add("INFO", str(n))
    lines, following, gone = logbook.read(8, 500, 12)
    assert ([line.text for line in lines], following, gone) == (["10", "11"], 12, 2)
    assert logbook.read(12, 500, 12) == ([], 12, 0)
    assert logbook.read(3, 500, 7) == ([], 7, 4), "what is gone behind the end was not wanted"


def test_a_long_line_is_cut_and_what_has_no_form_replaced(logbook: Logbook) -> None:
    logbook.add("INFO", "x" * 100_000 + "\udc80")
    logbook.add("INFO", "\udc80")
    assert [len(text) for text in texts(logbook)] == [LINE_CHARACTERS, 1]
    assert "".join(texts(logbook)).isascii()


def test_followers_are_called_until_they_leave(logbook: Logbook) -> None:
    calls: list[int] = []

    def call() -> None:
        calls.append(1)

    logbook.follow(call)
    logbook.add("INFO", "a")
    logbook.unfollow(call)
    logbook.add("INFO", "b")
    assert calls == [1]


def test_what_routilux_says_of_the_job_is_kept_and_of_others_not(logbook: Logbook) -> None:
    own = logging.getLogger("routilux")
    own.warning("of it", extra={"job_id": "a", "routine_id": "r", "flow_id": "f"})
    own.warning("of another", extra={"job_id": "b", "routine_id": "r", "flow_id": "f"})
    own.warning("of none")
    (line,) = logbook.read(0, 10)[0]
    assert (line.text, line.routine, line.level, line.logger) == ("of it", "r", "WARNING", "routilux")


def test_what_cannot_be_formatted_is_told_as_it_is(logbook: Logbook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    logging.getLogger("routilux").warning("%d", "no number", extra={"job_id": "a"})
    logging.getLogger("routilux").warning("met", exc_info=ValueError("bad"), extra={"job_id": "a"})
    first, second = texts(logbook)
    assert first == "%d (its arguments cannot be told: TypeError)"
    assert second == "met\nValueError: bad"


@pytest.fixture
def factory() -> Iterator[Any]:
    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(logging.LogRecord)
    yield logging.LogRecord
    logging.setLogRecordFactory(before)


class InTurn:
    """What a logbook asks of a turn."""

    routine_id, message_id = "r", "m"

    def __init__(self, logbook: Logbook) -> None:
        self.logbook = logbook


@contextmanager
def in_turn(logbook: Logbook) -> Iterator[None]:
    before = enter_turn(InTurn(logbook))  # type: ignore[arg-type]  # all that is asked of a turn
    try:
        yield
    finally:
        enter_turn(before)


def log_in_turn(logbook: Logbook, *args: Any, **kwargs: Any) -> None:
    with in_turn(logbook):
        log.warning(*args, **kwargs)


def lives(texts_told: list[str]) -> None:
    """Open a logbook, log a line, and close it."""
    book = Logbook("a")
    book.open()
    log_in_turn(book, "x")
    book.close()
    log_in_turn(book, "after")
    texts_told += texts(book)


def test_a_factory_that_is_saved_and_set_back_never_calls_itself(factory: Any) -> None:
    told: list[str] = []
    book = Logbook("a")
    book.open()
    saved = logging.getLogRecordFactory()
    book.close()
    for back in (saved, factory, saved, logging.getLogRecordFactory()):
        logging.setLogRecordFactory(back)
        lives(told)
    assert told == ["x"] * 4


def test_factories_that_wrap_ours_are_called_once_a_record_and_keep_it_once(factory: Any) -> None:
    made: list[str] = []

    def wrap() -> None:
        before = logging.getLogRecordFactory()

        def make(*args: Any, **kwargs: Any) -> logging.LogRecord:
            made.append("made")
            return before(*args, **kwargs)

        logging.setLogRecordFactory(make)

    told: list[str] = []
    wrap()
    for _ in range(3):
        lives(told)
    assert (told, len(made)) == (["x"] * 3, 6)
    book = Logbook("a")
    book.open()
    wrap()
    log_in_turn(book, "y")
    Logbook("b").open()
    log_in_turn(book, "z")
    assert texts(book) == ["y", "z"]
    book.close()
    _logbooks.start_anew()
    lives(told)
    assert told == ["x"] * 4


class Untellable:
    """Has no text."""

    def __str__(self) -> str:
        raise ValueError("no text")


def test_no_record_fails_who_logs_it(logbook: Logbook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    log_in_turn(logbook, Untellable())
    log_in_turn(logbook, "%s", Untellable())
    with in_turn(logbook):
        logging.makeLogRecord({"name": "x", "msg": "kept by whoever had it made"})
    assert texts(logbook) == [
        "(a record that cannot be told: ValueError)",
        "%s (its arguments cannot be told: ValueError)",
    ]


def test_a_text_is_that_of_the_moment_when_it_was_logged(logbook: Logbook) -> None:
    seen = [1]
    log_in_turn(logbook, "%s", seen)
    seen.append(2)
    assert texts(logbook) == ["[1]"]


def test_what_a_programs_factory_makes_that_is_no_record_is_left_to_it(factory: Any, logbook: Logbook) -> None:
    logging.setLogRecordFactory(lambda *_args, **_kwargs: object())  # type: ignore[arg-type,return-value]  # that is it
    logbook.open()
    with in_turn(logbook):
        logging.getLogRecordFactory()("x", 30, "", 1, "text", (), None)
    assert texts(logbook) == []


def test_of_a_long_traceback_the_end_is_told(logbook: Logbook) -> None:
    def sink(depth: int) -> None:
        if not depth:
            raise ValueError("deep down")
        (rise if depth % 2 else sink)(depth - 1)

    def rise(depth: int) -> None:
        sink(depth)

    try:
        sink(200)
    except ValueError:
        log_in_turn(logbook, "met", exc_info=True)
    (text,) = texts(logbook)
    assert text.startswith("met\nTraceback")
    assert text.endswith("ValueError: deep down")


@routine
def say(n: int) -> None:
    """Log something."""
    log.warning("said %d", n)


@routine
async def say_later(n: int) -> None:
    """Log something on a loop."""
    log.warning("said %d later", n)


@pytest.mark.parametrize("handler", [say, say_later])
def test_what_a_handler_logs_on_a_thread_is_told_with_its_message(handler: Any) -> None:
    flow = Flow("saying")
    flow.add_routine(handler, "say")
    with flow.start(takes_commands=True, keep_open=True) as job:
        (book,) = _logbooks.open
        job.send("say", "input", n=3)
    (line,) = book.read(0, 10)[0]
    assert line.text.startswith("said 3")
    assert (line.routine, line.logger, line.worker) == ("say", "mine", None)
    assert len(line.message_id) == 32
    assert _logbooks.open == ()


def test_two_jobs_of_one_id_in_one_program_have_each_its_log(tmp_path: Path) -> None:
    flow, other = Flow("saying"), Flow("saying")
    flow.add_routine(say, "say")
    other.add_routine(say, "say")
    with flow.start(job_id="same", store=tmp_path / "a", keep_open=True) as first:
        with other.start(job_id="same", store=tmp_path / "b", keep_open=True) as second:
            one, two = _logbooks.open
            first.send("say", "input", n=1)
            second.send("say", "input", n=2)
        assert _logbooks.open == (one,)
    assert [texts(one), texts(two)] == [["said 1"], ["said 2"]]
