"""A process place with real children: what arrives, what a death means, what is left."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from supervisors.errors import FrameError, InternalError
from supervisors.places.base import PART_BOUND, Lost, Port
from supervisors.places.process.child import GOODBYE_SECONDS, make_boot
from supervisors.places.process.launch import Launch
from supervisors.places.process.page import create_page_file
from supervisors.reasons import (
    Crashed,
    DeadlineExceeded,
    Killed,
    ProtocolError,
    Reason,
    Shutdown,
    StartFailed,
    record_error,
)
from supervisors.wire.frames import BootFailed, ParentReader, encode_frame
from supervisors.wire.values import encode
from tests.deeds import DEEDS
from tests.supervisors.places.bench import CLOSED, LAUNCHES, PATIENCE, Bench, Driver, Stepwise, driven, gone

pytestmark = pytest.mark.processes

IDS = [launch.start_method or "by default" for launch in LAUNCHES]


def test_requests_come_back_once_and_in_order() -> None:
    with driven() as driver:
        asked = [driver.ask("echo", index) for index in range(2_000)]
        driver.run(lambda: len(driver.done) == 2_000)
    assert driver.order == asked
    assert list(driver.done.values()) == list(range(2_000))
    assert driver.lost == []


def test_the_workers_of_a_pool_are_processes_of_their_own() -> None:
    with driven(3) as driver:
        for _ in range(12):
            driver.ask("wait", 0.01)
        for _ in range(12):
            driver.ask("facts")
        driver.run(lambda: len(driver.done) == 24)
        listed = driver.place.workers()
    facts = [value for value in driver.done.values() if isinstance(value, list)]
    assert {worker.pid for worker in listed} >= {fact[0] for fact in facts}
    assert os.getpid() not in {fact[0] for fact in facts}
    assert [(worker.number, worker.incarnation, worker.in_hand) for worker in listed] == [(n, 1, 0) for n in range(3)]
    assert all(fact[2] == [sys.argv[0]] and not fact[3] for fact in facts)


@pytest.mark.parametrize("launch", LAUNCHES, ids=IDS)
@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (("kill",), (signal.SIGKILL, None)),
        (("kill", int(signal.SIGTERM)), (signal.SIGTERM, None)),
        (("crash",), (signal.SIGSEGV, None)),
        (("sink", 7), (None, 7)),
        (("sink", 0), (None, 0)),
    ],
)
def test_a_death_names_the_request_it_came_in(
    request_: tuple[object, ...], expected: tuple[object, object], launch: Launch
) -> None:
    with driven(launch=launch) as driver:
        first = [driver.ask("echo", index) for index in range(300)]
        suspect = driver.ask(*request_)
        for index in range(300):
            driver.ask("echo", index)
        driver.run(lambda: driver.lost)
        ((number, reason, lost),) = driver.lost
        assert number == 0
        assert isinstance(reason, Crashed)
        assert (reason.signal, reason.exit_code) == expected
        assert reason.pid is not None
        assert psutil.pid_exists(reason.pid) is False
        assert lost.suspect == suspect
        # What had run before it came back as done or is told as run; nothing is in both, nothing is missing.
        assert [*driver.order, *lost.ran] == first
        assert list(lost.unbegun) == list(range(suspect + 1, suspect + 1 + len(lost.unbegun)))
        if request_ == ("crash",):
            assert any("Segmentation fault" in line for line in reason.last_output)


@pytest.mark.parametrize("launch", LAUNCHES, ids=IDS)
def test_a_worker_is_started_again_as_a_new_incarnation(launch: Launch) -> None:
    with driven(launch=launch) as driver:
        for incarnation in (2, 3):
            driver.ask("kill")
            driver.run(lambda: not driver.place.workers())
            driver.place.start(0, b"")
            driver.ask("echo", incarnation)
            driver.run(lambda incarnation=incarnation: incarnation in driver.done.values())
            assert [worker.incarnation for worker in driver.place.workers()] == [incarnation]
        with pytest.raises(InternalError, match="is running"):
            driver.place.start(0, b"")


def test_what_ran_without_its_result_having_arrived_is_told() -> None:
    with driven() as driver:
        for index in range(500):  # the window opens
            driver.ask("echo", index)
        driver.run(lambda: len(driver.done) == 500)
        asked = [driver.ask("echo", index) for index in range(100)]
        suspect = driver.ask("kill")
        driver.run(lambda: driver.lost)
    (_, _, lost) = driver.lost[0]
    assert [*driver.order[500:], *lost.ran] == asked
    assert lost.ran  # a batch dies with its worker
    assert lost.suspect == suspect


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (("fail", "why"), "ValueError: why"),
        (("leave", 3), "SystemExit: 3"),
        (("recurse",), "RecursionError: maximum recursion depth exceeded"),
        (("no_such_verb",), "AttributeError: 'Bench' object has no attribute 'no_such_verb'"),
        (("give", "text"), "FrameError: expected a result as bytes, got str"),
    ],
)
def test_whatever_a_request_raises_is_its_failure(request_: tuple[object, ...], text: str) -> None:
    with driven() as driver:
        before = driver.ask("echo", 1)
        failing = driver.ask(*request_)
        driver.run(lambda: driver.failed)
        after = driver.ask("facts")
        driver.run(lambda: after in driver.done)
    ((seq, described, returned),) = driver.failed
    assert (seq, returned) == (failing, ())
    assert described.startswith(text)
    assert driver.order == [before, after]
    assert driver.done[after][4] == [True, False]
    assert driver.lost == []


def test_a_failure_returns_what_was_not_begun_and_later_requests_run() -> None:
    with driven() as driver:
        for index in range(500):
            driver.ask("echo", index)
        driver.run(lambda: len(driver.done) == 500)
        failing = driver.ask("fail", "x")
        asked = [driver.ask("echo", index) for index in range(400)]
        driver.run(lambda: driver.failed)
        ((seq, _, returned),) = driver.failed
        assert seq == failing
        assert list(returned) == asked[: len(returned)]
        assert returned
        driver.run(lambda: len(driver.done) == 500 + 400 - len(returned))
    assert driver.order[500:] == asked[len(returned) :]


def test_a_child_that_left_its_channel_to_another_process_is_noticed_and_all_of_it_ended() -> None:
    with driven() as driver:
        suspect = driver.ask("breed", "die")
        driver.run(lambda: driver.lost)
        (_, reason, lost) = driver.lost[0]
        assert isinstance(reason, Crashed)
        assert lost == Lost(suspect, (), ())
        bred = int(driver.lines[0][2].split()[1])
        assert gone(bred)


def test_what_a_worker_has_started_ends_with_it() -> None:
    with driven() as driver:
        asked = driver.ask("breed")
        driver.run(lambda: asked in driver.done)
    assert gone(driver.done[asked])
    assert driver.lost == []


def test_a_copy_made_by_fork_does_not_speak_for_the_worker() -> None:
    with driven() as driver:
        asked = driver.ask("fork")
        driver.run(lambda: driver.done or driver.failed)
        assert driver.done == {asked: 3}
        again = driver.ask("echo", "still here")
        driver.run(lambda: again in driver.done)
    assert driver.failed == []


class Copying(Bench):
    """Forks, and lets the copy do what the verb is about."""

    def begin(self, request: bytes, port: Port) -> Stepwise:
        pid = os.fork()  # noqa: TID251  what a request does
        return super().begin(request if pid == 0 else encode(["await_copy", pid]), port)

    def await_copy(self, _port: Port, pid: int) -> Any:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("verb", ["stream", "steps"])
def test_a_copy_made_by_fork_hands_nothing_over_and_waits_for_nobody(verb: str) -> None:
    with driven(service=Copying()) as driver:
        asked = driver.ask(verb, 5, PART_BOUND)
        driver.run(lambda: driver.done or driver.lost)
    assert (driver.done, driver.parts, driver.lost) == ({asked: 0}, [], [])


@pytest.mark.parametrize("launch", LAUNCHES, ids=IDS)
def test_output_and_log_records_arrive(caplog: pytest.LogCaptureFixture, launch: Launch) -> None:
    with caplog.at_level(logging.INFO), driven(launch=launch) as driver:
        driver.ask("say", "to out: grüße", "to err")
        driver.run(lambda: driver.done and len(driver.lines) >= 2)
    assert sorted(driver.lines) == [(0, "stderr", "to err"), (0, "stdout", "to out: grüße")]
    (record,) = caplog.records
    assert (record.name, record.levelno, record.getMessage()) == ("bench.voice", logging.ERROR, "said to out: grüße")
    assert record.processName == "bench-0"
    assert record.process not in {None, os.getpid()}
    assert record.filename == "bench.py"
    assert record.exc_text is not None
    assert record.exc_text.endswith("ValueError: inner")


class Logging(Bench):
    """Logs records as bridges from other libraries make them."""

    def log(self, _port: Port) -> Any:
        logging.getLogger("bench.odd").log(True, "a flag")
        for fields in (
            {"name": None, "levelno": 30.5, "lineno": None, "created": 1},
            {"pathname": Path("a.py"), "levelno": 30, "threadName": 7},
        ):
            logging.getLogger().handle(logging.makeLogRecord({"name": "bench.odd", "msg": "made", **fields}))


def test_records_that_logging_is_content_with_arrive_and_do_not_break_the_channel(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(1), driven(service=Logging()) as driver:
        driver.ask("log")
        driver.run(lambda: driver.done or driver.lost)
    assert driver.lost == []
    assert driver.lines == []
    told = [(record.name, record.levelno, record.getMessage()) for record in caplog.records]
    assert told == [("bench.odd", 1, "a flag"), ("root", 30, "made"), ("bench.odd", 30, "made")]


def test_a_service_that_does_not_boot_is_a_failed_start() -> None:
    with driven(boot="refuse") as driver:
        ((_, reason, lost),) = driver.lost
    assert isinstance(reason, StartFailed)
    assert reason.error.text == "no such boot"
    assert "refuse" in reason.error.traceback
    assert lost == Lost(None, (), ())


WITHOUT_THREADS = """
import _thread, os, sys
from supervisors.places.process import worker

