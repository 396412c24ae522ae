"""What is kept of the reason for a failure: one line always, the whole as far as there is room."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routilux.causes import LEFT_OUT, LINE_KEPT, TextBudget, shorten, tell_cause, weigh
from supervisors.reasons import Abandoned, Crashed, DeadlineExceeded, ErrorRecord, OutOfMemory, Raised, Reason

LONG = Raised(ErrorRecord("mine.Odd", "row 17", "Traceback\n" * 1_000, ("a note",)))


def test_a_cause_is_one_line_that_a_terminal_does_not_obey() -> None:
    assert tell_cause(Raised(ErrorRecord("ValueError", "a\nb\x1b[2J", ""))) == r"raised ValueError: a\nb\x1b[2J"
    assert tell_cause(Crashed(signal=9, pid=12)) == "process 12 was ended by SIGKILL"


@pytest.mark.parametrize(
    ("reason", "kept"),
    [
        (LONG, Raised(ErrorRecord("mine.Odd", "row 17", LEFT_OUT))),
        (Raised(ErrorRecord("E", "x" * 9_000, "")), Raised(ErrorRecord("E", "x" * (LINE_KEPT - 3) + "...", ""))),
        (Crashed(9, None, 12, 2**20, ("last words",)), Crashed(9, None, 12, 2**20)),
        (OutOfMemory(12, 2**20), OutOfMemory(12, 2**20)),
        (DeadlineExceeded(2.0, 12), DeadlineExceeded(2.0, 12)),
        (Abandoned("File ..., line 3\n"), Abandoned(LEFT_OUT)),
    ],
    ids=["raised", "long-text", "crashed", "memory", "deadline", "abandoned"],
)
def test_a_shortened_reason_keeps_its_kind_its_numbers_and_its_line(reason: Reason, kept: Reason) -> None:
    assert shorten(reason) == kept
    assert str(kept)[:LINE_KEPT] == str(reason)[:LINE_KEPT]
    assert weigh(kept) < 2_000


def test_a_reason_weighs_what_its_texts_take() -> None:
    assert weigh(Raised(ErrorRecord("E", "x" * 10_000, "y" * 20_000, ("z" * 5_000,)))) in range(35_000, 36_000)
    assert weigh(Raised(ErrorRecord("E", "\N{SNOWMAN}" * 10_000, ""))) >= 20_000, "two bytes a character"
    assert weigh(Crashed(exit_code=3)) == 0


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9), st.integers(0, 60)), max_size=50))
def test_the_newest_have_room_and_the_rest_is_told_of_once(steps: list[tuple[bool, int, int]]) -> None:
    budget: TextBudget[int] = TextBudget(100)
    naive: dict[int, int] = {}
    for key, (gives_back, which, size) in enumerate(steps):
        if gives_back:
            naive.pop(which, None)
            budget.give_back(which)
            continue
        naive[key] = size
        over = []
        while sum(naive.values()) > 100:
            over.append(min(naive))
            del naive[min(naive)]
        assert budget.take(key, size) == over
        assert budget.oldest == min(naive, default=None)
