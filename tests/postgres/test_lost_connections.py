"""Connections are lost in the middle of writes, servers restarted: all is written once, or told and not there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from routilux.stores.base import Lease
from routilux.stores.errors import DamagedStoreError, JobExistsError, StoreReadError, StoreWriteError, UnknownJobError
from routilux.stores.owners import this_process
from routilux.stores.postgres import PostgresStore
from tests.postgres.proxies import Proxy, When
from tests.postgres.servers import TestServer

MOMENTS = ["before", "after", "late"]


@pytest.fixture
def proxy(server: TestServer, no_leaks: None) -> Iterator[Proxy]:
    proxy = Proxy(server)
    yield proxy
    proxy.close()


@pytest.fixture
def far(proxy: Proxy, url: str, make_store: Callable[..., PostgresStore]) -> Callable[..., PostgresStore]:
    """Makes a store behind the proxy."""
    database = url.partition("?")[0].rpartition("/")[2]
    return lambda **options: make_store(url=proxy.url(database), **options)


@pytest.mark.parametrize("when", MOMENTS)
def test_what_is_written_while_a_connection_is_lost_is_written_once(
    when: When, proxy: Proxy, far: Callable[..., PostgresStore], store: PostgresStore
) -> None:
    lost = far()
    proxy.lose(b"COMMIT", when)
    lost.acquire("early", this_process(), create=True).release()  # the tables, too
    lease = lost.acquire("job", this_process(), create=True)
    lost.append(lease, "log", b"one", durable=True)
    lost.put(lease, "old", [b"old"])
    steps: list[Callable[[], Any]] = [
        lambda: lost.put(lease, "object", [b"a", b"b"]),
        lambda: lost.append(lease, "log", b", two", durable=False),
        lambda: lost.append(lease, "new-log", b"1", durable=False),
        lambda: lost.delete(lease, "old"),
        lambda: lease.announce(this_process("/here")),
    ]
    for step in steps:
        proxy.lose(b"COMMIT", when)
        step()
    assert proxy.lost == len(steps) + 1
    assert [info.name for info in store.objects("job")] == ["object"]
    assert store.get("job", "object") == b"ab"
    assert store.read("job", "log") == b"one, two"
    assert store.read("job", "new-log") == b"1"
    assert [(info.name, info.size_bytes) for info in store.logs("job")] == [("log", 8), ("new-log", 1)]
    assert store.owner("job") == this_process("/here")
    lease.check()


@pytest.mark.parametrize("when", MOMENTS)
def test_a_job_is_taken_given_back_and_removed_once(
    when: When, proxy: Proxy, far: Callable[..., PostgresStore], store: PostgresStore
) -> None:
    lost = far()
    lost.acquire("other", this_process(), create=True).release()
    proxy.lose(b"COMMIT", when, times=2)
    lease = lost.acquire("job", this_process(), create=True)
    assert lease.generation == 1
    lease.check()
    proxy.lose(b"COMMIT", when)
    lease.release()
    assert store.owner("job") is None
    proxy.lose(b"COMMIT", when, times=2)
    lease = lost.acquire("job", this_process(), create=False)
    assert lease.generation == 2
    lost.put(lease, "object", [b"1"])
    proxy.lose(b"COMMIT", when, times=2)
    lost.remove(lease)
    assert store.jobs() == ["other"]
    with pytest.raises(UnknownJobError):
        lost.acquire("job", this_process(), create=False)
    with pytest.raises(JobExistsError):
        lost.acquire("other", this_process(), create=True)


@pytest.mark.parametrize("when", MOMENTS)
def test_what_could_not_be_written_for_sure_is_told_and_may_be_written_again(
    when: When, proxy: Proxy, far: Callable[..., PostgresStore], store: PostgresStore
) -> None:
    lost = far(patience_seconds=0.0)
    lease = lost.acquire("job", this_process(), create=True)
    lost.append(lease, "log", b"one", durable=True)
    lost.put(lease, "kept", [b"kept"])
    proxy.lose(b"COMMIT", when)
    with pytest.raises(StoreWriteError, match=r"'object' of job 'job' could not be written"):
        lost.put(lease, "object", [b"first"])
    proxy.lose(b"COMMIT", when)
    with pytest.raises(StoreWriteError, match=r"'log' of job 'job' could not be written"):
        lost.append(lease, "log", b", lost", durable=True)
    # What is written next sees to it that there is nothing of them.
    assert lost.append(lease, "log", b", two", durable=True) == 8
    assert store.read("job", "log") == b"one, two"
    assert [info.name for info in store.objects("job")] == ["kept"]
    lost.put(lease, "object", [b"second"])
    assert store.get("job", "object") == b"second"


def test_an_object_that_was_there_before_is_not_taken_for_one_in_doubt(
    proxy: Proxy, far: Callable[..., PostgresStore]
) -> None:
    lost = far(patience_seconds=0.0)
    lease = lost.acquire("job", this_process(), create=True)
    lost.put(lease, "object", [b"first"])
    proxy.lose(b"SELECT kind", "before")
    with pytest.raises(StoreWriteError):
        lost.put(lease, "object", [b"second"])
    with pytest.raises(ValueError, match="never written over"):
        lost.put(lease, "object", [b"third"])
    assert lost.get("job", "object") == b"first"


def test_a_look_is_repeated_when_its_connection_is_lost(proxy: Proxy, far: Callable[..., PostgresStore]) -> None:
    lost = far()
    lease = lost.acquire("job", this_process(), create=True)
    lost.put(lease, "object", [b"1"])
    proxy.lose(b"substring", "before", times=3)
    assert lost.get("job", "object") == b"1"
    assert proxy.lost == 3


def test_a_server_may_be_restarted_while_a_job_is_held(own_server: TestServer) -> None:
    store = PostgresStore(own_server.url())
    lease = store.acquire("job", this_process(), create=True)
    store.append(lease, "log", b"one", durable=False)
    own_server.kill()  # and so is what it had not brought to the device
    own_server.start()
    assert store.append(lease, "log", b", two", durable=False) == 8
    own_server.stop()
    own_server.start()
    store.put(lease, "object", [b"1"])
    lease.check()
    assert store.read("job", "log") == b"one, two"
    store.close()


def test_a_server_that_is_gone_is_told_and_does_no_harm(
    own_server: TestServer, caplog: pytest.LogCaptureFixture
) -> None:
    store = PostgresStore(own_server.url(), patience_seconds=0.2, lease_seconds=0.5)
    lease = store.acquire("job", this_process(), create=True)
    own_server.stop()
    with pytest.raises(StoreWriteError, match=r"'object' of job 'job' could not be written: .*(No such file|refused)"):
        store.put(lease, "object", [b"1"])
    with pytest.raises(StoreReadError):
        store.jobs()
    while "are not renewed now" not in caplog.text:
        threading.Event().wait(0.05)
    own_server.start()
    while "are renewed again" not in caplog.text:
        threading.Event().wait(0.05)
    store.put(lease, "object", [b"1"])  # the lease had ended long ago, and nobody has taken the job
    lease.check()
    own_server.stop()
    store.close()  # gives back what it can: nothing waits for ever
    assert lease.generation == 1


def test_a_server_that_never_was_is_told_at_once(own_server: TestServer) -> None:
    own_server.stop()
    store = PostgresStore(own_server.url(), patience_seconds=1_000.0)
    with pytest.raises(StoreReadError, match="could not be read: connection"):
        store.jobs()
    with pytest.raises(StoreWriteError, match="job 'job' in the database 'postgresql://tests@/"):
        store.acquire("job", this_process(), create=True)


def test_a_log_of_which_the_server_lost_the_end_is_told(store: PostgresStore, server: TestServer, url: str) -> None:
    lease: Lease = store.acquire("job", this_process(), create=True)
    store.append(lease, "log", b"one", durable=True)
    database = url.partition("?")[0].rpartition("/")[2]
    server.run("UPDATE routilux.entries SET size = 1", database=database)
    with pytest.raises(DamagedStoreError, match=r"has lost the end of 'log' of job 'job'.* of 3 bytes 1 are left"):
        store.append(lease, "log", b", two", durable=True)
