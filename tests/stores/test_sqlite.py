"""The store in a database: its file, its pieces, what SQLite refuses."""

from __future__ import annotations

import gc
import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from routilux.stores import SqliteStore, database, this_process
from routilux.stores.chunks import CHUNK_BYTES
from routilux.stores.errors import (
    DamagedStoreError,
    FencedError,
    StoreReadError,
    StoreWriteError,
    UnknownJobError,
    UnsafeStoreError,
)
from tests.stores.deeds import take_over


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "jobs.sqlite")
    yield store
    store.close()


def _rows(store: SqliteStore, statement: str) -> list[Any]:
    connection = sqlite3.connect(store.path)
    rows = connection.execute(statement).fetchall()
    connection.commit()
    connection.close()
    return rows


def test_the_file_is_for_its_owner_alone(store: SqliteStore) -> None:
    umask = os.umask(0)
    try:
        store.acquire("job", this_process(), create=True)
    finally:
        os.umask(umask)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in store.path.parent.rglob("*")}
    assert modes.pop("jobs.sqlite-locks") == 0o700
    assert {"jobs.sqlite", "job.lock"} <= set(modes)
    assert set(modes.values()) == {0o600}


def test_a_store_that_nobody_has_any_more_has_closed_its_connection(tmp_path: Path) -> None:
    closed = []

    class Noting(sqlite3.Connection):
        def close(self) -> None:
            closed.append(True)
            super().close()

    store = SqliteStore(tmp_path / "jobs.sqlite", factory=Noting)
    store.acquire("job", this_process(), create=True).release()
    assert closed == []
    del store
    gc.collect()
    assert closed == [True]


def test_a_store_that_is_only_looked_at_makes_nothing(store: SqliteStore) -> None:
    assert store.jobs() == []
    with pytest.raises(UnknownJobError):
        store.acquire("job", this_process(), create=False)
    assert list(store.path.parent.iterdir()) == []


def test_what_is_kept_is_on_the_device(store: SqliteStore) -> None:
    store.acquire("job", this_process(), create=True)
    with store._database.reading("the settings") as connection:
        assert connection is not None
        (synchronous,) = connection.execute("PRAGMA synchronous").fetchone()
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    assert synchronous == 2  # FULL
    assert mode == ("wal" if sqlite3.sqlite_version_info >= (3, 51, 3) else "truncate")


def test_a_large_object_is_kept_in_pieces(store: SqliteStore) -> None:
    lease = store.acquire("job", this_process(), create=True)
    whole = os.urandom(1000) * (2 * CHUNK_BYTES // 1000 + 1)
    assert store.put(lease, "large", [whole[:10], whole[10:]]) == len(whole)
    assert store.get("job", "large") == whole
    sizes = [size for (size,) in _rows(store, "SELECT length(data) FROM chunks ORDER BY start")]
    assert sizes == [CHUNK_BYTES, CHUNK_BYTES, len(whole) - 2 * CHUNK_BYTES]


def test_many_small_parts_are_kept_in_few_pieces(store: SqliteStore) -> None:
    lease = store.acquire("job", this_process(), create=True)
    store.put(lease, "object", [b"%d" % number for number in range(1000)])
    assert _rows(store, "SELECT count(*) FROM chunks") == [(1,)]


def test_a_database_that_others_may_write_is_refused(store: SqliteStore) -> None:
    store.acquire("job", this_process(), create=True).release()
    store.close()
    store.path.chmod(0o660)
    with pytest.raises(UnsafeStoreError, match="may be written by others"):
        store.jobs()
    store.path.chmod(0o600)
    store.path.parent.chmod(0o777)
    with pytest.raises(UnsafeStoreError, match="may be written by others"):
        store.objects("job")
    store.path.parent.chmod(0o700)
    store.path.rename(store.path.with_name("elsewhere"))
    store.path.symlink_to(store.path.with_name("elsewhere"))
    with pytest.raises(UnsafeStoreError, match="link"):
        store.jobs()


def test_a_file_that_is_no_database_is_told(store: SqliteStore) -> None:
    store.path.write_bytes(b"something else" * 100)
    store.path.chmod(0o600)
    with pytest.raises(DamagedStoreError, match="not a database"):
        store.jobs()


def test_a_database_of_something_else_is_left_alone(store: SqliteStore) -> None:
    _rows(store, "CREATE TABLE users (name TEXT)")
    store.path.chmod(0o600)
    with pytest.raises(DamagedStoreError, match="is one of something else"):
        store.acquire("job", this_process(), create=True)
    assert _rows(store, "SELECT name FROM sqlite_master") == [("users",)]


def test_a_database_of_another_version_is_told(store: SqliteStore) -> None:
    store.acquire("job", this_process(), create=True).release()
    store.close()
    _rows(store, "PRAGMA user_version = 7")
    with pytest.raises(DamagedStoreError, match=f"has schema 7, and this version of routilux knows {database.SCHEMA}"):
        store.jobs()


def test_a_damaged_database_is_told(store: SqliteStore) -> None:
    lease = store.acquire("job", this_process(), create=True)
    store.put(lease, "object", [b"x" * 100_000])
    store.close()
    with store.path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096 * 6)
    with pytest.raises((DamagedStoreError, StoreReadError)):
        store.get("job", "object")


