"""The thread that starts workers lives while the program does, and a start that fails leaves nothing."""

from __future__ import annotations

import os
import queue
import resource
import subprocess
import sys
import threading
from pathlib import Path
from typing import cast

import psutil
import pytest

from supervisors.places.process.guardian import Guardian
from supervisors.places.process.launch import Launch
from supervisors.places.process.spawn import HeadStart, Moment, ProcessBirth, Spawner, _serve, spawner
from supervisors.places.process.zygotes import Zygotes
from supervisors.reasons import StartFailed
from tests.supervisors.places.bench import LAUNCHES, Driver, driven, gone

pytestmark = pytest.mark.processes


def spawner_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "supervisors-spawner"]


def test_one_thread_serves_until_it_is_closed_and_another_after_that() -> None:
    before = len(spawner_threads())
    own = Spawner()
    for _ in range(2):
        own.begin()
        own.begin()
        assert len(spawner_threads()) == before + 1
        own.close()
        own.close()
        assert len(spawner_threads()) == before


def test_nothing_is_started_by_one_that_was_not_begun() -> None:
    birth = ProcessBirth(1, 1_000, Launch())
    with pytest.raises(RuntimeError, match="not begun"):
        Spawner().start(birth)
    birth.close()
    birth._far_end.close()


def zygotes_of(own: Spawner) -> list[tuple[str, ...]]:
    """The modules of each zygote that a spawner has left when its thread has ended, which all its work comes before."""
    thread = own._thread
    assert own._births is not None
    assert thread is not None
    own._births.put(None)
    thread.join(30)
    return [modules for _, modules in own._zygotes._zygotes]


def test_a_head_start_has_a_zygote_import_before_a_worker_is_asked_for_and_only_the_first_counts() -> None:
    own = Spawner()
    own.give_head_start(("tabnanny",))
    own.give_head_start(("netrc",))
    found = zygotes_of(own)
    own.close()
    assert found == [("tabnanny",)]


def test_a_head_start_that_fails_is_told_where_a_worker_is_started() -> None:
    own = Spawner()
    own.give_head_start(("no_such_module",))
    birth = ProcessBirth(1, 1_000, Launch(preload=("no_such_module",)))
    own.start(birth)
    zygotes_of(own)
    own.close()
    assert "no_such_module" in str(birth.failure)
    birth.close()


class Recorded(ProcessBirth):
    """Starts nothing, and keeps what it would have had of the program."""

    def __init__(
        self, births: queue.SimpleQueue[ProcessBirth | HeadStart | None], then: tuple[ProcessBirth | None, ...] = ()
    ) -> None:
        self.births = births
        self.then = then
        self.moment: Moment | None = None

    def perform(self, zygotes: Zygotes, guardian: Guardian, moment: Moment) -> None:
        self.moment = moment
        for birth in self.then:
            self.births.put(birth)


def test_what_the_program_has_is_read_once_for_those_that_wait_and_anew_for_those_that_come_later() -> None:
    births: queue.SimpleQueue[ProcessBirth | HeadStart | None] = queue.SimpleQueue()
    later = [Recorded(births), Recorded(births)]
    waiting = [Recorded(births), Recorded(births, (*later, None)), Recorded(births)]
    for birth in waiting:
        births.put(birth)
    _serve(births, cast("Zygotes", None), cast("Guardian", None))
    first, second = {birth.moment for birth in waiting}, {birth.moment for birth in later}
    assert None not in first | second
    assert (len(first), len(second), first & second) == (1, 1, set())


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_copy_of_the_program_starts_anew() -> None:
    spawner.begin()
    pid = os.fork()  # noqa: TID251  what a program does, not what we do
    if pid == 0:
        os._exit(spawner._thread is not None)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.parametrize("ending", ["", "os._exit(0)"])
def test_a_program_and_a_forked_copy_of_it_end_without_a_word_about_what_was_warm(ending: str) -> None:
    program = f"""
import os
from tests.supervisors.places.bench import driven
with driven():
    pass
pid = os.fork()
if pid == 0:
    with driven() as driver:  # by a zygote of its own
        assert driver.ready
    {ending or "raise SystemExit(0)"}
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
with driven() as driver:
    assert driver.ready
{ending}
"""
    # What Python 3.12 says of a fork in a program with threads is no word of ours.
    command = [sys.executable, "-W", "always::ResourceWarning", "-W", "ignore::DeprecationWarning", "-c", program]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("launch", LAUNCHES)
@pytest.mark.parametrize("spare", range(16))
def test_a_start_without_descriptors_left_fails_and_leaves_nothing(spare: int, launch: Launch) -> None:
    with driven():
        pass  # the thread, the guardian and the zygote are there: what is looked at is the worker
    driver = Driver(launch=launch)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    top = max(int(link.name) for link in Path("/proc/self/fd").iterdir())
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


def test_a_guardian_that_was_killed_is_replaced_and_knows_of_all() -> None:
    with driven() as first:
        guardian = spawner._guardian
        assert guardian is not None
        before = guardian._process.pid
        psutil.Process(before).kill()
        assert gone(before)
        with driven() as second:
            assert guardian._process.pid != before
            groups = {worker.pid for driver in (first, second) for worker in driver.place.workers()}
            assert guardian._groups == groups
        assert guardian._groups < groups
    assert not psutil.pid_exists(before)
