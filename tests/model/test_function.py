from __future__ import annotations

import functools
import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from routilux import routine
from routilux.errors import HandlerError, InvalidNameError, OptionError, ResultError
from routilux.model.error_handler import ErrorHandler
from routilux.model.function import FunctionRoutine
from supervisors.wire.values import decode_code, encode_code
from tests.model import functions
from tests.model.functions import Shelf, double, plain, wrapped
from tests.model.turns import turn_of

ROOT = Path(__file__).resolve().parents[2]


def run(made: FunctionRoutine, **data: Any) -> list[tuple[str, dict[str, Any]]]:
    """Handle one message as a turn does, and give what was emitted."""
    slot = made.entry_slot()
    args, kwargs = slot.binding.bind(data)
    with turn_of(made) as turn:
        steps = slot.handler(*args, **kwargs)
        for step in steps or ():
            assert step is None
    return turn.emitted


def returning(value: Any, **options: Any) -> FunctionRoutine:
    @routine(**options)
    def give() -> Any:
        return value

    return give


# -- The decorator


def test_without_arguments_it_has_the_slot_input_and_the_event_output() -> None:
    @routine
    def score(path: str, functions: int) -> Any:
        """Say how good it is."""
        return {"path": path, "score": functions}

    assert list(score.slots) == ["input"]
    assert {name: event.params for name, event in score.events.items()} == {"output": ()}
    assert score.entry_slot() is score.slots["input"]
    assert score.default_id == "score"
    assert run(score, path="a", functions=4) == [("output", {"path": "a", "score": 4})]


def test_it_looks_like_its_function_and_can_be_called_like_it() -> None:
    assert (double.__name__, double.__doc__, double(4)) == ("double", "Give twice of it.", 8)  # type: ignore[attr-defined]
    assert list(inspect.signature(double).parameters) == ["x"]
    assert double.function(4) == 8


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ({"report": ["path", "score"]}, {"report": ("path", "score")}),
        ({"good": ["x"], "bad": ()}, {"good": ("x",), "bad": ()}),
        (["good", "bad"], {"good": (), "bad": ()}),
        ([], {}),
        ({}, {}),
    ],
)
def test_events_come_with_parameters_or_without(events: Any, expected: Any) -> None:
    made = returning(None, events=events)
    assert {name: event.params for name, event in made.events.items()} == expected


@pytest.mark.parametrize("events", ["report", {"report": "path"}, {"": []}, ["a", "a"], 7])
def test_events_that_are_none_are_refused(events: Any) -> None:
    with pytest.raises(InvalidNameError):
        returning(None, events=events)


def test_name_merge_strategy_and_error_handler_are_kept() -> None:
    handler = ErrorHandler("retry")
    made = returning(None, name="giver", merge_strategy="append", error_handler=handler)
    assert made.default_id == "giver"
    assert made.slots["input"].merge_strategy == "append"
    assert made.error_handler is handler


@pytest.mark.parametrize("options", [{"merge_strategy": "apend"}, {"error_handler": "retry"}])
def test_options_that_cannot_be_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="function routine 'give'"):
        returning(None, **options)


def with_args(*a: Any) -> None: ...


@pytest.mark.parametrize("function", [with_args, max, 7])
def test_a_function_that_cannot_be_a_handler_is_refused(function: Any) -> None:
    with pytest.raises(HandlerError):
        routine(function)


def test_lambdas_partials_and_callable_objects_are_functions_too() -> None:
    assert run(routine(lambda a, b: {"sum": a + b}), a=1, b=2) == [("output", {"sum": 3})]
    assert routine(lambda: None).default_id == "lambda"
    partial = routine(functools.partial(plain, x=7))
    assert run(partial, x=1) == [("output", {"x": 7})]
    assert partial.default_id == "routine"


# -- What is emitted


@pytest.mark.parametrize(
    ("events", "result", "emitted"),
    [
        (None, None, []),
        (None, {}, [("output", {})]),
        (None, {"a": 1, "event": 2, "self": 3}, [("output", {"a": 1, "event": 2, "self": 3})]),
        ({"out": ["x"]}, 3, [("out", {"x": 3})]),
        ({"out": ["x"]}, 0, [("out", {"x": 0})]),
        ({"out": ["x"]}, ("out", 3), [("out", {"x": ("out", 3)})]),
        ({"out": ["x"]}, {"x": 1, "y": 2}, [("out", {"x": 1, "y": 2})]),
        ({"out": ["x", "y"]}, {"x": 1, "y": 2}, [("out", {"x": 1, "y": 2})]),
        ({"good": ["x"], "bad": []}, ("good", 3), [("good", {"x": 3})]),
        ({"good": ["x"], "bad": []}, ("bad", {"why": 1}), [("bad", {"why": 1})]),
        ({"good": ["x"], "bad": []}, None, []),
        ([], None, []),
    ],
)
def test_a_result_is_emitted_by_the_rules(events: Any, result: Any, emitted: Any) -> None:
    assert run(returning(result, events=events)) == emitted


