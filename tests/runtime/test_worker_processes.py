"""The workers of a process routine: how they start, what they have, where they run, and what follows a lost zygote."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import psutil
import pytest

from routilux import ErrorHandler, Flow, JobStatus, Routine
from routilux.runtime.workers import MODULES
from supervisors.cpus import count_pinnable
from supervisors.places.process.launch import has_zygotes
from supervisors.wire.frames import _to_worker
from tests.runtime.waiting import wait_until

pytestmark = pytest.mark.processes

HANDLING = "supervisors routilux cloudpickle msgspec"
"""The packages that a worker needs to handle a message."""


class Watched(Routine):
    """Tells of the process that it is in."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.tell)
        self.define_event("told", ["what"])

    def tell(self, verb: str) -> None:
        self.emit("told", what=getattr(self, verb)())

    def parent(self) -> int:
        return os.getppid()

    def share(self) -> Any:
        return [sorted(os.sched_getaffinity(0)), os.getpriority(os.PRIO_PROCESS, 0), os.getpid()]

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def modules(self) -> list[str]:
        return [name for name in sys.modules if name.split(".")[0] in HANDLING.split()]

    def readers(self) -> int:
        return _to_worker.cache_info().misses

    def preloaded(self) -> int:
        (name,) = [name for name in sys.modules if name.startswith("preloaded_")]
        return int(sys.modules[name].PID)


def flow_of(**options: Any) -> Flow:
    flow = Flow("watched")
    flow.add_routine(Watched(), "watched", placement="process", **options)
    flow.output("watched", "told")
    return flow


def tell(job: Any, results: Any, verb: str) -> Any:
    job.send("watched", "trigger", verb=verb)
    return next(results)["what"]


@pytest.mark.parametrize("start_method", ["zygote", "spawn"] if has_zygotes() else ["spawn"])
def test_a_job_runs_by_either_way_of_starting(start_method: str) -> None:
    with flow_of(start_method=start_method, error_handler=ErrorHandler("continue")).start(keep_open=True) as job:
        results = job.results()
        own = tell(job, results, "parent") == os.getpid()
        job.send("watched", "trigger", verb="die")
        assert (tell(job, results, "parent") == os.getpid()) is own
        job.close_entry()
        state = job.wait()
    assert state.status == JobStatus.COMPLETED
    assert own is (start_method == "spawn")


@pytest.mark.skipif(not has_zygotes(), reason="there are zygotes on Linux alone")
def test_a_zygote_has_imported_all_of_our_own_that_a_worker_comes_to_need() -> None:
    with flow_of().start(keep_open=True) as job:
        results = job.results()
        tell(job, results, "share")
        after = set(tell(job, results, "modules"))
        zygote = tell(job, results, "parent")
    own = (*MODULES, "supervisors.places.process.zygote_program", "supervisors.places.process.zygote")
    program = f"import sys, {', '.join(own)}; print(*sys.modules)"
    before = set(subprocess.check_output([sys.executable, "-c", program], text=True).split())
    assert after <= before
    assert zygote != os.getpid()


@pytest.mark.skipif(not has_zygotes(), reason="there are zygotes on Linux alone")
@pytest.mark.parametrize("options", [{}, {"partition_by": "verb"}])
def test_a_zygote_has_made_what_its_workers_read_requests_with(options: dict[str, Any]) -> None:
    with flow_of(**options).start(keep_open=True) as job:
        made = tell(job, job.results(), "readers")
    program = f"""\
        import {", ".join(MODULES)}
        from supervisors.wire.frames import _to_worker, prepare_reader
        prepare_reader(bytes)
        print(_to_worker.cache_info().misses)
        """
    ahead = subprocess.check_output([sys.executable, "-c", textwrap.dedent(program)], text=True)
    assert made == int(ahead)


def is_over(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.skipif(not has_zygotes(), reason="there are zygotes on Linux alone")
def test_workers_whose_zygote_is_killed_are_replaced_and_every_message_is_handled() -> None:
    flow = flow_of(workers=3, error_handler=ErrorHandler("retry", retry_delay=0.0, max_retries=20))
    with flow.start(keep_open=True) as job:
        results = job.results()
        zygotes = set()
        for round_ in range(4):
            for _ in range(30):
                job.send("watched", "trigger", verb="parent")
            parents = {next(results)["what"] for _ in range(30)}
            zygotes |= parents
            if round_ < 3:
                for child in psutil.Process().children():
                    if child.pid in parents:
                        with contextlib.suppress(psutil.NoSuchProcess):  # one that was killed before is reaped now
                            child.kill()
                        # Up to here its workers go on, which takes no longer than some rounds do.
                        wait_until(lambda child=child: is_over(child))
        job.close_entry()
        state = job.wait()
    assert state.status == JobStatus.COMPLETED
    assert len(zygotes) >= 2


def test_a_module_that_cannot_be_imported_is_why_the_job_failed() -> None:
    state = flow_of(preload=["no_such_module_of_mine"], max_restarts=0).execute("watched", {"verb": "parent"})
    assert state.status == JobStatus.FAILED
    assert "could not start: supervisors.errors.PreloadError: preload: module 'no_such_module_of_mine'" in str(
        state.error
    )


def test_a_module_that_is_named_is_there_from_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"preloaded_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(textwrap.dedent("import os\nPID = os.getpid()\n"))
    monkeypatch.syspath_prepend(str(tmp_path))
    with flow_of(preload=[name]).start(keep_open=True) as job:
        results = job.results()
        assert (tell(job, results, "preloaded") == tell(job, results, "parent")) is has_zygotes()


@pytest.mark.skipif(not count_pinnable(), reason="this system keeps no process to some processors")
def test_each_worker_keeps_to_its_processors_and_its_niceness() -> None:
    cpus = sorted(os.sched_getaffinity(0))[:2]
    groups = [{cpus[0]}, set(cpus)]
    niceness = min(19, os.getpriority(os.PRIO_PROCESS, 0) + 3)  # there is none above that of `nice -n 19 make test`
    seen: dict[int, list[Any]] = {}
    flow = flow_of(workers=2, cpu_affinity=groups, niceness=niceness)
    with flow.start(keep_open=True) as job:
        results = job.results()
        while len(seen) < 2:
            for _ in range(20):
                job.send("watched", "trigger", verb="share")
            for _ in range(20):
                *share, pid = next(results)["what"]
                seen[pid] = share
    assert sorted(seen.values()) == sorted([sorted(group), niceness] for group in groups)


@pytest.mark.skipif(not count_pinnable(), reason="this system keeps no process to some processors")
def test_a_processor_that_is_not_for_the_program_to_use_is_why_no_worker_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("routilux.model.launching.count_pinnable", lambda: 10_000)
    state = flow_of(cpu_affinity={9_999}, max_restarts=0).execute("watched", {"verb": "parent"})
    assert state.status == JobStatus.FAILED
    assert "could not start: supervisors.errors.StartError: cpu_affinity: processors [9999]" in str(state.error)


def test_the_options_are_in_a_file_as_they_were_given(tmp_path: Path) -> None:
    flow = flow_of(start_method="spawn", preload=("json",), cpu_affinity={0} if count_pinnable() else None, niceness=3)
    path = tmp_path / "flow.json"
    flow.to_file(path)
    again = Flow.from_file(path, allow_modules=[__name__])
    assert again.options == flow.options
