"""The end of processes: noticed, complete, and told."""

from __future__ import annotations

import contextlib
import os
import resource
import selectors
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from supervisors.places.process.reap import (
    Ended,
    TreeMemory,
    count_oom_kills,
    describe_death,
    end_session,
    end_tree,
    own_peak_bytes,
    read_boot_id,
    read_usage,
    reap,
    watch_death,
    watch_death_by_thread,
)
from supervisors.reasons import Crashed, OutOfMemory
from tests.supervisors.places.bench import gone

pytestmark = pytest.mark.processes

TREE = """
import subprocess, sys, time
children = [
    subprocess.Popen(["sleep", "600"]),
    subprocess.Popen(["sleep", "600"], process_group=0),
    subprocess.Popen(["sleep", "600"], start_new_session=True),
]
print(*(child.pid for child in children), flush=True)
time.sleep(600)
"""


def start(program: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, start_new_session=True)


def wait_readable(fd: int) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(fd, selectors.EVENT_READ)
        return bool(selector.select(30.0))


@pytest.mark.parametrize("watch", [watch_death, watch_death_by_thread])
@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("import os; os._exit(7)", (None, 7)),
        ("pass", (None, 0)),
        ("import os; os.kill(os.getpid(), 9)", (9, None)),
        ("import os; x = b'x' * 300_000_000; os._exit(1)", (None, 1)),
    ],
)
def test_a_death_is_noticed_and_read(
    watch: Callable[[int], int], program: str, expected: tuple[int | None, int | None]
) -> None:
    peak = own_peak_bytes()
    with start(program) as process:
        fd = watch(process.pid)
        try:
            assert wait_readable(fd)
        finally:
            os.close(fd)
        ended = reap(process.pid, peak)
        process.returncode = 0
    assert ended is not None
    assert (ended.signal, ended.exit_code) == expected
    if "300_000_000" in program:
        assert ended.peak_bytes is None or ended.peak_bytes > 300_000_000


def test_the_processor_time_of_a_process_is_known_at_its_end() -> None:
    with start("import time\nwhile time.process_time() < 0.1: pass") as process:
        fd = watch_death(process.pid)
        try:
            assert wait_readable(fd)
        finally:
            os.close(fd)
        ended = reap(process.pid, 0)
        process.returncode = 0
    assert ended is not None
    assert ended.cpu_seconds >= 0.09, "the kernel's clock and the process's own differ a little"


def test_a_process_that_somebody_else_has_reaped_has_no_status() -> None:
    with start("pass") as process:
        process.wait()
    assert reap(process.pid, 0) == Ended(None, None, None)


def test_a_whole_tree_ends_before_its_root_is_reaped() -> None:
    with start(TREE) as process:
        assert process.stdout is not None
        members = [psutil.Process(int(pid)) for pid in process.stdout.readline().split()]
        assert reap(process.pid, 0) is None
        end_tree(process.pid)
        _, alive = psutil.wait_procs(members, timeout=30)
        assert alive == []
        end_tree(process.pid)  # a zombie now: nothing happens
        process.wait()
        assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("end", [end_tree, end_session])
def test_what_a_dead_root_has_left_in_its_session_is_found(end: Callable[[int], None]) -> None:
    with start(TREE) as process:
        assert process.stdout is not None
        own_group, own_leader, own_session = (psutil.Process(int(pid)) for pid in process.stdout.readline().split())
        process.kill()
        fd = watch_death(process.pid)
        assert wait_readable(fd)
        os.close(fd)
        end(process.pid)
        _, alive = psutil.wait_procs([own_group, own_leader], timeout=30)
        assert alive == []
        own_session.kill()  # it left the session, and its parent is gone: that one cannot be found


