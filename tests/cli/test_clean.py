"""`routilux clean`: whole jobs that are over go, and no other one unless it is asked for."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

from routilux import ErrorHandler, ErrorStrategy, Flow, Routine
from routilux.cli.clean import age
from routilux.cli.main import main
from routilux.control import folder
from routilux.keeping.removing import Found, find_jobs, is_removable, remove_job
from routilux.stores import FileStore, this_process


class Count(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.count)

    def count(self, upto: int) -> None:
        if upto < 0:
            raise ValueError("below zero")
        self.state["upto"] = upto


def make_flow() -> Flow:
    flow = Flow("counting")
    flow.add_routine(Count(), "count")
    return flow


@pytest.fixture(autouse=True)
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileStore:
    """A store with one job of each kind, and no sockets of others."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(folder, "_folders", lambda: [tmp_path / "routilux"])
    store, flow = FileStore("jobs"), make_flow()
    flow.execute("count", {"upto": 1}, store=store, job_id="done")
    flow.execute("count", {"upto": -1}, store=store, job_id="failed")
    for job_id in ("paused", "cancelled"):
        job = flow.start(store=store, job_id=job_id, keep_open=True)
        job.pause()
        if job_id == "paused":
            job.leave()
        else:
            job.cancel()
            job.wait()
    store.acquire("empty", this_process(), create=True).release()
    return store


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    status = main(["clean", "--store", "jobs", *words])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def names(out: str) -> list[str]:
    return [line.split()[0] for line in out.splitlines()[1:]]


def test_jobs_that_are_over_go_and_all_others_stay(capsys: pytest.CaptureFixture[str], jobs: FileStore) -> None:
    status, out, err = told(capsys, "--all")
    assert status == 0
    assert names(out) == ["cancelled", "done"]
    assert jobs.jobs() == ["empty", "failed", "paused"]
    assert err.startswith("removed: 2 jobs (")
    assert err.endswith(
        "left: 1 failed (--status failed removes such), 1 paused (--status paused removes such), "
        "1 not-begun (--status not-begun removes such)\n"
    )
    assert told(capsys, "--all")[1:] == ("", "removed: 0 jobs (0 B)\n" + err.split("\n", 1)[1])


def test_a_dry_run_tells_the_same_and_removes_nothing(capsys: pytest.CaptureFixture[str], jobs: FileStore) -> None:
    before = jobs.jobs()
    status, out, err = told(capsys, "--all", "--dry-run")
    assert (status, names(out), jobs.jobs()) == (0, ["cancelled", "done"], before)
    assert err.startswith("would be removed: 2 jobs (")


def test_what_is_asked_for_goes_instead(capsys: pytest.CaptureFixture[str], jobs: FileStore) -> None:
    assert told(capsys, "--all", "--status", "failed", "--status", "not-begun")[0] == 0
    assert jobs.jobs() == ["cancelled", "done", "paused"]


def test_what_was_kept_lately_stays(capsys: pytest.CaptureFixture[str], jobs: FileStore) -> None:
    status, out, err = told(capsys, "--older", "30d", "--status", "completed", "--status", "not-begun")
    assert (status, out) == (0, "")
    assert "1 completed (too new, or gone on with)" in err
    assert len(jobs.jobs()) == 5
    (done,) = [found for found in find_jobs(jobs) if found.job_id == "done"]
    assert done.kept_at is not None
    assert [is_removable(done, ["completed"], done.kept_at + later) for later in (-1.0, 1.0)] == [False, True]


def test_a_job_that_runs_is_never_removed(capsys: pytest.CaptureFixture[str], jobs: FileStore) -> None:
    with make_flow().start(store=jobs, job_id="live", keep_open=True) as job:
        status, _, err = told(capsys, "--all", "--status", "lost", "--status", "paused")
        assert (status, "1 running (never removed)" in err) == (0, True)
        assert "live" in jobs.jobs()
        # Nor if it was chosen before somebody began to run it.
        assert not remove_job(jobs, Found("live", "lost", 1, 0.0), ["lost"], float("inf"), lambda _: False)
        job.close_entry()


def test_a_job_that_somebody_has_gone_on_with_since_it_was_chosen_stays(jobs: FileStore) -> None:
    (paused,) = [found for found in find_jobs(jobs) if found.status == "paused"]
    with Flow.resume(jobs, "paused", flow=make_flow()) as job:
        job.close_entry()
    assert not remove_job(jobs, paused, ["paused"], float("inf"), lambda _: False)
    assert "paused" in jobs.jobs()
    assert not remove_job(jobs, paused._replace(job_id="gone"), ["paused"], float("inf"), lambda _: False)


