"""However a job ends, nothing of it is left in the cluster, nor of a cluster that was begun for it.

Ray's own folder in /tmp/ray stays, with the logs of its sessions.
"""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import ray

from benchmarks.machines import Machines
from routilux import Flow, Job, Ray, Routine
from tests.ray.programs import Program

pytestmark = pytest.mark.ray


class Work(Routine):
    """Handles numbers: fails at -1, and never comes to an end at -2."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.handle)
        self.define_event("handled", ["n"])

    def handle(self, n: int) -> None:
        if n == -1:
            raise ValueError("no such number")
        self.emit("handled", n=n)
        if n == -2:
            threading.Event().wait()


def make_flow() -> Flow:
    flow = Flow("ends")
    flow.add_routine(Work(), "work", placement="ray", workers=2, ray=Ray(num_cpus=0.5))
    flow.output("work", "handled")
    return flow


def end_in(way: str, job: Job) -> None:
    """Bring a job to its end."""
    for n in range(20):
        job.send("work", "trigger", n=n)
    if way == "failed":
        job.send("work", "trigger", n=-1)
    if way == "cancelled":
        job.send("work", "trigger", n=-2)
        results = job.results()
        for _ in range(10):
            next(results)
        job.cancel()
    if way == "completed":
        job.close_entry()


WAYS = ["completed", "failed", "cancelled"]


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_left_in_a_cluster_that_was_joined(way: str, joined: Machines) -> None:
    with make_flow().start(keep_open=True) as job:
        end_in(way, job)
        job.collect()
        assert job.wait().status == way
    assert not ray.is_initialized()


def test_a_cluster_that_the_program_has_joined_stays_so(joined: Machines) -> None:
    ray.init(address=joined.address, log_to_driver=False, namespace="users")
    try:

        @ray.remote(num_cpus=0.1)
        class Own:
            def say(self) -> str:
                return "here"

        own: Any = Own.options(name="own").remote()
        state = make_flow().execute("work", {"n": 1})
        assert state.status == "completed"
        assert ray.is_initialized()
        assert ray.get(own.say.remote()) == "here"
        assert [name for name in joined.list_actors() if name != "own"] == []
        ray.kill(own)
    finally:
        ray.shutdown()


def test_nothing_is_left_of_a_cluster_that_was_begun_however_its_jobs_end(tmp_path: Path) -> None:
    with begin(tmp_path, *WAYS) as program:
        program.finish()
        assert program.process.returncode == 0, (tmp_path / "errors").read_text()
        assert program.lines == [*WAYS, "over"]
        assert program.find_left() == []
    assert sorted(path.name for path in (tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_of_a_cluster_whose_program_is_ended(number: signal.Signals, tmp_path: Path) -> None:
    with begin(tmp_path, "endless") as program:
        program.wait_until_at(1)
        program.process.send_signal(number)
        program.finish()
        assert program.process.returncode != 0
        assert program.find_left() == []
    if number != signal.SIGKILL:  # which leaves nobody to take a file away
        assert sorted(path.name for path in (tmp_path / "tmp").iterdir()) == []


def test_nothing_is_left_in_a_cluster_whose_program_is_killed(joined: Machines, tmp_path: Path) -> None:
    with begin(tmp_path, "endless", address=joined.address) as program:
        program.wait_until_at(1)
        assert joined.list_actors() != []
        program.kill()
        program.finish()
        assert program.find_left() == []
    wait_until_gone(joined)


def wait_until_gone(machines: Machines) -> None:
    """Wait until no actor is left; the test's own limit ends that."""
    while machines.list_actors():
        threading.Event().wait(0.1)


def begin(tmp_path: Path, *ways: str, address: str | None = None) -> Program:
    """Start a program that has a job for each way, one after the other."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(folder))
        patch.setenv("RAY_TMPDIR", "/tmp")
        return Program(["-m", "tests.ray.test_ends", *ways], tmp_path / "errors", address)


def main(*ways: str) -> None:
    """Be that program."""
    for way in ways:
        with make_flow().start(keep_open=True) as job:
            if way == "endless":
                for n in (-2, *range(20)):
                    job.send("work", "trigger", n=n)
                for number, _result in enumerate(job.results()):
                    print("at", number + 1, flush=True)
            end_in(way, job)
            job.collect()
            print(job.wait().status, flush=True)
        if ray.is_initialized():
            print("Ray goes on", flush=True)
    print("over", flush=True)


if __name__ == "__main__":
    import sys

    main(*sys.argv[1:])
