"""Failures by their kind."""

from __future__ import annotations

from routilux.cli.failures import KINDS_KEPT, Failures, texts_of
from routilux.executions import ExecutionRecord
from supervisors.reasons import Abandoned, Crashed, DeadlineExceeded, ErrorRecord, OutOfMemory, Raised, Reason


def record(kind: str, at: float, reason: Reason | None, routine_id: str = "parse") -> ExecutionRecord:
    return ExecutionRecord(routine_id, kind, at, reason=reason)


def raised(text: str, kind: str = "ValueError") -> Raised:
    return Raised(ErrorRecord(kind, text, f"Traceback of {text}"))


def test_they_are_counted_by_routine_and_kind_the_most_frequent_first() -> None:
    failures = Failures()
    for at, reason in ((1.0, raised("a")), (2.0, Crashed(signal=9, pid=5)), (3.0, Crashed(signal=9, pid=6))):
        failures.add(record("error", at, reason))
        failures.add(record("continue", at, reason))
    failures.add(record("error", 4.0, raised("b"), "tally"))
    failures.add(record("completed", 5.0, None))
    died, *others = failures.kinds()
    assert (died.kind, died.count, died.first_at, died.last_at) == ("process was ended by SIGKILL", 2, 2.0, 3.0)
    assert (died.newest, died.decided) == (Crashed(signal=9, pid=6), {"continue": 2})
    assert [(kind.routine_id, kind.kind) for kind in others] == [
        ("parse", "raised ValueError"),
        ("tally", "raised ValueError"),
    ]


def test_kinds_that_are_made_up_without_end_are_counted_together() -> None:
    failures = Failures()
    for number in range(KINDS_KEPT + 5):
        failures.add(record("error", 0.0, raised("", f"Kind{number}")))
    assert len(failures.kinds()) == KINDS_KEPT + 1
    assert (failures.kinds()[0].kind, failures.kinds()[0].count) == ("others", 5)


def test_all_that_is_known_of_a_reason_is_told() -> None:
    error = ErrorRecord("ValueError", "a", "Traceback", ("note 1", "note 2"), ("KeyError: 'b'",))
    assert texts_of(Raised(error)) == [
        ("traceback", "Traceback"),
        ("notes", "note 1\nnote 2"),
        ("causes", "KeyError: 'b'"),
    ]
    assert texts_of(Crashed(last_output=("one", "two"))) == [("last output", "one\ntwo")]
    assert texts_of(DeadlineExceeded(1.0, stack="frames")) == [("stack", "frames")]
    assert texts_of(Abandoned("frames")) == [("stack", "frames")]
    assert texts_of(OutOfMemory()) == []
