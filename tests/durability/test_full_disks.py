"""A disk that is full while a job is kept: the job goes on, tells of it, and is kept again once there is room."""

from __future__ import annotations

import errno
import json
import logging
import os
import subprocess
import threading
from pathlib import Path

import pytest

from routilux import Flow, Job
from routilux.jobs.errors import CheckpointFailedError
from routilux.keeping.history import StoredHistory
from routilux.keeping.verifying import verify
from routilux.stores import FileStore, Store
from routilux.stores.opening import open_store
from routilux.stores.syscalls import Syscalls
from tests.durability import counting
from tests.durability.counting import Adding
from tests.faults.programs import ROOT, run_program

COUNT = 300


def make_flow() -> Flow:
    return counting.make_flow("full", COUNT, Adding(0.001))


class Full(Syscalls):
    """A file system that is full while `is_full` is set: at writes, or at the call that brings it to the device."""

    def __init__(self, verb: str) -> None:
        self.verb = verb
        self.is_full = False

    def write(self, descriptor: int, data: memoryview) -> int:
        if self.is_full and self.verb == "write":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self.is_full and self.verb == "part":
            return os.write(descriptor, data[: len(data) // 2]) if len(data) > 1 else self._refuse()
        return super().write(descriptor, data)

    def fsync(self, descriptor: int) -> None:
        if self.is_full and self.verb == "fsync":
            self._refuse()
        super().fsync(descriptor)

    def _refuse(self) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _wait_for(job: Job, count: int) -> None:
    while job.state.routine_states["sink"]["handled"] < count and not job.is_over:
        threading.Event().wait(0.005)


def _assert_exact(store: Store, job: Job) -> None:
    state = job.wait(30)
    assert (state.status, state.error) == ("completed", None)
    assert state.routine_states["sink"]["state"] == {"last": COUNT, "sum": COUNT * (COUNT + 1) // 2}
    history = StoredHistory(store, job.id)
    completed = [record.message_id for record in history if record.kind == "completed"]
    assert len(completed) == len(set(completed)) == COUNT + 1
    assert verify(store, job.id) == []


@pytest.mark.parametrize("verb", ["write", "part", "fsync"])
def test_a_job_goes_on_while_the_disk_is_full_and_is_kept_again_when_there_is_room(
    tmp_path: Path, verb: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = FileStore(tmp_path, calls=(calls := Full(verb)))
    job = make_flow().start("source", {}, store=store, job_id="job", checkpoint_every=0.02)
    _wait_for(job, 30)
    calls.is_full = True
    with pytest.raises(CheckpointFailedError):
        job.checkpoint()
    with pytest.raises(CheckpointFailedError):
        job.pause()
    assert job.status == "running"
    before = job.last_checkpoint
    _wait_for(job, 120)
    assert before is not None
    assert job.last_checkpoint == before
    calls.is_full = False
    info = job.checkpoint()
    assert info == job.last_checkpoint
    assert info.number > before.number
    _assert_exact(store, job)
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert told
    assert all("could not be kept" in line for line in told)
    store.close()


@pytest.mark.parametrize("verb", ["write", "part", "fsync"])
def test_a_job_that_stops_on_a_full_disk_goes_on_from_the_last_good_checkpoint(tmp_path: Path, verb: str) -> None:
    store = FileStore(tmp_path, calls=(calls := Full(verb)))
    job = make_flow().start("source", {}, store=store, job_id="job", checkpoint_every=0.02, on_checkpoint_error="stop")
    _wait_for(job, 30)
    calls.is_full = True
    state = job.wait(30)
    assert state.status == job.status == "failed"
    assert state.error is not None
    assert "could not be kept" in state.error
    assert "job.lock" not in state.error
    calls.is_full = False
    _assert_exact(store, Flow.resume(store, "job", flow=make_flow()))
    store.close()


def test_the_end_of_a_job_that_cannot_be_written_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = FileStore(tmp_path, calls=(calls := Full("write")))
    job = make_flow().start("source", {}, store=store, job_id="job")
    calls.is_full = True
    state = job.wait(30)
    assert state.status == job.status == "completed"  # it is right, here
    assert "resumed, the job goes on from the checkpoint before" in caplog.text
    assert job.last_checkpoint is not None
    assert job.last_checkpoint.cause == "start"
    calls.is_full = False
    _assert_exact(store, Flow.resume(store, "job", flow=make_flow()))
    store.close()


def test_who_leaves_a_job_is_told_when_it_could_not_be_kept(tmp_path: Path) -> None:
    store = FileStore(tmp_path, calls=(calls := Full("write")))
    job = make_flow().start("source", {}, store=store, job_id="job")
    _wait_for(job, 10)
    calls.is_full = True
    with pytest.raises(CheckpointFailedError, match="could not be kept"):
        job.leave("the evening")
    assert job.status == "paused"
    assert "could not be kept" in (job.state.error or "")
    calls.is_full = False
    _assert_exact(store, Flow.resume(store, "job", flow=make_flow()))
    store.close()


PROGRAM = """
import resource, sys, threading
sys.path.insert(0, sys.argv[3])
from tests.durability.test_full_disks import make_flow, COUNT, _wait_for
from routilux.jobs.errors import CheckpointFailedError
from routilux.stores.opening import open_store
from routilux.keeping.history import StoredHistory
from routilux.keeping.verifying import verify
import json, logging
logging.disable(logging.CRITICAL)

if __name__ == "__main__":
    store = open_store(sys.argv[1])
    job = make_flow().start("source", {}, store=store, job_id="job")
    _wait_for(job, 30)
    before = job.last_checkpoint
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), hard))
    refused = 0
    for _ in range(3):
        try:
            job.checkpoint()
        except CheckpointFailedError:
            refused += 1
    same = job.last_checkpoint == before
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    number = job.checkpoint().number
    state = job.wait(30)
    completed = [record.message_id for record in StoredHistory(store, "job") if record.kind == "completed"]
    print(json.dumps([refused, same, number, state.status, state.routine_states["sink"]["state"]["sum"],
        len(completed), len(set(completed)), [str(problem) for problem in verify(store, "job")]]))
"""


@pytest.mark.processes
@pytest.mark.parametrize(("name", "limit"), [("jobs", 200), ("jobs.sqlite", 4096)])
def test_a_limit_on_the_size_of_files_is_as_a_full_disk(tmp_path: Path, name: str, limit: int) -> None:
    status, out, err = run_program(PROGRAM, tmp_path, str(tmp_path / name), str(limit), str(ROOT))
    assert status == 0, err
    refused, same, number, *rest = json.loads(out)
    assert refused == 3
    assert same
    assert number >= 4
    assert rest == ["completed", COUNT * (COUNT + 1) // 2, COUNT + 1, COUNT + 1, []]


@pytest.mark.processes
@pytest.mark.parametrize("name", ["jobs", "jobs.sqlite"])
def test_a_small_device_that_is_full_has_its_job_on_it_again_when_there_is_room(tmp_path: Path, name: str) -> None:
    device = tmp_path / "device"
    device.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k,mode=0700", "tmpfs", str(device)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        store = open_store(device / name)
        job = make_flow().start("source", {}, store=store, job_id="job")
        _wait_for(job, 30)
        filler = device / "filler"
        with filler.open("wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError:
                pass
        with pytest.raises(CheckpointFailedError, match=r"No space left|full"):
            job.checkpoint()
        filler.unlink()
        job.checkpoint()
        _assert_exact(store, job)
        store.close()
    finally:
        subprocess.run(["umount", str(device)], check=True)


def test_history_waits_for_room_and_what_is_too_much_for_memory_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("routilux.jobs.recorder.BACKLOG_BYTES", 6_000)
    store = FileStore(tmp_path, calls=(calls := Full("write")))
    job = make_flow().start("source", {}, store=store, job_id="job", checkpoint_every=0.02)
    _wait_for(job, 20)
    calls.is_full = True
    _wait_for(job, 200)
    calls.is_full = False
    job.checkpoint()
    assert job.wait(30).status == "completed"
    completed = [record for record in StoredHistory(store, "job") if record.kind == "completed"]
    assert len(completed) < COUNT + 1
    assert "its history lacks" in caplog.text
    assert verify(store, "job") == []
    store.close()
