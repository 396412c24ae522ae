"""When a turn's emissions go out, and which of them (R3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routilux.messages import Emission
from routilux.turn.outbox import BYTES_BOUND, COUNT_BOUND, FULL_WEIGHT, OUTSIDE_SHARE, SECONDS_BOUND, Outbox
from supervisors.wire.outside import Name, pack_outside


class Clock:
    def __init__(self) -> None:
        self.now = 100.0
        self.reads = 0

    def __call__(self) -> float:
        self.reads += 1
        return self.now


def emission(number: int = 0, encoded: bytes | None = None) -> tuple[Emission, bytes | None]:
    """An emission, and what is encoded of it."""
    return (number, None if encoded else {}, encoded, ()), encoded


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_it_is_released_at_the_bound_of_messages(clock: Clock) -> None:
    outbox = Outbox(clock, atomic=False)
    outbox.begin(0)

    full = [outbox.add(*emission(number)) for number in range(COUNT_BOUND)]

    assert full == [False] * (COUNT_BOUND - 1) + [True]
    assert [event for event, *_ in outbox.release()] == list(range(COUNT_BOUND))
    assert len(outbox) == 0
    assert outbox.add(*emission()) is False


def test_it_is_released_at_the_bound_of_encoded_bytes(clock: Clock) -> None:
    outbox = Outbox(clock, atomic=False)
    outbox.begin(0)
    half = b"x" * (BYTES_BOUND // 2)

    assert [outbox.add(*emission(0, half)), outbox.add(*emission(0, half))] == [False, True]
    outbox.release()
    assert [outbox.add(*emission(0, half)), outbox.add(*emission(0, half))] == [False, True]


def array_of(size: int) -> bytes:
    return pack_outside([Name(1, 0, size)], b"")


def test_shared_memory_counts_for_less_and_that_of_the_first_emission_for_nothing(clock: Clock) -> None:
    outbox = Outbox(clock, atomic=False)
    outbox.begin(0)
    half = array_of(BYTES_BOUND * OUTSIDE_SHARE // 2)

    assert outbox.add(*emission(0, array_of(100 * BYTES_BOUND * OUTSIDE_SHARE))) is False
    assert [outbox.add(*emission(0, half)), outbox.add(*emission(0, half))] == [False, True]
    outbox.release()
    outbox.adopt([emission(0, half)[0]], 100.0)
    assert [outbox.add(*emission(0, half)), outbox.add(*emission(0, half))] == [False, True]


def test_a_few_large_emissions_weigh_as_much_as_many(clock: Clock) -> None:
    outbox = Outbox(clock, atomic=False)
    outbox.begin(0)
    for _ in range(10):
        outbox.add(*emission(0, b"x"))
    assert outbox.weight == 10

    outbox.add(*emission(0, b"x" * BYTES_BOUND))
    assert outbox.weight == FULL_WEIGHT
    outbox.release()
    assert outbox.weight == 0


def test_seconds_count_from_the_first_emission_and_then_from_the_last_release(clock: Clock) -> None:
    outbox = Outbox(clock, atomic=False)
    outbox.begin(0)
    clock.now += 10.0

    assert outbox.add(*emission()) is False, "a turn that emits at its end does so at its commit"
    clock.now += SECONDS_BOUND * 0.9
    assert outbox.add(*emission()) is False
    clock.now += SECONDS_BOUND * 0.2
    assert outbox.add(*emission()) is True
    outbox.release()
    clock.now += SECONDS_BOUND * 2.0  # for which it waited for room
    outbox.note_released()
    assert outbox.add(*emission()) is False
    clock.now += SECONDS_BOUND * 1.1
    assert outbox.add(*emission()) is True


def test_an_atomic_turn_is_never_released_and_reads_no_clock_but_asks_now_and_then(clock: Clock) -> None:
    outbox = Outbox(clock, atomic=True)
    outbox.begin(0)

    asked = [n for n in range(COUNT_BOUND + 1) if outbox.add(*emission(0, b"x" * BYTES_BOUND))]
    assert asked == [COUNT_BOUND - 1]
    assert clock.reads == 0
    assert len(outbox.commit()) == COUNT_BOUND + 1


def test_what_a_former_run_released_is_dropped_by_its_position(clock: Clock) -> None:
    outbox = Outbox(clock, atomic=False)
    outbox.begin(2)

    assert [outbox.drop_next() for _ in range(4)] == [True, True, False, False]


def test_after_a_commit_positions_count_anew(clock: Clock) -> None:
    outbox = Outbox(clock, atomic=False)
    outbox.begin(5)
    outbox.drop_next()
    outbox.commit()

    assert outbox.to_drop == 0
    assert outbox.drop_next() is False


def test_a_new_turn_starts_with_nothing(clock: Clock) -> None:
    outbox = Outbox(clock, atomic=False)
    outbox.begin(0)
    outbox.add(*emission())
    outbox.begin(0)

    assert outbox.commit() == []


@given(
    steps=st.lists(st.tuples(st.floats(0, 0.03), st.integers(0, 400_000)), max_size=40),
    released=st.integers(0, 50),
)
def test_a_run_and_its_repetition_let_out_every_emission_once(steps: list[tuple[float, int]], released: int) -> None:
    clock = Clock()
    outbox = Outbox(clock, atomic=False)

    def run(first: int) -> list[int]:
        outbox.begin(first)
        out: list[int] = []
        for number, (pause, size) in enumerate(steps):
            clock.now += pause
            if outbox.drop_next():
                continue
            if outbox.add(*emission(number, b"x" * size)):
                out += [event for event, *_ in outbox.release()]
        return out + [event for event, *_ in outbox.commit()]

    assert run(0) == list(range(len(steps)))
    assert run(released) == list(range(released, len(steps)))


@pytest.mark.parametrize("uniform", [False, True])
@pytest.mark.parametrize("size", [BYTES_BOUND // 2, BYTES_BOUND * OUTSIDE_SHARE // 2])
def test_data_alone_is_held_to_the_same_bounds(clock: Clock, *, uniform: bool, size: int) -> None:
    outbox = Outbox(clock, atomic=False, uniform=uniform)
    outbox.begin(0)
    body = b"x" * size if size < BYTES_BOUND else array_of(size)
    whole: Emission = (0, None, body, ())
    held = body if uniform else whole

    assert outbox.add(held, body) is False
    assert outbox.has_outside is (size > BYTES_BOUND)
    outbox.add(held, body)
    weighed = outbox.held_bytes
    taken = outbox.release()
    outbox.adopt(taken, clock.now)

    assert taken == [held, held]
    assert outbox.held_bytes == weighed
    assert outbox.commit() == [held, held]


def test_data_kept_by_reference_weighs_nothing(clock: Clock) -> None:
    outbox = Outbox(clock, atomic=True, uniform=True)
    outbox.begin(0)

    outbox.add({"n": 1}, None)

    assert (outbox.held_bytes, outbox.has_outside) == (0, False)
    assert outbox.commit() == [{"n": 1}]


def test_a_turn_that_released_all_leaves_no_time_to_the_next_one(clock: Clock) -> None:
    outbox = Outbox(clock, atomic=False)
    outbox.begin(0)
    outbox.add(*emission())
    outbox.release()
    outbox.commit()

    clock.now += 2 * SECONDS_BOUND

    assert outbox.add(*emission()) is False, "it has released nothing, so that it emits at its commit"


@pytest.mark.parametrize("atomic", [False, True])
@pytest.mark.parametrize(("size", "seconds"), [(1, 0.0), (BYTES_BOUND // 3, 0.0), (1, SECONDS_BOUND / 4)])
def test_plain_data_has_the_same_bounds_however_it_is_added(
    clock: Clock, size: int, seconds: float, *, atomic: bool
) -> None:
    body = b"\x01" * size
    asked = []
    for add_plain in (False, True):
        outbox = Outbox(clock, atomic=atomic, uniform=True)
        outbox.begin(0)
        asked.append([])
        for _ in range(COUNT_BOUND + 1):
            clock.now += seconds
            asked[-1].append(outbox.add_plain(body) if add_plain else outbox.add(body, body))
            if asked[-1][-1] and not atomic:
                outbox.release()
    assert asked[0] == asked[1]
    assert True in asked[0]
