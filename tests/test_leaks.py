"""The leak check sees what it is there to see."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import leaks

_WAIT_FOR_STDIN = "import sys; sys.stdin.read()"


def test_nothing_is_found_where_nothing_is_left() -> None:
    before = leaks.take_stock()
    left, right = socket.socketpair()
    left.close()
    right.close()
    assert leaks.find_leaks(before) == []


def test_an_open_descriptor_is_found() -> None:
    before = leaks.take_stock()
    ends = os.pipe()
    found = leaks.find_leaks(before, deadline=0)
    for end in ends:
        os.close(end)
    assert len(found) == 2
    assert all(line.startswith("descriptor of pipe:") for line in found)


def test_a_running_thread_is_found_and_an_ending_one_is_waited_for() -> None:
    before = leaks.take_stock()
    gate = threading.Event()
    thread = threading.Thread(target=gate.wait, name="left-over")
    thread.start()
    assert leaks.find_leaks(before, deadline=0) == ["thread 'left-over' (daemon=False)"]
    gate.set()
    assert leaks.find_leaks(before) == []
    thread.join()


@pytest.mark.processes
def test_a_running_child_is_found_and_ended() -> None:
    before = leaks.take_stock()
    with subprocess.Popen([sys.executable, "-c", _WAIT_FOR_STDIN], stdin=subprocess.PIPE) as child:
        found = leaks.find_leaks(before, deadline=0)
        assert [line for line in found if line.startswith(f"process {child.pid}")]
        child.wait(leaks.DEADLINE)


@pytest.mark.processes
def test_a_zombie_is_found() -> None:
    before = leaks.take_stock()
    child = os.posix_spawn(sys.executable, [sys.executable, "-c", ""], os.environ)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    found = leaks.find_leaks(before, deadline=0)
    assert found == [f"process {child}, a zombie: it has ended and was not waited for"]


@pytest.mark.processes
def test_a_grandchild_whose_parent_has_ended_is_found() -> None:
    before = leaks.take_stock()
    middle = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {_WAIT_FOR_STDIN!r}])"
    held, far_end = os.pipe()
    subprocess.run([sys.executable, "-W", "ignore", "-c", middle], stdin=held, check=True)
    found = leaks.find_leaks(before, deadline=0)
    os.close(held)
    os.close(far_end)
    assert [line for line in found if line.startswith("process ")]


@pytest.mark.processes
def test_a_process_of_another_worker_is_not_found() -> None:
    # What pytest-xdist starts beside this process: it marks its own, as conftest.py has it do, and starts a process.
    neighbour = f"""
import subprocess, sys
from tests import leaks
leaks.mark_processes()
print("ready", flush=True)
sys.stdin.readline()
with subprocess.Popen([sys.executable, "-c", {_WAIT_FOR_STDIN!r}], stdin=subprocess.PIPE) as child:
    print(child.pid, flush=True)
    sys.stdin.read()
"""
    middle = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {neighbour!r}])"
    command = [sys.executable, "-W", "ignore", "-c", middle]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as ended:
        assert ended.stdin is not None
        assert ended.stdout is not None
        assert ended.stdout.readline() == "ready\n"
        ended.wait(leaks.DEADLINE)
        before = leaks.take_stock()
        ended.stdin.write("start\n")
        ended.stdin.flush()
        child = psutil.Process(int(ended.stdout.readline()))
        assert child.pid not in before.pids
        assert leaks.find_leaks(before, deadline=0) == []
        assert child.is_running()


def test_a_shared_memory_name_is_found(tmp_path: Path) -> None:
    # By its file and not by multiprocessing, whose resource tracker is a process that stays. Elsewhere than all names,
    # where every other test that runs just now would find it.
    before = leaks.take_stock(shared_memory=tmp_path)
    name = tmp_path / "psm_test"
    name.touch()
    assert leaks.find_leaks(before, deadline=0) == [str(name)]


@pytest.mark.processes
def test_shared_memory_of_a_process_of_others_is_no_leak_until_that_has_ended(tmp_path: Path) -> None:
    before, name = leaks.take_stock(shared_memory=tmp_path), str(tmp_path / "psm_test")
    holding = "import mmap; file = open('psm_test', 'w+b'); file.truncate(10); held = mmap.mmap(file.fileno(), 10); "
    telling = "import os, sys; print(os.getpid(), flush=True); os.close(1); sys.stdin.read()"
    # One whose parent has ended, and which does not have our mark: as that of a neighbour.
    launching = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {(holding + telling)!r}])"
    environment = {**os.environ, leaks.MARK: "of others"}
    with subprocess.Popen(
        [sys.executable, "-c", launching], cwd=tmp_path, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as launcher:
        assert launcher.stdin is not None
        assert launcher.stdout is not None
        other = psutil.Process(int(launcher.stdout.read()))
        launcher.wait(leaks.DEADLINE)
        assert name not in leaks.find_leaks(before, deadline=0)
        launcher.stdin.close()
        other.wait(leaks.DEADLINE)
    assert leaks.find_leaks(before, deadline=0) == [name]


def test_the_names_of_shared_memory_are_looked_at() -> None:
    assert leaks.take_stock().shared_memory == leaks.SHARED_MEMORY == Path("/dev/shm")


@given(st.integers())
def test_the_check_goes_together_with_hypothesis(number: int) -> None:
    assert number == int(str(number))
