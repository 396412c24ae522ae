"""Where messages wait for others: what makes a set, against the simplest models of both kinds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routilux.merge_buffers import Batch, InStep, make_buffers
from routilux.messages import Message, count_parts, parts_of, unite
from routilux.model.merging import Batching
from routilux.routing import JoinPlan

EDGES = (3, 5, 8)


def numbered(edges: list[int]) -> Iterator[Message]:
    counts = dict.fromkeys(edges, 0)
    for edge in edges:
        counts[edge] += 1
        yield Message(edge, counts[edge], {}, edge * 1_000 + counts[edge])


def in_step(pressing: tuple[int, ...] = (), capacity: int | None = None, edges: tuple[int, ...] = EDGES) -> InStep:
    return InStep(JoinPlan("in", "all", edges, frozenset(pressing)), capacity)


def batch(size: int, seconds: float | None = None) -> Batch:
    return Batch(JoinPlan("in", Batching(size, seconds), EDGES, frozenset()), Batching(size, seconds))


@given(st.lists(st.sampled_from(EDGES), max_size=60))
def test_the_n_th_message_of_each_connection_goes_with_the_n_th_of_the_others(came: list[int]) -> None:
    buffer = in_step()
    sets = [members for message in numbered(came) if (members := buffer.add(message)) is not None]

    assert [[(m.edge, m.seq) for m in members] for members in sets] == [
        [(edge, number) for edge in EDGES] for number in range(1, min(map(came.count, EDGES)) + 1)
    ]
    left = [(edge, number) for edge in EDGES for number in range(len(sets) + 1, came.count(edge) + 1)]
    assert [(m.edge, m.seq) for m in buffer] == left
    assert len(buffer) == len(left)
    assert [m.seq for m in buffer.drain()] == [number for _edge, number in left]
    assert (len(buffer), list(buffer), buffer.flush()) == (0, [], None)


@given(st.lists(st.sampled_from(EDGES), max_size=60), st.integers(1, 7))
def test_what_waits_for_others_can_be_gathered_again_at_any_moment(came: list[int], size: int) -> None:
    messages = list(numbered(came))
    for fresh in (in_step, lambda: batch(size)):
        whole, cut = fresh(), fresh()
        sets, again = [], []
        for message in messages:
            sets.append(whole.add(message))
            taken, cut = list(cut), fresh()
            assert [cut.add(one) for one in taken] == [None] * len(taken)
            again.append(cut.add(message))
        assert again == sets


@given(st.lists(st.sampled_from(EDGES), max_size=60), st.integers(1, 7))
def test_a_batch_is_so_many_in_the_order_in_which_they_came(came: list[int], size: int) -> None:
    buffer, messages = batch(size), list(numbered(came))
    sets = [members for message in messages if (members := buffer.add(message)) is not None]

    whole = len(messages) // size * size
    assert sets == [tuple(messages[at : at + size]) for at in range(0, whole, size)]
    assert list(buffer) == messages[whole:]
    assert buffer.flush() == (tuple(messages[whole:]) or None)
    assert (len(buffer), buffer.flush(), buffer.drain()) == (0, None, [])


def test_a_batch_is_due_so_long_after_its_first_message_came() -> None:
    buffer = batch(3, 2.5)
    assert buffer.due_at is None
    buffer.add(Message(3, 1, {}, 1, sent_at=10.0))
    buffer.add(Message(3, 2, {}, 2, sent_at=11.0))
    assert buffer.due_at == 12.5
    buffer.add(Message(3, 3, {}, 3, sent_at=12.0))
    assert buffer.due_at is None
    assert batch(3).due_at is None


def test_a_lane_presses_back_at_the_mailbox_s_bound_and_lets_go_at_half_of_it() -> None:
    buffer = in_step(pressing=(3,), capacity=4, edges=(3, 5))
    ahead, behind = buffer.lanes[3], buffer.lanes[5]
    for number in range(4):
        assert not ahead.is_pressing
        buffer.add(Message(3, number, {}, number))
    assert ahead.is_pressing
    buffer.add(Message(5, 0, {}, 100))
    assert ahead.is_pressing
    assert not ahead.has_relieved()
    buffer.add(Message(5, 1, {}, 101))
    assert ahead.has_relieved()
    assert not ahead.is_pressing
    assert not ahead.has_relieved()
    for number in range(100):
        buffer.add(Message(5, number, {}, 200 + number))
    assert not behind.is_pressing


def test_each_connection_of_a_slot_has_its_buffer() -> None:
    buffers = make_buffers(
        [JoinPlan("a", "all", (1, 2), frozenset()), JoinPlan("b", Batching(2), (4,), frozenset())], 10
    )
    assert buffers.keys() == {1, 2, 4}
    assert buffers[1] is buffers[2]
    assert isinstance(buffers[1], InStep)
    assert isinstance(buffers[4], Batch)
    assert make_buffers([], None) == {}


def test_a_set_is_known_by_its_messages_in_their_order() -> None:
    one, two = Message(3, 1, {}, 7, sent_at=2.0, redelivered=True), Message(5, 4, {}, 9, sent_at=1.0)
    whole = unite((one, two))
    assert (whole.edge, whole.seq, whole.sent_at, whole.redelivered) == (5, 4, 2.0, True)
    assert unite((one, two)).id == whole.id
    assert len({whole.id, unite((two, one)).id, unite((one,)).id, unite((two,)).id, one.id, two.id}) == 6
    assert parts_of(whole) == (one, two)
    assert parts_of(one) == (one,)
    assert count_parts([whole, one]) == 3


@pytest.mark.parametrize("size", [1, 2])
def test_a_flush_gives_what_is_there_once(size: int) -> None:
    buffer = batch(size + 1)
    messages = list(numbered([3] * size))
    for message in messages:
        buffer.add(message)
    assert buffer.flush() == tuple(messages)
    assert buffer.flush() is None
