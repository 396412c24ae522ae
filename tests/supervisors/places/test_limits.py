"""A worker that goes over its limits is ended whatever it does, and its message alone pays."""

from __future__ import annotations

import logging
import math
import mmap
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisors.places.base import Lost, Port
from supervisors.reasons import DeadlineExceeded, OutOfMemory, Shutdown
from tests.supervisors.places.bench import PATIENCE, Bench, driven, gone

pytestmark = pytest.mark.processes

MIB = 2**20
TIMEOUT = 0.5


class Unruly(Bench):
    """Hangs in ways that are hard to end, and holds memory in several."""

    def spin(self, _port: Port) -> Any:
        return sum(range(10**12))

    def backtrack(self, _port: Port) -> Any:
        return re.match("(a+)+$", 60 * "a" + "b")

    def wait_for(self, _port: Port, path: str) -> Any:
        never = threading.Event()
        while not Path(path).exists():
            never.wait(0.01)

    def ignore(self, port: Port) -> Any:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return self.wait(port, PATIENCE)

    def swallow(self, port: Port) -> Any:
        signal.signal(signal.SIGTERM, lambda _number, _frame: None)
        return self.wait(port, PATIENCE)

    def block(self, port: Port) -> Any:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        return self.wait(port, PATIENCE)

    def stop(self, port: Port) -> Any:
        os.kill(os.getpid(), signal.SIGSTOP)
        return self.wait(port, PATIENCE)

    def clean_up(self, port: Port) -> Any:
        def clean(_number: int, _frame: object) -> None:
            logging.getLogger("bench.cleaning").warning("cleaned up")
            sys.exit(5)

        signal.signal(signal.SIGTERM, clean)
        return self.wait(port, PATIENCE)

    def finish_late(self, _port: Port) -> Any:
        """Return a result, but only once it was asked to end."""
        told = threading.Event()
        signal.signal(signal.SIGTERM, lambda _number, _frame: told.set())
        told.wait(PATIENCE)
        return "late"

    def stream_late(self, port: Port) -> Iterator[None]:
        self.finish_late(port)
        yield from self.steps(port, 3, 1)

    def hold(self, port: Port, size: int) -> Any:
        """Hold memory that no bound on data counts."""
        held = mmap.mmap(-1, size)
        for at in range(0, size, mmap.PAGESIZE):
            held[at] = 1
        return self.wait(port, PATIENCE)

    def hold_in_others(self, port: Port, size: int, count: int) -> Any:
        program = f"held = bytearray({size}); input()"
        for _ in range(count):
            subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE)
        return self.wait(port, PATIENCE)

    def take(self, _port: Port, size: int) -> Any:
        return len(bytes(size))


@pytest.mark.parametrize(
    ("verb", "place"),
    [
        ("wait", "in wait"),
        pytest.param("spin", "in spin", marks=pytest.mark.stress),
        pytest.param("backtrack", "in backtrack", marks=pytest.mark.stress),
        ("ignore", "in ignore"),
        pytest.param("swallow", "in swallow", marks=pytest.mark.stress),
        ("block", "in block"),
        ("stop", ""),
    ],
)
def test_whatever_hangs_is_ended_with_its_stack(verb: str, place: str) -> None:
    with driven(service=Unruly(), timeout=TIMEOUT) as driver:
        slow = driver.ask(verb, *([PATIENCE] if verb == "wait" else []))
        driver.run(lambda: driver.lost)
        driver.place.start(0, b"")
        after = driver.ask("echo", 1)
        driver.run(lambda: after in driver.done)
    ((_, reason, lost),) = driver.lost
    assert isinstance(reason, DeadlineExceeded)
    assert reason.seconds == TIMEOUT
    assert reason.pid is not None
    assert place in reason.stack
    assert str(reason) == "took longer than 0.5 s and was ended"
    assert lost == Lost(slow, (), ())


def test_a_slow_handler_is_warned_of_with_its_stack_and_not_ended(tmp_path: Path) -> None:
    sign = tmp_path / "go"
    with driven(service=Unruly(), timeout=4.0) as driver:
        asked = driver.ask("wait_for", str(sign))
        driver.run(lambda: driver.warned or driver.lost)
        sign.touch()
        driver.run(lambda: driver.done or driver.lost)
    assert driver.order == [asked]
    assert driver.lost == []
    [(seq, seconds, stack)] = driver.warned
    assert seq == asked
    assert 2.0 <= seconds < 4.0
    assert "in wait_for" in stack


