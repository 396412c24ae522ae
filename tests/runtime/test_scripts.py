"""Whole programs: scripts without a guard, and programs that are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import psutil
import pytest

GUARDLESS = """
    import dataclasses
    import os
    from routilux import ErrorHandler, Flow, Routine, routine

    print("main runs in", "the parent" if __name__ == "__main__" else "a worker")

    @dataclasses.dataclass
    class Point:
        x: int
        y: int

    class Move(Routine):
        def __init__(self, by):
            super().__init__()
            self.define_slot("trigger", handler=lambda count: self.move(count))
            self.define_event("moved", ["point"])
            self.by = by

        def move(self, count):
            for n in range(count):
                self.emit("moved", point=Point(n, n + self.by))

    def closure(factor):
        @routine(events={"scaled": ["point"]})
        def scale(point):
            assert isinstance(point, Point), type(point)
            return {"point": Point(point.x * factor, point.y * factor)}
        return scale

    @routine(events={"seen": ["point", "pid"]})
    def see(point):
        assert type(point) is Point
        return {"point": point, "pid": os.getpid()}

    flow = Flow("script")
    flow.add_routine(Move(3), "move", placement="process")
    flow.add_routine(closure(2), "scale", placement="process")
    flow.add_routine(see, "see", placement="process", workers=2)
    flow.connect("move", "moved", "scale", "input")
    flow.connect("scale", "scaled", "see", "input")
    flow.output("see", "seen")
    state = flow.execute("move", {"count": 50})
    assert state.status == "completed", state.error
    points = sorted((item["point"].x, item["point"].y) for item in state.results())
    assert points == [(2 * n, 2 * (n + 3)) for n in range(50)]
    assert all(type(item["point"]) is Point for item in state.results())
    assert os.getpid() not in {item["pid"] for item in state.results()}
    print("done")
"""

ENDLESS = """
    import subprocess, sys, time
    from routilux import Flow, Routine

    class Busy(Routine):
        def __init__(self):
            super().__init__()
            self.define_slot("trigger", handler=self.run)
            self.define_event("pid", ["pid"])
        def run(self, mode):
            if mode == "sleep":
                time.sleep(600)
            elif mode == "spin":
                sum(range(10 ** 12))
            elif mode == "child":
                subprocess.run(["sleep", "600"])

    flow = Flow("endless")
    for mode in ("sleep", "spin", "child", "idle"):
        flow.add_routine(Busy(), mode, placement="process")
    job = flow.start(keep_open=True)
    for mode in ("sleep", "spin", "child"):
        job.send(mode, "trigger", mode=mode)
    while len([pid for account in job.ledger.accounts for pid in account.pids if pid]) < 4:
        time.sleep(0.01)
    time.sleep(0.2)
    print("ready", flush=True)
    job.wait()
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "script.py"
    path.write_text(textwrap.dedent(text))
    return path


@pytest.mark.processes
@pytest.mark.parametrize("how", ["file", "stdin", "command"])
def test_a_script_without_a_guard_runs_its_routines_in_processes(tmp_path: Path, how: str) -> None:
    path = write(tmp_path, GUARDLESS)
    command = {"file": [str(path)], "stdin": ["-"], "command": ["-c", path.read_text()]}[how]
    done = subprocess.run(
        [sys.executable, *command],
        input=path.read_text() if how == "stdin" else "",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split("\n") == ["main runs in the parent", "done", ""]


@pytest.mark.processes
@pytest.mark.skipif(sys.platform != "linux", reason="the parent's death is noticed by the kernel on Linux alone")
def test_a_killed_program_leaves_no_process_behind(tmp_path: Path) -> None:
    program = subprocess.Popen(
        [sys.executable, str(write(tmp_path, ENDLESS))],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    with program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        family = psutil.Process(program.pid).children(recursive=True)
        assert len(family) >= 6  # four workers, the guardian, and what one worker has started
        program.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 1.0
    while (left := [process for process in family if is_alive(process)]) and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    for process in left:
        process.kill()
    assert left == []


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs; a zombie that nobody reaps has ended."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
