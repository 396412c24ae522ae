from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from routilux import Flow, routine
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
    assert texts(logbook, logbook.find_last("", 3)) == ["7", "8", "9"]
    assert texts(logbook, logbook.find_last("even", 2)) == ["6", "7", "8", "9"]
    assert logbook.find_last("", None) == logbook.find_last("even", 100) == 0
    assert logbook.find_last("", 0) == 10


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


def test_the_programs_factory_is_called_and_comes_back() -> None:
    before = logging.getLogRecordFactory()
    made: list[str] = []

    def make(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = before(*args, **kwargs)
        made.append(record.name)
        return record

    logging.setLogRecordFactory(make)
    try:
        first, second = Logbook("a"), Logbook("b")
        first.open()
        second.open()
        log.warning("x")
        first.close()
        first.close()
        assert logging.getLogRecordFactory() is not make
        second.close()
        assert logging.getLogRecordFactory() is make
        assert made == ["mine"]
    finally:
        logging.setLogRecordFactory(before)


def test_a_factory_set_meanwhile_stays_and_nothing_is_kept_any_more() -> None:
    before = logging.getLogRecordFactory()
    book = Logbook("a")
    book.open()
    logging.setLogRecordFactory(partial(logging.getLogRecordFactory()))
    try:
        own = logging.getLogRecordFactory()
        book.close()
        assert logging.getLogRecordFactory() is own
        log.warning("x")
        assert texts(book) == []
    finally:
        logging.setLogRecordFactory(before)


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
        book = _logbooks._open[job.id]
        job.send("say", "input", n=3)
    (line,) = book.read(0, 10)[0]
    assert line.text.startswith("said 3")
    assert (line.routine, line.logger, line.worker) == ("say", "mine", None)
    assert len(line.message_id) == 32
    assert logging.getLogRecordFactory() is logging.LogRecord