def test_names_are_never_part_of_a_statement(store: SqliteStore) -> None:
    lease = store.acquire("job", this_process(), create=True)
    store.put(lease, "object", [b"1"])
    store.delete(lease, "object' OR '1'='1")
    assert [info.name for info in store.objects("job")] == ["object"]


class _Refusing(sqlite3.Connection):
    """A connection that refuses a statement."""

    beginning = "never"

    def execute(self, *args: Any) -> Any:
        if args[0].startswith(self.beginning):
            raise sqlite3.OperationalError("disk I/O error")
        return super().execute(*args)


@pytest.mark.parametrize("beginning", ["BEGIN IMMEDIATE", "INSERT INTO chunks", "INSERT INTO entries", "COMMIT"])
def test_what_sqlite_refuses_is_told_and_nothing_of_it_is_there(beginning: str, tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "jobs.db", factory=_Refusing)
    lease = store.acquire("job", this_process(), create=True)
    store.put(lease, "old", [b"old"])
    _Refusing.beginning = beginning
    with pytest.raises(StoreWriteError):
        store.put(lease, "new", [b"new"])
    _Refusing.beginning = "never"
    assert [info.name for info in store.objects("job")] == ["old"]
    store.put(lease, "new", [b"new"])
    assert store.get("job", "new") == b"new"
    store.close()


def test_a_full_database_is_told_and_the_old_is_readable(store: SqliteStore) -> None:
    lease = store.acquire("job", this_process(), create=True)
    store.put(lease, "old", [b"old"])
    with store._database.reading("its size") as connection:
        assert connection is not None
        connection.execute("PRAGMA max_page_count = 20")
    with pytest.raises(StoreWriteError, match="'new' of job 'job' could not be written: database or disk is full"):
        store.put(lease, "new", [b"x" * 1_000_000])
    assert store.get("job", "old") == b"old"
    assert store.put(lease, "small", [b"small"]) == 5


def test_a_lease_that_was_taken_over_by_force_is_fenced(store: SqliteStore) -> None:
    lease = store.acquire("job", this_process(), create=True)
    take_over(store, "job")
    with pytest.raises(FencedError, match="was taken over by generation 2"):
        store.put(lease, "object", [b"1"])


def test_a_lease_whose_database_is_gone_is_fenced(store: SqliteStore) -> None:
    lease = store.acquire("job", this_process(), create=True)
    store.path.rename(store.path.with_name("moved"))
    with pytest.raises(FencedError, match="is not in the store any more"):
        store.put(lease, "object", [b"1"])
    assert store.jobs() == []
    assert not store.path.exists()


def test_two_stores_of_one_database_in_one_program_do_not_harm_each_other(store: SqliteStore) -> None:
    other = SqliteStore(store.path)
    mine, its = store.acquire("mine", this_process(), create=True), other.acquire("its", this_process(), create=True)
    for number in range(10):
        store.put(mine, f"object-{number}", [b"mine"])
        other.put(its, f"object-{number}", [b"its"])
        assert store.get("its", f"object-{number}") == b"its"
    other.close()
    assert store.jobs() == ["its", "mine"]
    assert _rows(store, "PRAGMA integrity_check") == [("ok",)]
