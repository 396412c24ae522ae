"""The service: boots, failures, its way to a process, and that both codecs mean the same."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from routilux.context import current_turn
from routilux.messages import Message
from routilux.model.routine import Routine
from routilux.turn.codec import LocalCodec
from routilux.turn.service import RoutineService
from routilux.turn.tables import Incoming
from supervisors.errors import InternalError
from supervisors.wire.values import decode_code, encode_code
from tests.turn.worker import Worker, read


class Counter(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.define_slot("in", self.count)
        self.define_event("out")

    def count(self, n: int) -> None:
        self.state["sum"] = self.state.get("sum", 0) + n
        if n < 0:
            raise ValueError(n)
        self.emit("out", sum=self.state["sum"])


class Totals(msgspec.Struct):
    sums: dict[str, int] = {}


class Totaller(Routine):
    state_type = Totals

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("in", self.add)

    def add(self, key: str) -> None:
        self.state.sums[key] = self.state.sums.get(key, 0) + 1
        if key == "bad":
            raise ValueError(key)


class Hooked(type):
    def __instancecheck__(cls, instance: object) -> bool:
        raise AssertionError("code of the program, while its failure is decided")

    __subclasscheck__ = __instancecheck__


class Odd(Exception, metaclass=Hooked):
    pass


class Odder(Odd):
    pass


@pytest.mark.parametrize(("error", "is_retryable"), [(Odd(), True), (Odder(), True), (ValueError(), False)])
def test_what_is_retryable_is_decided_without_code_of_the_program(error: Exception, is_retryable: bool) -> None:
    assert Worker(Counter(), is_local=True, retryable=(Odd,)).describe(error).is_retryable is is_retryable


@pytest.mark.parametrize("is_local", [True, False])
def test_an_object_state_is_tracked_and_rolled_back(is_local: bool) -> None:
    worker = Worker(Totaller(), is_local=is_local)
    worker.run(key="a")
    with pytest.raises(ValueError):
        worker.run(key="bad")
    worker.boot()
    worker.run(key="a")

    assert worker.state == Totals({"a": 2})


@pytest.mark.parametrize("is_local", [True, False])
def test_a_new_incarnation_starts_with_what_is_committed(is_local: bool) -> None:
    worker = Worker(Counter(), is_local=is_local)
    worker.run(n=1)
    worker.begin(n=5).advance()
    worker.boot()
    worker.run(n=2)

    assert worker.state == {"sum": 3}
    assert worker.emitted == [(0, {"sum": 1}), (0, {"sum": 3})]


def test_a_turn_that_nobody_settled_leaves_nothing_to_the_next() -> None:
    worker = Worker(Counter())
    worker.begin(n=5).advance()
    worker.run(n=2)

    assert (worker.state, worker.emitted) == ({"sum": 2}, [(0, {"sum": 2})])


def test_a_generator_that_nobody_settled_is_closed_before_the_next_turn() -> None:
    closed: list[object] = []

    class Waiting(Counter):
        def count(self, n: int) -> Any:
            try:
                yield
            finally:
                closed.append((n, current_turn()))

    worker = Worker(Waiting())
    first = worker.begin(n=1)
    first.advance()
    worker.begin(n=2)

    assert closed == [(1, None)]


def test_a_failed_turn_lets_go_at_once_of_what_it_touched() -> None:
    worker = Worker(Counter())
    with pytest.raises(ValueError):
        worker.begin(n=-5).advance()

    assert worker.service._incarnation is not None
    assert worker.service._incarnation.state.value == {}


def test_settling_without_a_turn_does_nothing() -> None:
    worker = Worker(Counter())

    worker.service.settle(accepted=True)
    worker.service.settle(accepted=False)


def test_a_message_before_the_boot_is_impossible() -> None:
    service = RoutineService(Counter(), "r", {}, (), job_id="j", atomic=False, retryable=(), codec=LocalCodec())

    with pytest.raises(InternalError, match="before it was booted"):
        service.begin(Message(0, 1, {}, key=1), Worker(Counter()))


def test_a_message_on_an_unknown_connection_is_impossible() -> None:
    with pytest.raises(InternalError, match="connection 7 does not end at routine 'r'"):
        Worker(Counter()).begin(edge=7)


def test_a_slot_that_does_not_exist_is_impossible() -> None:
    with pytest.raises(InternalError, match="has no slot 'x'"):
        Worker(Counter(), incoming={0: Incoming("x", ())})


def test_a_routine_without_an_entry_boots_all_the_same() -> None:
    worker = Worker(Counter(), incoming={0: Incoming("in", ()), 1: Incoming("", ())})
    worker.run(n=1)

    assert worker.state == {"sum": 1}


def test_it_travels_to_a_process_without_what_it_has_booted() -> None:
    worker = Worker(Counter(), is_local=False)
    worker.run(n=1)

    service = decode_code(encode_code(worker.service, "service"))

    assert service._incarnation is None
    assert not hasattr(service, "_turns")
    worker.service = service
    worker.boot()
    worker.run(n=2)
    assert worker.state == {"sum": 3}


@pytest.mark.parametrize("is_local", [True, False])
@pytest.mark.parametrize(
    ("retryable", "is_retryable"), [((ValueError,), True), ((KeyError, OSError), False), ((), False)]
)
def test_a_failure_is_described(is_local: bool, retryable: Any, is_retryable: bool) -> None:
    worker = Worker(Counter(), is_local=is_local, retryable=retryable)
    with pytest.raises(ValueError) as caught:
        worker.run(n=-3)

    failure = worker.describe(caught.value)

    assert (str(failure.error), failure.is_retryable) == ("ValueError: -3", is_retryable)
    assert isinstance(failure.exception, ValueError if is_local else bytes)


class ReadOnlyError(Exception):
    """Lets nothing be set, a traceback least of all."""

    def __setattr__(self, name: str, value: object) -> None:
        raise SystemExit("read only")

    __traceback__ = property(__setattr__)  # type: ignore[assignment]


@pytest.mark.parametrize("is_local", [True, False])
def test_an_error_that_lets_nothing_be_set_is_described(is_local: bool) -> None:
    class Refusing(Counter):
        def count(self, n: int) -> None:
            raise ReadOnlyError(n)

    worker = Worker(Refusing(), is_local=is_local)
    try:
        worker.run(n=1)
    except ReadOnlyError as error:
        failure = worker.describe(error)

    assert failure.error.text == "1"
    assert "in count\n" in failure.error.traceback


def test_a_traceback_begins_at_the_user_s_code() -> None:
    worker = Worker(Counter())
    execution = worker.begin(n=-3)
    try:
        execution.advance()
    except ValueError as error:
        error.__traceback__ = error.__traceback__.tb_next if error.__traceback__ else None  # this test's own frame
        text = worker.describe(error).error.traceback

    first = text.splitlines()[1]
    assert first.endswith("in count")
    assert "routilux/turn" not in text


def test_an_error_without_a_traceback_is_described_too() -> None:
    assert str(Worker(Counter()).describe(KeyError("x")).error) == "KeyError: 'x'"


# Both codecs.


class Anything(Routine):
    """Does what it is told, in a plain handler or a generator, with a slot for each way of merging."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("plain", self.plain)
        self.define_slot("steps", self.steps)
        self.define_slot("append", self.gathered, "append")
        self.define_slot(
            "merge", self.gathered, lambda old, new: {"do": old["do"] + new["do"], "n": old["n"] + new["n"]}
        )
        self.define_event("out")
        self.define_event("seen")

    def plain(self, do: list[Any], n: int) -> None:
        for action, key, value in do:
            self.act(action, key, value)
        self.emit("seen", n=n, attempt=self.attempt, state=dict(self.state))

    def steps(self, do: list[Any], n: int) -> Any:
        for action, key, value in do:
            self.act(action, key, value)
            yield
        self.emit("seen", n=n)

    def gathered(self, do: list[Any], n: Any) -> None:
        self.emit("seen", do=do, n=n)
        flat = [item for part in do for item in (part if part and isinstance(part[0], list) else [part])]
        for part in flat:
            if part and part[0] == "fail":
                raise ValueError(part[1])

    def act(self, action: str, key: str, value: Any) -> None:
        match action:
            case "set":
                self.state[key] = copy.deepcopy(value)
            case "change":
                self.state.setdefault(key, {"l": []})
                if isinstance(self.state[key], dict):
                    self.state[key].setdefault("l", []).append(value)
            case "delete":
                self.state.pop(key, None)
            case "replace":
                self.state = {key: copy.deepcopy(value)}
            case "emit":
                self.emit("out", key=key, value=value)
            case "burst":
                for number in range(1_100):
                    self.emit("out", number=number)
            case "fail":
                raise ValueError(key)


