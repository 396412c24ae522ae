"""A history added up: in the same room however long it is, and nothing of it lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routilux.drawing.timeline import FIRST_SECONDS, LONGEST, SLOTS, Timeline, is_death
from routilux.executions import ExecutionRecord
from supervisors.reasons import Abandoned, Crashed, DeadlineExceeded, ErrorRecord, OutOfMemory, Raised, Reason


def record(kind: str, at: float, **parts: object) -> ExecutionRecord:
    return ExecutionRecord("parse", kind, at, **parts)  # type: ignore[arg-type]  # parts of a record


@given(st.lists(st.tuples(st.floats(100.0, 1e6), st.floats(0.0, 1e4)), min_size=1, max_size=60))
def test_each_turn_and_its_time_are_in_it(turns: list[tuple[float, float]]) -> None:
    timeline = Timeline(100.0)
    for at, seconds in turns:
        timeline.add(record("completed", at, seconds=min(seconds, at - 100.0)))
    (lane,) = timeline.lanes
    assert (sum(lane.turns), timeline.records) == (len(turns), len(turns))
    assert sum(lane.busy) == pytest.approx(sum(min(seconds, at - 100.0) for at, seconds in turns))
    assert timeline.ended_at == timeline.last_at == max(at for at, _ in turns)
    assert timeline.seconds * SLOTS >= timeline.ended_at - 100.0
    assert len(lane.turns) == len(lane.busy) == SLOTS
    assert timeline.seconds == FIRST_SECONDS or timeline.seconds * SLOTS / 2 <= timeline.ended_at - 100.0


def test_a_long_turn_is_spread_over_the_slots_it_ran_in() -> None:
    timeline = Timeline(0.0)
    timeline.reach(FIRST_SECONDS * 4)
    timeline.add(record("completed", FIRST_SECONDS * 3, seconds=FIRST_SECONDS * 2.5))
    (lane,) = timeline.lanes
    assert lane.busy[:4] == pytest.approx([FIRST_SECONDS / 2, FIRST_SECONDS, FIRST_SECONDS, 0.0])
    assert lane.turns[:4] == [0, 0, 0, 1]


def test_failures_deaths_and_emissions_are_told_apart() -> None:
    timeline = Timeline(0.0, ["read", "parse"])
    timeline.add(record("error", 0.0, reason=Raised(ErrorRecord("ValueError", "", ""))))
    timeline.add(record("error", 0.0, reason=Crashed(signal=9)))
    timeline.add(record("emit", 0.0, event="out"))
    timeline.add(record("retry", 0.0))
    read, parse = timeline.lanes
    assert (read.routine_id, sum(read.turns)) == ("read", 0)
    assert (parse.failures[0], parse.deaths[0], parse.emissions[0], parse.turns[0]) == (2, 1, 1, 0)


def test_what_was_before_the_beginning_is_at_it() -> None:
    timeline = Timeline(100.0)
    timeline.add(record("completed", 90.0, seconds=5.0))
    assert timeline.lanes[0].turns[0] == 1


@pytest.mark.parametrize("at", [float("inf"), float("-inf"), float("nan"), 1e300])
def test_times_that_none_can_be_do_no_harm(at: float) -> None:
    timeline = Timeline(100.0)
    timeline.add(record("completed", at, seconds=at))
    timeline.reach(at)
    assert sum(timeline.lanes[0].turns) == 1
    assert timeline.ended_at <= 100.0 + LONGEST


@pytest.mark.parametrize(
    ("reason", "is_one"),
    [
        (None, False),
        (Raised(ErrorRecord("ValueError", "", "")), False),
        (Crashed(exit_code=3), True),
        (OutOfMemory(), True),
        (Abandoned("stack"), False),
        (DeadlineExceeded(1.0), False),
        (DeadlineExceeded(1.0, pid=7), True),
    ],
)
def test_deaths_are_those_of_processes(reason: Reason | None, is_one: bool) -> None:
    assert is_death(reason) is is_one
