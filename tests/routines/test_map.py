from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routilux import ErrorHandler, Flow
from routilux.errors import HandlerError, InvalidNameError
from routilux.routines import FlatMap, Map, Split
from routilux.routines.keys import key_text
from tests.routines.running import emitted, failure, flow_of, run

NUMBERS = st.lists(st.integers(-9, 9), max_size=8)


def double(n: int) -> int:
    return 2 * n


@given(NUMBERS)
def test_map_gives_what_a_plain_loop_gives(numbers: list[int]) -> None:
    messages = [{"n": n} for n in numbers]
    assert emitted(run(Map(double), messages)) == [{"value": double(n)} for n in numbers]
    assert emitted(run(Map(double, into="m"), messages)) == [{"n": n, "m": double(n)} for n in numbers]


@given(st.lists(NUMBERS, max_size=5))
def test_flat_map_gives_what_a_plain_loop_gives(lists: list[list[int]]) -> None:
    messages: list[dict[str, Any]] = [{"items": items} for items in lists]
    flat = [2 * item for items in lists for item in items]
    assert emitted(run(FlatMap(lambda items: (2 * item for item in items)), messages)) == [
        {"value": item} for item in flat
    ]


@given(st.lists(NUMBERS, max_size=5))
def test_split_gives_what_a_plain_loop_gives(lists: list[list[int]]) -> None:
    messages: list[dict[str, Any]] = [{"id": number, "items": items} for number, items in enumerate(lists)]
    assert emitted(run(Split("items"), messages)) == [
        {"id": number, "items": item} for number, items in enumerate(lists) for item in items
    ]
    assert emitted(run(Split("items", into="item", index="at"), messages)) == [
        {"id": number, "item": item, "at": at} for number, items in enumerate(lists) for at, item in enumerate(items)
    ]


@pytest.mark.parametrize(
    ("function", "result"),
    [
        (lambda data: [*data], ["a", "b"]),
        (lambda a, **others: [a, others], [1, {"b": 2}]),
        (lambda a, c=3: a + c, 4),
        (lambda: None, None),
    ],
)
def test_a_function_takes_its_message_as_a_handler_does(function: Any, result: Any) -> None:
    assert emitted(run(Map(function), [{"a": 1, "b": 2}])) == [{"value": result}]


def test_a_dict_is_the_new_message() -> None:
    assert emitted(run(Map(lambda n: {"m": n, "k": 0}), [{"n": 1}])) == [{"m": 1, "k": 0}]
    assert emitted(run(Map(lambda n: {"m": n}, into="n"), [{"n": 1}])) == [{"n": {"m": 1}}]
    assert emitted(run(FlatMap(lambda n: [{"m": n}] * 2), [{"n": 1}])) == [{"m": 1}] * 2


def test_nothing_comes_of_none_in_a_flat_map_and_a_message_of_none_in_a_map() -> None:
    assert emitted(run(FlatMap(lambda n: n), [{"n": None}])) == []
    assert emitted(run(Map(lambda n: n), [{"n": None}])) == [{"value": None}]


def test_a_flat_map_lets_out_more_than_a_turn_holds() -> None:
    def count(n: int) -> Iterator[int]:
        yield from range(n)

    assert [item["value"] for item in emitted(run(FlatMap(count), [{"n": 5000}]))] == list(range(5000))


@pytest.mark.processes
@pytest.mark.parametrize("routine", [Map(lambda n: n + 1), FlatMap(lambda n: [n + 1])], ids=["Map", "FlatMap"])
def test_functions_travel_to_several_workers(routine: Map) -> None:
    state = run(routine, [{"n": n} for n in range(40)], placement="process", workers=2)
    assert sorted(item["value"] for item in emitted(state)) == list(range(1, 41))


