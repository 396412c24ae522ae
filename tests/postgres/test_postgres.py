"""The store in PostgreSQL: its tables, its pieces, what the server refuses, and what nobody is to see."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from routilux.stores.chunks import CHUNK_BYTES
from routilux.stores.errors import (
    DamagedStoreError,
    FencedError,
    StoreError,
    StoreReadError,
    StoreWriteError,
    UnknownJobError,
)
from routilux.stores.owners import this_process
from routilux.stores.postgres import PostgresStore
from routilux.stores.server import SCHEMA_VERSION, Server
from routilux.stores.urls import read_url
from tests.postgres.servers import TestServer

ROOT = Path(__file__).resolve().parents[2]
Make = Callable[..., PostgresStore]
Run = Callable[..., list[Any]]


@pytest.fixture
def run(server: TestServer, url: str) -> Run:
    """Carries statements out in the test's database."""
    database = url.partition("?")[0].rpartition("/")[2]
    return lambda statement, *values: server.run(statement, *values, database=database)


def test_a_store_that_is_only_looked_at_makes_nothing(store: PostgresStore, run: Run) -> None:
    assert store.jobs() == []
    assert not store.is_there()
    with pytest.raises(UnknownJobError):
        store.acquire("job", this_process(), create=False)
    assert run("SELECT nspname FROM pg_namespace WHERE nspname = 'routilux'") == []
    store.acquire("job", this_process(), create=True)
    assert store.is_there()


