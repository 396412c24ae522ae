"""A routine's numbers are part of its turns: committed with them, forgotten with them, whatever its state is."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routilux import Routine
from routilux.errors import OnceError, StatError
from routilux.messages import StateOp, TurnPart, TurnResult
from routilux.turn.codec import WireCodec, decode_part, encode_boot
from routilux.turn.layers import Versions
from routilux.turn.state import apply_ops, from_stored, to_stored
from routilux.turn.stats import TurnStats, add_up, stat_key
from supervisors.errors import FrameError
from tests.turn.wires import read_result, send_result
from tests.turn.worker import Worker

PLACES = pytest.mark.parametrize("is_local", [True, False], ids=["thread", "process"])


class Counts(msgspec.Struct):
    n: int = 0


class Trying(Routine):
    """Does what a test says, as its handler."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("in", self.run)
        self.define_event("out")

    def run(self, deed: Callable[[Trying], Any]) -> Any:
        return deed(self)


class OfAStruct(Trying):
    state_type = Counts


class OfOneValue(Trying):
    state_policy = "value"


class OfScalars(Trying):
    state_policy = "external"


class Stateless(Trying):
    state_policy = "none"


class InPlace(Trying):
    state_policy = "in_place"


KINDS = [Trying, OfAStruct, OfOneValue, OfScalars, Stateless]
PLACED = pytest.mark.parametrize(
    ("kind", "is_local"), [*((kind, place) for kind in KINDS for place in (True, False)), (InPlace, True)]
)


def seen(worker: Worker) -> dict[str, Any]:
    return add_up([worker.committed])


@PLACED
def test_they_are_kept_beside_a_state_of_any_kind(kind: type[Trying], is_local: bool) -> None:
    worker = Worker(kind(), is_local=is_local)
    before = worker.state

    def first(it: Trying) -> None:
        it.set_stat("a", 5)
        it.increment_stat("a", 2.5)
        it.increment_stat("b")
        assert it.stats() == {"a": 7.5, "b": 1}
        assert (it.get_stat("a"), it.get_stat("c"), it.get_stat("c", 0)) == (7.5, None, 0)

    def second(it: Trying) -> None:
        assert it.stats() == {"a": 7.5, "b": 1}
        it.increment_stat("b", -3)

    worker.run(deed=first)
    worker.run(deed=second)
    assert seen(worker) == {"a": 7.5, "b": -2}
    assert worker.state == before
    worker.boot()
    worker.run(deed=lambda it: it.increment_stat("b"))
    assert seen(worker) == {"a": 7.5, "b": -1}


@PLACED
def test_a_turn_that_fails_leaves_no_number_and_its_next_try_counts_once(kind: type[Trying], is_local: bool) -> None:
    worker = Worker(kind(), is_local=is_local)
    worker.run(deed=lambda it: it.set_stat("n", 1))

    def failing(it: Trying) -> None:
        assert it.stats() == {"n": 1}
        it.increment_stat("n", 10)
        it.set_stat("other", 1)
        if it.attempt == 1:
            raise ValueError("first")

    with pytest.raises(ValueError, match="first"):
        worker.run(deed=failing)
    assert seen(worker) == {"n": 1}
    worker.message = msgspec.structs.replace(worker.message, failures=1)  # type: ignore[type-var]
    worker.begin_again()
    worker.finish()
    assert seen(worker) == {"n": 11, "other": 1}


@PLACES
def test_reset_forgets_all_and_what_comes_after_begins_anew(is_local: bool) -> None:
    worker = Worker(Trying(), is_local=is_local)

    def reset(it: Trying) -> None:
        it.increment_stat("new")
        it.reset_stats()
        assert it.stats() == {}
        assert it.get_stat("a", "none") == "none"
        it.increment_stat("b", 2)
        it.increment_stat("b", 2)

    def begin(it: Trying) -> None:
        it.set_stat("a", 1)
        it.set_stat("b", 1)

    worker.run(deed=begin)
    worker.run(deed=reset)
    assert seen(worker) == {"b": 4}


