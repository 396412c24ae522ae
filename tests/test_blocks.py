"""Many messages as one: each is what it would be by itself, whoever asks for it and whenever."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routilux.blocks import Block, Keys, messages_of
from routilux.ids import STEP, key_of_child, key_of_text, key_of_turn
from routilux.messages import Message

WAYS = [key_of_text(label) for label in "abc"]
STEPS = st.lists(st.tuples(st.sampled_from(WAYS), st.integers(0, 4), st.integers(0, 4), st.booleans()), max_size=60)
"""Of each generation: its connection, how many of the one before are left out at both ends, whether it is asked for."""


def derive(parents: Sequence[int], way: int) -> list[int]:
    """The model: key by key."""
    return [key_of_child(key_of_turn(parent, 0), way) for parent in parents]


def first(count: int, *, of_one_turn: bool = False) -> tuple[Keys, list[int]]:
    """Keys that follow from no others, and what they are."""
    bases: Sequence[int] = [key_of_turn(key_of_text(f"{number}"), number) for number in range(count)]
    if of_one_turn:
        base = key_of_turn(key_of_text("turn"), 7)
        bases = range(base, base + count * STEP, STEP)
    return Keys(count, WAYS[0], bases=bases), [key_of_child(base, WAYS[0]) for base in bases]


@given(st.integers(1, 40), STEPS, st.booleans())
def test_keys_are_those_that_each_would_have_by_itself(
    count: int, steps: list[tuple[int, int, int, bool]], of_one_turn: bool
) -> None:
    keys, expected = first(count, of_one_turn=of_one_turn)
    generations = [(keys, expected)]
    for way, before, behind, is_asked in steps:
        start, stop = (before, keys.count - behind) if before + behind < keys.count else (0, keys.count)
        expected = derive(expected[start:stop], way)
        keys = Keys(stop - start, way, parents=keys, start=start)
        generations.append((keys, expected))
        if is_asked:
            assert keys.to_list() == expected
    for keys, expected in reversed(generations):
        assert (keys.to_list(), keys.count) == (expected, len(expected))
        assert keys.to_list() is keys.to_list()


@given(st.integers(1, 40), STEPS, st.booleans(), st.data())
def test_what_a_lineage_tells_is_what_the_keys_are(
    count: int, steps: list[tuple[int, int, int, bool]], of_one_turn: bool, data: st.DataObject
) -> None:
    keys, expected = first(count, of_one_turn=of_one_turn)
    for way, before, behind, is_asked in [(0, 0, 0, False), *steps]:
        if way:
            start, stop = (before, keys.count - behind) if before + behind < keys.count else (0, keys.count)
            expected = derive(expected[start:stop], way)
            keys = Keys(stop - start, way, parents=keys, start=start)
        begin = data.draw(st.integers(0, keys.count - 1))
        length = data.draw(st.integers(1, keys.count - begin))
        told = Keys.descended(length, keys.lineage(begin, length))
        assert told.to_list() == expected[begin : begin + length]
        if is_asked:
            keys.to_list()


@pytest.mark.parametrize("of_one_turn", [False, True])
def test_however_long_a_chain_is_its_keys_follow_from_the_first_by_one_step(of_one_turn: bool) -> None:
    keys, expected = first(3, of_one_turn=of_one_turn)
    sizes = set()
    for _ in range(5_000):
        keys, expected = Keys(3, WAYS[1], parents=keys), derive(expected, WAYS[1])
        sizes.add(len(msgspec.msgpack.encode(keys.lineage(0, 3))))
    assert keys.to_list() == expected
    assert len(sizes) == 1


def test_threads_that_ask_at_once_are_given_the_same() -> None:
    for _ in range(100):
        keys, expected = first(20)
        for way in (*WAYS, *WAYS):
            keys, expected = Keys(20, way, parents=keys), derive(expected, way)
        found: list[list[int]] = []
        start = threading.Barrier(4)

        def ask(keys: Keys = keys, found: list[list[int]] = found, start: threading.Barrier = start) -> None:
            start.wait()
            found.append(keys.to_list())

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [expected] * 4


def block_of(count: int) -> tuple[Block, list[Message]]:
    keys, expected = first(count)
    block = Block(7, 100, [{"n": n} for n in range(count)], keys, 5.0, 0, count)
    return block, [Message(7, 100 + n, {"n": n}, key, 5.0) for n, key in enumerate(expected)]


@given(st.integers(1, 20), st.data())
def test_a_part_of_a_block_has_its_messages_as_they_were(count: int, data: st.DataObject) -> None:
    block, messages = block_of(count)
    start, stop = 0, count
    for _ in range(3):
        start = data.draw(st.integers(start, stop))
        stop = data.draw(st.integers(start, stop))
        block = block.between(start, stop)
        assert len(block) == stop - start
        assert list(block.messages()) == messages[start:stop]
        assert [block.message(at) for at in range(start, stop)] == messages[start:stop]


def test_messages_come_one_by_one_whatever_they_came_as() -> None:
    block, messages = block_of(4)
    alone = Message(1, 1, {}, 1)
    assert list(messages_of([alone, block.between(0, 3), block.between(3, 4)])) == [alone, *messages]