def test_a_large_object_is_kept_in_pieces(store: PostgresStore, run: Run) -> None:
    lease = store.acquire("job", this_process(), create=True)
    whole = os.urandom(1000) * (2 * CHUNK_BYTES // 1000 + 1)
    assert store.put(lease, "large", [whole[:10], whole[10:]]) == len(whole)
    assert store.get("job", "large") == whole
    for limit in (0, 7, CHUNK_BYTES, CHUNK_BYTES + 7, len(whole) + 7):
        assert store.get("job", "large", limit) == whole[:limit]
    sizes = [size for (size,) in run("SELECT length(data) FROM routilux.chunks ORDER BY start")]
    assert sizes == [CHUNK_BYTES, CHUNK_BYTES, len(whole) - 2 * CHUNK_BYTES]


def test_a_log_is_read_from_anywhere_across_its_pieces(store: PostgresStore) -> None:
    lease = store.acquire("job", this_process(), create=True)
    pieces = [bytes([65 + number]) * (number % 4) for number in range(20)]
    for piece in pieces:
        store.append(lease, "log", piece, durable=False)
    whole = b"".join(pieces)
    for offset in range(len(whole) + 2):
        for limit in (None, 0, 1, 3, len(whole)):
            end = None if limit is None else offset + limit
            assert store.read("job", "log", offset, limit) == whole[offset:end], (offset, limit)


def test_what_is_kept_goes_with_the_job(store: PostgresStore, run: Run) -> None:
    lease = store.acquire("job", this_process(), create=True)
    store.put(lease, "object", [b"1"])
    store.append(lease, "log", b"1", durable=True)
    store.remove(lease)
    counts = [run(f"SELECT count(*) FROM routilux.{name}") for name in ("jobs", "leases", "entries", "chunks")]
    assert counts == [[(0,)]] * 4


def test_what_is_committed_is_on_the_device_whatever_the_server_says(
    server: TestServer, url: str, make_store: Make
) -> None:
    database = url.partition("?")[0].rpartition("/")[2]
    server.run(f"ALTER DATABASE {database} SET synchronous_commit = off")
    store = make_store()
    store.acquire("job", this_process(), create=True)
    found = store._server.writing("a look", lambda t: t.row("SELECT current_setting('synchronous_commit')"))
    assert found == ("on",)


def test_a_connection_that_says_nothing_is_given_up_but_for_what_the_url_says(url: str) -> None:
    for options, expected in (("", "1500"), ("&tcp_user_timeout=7000", "7000")):
        database = Server(read_url(url + options), 0.0, 1.5)
        assert database.reading("a look", lambda transaction: transaction) is None
        assert database._connection.info.get_parameters()["tcp_user_timeout"] == expected
        database.close()


def test_programs_that_begin_at_once_make_the_tables_once(make_store: Make) -> None:
    failures: list[StoreError] = []

    def begin(number: int, store: PostgresStore) -> None:
        try:
            store.acquire(f"job-{number}", this_process(), create=True)
        except StoreError as error:
            failures.append(error)

    threads = [threading.Thread(target=begin, args=(number, make_store())) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(make_store().jobs()) == 8


def test_schemas_are_stores_of_their_own(make_store: Make, url: str) -> None:
    one, two = make_store(schema="one"), make_store(url=url + "&schema=two")
    one.acquire("job", this_process(), create=True)
    two.acquire("other", this_process(), create=True)
    assert (one.jobs(), two.jobs()) == (["job"], ["other"])
    assert make_store(url=two.url).jobs() == ["other"]


def test_a_schema_that_was_made_for_it_is_used(server: TestServer, url: str, make_store: Make, run: Run) -> None:
    server.run("CREATE ROLE guest LOGIN")
    store = make_store(url=url.replace("tests@", "guest@"))
    with pytest.raises(StoreWriteError, match=r"job 'job' in .* could not be written: permission denied for database"):
        store.acquire("job", this_process(), create=True)
    run("CREATE SCHEMA routilux AUTHORIZATION guest")
    store.acquire("job", this_process(), create=True).check()


def test_a_schema_of_something_else_is_left_alone(make_store: Make, run: Run) -> None:
    run("CREATE TABLE public.users (name text)")
    store = make_store(schema="public")
    for use in (store.jobs, lambda: store.acquire("job", this_process(), create=True)):
        with pytest.raises(DamagedStoreError, match=r"the schema 'public' of .* is one of something else"):
            use()
    run("CREATE TABLE public.about (name text)")
    with pytest.raises(DamagedStoreError, match="is one of something else"):
        store.jobs()
    run("DROP TABLE public.about")
    run("CREATE TABLE public.about (application text, version int)")
    with pytest.raises(DamagedStoreError, match="is one of something else"):
        store.jobs()
    assert run("SELECT relname FROM pg_class WHERE relname = 'jobs'") == []


def test_a_schema_of_another_version_is_told(make_store: Make, run: Run) -> None:
    first, second = make_store(), make_store()
    first.acquire("job", this_process(), create=True).release()
    run("UPDATE routilux.about SET version = 7")
    with pytest.raises(DamagedStoreError, match=f"has version 7, and this version of routilux knows {SCHEMA_VERSION}"):
        second.jobs()
    with pytest.raises(DamagedStoreError, match="has version 7"):
        second.acquire("new", this_process(), create=True)


def test_a_schema_that_is_dropped_is_missed(store: PostgresStore, run: Run) -> None:
    lease = store.acquire("job", this_process(), create=True)
    run("DROP SCHEMA routilux CASCADE")
    with pytest.raises(StoreError):
        store.put(lease, "object", [b"1"])
    assert store.jobs() == []
    with pytest.raises(FencedError):
        lease.check()
    with pytest.raises(StoreWriteError, match="there is no schema 'routilux' in the database"):
        store.put(lease, "object", [b"1"])
    store.acquire("job", this_process(), create=True).check()


def test_a_write_that_the_server_refuses_leaves_nothing_and_the_store_works_on(store: PostgresStore, run: Run) -> None:
    lease = store.acquire("job", this_process(), create=True)
    run("ALTER TABLE routilux.chunks ADD CHECK (length(data) < 10)")  # as a disk that is full
    with pytest.raises(StoreWriteError, match=r"'object' of job 'job' could not be written: .*violates check"):
        store.put(lease, "object", [b"1" * 100])
    assert store.objects("job") == []
    store.append(lease, "log", b"one", durable=True)
    with pytest.raises(StoreWriteError):
        store.append(lease, "log", b"1" * 100, durable=True)
    assert store.append(lease, "log", b"two", durable=True) == 6
    assert store.read("job", "log") == b"onetwo"
    store.put(lease, "object", [b"1"])


def test_a_write_that_is_interrupted_is_undone(store: PostgresStore) -> None:
    lease = store.acquire("job", this_process(), create=True)

    def interrupt(transaction: Any) -> None:
        transaction.change("INSERT INTO {entries} VALUES ('job', 'object', 0, 0, 0.0)")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store._write(lease, "a write", interrupt)
    assert store.objects("job") == []
    store.put(lease, "object", [b"1"])


def test_names_are_values_and_never_part_of_a_statement(store: PostgresStore) -> None:
    lease = store.acquire("job", this_process("a\"'; DROP TABLE jobs; -- %s {jobs}"), create=True)
    assert store.owner("job") == this_process("a\"'; DROP TABLE jobs; -- %s {jobs}")
    with pytest.raises(ValueError, match="the name of an object"):
        store.put(lease, "x'; DROP TABLE jobs", [b""])


def test_a_store_that_nobody_has_any_more_has_closed_its_connection(url: str, server: TestServer) -> None:
    store = PostgresStore(url)
    store.acquire("job", this_process(), create=True).release()
    database = url.partition("?")[0].rpartition("/")[2]

    def count() -> int:
        (found,) = server.run("SELECT count(*) FROM pg_stat_activity WHERE datname = %s", database)
        return int(found[0])

    assert count() == 1
    del store
    gc.collect()
    while count():
        threading.Event().wait(0.02)


def test_a_program_that_ends_with_its_store_open_ends_quietly(url: str) -> None:
    code = (
        "import sys; from routilux.stores import open_store, this_process\n"
        "store = open_store(sys.argv[1]); lease = store.acquire('job', this_process(), create=True)"
    )
    program = [sys.executable, "-W", "error", "-c", code, url]
    ended = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True, timeout=30.0)
    assert (ended.stdout, ended.stderr) == ("", "")


# ---- passwords


def test_a_password_opens_and_is_not_seen(guarded: str, make_store: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    store = make_store(url=guarded)
    lease = store.acquire("job", this_process(), create=True)
    shown = guarded.replace(":pa%3Ass%25w%40rd", "")
    assert str(store) == f"the database {shown!r}"
    told = [repr(store), repr(lease), repr(vars(store)), store.url, caplog.text]
    wrong = make_store(url=guarded.replace("rd@", "rong@"))
    with pytest.raises(StoreReadError, match="password authentication failed") as refused:
        wrong.jobs()
    told += [str(refused.value), repr(refused.value), str(refused.value.__cause__)]
    for text in told:
        assert "pa:ss" not in text
        assert "pa%3Ass" not in text


def test_what_is_shown_opens_with_a_password_from_the_environment(
    guarded: str, make_store: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make_store(url=guarded)
    first.acquire("job", this_process(), create=True)
    shown = make_store(url=first.url)
    with pytest.raises(StoreReadError, match="no password supplied"):
        shown.jobs()
    monkeypatch.setenv("PGPASSWORD", "pa:ss%w@rd")
    assert shown.jobs() == ["job"]
