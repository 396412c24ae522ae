"""The history over all runners of a job is what the last one stands on, and what it did itself."""

from __future__ import annotations

import pytest

from routilux.executions import ExecutionRecord, Names, RoutineNames
from routilux.facts import Fact
from routilux.ids import to_bytes, to_id
from routilux.keeping.history import StoredHistory
from routilux.keeping.listing import Problem, history_name
from routilux.records.history_log import LogHeader, write_facts, write_log_header
from routilux.records.log import CHUNK_BYTES, frame
from routilux.records.schema import HistoryPosition
from routilux.stores.errors import UnknownJobError
from supervisors.reasons import ErrorRecord, Raised
from tests.keeping.store import FakeStore
from tests.supervisors.wire.mutations import peak_bytes

NAMES = Names(
    (RoutineNames("read", ("file",)), RoutineNames("parse", ())), ("entry -> read", "read.file -> parse.source")
)


def begin(store: FakeStore, generation: int, base: HistoryPosition | None = None, names: Names = NAMES) -> None:
    header = LogHeader(generation=generation, base=base, names=names, wall_offset=1000.0 * generation)
    store.append(store.lease(), history_name(generation), write_log_header(header), durable=False)


def add(store: FakeStore, generation: int, *seqs: int) -> HistoryPosition:
    facts = [Fact("redelivered", seq % 2, 0, to_bytes(seq), 0, float(seq)) for seq in seqs]
    return HistoryPosition(
        generation, store.append(store.lease(), history_name(generation), write_facts(facts), durable=True)
    )


def three_runners() -> FakeStore:
    """Give a job of four runners: the second and third go on from the first, the fourth from the third."""
    store = FakeStore()
    begin(store, 1)
    first = add(store, 1, 1, 2)
    add(store, 1, 3)
    begin(store, 2, first)
    add(store, 2, 3, 4, 5)
    begin(store, 3, first)
    second = add(store, 3, 3)
    add(store, 3, 4)
    begin(store, 4, second)
    add(store, 4, 4, 5)
    return store


def told(records: list[ExecutionRecord]) -> list[tuple[float, str]]:
    return [(record.at, record.message_id) for record in records]


def test_the_history_follows_the_chain_of_runners() -> None:
    history = StoredHistory(three_runners(), "nightly")

    assert told(list(history)) == [
        (1001, to_id(1)),
        (1002, to_id(2)),
        (3003, to_id(3)),
        (4004, to_id(4)),
        (4005, to_id(5)),
    ]
    assert history.problems == []


def test_what_was_rolled_back_is_counted() -> None:
    # One of the first runner, three of the second, one of the third.
    assert StoredHistory(three_runners(), "nightly").count_rolled_back() == 5


def test_records_of_one_routine_are_picked_by_its_id_whatever_its_number_was() -> None:
    store = three_runners()
    begin(
        store,
        5,
        HistoryPosition(4, len(store.appended["nightly"][history_name(4)])),
        Names(NAMES.routines[::-1], NAMES.edges),
    )
    add(store, 5, 6, 7)

    records = list(StoredHistory(store, "nightly").records("parse"))

    assert [record.message_id for record in records] == [to_id(1), to_id(3), to_id(5), to_id(6)]
    assert {record.routine_id for record in records} == {"parse"}


def test_facts_are_told_as_those_in_memory_are() -> None:
    store = FakeStore()
    begin(store, 1)
    reason = Raised(ErrorRecord("ValueError", "row 17", "trace"))
    facts = [
        Fact("committed", 0, 0, to_bytes(1), 1, 5.0, 0.5, (0,)),
        Fact("failed", 1, 1, to_bytes(1), 2, 6.0, reason=reason),
    ]
    store.append(store.lease(), history_name(1), write_facts(facts), durable=True)

    start, emit, completed, error = StoredHistory(store, "nightly")

    assert (start.kind, start.at, start.source) == ("start", 1004.5, "entry -> read")
    assert (emit.kind, emit.event, completed.seconds) == ("emit", "file", 0.5)
    assert error == ExecutionRecord(
        "parse", "error", 1006.0, to_id(1), "read.file -> parse.source", 2, "", 0.0, "raised ValueError: row 17", reason
    )