@contextlib.contextmanager
def no_descriptor_left() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_program_without_a_descriptor_left_ends_a_group_and_raises_nothing() -> None:
    program = "import subprocess, time; print(subprocess.Popen(['sleep', '600']).pid, flush=True); time.sleep(600)"
    with start(program) as process:
        assert process.stdout is not None
        member = psutil.Process(int(process.stdout.readline()))
        memory = TreeMemory(process.pid)
        with no_descriptor_left():
            told = read_usage(process.pid), memory.read(), end_tree(process.pid)
        assert told == (None, 0, None)
        assert process.wait(30) == -signal.SIGKILL
        _, alive = psutil.wait_procs([member], timeout=30)
        assert alive == []


def test_the_figures_of_a_process_are_read_while_it_lives() -> None:
    figures = read_usage(os.getpid())
    assert figures is not None
    assert figures.born_at == psutil.Process().create_time()
    assert figures.cpu_seconds > 0
    assert figures.rss_bytes > 1_000_000
    with start("pass") as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert read_usage(process.pid) is None  # it has ended, and nobody has reaped it
        process.wait()
    assert read_usage(process.pid) is None
    assert read_usage(2**31 - 1) is None


HOLDING = """
import subprocess, sys
held = bytearray(40_000_000)
child = subprocess.Popen([sys.executable, "-c", "held = bytearray(50_000_000); print(flush=True); input()"],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
input()
"""


def test_the_memory_of_a_tree_is_that_of_all_its_members() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        memory = TreeMemory(process.pid)
        assert memory.read() > 90_000_000
        os.kill(child, signal.SIGKILL)
        assert gone(child)
        # Its parent has not reaped it, and it is not searched for anew at each read: a zombie holds nothing.
        assert 40_000_000 < memory.read() < 90_000_000
        end_tree(process.pid)
    assert memory.read() == 0
    assert TreeMemory(process.pid).read() == 0


def test_a_crash_is_told_as_a_reason() -> None:
    ended = Ended(signal=11, exit_code=None, peak_bytes=5)
    assert describe_death(ended, 42, ("last",), oom_kills=1) == Crashed(11, None, 42, 5, ("last",))


def test_a_kill_by_the_system_as_memory_ran_out_is_told_as_that() -> None:
    ended = Ended(signal=9, exit_code=None, peak_bytes=5)
    assert describe_death(ended, 42, (), oom_kills=0) == Crashed(9, None, 42, 5)
    assert describe_death(ended, 42, (), oom_kills=1) == OutOfMemory(42, 5)


@pytest.mark.parametrize(
    ("groups", "file", "text"),
    [
        ("0::/user.slice/mine\n", "user.slice/mine/memory.events", "low 0\noom 9\noom_kill 3\noom_group_kill 1\n"),
        ("0::/elsewhere\n", "memory.events", "oom_kill 3\n"),
        ("5:cpu:/a\n4:memory:/b\n0::/\n", "memory/b/memory.oom_control", "under_oom 0\noom_kill 3\n"),
        ("4:memory:/elsewhere\n", "memory/memory.oom_control", "oom_kill 3\n"),
        ("4:memory:/old\n", "memory/old/memory.oom_control", "under_oom 0\n"),
        ("", "nothing", ""),
    ],
)
def test_the_count_of_such_kills_is_read_in_either_version_of_control_groups(
    tmp_path: Path, groups: str, file: str, text: str
) -> None:
    own, root = tmp_path / "own", tmp_path / "root"
    own.write_text(groups)
    (root / file).parent.mkdir(parents=True)
    (root / file).write_text(text)
    assert count_oom_kills(root, own) == (3 if "oom_kill 3" in text else 0)
    assert count_oom_kills(root, tmp_path / "absent") == (
        3 if file in {"memory.events", "memory/memory.oom_control"} else 0
    )


def test_a_run_of_the_system_has_an_id(tmp_path: Path) -> None:
    assert read_boot_id() == read_boot_id() != ""
    assert float(read_boot_id(tmp_path / "none")) > 0  # where the kernel tells none: when it began