def test_a_job_that_was_lost_with_its_program_goes_only_if_it_is_asked_for(
    capsys: pytest.CaptureFixture[str], jobs: FileStore
) -> None:
    with make_flow().start(store=jobs, job_id="live", keep_open=True) as job:
        job.checkpoint()
        shutil.copytree("jobs", "left")  # as a kill leaves it: nobody holds its lock
        job.close_entry()
    left = FileStore("left")
    told(capsys, "--store", "left", "--all")
    assert "live" in left.jobs()
    status, out, _ = told(capsys, "--store", "left", "--all", "--status", "lost")
    assert (status, names(out), "live" in left.jobs()) == (0, ["live"], False)


def test_sockets_of_killed_programs_are_removed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, jobs: FileStore
) -> None:
    place = tmp_path / "routilux"
    place.mkdir(mode=0o700, exist_ok=True)
    dead, alive = place / "1-dead.sock", place / "2-alive.sock"
    with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as other:
        one.bind(str(dead))
        other.bind(str(alive))
        other.listen()
        one.close()
        assert "and 1 socket of killed programs" in told(capsys, "--all", "--dry-run")[2]
        assert dead.exists()
        assert "and 1 socket of killed programs" in told(capsys, "--all")[2]
        assert (dead.exists(), alive.exists()) == (False, True)


def test_the_same_is_had_as_json(capsys: pytest.CaptureFixture[str], jobs: FileStore) -> None:
    found = json.loads(told(capsys, "--all", "--json")[1])
    assert [(job["job_id"], job["status"]) for job in found] == [("cancelled", "cancelled"), ("done", "completed")]
    assert all(job["size_bytes"] > 0 and job["kept_at"] > 0 for job in found)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90m", 5400.0), ("1.5h", 5400.0), ("30d", 2592000.0), ("4w", 2419200.0)]
)
def test_ages_are_read_with_their_unit(text: str, seconds: float) -> None:
    assert age(text) == seconds


@pytest.mark.parametrize(
    "words", [("--older", "30"), ("--older", "d"), ("--all", "--status", "running"), ("--all", "--status", "done")]
)
def test_what_is_no_age_or_status_is_usage(capsys: pytest.CaptureFixture[str], words: tuple[str, ...]) -> None:
    status, _, err = told(capsys, *words)
    assert status == 2
    assert "expected an age such as" in err or "invalid choice" in err


def test_which_jobs_go_has_to_be_said(capsys: pytest.CaptureFixture[str], jobs: FileStore) -> None:
    before = jobs.jobs()
    status, _, err = told(capsys)
    assert (status, jobs.jobs()) == (2, before)
    assert "one of the arguments --older --all is required" in err


@pytest.mark.parametrize("key", [None, b"k" * 16])
def test_a_job_with_dead_letters_stays_unless_it_is_asked_for(
    capsys: pytest.CaptureFixture[str], jobs: FileStore, key: bytes | None
) -> None:
    flow = Flow("counting")
    flow.add_routine(Count(), "count", error_handler=ErrorHandler(ErrorStrategy.CONTINUE))
    flow.execute("count", {"upto": -1}, store=jobs, job_id="given-up", key=key)
    if key is not None:
        assert "left: given-up: whether it has dead letters cannot be read (--key-file)" in told(capsys, "--all")[2]
        Path("key").write_bytes(key)
        flow.execute("count", {"upto": 1}, store=jobs, job_id="open")
    words = ("--all", *(() if key is None else ("--key-file", "key")))
    status, _, err = told(capsys, *words)
    assert (status, "given-up" in jobs.jobs()) == (0, True)
    assert "left: given-up: it has 1 dead letter; --with-dead-letters removes it\n" in err
    assert not remove_job(jobs, Found("given-up", "completed", 1, 0.0), ["completed"], float("inf"), lambda _: True)
    assert names(told(capsys, "--all", "--with-dead-letters")[1]) == ["given-up"]
    assert not {"given-up", "open"} & {*jobs.jobs()}


def test_a_job_that_is_taken_meanwhile_is_named_as_left_and_one_that_is_gone_not(
    capsys: pytest.CaptureFixture[str], jobs: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases = []

    def meanwhile(store: FileStore, found: Found, *rest: Any) -> bool:
        lease = jobs.acquire(found.job_id, this_process(), create=False)
        if found.job_id == "done":
            leases.append(lease)  # somebody goes on with it
        else:
            jobs.remove(lease)  # somebody else cleans too
            lease.release()
        return remove_job(store, found, *rest)

    monkeypatch.setattr("routilux.cli.clean.remove_job", meanwhile)
    status, out, err = told(capsys, "--all", "--status", "completed", "--status", "failed")
    leases[0].release()
    assert (status, out) == (0, "")
    assert err.startswith("removed: 0 jobs (0 B)\nleft: 1 completed (too new, or gone on with), 1 cancelled (")
    assert "failed" not in err
