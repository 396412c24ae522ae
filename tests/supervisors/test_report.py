from __future__ import annotations

import io
import logging
import sys
import threading
from collections.abc import Iterator

import pytest

from supervisors.report import reporter


class Failing(logging.Handler):
    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def emit(self, record: logging.LogRecord) -> None:
        raise self.error


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger("tests.report")
    yield logger
    logger.handlers.clear()


def test_it_logs_as_the_line_that_called_it(caplog: pytest.LogCaptureFixture) -> None:
    reporter("tests.report").warning("%s happened", "this")
    [record] = caplog.records
    assert (record.getMessage(), record.filename, record.name) == ("this happened", "test_report.py", "tests.report")


def test_what_a_record_is_to_say_beside_its_line_stays(caplog: pytest.LogCaptureFixture) -> None:
    reporter("tests.report").warning("told", extra={"job_id": "one"})
    [record] = caplog.records
    assert vars(record)["job_id"] == "one"


@pytest.mark.parametrize("error", [ValueError("a handler failed"), SystemExit(3), GeneratorExit()])
def test_what_a_log_handler_raises_is_told_and_goes_no_further(
    logger: logging.Logger, error: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    logger.addHandler(Failing(error))
    reporter("tests.report").error("told %d times", 1)
    told = capsys.readouterr().err
    assert type(error).__name__ in told
    assert "told %d times" in told


class Broken(io.StringIO):
    """A stderr of the program's own."""

    def write(self, _text: str) -> int:
        raise RuntimeError("cannot be written to")


@pytest.mark.parametrize("is_closed", [True, False])
def test_a_stderr_that_cannot_be_written_to_makes_nothing_raise(
    logger: logging.Logger, monkeypatch: pytest.MonkeyPatch, is_closed: bool
) -> None:
    stream = Broken()
    if is_closed:
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    logger.addHandler(logging.StreamHandler())
    reporter("tests.report").error("told")
    logger.addHandler(Failing(SystemExit(3)))
    reporter("tests.report").error("told")


def test_ctrl_c_passes(logger: logging.Logger) -> None:
    logger.addHandler(Failing(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        reporter("tests.report").error("told")


def test_what_looks_like_ctrl_c_goes_no_further_on_a_thread_that_gets_none(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    logger.addHandler(Failing(KeyboardInterrupt()))
    told = threading.Event()

    def tell() -> None:
        reporter("tests.report").error("told")
        told.set()

    thread = threading.Thread(target=tell)
    thread.start()
    thread.join()
    assert told.is_set()
    assert "KeyboardInterrupt" in capsys.readouterr().err
