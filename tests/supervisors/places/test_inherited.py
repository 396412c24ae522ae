"""A descriptor that workers inherit: open in each of them until it ends, and in nothing that they start."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from supervisors.places.process.launch import Launch
from supervisors.reasons import Killed, StartFailed
from tests.supervisors.places.bench import LAUNCHES, PATIENCE, driven, gone

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(sys.platform != "linux", reason="a worker outlives its parent by means of Linux"),
]


def lock(path: Path) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return fd


def is_locked(path: Path) -> bool:
    fd = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(fd)


def becomes_free(path: Path) -> bool:
    end = time.monotonic() + PATIENCE
    while is_locked(path) and time.monotonic() < end:
        threading.Event().wait(0.005)
    return not is_locked(path)


def open_files(pid: int) -> Iterator[str]:
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it opens and closes some while it is being loaded
            yield os.readlink(link)  # noqa: PTH115


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "lock"


@pytest.fixture
def held(file: Path) -> Iterator[int]:
    fd = lock(file)
    yield fd
    with contextlib.suppress(OSError):
        os.close(fd)


@pytest.mark.parametrize("launch", LAUNCHES)
def test_a_lock_is_held_while_any_worker_lives(file: Path, held: int, launch: Launch) -> None:
    with driven(2, inherited=(held,), launch=launch) as driver:
        assert not os.get_inheritable(held)
        driver.place.kill(0, Killed())
        driver.run(lambda: driver.lost)
        driver.place.start(0, b"")  # an incarnation to come has it too
        driver.run(lambda: len(driver.ready) == 3)
        os.close(held)
        driver.place.kill(1, Killed())
        driver.run(lambda: len(driver.lost) == 2)
        assert is_locked(file)
        driver.place.kill(0, Killed())
        driver.run(lambda: len(driver.lost) == 3)
        assert becomes_free(file)


def test_what_a_worker_starts_does_not_have_it(file: Path, held: int) -> None:
    with driven(inherited=(held,)) as driver:
        seq = driver.ask("bear")
        driver.run(lambda: driver.done)
        assert str(file) not in set(open_files(driver.done[seq]))
        assert is_locked(file)


@pytest.mark.parametrize("launch", LAUNCHES)
def test_a_worker_that_cannot_have_it_is_not_started(launch: Launch) -> None:
    with driven(inherited=(9_999,), launch=launch) as driver:
        [(_, reason, _)] = driver.lost
    assert isinstance(reason, StartFailed)
    assert "Bad file descriptor" in str(reason)


PROGRAM = """
    import sys
    from pathlib import Path
    from tests.supervisors.places.bench import driven
    from tests.supervisors.places.test_inherited import lock

    with driven(inherited=(lock(Path(sys.argv[1])),)) as driver:
        driver.ask("survive")
        driver.run(lambda: driver.done)
        print(driver.place.workers()[0].pid, flush=True)
        sys.stdin.read()
"""


def test_a_lock_outlives_the_program_with_its_last_worker(file: Path) -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    with program:
        assert program.stdout is not None
        worker = int(program.stdout.readline())
        # A worker that hears nothing, and nobody is left to end it: as in a sleep that no signal ends.
        os.kill(worker, signal.SIGSTOP)
        for child in psutil.Process(program.pid).children():
            child.kill()  # the guardian, and the zygote
        program.kill()
        program.wait()
        assert is_locked(file)
        os.kill(worker, signal.SIGCONT)  # it finds that its parent is gone
        assert gone(worker)
        assert becomes_free(file)
