"""How many processors there are to use, and keeping to some of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from supervisors.cpus import count_pinnable, read_quota, settle, usable_cpus
from supervisors.errors import StartError

V2 = "0::/user/job\n"
V1 = "5:cpu,cpuacct:/user/job\n4:memory:/user/job\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "cgroup"


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        (V2, {}, None),
        (V2, {"user/job/cpu.max": "max 100000\n"}, None),
        (V2, {"user/job/cpu.max": "150000 100000\n"}, 1.5),
        (V2, {"user/job/cpu.max": "400000 100000\n", "user/cpu.max": "200000 100000\n"}, 2.0),
        (V2, {"cpu.max": "50000 100000\n"}, 0.5),
        (V2, {"user/job/cpu.max": "nonsense\n"}, None),
        (V2, {"user/job/cpu.max": "100000 0\n"}, None),
        (V1, {"cpu/user/job/cpu.cfs_quota_us": "-1\n", "cpu/user/job/cpu.cfs_period_us": "100000\n"}, None),
        (V1, {"cpu/user/job/cpu.cfs_quota_us": "300000\n", "cpu/user/job/cpu.cfs_period_us": "100000\n"}, 3.0),
        (V1, {"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "50000\n"}, 2.0),
        ("", {"user/job/cpu.max": "150000 100000\n"}, None),
        ("nonsense\n", {}, None),
    ],
)
def test_the_least_quota_of_all_groups_counts(
    root: Path, tmp_path: Path, groups: str, files: dict[str, str], expected: float | None
) -> None:
    write(root, files)
    own = tmp_path / "own"
    own.write_text(groups)
    assert read_quota(root, own) == expected


def test_a_system_without_groups_has_no_quota(tmp_path: Path) -> None:
    assert read_quota(tmp_path, tmp_path / "none") is None


def test_a_quota_is_rounded_up_and_never_more_than_there_are_nor_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("supervisors.cpus.runnable_cpus", lambda: 4)
    for quota, expected in ((None, 4), (1.5, 2), (0.1, 1), (3.0, 3), (64.0, 4)):
        monkeypatch.setattr("supervisors.cpus.read_quota", lambda quota=quota: quota)
        assert usable_cpus() == expected


def test_what_a_program_may_run_on_is_what_it_is_kept_to() -> None:
    assert 1 <= usable_cpus() <= (os.cpu_count() or 1)


def run(program: str) -> str:
    command = [
        sys.executable,
        "-c",
        f"import os, threading; from supervisors.cpus import settle, usable_cpus; {program}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.processes
@pytest.mark.skipif(not count_pinnable(), reason="this system keeps no process to some processors")
def test_all_threads_of_a_process_are_kept_to_them_and_yield() -> None:
    told = run(
        "cpu = min(os.sched_getaffinity(0)); gate = threading.Event();"
        "thread = threading.Thread(target=gate.wait); thread.start(); settle([cpu], 7); gate.set();"
        "print([(os.sched_getaffinity(t) == {cpu}, os.getpriority(os.PRIO_PROCESS, t))"
        " for t in (0, thread.native_id)], usable_cpus()); thread.join()"
    )
    assert told == "[(True, 7), (True, 7)] 1"


@pytest.mark.skipif(not count_pinnable(), reason="this system keeps no process to some processors")
@pytest.mark.parametrize("cpu", [1_000, 2**40])
def test_a_processor_that_is_not_there_is_told(cpu: int) -> None:
    kept = os.sched_getaffinity(0)
    with pytest.raises(StartError, match=rf"processors \[{cpu}\] are not there"):
        settle([cpu], None)
    assert os.sched_getaffinity(0) == kept


def test_a_niceness_that_takes_a_privilege_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: int) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "setpriority", refuse)
    with pytest.raises(StartError, match=r"niceness: -5 is not allowed \(Permission denied\); the program's own is "):
        settle(None, -5)
