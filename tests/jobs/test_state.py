from __future__ import annotations

import dataclasses
import datetime as dt
import json
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from routilux import ErrorHandler, Flow, InPlace, JobState, JobStatus, Routine, Unreadable, routine
from routilux.jobs.state import PausePoint
from routilux.jobs.state_file import DamagedStateError, seal, unseal
from routilux.records.errors import UnsupportedFormatError
from routilux.stores.errors import StoreReadError, StoreWriteError, UnsafeStoreError
from supervisors.errors import ValueDecodingError, ValueEncodingError

WHEN = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)


class Stranger:
    """Of no registered class."""


class Counter(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.count)
        self.define_event("count", ["n", "when"])

    def count(self, n: int) -> None:
        self.state["seen"] = (*self.state.get("seen", ()), n)
        self.state[f"key {n}"] = {1, WHEN.date()}
        self.emit("count", n=n, when=WHEN)
        if n == 2:
            raise ValueError("two is no number")


@routine(events={"number": ["n"]})
def numbers(upto: int) -> Iterator[int]:
    yield from range(upto)


def run(**keeping: Any) -> JobState:
    flow = Flow("counting")
    flow.add_routine(numbers, "numbers")
    flow.add_routine(Counter(), "counter", error_handler=ErrorHandler("continue"))
    flow.connect("numbers", "number", "counter", "input")
    flow.output("counter", "count")
    return flow.execute("numbers", {"upto": 4}, **keeping)


def told(state: JobState) -> dict[str, Any]:
    """Give all that may be asked of a state, such that it can be compared."""
    return {
        **{
            name: getattr(state, name) for name in ("job_id", "flow_id", "status", "connections", "created_at", "error")
        },
        "updated_at": state.updated_at,
        "routine_states": state.routine_states,
        "dead_letters": [
            (letter.routine_id, letter.message.id, letter.data, letter.reason, letter.attempts, letter.at, letter.cause)
            for letter in state.dead_letters
        ],
        "history": state.history,
        "of the counter": state.get_execution_history("counter"),
        "current": state.current_routine_id,
        "shortened": state.shortened,
        "outputs": state.outputs,
        "results": state.results("counter", "count"),
        "pause_points": state.pause_points,
        "checkpoint": state.checkpoint,
        "tracker": state.tracker,
        "performance": [state.tracker.get_routine_performance(id_) for id_ in state.tracker.routine_ids],
        "flow": (state.tracker.get_flow_performance(), state.tracker.event_flow(), state.tracker.to_prometheus()),
        "trace": _trace_of(state),
        "routines": {id_: state.get_routine_state(id_) for id_ in (*state.routine_states, "nobody")},
    }


def _trace_of(state: JobState) -> str:
    with tempfile.TemporaryDirectory() as folder:
        state.write_trace(Path(folder, "trace.json"))
        return Path(folder, "trace.json").read_text()


def test_what_may_be_asked_of_a_loaded_state_is_the_same_as_of_the_live_one(tmp_path: Path) -> None:
    state = run(store=tmp_path / "jobs")
    state.record_execution("counter", "note", "of mine")
    state.update_routine_state("counter", mine=[1, (2, 3)])
    state.save(tmp_path / "job.state")
    loaded = JobState.load(tmp_path / "job.state")
    assert told(loaded) == told(state)
    assert loaded.status is JobStatus.COMPLETED
    [letter] = loaded.dead_letters
    [error] = loaded.get_execution_history(kind="error")
    assert state.created_at <= letter.at <= state.updated_at
    assert letter.at == pytest.approx(error.at)
    assert loaded.checkpoint is not None
    assert loaded.results()[0] == {"n": 0, "when": WHEN}
    assert repr(loaded) == repr(state)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["job.state", "jobs"]
    assert (tmp_path / "job.state").stat().st_mode & 0o777 == 0o600


class Held(Counter):
    """Waits at the third number until the test opens the gate; counts by numbers too."""

    def __init__(self, is_open: threading.Event) -> None:
        super().__init__()
        self.is_open = is_open
        self.has_come = threading.Event()

    def count(self, n: int) -> None:
        self.increment_stat("numbers")
        if n == 2:
            self.has_come.set()
            assert self.is_open.wait(60)
        super().count(n)


