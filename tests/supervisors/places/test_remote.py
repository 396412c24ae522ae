"""Workers on other machines do what processes of this one do, and their ends are told in the same words.

Each test that takes a `cluster` runs on Ray too: by tests/ray/test_remote.py, with one of Ray's.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from supervisors.places.base import Lost, Port
from supervisors.places.ray.agent import PERIOD_SECONDS, ParentClock
from supervisors.places.ray.engine import AgentLostError, Demand, Engine
from supervisors.places.ray.telling import LOOK_SECONDS
from supervisors.places.ray.tunnel import RemoteStarter
from supervisors.reasons import Crashed, DeadlineExceeded, Killed, OutOfMemory, StartFailed
from tests.supervisors.places.bench import BatchBench, Bench, Driver, gone
from tests.supervisors.places.fake_cluster import FakeCluster

pytestmark = pytest.mark.processes


@pytest.fixture
def fake() -> Iterator[FakeCluster]:
    """Give an engine of which nothing is left at the end."""
    fake = FakeCluster()
    yield fake
    fake.close()


@pytest.fixture
def cluster(fake: FakeCluster) -> Engine:
    """Give an engine that is as good as any other."""
    return fake


@contextmanager
def driven(cluster: Engine, workers: int = 1, **options: Any) -> Iterator[Driver]:
    """Drive a place whose workers are agents of a cluster."""
    starter = RemoteStarter(
        cluster,
        "bench",
        "tests",
        options.pop("demand", Demand()),
        timeout=options.pop("within", 20.0),
        is_weighed="memory_limit" in options,
    )
    driver = Driver(workers, options.pop("service", None), starter=starter, **options)
    try:
        driver.start()
        yield driver
        if not driver.closed:
            driver.close()
    finally:
        driver.place.abort()
        driver.poller.close()


class Talker(Bench):
    """A service that says much, and counts how often its process is looked at meanwhile."""

    def talk(self, _port: Port, lines: int) -> Any:
        looks: list[int] = []
        is_running = psutil.Process.is_running

        def count(process: psutil.Process) -> bool:
            looks.extend([process.pid] * (process.pid == os.getpid()))
            return is_running(process)

        psutil.Process.is_running = count  # type: ignore[method-assign]
        began = time.monotonic()
        for number in range(lines):
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()
            threading.Event().wait(0.005)
        psutil.Process.is_running = is_running  # type: ignore[method-assign]
        return [len(looks), time.monotonic() - began]


def find_pids(driver: Driver) -> list[int]:
    """Give the processes of the workers."""
    pids = [worker.pid for worker in driver.place.workers()]
    assert all(pids)
    return pids


def test_requests_are_run_in_order(cluster: Engine) -> None:
    with driven(cluster) as driver:
        asked = [driver.ask("echo", n) for n in range(300)]
        driver.run(lambda: len(driver.done) == len(asked))
        assert driver.order == asked
        assert [driver.done[seq] for seq in asked] == list(range(300))


def test_batches_are_run_too_and_their_times_are_those_of_the_parent(cluster: Engine) -> None:
    with driven(cluster, service=BatchBench()) as driver:
        asked = [driver.ask("echo", n) for n in range(500)]
        driver.run(lambda: len(driver.done) == len(asked))
        assert [driver.done[seq] for seq in asked] == list(range(500))


def test_parts_wait_for_grants_and_failures_come_with_what_was_behind(cluster: Engine) -> None:
    with driven(cluster) as driver:
        driver.ask("stream", 5, 600)
        driver.ask("confirm", 2)
        driver.ask("steps", 3, 1)
        driver.run(lambda: len(driver.done) == 3)
        driver.ask("fail", "once")
        driver.run(lambda: bool(driver.failed))
        assert [part for _seq, part in driver.parts] == [0, 1, 2, 3, 4, 0, 1, "confirmed?", 0, 1, 2]
        assert [text for _seq, text, _returned in driver.failed] == ["ValueError: once"]


def test_what_they_print_and_log_comes_out_here(cluster: Engine, caplog: pytest.LogCaptureFixture) -> None:
    with driven(cluster) as driver:
        driver.ask("say", "to out", "to err")
        driver.run(lambda: len(driver.done) == 1 and len(driver.lines) == 2)
        assert sorted(driver.lines) == [(0, "stderr", "to err"), (0, "stdout", "to out")]
        assert "said to out" in caplog.text


def test_a_hold_parks_a_worker_at_its_next_part(cluster: Engine) -> None:
    with driven(cluster, grants=True) as driver:
        driver.ask("stream", 2_000, 1)
        driver.run(lambda: len(driver.parts) > 5)
        driver.place.hold()
        driver.run(lambda: driver.place.is_still)
        told = len(driver.parts)
        driver.run(lambda: driver.place.is_still)
        assert len(driver.parts) == told
        driver.place.release()
        driver.run(lambda: len(driver.done) == 1)


def test_a_lone_request_is_the_suspect_of_its_workers_death(cluster: Engine) -> None:
    with driven(cluster) as driver:
        seq = driver.ask("kill", signal.SIGKILL)
        driver.run(lambda: bool(driver.lost))
        (number, reason, lost), *others = driver.lost
        assert (number, lost, others) == (0, Lost(seq, (), ()), [])
        assert isinstance(reason, Crashed)
        assert re.match(r"process \d+.* was lost: [Tt]he actor (is dead|died)", str(reason))
        driver.place.start(0, b"")
        again = driver.ask("echo", "on")
        driver.run(lambda: again in driver.done)


def test_of_several_in_hand_none_is_the_suspect_until_it_is_alone(cluster: Engine) -> None:
    with driven(cluster) as driver:
        for n in range(200):  # short ones open the window
            driver.ask("echo", n)
        driver.run(lambda: len(driver.done) == 200)
        driver.place.hold()
        driver.run(lambda: driver.place.is_still)
        first = driver.ask("echo", "innocent")
        culprit = driver.ask("sink")
        behind = driver.ask("echo", "behind")
        driver.place.release()
        driver.run(lambda: bool(driver.lost))
        _number, _reason, lost = driver.lost.pop()
        assert lost.suspect is None
        assert set(lost.ran) | set(driver.done) >= {first, culprit}
        assert lost.unbegun == ()
        driver.put_back(lost.ran)
        driver.place.start(0, b"")
        driver.run(lambda: bool(driver.lost))
        assert driver.lost.pop()[2] == Lost(culprit, (), ())
        driver.place.start(0, b"")
        driver.run(lambda: behind in driver.done)
        assert first in driver.done


def test_a_request_that_takes_too_long_is_ended_with_its_stack(cluster: Engine) -> None:
    with driven(cluster, timeout=0.4) as driver:
        seq = driver.ask("wait", 30.0)
        driver.run(lambda: bool(driver.lost), look_every=0.05)
        _number, reason, lost = driver.lost[0]
        assert isinstance(reason, DeadlineExceeded)
        assert lost.suspect == seq
        assert "in wait" in reason.stack
        assert "agent.py" not in reason.stack
        assert "_private" not in reason.stack  # where Ray has its own
        assert len(driver.warned) == 1


def test_a_worker_over_its_memory_limit_is_ended(cluster: Engine) -> None:
    with driven(cluster, memory_limit=400 * 2**20) as driver:
        driver.ask("hoard", 600 * 2**20)
        driver.run(lambda: bool(driver.lost or driver.failed), look_every=0.05)
        outcome = [reason for _number, reason, _lost in driver.lost] or [text for _seq, text, _back in driver.failed]
        assert isinstance(outcome[0], OutOfMemory) or "MemoryError" in str(outcome[0])


def test_how_often_its_memory_is_looked_at_does_not_depend_on_what_it_says(cluster: Engine) -> None:
    with driven(cluster, service=Talker(), memory_limit=2**40) as driver:
        seq = driver.ask("talk", 60)
        driver.run(lambda: bool(driver.done))
        looks, seconds = driver.done[seq]
        assert looks <= 2 * (seconds / LOOK_SECONDS + 1)


def test_what_the_cluster_ends_as_memory_ran_out_is_told_so(fake: FakeCluster) -> None:
    with driven(fake) as driver:
        fake.agents[0].loss = AgentLostError("worker exit type: NODE_OUT_OF_MEMORY", is_memory=True)
        driver.ask("kill", signal.SIGKILL)
        driver.run(lambda: bool(driver.lost))
        assert isinstance(driver.lost[0][1], OutOfMemory)


def test_a_worker_that_is_killed_here_ends_there(cluster: Engine) -> None:
    with driven(cluster) as driver:
        (pid,) = find_pids(driver)
        driver.place.kill(0, Killed())
        driver.run(lambda: bool(driver.lost))
        assert driver.lost[0][1:] == (Killed(), Lost(None, (), ()))
        assert gone(pid)


def test_where_there_is_no_room_in_time_it_says_what_is_missing(fake: FakeCluster) -> None:
    with driven(fake, demand=Demand(num_cpus=9.0), within=0.2) as driver:
        (_number, reason, lost) = driver.lost[0]
        assert isinstance(reason, StartFailed)
        assert lost == Lost(None, (), ())
        assert reason.error.text == ("the cluster did not start it within 0.2 s: it needs CPU 9; the cluster has CPU 8")


@pytest.mark.parametrize("said", ["absence", "refusal"])
def test_where_the_cluster_is_absent_or_refuses_the_worker_is_lost_with_what_it_says(
    said: str, fake: FakeCluster
) -> None:
    setattr(fake, said, f"such is the {said}")
    with driven(fake) as driver:
        (_number, reason, _lost) = driver.lost[0]
        assert isinstance(reason, StartFailed)
        assert reason.error.text == f"such is the {said}"


def test_a_boot_that_fails_is_told_with_its_error(cluster: Engine) -> None:
    with driven(cluster) as driver:
        driver.place.kill(0, Killed())
        driver.run(lambda: bool(driver.lost))
        driver.place.start(0, b"\x01\xa6refuse")
        driver.run(lambda: len(driver.lost) == 2)
        reason = driver.lost[1][1]
        assert isinstance(reason, StartFailed)
        assert reason.error.text == "no such boot"


@pytest.mark.parametrize("is_started", [False, True])
def test_an_abort_leaves_nothing_while_workers_start_and_while_they_work(is_started: bool, cluster: Engine) -> None:
    driver = Driver(2, starter=RemoteStarter(cluster, "bench", "tests", Demand(), timeout=20.0, is_weighed=False))
    if is_started:
        driver.start()
        driver.ask("wait", 30.0)
        driver.hand_out()
    else:
        driver.place.start(0, b"")
    driver.place.abort()
    driver.poller.close()


def test_what_a_request_has_started_ends_with_its_worker(cluster: Engine) -> None:
    with driven(cluster) as driver:
        bred = driver.ask("bear")
        driver.run(lambda: bred in driver.done)
        os.kill(find_pids(driver)[0], signal.SIGKILL)
        driver.run(lambda: bool(driver.lost))
        assert gone(driver.done[bred])


def test_what_a_request_has_written_is_in_its_file_when_the_worker_has_ended(cluster: Engine, tmp_path: Path) -> None:
    with driven(cluster) as driver:
        written = driver.ask("note", str(tmp_path / "notes"), "held back")
        driver.run(lambda: written in driver.done)
        assert (tmp_path / "notes").read_text() == ""
        driver.close(10.0)
    assert (tmp_path / "notes").read_text() == "held back"


def test_a_parents_clock_is_a_little_behind_and_never_goes_back() -> None:
    here = 1_000.0
    clock = ParentClock(lambda: here)
    clock.hear(50.0)  # on its way for 2 s
    assert clock() == 50.0
    here = 1_001.0
    clock.hear(52.9)
    assert clock() == pytest.approx(52.9)
    here = 1_002.0
    clock.hear(53.0)  # slower: not believed
    assert clock() == pytest.approx(53.9)
    here += 2 * PERIOD_SECONDS
    clock.hear(53.9 + 2 * PERIOD_SECONDS - 1.0)  # this machine's clock has gained a second
    assert clock() == pytest.approx(53.9 + 2 * PERIOD_SECONDS)
    here += 2 * PERIOD_SECONDS
    clock.hear(53.9 + 4 * PERIOD_SECONDS - 1.0)
    before = clock()
    assert before == pytest.approx(53.9 + 4 * PERIOD_SECONDS - 1.0)
    here += 0.5
    assert clock() == pytest.approx(before + 0.5)
