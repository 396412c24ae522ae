"""Jobs in PostgreSQL whose programs and servers are killed: all is as if nothing had been."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from routilux import Flow, Job, JobOwnedError, JobStatus
from routilux.stores.errors import StoreError
from routilux.stores.owners import this_process
from routilux.stores.postgres import PostgresStore
from tests.durability.harness import check, survive
from tests.durability.program import send_the_rest
from tests.durability.shapes import SHAPES, Run
from tests.durability.test_pauses import handled, wait_until
from tests.postgres.servers import TestServer

ROOT = Path(__file__).resolve().parents[2]
SEEDS = {"chain": 1, "fan": 3, "loop": 2, "diamond": 1, "mixed": 7}
"""One of each shape: every trouble is among them."""
LAST = {"chain": "c", "fan": "sink", "loop": "sink", "diamond": "join"}


def _run(shape: str, folder: Path, url: str, part: float) -> Run:
    place = folder / shape
    place.mkdir()
    return Run(shape, SEEDS[shape], str(place), part, url)


def _start(run: Run, store: PostgresStore) -> Job:
    keeping = {**run.keeping, "checkpoint_every": 0.1}
    entry = SHAPES[run.shape].entry
    params = None if entry is None else {"upto": run.count}
    return run.flow().start(entry, params, keep_open=entry is None, store=store, job_id=run.job_id, **keeping)


@pytest.mark.parametrize("shape", SEEDS)
def test_killed_programs_jobs_come_to_their_exact_ends(shape: str, url: str, tmp_path: Path) -> None:
    outcome = survive(_run(shape, tmp_path, url, 0.3), most_kills=2)
    assert outcome.problems == [], outcome


@pytest.mark.parametrize("shape", ["chain", "diamond"])
def test_another_machine_takes_over_the_job_of_a_program_that_was_killed(
    shape: str, make_store: Callable[..., PostgresStore], url: str, tmp_path: Path
) -> None:
    run = _run(shape, tmp_path, url, 2.0)
    store = make_store()
    program = [sys.executable, "-m", "tests.postgres.elsewhere", *map(str, run)]
    with subprocess.Popen([*program, "one"], cwd=ROOT, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        assert [first.stdout.readline(), first.stdout.readline()] == [b"begun\n", b"working\n"]
        with pytest.raises(JobOwnedError, match="on one: leave or cancel it there first"):
            Flow.resume(store, run.job_id, flow=run.flow(), **run.keeping)
        first.kill()
    other = subprocess.run([*program, "two"], cwd=ROOT, capture_output=True, check=True, timeout=90.0)
    assert other.stdout.split(b"\n")[-2:] == [b"over", b""]
    assert store.acquire(run.job_id, this_process(), create=False).generation == 3
    assert check(run).problems == []


@pytest.mark.parametrize("shape", LAST)
def test_a_server_is_killed_again_and_again_while_a_job_runs(
    shape: str, own_server: TestServer, tmp_path: Path
) -> None:
    run = _run(shape, tmp_path, own_server.url(), 0.6)
    store = PostgresStore(own_server.url(), patience_seconds=30.0)
    job, kills = _start(run, store), 0
    sending = threading.Thread(target=send_the_rest, args=(job, run)) if SHAPES[shape].entry is None else None
    collecting = threading.Thread(target=job.collect)
    for thread in filter(None, (sending, collecting)):
        thread.start()
    while not job.is_over and kills < 4:
        kept = job.last_checkpoint
        wait_until(lambda kept=kept: job.is_over or job.last_checkpoint != kept)  # type: ignore[misc]
        own_server.kill() if kills % 2 == 0 else own_server.stop()
        own_server.start()
        kills += 1
    state = job.wait()
    for thread in filter(None, (sending, collecting)):
        thread.join()
    store.close()
    assert (state.status, state.error) == (JobStatus.COMPLETED, None)
    assert kills > 1
    assert check(run).problems == []


def test_a_job_goes_on_without_its_server_and_resumes_exactly_elsewhere(own_server: TestServer, tmp_path: Path) -> None:
    run = _run("diamond", tmp_path, own_server.url(), 2.0)
    store = PostgresStore(own_server.url(), patience_seconds=0.1)
    job = _start(run, store)
    wait_until(lambda: handled(job, "join") > 50)
    own_server.kill()
    before = handled(job, "join")
    wait_until(lambda: handled(job, "join") > before + 50)  # nothing waits for it
    own_server.start()
    state = job.leave("evening")
    assert state.status == JobStatus.PAUSED
    store.close()
    other = PostgresStore(own_server.url())
    resumed = Flow.resume(other, run.job_id, flow=run.flow(), **run.keeping)
    resumed.collect()
    assert resumed.wait().status == JobStatus.COMPLETED
    other.close()
    assert check(run).problems == []


def test_a_job_that_was_taken_over_ends_and_writes_nothing_more(
    make_store: Callable[..., PostgresStore], url: str, tmp_path: Path
) -> None:
    run = _run("diamond", tmp_path, url, 1.0)
    first, second = make_store(lease_seconds=1.0), make_store()
    job = _start(run, first)
    wait_until(lambda: job.last_checkpoint is not None and handled(job, "join") > 20)
    assert first._leases._renewer is not None
    first._leases._renewer.close()  # as a machine that is cut off from the server
    wait_until(lambda: second.owner(run.job_id) is None)
    resumed = Flow.resume(second, run.job_id, flow=run.flow(), **run.keeping)
    state = job.wait()
    assert state.status == JobStatus.FAILED
    assert "was taken over by generation 2: generation 1 may not write" in str(state.error)
    resumed.collect()
    assert resumed.wait().status == JobStatus.COMPLETED
    assert check(run).problems == []


def test_a_job_that_cannot_be_kept_at_all_is_told_where_it_is_started(own_server: TestServer) -> None:
    own_server.stop()
    with pytest.raises(StoreError, match="could not be written: connection"):
        Run("chain", 1, "", 1.0, own_server.url()).flow().start(store=own_server.url(), job_id="job", keep_open=True)