@PLACES
def test_a_generator_commits_them_at_each_yield(is_local: bool) -> None:
    worker = Worker(Trying(), is_local=is_local)

    def steps(it: Trying) -> Iterator[None]:
        it.increment_stat("n")
        yield
        assert it.stats() == {"n": 1}
        it.increment_stat("n")
        yield
        it.increment_stat("n", 100)
        raise ValueError("late")

    with pytest.raises(ValueError, match="late"):
        worker.run(deed=steps)
    assert seen(worker) == {"n": 2}


@PLACES
def test_the_state_shows_nothing_of_them(is_local: bool) -> None:
    worker = Worker(Trying(), is_local=is_local)

    def look(it: Trying) -> None:
        it.increment_stat("n")
        it.state["k"] = 1
        it.increment_stat("more")
        assert (len(it.state), dict(it.state), list(reversed(it.state))) == (1, {"k": 1}, ["k"])
        it.state.clear()
        it.state["k"] = 2

    worker.run(deed=look)
    worker.run(deed=look)
    assert worker.state == {"k": 2}
    worker.boot()
    worker.run(deed=look)
    assert seen(worker) == {"n": 3, "more": 3}


@PLACES
def test_a_turn_that_touches_none_commits_none(is_local: bool) -> None:
    routine = Trying()
    routine.set_stat("n", 1)
    worker = Worker(routine, is_local=is_local)
    worker.run(deed=lambda it: it.emit("out"))
    assert worker.execution is not None
    assert not worker.execution.touched


@PLACES
def test_each_worker_begins_with_those_of_the_object(is_local: bool) -> None:
    routine = Trying()
    routine.set_stat("n", 1)
    worker = Worker(routine, is_local=is_local)
    worker.run(deed=lambda it: it.increment_stat("n"))
    assert seen(worker) == {"n": 2}
    assert routine.stats() == {"n": 1}


@PLACES
def test_within_once_they_are_read_and_not_changed(is_local: bool) -> None:
    worker = Worker(Trying(), is_local=is_local)

    def deed(it: Trying) -> None:
        it.set_stat("n", 3)
        assert it.once("read", lambda: (it.get_stat("n"), it.stats())) == (3, {"n": 3})
        for number, change in enumerate((lambda: it.set_stat("n", 1), lambda: it.increment_stat("n"), it.reset_stats)):
            with pytest.raises(OnceError, match=r"cannot .* the stat"):
                it.once(f"change {number}", change)

    worker.run(deed=deed)
    assert seen(worker) == {"n": 3}


def test_a_bad_number_fails_at_its_own_line_and_the_handler_may_go_on() -> None:
    worker = Worker(Trying())

    def deed(it: Trying) -> None:
        it.increment_stat("n")
        with pytest.raises(StatError):
            it.increment_stat("n", "1")  # type: ignore[arg-type]  # that is the point
        it.increment_stat("n")

    worker.run(deed=deed)
    assert seen(worker) == {"n": 2}


# ---- What is committed


def test_an_increment_is_added_to_what_is_committed_when_it_is_applied() -> None:
    committed: dict[str, Any] = {}
    ops = [
        StateOp("add", stat_key("n"), 2),
        StateOp("add", stat_key("n"), 0.5),
        StateOp("add", stat_key("m"), 2**63 - 1),
    ]
    apply_ops(committed, ops)
    apply_ops(committed, [StateOp("add", stat_key("m"), 1)])
    assert add_up([committed, committed]) == {"n": 5.0, "m": float(2**64)}


def test_increments_of_turns_that_run_at_once_are_all_there_and_of_what_they_set_the_last() -> None:
    versions = Versions({stat_key("n"): 10, stat_key("old"): 1})
    first, second = (TurnStats(versions.newest, {stat_key("n"): None, stat_key("old"): None}) for _ in range(2))
    first.add("n", 1)
    first.set("set", 1)
    second.add("n", 2)
    second.add("new", 2)
    second.set("set", 2)
    first.add("new", 1)
    assert (first.get("n", 0), second.get("n", 0)) == (11, 12)
    versions.change_copy(second.prepare())
    versions.change_copy(first.prepare())
    assert add_up([versions.newest]) == {"n": 13, "old": 1, "new": 3, "set": 1}
    assert (first.get("n", 0), second.get("new", 0)) == (11, 2)


