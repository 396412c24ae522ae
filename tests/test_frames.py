"""Stacks of all kinds, and what is left of them for people."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest

import routilux
import supervisors
from routilux.frames import LEFT_OUT, ends_in_own, find_place, for_people, is_of_user, is_own, leave_out_own, wants_all

OURS = Path(routilux.__file__).parent
OTHERS = Path(supervisors.__file__).parent
LIBRARY = Path(traceback.__file__).parent
INSTALLED = "/opt/venv/lib/python3.12/site-packages"

RAISED = f"""\
Traceback (most recent call last):
  File "{OURS}/turn/execution.py", line 340, in _call_handler
    return route.call(data)
           ^^^^^^^^^^^^^^^^
  File "/home/user/mine.py", line 3, in handle
    self.emit("made", value=object())
    ~~~~~~~~~^^^^^^^^^^^^^^^^^^^^^^^^
  File "{OURS}/serial/graph.py", line 213, in write
    raise ValueEncodingError(self.path, reason)
ValueEncodingError: it cannot
"""
RAISED_LEFT = f"""\
Traceback (most recent call last):
  File "/home/user/mine.py", line 3, in handle
    self.emit("made", value=object())
    ~~~~~~~~~^^^^^^^^^^^^^^^^^^^^^^^^
ValueEncodingError: it cannot
{LEFT_OUT}"""
CHAINED = f"""\
Traceback (most recent call last):
  File "{OTHERS}/wire/values.py", line 218, in encode_code
    return _pickle(obj)
  File "{INSTALLED}/cloudpickle/cloudpickle.py", line 1327, in dump
    return super().dump(obj)
TypeError: cannot pickle '_thread.lock' object

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/home/user/mine.py", line 7, in recur
    recur(n - 1)
  [Previous line repeated 3 more times]
  File "{OURS}/model/routine.py", line 259, in emit
    turn.emit(event, data)
  [Previous line repeated 2 more times]
ValueEncodingError: it cannot
  be carried
a note
"""
CHAINED_LEFT = f"""\
TypeError: cannot pickle '_thread.lock' object

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/home/user/mine.py", line 7, in recur
    recur(n - 1)
  [Previous line repeated 3 more times]
ValueEncodingError: it cannot
  be carried
a note
{LEFT_OUT}"""
FAULT = f"""\
Current thread 0x00007f0f1bf1eb80 (most recent call first):
  File "{LIBRARY}/ctypes/__init__.py", line 519 in string_at
  File "/home/user/mine.py", line 60 in slow
  File "/home/user/mine.py", line 12 in handle
  File "{OURS}/model/function.py", line 201 in _handle
  File "{LIBRARY}/threading.py", line 982 in run
  File "<string>", line 9 in <module>"""
FAULT_LEFT = f"""\
Current thread 0x00007f0f1bf1eb80 (most recent call first):
  File "{LIBRARY}/ctypes/__init__.py", line 519 in string_at
  File "/home/user/mine.py", line 60 in slow
  File "/home/user/mine.py", line 12 in handle
{LEFT_OUT}"""
ALL_OURS = f"""\
Traceback (most recent call last):
  File "{OURS}/turn/execution.py", line 340, in _call_handler
    return route.call(data)
ValueError: x
"""
NONE_OURS = """\
Traceback (most recent call last):
  File "/home/user/mine.py", line 3, in handle
    raise ValueError("x")
ValueError: x"""


@pytest.mark.parametrize(
    ("stack", "left"),
    [
        (RAISED, RAISED_LEFT),
        (CHAINED, CHAINED_LEFT),
        (FAULT, FAULT_LEFT),
        (ALL_OURS, ""),
        (NONE_OURS, NONE_OURS),
        ("", ""),
    ],
    ids=["raised", "chained", "fault", "all ours", "none ours", "nothing"],
)
def test_our_frames_are_left_out_and_that_is_said(stack: str, left: str) -> None:
    assert leave_out_own(stack) == left


JSON = f"""\
  File "/home/user/mine.py", line 3, in handle
    json.loads(text)
  File "{LIBRARY}/json/decoder.py", line 355, in raw_decode
    raise JSONDecodeError("Expecting value", s, err.value) from None
"""
AS_LIBRARY = f"""\
  File "{INSTALLED}/shop/flows.py", line 3, in handle
    fetch()
  File "{OURS}/model/routine.py", line 259, in emit
    turn.emit(event, data)
"""


@pytest.mark.parametrize(
    ("stack", "place"),
    [
        (RAISED, "mine.py:3 in handle"),
        (CHAINED, "mine.py:7 in recur"),
        (FAULT, "mine.py:60 in slow"),
        (JSON, "mine.py:3 in handle"),
        (AS_LIBRARY, "flows.py:3 in handle"),
        (f'  File "{LIBRARY}/importlib/__init__.py", line 126, in import_module', None),
        (ALL_OURS, None),
        ("killed", None),
    ],
    ids=["raised", "chained", "fault", "library", "installed", "standard", "all ours", "none"],
)
def test_the_place_of_a_failure_is_the_users_line_and_not_where_it_was_found(stack: str, place: str | None) -> None:
    assert find_place(stack) == place


@pytest.mark.parametrize(
    ("file", "function", "whose"),
    [
        (f"{OURS}/flow.py", "run", "ours"),
        (f"{OURS}_flows/flow.py", "run", "the user's"),
        (f"{OTHERS}/actor.py", "run", "ours"),
        (f"{LIBRARY}/json/decoder.py", "decode", "a library's"),
        (f"{LIBRARY}/threading.py", "wait", "a library's"),
        (f"{LIBRARY}/threading.py", "_bootstrap", "ours"),
        (f"{INSTALLED}/shop/flows.py", "run", "a library's"),
        (f"{INSTALLED}/pykka/_actor.py", "run", "ours"),
        ("<frozen importlib._bootstrap>", "_call", "ours"),
        ("<ipython-input-3>", "run", "the user's"),
    ],
)
def test_whose_a_frame_is_goes_by_its_file(file: str, function: str, whose: str) -> None:
    assert whose == ("ours" if is_own(file, function) else "the user's" if is_of_user(file) else "a library's")


def test_all_frames_are_wanted_where_the_variable_says_something() -> None:
    told = [
        wants_all(given) for given in ({}, *({"ROUTILUX_FULL_TRACEBACK": value} for value in ("", "0", "1", "yes")))
    ]
    assert told == [False, False, False, True, True]


def test_a_stack_is_shown_as_it_is_where_that_is_wanted_or_where_all_of_it_is_ours() -> None:
    assert for_people(RAISED, {}) == RAISED_LEFT
    assert for_people(RAISED, {"ROUTILUX_FULL_TRACEBACK": "1"}) == RAISED
    assert for_people(ALL_OURS, {}) == ALL_OURS


def test_a_stack_that_ends_in_ours_is_told_from_one_that_does_not() -> None:
    ours = f'  File "{OURS / "frames.py"}", line 1, in go'
    mine = '  File "/home/me/mine.py", line 1, in go'
    assert ends_in_own(f"{mine}\n{ours}\n")
    assert not ends_in_own(f"{ours}\n{mine}\n")
    assert ends_in_own(f"Current thread 0x1 (most recent call first):\n{ours}\n{mine}\n")
    assert not ends_in_own("")
