"""One line a failure on the log of the program, and never more than it can bear."""

from __future__ import annotations

import logging
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import routilux
from routilux import ErrorHandler, Flow, JobState, Routine
from routilux.runtime.reports import FREE_LINES

SECOND = "routine 'choosy': message ID (entry -> choosy.input), "
PLACE = "(at test_failure_log.py:N in handle)"
PLACEMENTS = ["thread", pytest.param("process", marks=pytest.mark.processes)]


class Choosy(Routine):
    """Does what a message says."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)
        self.define_event("done", ["n"])

    def handle(self, n: int) -> None:
        if n == 1:
            raise ValueError(f"bad row {n}")
        if n == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        if n == 4:
            self.emit("undone", n=n)
        self.emit("done", n=n)


def run(numbers: list[int], placement: str, handler: ErrorHandler) -> JobState:
    flow = Flow("choosy")
    flow.add_routine(Choosy(), "choosy", placement=placement, error_handler=handler)
    flow.output("choosy", "done")
    job = flow.start(keep_open=True)
    for n in numbers:
        job.send("choosy", "input", n=n)
    job.close_entry()
    return job.wait(60)


def lines(caplog: pytest.LogCaptureFixture, level: int = logging.INFO) -> list[str]:
    told = [record.getMessage() for record in caplog.records if record.name == "routilux" and record.levelno >= level]
    told = [re.sub(r"(message|result) [0-9a-f]{32}", r"\1 ID", line) for line in told]
    return [re.sub(r'(test_failure_log\.py(?::|", line ))\d+', r"\1N", line) for line in told]


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_every_failure_has_a_line_that_says_what_follows(placement: str, caplog: pytest.LogCaptureFixture) -> None:
    handler = ErrorHandler("retry", max_retries=1, retry_delay=0.0, then="continue")
    assert run([0, 1, 3], placement, handler).status == "completed"
    assert lines(caplog) == [
        f"{SECOND}try 1 of 2: raised ValueError: bad row 1 {PLACE}; tried again now",
        f"{SECOND}try 2 of 2: raised ValueError: bad row 1 {PLACE}; given up (dead letter)",
    ]
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


@pytest.mark.processes
def test_a_death_is_told_with_what_becomes_of_the_worker(caplog: pytest.LogCaptureFixture) -> None:
    assert run([0, 2, 3], "process", ErrorHandler("continue")).status == "completed"
    [line] = lines(caplog)
    assert line.startswith(f"{SECOND}try 1 of 1: process ")
    assert re.search(
        r" was ended by SIGKILL \(peak \d+ MiB\); given up \(dead letter\); its worker is replaced now$", line
    )


@pytest.mark.parametrize("strategy", ["stop", "skip"])
def test_what_gives_up_more_than_a_message_is_an_error(strategy: str, caplog: pytest.LogCaptureFixture) -> None:
    state = run([1], "thread", ErrorHandler(strategy))
    [record] = [record for record in caplog.records if record.name == "routilux"]
    assert record.levelno == logging.ERROR
    told = {"stop": "; the job stops", "skip": "; given up (dead letter); the routine is skipped"}
    line, *stack = lines(caplog)[0].split("\n")
    assert line.endswith(f"raised ValueError: bad row 1 {PLACE}" + told[strategy])
    assert [told.strip() for told in stack] == [
        "Traceback (most recent call last):",
        f'File "{__file__}", line N, in handle',
        'raise ValueError(f"bad row {n}")',
        "ValueError: bad row 1",
    ]
    assert state.status == ("failed" if strategy == "stop" else "completed")


def test_a_stack_has_our_frames_where_they_are_wanted(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []
    for wanted in ("0", "1"):
        monkeypatch.setenv("ROUTILUX_FULL_TRACEBACK", wanted)
        run([4], "thread", ErrorHandler("stop"))
        told.append(lines(caplog)[-1])
    ours = str(Path(routilux.__file__).parent)
    assert "graph.py" not in told[0]
    assert ours not in told[0]
    assert told[0].endswith("[frames of routilux are left out; ROUTILUX_FULL_TRACEBACK=1 shows them]")
    assert ours in told[1]


@pytest.mark.parametrize("strategy", ["stop", "continue"])
def test_the_state_tells_of_an_error_in_one_line_that_no_terminal_obeys(strategy: str) -> None:
    class Hostile(Choosy):
        def handle(self, n: int) -> None:
            raise ValueError("two\nlines \x1b[2J")

    flow = Flow("hostile")
    flow.add_routine(Hostile(), "hostile", error_handler=ErrorHandler(strategy))
    with flow.start(keep_open=True) as job:
        job.send("hostile", "input", n=1)
    told = "raised ValueError: two\\nlines \\x1b[2J"
    state = job.state
    assert state.routine_states["hostile"]["error"] == told
    assert state.error == (f"routine 'hostile': {told}" if strategy == "stop" else None)


def test_the_traceback_follows_at_debug(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="routilux"):
        run([1], "thread", ErrorHandler("continue"))
    line, full = lines(caplog, logging.DEBUG)
    assert "Traceback" not in line
    assert full.startswith("Traceback (most recent call last):\n")
    assert full.endswith("ValueError: bad row 1")


def test_a_flood_of_failures_is_told_as_a_few_lines_and_a_count(caplog: pytest.LogCaptureFixture) -> None:
    count = 2_000
    state = run([1] * count, "thread", ErrorHandler("continue"))
    assert state.routine_states["choosy"]["failed"] == count
    told = lines(caplog)
    assert told[FREE_LINES - 1].endswith("; given up (dead letter)")
    # One a second after that, however fast this machine is; each tells of those before it, the last of all others.
    assert "got no line" in told[-1]
    left_out = sum(count_left_out(line) for line in told)
    written = sum("try 1 of 1" in line for line in told)
    assert left_out + written == count
    assert written < count / 2


def test_every_record_names_flow_job_and_routine_so_that_jobs_of_one_flow_are_told_apart(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.DEBUG, logger="routilux"):
        jobs = [run([1] * (FREE_LINES + 5), "thread", ErrorHandler("continue")).job_id for _ in range(2)]
    told = [origin(record) for record in caplog.records if record.name == "routilux"]
    assert set(told) == {("choosy", job_id, "choosy") for job_id in jobs}
    assert any("got no line" in line for line in lines(caplog))


@pytest.mark.parametrize("timeout", [None, 0.2])
def test_what_is_told_of_a_thread_that_hangs_names_them_too(
    timeout: float | None, caplog: pytest.LogCaptureFixture
) -> None:
    routine = Staying()
    flow = Flow("hanging")
    flow.add_routine(routine, "staying", timeout=timeout, error_handler=ErrorHandler("continue"))
    job = flow.start("staying", {}, shutdown=0.0)
    try:
        assert routine.is_inside.wait(30)
        if timeout is None:
            job.cancel()
        job.wait(30)
    finally:
        routine.is_over.set()
    told = [record for record in caplog.records if record.name == "routilux"]
    assert {origin(record) for record in told} == {("hanging", job.id, "staying")}
    assert any("is still in its handler on a thread" in line for line in lines(caplog))
    assert timeout is None or any("has been on message" in line for line in lines(caplog))


class Staying(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.handle)
        self.is_inside, self.is_over = threading.Event(), threading.Event()

    def handle(self) -> None:
        self.is_inside.set()
        self.is_over.wait(60)


def origin(record: logging.LogRecord) -> tuple[str, str, str]:
    told = vars(record)
    return told["flow_id"], told["job_id"], told["routine_id"]


def count_left_out(line: str) -> int:
    found = re.search(r"([\d,]+) (?:more failures?|before it) got no line", line)
    return int(found[1].replace(",", "")) if found else 0


class Slow(logging.Handler):
    """A log handler that takes until `is_done` gives True."""

    def __init__(self, is_done: Callable[[], bool]) -> None:
        super().__init__()
        self.is_done = is_done

    def emit(self, _record: logging.LogRecord) -> None:
        deadline = time.monotonic() + 30
        while not self.is_done() and time.monotonic() < deadline:
            threading.Event().wait(0.001)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_a_message_that_stops_the_job_is_not_run_again_however_long_its_line_takes(placement: str) -> None:
    flow = Flow("choosy")
    flow.add_routine(Choosy(), "choosy", placement=placement)
    job = flow.start(keep_open=True)
    [account] = job.ledger.accounts
    # Until the message is back in its mailbox, where the job's end is to find it, or was run again.
    handler = Slow(lambda: bool(account.mailbox) or account.failed > 1)
    logging.getLogger("routilux").addHandler(handler)
    try:
        job.send("choosy", "input", n=1)
        state = job.wait(60)
    finally:
        logging.getLogger("routilux").removeHandler(handler)
    assert (state.status, state.routine_states["choosy"]["failed"]) == ("failed", 1)
    assert state.routine_states["choosy"]["stats"]["waiting"] == 1


@pytest.mark.processes
def test_a_worker_that_could_not_start_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    flow = Flow("boot")
    flow.add_routine(Bootless(), "bootless", placement="process", max_restarts=1)
    assert flow.execute("bootless", {}).status == "failed"
    again, stops = lines(caplog)
    subject = "routine 'bootless': worker 0, with no message in hand: could not start: "
    assert again.startswith(subject)
    assert again.endswith(
        "what it runs could not be made again in its process: RuntimeError: cannot be here "
        "(at test_failure_log.py:N in refuse); its worker is replaced now"
    )
    assert stops.startswith(subject)
    line, *stack = stops.split("\n")
    assert line.endswith("; the job stops: more than 1 fruitless restart in 5 s")
    assert stack[1].endswith("in refuse")


class Bootless(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.handle)

    def handle(self) -> None:
        return

    def __reduce__(self) -> tuple[Any, ...]:
        return refuse, ()


def refuse() -> None:
    raise RuntimeError("cannot be here")


@pytest.mark.processes
def test_a_result_that_cannot_be_read_has_a_line(caplog: pytest.LogCaptureFixture) -> None:
    flow = Flow("results")
    flow.add_routine(Giver(), "giver", placement="process")
    flow.output("giver", "value")
    assert flow.execute("giver", {}).status == "completed"
    [line] = lines(caplog)
    assert line.startswith("routine 'giver': result ")
    assert "(giver.value -> output)" in line
    assert "cannot be here" in line
    assert line.endswith("; given up (dead letter)")


class Giver(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.handle)
        self.define_event("value", ["value"])

    def handle(self) -> None:
        self.emit("value", value=Bootless())


class Failing(logging.Handler):
    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error
        self.seen = 0

    def handle(self, record: logging.LogRecord) -> bool:
        self.seen += 1
        raise self.error


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger("routilux")
    before = logger.handlers[:], logger.filters[:]
    yield logger
    logger.handlers[:], logger.filters[:] = before


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_a_log_handler_or_filter_that_raises_changes_nothing(
    error: BaseException, logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = ErrorHandler("retry", max_retries=1, retry_delay=0.0, then="continue")
    expected = run([0, 1, 3], "thread", handler)
    failing = Failing(error)
    logger.addHandler(failing)

    state = run([0, 1, 3], "thread", handler)
    assert failing.seen == 2
    assert_same(state, expected)

    def refuse_record(_record: logging.LogRecord) -> bool:
        raise error

    logger.removeHandler(failing)
    logger.addFilter(refuse_record)
    assert_same(run([0, 1, 3], "thread", handler), expected)
    assert type(error).__name__ in capsys.readouterr().err


def assert_same(state: JobState, expected: JobState) -> None:
    assert state.status == expected.status == "completed"
    assert state.routine_states == expected.routine_states
    assert [letter.cause for letter in state.dead_letters] == [letter.cause for letter in expected.dead_letters]
    assert [record.kind for record in state.history] == [record.kind for record in expected.history]
