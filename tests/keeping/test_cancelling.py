from __future__ import annotations

from pathlib import Path

import pytest

from routilux import Flow, routine
from routilux.jobs.errors import NotResumableError
from routilux.keeping.cancelling import cancel_kept
from routilux.keeping.finding import latest
from routilux.keeping.history import StoredHistory
from routilux.keeping.verifying import verify
from routilux.stores import FileStore, this_process


@routine(events={"number": ["n"]})
def count(n: int) -> int:
    return n


def test_a_job_that_nobody_runs_is_cancelled_and_keeps_all_it_has(tmp_path: Path) -> None:
    flow = Flow("counting")
    flow.add_routine(count, "count")
    flow.output("count", "number")
    store = FileStore(tmp_path / "jobs")
    job = flow.start(store=store, job_id="a", keep_open=True)
    job.send("count", "input", n=1)
    assert next(job.results()) == {"n": 1}
    job.leave()
    before, history = latest(store, "a").image, list(StoredHistory(store, "a"))
    lease = store.acquire("a", this_process(), create=False)
    cancel_kept(store, lease, "no need")
    lease.release()
    after = latest(store, "a").image
    assert (after.header.status, after.header.error, after.header.cause) == ("cancelled", "no need", "end")
    assert (after.routines, after.states, after.job) == (before.routines, before.states, before.job)
    assert list(StoredHistory(store, "a")) == history
    assert verify(store, "a") == []
    with pytest.raises(NotResumableError):
        Flow.resume(store, "a", flow=flow)
    Flow.fork(store, "a", "b")
    assert Flow.resume(store, "b", flow=flow).cancel_and_wait().status == "cancelled"
