"""The history keeps the newest facts, counts all, and tells them as records."""

from __future__ import annotations

import pytest

from routilux import Flow, Routine
from routilux.blocks import Keys
from routilux.causes import LEFT_OUT
from routilux.facts import Commits, Fact, facts_of
from routilux.ids import to_bytes, to_id
from routilux.jobs.history import HISTORY_LIMIT, History
from routilux.routing import compile_plan, names_of
from supervisors.reasons import ErrorRecord, Raised


class Echo(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.echo)
        self.define_event("said", ["word"])

    def echo(self, word: str) -> None:
        self.emit("said", word=word)


def history(**limits: int) -> History:
    flow = Flow("echo")
    flow.add_routine(Echo(), "echo")
    return History(names_of(compile_plan(flow)), 1_000.0, **limits)


def raised(text: str, traceback: str = "") -> Raised:
    return Raised(ErrorRecord("ValueError", text, traceback))


def committed(seq: int) -> Fact:
    return Fact("committed", 0, 0, to_bytes(seq), 1, float(seq), 0.5, (0,))


def test_a_commit_is_told_as_start_emissions_and_completion() -> None:
    kept = history()
    kept.extend([committed(2)])

    start, emit, completed = kept.cut().records()

    assert [(record.kind, record.at) for record in (start, emit, completed)] == [
        ("start", 1_001.5),
        ("emit", 1_002.0),
        ("completed", 1_002.0),
    ]
    assert (emit.event, completed.seconds, completed.message_id) == ("said", 0.5, to_id(2))


def test_what_went_wrong_is_told_in_words() -> None:
    kept = history()
    reason = raised("x\ny")
    kept.extend(
        [
            Fact("failed", 0, 0, to_bytes(1), 1, 1.0, reason=reason),
            Fact("skip", 0, 0, to_bytes(1), 1, 1.0, reason=reason),
            Fact("skipped", 0, -1, b"", 0, 2.0, count=3),
            Fact("redelivered", 0, 0, to_bytes(1), 0, 3.0),
        ]
    )

    error, decided, skipped, redelivered = kept.cut().records()

    assert (error.kind, error.detail, error.reason) == ("error", r"raised ValueError: x\ny", reason)
    assert (decided.kind, decided.detail, decided.reason) == ("skip", r"raised ValueError: x\ny", reason)
    assert (skipped.kind, skipped.detail) == ("skipped", "3 messages that waited were skipped")
    assert (redelivered.kind, redelivered.message_id, redelivered.attempt) == ("redelivered", to_id(1), 0)


def failed(seq: int, traceback: str) -> Fact:
    return Fact("failed", 0, 0, to_bytes(seq), 1, float(seq), reason=raised("x", traceback))


def test_old_reasons_keep_their_line_alone_and_are_counted() -> None:
    kept = history(reasons_bytes=25_000)
    kept.extend([failed(1, "t" * 10_000), failed(2, "t" * 10_000), committed(3)])
    before = kept.cut()
    kept.extend([failed(4, "t" * 10_000)])
    cut = kept.cut()

    tracebacks = [record.reason.error.traceback for record in cut.records() if isinstance(record.reason, Raised)]
    assert tracebacks == [LEFT_OUT, "t" * 10_000, "t" * 10_000]
    assert {record.detail for record in cut.records() if record.reason} == {"raised ValueError: x"}
    assert cut.shortened == 1
    assert before.records()[0].reason == raised("x", "t" * 10_000), "a cut never changes"


def test_reasons_that_are_gone_take_no_room() -> None:
    kept = history(reasons_bytes=25_000)
    kept.extend([failed(1, "t" * 10_000), failed(2, "t" * 10_000)])
    kept.extend(committed(seq) for seq in range(HISTORY_LIMIT))
    kept.extend([failed(3, "t" * 10_000), failed(4, "t" * 10_000)])

    assert kept.cut().shortened == 0


@pytest.mark.parametrize("batch", [1, 512, HISTORY_LIMIT + 1])
def test_the_newest_records_are_kept_and_all_facts_counted(batch: int) -> None:
    kept = history()
    facts = [committed(seq) for seq in range(2 * HISTORY_LIMIT)]
    for first in range(0, len(facts), batch):
        kept.extend(facts[first : first + batch])

    cut = kept.cut()
    records = cut.records()

    assert cut.total == len(facts)
    assert len(records) == HISTORY_LIMIT
    assert records[-1].message_id == to_id(len(facts) - 1)
    assert len(cut.facts()) == HISTORY_LIMIT, "what is cut is let go"


def test_nothing_is_kept_of_no_facts() -> None:
    kept = history()
    kept.extend([])

    assert kept.cut().facts() == []


def together(first: int, count: int) -> Commits:
    keys = Keys(count, 0, bases=range(first, first + count))
    return Commits(0, 0, keys, 0, float(first), [first + n + 1.0 for n in range(count)], (0,), None)


@pytest.mark.parametrize("count", [1, 7, 3_000, HISTORY_LIMIT, HISTORY_LIMIT + 5])
def test_what_is_told_together_is_cut_as_what_is_told_one_by_one(count: int) -> None:
    kept, model = history(), history()
    for first in range(0, 2 * HISTORY_LIMIT, count):
        told = together(first, count)
        kept.extend([told])
        model.extend(facts_of([told]))
    cut, expected = kept.cut(), model.cut()
    assert (cut.total, len(cut.facts())) == (expected.total, HISTORY_LIMIT)
    assert cut.facts() == expected.facts()
    assert cut.records() == expected.records()
    # No more than the last that was told together is kept beyond the limit.
    assert sum(map(len, cut.told)) < HISTORY_LIMIT + count  # type: ignore[arg-type]  each is such


def test_a_failure_that_is_cut_behind_what_was_told_together_gives_its_text_back() -> None:
    kept = history(reasons_bytes=3_000)
    for n in range(30):
        kept.extend([Fact("failed", 0, 0, to_bytes(n), 1, 1.0, reason=raised("x" * 1_000)), together(n, HISTORY_LIMIT)])
    cut = kept.cut()
    assert cut.shortened == 0
    assert len(cut.told) <= 3


def test_the_oldest_failures_are_shortened_wherever_what_is_told_together_stands() -> None:
    kept = history(reasons_bytes=3_000)
    for n in range(6):
        kept.extend([together(n, 10), Fact("failed", 0, 0, to_bytes(n), 1, 1.0, reason=raised("x", "y" * 1_000))])
    failed = [fact for fact in kept.cut().facts() if fact.reason is not None]
    tracebacks = [fact.reason.error.traceback for fact in failed if isinstance(fact.reason, Raised)]
    whole = [text == "y" * 1_000 for text in tracebacks]
    assert whole == sorted(whole)
    assert kept.cut().shortened == whole.count(False) > 0