def test_a_worker_may_clean_up_when_it_is_asked_to_end(caplog: pytest.LogCaptureFixture) -> None:
    with driven(service=Unruly(), timeout=TIMEOUT) as driver:
        slow = driver.ask("clean_up")
        driver.run(lambda: driver.lost)
    ((_, reason, lost),) = driver.lost
    assert isinstance(reason, DeadlineExceeded)
    assert lost == Lost(slow, (), ())
    assert driver.failed == []  # the exit by which it left is no failure of the handler
    assert "cleaned up" in [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("verb", ["finish_late", "stream_late"])
def test_what_comes_after_the_signal_does_not_count_and_nothing_else_is_begun(verb: str) -> None:
    with driven(service=Unruly(), timeout=2 * TIMEOUT) as driver:
        for index in range(300):  # the window opens
            driver.ask("echo", index)
        driver.run(lambda: len(driver.done) == 300)
        slow = driver.ask(verb)
        behind = [driver.ask("echo", index) for index in range(5)]
        driver.run(lambda: driver.lost)
    ((_, reason, lost),) = driver.lost
    assert isinstance(reason, DeadlineExceeded)
    assert lost == Lost(slow, (), tuple(behind[: len(lost.unbegun)]))
    assert lost.unbegun
    assert len(driver.done) == 300
    assert driver.parts == []


def test_a_worker_that_is_stopped_while_it_is_idle_is_given_up_and_its_requests_go_back() -> None:
    with driven(service=Unruly(), timeout=TIMEOUT) as driver:
        [worker] = driver.place.workers()
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGSTOP)
        asked = driver.ask("echo", 1)
        driver.run(lambda: driver.lost)
        ((_, reason, lost),) = driver.lost
        assert isinstance(reason, DeadlineExceeded)
        assert lost == Lost(None, (), (asked,))
        driver.put_back(lost.unbegun)
        driver.place.start(0, b"")
        driver.run(lambda: driver.done)
    assert driver.order == [asked]


def test_a_worker_that_is_stopped_while_it_waits_for_a_grant_is_given_up_once_it_has_that() -> None:
    with driven(service=Unruly(), timeout=TIMEOUT, grants=False) as driver:
        asked = driver.ask("stream", 3, 1_000)
        driver.run(lambda: driver.parts and driver.place.workers()[0].since == math.inf, look_every=0.01)
        [worker] = driver.place.workers()
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGSTOP)
        driver.place.grant(0, asked)
        driver.run(lambda: driver.lost)
    ((_, reason, lost),) = driver.lost
    assert isinstance(reason, DeadlineExceeded)
    assert (lost, len(driver.parts)) == (Lost(asked, (), ()), 1)


def test_what_a_worker_in_overtime_has_started_ends_with_it() -> None:
    with driven(service=Unruly(), timeout=TIMEOUT) as driver:
        bred = driver.ask("breed")
        slow = driver.ask("ignore")
        driver.run(lambda: driver.lost)
    ((_, _, lost),) = driver.lost
    assert lost == Lost(slow, (), ())
    assert gone(driver.done[bred])


def test_a_close_without_a_deadline_does_not_let_a_worker_in_overtime_live() -> None:
    with driven(service=Unruly(), timeout=TIMEOUT) as driver:
        driver.ask("ignore")
        driver.run(lambda: driver.place.room(0) == 0 and driver.place.workers()[0].current)
        driver.run(lambda: driver.place._children[0].is_ending)  # type: ignore[union-attr]
        driver.place.close(math.inf, Shutdown("enough"))
        driver.run(lambda: driver.closed)
    assert [type(reason) for _, reason, _ in driver.lost] == [DeadlineExceeded]


@pytest.mark.parametrize(("size", "count"), [(200 * MIB, 0), (70 * MIB, 2)])
def test_a_worker_that_holds_too_much_memory_is_ended(size: int, count: int) -> None:
    limit = 128 * MIB
    with driven(service=Unruly(), memory_limit=limit) as driver:
        before = driver.ask("echo", 1)
        greedy = driver.ask("hold_in_others", size, count) if count else driver.ask("hold", size)
        driver.run(lambda: driver.lost)
    ((_, reason, lost),) = driver.lost
    assert isinstance(reason, OutOfMemory)
    assert reason.limit_bytes == limit
    assert reason.peak_bytes is not None
    assert reason.peak_bytes > limit
    assert re.fullmatch(r"process \d+ held \d+ MiB, over its memory_limit of 128 MiB", str(reason))
    assert lost == Lost(greedy, (), ())
    assert driver.order == [before]


@pytest.mark.skipif(sys.platform != "linux", reason="no other system bounds private memory alone")
def test_what_asks_for_too_much_memory_at_once_fails_at_that_line_and_the_worker_lives_on() -> None:
    with driven(service=Unruly(), memory_limit=64 * MIB) as driver:
        greedy = driver.ask("take", 100 * MIB)
        modest = driver.ask("take", 10 * MIB)
        driver.run(lambda: driver.done)
    assert driver.failed == [(greedy, "MemoryError: ", ())]
    assert driver.order == [modest]
    assert driver.lost == []


def test_an_idle_worker_is_not_looked_at() -> None:
    with driven(timeout=TIMEOUT, memory_limit=64 * MIB) as driver:
        driver.ask("echo", 1)
        driver.run(lambda: driver.done)
        assert driver.place.next_deadline() is None