contents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("lm"), inner, max_size=2),
    max_leaves=3,
)
actions = st.lists(
    st.tuples(
        st.sampled_from(["set", "change", "delete", "replace", "emit", "burst", "fail"]),
        st.sampled_from("abc"),
        contents,
    ).map(list),
    max_size=4,
)
messages = st.lists(st.tuples(st.integers(0, 3), actions, st.booleans(), st.booleans()), max_size=8)


@settings(max_examples=60)
@given(messages)
def test_a_thread_and_a_process_do_the_same(sent: list[tuple[int, list[Any], bool, bool]]) -> None:
    incoming = {edge: Incoming(slot, ()) for edge, slot in enumerate(["plain", "steps", "append", "merge"])}
    both = [Worker(Anything(), is_local=is_local, incoming=incoming) for is_local in (True, False)]

    for number, (edge, do, is_tried_again, is_booted) in enumerate(sent):
        outcomes = [_outcome(worker, edge, do, number, is_tried_again=is_tried_again) for worker in both]
        assert outcomes[0] == outcomes[1]
        assert both[0].state == both[1].state
        assert both[0].emitted == both[1].emitted
        assert [_shape(part) for part in both[0].parts] == [_shape(part) for part in both[1].parts]
        if is_booted:
            both[1].boot()
    assert current_turn() is None


def _outcome(worker: Worker, edge: int, do: list[Any], number: int, *, is_tried_again: bool) -> tuple[str, ...]:
    errors: list[str] = []
    # A payload is immutable by contract, and this handler changes what it puts into its state.
    worker.begin(edge=edge, do=copy.deepcopy(do), n=number)
    for _ in range(2):
        try:
            worker.finish()
        except (ValueError, AttributeError) as error:
            failure = worker.describe(error)
            errors.append(f"{failure.error} {failure.is_retryable}")
        else:
            return tuple(errors)
        if not is_tried_again:
            break
        assert worker.message is not None
        worker.message = replace(worker.message, failures=worker.message.failures + 1)
        worker.begin_again()
    return tuple(errors)


def _shape(part: Any) -> tuple[Any, ...]:
    return [read(emission) for emission in part.to_emissions()], part.state is None
