from __future__ import annotations

import dataclasses
import functools
import threading
from typing import Any

import msgspec
import pytest

from routilux.errors import (
    DuplicateEventError,
    DuplicateSlotError,
    EmitOutsideTurnError,
    EntryError,
    HandlerError,
    InvalidNameError,
    NotInitializedError,
    OptionError,
    OutsideTurnError,
    StateError,
    UnknownEventError,
    UnknownSlotError,
)
from routilux.model.error_handler import ErrorHandler, ErrorStrategy
from routilux.model.routine import Routine
from supervisors.wire.values import decode_code, encode_code
from tests.model.turns import turn_of


class Parse(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.define_slot("source", handler=self.parse)
        self.define_event("parsed", ["path", "functions"])

    def parse(self, path: Any, text: Any) -> Any:
        return path, text


class Counts(msgspec.Struct):
    files: int = 0


@dataclasses.dataclass
class Totals:
    files: int = 0


class Counting(Routine):
    state_type = Counts


# -- Definition


def test_slots_and_events_are_listed_in_their_order_and_cannot_be_changed_from_outside() -> None:
    routine = Parse()
    routine.define_event("failed")
    assert list(routine.slots) == ["source"]
    assert list(routine.events) == ["parsed", "failed"]
    assert routine.get_slot("source") is routine.slots["source"]
    assert routine.get_event("parsed").params == ("path", "functions")
    with pytest.raises(TypeError):
        routine.slots["other"] = routine.slots["source"]  # type: ignore[index]  # that is the point


def test_what_is_asked_for_and_missing_names_what_exists() -> None:
    with pytest.raises(UnknownSlotError, match=r"routine 'Parse' has no slot 'sorce'.*did you mean 'source'"):
        Parse().get_slot("sorce")
    with pytest.raises(UnknownEventError, match="routine 'Parse' has no event 'parse'; its events are 'parsed'"):
        Parse().get_event("parse")


def test_a_name_is_defined_once() -> None:
    routine = Parse()
    with pytest.raises(DuplicateSlotError, match=r"Parse has a slot 'source' already; its slots are \['source'\]"):
        routine.define_slot("source", handler=routine.parse)
    with pytest.raises(DuplicateEventError, match=r"Parse has an event 'parsed' already; its events are \['parsed'\]"):
        routine.define_event("parsed")


def test_slots_and_events_need_names_and_parameters_a_list() -> None:
    routine = Parse()
    with pytest.raises(InvalidNameError):
        routine.define_slot("", handler=routine.parse)
    with pytest.raises(InvalidNameError, match="parameters of event 'x' are a list"):
        routine.define_event("x", "path")
    assert list(routine.events) == ["parsed"]


class Methods(Routine):
    helper = 7

    def on_source(self) -> str:
        return "on_source"

    def source(self) -> str:
        return "source"

    def other(self) -> str:
        return "other"


def test_without_a_handler_the_method_of_that_name_is_taken_first_with_on() -> None:
    routine = Methods()
    assert routine.define_slot("source").handler() == "on_source"
    assert routine.define_slot("other").handler() == "other"


@pytest.mark.parametrize("name", ["missing", "helper", "state", "emit", "attempt", "a b"])
def test_without_a_handler_and_such_a_method_the_slot_is_refused(name: str) -> None:
    with pytest.raises(HandlerError, match=f"slot '{name}' of Methods has no handler.*'on_{name}' or '{name}'"):
        Methods().define_slot(name)


class Empty:
    """Something to call that is false."""

    def __len__(self) -> int:
        return 0

    def __call__(self, a: Any) -> Any:
        return a


def test_a_handler_that_is_false_is_a_handler() -> None:
    handler = Empty()
    assert Methods().define_slot("source", handler).handler is handler


class Forgetful(Routine):
    def __init__(self) -> None:
        pass

    def handle(self, a: Any) -> None: ...


@pytest.mark.parametrize(
    "use",
    [
        lambda routine: routine.define_slot("in", routine.handle),
        lambda routine: routine.define_event("out"),
        lambda routine: routine.slots,
        lambda routine: routine.entry_slot(),
        lambda routine: routine.state,
        lambda routine: setattr(routine, "state", {}),
        lambda routine: routine.set_config(a=1),
        lambda routine: routine.get_config("a"),
    ],
    ids=["define_slot", "define_event", "slots", "entry_slot", "state", "set state", "set_config", "get_config"],
)
def test_a_class_that_forgot_its_base_is_told_so(use: Any) -> None:
    with pytest.raises(NotInitializedError, match=r"Forgetful.__init__ must call super\(\).__init__\(\)"):
        use(Forgetful())


class OwnNames(Routine):
    """Has attributes one would think of."""

    def __init__(self) -> None:
        super().__init__()
        self._slots = self._events = self._config = self._state = self._initial_state = None
        self.define_slot("in", lambda a: a)
        self.define_event("out")
        self.set_config(a=1)


def test_attributes_of_a_subclass_do_not_get_in_the_way() -> None:
    routine = OwnNames()
    assert (list(routine.slots), list(routine.events), routine.get_config()) == (["in"], ["out"], {"a": 1})
    assert routine.state == {}


# -- Entry


class Callable(Routine):
    def __call__(self, root: str = "src") -> str:
        return root


class CallableWithArgs(Routine):
    def __call__(self, *args: Any) -> None: ...


def test_the_entry_is_the_slot_named_trigger_before_call() -> None:
    routine = Callable()
    assert routine.entry_slot().handler(root="x") == "x"
    routine.define_slot("trigger", handler=lambda root: f"triggered {root}")
    assert routine.entry_slot() is routine.slots["trigger"]


def test_a_routine_with_neither_is_no_entry_and_its_slots_are_named() -> None:
    with pytest.raises(EntryError, match=r"Parse cannot be the entry.*\['source'\]"):
        Parse().entry_slot()


def test_a_call_that_cannot_take_a_message_is_no_entry() -> None:
    with pytest.raises(EntryError, match=r"CallableWithArgs cannot be the entry:.*'\*args'"):
        CallableWithArgs().entry_slot()


@pytest.mark.parametrize(
    ("name", "expected"), [("Parse", "parse"), ("_Hidden", "hidden"), ("Ünique", "nique"), ("_", "routine")]
)
def test_the_default_id_is_the_class_in_lower_case(name: str, expected: str) -> None:
    assert type(name, (Routine,), {})().default_id == expected


# -- Inside a handler


def test_emit_hands_the_data_to_the_turn() -> None:
    routine = Parse()
    with turn_of(routine) as turn:
        routine.emit("parsed", path="a", functions=3)
    assert turn.emitted == [("parsed", {"path": "a", "functions": 3})]


def test_parameters_may_be_called_like_those_of_emit() -> None:
    routine = Parse()
    with turn_of(routine) as turn:
        routine.emit("parsed", event=1, self=2)
    assert turn.emitted == [("parsed", {"event": 1, "self": 2})]


def test_emit_outside_of_any_turn_is_refused() -> None:
    with pytest.raises(EmitOutsideTurnError, match=r"Parse.emit\('parsed'\) works inside a handler.*no turn runs"):
        Parse().emit("parsed", path=1)


def test_emit_in_the_turn_of_another_routine_is_refused_and_that_one_named() -> None:
    with turn_of(Parse()) as turn, pytest.raises(EmitOutsideTurnError, match="here a turn of routine 'it' runs"):
        Parse().emit("parsed")
    assert turn.emitted == []


def test_emit_from_another_thread_is_refused() -> None:
    routine, errors = Parse(), []

    def emit() -> None:
        try:
            routine.emit("parsed")
        except EmitOutsideTurnError as error:
            errors.append(error)

    with turn_of(routine) as turn:
        thread = threading.Thread(target=emit)
        thread.start()
        thread.join()
    assert len(errors) == 1
    assert turn.emitted == []


def test_the_message_is_known_inside_a_turn_only() -> None:
    routine = Parse()
    with turn_of(routine):
        assert (routine.message_id, routine.attempt, routine.redelivered) == ("0-1", 2, True)
    for name in ("message_id", "attempt", "redelivered"):
        with pytest.raises(OutsideTurnError, match=f"Parse.{name} exists only while a handler"):
            getattr(routine, name)


# -- State


def test_the_state_in_a_turn_is_the_turns_and_elsewhere_what_jobs_begin_with() -> None:
    routine = Parse()
    routine.state["files"] = 1
    with turn_of(routine) as turn:
        assert routine.state is turn.state
        routine.state = {"files": 9}
        assert turn.state == {"files": 9}
    assert routine.state == {"files": 1}


def test_the_turn_of_another_routine_does_not_change_the_state() -> None:
    routine = Parse()
    with turn_of(Parse()) as turn:
        routine.state = {"files": 1}
        assert turn.state == {}
    assert routine.state == {"files": 1}


def test_what_is_done_once_is_the_turns() -> None:
    routine = Parse()
    with turn_of(routine) as turn:
        assert routine.once("a", lambda: 3) == 3
        assert turn.done == {"a": 3}
    with pytest.raises(OutsideTurnError, match=r"Parse\.once exists only while"):
        routine.once("a", lambda: 3)


def test_a_declared_state_begins_with_an_object_of_its_class() -> None:
    routine = Counting()
    assert routine.state == Counts(0)
    routine.state = Counts(3)
    assert routine.state.files == 3
    assert Counting().state == Counts(0)


class CountingByDataclass(Routine):
    state_type = Totals


@pytest.mark.parametrize(
    ("routine", "value", "expected"),
    [
        (Parse(), [1], "Parse: expected dict, got list"),
        (Parse(), Counts(), "Parse: expected dict, got Counts"),
        (Counting(), {}, "Counting: expected Counts, got dict"),
        (CountingByDataclass(), Counts(), "CountingByDataclass: expected Totals, got Counts"),
    ],
    ids=["list", "object", "dict", "another class"],
)
def test_a_state_of_another_kind_is_refused(routine: Routine, value: Any, expected: str) -> None:
    with pytest.raises(StateError, match=expected):
        routine.state = value


# -- Settings


def test_configuration_is_read_by_key_or_as_a_copy() -> None:
    routine = Parse()
    routine.set_config(depth=3, self="x")
    assert routine.get_config("depth") == 3
    assert routine.get_config("other") is None
    assert routine.get_config("other", 7) == 7
    routine.get_config()["depth"] = 4
    assert routine.get_config() == {"depth": 3, "self": "x"}


def test_optional_and_critical_are_error_handlers() -> None:
    routine = Parse()
    assert routine.error_handler is None
    routine.set_as_optional()
    assert routine.error_handler is not None
    assert routine.error_handler.strategy is ErrorStrategy.CONTINUE
    routine.set_as_optional("skip")
    assert routine.error_handler.strategy is ErrorStrategy.SKIP
    routine.set_as_critical(max_retries=5, retry_delay=0.1, retry_backoff=3.0)
    policy = routine.error_handler.policy()
    assert (policy.strategy, policy.max_retries, policy.then) == (ErrorStrategy.RETRY, 5, ErrorStrategy.STOP)
    assert (policy.backoff.delay, policy.backoff.factor) == (0.1, 3.0)
    assert routine.error_handler.is_critical


def test_only_an_error_handler_can_be_set_as_one() -> None:
    routine, handler = Parse(), ErrorHandler("retry")
    routine.set_error_handler(handler)
    assert routine.error_handler is handler
    with pytest.raises(OptionError, match=r"Parse: expected error_handler .* write ErrorHandler\('retry'\)"):
        routine.set_error_handler("retry")  # type: ignore[arg-type]  # that is the point
    routine.set_error_handler(None)
    assert routine.error_handler is None


# -- Travelling


class Traveller(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.define_slot("method", self.handle)
        self.define_slot("hidden", self.__hidden)
        self.define_slot("partial", functools.partial(self.handle, more=2))
        self.define_slot("function", lambda a, more: (self, a, more))
        self.define_slot("gathering", self.handle, merge_strategy=lambda old, new: {**old, **new})
        self.define_event("out", ["a"])
        self.set_config(depth=3)
        self.state["files"] = 1

    def handle(self, a: Any, more: Any = 1) -> Any:
        return self, a, more

    def __hidden(self, a: Any, more: Any) -> Any:
        return self, a, more


def test_a_routine_travels_with_all_it_has_and_its_handlers_are_its_own() -> None:
    routine = Traveller()
    copy = decode_code(encode_code(routine, "routine"))
    assert (copy.get_config(), copy.state) == ({"depth": 3}, {"files": 1})
    assert copy.get_event("out").params == ("a",)
    assert list(copy.slots) == list(routine.slots)
    assert copy.slots["gathering"].merge_strategy({"a": 1}, {"b": 2}) == {"a": 1, "b": 2}
    for name in ("method", "hidden", "function"):
        args, kwargs = copy.slots[name].binding.bind({"a": 1, "more": 2})
        assert copy.slots[name].handler(*args, **kwargs) == (copy, 1, 2)
    assert copy.slots["partial"].handler(1) == (copy, 1, 2)
