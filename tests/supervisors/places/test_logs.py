"""Log records of workers are handled as the program's own, and made fit for that."""

from __future__ import annotations

import enum
import io
import logging
import math
import sys
import time

import pytest

from supervisors.places.process.child import make_boot
from supervisors.places.process.logs import log_as_own, own_levels
from supervisors.wire.frames import Boot, Log, WorkerReader, encode_frame

FRAME = Log("bench.voice", logging.ERROR, "said", 100.25, "/a/b.py", 7, "say", None, "MainThread")


def replace(**fields: object) -> Log:
    return Log(**{name: fields.get(name, getattr(FRAME, name)) for name in FRAME.__struct_fields__})  # type: ignore[arg-type]


def handled(frame: Log, caplog: pytest.LogCaptureFixture) -> logging.LogRecord:
    caplog.clear()
    log_as_own(frame, 1234, "bench-0")
    (record,) = caplog.records
    return record


def test_a_record_is_what_it_was_in_the_worker(caplog: pytest.LogCaptureFixture) -> None:
    record = handled(replace(text="grüße\n\tin \x1b[31mred\x1b[0m", trace="a\nb"), caplog)
    assert (record.name, record.levelno, record.created, record.msecs) == ("bench.voice", logging.ERROR, 100.25, 250.0)
    assert record.getMessage() == "grüße\n\tin \x1b[31mred\x1b[0m\x1b[0m"
    assert (record.pathname, record.filename, record.lineno, record.funcName) == ("/a/b.py", "b.py", 7, "say")
    assert (record.exc_text, record.process, record.processName) == ("a\nb", 1234, "bench-0")


def test_what_a_terminal_would_obey_is_escaped(caplog: pytest.LogCaptureFixture) -> None:
    bad, good = "a\x1b]0;owned\x07b\rc", "a\\x1b]0;owned\\x07b\\rc"
    record = handled(Log(bad, 50, bad, 0.0, bad, 1, bad, bad, bad), caplog)
    told = (record.name, record.getMessage(), record.pathname, record.funcName, record.exc_text, record.threadName)
    assert told == (good,) * 6


@pytest.mark.parametrize("created", [math.nan, math.inf, -math.inf, -1.0, 1e300])
def test_a_record_of_an_impossible_time_is_one_of_now(created: float, caplog: pytest.LogCaptureFixture) -> None:
    before = time.time()
    record = handled(replace(created=created), caplog)
    assert before <= record.created <= time.time()
    assert 0.0 <= record.msecs < 1000.0


def test_the_name_of_a_logger_is_cut_before_it_is_looked_for(caplog: pytest.LogCaptureFixture) -> None:
    record = handled(replace(logger="a." * 10_000_000), caplog)
    assert len(record.name) == 1_000


@pytest.mark.parametrize("error", [ValueError("refused"), SystemExit(3)])
def test_what_a_handler_of_the_program_raises_is_told_and_no_more(
    error: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    class Refusing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise error

    handler, logger = Refusing(), logging.getLogger(FRAME.logger)
    logger.addHandler(handler)
    try:
        log_as_own(FRAME, 1234, "bench-0")
    finally:
        logger.removeHandler(handler)
    assert "--- Logging error ---" in capsys.readouterr().err


class Level(enum.IntEnum):
    LOUD = 35


@pytest.mark.parametrize("level", [True, Level.LOUD])
def test_levels_of_any_kind_of_number_and_a_program_of_any_name_go_into_a_boot(
    level: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    loggers = [logging.getLogger("tests.level"), logging.getLogger("tests.\udcff")]
    monkeypatch.setattr("sys.argv", ["/tmp/\udcff.py"])
    for logger in loggers:
        logger.setLevel(level)
    try:
        levels = own_levels()
        frame = encode_frame(make_boot(0, "bench", b"", b"", None), 1)
    finally:
        for logger in loggers:
            logger.setLevel(logging.NOTSET)
    (boot,) = WorkerReader(1).feed(frame)
    assert isinstance(boot, Boot)
    assert levels["tests.level"] == boot.log_levels["tests.level"] == int(level)
    assert "tests.\udcff" not in levels
    assert boot.argv0.decode("utf-8", "surrogatepass") == "/tmp/\udcff.py"


class Broken(io.StringIO):
    def write(self, _text: str) -> int:
        raise RuntimeError("cannot be written to")


def test_what_a_handler_raises_is_passed_over_where_it_cannot_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_record: logging.LogRecord) -> bool:
        raise ValueError("refused")

    monkeypatch.setattr(sys, "stderr", Broken())
    logger = logging.getLogger("bench.voice")
    logger.addFilter(refuse)
    try:
        log_as_own(FRAME, 1234, "bench-0")
    finally:
        logger.removeFilter(refuse)
