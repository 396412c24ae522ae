"""A channel is in the hands of one worker and its parent, and nothing else of them goes anywhere."""

from __future__ import annotations

import contextlib
import math
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from supervisors.places.base import Port
from supervisors.places.process.deputy import LOOK_SECONDS
from supervisors.places.process.launch import Launch
from supervisors.places.process.spawn import spawner
from tests.supervisors.places.bench import LAUNCHES, Bench, driven

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(sys.platform != "linux", reason="no other system lists descriptors in /proc"),
]

LIST = """
import os
numbers = sorted(map(int, os.listdir("/proc/self/fd")))
print(*(number for number in numbers if os.path.exists(f"/proc/self/fd/{number}")))
"""


def list_descriptors(process: int | str = "self") -> dict[int, str]:
    """Give what the descriptors of a process stand for, by number."""
    found = {}
    for link in Path(f"/proc/{process}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the descriptor of the listing, closed again
            found[int(link.name)] = str(link.readlink())
    return found


class Watched(Bench):
    """Tells which descriptors there are."""

    def own(self, _port: Port) -> dict[int, str]:
        return list_descriptors()

    def take_all(self, _port: Port, path: str) -> bool:
        """Have no descriptor left for as long as there is no such file."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
        taken = []
        try:
            with contextlib.suppress(OSError):
                while True:
                    taken.append(os.dup(0))
            self.block(_port, path)
        finally:
            for fd in taken:
                os.close(fd)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return bool(taken)

    def of_a_program(self, _port: Port) -> str:
        """Those of a program that gets all that may be inherited."""
        started = subprocess.run([sys.executable, "-c", LIST], capture_output=True, close_fds=False, check=True)
        return started.stdout.decode()


@pytest.mark.parametrize("launch", LAUNCHES)
def test_a_worker_has_its_output_its_channel_and_its_page_and_what_it_starts_has_neither(launch: Launch) -> None:
    with driven(2, service=Watched(), launch=launch) as driver:  # the second one must have nothing of the first
        for worker in range(2):
            driver.place.submit(worker, [(driver.ask("own"), driver.waiting.pop()[1])])
        program = driver.ask("of_a_program")
        driver.run(lambda: len(driver.done) == 3)
    assert driver.done.pop(program).split() == ["0", "1", "2"]
    for held in driver.done.values():
        assert held.pop(0) == "/dev/null"
        assert held.pop(1).startswith("pipe:")
        assert held.pop(2).startswith("pipe:")
        kinds = sorted(target.split(":")[0] for target in held.values())
        # The page is mapped through a descriptor of its own, beside the one that stacks are written to. By the pipe its
        # second thread is called off.
        assert kinds == ["/memfd", "/memfd", "pipe", "pipe", "socket"]


def test_nothing_that_a_parent_holds_for_its_workers_is_inherited() -> None:
    before = list_descriptors()
    with driven(2) as driver:
        held = {fd: target for fd, target in list_descriptors().items() if before.get(fd) != target}
        kinds = {target.split(":")[0] for target in held.values()}
        assert kinds >= {"socket", "pipe", "/memfd", "anon_inode"}
        assert [target for fd, target in held.items() if os.get_inheritable(fd)] == []
        driver.ask("echo", 1)
        driver.run(lambda: driver.done)


def test_a_zygote_has_its_channel_alone_and_a_place_kept_for_the_page_of_each_worker() -> None:
    with driven() as driver:
        driver.ask("echo", 1)
        driver.run(lambda: driver.done)
        (worker,) = driver.place.workers()
        held = list_descriptors(psutil.Process(worker.pid).ppid())
    channel = [held.pop(fd) for fd, target in tuple(held.items()) if target.startswith("socket:")]
    assert len(channel) == 1
    assert len(held) == 4
    assert held.keys() >= {0, 1, 2}
    assert set(held.values()) == {"/dev/null"}


def test_the_guardian_has_its_end_of_one_pipe_alone() -> None:
    with driven() as driver:
        driver.ask("echo", 1)
        driver.run(lambda: driver.done)
        held = list_descriptors(spawner._guardian._process.pid)
    assert held.pop(0).startswith("pipe:")
    assert held == {1: "/dev/null", 2: "/dev/null"}


def test_a_worker_listens_while_its_request_has_left_no_descriptor(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with driven(service=Watched()) as driver:
        greedy = driver.ask("take_all", str(gate))
        driver.hand_out()
        driver.run(lambda: time.monotonic() - (driver.place.workers()[0].since or math.inf) > 3 * LOOK_SECONDS, 0.001)
        gate.touch()
        driver.run(lambda: greedy in driver.done)
        assert driver.done[greedy] is True
        assert driver.lost == []
