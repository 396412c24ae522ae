"""What `Routine.once` has recorded, on disk before it is used: a log for each runner of a job.

Owns the log. A record is kept with its message in the ledger too, and so in each checkpoint; what is needed of the log
after a crash is what was recorded since the newest one, under messages that will be there again by their keys. So the
ledger is told first and the log second, and a checkpoint notes how long the log was at its cut: all before that is in
the checkpoint, or is not needed any more.

Where there is a key, each record is sealed with it, for its job and runner: what it holds is decoded as a value of the
user, which with `allow_pickle` may run code.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator

import msgspec

from routilux.ids import from_bytes, to_bytes
from routilux.keeping.listing import journal_name, list_journals, log_reading
from routilux.messages import Message, Once
from routilux.records.errors import DamagedHistoryError, WrongKeyError
from routilux.records.log import LogReader, frame
from routilux.records.packing import Unpacker, pack
from routilux.records.schema import HistoryPosition, MessageKey
from routilux.stores.base import Lease, Store
from routilux.stores.errors import StoreError
from supervisors.report import reporter

_log = reporter("routilux")


class _Record(msgspec.Struct, frozen=True, array_like=True):
    message: MessageKey
    key: str
    value: bytes
    seal: bytes = b""


_read_record = Unpacker(_Record, DamagedHistoryError).unpack


class Journal:
    """The log of one runner. Any thread may call it.

    Args:
        store: where the job is kept.
        lease: the right to write there.
        seal_key: what records are sealed with; None for no seals.
    """

    def __init__(self, store: Store, lease: Lease, *, seal_key: bytes | None = None) -> None:
        self._store = store
        self._lease = lease
        self._seal_key = seal_key
        self._length = 0

    @property
    def position(self) -> HistoryPosition:
        """How far it has come."""
        return HistoryPosition(self._lease.generation, self._length)

    def record(self, message: Message, once: Once) -> None:
        """Write a record, durable when this returns; if the store does not take it, that is told, and no more."""
        record = _Record(to_bytes(message.key), once.key, once.value)
        if self._seal_key is not None:
            seal = _seal(record, self._lease.job_id, self._lease.generation, self._seal_key)
            record = _Record(record.message, record.key, record.value, seal)
        body = pack(record)
        try:
            length = self._store.append(self._lease, journal_name(self._lease.generation), frame(body), durable=True)
        except (StoreError, ValueError) as error:  # it is longer than a record may be
            _log.error(
                "job %r: once(%r) of message %s is not on disk, and may run again if the program is killed: %s",
                self._lease.job_id,
                once.key,
                message.id,
                error,
            )
        else:
            self._length = max(self._length, length)


def read_journals(
    store: Store, job_id: str, since: HistoryPosition | None, *, seal_key: bytes | None = None
) -> dict[int, tuple[Once, ...]]:
    """Give what was recorded since a checkpoint, by the keys of the messages.

    Args:
        store: where the job is kept.
        job_id: the job.
        since: how far the log had come at that checkpoint; None for all there is.
        seal_key: what records are sealed with; None for no seals.

    Raises:
        WrongKeyError: a record was not sealed with that key, or not for that job and runner.
        DamagedHistoryError: a record is not what was written.
    """
    memos: dict[int, tuple[Once, ...]] = {}
    for record in _read_since(store, job_id, since, seal_key):
        key = from_bytes(record.message)
        known = memos.get(key, ())
        if all(once.key != record.key for once in known):
            memos[key] = (*known, Once(record.key, record.value))
    return memos


def _read_since(store: Store, job_id: str, since: HistoryPosition | None, seal_key: bytes | None) -> Iterator[_Record]:
    for generation in list_journals(store, job_id):
        if since is not None and generation < since.generation:
            continue
        offset = since.offset if since is not None and generation == since.generation else 0
        name = journal_name(generation)
        reader = LogReader(log_reading(store, job_id, name), offset)
        for entry in reader:
            record = _read_record(entry.body, "a record of the journal")
            if seal_key is not None and not hmac.compare_digest(
                record.seal, _seal(record, job_id, generation, seal_key)
            ):
                raise WrongKeyError(f"what was done once, in {name!r},")
            yield record
        if reader.problem is not None and not reader.is_torn:
            _log.error(
                "job %r: %s: %s; what was done once and is told behind it may run again", job_id, name, reader.problem
            )


def _seal(record: _Record, job_id: str, generation: int, seal_key: bytes) -> bytes:
    sealed = pack([job_id, generation, record.message, record.key, record.value])
    return hashlib.blake2b(sealed, key=seal_key, digest_size=32, person=b"routilux-once").digest()
