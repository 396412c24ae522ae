from __future__ import annotations

import statistics
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routilux import ErrorHandler, Flow
from routilux.errors import HandlerError, OptionError
from routilux.routines import Aggregate, LinesSource, Map
from tests.routines.running import emitted, failure, flow_of, run, state_of

PLAIN: dict[str, Callable[[list[int]], Any]] = {
    "count": len,
    "sum": sum,
    "mean": statistics.fmean,
    "min": min,
    "max": max,
    "list": list,
}
ITEMS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(-9, 9)), max_size=20)


def grouped(items: list[tuple[str, int]]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for key, value in items:
        groups.setdefault(key, []).append(value)
    return groups


def messages_of(items: list[tuple[str, int]]) -> list[dict[str, Any]]:
    return [{"key": key, "value": value} for key, value in items]


def outputs_of(groups: dict[str, list[int]], fold: str) -> list[dict[str, Any]]:
    return [{"key": key, "value": PLAIN[fold](values), "count": len(values)} for key, values in groups.items()]


def concat(text: str, value: int) -> str:
    return f"{text},{value}"


@given(ITEMS, st.sampled_from(list(PLAIN)))
def test_results_are_those_of_a_plain_loop(items: list[tuple[str, int]], fold: str) -> None:
    aggregate = Aggregate(fold, key="key")
    state = run(aggregate, messages_of(items))
    expected = grouped(items)
    assert emitted(state) == outputs_of(expected, fold)
    assert list(aggregate.results(state_of(state)).items()) == [
        (key, PLAIN[fold](values)) for key, values in expected.items()
    ]


@given(ITEMS, st.sampled_from(list(PLAIN)), st.integers(1, 4))
def test_windows_are_those_of_a_plain_loop(items: list[tuple[str, int]], fold: str, window: int) -> None:
    aggregate = Aggregate(fold, key="key", window=window)
    open_windows: dict[str, list[int]] = {}
    expected = []
    for key, value in items:
        values = open_windows.setdefault(key, [])
        values.append(value)
        if len(values) == window:
            expected.append({"key": key, "value": PLAIN[fold](values), "count": window})
            del open_windows[key]
    state = run(aggregate, messages_of(items))
    assert emitted(state) == expected + outputs_of(open_windows, fold)
    assert aggregate.results(state_of(state)) == {key: PLAIN[fold](values) for key, values in open_windows.items()}


@given(ITEMS, st.sampled_from(list(PLAIN)), st.integers(1, 7))
def test_windows_by_time_are_those_of_a_plain_loop(items: list[tuple[str, int]], fold: str, most: int) -> None:
    """As far as they are full; the times are those of `test_windows.py`."""
    state = run(Aggregate(fold, key="key", seconds=3_600.0, most=most), messages_of(items))
    windows = [items[at : at + most] for at in range(0, len(items), most)]
    assert emitted(state) == [told for window in windows for told in outputs_of(grouped(window), fold)]
    assert state_of(state) == {}


@pytest.mark.processes
def test_windows_by_time_may_have_several_workers() -> None:
    messages = [{"n": n} for n in range(100)]
    aggregate = Aggregate("sum", value="n", seconds=3_600.0, most=7)
    windows = emitted(run(aggregate, messages, placement="process", workers=3))
    expected = [sum(range(at, min(at + 7, 100))) for at in range(0, 100, 7)]
    assert sorted(window["value"] for window in windows) == sorted(expected)


def test_a_message_that_cannot_be_taken_in_fails_its_window() -> None:
    aggregate = Aggregate("sum", seconds=3_600.0, most=2)
    messages = [{"value": 1}, {"value": "two"}, {"value": 3}, {"value": 4}]
    with flow_of(aggregate, error_handler=ErrorHandler("continue")).start(keep_open=True) as job:
        for message in messages:
            job.put("it", "input", message)
    assert emitted(job.state) == [{"key": None, "value": 7, "count": 2}]
    assert [letter.data for letter in job.dead_letters] == messages[:2]


@given(st.lists(ITEMS, max_size=3), st.booleans())
def test_a_flush_lets_all_out_and_begins_anew(parts: list[list[tuple[str, int]]], last: bool) -> None:
    aggregate = Aggregate(concat, key="key", initial="")
    with flow_of(aggregate).start(keep_open=True) as job:
        for part in parts:
            for message in messages_of(part):
                job.put("it", "input", message)
            job.send("it", "flush")
        if last:
            job.put("it", "input", {"key": "last", "value": 1})
    # The two slots are one mailbox, so what was sent before a flush is in it.
    assert (
        emitted(job.state)
        == [
            {"key": key, "value": "".join(f",{value}" for value in values), "count": len(values)}
            for part in parts
            for key, values in grouped(part).items()
        ]
        + [{"key": "last", "value": ",1", "count": 1}] * last
    )
    assert aggregate.results(state_of(job.state)) == ({"last": ",1"} if last else {})


def test_a_function_without_initial_begins_with_the_first_value() -> None:
    aggregate = Aggregate(lambda best, value: max(best, value, key=len), value=lambda word: word)
    state = run(aggregate, [{"word": word} for word in ("a", "ccc", "bb", "ddd")])
    assert aggregate.results(state_of(state)) == {None: "ccc"}


def test_each_group_has_an_initial_value_of_its_own() -> None:
    def gather(found: list[int], value: int) -> list[int]:
        found.append(value)
        return found

    aggregate = Aggregate(gather, key="key", initial=[])
    state = run(aggregate, messages_of([("a", 1), ("b", 2), ("a", 3)]))
    assert aggregate.results(state_of(state)) == {"a": [1, 3], "b": [2]}


def test_keys_and_values_come_back_as_they_were() -> None:
    aggregate = Aggregate("sum", key=lambda n: (n % 2 == 0, None, "x"), value=lambda n: Fraction(n, 3))
    state = run(aggregate, [{"n": n} for n in range(5)])
    assert aggregate.results(state_of(state)) == {
        (True, None, "x"): Fraction(2),
        (False, None, "x"): Fraction(4, 3),
    }


@pytest.mark.processes
def test_what_came_through_several_workers_goes_out_once_it_has_all_come(tmp_path: Path) -> None:
    (tmp_path / "words").write_text("".join(f"word{n % 5}\n" for n in range(300)))
    flow = Flow("words")
    flow.add_routine(LinesSource(tmp_path / "words"), "lines")
    flow.add_routine(Map(lambda line: line.upper()), "upper", placement="process", workers=2)
    flow.add_routine(Aggregate(key="value"), "counts", placement="process")
    flow.add_routine(Aggregate(key="count", value="key", fold="list"), "alike")
    flow.connect("lines", "output", "upper", "input")
    flow.connect("upper", "output", "counts", "input")
    flow.connect("counts", "output", "alike", "input")
    flow.output("alike", "output")
    [result] = flow.execute("lines").outputs["alike", "output"]
    assert (result["key"], sorted(result["value"])) == (60, [f"WORD{n}" for n in range(5)])


def test_in_a_cycle_the_end_is_told_once_and_what_comes_round_after_it_stays_in_the_state() -> None:
    flow = flow_of(Aggregate())
    flow.add_routine(Map(lambda count: {"again": count}), "again")
    flow.connect("it", "output", "again", "input")
    flow.connect("again", "output", "it", "input")
    with flow.start(keep_open=True) as job:
        for _ in range(2):
            job.send("it", "input")
    assert emitted(job.state) == [{"key": None, "value": 2, "count": 2}]
    assert Aggregate().results(state_of(job.state)) == {None: 3}


@pytest.mark.parametrize(
    ("aggregate", "message", "slot", "told"),
    [
        (Aggregate(key="k"), {"k": []}, "input", "the key of Aggregate: expected None, a bool, number"),
        (Aggregate(key="k"), {"l": 1}, "input", "slot 'input' of routine 'it' expected 'k', got 'l'"),
        (Aggregate("sum"), {"n": 1}, "input", "slot 'input' of routine 'it' expected 'value', got 'n'"),
        (Aggregate(lambda a, b: b // a, initial=0), {"value": 1}, "input", "ZeroDivisionError"),
    ],
)
def test_what_fails_is_told(aggregate: Aggregate, message: dict[str, Any], slot: str, told: str) -> None:
    assert told in failure(aggregate, message, slot)


def test_what_cannot_be_is_refused() -> None:
    wrong: Any
    with pytest.raises(OptionError, match=r"expected fold to be one of .*, got 'summ'; did you mean 'sum'\?"):
        Aggregate("summ")
    with pytest.raises(OptionError, match="initial is for functions, and 'sum' begins with the first value"):
        Aggregate("sum", initial=0)
    for wrong in (0, True, 1.5):
        with pytest.raises(OptionError, match="expected window to be a number of values of at least 1"):
            Aggregate(window=wrong)
        with pytest.raises(OptionError, match="expected most to be a number of values of at least 1"):
            Aggregate(seconds=1.0, most=wrong)
    for wrong in (0, True, "1", float("nan")):
        with pytest.raises(OptionError, match="expected seconds to be a number above 0"):
            Aggregate(seconds=wrong)
    with pytest.raises(OptionError, match="Aggregate: a window ends by its number of values or by time"):
        Aggregate(window=5, seconds=1.0)
    wrong = 5
    with pytest.raises(OptionError, match="expected fold to be one of"):
        Aggregate(wrong)
    with pytest.raises(HandlerError, match="the key of Aggregate"):
        Aggregate(key=lambda *all: all)
    with pytest.raises(OptionError, match="the value of Aggregate: expected a function or the name of a parameter"):
        Aggregate("sum", value=wrong)


@pytest.mark.parametrize("seconds", [None, 1.0])
def test_what_messages_lack_is_told_before_anything_runs(seconds: float | None) -> None:
    flow = flow_of(Aggregate("sum", key="path", seconds=seconds))
    flow.add_routine(LinesSource("x"), "lines")
    flow.connect("lines", "output", "it", "input", {"line": "value"})
    flow.connect("lines", "output", "it", "input", {"path": "key"})
    [told] = [str(problem) for problem in flow.check() if "connection" in problem.where]
    assert "connection lines.output -> it.input" in told
    assert "the slot needs ['path', 'value'], and the event declares ['path', 'number', 'line']" in told


def test_several_workers_are_refused() -> None:
    [problem] = flow_of(Aggregate(), placement="process", workers=2).check()[:1]
    assert "Aggregate keeps its groups in its state, and each of 2 workers would keep its own" in problem.message
