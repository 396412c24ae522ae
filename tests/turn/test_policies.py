"""Every state policy at every placement, through the ends that a turn can have."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routilux import Routine
from routilux.errors import StateError
from routilux.turn.state import Held, decode_state, from_stored, to_stored
from routilux.turn.tables import Incoming
from routilux.turn.values import PICKLED
from supervisors.errors import ValueEncodingError
from tests.turn.strict import STRICT
from tests.turn.worker import Worker

ON_BOTH = ["encoded", "value", "external"]
PLACES = [("thread", policy) for policy in [*ON_BOTH, "in_place"]] + [("process", policy) for policy in ON_BOTH]


class Adding(Routine):
    """Adds to a sum in its state, and fails when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        if self.state_policy != "none":
            self.state = {"sum": 0}
        self.define_slot("in", self.handle)
        self.define_slot("steps", self.step)
        self.define_event("sum")

    def handle(self, n: int, *, fails: bool = False) -> None:
        self.add(n)
        if fails:
            raise ValueError(n)

    def step(self, ns: list[int], *, fails: bool = False) -> Any:
        for n in ns:
            self.add(n)
            yield
        self.add(1_000)
        if fails:
            raise ValueError(ns)

    def add(self, n: int) -> None:
        if self.state_policy == "value":
            self.state = {"sum": self.state["sum"] + n}
        else:
            self.state["sum"] += n
        self.emit("sum", sum=self.state["sum"])


def of_policy(policy: str) -> Adding:
    class Declared(Adding):
        state_policy: ClassVar[str] = policy

    return Declared()


def worker_of(policy: str, place: str, **options: Any) -> Worker:
    incoming = {0: Incoming("in", ()), 1: Incoming("steps", ())}
    return Worker(of_policy(policy), is_local=place == "thread", incoming=incoming, **options)  # type: ignore[arg-type]


def fail(worker: Worker, **data: Any) -> None:
    with pytest.raises(ValueError, match=r"\d"):
        worker.run(**data, fails=True)


@pytest.mark.parametrize(("place", "policy"), PLACES)
def test_what_was_committed_is_there_for_the_next_turn_and_the_next_incarnation(place: str, policy: str) -> None:
    worker = worker_of(policy, place)
    worker.run(n=1)
    worker.run(n=2)
    worker.boot()
    worker.run(n=4)
    assert worker.state == {"sum": 7}
    assert [data["sum"] for _, data in worker.emitted] == [1, 3, 7]


@pytest.mark.parametrize(("place", "policy"), PLACES)
def test_what_a_failed_turn_did_is_gone_but_for_what_it_changed_in_place(place: str, policy: str) -> None:
    worker = worker_of(policy, place)
    worker.run(n=1)
    fail(worker, n=10)
    left = 11 if policy == "in_place" else 1
    assert worker.state == {"sum": left}
    worker.run(n=100)
    assert worker.state == {"sum": left + 100}


@pytest.mark.parametrize(("place", "policy"), PLACES)
def test_a_retry_begins_with_what_was_committed_but_in_place(place: str, policy: str) -> None:
    worker = worker_of(policy, place)
    worker.run(n=1)
    fail(worker, n=10)
    worker.run(n=10)
    assert worker.state == {"sum": 21 if policy == "in_place" else 11}


@pytest.mark.parametrize(("place", "policy"), PLACES)
def test_a_death_in_a_turn_leaves_what_was_committed_but_in_place(place: str, policy: str) -> None:
    worker = worker_of(policy, place)
    worker.run(n=1)
    execution = worker.begin(n=10)
    execution.advance()  # and its result never arrives
    worker.boot()
    worker.begin_again()
    worker.finish()
    assert worker.state == {"sum": 21 if policy == "in_place" else 11}


@pytest.mark.parametrize(("place", "policy"), PLACES)
def test_a_generator_that_fails_leaves_what_it_had_committed(place: str, policy: str) -> None:
    worker = worker_of(policy, place)
    fail(worker, edge=1, ns=[1, 2, 4])
    assert worker.state == {"sum": 1_007 if policy == "in_place" else 7}
    worker.run(edge=1, ns=[8])
    assert worker.state == {"sum": 2_015 if policy == "in_place" else 1_015}


@pytest.mark.parametrize("place", ["thread", "process"])
def test_a_routine_without_a_state_cannot_touch_one(place: str) -> None:
    worker = worker_of("none", place)
    with pytest.raises(StateError, match="r has no state"):
        worker.run(n=1)
    assert (worker.committed, worker.state, worker.out) == ({}, None, [])