def give_none(*_called_with):
    raise RuntimeError("can't start new thread")

_thread.start_new_thread = give_none
worker.main(int(sys.argv[1]), int(sys.argv[2]), 1, 1_000_000, os.getppid())
"""


def test_a_worker_without_a_thread_for_its_channel_is_a_failed_start_that_says_so() -> None:
    own, its = socket.socketpair()
    page_fd = create_page_file(b"")
    with own, its:
        own.sendall(encode_frame(make_boot(0, "bench", b"", b"", None), 1))
        command = [sys.executable, "-c", WITHOUT_THREADS, str(its.fileno()), str(page_fd)]
        done = subprocess.run(command, pass_fds=(its.fileno(), page_fd), capture_output=True, text=True, check=False)
        its.close()
        [told] = ParentReader(1).feed(own.recv(100_000))
    os.close(page_fd)
    assert (done.returncode, done.stderr) == (1, "")
    assert isinstance(told, BootFailed)
    assert told.error.text == "can't start new thread"


@pytest.mark.parametrize("boot", ["kill", "sink"])
def test_a_death_while_booting_is_a_crash(boot: str) -> None:
    with driven(boot=boot) as driver:
        ((_, reason, lost),) = driver.lost
    assert isinstance(reason, Crashed)
    assert lost == Lost(None, (), ())


def test_a_service_that_cannot_be_decoded_is_a_failed_start() -> None:
    with driven(service=Undecodable()) as driver:
        ((_, reason, _),) = driver.lost
    assert isinstance(reason, StartFailed)
    assert reason.error.type == "supervisors.errors.ValueDecodingError"
    assert reason.error.text.startswith("what it runs could not be made again in its process: ")


class Telling(Bench):
    def describe_failure(self, error: BaseException) -> bytes:
        return encode(str(record_error(error)))


def test_no_deed_ends_the_worker() -> None:
    with driven(service=Telling()) as driver:
        for done, name in enumerate(DEEDS, start=1):
            driver.ask("do", name)
            driver.run(lambda done=done: len(driver.failed) == done)  # type: ignore[misc]
        assert driver.lost == []
        after = driver.ask("echo", 1)
        driver.run(lambda: after in driver.done)
    for (_, text, _), (_, told) in zip(driver.failed, DEEDS.values(), strict=True):
        assert text.startswith(told)


class Speechless(Bench):
    """Has no words for some errors."""

    def describe_failure(self, error: BaseException) -> bytes:
        if isinstance(error, ValueError):
            raise SystemExit("no words")
        return super().describe_failure(error)


def test_an_error_that_cannot_be_described_is_told_and_the_worker_goes_on() -> None:
    with driven(service=Speechless()) as driver:
        driver.ask("fail", "bad")
        after = driver.ask("echo", 1)
        driver.run(lambda: driver.failed and (after in driver.done or after in driver.failed[0][2]))
    assert driver.failed[0][1] == "UndescribedError: ValueError: bad"
    assert driver.lost == []


class Undecodable:
    def __reduce__(self) -> tuple[object, ...]:
        return int, ("no number",)


def test_a_boot_over_the_bound_of_a_frame_is_a_failed_start() -> None:
    with driven(max_frame_bytes=64) as driver:
        ((_, reason, _),) = driver.lost
    assert isinstance(reason, StartFailed)
    assert "over the bound of 64" in reason.error.text


def test_a_program_without_an_interpreter_is_a_failed_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    # The guardian is started with the first place, the worker after it: let one place hold both beforehand.
    with driven() as driver:
        ((_, reason, _),) = driver.lost
    assert isinstance(reason, StartFailed)
    assert "/nonexistent/python" in reason.error.text


def test_a_start_that_takes_too_long_is_a_failed_start() -> None:
    with driven(boot="doze", service=Dozing(), start_timeout=0.5) as driver:
        ((_, reason, _),) = driver.lost
    assert isinstance(reason, StartFailed)
    assert "was not ready within 0.5 s" in reason.error.text


class Dozing:
    def boot(self, _number: int, _boot: bytes) -> None:
        threading.Event().wait(PATIENCE)


def test_a_request_that_takes_too_long_is_ended() -> None:
    with driven(timeout=0.3) as driver:
        fine = driver.ask("wait", 0.1)
        slow = driver.ask("wait", PATIENCE)
        driver.run(lambda: driver.lost)
    assert driver.order == [fine]
    ((_, reason, lost),) = driver.lost
    assert isinstance(reason, DeadlineExceeded)
    assert lost == Lost(slow, (), ())


def test_a_wait_for_a_grant_is_not_counted_against_the_timeout() -> None:
    with driven(timeout=0.3, grants=False) as driver:
        asked = driver.ask("stream", 2, PART_BOUND)
        driver.run(lambda: driver.parts)
        end = time.monotonic() + 0.6
        driver.run(lambda: time.monotonic() > end, 0.01)
        assert driver.lost == []
        driver.place.grant(0, asked)
        driver.run(lambda: driver.done)
    assert driver.parts == [(asked, 0), (asked, 1)]


@pytest.mark.parametrize("verb", ["stream", "steps"])
def test_parts_wait_for_their_grants(verb: str) -> None:
    with driven(grants=False) as driver:
        asked = driver.ask(verb, 5, PART_BOUND // 2)
        for sent in (2, 3, 4, 5):
            driver.run(lambda sent=sent: len(driver.parts) >= sent)
            end = time.monotonic() + 0.1
            driver.run(lambda end=end: time.monotonic() > end, 0.01)
            assert len(driver.parts) == sent  # the next one waits
            driver.place.grant(0, asked)
        driver.run(lambda: driver.done)
    assert [part for _, part in driver.parts] == [0, 1, 2, 3, 4]


def test_a_part_that_is_confirmed_waits_for_its_grant_and_all_before_it() -> None:
    with driven(timeout=0.3, grants=False) as driver:
        asked = driver.ask("confirm", 2)
        driver.run(lambda: len(driver.parts) == 3)
        for _ in range(3):
            end = time.monotonic() + 0.2
            driver.run(lambda end=end: time.monotonic() > end, 0.01)
            assert (driver.done, driver.lost) == ({}, [])
            driver.place.grant(0, asked)
        driver.run(lambda: driver.done)
    assert driver.done == {asked: "confirmed"}


def test_a_part_that_is_confirmed_is_waited_for_no_longer_than_the_worker_lives() -> None:
    with driven(grants=False) as driver:
        asked = driver.ask("confirm", 0)
        driver.run(lambda: driver.parts)
        driver.place.close(PATIENCE)
        driver.run(lambda: driver.closed)
    assert driver.done == {}
    assert asked in {seq for _, _, lost in driver.lost for seq in (lost.suspect, *lost.ran, *lost.unbegun)} | {
        seq for seq, _, _ in driver.failed
    }


@pytest.mark.parametrize("request_", [("garbage",), ("hang_up",), ("lie", 99)])
def test_a_worker_that_breaks_the_protocol_is_ended(request_: tuple[object, ...]) -> None:
    with driven() as driver:
        asked = driver.ask(*request_)
        driver.run(lambda: driver.lost)
        ((_, reason, lost),) = driver.lost
    assert isinstance(reason, ProtocolError), reason
    assert lost == Lost(asked, (), ())


@pytest.mark.parametrize("workers", [1, 2])
def test_the_one_that_writes_nonsense_is_found_among_many_and_the_others_come_through(workers: int) -> None:
    with driven(workers) as driver:
        for index in range(500):  # the window opens
            driver.ask("echo", index)
        driver.run(lambda: len(driver.done) == 500)
        asked = [driver.ask("echo", index) for index in range(40)]
        culprit = driver.ask("scribble")
        asked += [driver.ask("echo", index) for index in range(40)]
        found = []
        losses = 0
        while not found:
            driver.run(lambda losses=losses: len(driver.lost) > losses)
            losses += 1
            number, reason, lost = driver.lost[-1]
            assert isinstance(reason, ProtocolError)
            driver.put_back((*lost.ran, *lost.unbegun))
            driver.place.start(number, b"")
            found = [] if lost.suspect is None else [lost.suspect]
        driver.run(lambda: len(driver.done) == 500 + len(asked))
    assert found == [culprit]
    assert losses <= 2  # once among others, once alone
    if workers == 1:
        assert driver.order[500:] == asked


@pytest.mark.parametrize("verb", ["refuse_done", "refuse_part", "refuse_failed"])
def test_a_report_that_cannot_be_read_names_its_request(verb: str) -> None:
    with driven() as driver:
        for index in range(500):
            driver.ask("echo", index)
        driver.run(lambda: len(driver.done) == 500)
        before = [driver.ask("echo", index) for index in range(20)]
        culprit = driver.ask(*{"refuse_done": ("echo", 0), "refuse_part": ("stream", 1, 1)}.get(verb, ("fail", "x")))
        behind = [driver.ask("echo", index) for index in range(20)]
        driver.unreadable = culprit
        driver.run(lambda: driver.lost)
    ((_, reason, lost),) = driver.lost
    assert isinstance(reason, ProtocolError)
    assert reason.detail == "unreadable"
    assert lost.suspect == culprit
    assert driver.order[500:] == before
    assert list(lost.unbegun) == behind[: len(lost.unbegun)]
    assert (driver.failed, driver.parts) == ([], [])


def test_a_worker_is_killed_with_the_reason_given() -> None:
    with driven() as driver:
        asked = driver.ask("wait", PATIENCE)
        driver.run(lambda: driver.place.workers()[0].current == asked, 0.01)
        driver.place.kill(0, Shutdown("test"))
        driver.place.kill(0, Shutdown("again"))
        driver.run(lambda: driver.lost)
        driver.place.kill(0, Shutdown("not running"))
    assert driver.lost == [(0, Shutdown("test"), Lost(asked, (), ()))]


@pytest.mark.parametrize("launch", LAUNCHES, ids=IDS)
def test_a_worker_is_killed_while_it_starts(launch: Launch) -> None:
    driver = Driver(2, launch=launch)
    with contextlib.closing(driver.poller):
        for number in range(2):
            driver.place.start(number, b"")
            driver.place.kill(number, Shutdown("early"))
        driver.run(lambda: len(driver.lost) == 2)
        driver.close()
    assert [reason for _, reason, _ in driver.lost] == [Shutdown("early")] * 2


def test_a_busy_worker_may_finish_within_the_time_of_a_close() -> None:
    with driven() as driver:
        asked = driver.ask("wait", 0.3)
        driver.run(lambda: driver.place.workers()[0].current == asked, 0.01)
        driver.close(PATIENCE)
    assert driver.order == [asked]
    assert driver.lost == []


def test_a_busy_worker_is_killed_when_the_time_of_a_close_is_over() -> None:
    with driven() as driver:
        asked = driver.ask("wait", PATIENCE)
        driver.run(lambda: driver.place.workers()[0].current == asked, 0.01)
        driver.close(0.1)
    assert driver.lost == [(0, CLOSED, Lost(asked, (), ()))]


@pytest.mark.parametrize(
    "before",
    [
        pytest.param([("echo", 1)], id="short"),
        # The deputy has been needed already, and may listen still.
        pytest.param([("wait", 0.05), ("echo", 1)], id="long and short"),
        pytest.param([("echo", 1), ("wait", 0.05), ("echo", 2), ("echo", 3)], id="in between"),
    ],
)
def test_a_long_request_does_not_hold_back_the_results_of_those_before_it(
    before: list[tuple[str, float]], tmp_path: Path
) -> None:
    with driven() as driver:
        for index in range(300):  # the window opens, so that all that follows is sent together
            driver.ask("echo", index)
        driver.run(lambda: len(driver.done) == 300)
        asked = [driver.ask(*request) for request in before]
        long = driver.ask("block", str(tmp_path / "go on"))
        driver.run(lambda: all(seq in driver.done for seq in asked))
        assert long not in driver.done
        (tmp_path / "go on").touch()
        driver.run(lambda: long in driver.done)


def test_a_worker_that_lingers_after_its_last_request_does_not_hold_a_close_up() -> None:
    with driven(service=Lingering()) as driver:
        asked = driver.ask("x")
        driver.run(lambda: driver.place.workers()[0].current == asked, 0.01)
        driver.close(10 * PATIENCE)  # far beyond the patience of `run`
    assert driver.order == [asked]


class Lingering:
    """Leaves a thread behind that keeps its process from ending."""

    request_type = result_type = bytes
    batch_type = None
    touched = True

    def boot(self, _number: int, _boot: bytes) -> None:
        threading.Thread(target=threading.Event().wait).start()

    def begin(self, _request: bytes, _port: object) -> Lingering:
        threading.Event().wait(0.3)
        return self

    def advance(self) -> bool:
        return True

    @property
    def result(self) -> bytes:
        return b"\x01\xc0"

    def settle(self, *, accepted: bool) -> None:
        assert accepted

    def close(self, _reason: Reason) -> None:
        """Do nothing."""


class Parting(Bench):
    """Takes longer to close than a worker gets that has nothing to do, or dies of it."""

    def close(self, reason: Reason) -> None:
        threading.Event().wait(GOODBYE_SECONDS * 1.3)
        print(reason)  # noqa: T201
        if isinstance(reason, Killed):
            os._exit(3)


def test_a_service_is_closed_for_the_reason_it_is_told_and_in_the_time_of_the_close() -> None:
    with driven(service=Parting()) as driver:
        asked = [driver.ask("echo", index) for index in range(50)]
        driver.run(lambda: len(driver.done) == len(asked))
        driver.place.close(math.inf, Shutdown("enough"))
        assert driver.place.next_deadline() is None
        driver.run(lambda: driver.closed)
    assert driver.lines == [(0, "stdout", "shut down (enough)")]
    assert driver.lost == []


def test_a_worker_that_dies_of_its_close_is_told_even_if_it_held_nothing() -> None:
    with driven(service=Parting()) as driver:
        driver.place.close(PATIENCE, Killed())
        driver.run(lambda: driver.closed)
    ((_, reason, lost),) = driver.lost
    assert isinstance(reason, Crashed)
    assert (reason.exit_code, lost) == (3, Lost(None, (), ()))


def test_what_a_closing_worker_has_not_begun_is_given_back_and_its_service_closes_after_the_request_it_is_on() -> None:
    with driven(service=Parting()) as driver:
        for index in range(300):  # the window opens
            driver.ask("echo", index)
        driver.run(lambda: len(driver.done) == 300)
        current = driver.ask("wait", 0.3)
        behind = [driver.ask("echo", index) for index in range(5)]
        driver.run(lambda: driver.place.workers()[0].current == current, 0.01)
        driver.place.close(math.inf, Shutdown("enough"))
        driver.run(lambda: driver.closed)
    assert driver.order[-1] == current
    assert driver.lost == [(0, CLOSED, Lost(None, (), tuple(behind)))]
    assert driver.lines == [(0, "stdout", "shut down (enough)")]


def test_a_place_that_never_started_closes_and_one_that_is_closed_stays_so() -> None:
    driver = Driver()
    with contextlib.closing(driver.poller):
        driver.close()
        driver.place.close(1.0)
        driver.place.abort()
        driver.place.abort()
    assert driver.closed == 1


@pytest.mark.parametrize("launch", LAUNCHES, ids=IDS)
def test_an_abort_ends_everything_before_it_returns(launch: Launch) -> None:
    driver = Driver(2, launch=launch)
    with contextlib.closing(driver.poller):
        driver.start()
        driver.ask("wait", PATIENCE)
        driver.hand_out()
        pids = [worker.pid for worker in driver.place.workers()]
        driver.place.abort()
        assert not any(psutil.pid_exists(pid) for pid in pids if pid)
    assert driver.lost == []


def test_large_bodies_both_ways_do_not_deadlock() -> None:
    body = os.urandom(64 * 1024)
    with driven() as driver:
        for _ in range(400):
            driver.ask("echo", body)
        driver.run(lambda: len(driver.done) == 400)
    assert set(driver.done.values()) == {body}


def test_a_body_far_over_the_buffers_of_a_channel_comes_through() -> None:
    body = os.urandom(1 << 20) * 24
    with driven() as driver:
        driver.ask("echo", body)
        driver.run(lambda: driver.done)
    assert list(driver.done.values()) == [body]


def test_a_body_over_the_bound_of_a_frame_is_a_failure_of_its_request_alone() -> None:
    with driven(max_frame_bytes=1 << 20) as driver:
        fine = driver.ask("enlarge", 1000)
        large = driver.ask("enlarge", 1 << 20)
        driver.run(lambda: driver.failed)
        after = driver.ask("enlarge", 1000)
        driver.run(lambda: after in driver.done)
        assert driver.order == [fine, after]
        ((seq, text, _),) = driver.failed
        assert seq == large
        assert text.startswith("FrameError: a result of 1048")
        with pytest.raises(FrameError, match="over the bound"):
            driver.place.submit(0, [(99, bytes(1 << 20))])
        assert driver.place.workers()[0].in_hand == 0
        for _ in range(50):  # requests that would fill more than a frame together
            driver.ask("echo", b"x" * 100_000)
        driver.run(lambda: len(driver.done) == 52)


def test_a_worker_that_floods_its_output_is_read_and_its_lines_are_bounded() -> None:
    with driven() as driver:
        driver.ask("say", "x" * 1_000_000 + "\nend", "")
        driver.run(lambda: driver.done and (0, "stdout", "end") in driver.lines)
    out = [line for _, stream, line in driver.lines if stream == "stdout"]
    assert "".join(out) == "x" * 1_000_000 + "end"
    assert max(map(len, out)) <= 64 * 1024


def test_a_daemon_that_goes_on_writing_does_not_keep_the_place_from_noticing_the_death() -> None:
    with driven(service=Escaping()) as driver:
        driver.ask("x")
        driver.run(lambda: driver.lost)
        escaped = int(next(line for _, _, line in driver.lines if line.startswith("escaped")).split()[1])
        os.kill(escaped, signal.SIGKILL)
        assert gone(escaped)


class Escaping:
    """Starts a process that leaves the session, writes without end, and outlives its parents."""

    request_type = result_type = bytes
    batch_type = None

    def boot(self, _number: int, _boot: bytes) -> None:
        return

    def begin(self, _request: bytes, _port: object) -> object:
        # The middle process ends, so that the writer is no descendant any more; `exec` keeps the number.
        subprocess.Popen(["sh", "-c", "(setsid sh -c 'echo escaped $$; exec yes' &)"], stdin=subprocess.DEVNULL)
        threading.Event().wait(0.5)
        os.kill(os.getpid(), signal.SIGKILL)
        return None


@dataclasses.dataclass
class Point:
    x: int


GUARDLESS = """
    import dataclasses, os, sys
    print("main", flush=True)
    from tests.supervisors.places.bench import Bench, driven

    @dataclasses.dataclass
    class Point:
        x: int

    class Own(Bench):
        double = staticmethod(lambda point: Point(point.x * 2))

        def scale(self, port, point):
            assert type(point) is Point
            return self.double(point)

    with driven(service=Own()) as driver:
        sent = Point(21)
        driver.ask("scale", sent)
        driver.run(lambda: driver.done)
    (result,) = driver.done.values()
    assert type(result) is Point and result == Point(42), result
    assert Point.__init__.__globals__ is not None and driver.lost == []
    print("same", flush=True)
