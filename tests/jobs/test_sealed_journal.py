"""What was done once, sealed with the key of its job: a record is good in its own place alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from routilux.ids import key_of_text
from routilux.jobs.journal import Journal, read_journals
from routilux.keeping.listing import journal_name, list_journals
from routilux.messages import Message, Once
from routilux.records.errors import WrongKeyError
from routilux.records.schema import HistoryPosition
from routilux.stores import MemoryStore, this_process

KEY = b"sixteen bytes or more"
ONE, TWO = (Message(0, seq, b"", key_of_text(f"message {seq}")) for seq in (1, 2))


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def written(store: MemoryStore, job_id: str, *records: tuple[Message, str, bytes], key: bytes | None = None) -> Journal:
    """Let a runner of a job write records, and end."""
    lease = store.acquire(job_id, this_process(), create=job_id not in store.jobs())
    journal = Journal(store, lease, seal_key=key)
    for message, name, value in records:
        journal.record(message, Once(name, value))
    lease.release()
    return journal


@pytest.mark.parametrize("key", [None, KEY])
def test_what_several_runners_recorded_is_found_by_message_the_first_of_each_key(
    store: MemoryStore, key: bytes | None
) -> None:
    written(store, "job", (ONE, "pay", b"1"), (TWO, "pay", b"2"), key=key)
    written(store, "job", (ONE, "mail", b"3"), (ONE, "pay", b"4"), key=key)
    assert read_journals(store, "job", None, seal_key=key) == {
        ONE.key: (Once("pay", b"1"), Once("mail", b"3")),
        TWO.key: (Once("pay", b"2"),),
    }
    assert list_journals(store, "job") == [1, 2]


def test_what_a_checkpoint_has_seen_is_not_read_again(store: MemoryStore) -> None:
    seen = written(store, "job", (ONE, "pay", b"1")).position
    lease = store.acquire("job", this_process(), create=False)
    assert seen == HistoryPosition(1, len(store.read("job", journal_name(1), 0, 1_000)))
    journal = Journal(store, lease)
    journal.record(TWO, Once("pay", b"2"))
    assert read_journals(store, "job", seen) == {TWO.key: (Once("pay", b"2"),)}
    assert read_journals(store, "job", journal.position) == {}
    lease.release()


def _copy(store: MemoryStore, source: tuple[str, int], job_id: str) -> None:
    """Put the log of one runner in the place of another one's, as somebody can who may write to the store."""
    data = store.read(source[0], journal_name(source[1]), 0, 10_000)
    lease = store.acquire(job_id, this_process(), create=job_id not in store.jobs())
    store.append(lease, journal_name(lease.generation), data, durable=True)
    lease.release()


@pytest.mark.parametrize(
    "forge",
    [
        lambda store: written(store, "job", (ONE, "pay", b"1")),
        lambda store: written(store, "job", (ONE, "pay", b"1"), key=b"another key of somebody"),
        lambda store: (written(store, "other", (ONE, "pay", b"1"), key=KEY), _copy(store, ("other", 1), "job")),
        lambda store: (written(store, "job", (ONE, "pay", b"1"), key=KEY), _copy(store, ("job", 1), "job")),
    ],
    ids=["without a seal", "by another key", "of another job", "of another runner"],
)
def test_with_a_key_a_record_that_was_not_sealed_for_its_place_is_refused(
    store: MemoryStore, forge: Callable[[MemoryStore], object]
) -> None:
    forge(store)
    with pytest.raises(WrongKeyError, match=r"what was done once, in 'once-00000[12]', was sealed with another key"):
        read_journals(store, "job", None, seal_key=KEY)
