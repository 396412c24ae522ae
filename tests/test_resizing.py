"""How many workers a pool should have."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from routilux.resizing import BACKLOG_SECONDS, GROW_SECONDS, SHRINK_SECONDS, Resizing


class Pool:
    """A pool whose time goes on by hand."""

    def __init__(self, low: int = 1, high: int = 4) -> None:
        self.resizing = Resizing(low, high, 0.0)
        self.now = 0.0

    def look(self, backlog: int, after: float = 0.0, long: int = 0, *, may_shrink: bool = True) -> int:
        self.now += after
        return self.resizing.decide(self.now, backlog, lambda _since: long, may_shrink=may_shrink)

    def grow(self, times: int = 1) -> None:
        for _ in range(times):
            self.look(1_000)
            assert self.look(1_000, GROW_SECONDS) == 1


def test_it_begins_with_the_least() -> None:
    assert Resizing(2, 5, 0.0).size == 2


def test_it_grows_by_one_when_there_was_too_much_for_a_while() -> None:
    pool = Pool()
    assert pool.look(5) == 0
    assert pool.resizing.next_look(may_shrink=True) == GROW_SECONDS
    assert pool.look(5, GROW_SECONDS / 2) == 0
    assert pool.look(5, GROW_SECONDS / 2) == 1
    assert pool.look(5, GROW_SECONDS / 2) == 0
    assert pool.look(5, GROW_SECONDS / 2) == 1
    assert pool.resizing.size == 3


def test_a_burst_that_is_over_before_does_not_count() -> None:
    pool = Pool()
    pool.look(50)
    pool.look(1, GROW_SECONDS / 2)
    assert pool.look(50, GROW_SECONDS / 2) == 0


def test_many_short_messages_are_not_too_much_and_few_long_ones_are() -> None:
    pool = Pool()
    pool.resizing.note_done(1e-6)
    pool.look(1_000)
    assert pool.look(1_000, GROW_SECONDS) == 0
    for _ in range(50):
        pool.resizing.note_done(BACKLOG_SECONDS)
    pool.look(3)
    assert pool.look(3, GROW_SECONDS) == 1


def test_there_are_never_more_workers_than_messages() -> None:
    pool = Pool()
    pool.look(1)
    assert pool.look(1, 100.0) == 0


def test_it_grows_to_the_most_and_then_needs_no_timer() -> None:
    pool = Pool(high=3)
    pool.grow(2)
    assert pool.look(1_000, GROW_SECONDS) == 0
    assert pool.resizing.next_look(may_shrink=True) is None


def test_it_shrinks_by_one_when_fewer_would_have_done() -> None:
    pool = Pool()
    pool.grow(2)
    assert pool.look(0, SHRINK_SECONDS / 2) == 0
    at = pool.resizing.next_look(may_shrink=True)
    assert at is not None
    assert pool.look(0, at - pool.now) == -1
    assert pool.look(0, SHRINK_SECONDS) == -1
    assert pool.resizing.size == 1
    assert pool.look(0, SHRINK_SECONDS) == 0
    assert pool.resizing.next_look(may_shrink=True) is None


def test_it_stays_while_the_others_would_be_busy() -> None:
    pool = Pool()
    pool.grow(1)
    pool.look(0)
    pool.resizing.note_done(SHRINK_SECONDS * 0.6)  # of one worker's time
    assert pool.look(0, SHRINK_SECONDS) == 0
    pool.resizing.note_done(SHRINK_SECONDS * 0.4)
    assert pool.look(0, SHRINK_SECONDS) == -1


def test_a_worker_that_is_at_one_message_all_the_time_is_busy() -> None:
    pool = Pool()
    pool.grow(1)
    assert pool.look(1, SHRINK_SECONDS, long=1) == 0
    assert pool.look(0, SHRINK_SECONDS) == -1


def test_it_does_not_shrink_where_it_may_not() -> None:
    pool = Pool()
    pool.grow(2)
    assert pool.look(0, SHRINK_SECONDS, may_shrink=False) == 0
    assert pool.resizing.next_look(may_shrink=False) is None
    assert pool.look(0) == -1


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0, 20), st.floats(0, 2)), max_size=60))
def test_it_keeps_its_bounds_and_never_asks_to_be_woken_at_once(steps: list[tuple[int, float, float]]) -> None:
    pool = Pool(2, 5)
    for backlog, after, seconds in steps:
        pool.resizing.note_done(seconds)
        before = pool.resizing.size
        change = pool.look(backlog, after)
        assert pool.resizing.size == before + change
        assert 2 <= pool.resizing.size <= 5
        at = pool.resizing.next_look(may_shrink=True)
        assert at is None or at > pool.now


@given(st.integers(1, 40), st.floats(0.001, 1.0))
def test_a_steady_load_makes_it_swing_no_more_once_it_has_found_its_size(rate: int, seconds: float) -> None:
    # As much work as arrives, looked at each second; what cannot be done waits.
    pool, backlog, changes = Pool(1, 8), 0.0, []
    for _ in range(300):
        done = min(backlog + rate, pool.resizing.size / seconds)
        backlog += rate - done
        for _ in range(round(done)):
            pool.resizing.note_done(seconds)
        changes.append(pool.look(round(backlog), 1.0))
    assert not any(changes[150:]), (rate, seconds, changes[150:])
