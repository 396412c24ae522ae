"""Checkpoints of whole jobs at their ends; for the cut itself see the tests of the ledger."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from routilux import Flow, routine
from routilux.errors import JobTimeoutError
from routilux.jobs.errors import CheckpointFailedError
from routilux.keeping.finding import latest
from routilux.stores import FileStore, open_store
from routilux.stores.base import Lease
from routilux.stores.errors import StoreWriteError


@routine(events={"number": ["n"]})
def numbers(upto: int) -> Any:
    yield from range(upto)


def make_flow() -> Flow:
    flow = Flow("numbers")
    flow.add_routine(numbers, "numbers")
    return flow


def test_a_job_that_is_over_at_once_is_kept_as_completed(tmp_path: Path) -> None:
    flow, seen = make_flow(), Counter[tuple[str, str]]()
    for number in range(30):
        state = flow.execute("numbers", {"upto": number % 7}, store=tmp_path / "jobs", job_id=f"j{number}")
        assert state.checkpoint is not None
        header = latest(open_store(tmp_path / "jobs"), state.job_id).image.header
        assert header.number == state.checkpoint.number
        seen[state.status, header.status] += 1
    assert seen == {("completed", "completed"): 30}


def test_a_checkpoint_of_a_paused_job_says_so_and_none_is_written_by_itself(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "jobs")
    job = make_flow().start(store=store, job_id="a", keep_open=True, checkpoint_every=0.005)
    paused = job.pause("lunch")
    assert paused is not None
    with pytest.raises(JobTimeoutError, match="job 'a' is still paused, and takes no message to 'numbers' after 0 s"):
        job.put("numbers", "", {"upto": 1}, timeout=0.0)
    threading.Event().wait(0.1)
    info = job.checkpoint()
    assert info.number == paused.number + 1
    assert latest(store, "a").image.header.status == "paused"
    job.resume()
    job.checkpoint()
    assert latest(store, "a").image.header.status == "running"
    job.cancel_and_wait()


class FullStore(FileStore):
    """Takes no checkpoint once it is full."""

    is_full = False

    def put(self, lease: Lease, name: str, parts: Iterable[bytes]) -> int:
        if self.is_full:
            raise StoreWriteError(name, "No space left on device")
        return super().put(lease, name, parts)


def test_a_job_that_is_left_and_cannot_be_kept_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = FullStore(tmp_path / "jobs")
    job = make_flow().start(store=store, job_id="a", keep_open=True)
    store.is_full = True
    with pytest.raises(CheckpointFailedError, match="checkpoint 2 of job 'a' could not be kept"):
        job.leave("home")
    state = job.state
    assert state.status == "paused"
    assert state.error is not None
    assert "checkpoint 2 of job 'a' could not be kept" in state.error
    assert state.error in caplog.text
    assert state.checkpoint is not None
    assert state.checkpoint.number == 1