def test_a_job_without_logs_has_no_history() -> None:
    store = FakeStore()
    store.lease()

    assert list(StoredHistory(store, "nightly")) == []
    with pytest.raises(UnknownJobError):
        StoredHistory(store, "other")


def test_a_torn_end_of_the_newest_log_is_no_problem_and_cut_off() -> None:
    store = three_runners()
    whole = store.appended["nightly"][history_name(4)]
    counts = set()
    for length in range(len(whole)):
        store.appended["nightly"][history_name(4)] = whole[:length]
        history = StoredHistory(store, "nightly")
        counts.add(len(list(history)))
        assert history.problems == []
    # With a header it stands on the third; without one that has all that it did.
    assert counts == {3, 4}


def test_damage_in_the_middle_is_told_and_the_later_logs_go_on() -> None:
    store = three_runners()
    store.flip(history_name(1), len(store.appended["nightly"][history_name(1)]) // 2 + 60)
    history = StoredHistory(store, "nightly")

    assert told(list(history))[-3:] == [(3003, to_id(3)), (4004, to_id(4)), (4005, to_id(5))]
    assert [problem.name for problem in history.problems] == [history_name(1)]


def test_a_log_that_is_shorter_than_its_successor_knew_it_is_told() -> None:
    store = three_runners()
    header = len(write_log_header(LogHeader(generation=1, base=None, names=NAMES, wall_offset=1000.0)))
    store.appended["nightly"][history_name(1)] = store.appended["nightly"][history_name(1)][:header]
    history = StoredHistory(store, "nightly")

    assert len(list(history)) == 3
    assert "it was to go on to" in history.problems[0].reason


@pytest.mark.parametrize(
    ("spoilt", "told_as"),
    [
        (None, "it is missing, and the history before it"),
        (frame(b"\xc1"), "the history is damaged: its header cannot be read"),
        (frame(b"\x81\xaamin_reader\x09"), "the history needs a reader of format 9"),
        (b"\xff" * 20, "a record of 4,294,967,295 bytes is announced, at offset 0"),
    ],
)
def test_a_link_of_the_chain_that_cannot_be_read_is_told(spoilt: bytes | None, told_as: str) -> None:
    store = three_runners()
    logs = store.appended["nightly"]
    if spoilt is None:
        del logs[history_name(3)]
    else:
        logs[history_name(3)] = spoilt
    history = StoredHistory(store, "nightly")

    assert told(list(history)) == [(4004, to_id(4)), (4005, to_id(5))]
    assert [problem.name for problem in history.problems] == [history_name(3)]
    assert history.problems[0].reason.startswith(told_as)


def test_a_log_under_the_name_of_another_is_told() -> None:
    store = three_runners()
    logs = store.appended["nightly"]
    logs[history_name(5)] = logs[history_name(4)]
    history = StoredHistory(store, "nightly")

    assert len(list(history)) == 5
    assert history.problems == [Problem(history_name(5), "it is that of generation 4, under another name")]


@pytest.mark.parametrize("generation", [4, 5])
def test_a_chain_that_goes_in_circles_ends(generation: int) -> None:
    store = FakeStore()
    begin(store, 4, HistoryPosition(generation, 10_000))
    begin(store, 5, HistoryPosition(4, 10_000))

    assert list(StoredHistory(store, "nightly")) == []


def test_a_batch_that_cannot_be_read_is_told_and_those_after_it_are_read() -> None:
    store = FakeStore()
    begin(store, 1)
    add(store, 1, 1)
    store.append(store.lease(), history_name(1), frame(b"\x91\xc0"), durable=True)
    add(store, 1, 2)
    history = StoredHistory(store, "nightly")

    assert [record.message_id for record in history] == [to_id(1), to_id(2)]
    assert "a batch of facts cannot be read" in history.problems[0].reason


def test_a_long_history_is_read_in_bounded_memory() -> None:
    store = FakeStore()
    begin(store, 1)
    reason = Raised(ErrorRecord("ValueError", "", "t" * 30_000))
    batch = write_facts([Fact("failed", 0, 0, to_bytes(seq), 1, 1.0, reason=reason) for seq in range(8)])
    store.append(store.lease(), history_name(1), batch * 40, durable=True)
    assert len(batch * 40) > 30 * CHUNK_BYTES
    history = StoredHistory(store, "nightly")

    assert peak_bytes(lambda: sum(1 for _record in history)) < 10 * CHUNK_BYTES
