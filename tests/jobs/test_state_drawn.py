"""Whatever a job may tell is read as what was written: its state, its records and its tracker."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from routilux import DeadLetter, ErrorHandler, ExecutionRecord, ExecutionTracker, JobState, JobStatus
from routilux.executions import Names, RoutineNames
from routilux.facts import Fact
from routilux.figures import RoutineFigures
from routilux.holdings import EdgeCount
from routilux.jobs.history import HistoryCut
from routilux.jobs.recorder import CheckpointInfo
from routilux.jobs.state_form import PausePoint
from routilux.messages import Message
from routilux.tracking.meters import Measured
from routilux.tracking.performance import EventFlow, WorkerUsage
from routilux.tracking.tracker import RoutineTrack
from routilux.turn.values import PICKLED
from supervisors.reasons import Crashed, DeadlineExceeded, ErrorRecord, Raised, Reason
from tests.jobs.test_state import told
from tests.tracking.samples import sketch_of

NAMES = Names((RoutineNames("a", ("out", "other")), RoutineNames("b.1", ("out",))), ("entry -> a", "a.out -> b.1.in"))
EVERYTHING_ONCE = settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])

texts = st.text(max_size=6)
times = st.floats(0.0, 2e9)
counts = st.integers(0, 2**40)
keys = st.binary(min_size=16, max_size=16)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts | st.binary(max_size=5)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple) | st.dictionaries(texts, inner, max_size=3)
    ),
    max_leaves=8,
)
reasons: st.SearchStrategy[Reason] = st.one_of(
    st.builds(Raised, st.builds(ErrorRecord, texts, texts, texts)),
    st.builds(Crashed, signal=st.just(9), pid=st.integers(1, 2**15)),
    st.builds(DeadlineExceeded, st.floats(0.1, 9.0)),
)
records = st.builds(
    ExecutionRecord,
    st.sampled_from(["a", "b.1"]),
    st.sampled_from(["start", "emit", "completed", "error", "retry", "redelivered", "unjoined", "note"]),
    times,
    message_id=keys.map(bytes.hex),
    source=texts,
    attempt=st.integers(0, 9),
    event=texts,
    seconds=times,
    detail=texts,
    reason=st.none() | reasons,
)
measured = st.builds(
    lambda turns, waits, recent: Measured(sketch_of(turns), sketch_of(waits), recent, 60.0),
    st.lists(st.floats(1e-6, 1e4), max_size=5),
    st.lists(st.floats(0.0, 1e4), max_size=5),
    counts,
)
tracks = st.builds(
    RoutineTrack,
    st.sampled_from(["a", "b.1"]),
    texts,
    st.dictionaries(st.sampled_from(RoutineFigures._fields), counts),
    measured,
    st.lists(st.builds(WorkerUsage, st.integers(0, 9), times, st.none() | counts, st.none() | counts), max_size=2).map(
        tuple
    ),
)
event_flows = st.builds(
    EventFlow, *[texts] * 4, *[counts] * 5, first_at=st.none() | times, last_at=st.none() | times, label=texts
)
trackers = st.builds(
    ExecutionTracker,
    texts,
    texts,
    st.sampled_from(JobStatus).map(str),
    times,
    times,
    st.lists(tracks, max_size=2, unique_by=lambda track: track.routine_id).map(tuple),
    st.lists(event_flows, max_size=3).map(tuple),
)
facts = st.builds(
    Fact,
    st.sampled_from(["committed", "failed", "retry", "continue", "stop", "skip", "skipped", "redelivered", "unjoined"]),
    st.just(0),
    st.integers(-1, 1),
    keys,
    st.integers(0, 9),
    times,
    times,
    events=st.lists(st.integers(0, 1), max_size=3).map(tuple),
    count=counts,
    reason=st.none() | reasons,
)
letters = st.builds(
    DeadLetter,
    st.sampled_from(["a", "b.1"]),
    st.builds(Message, st.integers(0, 1), counts, st.dictionaries(texts, values, max_size=3), st.integers(0, 2**127)),
    reasons,
    st.integers(1, 9),
    times,
    st.just(PICKLED),
    st.none(),
)
checkpoints = st.builds(CheckpointInfo, counts, counts, texts, times, counts, counts, *[times] * 3)
routine_states = st.dictionaries(
    st.sampled_from(["a", "b.1"]),
    st.fixed_dictionaries({"status": texts, "state": values, "stats": st.dictionaries(texts, st.integers())}),
)


@st.composite
def states(draw: st.DrawFn) -> JobState:
    """Draw a state of a job that never ran."""
    history = draw(st.lists(facts, max_size=4))
    state = JobState(
        job_id=draw(texts),
        flow_id=draw(texts),
        status=draw(st.sampled_from(JobStatus)),
        routine_states=draw(routine_states),
        connections=draw(st.lists(st.builds(EdgeCount, texts, *[counts] * 8), max_size=3)),
        dead_letters=draw(st.lists(letters, max_size=2)),
        created_at=draw(times),
        updated_at=draw(times),
        error=draw(st.none() | texts),
        history=HistoryCut(NAMES, tuple(history), draw(counts), draw(counts), draw(times)),
        outputs=draw(
            st.dictionaries(st.tuples(texts, texts), st.lists(st.dictionaries(texts, values), max_size=2), max_size=2)
        ),
        pause_points=draw(st.lists(st.builds(PausePoint, times, texts, values, counts, counts), max_size=2)),
        checkpoint=draw(
            st.none() | st.builds(CheckpointInfo, counts, counts, texts, times, counts, counts, *[times] * 3)
        ),
        tracker=draw(trackers),
    )
    for _ in range(draw(st.integers(0, 2))):
        state.record_execution("a", draw(texts), draw(texts))
    return state


def again(obj: Any) -> Any:
    """Give what is read of what is written, by way of JSON, and hold MessagePack to the same."""
    data = obj.serialize()
    back = type(obj).deserialize(json.loads(json.dumps(data, allow_nan=False)))
    assert back.serialize() == data
    assert type(obj).from_bytes(obj.to_bytes()).serialize() == data
    return back


@EVERYTHING_ONCE
@given(states())
def test_of_any_state_the_same_may_be_asked_when_it_was_read(state: JobState) -> None:
    assert told(again(state)) == told(state)


@given(records)
def test_any_record_comes_back(record: ExecutionRecord) -> None:
    assert again(record) == record


@EVERYTHING_ONCE
@given(trackers)
def test_any_tracker_comes_back(tracker: ExecutionTracker) -> None:
    back = again(tracker)
    assert back == tracker
    assert back.to_dict() == tracker.to_dict()
    assert back.to_prometheus() == tracker.to_prometheus()


@given(
    st.builds(
        ErrorHandler,
        st.sampled_from(["stop", "continue", "retry", "skip"]),
        st.integers(0, 99),
        st.floats(0.0, 60.0),
        st.floats(1.0, 9.0),
        st.lists(st.sampled_from([Exception, OSError, KeyError]), unique=True).map(tuple),
        is_critical=st.booleans(),
        jitter=st.floats(0.0, 1.0),
        then=st.sampled_from(["stop", "continue", "skip"]),
        max_crashes=st.none() | st.integers(0, 9),
    )
)
def test_any_error_handler_comes_back(handler: ErrorHandler) -> None:
    assert vars(again(handler)) == vars(handler)