@pytest.mark.parametrize(
    ("events", "result", "words"),
    [
        (None, 3, ["event 'output' of routine 'give'", "no parameters declared", "a dict", "got 3"]),
        ({"out": ["x", "y"]}, 3, ["event 'out'", "['x', 'y']", "got 3"]),
        ({"out": ["x"]}, {1: 2}, ["parameters by name", "got 1"]),
        ({"a": ["x"], "b": []}, 3, ["a pair (event, data)", "['a', 'b']", "got 3"]),
        ({"a": ["x"], "b": []}, {"x": 3}, ["a pair (event, data)", "got {'x': 3}"]),
        ({"a": ["x"], "b": []}, ("c", {}), ["a pair (event, data)", "['a', 'b']", "got ('c', {})"]),
        ({"a": ["x"], "b": []}, (["a"], {}), ["a pair (event, data)"]),
        ({"a": ["x"], "b": []}, ("b", 3), ["event 'b'", "no parameters declared", "got 3"]),
        ({"a": ["x"], "b": []}, ("b", None), ["event 'b'", "got None"]),
        ([], 3, ["routine 'give'", "has no events", "got 3"]),
    ],
)
def test_a_result_that_says_not_what_to_emit_is_an_error(events: Any, result: Any, words: list[str]) -> None:
    with pytest.raises(ResultError) as caught:
        run(returning(result, events=events))
    for word in words:
        assert word in str(caught.value)


def test_a_generator_emits_what_it_yields_and_stops_after_each() -> None:
    @routine(events={"out": ["x"]})
    def count(n: int) -> Any:
        yield from range(n)
        yield None
        return "end"

    slot = count.entry_slot()
    with turn_of(count) as turn:
        steps = slot.handler(n=2)
        seen = []
        for step in steps:
            assert step is None
            seen.append(len(turn.emitted))
    assert seen == [1, 2, 2]
    assert turn.emitted == [("out", {"x": 0}), ("out", {"x": 1}), ("out", {"x": "end"})]


def test_a_function_that_returns_a_generator_is_one() -> None:
    assert run(routine(events={"out": ["x"]})(lambda n: (2 * i for i in range(n))), n=2) == [
        ("out", {"x": 0}),
        ("out", {"x": 2}),
    ]


def test_closing_the_steps_closes_the_generator() -> None:
    closed = []

    @routine(events={"out": ["x"]})
    def count() -> Any:
        try:
            yield 1
            yield 2
        finally:
            closed.append(True)

    with turn_of(count) as turn:
        steps = count.entry_slot().handler()
        next(steps)
        steps.close()
    assert closed == [True]
    assert turn.emitted == [("out", {"x": 1})]


# -- Travelling


def travel(made: Any) -> Any:
    return decode_code(encode_code(made, "routine"))


def test_a_routine_of_a_module_finds_its_function_there() -> None:
    # By value it could not: the function uses a global that does not pickle.
    copy = travel(double)
    assert copy is not double
    assert copy.function is double.function
    assert run(copy, x=4) == [("doubled", {"x": 8})]
    assert (copy.__name__, copy.__wrapped__, copy.default_id) == ("double", double.function, "double")


def test_what_was_set_after_the_import_travels_too() -> None:
    before = travel(double)
    try:
        double.state["files"] = 1
        double.set_as_optional()
        copy = travel(double)
    finally:
        double.state = {}
        double.set_error_handler(None)
    assert (before.state, before.error_handler) == ({}, None)
    assert copy.state == {"files": 1}
    assert copy.error_handler.strategy.value == "continue"


def test_a_routine_with_another_name_than_its_function_travels() -> None:
    copy = travel(wrapped)
    assert copy.function is plain
    assert copy.default_id == "other-name"


def test_a_routine_inside_of_a_class_finds_its_function_there() -> None:
    assert travel(Shelf.on_a_class).function is Shelf.on_a_class.function


def test_routines_that_no_name_leads_to_travel_by_value() -> None:
    factor = 3
    inside, closure, nameless = Shelf.make(), routine(lambda x: {"x": factor * x}), routine(lambda x: {"x": x})
    for made, expected in ((inside, 2), (closure, 6), (nameless, 2)):
        copy = travel(made)
        assert copy.function is not made.function
        assert run(copy, x=2) == [("output", {"x": expected})]


def test_two_references_to_one_routine_stay_one() -> None:
    first, second = travel([double, double])
    assert first is second


def test_a_name_that_leads_elsewhere_at_the_other_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode_code(double, "routine")
    monkeypatch.setattr(functions, "double", plain)
    with pytest.raises(ValueError, match="double is expected to be a @routine"):
        decode_code(data)


SCRIPT = """
import sys
from routilux import routine
from supervisors.wire.values import encode_code

STEP = 1

@routine(events={"out": ["x"]})
def countdown(x):
    return [x] + countdown(x - STEP) if x else [0]     # the name leads to the routine

@routine
def caller(x):
    return {"x": countdown(x), "y": (lambda y: y + STEP)(x)}

sys.stdout.buffer.write(encode_code([countdown, caller], "routines"))
"""

READER = """
import sys
from supervisors.wire.values import decode_code

countdown, caller = decode_code(sys.stdin.buffer.read())
print(countdown(2), caller(1), countdown.default_id, list(countdown.events))
"""


def test_routines_of_a_script_travel_to_a_process_that_never_runs_it(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    sent = subprocess.run([sys.executable, str(script)], env=env, capture_output=True, check=True)
    read = subprocess.run([sys.executable, "-c", READER], env=env, input=sent.stdout, capture_output=True, check=True)
    assert read.stdout.decode().strip() == "[2, 1, 0] {'x': [1, 0], 'y': 2} countdown ['out']"
