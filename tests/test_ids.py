"""A message's identity: the same for the same lineage, another for every other."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from routilux import Flow, Routine
from routilux.ids import STEP, descend, from_bytes, key_of_child, key_of_text, key_of_turn, keys_of, to_bytes, to_id
from routilux.stores import MemoryStore

keys = st.integers(0, 2**127 - 2)


@given(keys)
def test_a_key_comes_back_from_its_bytes_and_has_an_id_of_its_own(key: int) -> None:
    assert from_bytes(to_bytes(key)) == key
    assert int(to_id(key), 16) == key
    assert len(to_id(key)) == 32


@given(keys, st.integers(0, 10**6), st.integers(0, 100))
def test_what_is_emitted_in_parts_has_the_keys_of_what_is_emitted_at_once(parent: int, before: int, after: int) -> None:
    way = key_of_text("a.x -> b.y")
    at_once = key_of_child(key_of_turn(parent, before) + after * STEP, way)
    assert at_once == key_of_child(key_of_turn(parent, before + after), way)


@given(st.lists(keys), st.lists(st.sampled_from("abc"), max_size=20))
def test_what_several_connections_make_of_keys_follows_from_two_numbers(first: list[int], labels: list[str]) -> None:
    scale, shift, expected = 1, 0, first
    for way in map(key_of_text, labels):
        scale, shift = descend(scale, shift, way)
        expected = [key_of_child(key_of_turn(key, 0), way) for key in expected]
    assert keys_of(first, scale, shift) == expected


@given(keys)
def test_a_key_is_below_the_prime_whatever_it_is_made_of(key: int) -> None:
    prime = 2**127 - 1
    base = key_of_turn(key, 0)
    assert [key_of_child(base, prime - base % prime + more) for more in (-1, 0, 1)] == [prime - 1, 0, 1]


def test_keys_of_three_generations_over_several_ways_are_all_different() -> None:
    ways = [key_of_text(label) for label in ("a", "b", "c")]
    generation = {key_of_child(key_of_turn(key_of_text("job"), seq), way) for seq in range(20) for way in ways}
    seen = set(generation)
    for _ in range(2):
        children = [
            key_of_child(key_of_turn(parent, position), way)
            for parent in generation
            for position in range(6)
            for way in ways
        ]
        assert len(set(children)) == len(children)
        assert seen.isdisjoint(children)
        seen.update(children)
        generation = set(children)


class Source(Routine):
    def __init__(self, *, commits: bool) -> None:
        super().__init__()
        self.commits = commits
        self.define_slot("trigger", handler=self.handle_all if not commits else self.handle_each)
        self.define_event("out", ["n"])

    def handle_all(self) -> None:
        for n in range(4):
            self.emit("out", n=n)

    def handle_each(self) -> Iterator[None]:
        for n in range(4):
            self.emit("out", n=n)
            yield


class Sink(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.arrived = threading.Semaphore(0)
        self.define_slot("in", handler=self.handle)

    def handle(self, n: int) -> None:
        self.seen.append(self.message_id)
        self.arrived.release()

    def wait_for(self, count: int) -> None:
        for _ in range(count):
            assert self.arrived.acquire(timeout=30)


def test_a_generator_that_commits_at_each_yield_gives_the_ids_of_one_that_does_not() -> None:
    tails = []
    for commits in (False, True):
        flow, sink = Flow("ids"), Sink()
        flow.add_routine(Source(commits=commits), "source")
        flow.add_routine(sink, "sink")
        flow.connect("source", "out", "sink", "in")
        assert flow.execute("source").status == "completed"
        numbers = [int(seen, 16) for seen in sink.seen]
        tails.append([(number - numbers[0]) % (2**127 - 1) for number in numbers])
        assert len(set(numbers)) == 4
    assert tails[0] == tails[1], "jobs differ by where they begin, and by nothing else"


def ids_of(store: MemoryStore, job_id: str, *names: str | None) -> list[str]:
    """Run a job, or go on with it, and give the ids of the messages that are sent to it under these names."""
    flow, sink = Flow("ids"), Sink()
    flow.add_routine(sink, "sink")
    if job_id in store.jobs():
        job = Flow.resume(store, job_id, flow=flow)
    else:
        job = flow.start(keep_open=True, store=store, job_id=job_id)
    for name in names:
        job.put("sink", "in", {"n": 1}, name=name)
    sink.wait_for(len(names))
    job.leave()
    return sink.seen


def test_a_name_gives_a_message_from_outside_the_same_id_in_each_program_and_others_are_never_alike() -> None:
    store = MemoryStore()
    first = ids_of(store, "a", "order 7", None)
    again = ids_of(store, "a", "order 7", None)
    other = ids_of(store, "other", "order 7", None)
    assert first[0] == again[0]
    assert len({*first, *again, *other}) == 5
