"""The tracker of a job that runs, is over, was loaded, was resumed or is kept: the same questions, the same answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from routilux import ExecutionTracker, Flow, Job, JobState, routine
from routilux.jobs.tracks import track_image
from routilux.keeping.finding import latest
from routilux.stores import FileStore
from tests.tracking.samples import Sum, one, pairs, wait_until


def still(tracker: ExecutionTracker) -> ExecutionTracker:
    """Give a tracker without what goes on with the clock alone."""
    tracks = tuple(
        replace(track, measured=replace(track.measured, recent=0, recent_seconds=0.0)) for track in tracker.tracks
    )
    flows = tuple(
        replace(
            flow, first_at=flow.first_at and round(flow.first_at, 3), last_at=flow.last_at and round(flow.last_at, 3)
        )
        for flow in tracker.flows
    )
    return replace(tracker, at=0.0, seconds=0.0, tracks=tracks, flows=flows)


def test_a_routine_that_runs_is_told_of_as_one_that_is_over() -> None:
    flow, pair = pairs()
    job = flow.start("pair", {"n": 13})
    job_is_over = job.wait()
    assert one(job_is_over.tracker, "pair").success_rate == 0.0
    job = flow.start("pair", {"n": 1}, keep_open=True)
    for n in (13, 7, 2):
        job.send("pair", "trigger", n=n)
    running = wait_until(job, lambda tracker: one(tracker, "pair").dead == 1 and one(tracker, "sum").handled == 2)
    told = one(running, "pair")
    assert (told.handled, told.failed, told.dead, told.waiting + told.in_hand) == (1, 1, 1, 2)
    assert (told.executions, told.success_rate, told.emitted) == (2, 0.5, 2)
    assert 1 <= told.peak_waiting <= 4
    assert told.execution_time.count == told.waiting_time.count == 1
    assert told.execution_time.p50 == pytest.approx(told.execution_time.max, rel=0.01)
    pair.gate.set()
    job.close_entry()
    state = job.wait()
    over = one(job.tracker, "pair")
    assert (over.handled, over.failed, over.waiting, over.in_hand, over.success_rate) == (3, 1, 0, 0, 0.75)
    assert one(running, "pair") == told, "a snapshot does not change"
    assert job.tracker == state.tracker == JobState.deserialize(state.serialize()).tracker


def test_the_flow_of_events_is_told_by_connection(tmp_path: Path) -> None:
    flow, _pair = pairs()
    flow.execute("pair", {"n": 1})
    job = flow.start("pair", {"n": 1})
    state = job.wait()
    state.save(tmp_path / "state")
    for tracker in (job.tracker, JobState.load(tmp_path / "state").tracker):
        item, entry = tracker.event_flow()
        assert (item.source, item.event, item.target, item.slot) == ("pair", "item", "sum", "input")
        assert (item.count, item.handled, item.label) == (2, 2, "pair.item -> sum.input")
        assert (entry.source, entry.event, entry.target, entry.count) == ("", "", "pair", 1)
        assert state.created_at - 0.01 <= (entry.first_at or 0) <= (item.first_at or 0) <= (item.last_at or 0)
        assert (item.last_at or 0) <= state.updated_at + 0.01
        assert tracker.event_flow("sum") == [item]
        assert tracker.event_flow("nobody") == []
        assert tracker.get_routine_performance("nobody") is None


def test_a_job_as_a_whole_is_the_sum_of_its_routines() -> None:
    flow, _pair = pairs()
    job = flow.start("pair", {"n": 1})
    job.wait()
    told, routines = job.tracker.get_flow_performance(), [one(job.tracker, id_) for id_ in ("pair", "sum")]
    assert (told.handled, told.executions, told.sent, told.emitted, told.routines) == (3, 3, 3, 2, 2)
    assert told.execution_time.count == sum(routine.execution_time.count for routine in routines)
    assert told.execution_time.max == max(routine.execution_time.max for routine in routines)
    assert told.throughput == pytest.approx(3 / told.seconds)
    assert told.recent_throughput == pytest.approx(told.throughput), "it has not run for a minute"
    written = json.loads(json.dumps(job.tracker.to_dict()))
    assert (written["flow"]["handled"], written["routines"]["sum"]["handled"]) == (3, 2)
    assert written["event_flow"][0]["count"] == 2


def test_a_kept_job_is_told_of_as_the_running_one() -> None:
    flow, _pair = pairs()
    store = FileStore("jobs")
    with flow.start("pair", {"n": 1}, store=store, job_id="a", keep_open=True) as job:
        job.send("pair", "trigger", n=13)
        job.pause()
        paused = track_image(latest(store, "a").image)
        assert still(paused) == still(job.tracker)
        assert paused.seconds == job.tracker.seconds, "no time passes in a pause"
        job.resume()
    over = track_image(latest(store, "a").image)
    assert still(over) == still(job.tracker)
    assert paused.seconds < over.seconds == job.tracker.seconds


def test_a_resumed_job_goes_on_with_what_was_measured() -> None:
    flow, _pair = pairs()
    store = FileStore("jobs")
    job = flow.start("pair", {"n": 1}, store=store, job_id="a", keep_open=True)
    job.send("pair", "trigger", n=13)
    wait_until(job, lambda tracker: one(tracker, "pair").dead == 1 and one(tracker, "sum").handled == 2)
    job.pause()
    job.leave()
    before = job.tracker
    job = Flow.resume(store, "a", flow=flow)
    assert still(replace(job.tracker, status="")) == still(replace(before, status=""))
    job.send("pair", "trigger", n=2)
    job.close_entry()
    job.wait()
    after = job.tracker
    assert [one(after, id_).handled for id_ in ("pair", "sum")] == [2, 4]
    assert [one(after, id_).execution_time.count for id_ in ("pair", "sum")] == [2, 4]
    assert (one(after, "pair").failed, after.event_flow()[0].count) == (1, 4)
    assert after.event_flow()[0].first_at == pytest.approx(before.event_flow()[0].first_at, abs=0.01)
    assert after.seconds > before.seconds


@pytest.mark.processes
def test_what_processes_use_is_known_while_they_run_and_afterwards() -> None:
    flow, _pair = pairs("process")
    job = flow.start("pair", {"n": 1}, keep_open=True)
    (worker,) = one(wait_until(job, lambda tracker: one(tracker, "sum").handled == 2), "sum").workers
    assert worker.pid is not None
    assert (worker.rss_bytes or 0) > 1 << 20
    assert worker.peak_bytes >= (worker.rss_bytes or 0)
    assert worker.cpu_seconds >= 0  # told in hundredths of a second, of which a forked worker has used less than one
    assert one(job.tracker, "pair").workers == ()
    job.close_entry()
    job.wait()
    (ended,) = one(job.tracker, "sum").workers
    assert (ended.pid, ended.rss_bytes) == (None, None)
    assert ended.cpu_seconds >= worker.cpu_seconds


@routine(events={"n": ["n"]})
def count(upto: int) -> Any:
    yield from range(upto)


@pytest.mark.parametrize("store", [None, "jobs"])
def test_a_job_writes_its_trace(store: str | None, tmp_path: Path) -> None:
    flow = Flow("traced")
    flow.add_routine(count, "count")
    flow.add_routine(Sum(), "sum")
    flow.connect("count", "n", "sum", "input")
    job: Job = flow.start("count", {"upto": 20}, store=store)
    state = job.wait()
    job.write_trace(tmp_path / "job.json")
    state.write_trace(tmp_path / "state.json")
    for name in ("job.json", "state.json"):
        events = json.loads((tmp_path / name).read_text())["traceEvents"]
        tracks = {event["args"]["name"]: event["tid"] for event in events if event["name"] == "thread_name"}
        slices = [event["tid"] for event in events if event["ph"] == "X"]
        assert [slices.count(tracks[id_]) for id_ in ("count", "sum")] == [1, 20]
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
