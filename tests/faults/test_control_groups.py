"""What happens when the system itself has no more to give: real limits, set on a control group.

They need a control group that can be made (root, and the file system writable), as on most build machines;
elsewhere they are skipped.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path("/sys/fs/cgroup")


class Group:
    """A control group of one controller, for one program.

    Args:
        controller: `memory` or `pids`.
        limits: file names, of version 2 and of version 1, and what they are set to.
    """

    def __init__(self, controller: str, limits: dict[tuple[str, str], int]) -> None:
        own, is_v2 = find_own(controller)
        self._folder = own / f"routilux-test-{uuid.uuid4().hex[:8]}"
        self._folder.mkdir()
        for names, value in limits.items():
            (self._folder / names[0 if is_v2 else 1]).write_text(str(value))

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run a Python program in it."""
        join = f"import os; open({str(self._folder / 'cgroup.procs')!r}, 'w').write(str(os.getpid()))\n"
        return subprocess.run(
            [sys.executable, "-c", join + textwrap.dedent(script)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        )

    def limit(self, name: str) -> Path:
        """Give the file that a limit is set in."""
        return self._folder / name

    def remove(self) -> None:
        """Give it back."""
        self._folder.rmdir()


def find_own(controller: str) -> tuple[Path, bool]:
    """Give the folder of this process's group, and whether it is of version 2."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, group = line.split(":", 2)
        if controller in controllers.split(","):
            return ROOT / controller / group.lstrip("/"), False
    return ROOT, True


@contextlib.contextmanager
def limited(controller: str, limits: dict[tuple[str, str], int]) -> Iterator[Group]:
    """Make a group, or skip the test where that cannot be done."""
    try:
        group = Group(controller, limits)
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        yield group
    finally:
        group.remove()


EATER = """
    from routilux import ErrorHandler, Flow, Routine

    class Eater(Routine):
        def __init__(self):
            super().__init__()
            self.define_slot("trigger", handler=self.eat)

        def eat(self, n):
            held = []
            while n == 1:
                held.append(bytearray(b"x" * 10_000_000))

    flow = Flow("eaters")
    flow.add_routine(Eater(), "eater", placement="process", error_handler=ErrorHandler("continue"))
    with flow.start(keep_open=True) as job:
        for n in range(5):
            job.send("eater", "trigger", n=n)
    state = job.state
    assert state.status == "completed", state.error
    assert state.routine_states["eater"]["handled"] == 4
    print(state.dead_letters[0].data, state.dead_letters[0].cause)
"""


@pytest.mark.processes
def test_a_worker_that_the_system_ends_as_memory_runs_out_costs_its_message_and_is_told_so() -> None:
    with limited("memory", {("memory.max", "memory.limit_in_bytes"): 160 * 2**20}) as group:
        done = group.run(EATER)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("{'n': 1} process ")
    assert "was ended by the system as memory ran out" in done.stdout


CROWD = """
    import sys
    from routilux import Flow, routine

    @routine
    def work(n):
        return None

    def run(placement, workers=1):
        flow = Flow("crowd")
        flow.add_routine(work, "work", placement=placement, workers=workers)
        try:
            state = flow.execute("work", {"n": 1})
        except Exception as error:
            print(type(error).__name__, error)
        else:
            print(state.status, state.error)

    limit = open(LIMIT, "w")
    for room in ROOMS:
        limit.write(str(room))
        limit.flush()
        run("process", 4)
        limit.write("1000")
        limit.flush()
        run("process", 4)
        run("thread")
"""


@pytest.mark.processes
def test_a_job_for_which_the_system_has_no_threads_or_processes_fails_by_that_name_and_the_next_one_works() -> None:
    rooms = (1, 3, 5)
    with limited("pids", {("pids.max", "pids.max"): 1000}) as group:
        done = group.run(f"LIMIT, ROOMS = {str(group.limit('pids.max'))!r}, {rooms}\n" + textwrap.dedent(CROWD))
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert len(lines) == 3 * len(rooms)
    for line in lines[::3]:
        assert "can't start new thread" in line or "Resource temporarily unavailable" in line, line
    assert set(lines[1::3]) | set(lines[2::3]) == {"completed None"}
