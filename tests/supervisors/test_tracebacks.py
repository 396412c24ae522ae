"""Any exception can be told in a few kilobytes, with its frames, its text and what it all began with."""

from __future__ import annotations

import linecache
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from supervisors.reasons import ErrorRecord, record_error
from supervisors.tracebacks import (
    CHAIN_LIMIT,
    CHAIN_TEXT_LIMIT,
    NAME_LIMIT,
    NOTES_LIMIT,
    TEXT_LIMIT,
    TRACEBACK_LIMIT,
    WALK_LIMIT,
    forget_context,
    text_of,
)


def caught(function: Callable[[], object]) -> BaseException:
    try:
        function()
    except BaseException as error:  # noqa: BLE001 - what it raises is what is tested
        return error
    raise AssertionError("it raised nothing")


def fail(text: str = "bad") -> None:
    raise ValueError(text)


def chained(length: int, link: str = "__cause__") -> BaseException:
    error = caught(lambda: fail("number 0"))
    for number in range(1, length):
        error, before = caught(lambda number=number: fail(f"number {number}")), error  # type: ignore[misc]
        error.__context__ = None
        setattr(error, link, before)
    return error


def is_bounded(record: ErrorRecord) -> bool:
    return (
        len(record.type) <= NAME_LIMIT
        and len(record.text) <= TEXT_LIMIT
        and len(record.traceback) <= TRACEBACK_LIMIT
        and len(record.notes) <= NOTES_LIMIT + 1
        and all(len(note) <= TEXT_LIMIT for note in record.notes)
        and len(record.chain) <= CHAIN_LIMIT + 1
        and all(len(line) <= CHAIN_TEXT_LIMIT for line in record.chain)
    )


def outer() -> None:
    try:
        fail("inner")
    except ValueError as error:
        error.add_note("a note")
        raise KeyError("outer") from error


def test_a_plain_traceback_is_what_python_prints() -> None:
    error = caught(outer)

    assert record_error(error).traceback == "".join(traceback.format_exception(error))


def test_an_error_raised_while_another_is_handled_is_told_as_python_does() -> None:
    def handle() -> None:
        try:
            fail("first")
        except ValueError:
            fail("second")

    error = caught(handle)
    record = record_error(error)

    assert record.traceback == "".join(traceback.format_exception(error))
    assert record.chain == ("ValueError: first",)


def test_a_suppressed_context_is_not_told() -> None:
    error = chained(2, "__context__")
    error.__suppress_context__ = True

    assert record_error(error).chain == ()


def test_a_long_text_leaves_the_frames_in_the_traceback() -> None:
    error = caught(lambda: fail("x" * (8 * 2**20)))
    error.__cause__ = caught(lambda: fail("y" * (8 * 2**20)))
    record = record_error(error)

    assert is_bounded(record)
    assert record.traceback.count("in fail\n") == 2
    assert record.traceback.count("[cut]") == 2
    assert record.text.endswith("x [cut]")
    assert record.chain[0].endswith("y [cut]")


def test_a_short_chain_is_told_whole() -> None:
    record = record_error(chained(CHAIN_LIMIT + 1))

    assert record.chain == tuple(f"ValueError: number {number}" for number in reversed(range(CHAIN_LIMIT)))
    assert record.traceback.count("direct cause") == CHAIN_LIMIT


@pytest.mark.parametrize("link", ["__cause__", "__context__"])
def test_a_long_chain_is_told_by_its_newest_its_first_and_a_count(link: str) -> None:
    record = record_error(chained(500, link))

    newest = [f"ValueError: number {number}" for number in range(498, 498 - CHAIN_LIMIT + 1, -1)]
    assert record.chain == (*newest, "ValueError: number 0", "[483 more exceptions not shown]")
    assert is_bounded(record)
    first, _, rest = record.traceback.partition("[483 more exceptions not shown]")
    assert "number 0" in first
    assert rest.rstrip().endswith("number 499")
    assert record.traceback.count("in fail\n") == CHAIN_LIMIT + 1


def test_a_chain_that_is_too_long_to_count_is_told_as_that() -> None:
    record = record_error(chained(2 * WALK_LIMIT))

    assert record.chain[-1] == f"[at least {WALK_LIMIT - CHAIN_LIMIT:,} more exceptions not shown]"
    assert is_bounded(record)


def test_a_cyclic_context_is_told_once() -> None:
    first, second = chained(1), chained(1)
    first.__context__, second.__cause__ = second, first
    itself = ValueError("itself")
    itself.__cause__ = itself

    assert record_error(first).chain == ("ValueError: number 0",)
    assert record_error(itself).chain == ()


def test_a_wide_group_is_told_by_its_nearest_members_and_a_count() -> None:
    record = record_error(ExceptionGroup("many", [ValueError(number) for number in range(1_000)]))

    assert record.text == "many (1000 sub-exceptions)"
    assert record.chain[:2] == ("ValueError: 0", "ValueError: 1")
    assert record.chain[-1] == "[984 more exceptions not shown]"
    assert is_bounded(record)
    assert "one of those in an exception group" in record.traceback


