from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from supervisors.timers import TimerQueue


def test_timers_come_by_their_time_and_then_as_they_were_set() -> None:
    queue = TimerQueue()
    for due, name in [(2.0, "c"), (1.0, "a"), (1.0, "b")]:
        queue.add(due, name)
    assert queue.take_due(0.5) is None
    assert queue.next_due() == 1.0
    taken = [queue.take_due(2.0) for _ in range(4)]
    assert [timer.fire() if timer else None for timer in taken] == ["a", "b", "c", None]


def test_cancel_twice_or_after_firing_does_nothing() -> None:
    queue = TimerQueue()
    timer, other = queue.add(1.0, "a"), queue.add(1.0, "b")
    timer.cancel()
    timer.cancel()
    assert queue.next_due() == 1.0
    taken = queue.take_due(1.0)
    assert taken is other
    assert taken.fire() == "b"
    other.cancel()
    assert queue.next_due() is None


def test_cancelled_timers_do_not_pile_up() -> None:
    queue = TimerQueue()
    kept = queue.add(5.0, "kept")
    for _ in range(10_000):
        queue.add(9.0, "dropped").cancel()
    assert len(queue._heap) < 200
    assert queue.take_due(5.0) is kept


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=200))
def test_what_is_not_cancelled_comes_in_order(timers: list[tuple[int, bool]]) -> None:
    queue = TimerQueue()
    made = [(due, cancelled, queue.add(float(due), index)) for index, (due, cancelled) in enumerate(timers)]
    for _due, cancelled, timer in made:
        if cancelled:
            timer.cancel()
    expected = [index for _, index in sorted((due, i) for i, (due, cancelled) in enumerate(timers) if not cancelled)]
    fired = []
    while (taken := queue.take_due(10.0)) is not None:
        fired.append(taken.fire())
    assert fired == expected
