"""The meters of a job: what was measured lately, and what earlier runners have measured."""

from __future__ import annotations

from routilux.blocks import Keys
from routilux.facts import Commits, Fact
from routilux.tracking.meters import RECENT_SECONDS, Measured, Measures, Meters, Recent, Times
from tests.tracking.samples import sketch_of


def committed(*times: float, routine: int = 0) -> list[Fact]:
    return [Fact("committed", routine, 0, b"", 1, at) for at in times]


def took(*turns: float, routine: int = 0) -> list[Times]:
    return [Times(routine, len(turns), sum(turns), max(turns), [(seconds, 0.0) for seconds in turns])]


def test_turns_of_the_last_minute_are_those_of_the_last_minute() -> None:
    recent = Recent()
    for second in range(200):
        recent.add(second, 2)
    assert [recent.count(now) for now in (199.0, 199.9, 200.0, 229.0, 400.0)] == [120, 120, 118, 60, 0]


def test_a_turn_that_is_told_of_too_late_for_the_ring_changes_nothing_there() -> None:
    recent = Recent()
    recent.add(100, 3)
    recent.add(100 - RECENT_SECONDS, 5)
    assert recent.count(100.0) == 3


def test_a_batch_within_a_second_is_counted_there() -> None:
    meters = Meters(2)
    meters.begin(10.0)
    meters.extend([*took(0.1, 0.2), *took(0.3, routine=1)], committed(10.1, 10.2) + committed(10.3, routine=1))
    one, other = meters.measure(70.9).routines
    assert (one.recent, other.recent, one.recent_seconds) == (0, 0, 60.0)
    one, other = meters.measure(12.0).routines
    assert (one.recent, other.recent, one.recent_seconds) == (2, 1, 2.0)
    assert (one.turns.count, one.turns.greatest, other.waits.count) == (2, 0.2, 1)


def test_a_batch_over_a_long_time_is_counted_second_by_second() -> None:
    meters = Meters(1)
    meters.begin(0.0)
    released = Fact("released", 0, 0, b"", 1, 50.0)
    meters.extend(took(0.1, 0.1, 0.1), [*committed(1.0, 30.0), released, *committed(100.0)])
    assert [meters.measure(now).routines[0].recent for now in (100.0, 159.9, 160.0)] == [1, 1, 0]


def test_nothing_that_came_is_nothing_measured() -> None:
    meters = Meters(1)
    meters.extend([], [])
    assert meters.measure(0.0) == Measures(0.0, 0.0, (Measured(),))


def test_what_earlier_runners_have_measured_is_part_of_it_and_stays_theirs() -> None:
    turns = sketch_of([0.5, 1.5])
    before = Measures(0.0, 40.0, (Measured(turns, turns, 2, 40.0),))
    meters = Meters(1, before)
    meters.begin(100.0)
    meters.extend(took(2.5), committed(101.0))
    now = meters.measure(105.0)
    assert (now.seconds, now.routines[0].turns.count, now.routines[0].turns.greatest) == (45.0, 3, 2.5)
    assert (now.routines[0].recent, now.routines[0].recent_seconds) == (1, 5.0)
    assert turns.count == 2


def test_of_a_batch_of_which_some_are_known_each_of_these_stands_for_its_share() -> None:
    meters = Meters(1)
    meters.extend([Times(0, 100, 60.0, 9.0, [(0.5, 1.0), (0.25, 3.0), (0.5, 5.0)])], committed(1.0))
    (found,) = meters.measure(1.0).routines
    assert (found.turns.count, found.turns.mean, found.turns.greatest) == (100, 0.6, 9.0)
    assert (sum(found.turns.buckets.values()), sorted(found.turns.buckets.values())) == (100, [33, 67])
    assert (found.waits.count, found.waits.mean, found.waits.greatest) == (100, 3.0, 5.0)


def test_time_does_not_pass_while_a_job_is_paused() -> None:
    meters = Meters(1)
    meters.begin(10.0)
    meters.extend(took(0.1), committed(20.5))
    meters.stop(30.0)
    meters.stop(35.0)
    paused = meters.measure(500.0)
    assert (paused.at, paused.seconds, paused.routines[0].recent, paused.routines[0].recent_seconds) == (
        500.0,
        20.0,
        1,
        20.0,
    )
    meters.go_on(1_030.0)
    meters.go_on(1_040.0)
    meters.extend(took(0.1, 0.1), committed(1_031.5, 1_032.5))
    now = meters.measure(1_040.0)
    assert (now.seconds, now.routines[0].recent, now.routines[0].recent_seconds) == (30.0, 3, 30.0)
    assert [meters.measure(at).routines[0].recent for at in (1_079.9, 1_080.0, 1_092.9)] == [3, 2, 0]


def test_turns_that_are_told_of_together_are_counted_each_in_its_second() -> None:
    kept, model = Meters(1), Meters(1)
    ats = [1.0, 30.0, 30.5, 100.0]
    keys = Keys(4, 0, bases=range(4))
    for meters, facts in ((kept, [Commits(0, 0, keys, 0, 0.5, ats, (), None)]), (model, committed(*ats))):
        meters.begin(0.0)
        meters.extend(took(0.1, 0.1, 0.1, 0.1), facts)
    for now in (30.0, 89.9, 91.0, 100.0, 160.0):
        assert kept.measure(now).routines[0].recent == model.measure(now).routines[0].recent