def test_a_boot_that_holds_what_is_not_native_keeps_numbers_as_they_are() -> None:
    committed = {"huge": 2**70, stat_key("n"): 3}
    booted = WireCodec().boot(encode_boot(committed))
    assert booted[stat_key("n")] == 3
    assert isinstance(booted["huge"], bytes)
    ops = [StateOp("set", "huge", 2**70), StateOp("add", stat_key("n"), 3)]
    assert send_result(WireCodec().result(TurnResult([], ops))).state[1] == StateOp("add", stat_key("n"), 3)


def test_they_are_stored_as_they_are() -> None:
    committed = {stat_key("n"): 3, stat_key("f"): 0.5}
    assert to_stored(committed) == committed == from_stored(committed, "none")


@pytest.mark.parametrize(
    "op",
    [
        StateOp("add", stat_key("n"), "1"),
        StateOp("add", stat_key("n"), True),
        StateOp("add", stat_key("n"), b"1"),
        StateOp("set", stat_key("n"), None),
        StateOp("append", stat_key("n"), b"1"),
        StateOp("add", "n", 1),
        StateOp("add", "\0slot:in", 1),
    ],
)
def test_an_operation_that_no_worker_makes_is_no_result(op: StateOp) -> None:
    body = msgspec.msgpack.encode(TurnResult([], [op]))
    with pytest.raises(FrameError, match="is no result: the value of"):
        read_result(body)
    with pytest.raises(FrameError, match="is no result: the value of"):
        decode_part(msgspec.msgpack.encode(TurnPart([], [op])))


# ---- Against a naive model

NAMES = st.sampled_from(["a", "b", "c"])
DEEDS = st.one_of(
    st.tuples(st.just("set"), NAMES, st.integers(-9, 9) | st.sampled_from([0.5, -2.25])),
    st.tuples(st.just("add"), NAMES, st.integers(-9, 9) | st.sampled_from([0.5, -2.25])),
    st.tuples(st.just("reset"), st.just(""), st.just(0)),
    st.tuples(st.sampled_from(["fail", "step", "state", "boot"]), st.just(""), st.just(0)),
)


class Playing(Routine):
    """Plays what hypothesis drew, beside a model that is copied for each turn."""

    def __init__(self) -> None:
        super().__init__()
        self.model: dict[str, Any] = {}
        self.define_slot("in", self.play)

    def play(self, deeds: list[Any]) -> Iterator[None]:
        own = dict(self.model)
        for kind, name, value in deeds:
            match kind:
                case "set":
                    self.set_stat(name, value)
                    own[name] = value
                case "add":
                    self.increment_stat(name, value)
                    own[name] = own.get(name, 0) + value
                case "reset":
                    self.reset_stats()
                    own = {}
                case "state":
                    self.state["n"] = self.state.get("n", 0) + 1
                    assert len(self.state) == 1
                case "fail":
                    raise ValueError
                case "step":
                    yield
                    self.model = dict(own)
            assert self.stats() == own
        self.model = own


@PLACES
@given(turns=st.lists(st.lists(DEEDS, max_size=8), max_size=8))
def test_they_are_what_a_dict_would_be_that_is_copied_for_each_turn(is_local: bool, turns: list[list[Any]]) -> None:
    routine = Playing()
    worker = Worker(routine, is_local=is_local)
    for deeds in turns:
        if ("boot", "", 0) in deeds:
            worker.boot()
        with contextlib.suppress(ValueError):
            worker.run(deeds=deeds)
        assert seen(worker) == routine.model
        assert {type(value) for value in seen(worker).values()} <= {int, float}
