"""What each worker of a partitioned routine has of the states of keys."""

from __future__ import annotations

import random
from typing import Any

from routilux.messages import Message
from routilux.partitioning import find_owner
from routilux.runtime.partitions import Partitions
from routilux.turn.codec import write_request
from routilux.turn.keyed import KeyedRequest
from supervisors.wire.frames import decode_body, encode_body


class Counting:
    """A partitioned routine that counts by key, and the workers' side of it, as simple as it can be.

    Args:
        workers: how many there are.
        known: how many keys a worker keeps.
    """

    def __init__(self, workers: int, known: int) -> None:
        self.partitions = Partitions(workers, known)
        self.committed: dict[str, Any] = {}
        self.copies: list[dict[str, bytes]] = [{} for _ in range(workers)]
        self.next = 0

    def enter(self, key: str) -> tuple[int, int]:
        self.next += 1
        return self.partitions.assign(self.next, key), self.next

    def send(self, delivery: int) -> KeyedRequest:
        request = write_request(Message(0, delivery, b"request", delivery))
        sent: KeyedRequest = decode_body(
            encode_body(self.partitions.request(delivery, request, self.committed)), KeyedRequest
        )
        assert sent.message.seq == delivery
        return sent

    def run(self, number: int, sent: KeyedRequest) -> bytes:
        """Run a request at its worker; gives the state it comes to."""
        copies = self.copies[number]
        for key in sent.forgets:
            copies.pop(key, None)
        if sent.brings_state:
            copies.pop(sent.key, None)
            if sent.state is not None:
                copies[sent.key] = sent.state
        elif sent.key not in copies:
            raise AssertionError(f"worker {number} does not have {sent.key}")
        copies[sent.key] = b"%d" % (int(copies.get(sent.key, b"0")) + 1)
        return copies[sent.key]


def test_a_state_comes_with_the_first_request_of_its_key_and_with_no_other() -> None:
    counting = Counting(1, 10)
    deliveries = [counting.enter(key)[1] for key in ("a", "b", "a")]
    sent = [counting.send(delivery) for delivery in deliveries]
    assert [(one.key, one.brings_state, one.state) for one in sent] == [
        ("a", True, None),
        ("b", True, None),
        ("a", False, None),
    ]


def test_the_key_that_was_used_longest_ago_is_forgotten_and_brought_again() -> None:
    counting = Counting(1, 2)
    sent = []
    for key in ("a", "b", "a", "c", "d", "b"):
        number, delivery = counting.enter(key)
        sent.append(counting.send(delivery))
        counting.committed[key] = counting.run(number, sent[-1])
        counting.partitions.leave(delivery, is_done=True)
    assert [(one.key, one.brings_state, one.forgets) for one in sent] == [
        ("a", True, ()),
        ("b", True, ()),
        ("a", False, ()),
        ("c", True, ("b",)),
        ("d", True, ("a",)),
        ("b", True, ("c",)),
    ]


def test_a_request_that_was_dropped_brings_its_state_again_and_what_it_was_to_forget() -> None:
    counting = Counting(1, 0)
    _, first = counting.enter("a")
    counting.send(first)
    counting.partitions.leave(first, is_done=True)
    _, second = counting.enter("b")
    assert counting.send(second).forgets == ("a",)
    again = counting.send(second)
    assert (again.brings_state, again.forgets) == (True, ("a",))


def test_a_worker_that_begins_anew_has_nothing() -> None:
    counting = Counting(1, 10)
    _, first = counting.enter("a")
    counting.send(first)
    counting.partitions.restart(0)
    assert counting.send(first).brings_state


def test_messages_of_a_key_go_to_its_owner() -> None:
    counting = Counting(5, 10)
    for n in range(50):
        assert counting.enter(f"s{n}")[0] == find_owner(f"s{n}", range(5))
    assert counting.partitions.find_owner("s7") == find_owner("s7", range(5))


def test_each_worker_counts_from_what_was_committed_whatever_is_dropped_fails_or_dies() -> None:
    for seed in range(200):
        rng = random.Random(seed)
        counting = Counting(2, rng.randrange(4))
        lines: list[list[tuple[int, str]]] = [[], []]
        expected: dict[str, int] = {}
        for _ in range(120):
            for _ in range(rng.randrange(4)):
                key = f"s{rng.randrange(6)}"
                number, delivery = counting.enter(key)
                lines[number].append((delivery, key))
            if rng.random() < 0.1:
                counting.partitions.use(range(rng.randrange(1, 3)))
            number = rng.randrange(2)
            batch = lines[number][: rng.randrange(1, 5)]
            sent = [counting.send(delivery) for delivery, _ in batch]
            if rng.random() < 0.2:
                counting.copies[number].clear()
                counting.partitions.restart(number)
                continue
            # It runs some of them, and fails at the next or not; what is behind is dropped.
            for (delivery, key), request in zip(batch[: rng.randrange(5)], sent, strict=False):
                lines[number].pop(0)
                if rng.random() < 0.2:
                    before = dict(counting.copies[number])
                    counting.run(number, request)
                    counting.copies[number] = before
                    counting.partitions.leave(delivery, is_done=False)
                    break  # and is given up
                counting.committed[key] = counting.run(number, request)
                expected[key] = expected.get(key, 0) + 1
                counting.partitions.leave(delivery, is_done=True)
            assert len(counting.copies[number]) <= 10
        assert counting.committed == {key: b"%d" % count for key, count in expected.items()}, f"seed {seed}"


def test_a_key_stays_with_its_worker_while_it_has_messages_there_or_a_failure() -> None:
    key = next(f"s{n}" for n in range(100) if find_owner(f"s{n}", range(2)) == 1)
    counting = Counting(2, 10)
    assert counting.enter(key) == (1, 1)
    counting.send(1)
    counting.partitions.use(range(1))
    assert counting.enter(key) == (1, 2)
    counting.partitions.leave(1, is_done=False)
    counting.partitions.pin(key, 1)
    counting.partitions.leave(2, is_done=False)
    assert counting.partitions.find_owner(key) == 1
    assert counting.partitions.assign(99, key, 1) == 1
    counting.send(99)
    counting.partitions.leave(99, is_done=True)
    # Now it moves, and brings its state; the copy that was left behind is forgotten.
    assert counting.enter(key) == (0, 3)
    assert counting.send(3).brings_state
    counting.partitions.leave(3, is_done=True)
    counting.partitions.use(range(2))
    assert counting.enter(key) == (1, 4)
    sent = counting.send(4)
    assert (sent.brings_state, sent.forgets) == (True, ())
