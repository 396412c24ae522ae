"""The error tree: built-ins a Python user would catch, messages that name what exists, and pickling."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from routilux import errors
from routilux.errors import RoutiluxError
from routilux.model.check import Problem
from supervisors.wire.values import decode, encode

EXAMPLES: list[RoutiluxError] = [
    errors.UnknownRoutineError("prase", ["read", "parse"], "target_id"),
    errors.UnknownSlotError("sorce", "parse", ["source", "other"]),
    errors.UnknownEventError("parsd", "parse", ["parsed"]),
    errors.OptionError("no such option"),
    errors.FlowCheckError("census", [Problem("error", "routine 'a'", "is odd"), Problem("warning", "b", "too")]),
    errors.NotPortableError("parse", "routine.lock", "routine.lock cannot be carried: a _thread.lock"),
    errors.NotInitializedError("Parse"),
    errors.OutsideTurnError("not now"),
    errors.EmitOutsideTurnError("Parse", "parsed", "no turn runs"),
    errors.JobEndedError("j1", "completed", "a message to 'parse'"),
    errors.NotADeadLetterError("message 0-1 of routine 'parse'"),
    errors.RoutineSkippedError("parse"),
    errors.SlotArgumentError(["text"], ["text", "n"], ["txt"]).located(
        slot="in", routine_id="parse", connection="a.b -> c.d"
    ),
    errors.StateError("no dict"),
    errors.ResultError("no dict"),
    errors.JobTimeoutError("j1", 1.5, "running"),
    errors.TransitionError("the job", "completed", "running", []),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_pickles_with_all_it_carries(error: RoutiluxError) -> None:
    for copy in (pickle.loads(pickle.dumps(error)), decode(encode(error))):
        assert type(copy) is type(error)
        assert str(copy) == str(error)
        assert copy.args == error.args
        assert vars(copy) == vars(error)


def test_every_error_has_one_root_and_a_branch_that_says_whose_fault_it_is() -> None:
    branches = {
        errors.CallerError,
        errors.RoutineCodeError,
        errors.JobTimeoutError,
        errors.TransitionError,
    }
    for name in errors.__all__:
        cls = getattr(errors, name)
        if not isinstance(cls, type) or cls in {RoutiluxError, errors.InternalError}:
            continue
        assert issubclass(cls, RoutiluxError), name
        assert sum(issubclass(cls, branch) for branch in branches) == 1, name
        assert name in str(errors.__doc__), name


def test_every_error_is_a_branch_or_is_raised_somewhere() -> None:
    folder = Path(errors.__file__).parent
    sources = [path.read_text() for path in folder.rglob("*.py") if path != Path(errors.__file__)]
    for name in errors.__all__:
        cls = getattr(errors, name)
        if isinstance(cls, type) and cls is not errors.InternalError and not cls.__subclasses__():
            assert any(f"{name}(" in source for source in sources), name


@pytest.mark.parametrize(
    ("cls", "builtin"),
    [
        (errors.WiringError, ValueError),
        (errors.NotPortableError, TypeError),
        (errors.MomentError, RuntimeError),
        (errors.EmitOutsideTurnError, RuntimeError),
        (errors.JobEndedError, RuntimeError),
        (errors.SlotArgumentError, ValueError),
        (errors.StateError, ValueError),
        (errors.ResultError, ValueError),
        (errors.JobTimeoutError, TimeoutError),
        (errors.TransitionError, errors.InternalError),
        *((getattr(errors, name), ValueError) for name in errors.__all__ if name.startswith(("Unknown", "Duplicate"))),
    ],
)
def test_an_error_is_also_the_built_in_one_would_catch(cls: type[Exception], builtin: type[Exception]) -> None:
    assert issubclass(cls, builtin)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            errors.UnknownRoutineError("prase", ["read", "parse"], "target_id"),
            "target_id: the flow has no routine 'prase'; its routines are 'read', 'parse'; did you mean 'parse'?",
        ),
        (errors.UnknownRoutineError("a", []), "the flow has no routine 'a'; it has no routines yet"),
        (
            errors.UnknownSlotError("SOURCE", "parse", ["source", "other"]),
            "routine 'parse' has no slot 'SOURCE'; its slots are 'source', 'other'; did you mean 'source'?",
        ),
        (errors.UnknownSlotError("in", "parse", ()), "routine 'parse' has no slot 'in'; it defines no slots"),
        (
            errors.UnknownEventError("zzz", "parse", ["parsed"]),
            "routine 'parse' has no event 'zzz'; its events are 'parsed'",
        ),
        (errors.UnknownEventError(7, "parse", ["parsed"]), "routine 'parse' has no event 7; its events are 'parsed'"),
        (
            errors.SlotArgumentError(["text"], ["text"], ["txt"]).located(
                slot="in", routine_id="parse", connection="a -> b"
            ),
            "slot 'in' of routine 'parse' expected 'text', got 'txt' (connection a -> b); did you mean 'txt'?",
        ),
        (
            errors.TransitionError("the job", "a", "b", ["c"]),
            "the job cannot go from 'a' to 'b'; what can follow is 'c'",
        ),
        (errors.JobTimeoutError("j", 1.5, "running"), "job 'j' is still running after 1.5 s"),
    ],
)
def test_a_message_says_subject_what_was_expected_and_what_came(error: Exception, text: str) -> None:
    assert str(error) == text


def test_a_long_list_of_names_is_cut_and_counted() -> None:
    text = str(errors.UnknownRoutineError("n1000000", [f"n{number}" for number in range(1_000)]))
    assert "'n19' and 980 more" in text
    assert "'n20'" not in text


def test_a_place_that_is_known_is_not_forgotten_by_who_knows_less() -> None:
    error = errors.SlotArgumentError(["a"], ["a"], []).located(slot="in", routine_id="x")
    assert error.located(connection="c") is error
    assert (error.slot, error.routine_id, error.connection) == ("in", "x", "c")


def test_a_failed_check_carries_its_problems_and_tells_them_all() -> None:
    problems = [Problem("error", "routine 'a'", "is odd"), Problem("warning", "slot 'b'", "is unfed")]
    error = errors.FlowCheckError("census", problems)
    assert error.problems == tuple(problems)
    assert str(error) == "flow 'census' has 2 problems:\n  error: routine 'a': is odd\n  warning: slot 'b': is unfed"
