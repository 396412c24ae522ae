from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routilux.pacing import Allowance, Delayed, Pace, Throttled


class Sent(NamedTuple):
    sent_at: float


def sent(*times: float) -> list[Sent]:
    return [Sent(at) for at in times]


@pytest.mark.parametrize(
    ("times", "limit", "now", "allowed"),
    [
        ((), 5, 9.0, (0, None)),
        ((1.0,), 5, 2.9, (0, 3.0)),
        ((1.0,), 5, 3.0, (1, None)),
        ((1.0, 2.0, 3.0), 5, 4.0, (2, None)),
        ((1.0, 2.0, 3.0), 5, 99.0, (3, None)),
        ((1.0, 2.0, 3.0), 1, 99.0, (1, None)),
        ((2.0, 1.0), 5, 3.5, (0, 4.0)),  # order is kept: none goes ahead of the first
        ((0.0, 5.0), 5, 5.0, (1, None)),  # one that was put back has had its delay
    ],
)
def test_a_message_may_be_taken_once_its_delay_is_over(
    times: tuple[float, ...], limit: int, now: float, allowed: tuple[int, float | None]
) -> None:
    pacer = Delayed(2.0).begin()
    assert pacer.allow(sent(*times), limit, now) == Allowance(*allowed)
    pacer.note(1, now)
    assert pacer.allow(sent(*times), limit, now) == Allowance(*allowed)


@pytest.mark.parametrize(
    ("taken", "waiting", "limit", "now", "allowed"),
    [
        ([], 5, 9, 0.0, (3, None)),
        ([], 2, 9, 0.0, (2, None)),
        ([], 5, 1, 0.0, (1, None)),
        ([], 0, 9, 0.0, (0, None)),
        ([(0.0, 2)], 5, 9, 0.0, (1, None)),
        ([(0.0, 3)], 5, 9, 0.0, (0, 10.0)),
        ([(0.0, 3)], 0, 9, 0.0, (0, None)),
        ([(0.0, 3)], 5, 9, 9.9, (0, 10.0)),
        ([(0.0, 3)], 5, 9, 10.0, (3, None)),
        ([(0.0, 1), (4.0, 2)], 5, 9, 4.0, (0, 10.0)),
        ([(0.0, 1), (4.0, 2)], 5, 9, 10.0, (1, None)),
        ([(0.0, 2), (4.0, 2)], 5, 9, 4.0, (0, 10.0)),  # one more than it allows, such as a retry ahead of all
        ([(0.0, 2), (4.0, 2)], 5, 9, 10.0, (1, None)),
    ],
)
def test_so_many_may_be_taken_in_any_window(
    taken: list[tuple[float, int]], waiting: int, limit: int, now: float, allowed: tuple[int, float | None]
) -> None:
    pacer = Throttled(3, 10.0).begin()
    for at, count in taken:
        pacer.note(count, at)
    assert pacer.allow(sent(*[0.0] * waiting), limit, now) == Allowance(*allowed)


def test_each_that_begins_a_pace_has_what_it_has_taken_to_itself() -> None:
    pace = Throttled(1, 10.0)
    pace.begin().note(1, 0.0)
    assert pace.begin().allow(sent(0.0), 9, 0.0) == Allowance(1, None)


def drain(pace: Pace, times: list[float], limit: int) -> list[tuple[float, float]]:
    """Take messages as an actor does that looks when one comes and when it was told to; gives (sent, taken)."""
    pacer, now, taken = pace.begin(), 0.0, []
    coming, waiting = sent(*sorted(times)), list[Sent]()
    look_at: float | None = None
    while coming or waiting:
        now = min(now for now in (coming[0].sent_at if coming else None, look_at) if now is not None)
        while coming and coming[0].sent_at <= now:
            waiting.append(coming.pop(0))
        count, look_at = pacer.allow(waiting, limit, now)
        while count:
            taken += [(message.sent_at, now) for message in waiting[:count]]
            del waiting[:count]
            pacer.note(count, now)
            count, look_at = pacer.allow(waiting, limit, now)
        assert look_at is None or look_at > now, "it would look again and again"
        assert (look_at is None) == (not waiting)
    return taken


TIMES = st.lists(st.integers(0, 200).map(lambda quarters: quarters / 4), max_size=30)
SECONDS = st.integers(1, 40).map(lambda quarters: quarters / 4)


@given(TIMES, SECONDS, st.integers(1, 5))
def test_each_message_is_taken_at_the_very_end_of_its_delay(times: list[float], seconds: float, limit: int) -> None:
    assert drain(Delayed(seconds), times, limit) == [(at, at + seconds) for at in sorted(times)]


@given(TIMES, SECONDS, st.integers(1, 4), st.integers(1, 5))
def test_each_message_is_taken_as_soon_as_no_window_would_have_too_many(
    times: list[float], seconds: float, count: int, limit: int
) -> None:
    expected: list[float] = []
    for number, at in enumerate(sorted(times)):
        before = expected[number - count] + seconds if number >= count else 0.0
        expected.append(max([at, before, *expected[-1:]]))
    taken = [at for _, at in drain(Throttled(count, seconds), times, limit)]
    assert taken == expected
    assert all(sum(at <= other < at + seconds for other in taken) <= count for at in taken)


@given(TIMES, st.floats(1e-9, 1e9))
def test_times_that_cannot_be_told_exactly_come_to_an_end_too(times: list[float], seconds: float) -> None:
    assert len(drain(Delayed(seconds), times, 3)) == len(drain(Throttled(2, seconds), times, 3)) == len(times)
