"""What was done once, on disk: positions, several runners, torn ends."""

from __future__ import annotations

import pytest

from routilux.jobs.journal import Journal, read_journals
from routilux.keeping.listing import journal_name
from routilux.keeping.verifying import verify
from routilux.messages import Message, Once
from routilux.records.schema import HistoryPosition
from routilux.stores.base import Lease
from routilux.stores.errors import StoreWriteError
from routilux.stores.memory import MemoryStore
from routilux.stores.owners import this_process


def message(key: int) -> Message:
    return Message(0, 1, {}, key)


def begin(store: MemoryStore, *, create: bool = False) -> tuple[Journal, Lease]:
    lease = store.acquire("job", this_process(), create=create)
    return Journal(store, lease), lease


def test_records_are_read_by_the_keys_of_their_messages() -> None:
    store = MemoryStore()
    journal, _ = begin(store, create=True)
    journal.record(message(1), Once("a", b"1a"))
    journal.record(message(2), Once("a", b"2a"))
    journal.record(message(1), Once("b", b"1b"))
    assert read_journals(store, "job", None) == {1: (Once("a", b"1a"), Once("b", b"1b")), 2: (Once("a", b"2a"),)}


def test_the_first_record_of_a_key_counts() -> None:
    store = MemoryStore()
    journal, _ = begin(store, create=True)
    journal.record(message(1), Once("a", b"first"))
    journal.record(message(1), Once("a", b"second"))
    assert read_journals(store, "job", None) == {1: (Once("a", b"first"),)}


def test_only_what_came_after_a_position_is_read() -> None:
    store = MemoryStore()
    journal, _ = begin(store, create=True)
    assert journal.position == HistoryPosition(1, 0)
    journal.record(message(1), Once("a", b"x"))
    position = journal.position
    assert read_journals(store, "job", position) == {}
    journal.record(message(2), Once("a", b"y"))
    assert read_journals(store, "job", position) == {2: (Once("a", b"y"),)}


def test_later_runners_have_logs_of_their_own_and_all_are_read() -> None:
    store = MemoryStore()
    first, lease = begin(store, create=True)
    first.record(message(1), Once("a", b"1"))
    position = first.position
    first.record(message(2), Once("a", b"2"))
    lease.release()
    second, lease = begin(store)
    assert second.position == HistoryPosition(2, 0)
    second.record(message(3), Once("a", b"3"))
    lease.release()
    third, _ = begin(store)
    third.record(message(4), Once("a", b"4"))
    assert set(read_journals(store, "job", None)) == {1, 2, 3, 4}
    assert set(read_journals(store, "job", position)) == {2, 3, 4}
    assert set(read_journals(store, "job", second.position)) == {4}
    assert set(read_journals(store, "job", HistoryPosition(9, 0))) == set()


@pytest.mark.parametrize("cut", range(1, 36, 5))
def test_a_torn_end_costs_the_last_record_alone(cut: int) -> None:
    store = MemoryStore()
    journal, lease = begin(store, create=True)
    journal.record(message(1), Once("a", b"1"))
    whole = journal.position.offset
    journal.record(message(2), Once("a", b"2"))
    torn = store.read("job", journal_name(1))[:-cut]
    assert len(torn) >= whole or cut > 30
    store.delete(lease, journal_name(1))
    store.append(lease, journal_name(1), torn, durable=True)
    lease.release()
    later, _ = begin(store)
    later.record(message(3), Once("a", b"3"))
    found = set(read_journals(store, "job", None))
    assert 3 in found
    assert 2 not in found
    assert (1 in found) == (len(torn) >= whole)


def test_what_the_store_does_not_take_is_told_and_does_not_move_the_position(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore()
    journal, _ = begin(store, create=True)

    def refuse(*_: object, **__: object) -> int:
        raise StoreWriteError("once-000001", "it is full")

    monkeypatch.setattr(store, "append", refuse)
    journal.record(message(1), Once("charge", b"x"))
    assert "once('charge')" in caplog.text
    assert "may run again" in caplog.text
    assert journal.position == HistoryPosition(1, 0)


def test_what_a_damaged_record_hides_is_told(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore()
    journal, lease = begin(store, create=True)
    journal.record(message(1), Once("a", b"1"))
    whole = journal.position.offset
    journal.record(message(2), Once("a", b"2"))
    journal.record(message(3), Once("a", b"3"))
    log = bytearray(store.read("job", journal_name(1)))
    log[whole + 9] ^= 1
    store.delete(lease, journal_name(1))
    store.append(lease, journal_name(1), bytes(log), durable=True)
    assert set(read_journals(store, "job", None)) == {1}
    assert f"job 'job': once-000001: a record is not what was written, at offset {whole}" in caplog.text
    assert "may run again" in caplog.text
    assert [str(problem) for problem in verify(store, "job")] == [
        f"once-000001: a record is not what was written, at offset {whole}"
    ]


def test_what_is_too_long_for_a_record_is_told(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("routilux.records.log.MAX_RECORD_BYTES", 100)
    journal, _ = begin(MemoryStore(), create=True)
    journal.record(message(1), Once("a", b"x" * 101))
    assert "may run again" in caplog.text
    journal.record(message(2), Once("a", b"x"))
    assert journal.position.offset > 0