"""


def test_a_script_without_a_guard_keeps_the_identity_of_its_classes(tmp_path: Path) -> None:
    done = run_script(tmp_path, GUARDLESS)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["main", "same"]


ORPHANING = """
    from tests.supervisors.places.bench import LAUNCHES, driven
    with driven(2, launch=LAUNCHES[{launch}]) as driver:
        driver.ask("wait", 600.0)
        driver.hand_out()
        print(*(worker.pid for worker in driver.place.workers()), flush=True)
        input()
"""


@pytest.mark.parametrize("launch", range(len(LAUNCHES)), ids=IDS)
def test_a_killed_program_takes_its_workers_with_it(launch: int) -> None:
    command = [sys.executable, "-c", textwrap.dedent(ORPHANING.format(launch=launch))]
    program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with program:
        assert program.stdout is not None
        pids = [int(pid) for pid in program.stdout.readline().split()]
        assert len(pids) == 2
        assert all(map(psutil.pid_exists, pids))
        program.kill()
    end = time.monotonic() + 1.0
    assert all(gone(pid) for pid in pids)
    assert time.monotonic() < end


def run_script(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    path = folder / "script.py"
    path.write_text(textwrap.dedent(text))
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    return subprocess.run(
        [sys.executable, str(path)], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_throughput_of_tiny_requests(capsys: pytest.CaptureFixture[str]) -> None:
    with driven() as driver:
        for index in range(20_000):
            driver.ask("echo", index)
        began = time.monotonic()
        driver.run(lambda: len(driver.done) == 20_000)
        seconds = time.monotonic() - began
    with capsys.disabled():
        print(f"[{20_000 / seconds:,.0f} requests/s]", end=" ")  # noqa: T201
