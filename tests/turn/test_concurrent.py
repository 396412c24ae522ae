"""Turns that run at once, against a naive model that copies everything: what each sees, and what its commit changes."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextvars import Context, copy_context
from typing import Any

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from routilux import Routine
from routilux.messages import Message
from routilux.turn.codec import LocalCodec
from routilux.turn.concurrent import ConcurrentService, ConcurrentTurn
from routilux.turn.state import apply_ops, begin_state, decode_state
from routilux.turn.tables import Incoming

KEYS = ["a", "b", "c", "d"]


class Next:
    """Waits for the next thing to do."""

    def __await__(self) -> Iterator[Any]:
        return (yield)


def shrunk(first: int) -> set[int]:
    """Give a set that is encoded in another order than it was, once it was read."""
    numbers = set(range(first, first + 200, 7))
    numbers.difference_update(range(first, first + 180, 7))
    return numbers


class Acting(Routine):
    """Does to its state what it is told to, one thing after the other; `steps` commits where it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("once", self.act)
        self.define_slot("steps", self.act_in_steps)

    async def act(self) -> None:
        while (action := await Next()) is not None:
            action(self.state)

    async def act_in_steps(self) -> AsyncIterator[None]:
        while (action := await Next()) is not None:
            if action == "step":
                yield
            else:
                action(self.state)


class Turnstile:
    """Keeps what is handed over at a stop; the test takes it."""

    def __init__(self) -> None:
        self.stopped: list[tuple[Any, Callable[[], None]]] = []

    async def stop(self, body: Any, weight: int, on_taken: Callable[[], None]) -> None:
        self.stopped.append((body, on_taken))
        await Next()


class Running:
    """One turn in progress, driven by hand."""

    def __init__(self, bench: Bench, slot: str) -> None:
        self.bench = bench
        self.port = Turnstile()
        self.is_over = False
        edge = ["once", "steps"].index(slot)
        self.turn: ConcurrentTurn = bench.service.begin(Message(edge, 1, {}, key=1), self.port)
        self._context: Context = copy_context()
        self._work: Coroutine[Any, Any, None] = self.turn.run()
        self._send(None)

    def do(self, action: Callable[[Any], Any]) -> None:
        self._send(action)

    def see(self) -> Any:
        """What the turn sees, without touching anything."""
        seen: list[Any] = []
        self.do(lambda state: seen.append((copy.deepcopy(dict(state._snapshot())), len(state), list(state))))
        return seen[0]

    def step(self) -> None:
        """Let it commit at a stop, and go on."""
        self._send("step")
        [(part, on_taken)] = self.port.stopped
        self.port.stopped.clear()
        apply_ops(self.bench.ledger, part.state)
        on_taken()
        self._send(None)

    def end(self) -> None:
        self._send(None)
        assert self.is_over

    def fail(self) -> None:
        def fail(_state: Any) -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            self._send(fail)

    def commit(self) -> None:
        apply_ops(self.bench.ledger, self.turn.result.state)
        self.turn.conclude(accepted=True)

    def refuse(self) -> None:
        self.turn.conclude(accepted=False)

    def close(self) -> None:
        self._context.run(self._work.close)

    def _send(self, value: Any) -> None:
        try:
            self._context.run(self._work.send, value)
        except StopIteration:
            self.is_over = True


class Bench:
    """A service that runs turns at once, and the ledger beside it."""

    def __init__(self, routine: Routine, state: Any) -> None:
        routine.state = state
        self.routine = routine
        self.ledger = begin_state(routine, by_reference=True)
        self.service = ConcurrentService(
            routine,
            "acting",
            {0: Incoming("once", ()), 1: Incoming("steps", ())},
            (),
            job_id="job",
            atomic=False,
            retryable=(Exception,),
            codec=LocalCodec(),
        )
        self.service.boot(0, self.ledger)

    def kept(self) -> Any:
        """What was committed, which the ledger and the service have to agree on."""
        ours, theirs = (
            decode_state(dict(committed), self.routine.state_type)
            for committed in (self.service._shared.committed, self.ledger)
        )
        assert ours == theirs
        return ours


class Model:
    """A turn as it would be with a copy of all."""

    def __init__(self, committed: dict[str, Any]) -> None:
        self.base = copy.deepcopy(committed)
        self.view = copy.deepcopy(committed)
        self.held: set[str] = set()
        """Keys whose mutable value it has in its hands."""

    def commit(self, committed: dict[str, Any]) -> None:
        for key in {*self.base, *self.view}:
            if key not in self.view:
                committed.pop(key, None)
            elif key not in self.base or self.base[key] != self.view[key]:
                committed[key] = copy.deepcopy(self.view[key])

    def step(self, committed: dict[str, Any]) -> None:
        """Commit, and go on with what is committed now, but for what it holds."""
        self.commit(committed)
        held = {key: self.view[key] for key in self.held if key in self.view}
        self.base = {**copy.deepcopy(committed), **copy.deepcopy(held)}
        self.view = {**copy.deepcopy(committed), **held}
        self.held = set(held)


def read(key: str) -> Callable[[Any], Any]:
    return lambda state: state.get(key)