def test_a_deep_group_is_told_down_to_its_innermost_member() -> None:
    error: Exception = caught(fail)  # type: ignore[assignment]
    for level in range(50):
        error = ExceptionGroup(f"level {level}", [error])
    record = record_error(error)

    assert record.chain[-2:] == ("ValueError: bad", "[34 more exceptions not shown]")
    assert record.traceback.startswith("Traceback (most recent call last):\n")
    assert "in fail\n" in record.traceback


def test_members_of_a_group_keep_their_causes() -> None:
    record = record_error(ExceptionGroup("all", [chained(2), KeyError("x")]))

    assert record.chain == ("ValueError: number 1", "KeyError: 'x'", "ValueError: number 0")
    texts = ["number 0", "direct cause", "number 1", "KeyError: 'x'", "ExceptionGroup: all (2 sub-exceptions)"]
    places = [record.traceback.index(text) for text in texts]
    assert places == sorted(places)


def test_a_group_that_holds_one_error_in_many_ways_is_walked_once() -> None:
    error: Exception = ValueError("shared")
    for _ in range(60):
        error = ExceptionGroup("twice", [error, error])

    assert record_error(error).chain[-1] == "[44 more exceptions not shown]"


def test_texts_are_asked_of_no_more_errors_than_are_shown() -> None:
    asked = []

    class Loud(Exception):
        def __str__(self) -> str:
            asked.append(self)
            return "loud"

    record_error(ExceptionGroup("many", [Loud() for _ in range(1_000)]))

    assert len(asked) == CHAIN_LIMIT


def recurse(depth: int) -> None:
    if depth:
        recurse(depth - 1)
    fail("bottom")


def ping(depth: int) -> None:
    pong(depth)


def pong(depth: int) -> None:
    if depth:
        ping(depth - 1)
    fail("bottom")


def test_repeated_frames_are_folded() -> None:
    text = record_error(caught(lambda: recurse(900))).traceback

    assert "[Previous line repeated 899 more times]" in text
    assert text.count("in recurse\n") == 2
    assert "in fail\n" in text


def test_a_real_recursion_error_shows_both_ends() -> None:
    text = record_error(caught(lambda: recurse(1_000_000))).traceback

    assert "in <lambda>\n" in text
    assert "more times]" in text
    assert len(text) < 2_000


def test_frames_that_alternate_are_shown_at_both_ends() -> None:
    text = record_error(caught(lambda: ping(400))).traceback

    assert "more frames not shown]" in text
    assert "in <lambda>\n" in text
    assert "in fail\n" in text


def test_long_source_lines_leave_room_for_both_ends() -> None:
    names: dict[str, Any] = {}
    source = "def call(n):\n    return call(n - 1) if n else missing + " + "x" * 5_000
    filename = "<a long line>"
    exec(compile(source, filename, "exec"), names)
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    error = caught(lambda: names["call"](3))
    error.__context__ = chained(400)
    record = record_error(error)
    del linecache.cache[filename]

    assert is_bounded(record)
    assert "NameError: name 'missing' is not defined" in record.traceback


def test_notes_of_any_kind_are_told_as_text() -> None:
    class Unprintable:
        def __str__(self) -> str:
            raise SystemExit(3)

    error = ValueError("bad")
    error.__notes__ = ["text", 3, Unprintable(), *"x" * 1_000]
    record = record_error(error)

    assert record.notes[:3] == ("text", "3", "<its __str__ raised SystemExit>")
    assert record.notes[-1] == "[987 more not shown]"
    assert "\n3\n" in record.traceback


@pytest.mark.parametrize("notes", [3, "text", {"a": 1}])
def test_notes_that_are_no_list_are_told_as_that(notes: Any) -> None:
    error = ValueError("bad")
    error.__notes__ = notes

    assert record_error(error).notes == (f"<its notes are no list but a {type(notes).__name__}>",)


def refuse(*_: object) -> Any:
    raise SystemExit("no")


def say(error: BaseException) -> str:
    return str(error)


def make_bad_notes() -> BaseException:
    return type("E", (Exception,), {"__notes__": property(refuse)})("x")


def make_bad_list_of_notes() -> BaseException:
    error = ValueError("x")
    error.__notes__ = type("Notes", (list,), {"__iter__": refuse})(["a"])
    return error


def make_bad_text() -> BaseException:
    return type("E", (Exception,), {"__str__": refuse, "__repr__": refuse})()


def make_text_of_a_kind() -> BaseException:
    names = ("__str__", "__repr__", "__len__", "__getitem__", "encode", "__format__", "__bool__")
    text = type("Text", (str,), dict.fromkeys(names, refuse))("x")
    return type("E", (Exception,), {"__str__": lambda _: text})()


def make_no_text() -> BaseException:
    return type("E", (Exception,), {"__str__": lambda _: 3})()


def make_endless_text() -> BaseException:
    return type("E", (Exception,), {"__str__": say})()


def make_lying_fields() -> BaseException:
    names = ("__cause__", "__context__", "__traceback__", "__suppress_context__", "__class__", "__dict__")
    return type("E", (Exception,), dict.fromkeys(names, property(refuse)))("x")