@pytest.mark.parametrize("place", ["thread", "process"])
@pytest.mark.parametrize("value", [[1], {"a": 1}, (1,), b"x", 3 + 0j, type("Sub", (int,), {})(3)], ids=repr)
def test_a_state_that_is_external_keeps_scalars_alone(place: str, value: Any) -> None:
    class Keeping(Routine):
        state_policy = "external"

        def __init__(self) -> None:
            super().__init__()
            self.define_slot("in", self.handle)

        def handle(self, is_bad: bool) -> None:
            self.state.update(cursor=7, at=1.5, name="x", done=False, last=None)
            if is_bad:
                self.state["bad"] = copy.copy(value)

    worker = Worker(Keeping(), is_local=place == "thread")
    worker.run(is_bad=False)
    with pytest.raises(ValueEncodingError, match=r"keeps None, bool, int, float and str alone") as caught:
        worker.run(is_bad=True)
    assert caught.value.path == "state['bad']"
    assert worker.state == {"cursor": 7, "at": 1.5, "name": "x", "done": False, "last": None}


def test_a_state_that_is_external_begins_with_scalars_alone() -> None:
    routine = of_policy("external")
    routine.state = {"sum": [0]}
    with pytest.raises(ValueEncodingError, match=r"^state\['sum'\]"):
        Worker(routine)


@given(
    policy=st.sampled_from(ON_BOTH),
    deeds=st.lists(
        st.tuples(st.sampled_from(["run", "fail", "steps", "failing steps", "boot", "store"]), st.integers(-5, 5))
    ),
)
def test_a_thread_and_a_process_do_the_same(policy: str, deeds: list[tuple[str, int]]) -> None:
    workers = [worker_of(policy, place) for place in ("thread", "process")]
    for deed, n in deeds:
        for worker in workers:
            match deed:
                case "run":
                    worker.run(n=n)
                case "fail":
                    fail(worker, n=n)
                case "steps":
                    worker.run(edge=1, ns=[n, 1])
                case "failing steps":
                    fail(worker, edge=1, ns=[n, 1])
                case "boot":
                    worker.boot()
                case _:
                    stored = to_stored(worker.committed)
                    worker.committed = from_stored(stored, policy, by_reference=worker.is_local)
                    worker.boot()
        assert workers[0].state == workers[1].state
        assert workers[0].emitted == workers[1].emitted
        assert to_stored(workers[0].committed) == to_stored(workers[1].committed)


@pytest.mark.parametrize(("place", "policy"), [*PLACES, ("thread", "none"), ("process", "none")])
def test_a_state_that_was_written_down_goes_on_where_it_was(place: str, policy: str) -> None:
    worker = worker_of(policy, place, values=STRICT)
    if policy != "none":
        worker.run(n=3)
    worker.committed["\0slot:in"] = [{"n": 1}, STRICT.encode({"n": 2}, "")]
    stored = to_stored(worker.committed, STRICT)

    assert stored["\0slot:in"] == [STRICT.encode({"n": 1}, ""), STRICT.encode({"n": 2}, "")]
    assert not any(isinstance(value, Held) for value in stored.values())
    for by_reference in {place == "thread", policy == "in_place"}:
        again = from_stored(stored, policy, STRICT, by_reference=by_reference)
        assert again["\0slot:in"] == stored["\0slot:in"]
        assert again["\0slot:in"] is not stored["\0slot:in"]
        told = decode_state(again, policy=policy, codec=STRICT, at_rest=True)
        assert told == worker.state == (None if policy == "none" else {"sum": 3})


def test_a_value_that_was_written_down_goes_on_at_another_place() -> None:
    worker = worker_of("value", "thread")
    worker.run(n=3)
    stored = to_stored(worker.committed)
    other = worker_of("value", "process")
    other.committed = from_stored(stored, "value")
    other.boot()
    other.run(n=4)
    assert other.state == {"sum": 7}
    assert from_stored(to_stored(other.committed), "value", by_reference=True)[""].value == {"sum": 7}


def test_what_is_held_by_reference_and_cannot_be_written_down_is_told_with_its_path() -> None:
    with pytest.raises(ValueEncodingError, match=r"^state\['a'\]"):
        to_stored({"": Held({"a": (n for n in ())})}, PICKLED)
