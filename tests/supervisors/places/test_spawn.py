"""The thread that starts workers lives while it is needed, and a start that fails leaves nothing."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from supervisors.places.process.spawn import Birth, Spawner, spawner
from supervisors.reasons import StartFailed
from tests.supervisors.places.bench import Driver

pytestmark = pytest.mark.processes


def spawner_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "supervisors-spawner"]


def test_the_thread_lives_as_long_as_anybody_holds_it() -> None:
    own = Spawner()
    own.hold()
    own.hold()
    assert len(spawner_threads()) == 1
    own.release()
    assert len(spawner_threads()) == 1
    own.release()
    assert spawner_threads() == []
    own.hold()
    assert len(spawner_threads()) == 1
    own.release()


def test_nothing_is_started_for_those_who_do_not_hold_it() -> None:
    birth = Birth(1, 1_000)
    with pytest.raises(RuntimeError, match="nobody holds"):
        Spawner().start(birth)
    birth.close()
    birth._far_end.close()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_copy_of_the_program_starts_anew() -> None:
    spawner.hold()
    try:
        pid = os.fork()  # noqa: TID251  what a program does, not what we do
        if pid == 0:
            os._exit(spawner._holders + (spawner._thread is not None))
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        spawner.release()


def test_a_forked_copy_of_the_program_says_nothing_of_the_guardian_it_leaves_alone() -> None:
    program = """
import os
from supervisors.places.process.spawn import spawner
spawner.hold()
pid = os.fork()
if pid == 0:
    os._exit(0)
os.waitpid(pid, 0)
spawner.release()
"""
    # What Python 3.12 says of a fork in a program with threads is no word of ours.
    command = [sys.executable, "-W", "always::ResourceWarning", "-W", "ignore::DeprecationWarning", "-c", program]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ended.stderr == ""


@pytest.mark.parametrize("spare", range(14))
def test_a_start_without_descriptors_left_fails_and_leaves_nothing(spare: int) -> None:
    driver = Driver()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    top = max(int(link.name) for link in Path("/proc/self/fd").iterdir())
    spawner.hold()  # the thread and the guardian are there: what is looked at is the worker
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (top + 1 + spare, hard))
        driver.place.start(0, b"")
        driver.run(lambda: driver.lost or driver.ready)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if driver.lost:
            ((_, reason, _),) = driver.lost
            assert isinstance(reason, StartFailed)
            assert "Too many open files" in reason.error.text, reason
        driver.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        driver.place.abort()
        driver.poller.close()
        spawner.release()
