"""What users hand to built-in routines to be asked: what cannot give an answer is refused, whoever asks."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from routilux import Flow, Routine, routine
from routilux.errors import HandlerError
from routilux.routines import Aggregate, ConditionalRouter, Deduplicate, Filter, FlatMap, JsonLinesSink, Map


async def answer_later(n: int) -> bool:
    return n > 0


def answers(n: int) -> Iterator[bool]:
    yield n > 0


class AnsweringLater:
    async def __call__(self, n: int) -> bool:
        return n > 0


MAKES: dict[str, Callable[[Any], Routine]] = {
    "the predicate of Filter": Filter,
    "the condition of route 'a'": lambda function: ConditionalRouter({"a": function}),
    "the function of Map": Map,
    "the function of FlatMap": FlatMap,
    "the key of Deduplicate": Deduplicate,
    "the key of Aggregate": lambda function: Aggregate(key=function),
    "the value of Aggregate": lambda function: Aggregate("sum", value=function),
    "the fold of Aggregate": Aggregate,
    "the default of JsonLinesSink": lambda function: JsonLinesSink("a", default=function),
}


@pytest.mark.parametrize("what", MAKES)
@pytest.mark.parametrize(
    "function", [answer_later, functools.partial(answer_later, n=1), AnsweringLater()], ids=range(3)
)
def test_a_function_that_would_have_to_be_awaited_is_refused_and_not_taken_for_true(what: str, function: Any) -> None:
    with pytest.raises(HandlerError, match=f"^{what} is a plain function, got an 'async' one"):
        MAKES[what](function)


@pytest.mark.parametrize("what", [what for what in MAKES if what != "the function of FlatMap"])
def test_a_function_that_yields_is_refused_where_one_answer_is_asked_for(what: str) -> None:
    with pytest.raises(HandlerError, match=f"^{what} gives one answer, got a function that yields; FlatMap takes such"):
        MAKES[what](answers)


@routine(events={"out": {"n": int, "data": int}})
def numbers(n: int) -> dict[str, int]:
    return {"n": n, "data": n}


def text_length(n: str) -> int:
    return len(n)


def size(data: dict[str, Any]) -> int:
    return len(data)


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (Map(text_length), True),
        (Filter(text_length), True),
        (ConditionalRouter({"a": text_length}), True),
        (Aggregate("sum", key="n", value=text_length), True),
        (Filter("n"), False),
        (Map(size), False),
        (Deduplicate(), False),
        (Map(lambda n: n), False),
    ],
    ids=range(8),
)  # fmt: skip
def test_types_are_those_that_functions_take_and_not_those_of_the_handler_behind_them(
    made: Routine, told: bool
) -> None:
    flow = Flow("typed")
    flow.add_routine(numbers, "numbers")
    flow.add_routine(made, "made")
    flow.connect("numbers", "out", "made", "input")
    problems = [problem.message for problem in flow.check() if problem.where.startswith("connection")]
    expected = "the event declares 'n' as int, which is no str, as which the handler annotates 'n'"
    assert problems == ([expected] if told else [])