def make_hidden() -> BaseException:
    return type("E", (Exception,), {"__getattribute__": refuse})("x")


def make_lying_group() -> BaseException:
    group = type("Group", (ExceptionGroup,), {"exceptions": property(refuse)})
    return group("x", [ValueError("y")])


def make_lying_class() -> BaseException:
    # Not `__subclasscheck__`: Python itself asks that when such an error is raised.
    tricks = ("__getattribute__", "__instancecheck__", "__repr__", "__hash__", "__eq__")
    meta = type("Meta", (type,), dict.fromkeys(tricks, refuse))
    return type.__call__(type.__call__(meta, "E", (Exception,), {}), "x")


def make_odd_module() -> BaseException:
    return type("E", (Exception,), {"__module__": property(refuse)})("x")


def make_long_name() -> BaseException:
    return type("N" * 10_000, (Exception,), {})("x")


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (make_bad_notes, "x"),
        (make_bad_list_of_notes, "x"),
        (make_bad_text, "<its __str__ raised SystemExit>"),
        (make_text_of_a_kind, "x"),
        (make_no_text, "<its __str__ raised TypeError>"),
        (make_endless_text, "<its __str__ raised RecursionError>"),
        (make_lying_fields, "x"),
        (make_hidden, "x"),
        (make_lying_group, "x (1 sub-exception)"),
        (make_lying_class, "x"),
        (make_odd_module, "x"),
        (make_long_name, "x"),
    ],
)
def test_an_error_whose_class_plays_tricks_is_told(make: Callable[[], BaseException], told: str) -> None:
    error = make()

    def raise_it() -> None:
        raise error

    record = record_error(caught(raise_it))

    assert record.text == told
    assert type(record.text) is str
    assert "in raise_it\n" in record.traceback
    assert is_bounded(record)


def test_the_fields_are_read_past_what_a_class_puts_over_them() -> None:
    def raise_them() -> None:
        try:
            fail("first")
        except ValueError as first:
            raise make_lying_fields() from first

    assert record_error(caught(raise_them)).chain == ("ValueError: first",)


def test_a_syntax_error_shows_where() -> None:
    error = caught(lambda: compile("a = = 1\n", "somewhere.py", "exec"))
    record = record_error(error)

    assert record.traceback == "".join(traceback.format_exception(error)).replace(
        "SyntaxError: invalid syntax", "SyntaxError: invalid syntax (somewhere.py, line 1)"
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"lineno": "x", "offset": object(), "text": 3},
        {"lineno": 2**80, "offset": 2**70, "end_offset": 2**75, "text": "y" * 10_000},
        {"lineno": -(2**80), "offset": -5, "end_offset": -7, "filename": ["x"]},
        {"text": "\ud800", "filename": "\ud800", "lineno": 1, "offset": 1},
        {"msg": 3, "lineno": None},
    ],
    ids=["kinds", "large", "negative", "surrogates", "message"],
)
def test_a_syntax_error_with_odd_fields_is_told(fields: dict[str, Any]) -> None:
    error = SyntaxError("odd", ("file.py", 1, 1, "text"))
    for name, value in fields.items():
        setattr(error, name, value)
    record = record_error(error)

    assert is_bounded(record)
    assert "SyntaxError" in record.traceback


def test_lone_surrogates_are_escaped_and_control_characters_kept() -> None:
    error = ValueError("a\x1b[31m\udce9\0")
    error.__cause__ = ValueError("\ud800" * 2_000)
    record = record_error(error)

    assert record.text == "a\x1b[31m\\udce9\0"
    assert is_bounded(record)


def test_a_loader_that_raises_costs_the_source_lines_only() -> None:
    class Loader:
        def get_source(self, _name: str) -> str:
            raise SystemExit("no source")

    names: dict[str, Any] = {"__loader__": Loader(), "__name__": "loaded", "__spec__": None}
    exec(compile("def call():\n    1 // 0", "/nowhere/loaded.py", "exec"), names)

    text = record_error(caught(names["call"])).traceback

    assert 'File "/nowhere/loaded.py", line 2, in call\n' in text
    assert text.endswith("ZeroDivisionError: integer division or modulo by zero\n")


def test_a_context_is_taken_out_however_deep_it_is_and_others_stay() -> None:
    outside, inner, outer = KeyError("n"), LookupError("in"), ValueError("out")
    outer.__context__, inner.__context__ = inner, outside
    forget_context(outer, ZeroDivisionError())
    assert inner.__context__ is outside
    forget_context(outer, outside)
    assert (outer.__context__, inner.__context__) == (inner, None)
    inner.__context__ = outer  # a ring has no end
    forget_context(outer, outside)
    assert inner.__context__ is outer


def test_a_signal_that_comes_while_a_plain_text_is_told_is_not_taken_for_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def cut(_text: str, _limit: int) -> str:
        raise SystemExit(143)

    monkeypatch.setattr("supervisors.tracebacks._cut", cut)
    with pytest.raises(SystemExit):
        text_of("interrupted")