def states_of_a_life(end: str, store: Path) -> Iterator[tuple[str, JobState]]:
    """Give what a job tells of itself while it runs, is paused, and after it has come to its end."""
    is_open = threading.Event()
    held = Held(is_open)
    flow = Flow("counting")
    flow.add_routine(numbers, "numbers")
    flow.add_routine(held, "counter", error_handler=ErrorHandler("stop" if end == "failed" else "continue"))
    flow.connect("numbers", "number", "counter", "input")
    flow.output("counter", "count")
    job = flow.start("numbers", {"upto": 4}, store=store, keep_open=end != "failed")
    assert held.has_come.wait(60)
    yield "running", job.state
    if end == "failed":
        is_open.set()
        yield "failed", job.wait(60)
        return
    threading.Timer(0.01, is_open.set).start()
    job.pause("lunch", {"at": 2})
    yield "paused", job.state
    match end:
        case "completed":
            job.resume()
            job.close_entry()
            job.collect()
            job.wait(60)
        case "cancelled":
            job.cancel_and_wait("enough")
        case _:
            job.leave("home")
    yield end, job.state


@pytest.mark.parametrize("end", ["completed", "failed", "cancelled", "left"])
def test_of_a_job_at_any_moment_the_same_may_be_asked_live_and_loaded(end: str, tmp_path: Path) -> None:
    moments = []
    for moment, state in states_of_a_life(end, tmp_path / "jobs"):
        moments.append(moment)
        assert state.status == ("paused" if moment == "left" else moment)
        told_of = state.routine_states["counter"]
        assert told_of["stats"]["numbers"] == told_of["handled"] == len(told_of["state"]["seen"])
        for number, loaded in enumerate(loaded_in_each_way(state, tmp_path)):
            assert {*vars(loaded)} == {*vars(state)}
            assert told(loaded) == told(state), (moment, number)
    assert moments == (["running", "failed"] if end == "failed" else ["running", "paused", end])


def loaded_in_each_way(state: JobState, folder: Path) -> Iterator[JobState]:
    state.save(folder / "job.state")
    yield JobState.load(folder / "job.state")
    yield JobState.from_bytes(state.to_bytes())
    yield JobState.deserialize(json.loads(json.dumps(state.serialize())))


def test_the_history_is_filtered_by_what_is_asked_for() -> None:
    state = run()
    failed = state.get_execution_history(kind="error")
    assert [(record.routine_id, record.kind) for record in failed] == [("counter", "error")]
    of_message = state.get_execution_history(message_id=failed[0].message_id)
    assert [record.kind for record in of_message] == ["error", "continue"]
    assert state.get_execution_history("counter", kind={"error", "continue"}) == of_message
    emitted = state.get_execution_history("numbers", event="number")
    assert [record.kind for record in emitted] == ["emit"] * 4
    middle = emitted[2].at
    later = state.get_execution_history(since=middle)
    assert [*state.get_execution_history(until=middle), *later] == sorted(
        state.history, key=lambda record: record.at >= middle
    )
    assert state.get_execution_history("nobody") == []
    assert JobState.from_bytes(state.to_bytes()).get_execution_history(kind="error") == failed


def test_a_job_without_a_store_is_saved_too_and_again_and_again() -> None:
    state = run()
    again = JobState.deserialize(JobState.deserialize(json.loads(json.dumps(state.serialize()))).serialize())
    assert told(again) == told(state)
    assert told(JobState.from_bytes(again.to_bytes())) == told(state)


def test_what_cannot_be_carried_is_refused_with_its_path(tmp_path: Path) -> None:
    state = run()
    state.update_routine_state("counter", mine={"deep": [Stranger()]})
    with pytest.raises(ValueEncodingError) as raised:
        state.save(tmp_path / "job.state")
    assert raised.value.path == "JobState['routine_states']['counter']['mine']['deep'][0]"
    assert list(tmp_path.iterdir()) == []


def test_a_pickle_needs_to_be_allowed_on_both_sides() -> None:
    state = run()
    state.update_routine_state("counter", mine=Stranger())
    data = state.serialize(allow_pickle=True)
    assert isinstance(JobState.deserialize(data).routine_states["counter"]["mine"], Unreadable)
    assert isinstance(JobState.deserialize(data, allow_pickle=True).routine_states["counter"]["mine"], Stranger)


