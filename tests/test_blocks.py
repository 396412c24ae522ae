"""Many messages as one: each is what it would be by itself, whoever asks for it and whenever."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routilux.blocks import BLOCK_BYTES, BLOCK_LIMIT, Block, Keys, join, messages_of
from routilux.ids import STEP, key_of_child, key_of_text, key_of_turn
from routilux.messages import Message, Payload
from routilux.packed import Packed

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
        again = Keys.descended(length, told.lineage(0, length))
        assert again.to_list() == told.to_list()
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


def cut(block: Block, points: list[int]) -> list[Block]:
    """Give the parts of a block between these of its messages."""
    ends = sorted({block.start + point for point in points if 0 < point < len(block)} | {block.stop})
    return [block.between(start, stop) for start, stop in pairwise([block.start, *ends])]


FORMS: dict[str, Callable[[Iterable[int]], list[Payload] | Packed]] = {
    "values": lambda numbers: [{"n": n} for n in numbers],
    "encoded": lambda numbers: [b"%d" % n for n in numbers],
    "packed": lambda numbers: Packed.of([b"%d" % n for n in numbers]),
    "packed plain": lambda numbers: Packed.of([b"%d" % n for n in numbers], is_plain=True),
}
"""What data of messages may look like, by what that is called."""


def send_on(blocks: list[Block], at: float, form: str) -> list[Block]:
    """Give what turns of these messages come to that emit one each, a while after one another."""
    seq, sent = 1, []
    for number, block in enumerate(blocks):
        count = len(block)
        keys = Keys(count, WAYS[1], parents=block.keys, start=block.first_key + block.start)
        sent.append(Block(8, seq, FORMS[form](range(seq, seq + count)), keys, at + number, 0, count))
        seq += count
    return sent


CUTS = st.lists(st.tuples(st.lists(st.integers(1, 30), max_size=8), st.booleans()), min_size=1, max_size=6)
"""Of each routine of a chain: where what it takes is cut up, and whether that waits together at the next one."""


@given(st.integers(1, 30), st.booleans(), st.sampled_from(sorted(FORMS)), CUTS)
def test_what_was_cut_up_is_joined_where_it_waits_together(
    count: int, of_one_turn: bool, form: str, cuts: list[tuple[list[int], bool]]
) -> None:
    keys, _ = first(count + 3, of_one_turn=of_one_turn)
    blocks = [Block(7, 1, FORMS[form](range(count)), keys, 5.0, 0, count, 3)]
    for number, (points, waits) in enumerate(cuts, 1):
        parts = [part for block in blocks for part in cut(block, points)]
        assert list(messages_of(join(parts))) == list(messages_of(parts))
        blocks = send_on(parts, 100.0 * number, form)
        messages = list(messages_of(blocks))
        if waits:
            blocks = join(blocks)
            assert len(blocks) == 1
        assert list(messages_of(blocks)) == messages
        assert [part.keys.to_list()[part.first_key :][: len(part)] for part in blocks] == [
            [message.key for message in part.messages()] for part in blocks
        ]


def test_blocks_that_do_not_follow_one_another_are_not_joined() -> None:
    block, _ = block_of(9)
    other = Block(7, block.seq + 9, block.payloads, first(9)[0], 5.0, 0, 9)
    elsewhere = Block(6, block.seq + 3, block.payloads, block.keys, 5.0, 0, 6, 3)
    parts = [block.between(0, 2), block.between(3, 5), block.between(5, 9), other, elsewhere, block.between(0, 1)]
    assert list(map(len, join(parts))) == [2, 6, 9, 6, 1]
    assert join([]) == []


def test_data_of_different_forms_is_not_joined() -> None:
    keys, _ = first(8)
    blocks = [Block(7, 1, FORMS[form](range(8)), keys, 5.0, 0, 8) for form in ("encoded", "packed", "packed plain")]
    parts = [block.between(2 * at, 2 * at + 2) for at, block in enumerate(blocks)]
    assert join(parts) == parts


@pytest.mark.parametrize("is_packed", [False, True])
def test_no_more_data_is_joined_than_travels_as_one(is_packed: bool) -> None:
    keys, _ = first(8)
    each = [bytes([n + 1]) * (BLOCK_BYTES // 4) for n in range(8)]
    block = Block(7, 1, Packed.of(each) if is_packed else list[Payload](each), keys, 5.0, 0, 8)
    parts = [block.between(0, 3), block.between(3, 4), *(block.between(at, at + 1) for at in range(4, 8))]
    joined = join(parts)
    assert list(map(len, joined)) == [4, 4]
    assert list(messages_of(joined)) == list(messages_of(parts))


def test_no_more_are_joined_than_a_block_may_have() -> None:
    length = 3 * BLOCK_LIMIT // 8
    block, messages = block_of(5 * length)
    joined = join([block.between(first, first + length) for first in range(0, 5 * length, length)])
    assert list(map(len, joined)) == [2 * length, 2 * length, length]
    assert list(messages_of(joined)) == messages


def test_messages_come_one_by_one_whatever_they_came_as() -> None:
    block, messages = block_of(4)
    alone = Message(1, 1, {}, 1)
    assert list(messages_of([alone, block.between(0, 3), block.between(3, 4)])) == [alone, *messages]