@pytest.mark.parametrize(
    ("routine", "message", "told"),
    [
        (Map(lambda n: {n: 1}), {"n": 1}, "a dict that the function of Map gives is a message, whose parameters have"),
        (FlatMap(lambda n: n), {"n": 1}, "the function of FlatMap gives an iterable of results"),
        (FlatMap(lambda n: n), {"n": "text"}, "got str; Map is for one result"),
        (FlatMap(lambda n: n), {"n": {}}, "got dict; Map is for one result"),
        (
            Split("items"),
            {"items": 5},
            "Split expected its parameter 'items' to be a list or another iterable, got int",
        ),
        (Split("items"), {"items": "abc"}, "got str"),
        (Split("items"), {"items": iter([1])}, "that can be read again when the message is, got list_iterator; make a"),
        (FlatMap(lambda n: {n}), {"n": 1j}, "an item of a set from FlatMap's function: expected None, a bool, number"),
        (Split("items"), {"items": {1j}}, "an item of a set for Split: expected None, a bool, number, text, bytes or"),
        (Split("items"), {"item": []}, "slot 'input' of routine 'it' expected 'items', got 'item'"),
        (Map(lambda a, b: a + b), {"a": 1}, "slot 'input' of routine 'it' expected 'b', got 'a'"),
        (Map(lambda n: 1 // n), {"n": 0}, "ZeroDivisionError"),
    ],
)
def test_what_fails_is_told(routine: Any, message: dict[str, Any], told: str) -> None:
    assert told in failure(routine, message)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(HandlerError, match="Map: expected a function of a message, got 'lower'"):
        Map("lower")  # type: ignore[arg-type]
    with pytest.raises(InvalidNameError, match="the name of the result of FlatMap"):
        FlatMap(double, into="")
    with pytest.raises(InvalidNameError, match="the name of what Split splits"):
        Split("")


def test_check_finds_a_parameter_that_the_function_needs_and_nobody_sends() -> None:
    flow = Flow("short")
    flow.add_routine(Split("items"), "split")
    flow.add_routine(Map(lambda n, m: n + m), "double")
    flow.routines["split"].define_event("named", ["m"])
    flow.connect("split", "named", "double", "input")
    [problem] = [problem for problem in flow.check() if problem.severity == "error"]
    assert "the slot needs ['n'], and the event declares ['m']" in problem.message


def test_what_remembers_nothing_takes_several_workers() -> None:
    for routine in (Map(double), FlatMap(double), Split("items")):
        problems = flow_of(routine, placement="process", workers=2).check()
        assert [problem for problem in problems if problem.severity == "error"] == []


def test_a_set_is_split_in_the_same_order_in_each_process() -> None:
    items = {"b", "a", 10, 9, None, b"x", (2, "y"), (1, "z"), 0.5}
    expected = [0.5, 9, 10, None, "a", "b", (1, "z"), (2, "y"), b"x"]
    for kind in (set, frozenset):
        state = run(Split("items", index="at"), [{"items": kind(items)}])
        found = [item["items"] for item in emitted(state)]
        assert sorted(found, key=expected.index) == expected
        assert found == sorted(items, key=lambda item: key_text(item, "it"))
        state = run(FlatMap(lambda items: items), [{"items": kind(items)}])
        assert [item["value"] for item in emitted(state)] == found


class DyingSplit(Split):
    """Kills its process once, behind so many items."""

    def __init__(self, parameter: str, died: Path) -> None:
        super().__init__(parameter)
        self.died = died
        self.count = 0

    def emit(self, event: str, /, **data: Any) -> None:
        super().emit(event, **data)
        self.count += 1
        if self.count == 2_500 and not self.died.exists():
            self.died.touch()
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.processes
def test_each_item_of_a_large_set_goes_out_once_when_the_worker_is_killed_in_the_middle(tmp_path: Path) -> None:
    # The next process has another order of sets, and 2,000 are out already: they are known by their positions alone.
    items = {f"item {n}" for n in range(4_000)}
    split = DyingSplit("items", tmp_path / "died")
    state = run(split, [{"items": items}], placement="process", error_handler=ErrorHandler("retry", retry_delay=0.0))
    assert state.routine_states["it"]["restarts"] == 1
    assert sorted(item["items"] for item in emitted(state)) == sorted(items)