def test_what_stands_for_a_value_stays_what_it_is() -> None:
    state = run()
    lost = JobState.deserialize(_with_stranger(state)).routine_states["counter"]["mine"]
    state.update_routine_state("counter", mine=lost, state={"a": lost, "b": 1}, more=[InPlace(), {"a": InPlace()}, 3])
    known = JobState.deserialize(state.serialize()).routine_states["counter"]
    assert repr(known["mine"]) == repr(lost)
    assert repr(known["state"]) == repr({"a": lost, "b": 1})
    assert repr(known["more"]) == repr([InPlace(), {"a": InPlace()}, 3])


def _with_stranger(state: JobState) -> dict[str, Any]:
    state.update_routine_state("counter", mine=Stranger())
    return state.serialize(allow_pickle=True)


def test_a_dead_letter_that_nobody_can_read_is_one_that_nobody_can_read() -> None:
    state = run()
    letter = state.dead_letters[0]
    message = type(letter.message)(letter.message.edge, letter.message.seq, b"\xff no value", letter.message.key)
    state.dead_letters[0] = letter._replace(message=message)
    loaded = JobState.deserialize(JobState.deserialize(state.serialize()).serialize()).dead_letters[0]
    assert (loaded.routine_id, loaded.message.id, loaded.cause) == ("counter", letter.message.id, letter.cause)
    with pytest.raises(ValueDecodingError):
        _ = loaded.data


def test_every_cut_and_every_changed_byte_is_seen() -> None:
    data = seal(run().to_bytes())
    for size in range(len(data)):
        with pytest.raises(DamagedStateError):
            unseal(data[:size])
    # The format's number alone says nothing.
    for place in (*range(8), *range(12, len(data))):
        changed = bytearray(data)
        changed[place] ^= 1
        with pytest.raises(DamagedStateError):
            unseal(bytes(changed))


def test_a_newer_format_is_told() -> None:
    data = bytearray(seal(run().to_bytes()))
    data[10:12] = (2).to_bytes(2, "little")
    with pytest.raises(UnsupportedFormatError, match="the job's state needs a reader of format 2"):
        unseal(bytes(data))


def test_a_file_that_others_could_have_written_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "job.state"
    run().save(path)
    path.chmod(0o620)
    with pytest.raises(UnsafeStoreError, match="may be written by others"):
        JobState.load(path)
    path.chmod(0o600)
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(StoreReadError):
        JobState.load(tmp_path / "link")
    with pytest.raises(StoreReadError, match="could not be read"):
        JobState.load(tmp_path / "nothing")


def test_what_was_there_stays_when_it_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreWriteError, match="could not be written"):
        run().save(tmp_path / "folder")
    with pytest.raises(StoreWriteError):
        run().save(tmp_path / "no" / "where")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_pause_points_have_what_the_user_gave_also_after_a_resume(tmp_path: Path) -> None:
    flow = Flow("counting")
    flow.add_routine(numbers, "numbers")
    with flow.start(store=tmp_path / "jobs", job_id="a", keep_open=True) as job:
        job.pause("lunch", {"at": (1, WHEN)})
        (point,) = job.state.pause_points
        assert point == PausePoint(point.at, "lunch", {"at": (1, WHEN)}, 1, 2)
        assert job.state.checkpoint == job.last_checkpoint
        job.leave("home")
    job = Flow.resume(tmp_path / "jobs", "a", flow=flow)
    job.pause("tea", None)
    points = job.state.pause_points
    assert [(point.reason, point.generation) for point in points] == [("lunch", 1), ("tea", 2)]
    assert points[0].checkpoint == {"at": (1, WHEN)}
    assert JobState.deserialize(job.state.serialize()).pause_points == points
    job.cancel_and_wait()


def test_pause_points_of_a_job_without_a_store(tmp_path: Path) -> None:
    flow = Flow("counting")
    flow.add_routine(numbers, "numbers")
    with flow.start(keep_open=True) as job:
        job.pause("lunch", dataclasses.replace)
        assert [(point.reason, point.checkpoint) for point in job.state.pause_points] == [
            ("lunch", dataclasses.replace)
        ]
        assert job.state.checkpoint is None
        job.resume()