def change(key: str, n: int) -> Callable[[Any], Any]:
    def do(state: Any) -> None:
        value = state.get(key)
        match value:
            case list():
                value.append(n)
            case set():
                value.add(n)
            case dict():
                value[f"{n}"] = n
            case _:
                state[key] = n

    return do


def put(key: str, value: Any) -> Callable[[Any], Any]:
    def do(state: Any) -> None:
        state[key] = copy.deepcopy(value)

    return do


def drop(key: str) -> Callable[[Any], Any]:
    return lambda state: state.pop(key, None)


keys = st.sampled_from(KEYS)
words = st.integers(0, 200).map(lambda n: f"word {n}")
values = st.one_of(
    st.integers(0, 3),
    words,
    st.lists(st.integers(0, 3), max_size=2),
    st.integers(0, 7).map(shrunk),
    st.dictionaries(words, st.integers(), max_size=2),
)
actions = st.one_of(
    st.tuples(st.just("read"), keys, keys.map(read)).map(lambda made: (made[0], made[1], read(made[1]))),
    st.tuples(keys, st.integers(0, 99)).map(lambda made: ("change", made[0], change(*made))),
    st.tuples(keys, values).map(lambda made: ("put", made[0], put(*made))),
    keys.map(lambda key: ("drop", key, drop(key))),
)


class ConcurrentMachine(RuleBasedStateMachine):
    """Turns begin, do things, commit at steps, end, fail, and are committed or refused in any order."""

    going = Bundle("going")
    ended = Bundle("ended")

    def __init__(self) -> None:
        super().__init__()
        begin: dict[str, Any] = {"a": [1], "b": shrunk(0), "c": {"d": 1}}
        self.model = copy.deepcopy(begin)
        self.bench = Bench(Acting(), begin)
        self.open: list[Running] = []

    @rule(target=going, slot=st.sampled_from(["once", "steps"]))
    def begin(self, slot: str) -> tuple[Running, Model, str]:
        running = Running(self.bench, slot)
        self.open.append(running)
        return running, Model(self.model), slot

    @rule(turn=going, action=actions)
    def act(self, turn: tuple[Running, Model, str], action: tuple[str, str, Callable[[Any], Any]]) -> None:
        (running, model, _), (_, key, do) = turn, action
        running.do(do)
        do(model.view)
        if not isinstance(model.view.get(key), int | str | None):
            model.held.add(key)
        view, size, names = running.see()
        assert view == model.view
        assert (size, sorted(names)) == (len(model.view), sorted(model.view))

    @rule(turn=going)
    def step(self, turn: tuple[Running, Model, str]) -> None:
        running, model, slot = turn
        if slot == "steps":
            running.step()
            model.step(self.model)
            view, size, _ = running.see()
            assert (view, size) == (model.view, len(model.view))

    @rule(target=ended, turn=consumes(going))
    def end(self, turn: tuple[Running, Model, str]) -> tuple[Running, Model]:
        turn[0].end()
        return turn[0], turn[1]

    @rule(turn=consumes(going))
    def fail(self, turn: tuple[Running, Model, str]) -> None:
        turn[0].fail()

    @rule(turn=consumes(ended))
    def commit(self, turn: tuple[Running, Model]) -> None:
        turn[0].commit()
        turn[1].commit(self.model)

    @rule(turn=consumes(ended))
    def refuse(self, turn: tuple[Running, Model]) -> None:
        turn[0].refuse()

    @invariant()
    def what_is_committed_is_what_the_model_has(self) -> None:
        assert self.bench.kept() == self.model

    def teardown(self) -> None:
        for running in self.open:
            running.close()


TestConcurrentMachine = ConcurrentMachine.TestCase


def commit_beside(state: Any, mine: Callable[[Any], Any], other: Callable[[Any], Any], routine: Routine) -> Any:
    """Let a turn do `mine` and commit after another, which has begun as it did, did `other`; what is kept then."""
    bench = Bench(routine, state)
    first, second = Running(bench, "once"), Running(bench, "once")
    first.do(mine)
    second.do(other)
    for turn in (second, first):
        turn.end()
        turn.commit()
    return bench.kept()


@pytest.mark.parametrize("value", [shrunk(0), {"in it": shrunk(0)}, [1]])
def test_what_a_turn_has_only_read_undoes_nothing(value: Any) -> None:
    changed = copy.deepcopy(value)
    change("it", 7)({"it": changed})
    assert commit_beside({"it": value}, read("it"), change("it", 7), Acting()) == {"it": changed}


class Kept(msgspec.Struct):
    numbers: set[int] = msgspec.field(default_factory=lambda: shrunk(0))


class Keeping(Acting):
    state_type = Kept


def test_an_object_that_was_only_read_undoes_nothing() -> None:
    kept = commit_beside(Kept(), lambda state: len(state.numbers), lambda state: state.numbers.add(-1), Keeping())
    assert -1 in kept.numbers


def test_a_turn_in_steps_that_only_holds_a_value_undoes_nothing_of_it() -> None:
    bench = Bench(Acting(), {"list": [1]})
    steps = Running(bench, "steps")
    steps.do(read("list"))
    steps.step()
    other = Running(bench, "once")
    other.do(change("list", 2))
    other.end()
    other.commit()
    steps.do(put("mine", 1))
    steps.step()
    steps.end()
    steps.commit()
    assert bench.kept() == {"list": [1, 2], "mine": 1}
