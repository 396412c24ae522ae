"""The rules of `routilux.stores.base`, as steps that are run against a store.

Never looks inside one. `routilux.testing.check_store` runs them.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec

from routilux.errors import OptionError
from routilux.stores.base import Lease, Owner, Store
from routilux.stores.errors import (
    FencedError,
    JobExistsError,
    JobOwnedError,
    MissingObjectError,
    StoreError,
    UnknownJobError,
)
from routilux.stores.owners import this_process

BIG_BYTES = 3 * 2**20
"""Size of the largest object that is put (arbitrary)."""
WRITERS = 4
"""Threads that write at the same time (arbitrary)."""
_THREAD_SECONDS = 60.0


class Bench(NamedTuple):
    """A fresh store, and how to come by another one of the same place and to lose a job.

    Args:
        store: the store.
        reopen: gives another store of the same place; None where there can be none.
        take_over: takes a job away from whoever has it; None where nothing can.
    """

    store: Store
    reopen: Callable[[Store], Store] | None
    take_over: Callable[[Store, str], None] | None


class BrokenError(Exception):
    """What was to hold does not; the text says how."""


RULES: dict[str, Callable[[Bench], None]] = {}
"""What is checked, by the name of the rule: what everything else needs comes first."""


def _rule(name: str) -> Callable[[Callable[[Bench], None]], Callable[[Bench], None]]:
    def keep(check: Callable[[Bench], None]) -> Callable[[Bench], None]:
        RULES[name] = check
        return check

    return keep


# ---- jobs


@_rule("jobs are listed, sorted")
def _check_jobs(bench: Bench) -> None:
    _expect(bench.store.jobs(), [], "jobs() of an empty store")
    for job_id in ("b", "a-2", "C_3"):
        _create(bench.store, job_id)
    _expect(bench.store.jobs(), ["C_3", "a-2", "b"], "jobs()")


@_rule("ids and names are checked")
def _check_names(bench: Bench) -> None:
    store = bench.store
    for job_id in ("", "../up", "a/b", "a.b", "-a", "ä", "x" * 65):
        with _raises(OptionError, f"acquire({job_id!r})"):
            store.acquire(job_id, this_process(), create=True)
    lease = _create(store, "x" * 64)
    for name in ("", "../up", "a/b", "A", "-a", "a.b", "a_b", "x" * 101):
        with _raises(ValueError, f"put({name!r})"):
            store.put(lease, name, [b"1"])
        with _raises(ValueError, f"append({name!r})"):
            store.append(lease, name, b"1", durable=False)
    store.put(lease, "x" * 100, [b"1"])
    _expect(store.get("x" * 64, "x" * 100), b"1", "get() of the longest name")


@_rule("a job that is not there is unknown")
def _check_unknown(bench: Bench) -> None:
    store = bench.store
    for _ in range(2):  # the second time the store has something
        with _raises(UnknownJobError, "acquire(create=False) of an unknown job"):
            store.acquire("none", this_process(), create=False)
        asked: dict[str, Callable[[], object]] = {
            "owner": lambda: store.owner("none"),
            "get": lambda: store.get("none", "object"),
            "objects": lambda: store.objects("none"),
            "read": lambda: store.read("none", "log"),
            "logs": lambda: store.logs("none"),
        }
        for verb, ask in asked.items():
            with _raises(UnknownJobError, f"{verb}() of an unknown job"):
                ask()
        if not store.jobs():
            _create(store, "other")
    _expect(store.jobs(), ["other"], "jobs(), after an unknown job was asked for,")


@_rule("a new job is new")
def _check_new(bench: Bench) -> None:
    lease = _create(bench.store, "job")
    bench.store.put(lease, "kept", [b"1"])
    lease.release()
    with _raises(JobExistsError, "acquire(create=True) of a job that is there"):
        bench.store.acquire("job", this_process(), create=True)
    _expect(bench.store.get("job", "kept"), b"1", "get(), after another one tried to make the job anew,")


# ---- objects


@_rule("an object is what was put")
def _check_objects(bench: Bench) -> None:
    store = bench.store
    lease = _create(store, "job")
    parts = {
        "none": [],
        "empty": [b"", b""],
        "all-bytes": [bytes(range(256))],
        "several": [b"one", b"", b"two", b"three"],
        "big": [bytes([number]) * (BIG_BYTES // 3) for number in range(3)],
    }
    for name, content in parts.items():
        whole = b"".join(content)
        _expect(store.put(lease, name, iter(content)), len(whole), f"put({name!r})")
        found = store.get("job", name)
        _expect(type(found), bytes, f"the type of what get({name!r}) gave")
        if found != whole:
            raise BrokenError(f"get({name!r}) gave {len(found)} bytes that are not the {len(whole)} that were put")


@_rule("objects are listed, sorted, without the logs")
def _check_listing(bench: Bench) -> None:
    store = bench.store
    lease = _create(store, "job")
    for name in ("b-2", "b-10", "a", "c"):
        store.put(lease, name, [name.encode()])
    store.append(lease, "b-log", b"12345", durable=False)
    store.append(lease, "a-log", b"1", durable=False)
    objects, logs = store.objects("job"), store.logs("job")
    _expect([info.name for info in objects], ["a", "b-10", "b-2", "c"], "the names of objects()")
    _expect([info.size_bytes for info in objects], [1, 4, 3, 1], "the sizes of objects()")
    _expect([(info.name, info.size_bytes) for info in logs], [("a-log", 1), ("b-log", 5)], "logs()")
    if not all(info.written_at > 0 for info in objects + logs):
        raise BrokenError("objects() or logs() does not say when something was written")


@_rule("what is not there is missing")
def _check_missing(bench: Bench) -> None:
    store = bench.store
    lease = _create(store, "job")
    store.put(lease, "object", [b"1"])
    store.append(lease, "log", b"1", durable=False)
    for name in ("none", "log"):
        with _raises(MissingObjectError, f"get({name!r}), which is no object"):
            store.get("job", name)
    for name in ("none", "object"):
        with _raises(MissingObjectError, f"read({name!r}), which is no log"):
            store.read("job", name)


@_rule("what was put does not change with the caller's buffer")
def _check_copied(bench: Bench) -> None:
    lease = _create(bench.store, "job")
    buffer: Any = bytearray(b"before")  # some encoders give theirs, whatever the types say
    bench.store.put(lease, "object", [buffer])
    bench.store.append(lease, "log", buffer, durable=False)
    buffer[:] = b"after!"
    _expect(bench.store.get("job", "object"), b"before", "get(), after the buffer that was put was changed,")
    _expect(bench.store.read("job", "log"), b"before", "read(), after the buffer that was appended was changed,")


@_rule("objects are never written over")
def _check_overwriting(bench: Bench) -> None:
    store = bench.store
    lease = _create(store, "job")
    store.put(lease, "object", [b"first"])
    store.append(lease, "log", b"first", durable=False)
    with _raises(ValueError, "put() of a name that is taken"):
        store.put(lease, "object", [b"second"])
    with _raises(ValueError, "put() of a log's name"):
        store.put(lease, "log", [b"second"])
    with _raises(ValueError, "append() to an object"):
        store.append(lease, "object", b"second", durable=False)
    _expect(store.get("job", "object"), b"first", "get(), after another object of that name was put,")
    _expect(store.read("job", "log"), b"first", "read(), after an object of that name was put,")


@_rule("an object is there whole or not at all")
def _check_whole(bench: Bench) -> None:
    store = bench.store
    lease = _create(store, "job")
    seen: list[list[str]] = []

    def parts() -> Iterator[bytes]:
        yield b"x" * BIG_BYTES
        seen.append([info.name for info in store.objects("job")])
        raise KeyError("no more")

    with _raises(KeyError, "put() of parts that raise KeyError"):
        store.put(lease, "object", parts())
    _expect(seen, [[]], "the objects, while one was being put,")
    _expect(store.objects("job"), [], "the objects, after one could not be put,")
    with _raises(MissingObjectError, "get() of an object that could not be put"):
        store.get("job", "object")
    store.put(lease, "object", [b"whole"])
    _expect(store.get("job", "object"), b"whole", "get(), after it was put a second time,")


@_rule("what is deleted is gone, and may be deleted again")
def _check_deletion(bench: Bench) -> None:
    store = bench.store
    lease = _create(store, "job")
    store.put(lease, "object", [b"1"])
    store.put(lease, "other", [b"2"])
    store.append(lease, "log", b"1", durable=False)
    for name in ("object", "log", "object", "never-there"):
        store.delete(lease, name)
    _expect([info.name for info in store.objects("job")], ["other"], "the objects after delete()")
    _expect(store.logs("job"), [], "the logs after delete()")
    with _raises(MissingObjectError, "get() of a deleted object"):
        store.get("job", "object")
    with _raises(MissingObjectError, "read() of a deleted log"):
        store.read("job", "log")
    store.put(lease, "object", [b"anew"])
    _expect(store.append(lease, "log", b"anew", durable=True), 4, "append() to a log that was deleted before")
    _expect(store.get("job", "object"), b"anew", "get() of an object that was deleted and put again")


# ---- logs


@_rule("a log is what was appended, in order")
def _check_logs(bench: Bench) -> None:
    store = bench.store
    lease = _create(store, "job")
    whole = b""
    for number in range(20):
        piece = b"%d," % number * (1 + number % 3)
        whole += piece
        _expect(store.append(lease, "log", piece, durable=number % 5 == 0), len(whole), "the size append() gave")
    _expect(store.append(lease, "log", b"", durable=True), len(whole), "the size append() of nothing gave")
    _expect(store.read("job", "log"), whole, "read()")
    _expect(type(store.read("job", "log")), bytes, "the type of what read() gave")
    for offset in (0, 1, 7, len(whole) - 1, len(whole), len(whole) + 9):
        _expect(store.read("job", "log", offset), whole[offset:], f"read(offset={offset})")
        for limit in (0, 1, 10, len(whole)):
            _expect(
                store.read("job", "log", offset, limit),
                whole[offset : offset + limit],
                f"read(offset={offset}, limit={limit})",
            )


@_rule("threads do not get into each other's way")
def _check_threads(bench: Bench) -> None:
    store, times = bench.store, 5
    lease = _create(store, "job")
    failures: list[Exception] = []

    def write(number: int) -> None:
        try:
            for turn in range(times):
                store.append(lease, "log", bytes([65 + number]) * 100, durable=False)
                store.put(lease, f"object-{number}-{turn}", [b"%d" % number, b"-%d" % turn])
                store.get("job", f"object-{number}-{turn}")
        except Exception as error:  # noqa: BLE001 -- it is told by the thread that waits
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,), name=f"store-{number}") for number in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_THREAD_SECONDS)
    if failures:
        raise failures[0]
    log = store.read("job", "log")
    pieces = [log[begin : begin + 100] for begin in range(0, len(log), 100)]
    expected = sorted(bytes([65 + number]) * 100 for number in range(WRITERS) for _ in range(times))
    if sorted(pieces) != expected:
        raise BrokenError(f"what {WRITERS} threads appended is not there once and in one piece each")
    _expect(len(store.objects("job")), WRITERS * times, "the number of objects that threads have put")


# ---- leases


@_rule("one runner has a job")
def _check_lease(bench: Bench) -> None:
    store, owner = bench.store, this_process("/tmp/socket")  # noqa: S108 -- a name, and nothing is made there
    lease = store.acquire("job", owner, create=True)
    with _raises(JobOwnedError, "acquire() of a job that this process has") as refused:
        store.acquire("job", this_process(), create=False)
    _expect(getattr(refused.error, "owner", None), owner, "the owner that JobOwnedError names")
    with _another(bench) as other, _raises(JobOwnedError, "acquire() by a second store of a job that is taken"):
        other.acquire("job", this_process(), create=False)
    lease.check()
    lease.release()
    store.acquire("job", this_process(), create=False).check()


@_rule("the owner is told")
def _check_owner(bench: Bench) -> None:
    store, owner = bench.store, this_process()
    lease = store.acquire("job", owner, create=True)
    _expect(store.owner("job"), owner, "owner() of a job that is taken")
    moved = msgspec.structs.replace(owner, control="/elsewhere")
    lease.announce(moved)
    with _another(bench) as other:
        _expect(other.owner("job"), moved, "owner() after announce()")
    lease.release()
    _expect(store.owner("job"), None, "owner() after release()")
    lease.release()


@_rule("generations count up by one")
def _check_generations(bench: Bench) -> None:
    lease = _create(bench.store, "job")
    _expect((lease.job_id, lease.generation), ("job", 1), "the first lease")
    lease.release()
    for generation in (2, 3):
        with _another(bench) as store:
            lease = store.acquire("job", this_process(), create=False)
            _expect(lease.generation, generation, "the next generation")
            lease.release()


@_rule("a lease that was released writes nothing")
def _check_released(bench: Bench) -> None:
    store = bench.store
    lease = _create(store, "job")
    store.put(lease, "object", [b"1"])
    store.append(lease, "log", b"1", durable=True)
    lease.release()
    _check_fenced(store, lease, "that was released")
    later = store.acquire("job", this_process(), create=False)
    _check_fenced(store, lease, "that was released, and another has the job")
    lease.release()
    later.check()
    _expect(store.owner("job"), this_process(), "owner(), after an earlier lease was released once more,")


@_rule("a lease that was taken over writes nothing")
def _check_taken_over(bench: Bench) -> None:
    if bench.take_over is None:
        return
    store = bench.store
    lease = _create(store, "job")
    store.put(lease, "object", [b"1"])
    store.append(lease, "log", b"1", durable=True)
    bench.take_over(store, "job")
    _check_fenced(store, lease, "whose job was taken over")
    lease.release()


def _check_fenced(store: Store, lease: Lease, which: str) -> None:
    owner: Owner = this_process("/never")
    tried: dict[str, Callable[[], object]] = {
        "check": lease.check,
        "announce": lambda: lease.announce(owner),
        "put": lambda: store.put(lease, "late", [b"2"]),
        "append": lambda: store.append(lease, "log", b"2", durable=False),
        "delete": lambda: store.delete(lease, "object"),
        "remove": lambda: store.remove(lease),
    }
    for verb, attempt in tried.items():
        with _raises(FencedError, f"{verb}() with a lease {which}"):
            attempt()
    _expect([info.name for info in store.objects("job")], ["object"], f"the objects, after a lease {which} wrote,")
    _expect(store.read("job", "log"), b"1", f"the log, after a lease {which} wrote,")


# ---- the whole


@_rule("jobs do not share what they keep")
def _check_apart(bench: Bench) -> None:
    store = bench.store
    for job_id in ("one", "two"):
        lease = _create(store, job_id)
        store.put(lease, "object", [job_id.encode()])
        store.append(lease, "log", job_id.encode(), durable=False)
        if job_id == "two":
            store.delete(lease, "object")
    _expect(store.get("one", "object"), b"one", "get(), after another job's object of that name was deleted,")
    _expect(store.read("one", "log"), b"one", "read(), after another job's log of that name was written,")


@_rule("a job that is removed is gone")
def _check_removal(bench: Bench) -> None:
    store = bench.store
    other = _create(store, "other")
    store.put(other, "object", [b"other"])
    lease = _create(store, "job")
    store.put(lease, "object", [b"1"])
    store.append(lease, "log", b"1", durable=False)
    store.remove(lease)
    _expect(store.jobs(), ["other"], "jobs() after remove()")
    with _raises(UnknownJobError, "get() of a removed job"):
        store.get("job", "object")
    with _raises(FencedError, "check() of the lease whose job was removed"):
        lease.check()
    lease.release()
    anew = _create(store, "job")
    _expect(anew.generation, 1, "the generation of a job that was removed and made anew")
    _expect((store.objects("job"), store.logs("job")), ([], []), "what a job has that was removed and made anew")
    _expect(store.get("other", "object"), b"other", "get() of another job after remove()")


@_rule("what was kept stays")
def _check_kept(bench: Bench) -> None:
    if bench.reopen is None:
        return
    lease = _create(bench.store, "job")
    bench.store.put(lease, "object", [b"kept ", b"object"])
    bench.store.append(lease, "log", b"kept ", durable=False)
    bench.store.append(lease, "log", b"log", durable=True)
    for when in ("while the first is open", "after the first was closed"):
        with _another(bench) as store:
            _expect(store.jobs(), ["job"], f"jobs() of a second store, {when},")
            _expect(store.get("job", "object"), b"kept object", f"get() by a second store, {when},")
            _expect(store.read("job", "log"), b"kept log", f"read() by a second store, {when},")
        bench.store.close()
    with _another(bench) as store:
        lease = store.acquire("job", this_process(), create=False)
        _expect(store.append(lease, "log", b", more", durable=True), 14, "append() to the log of an earlier lease")
        store.delete(lease, "object")
    with _another(bench) as store:
        _expect(store.read("job", "log"), b"kept log, more", "read() of a log that two leases have written")
        _expect(store.objects("job"), [], "objects() by a second store after delete()")


@_rule("a store that is closed has no leases")
def _check_closing(bench: Bench) -> None:
    lease = _create(bench.store, "job")
    bench.store.close()
    with _raises(StoreError, "check() of a lease whose store was closed"):
        lease.check()
    lease.release()
    bench.store.close()
    with _another(bench) as store:
        store.acquire("job", this_process(), create=False).check()


# ---- what the rules are made of


def _create(store: Store, job_id: str) -> Lease:
    return store.acquire(job_id, this_process(), create=True)


@contextlib.contextmanager
def _another(bench: Bench) -> Iterator[Store]:
    """Give a second store of the same place, where there can be one; else the same."""
    if bench.reopen is None:
        yield bench.store
        return
    store = bench.reopen(bench.store)
    try:
        yield store
    finally:
        store.close()


def _expect(found: object, expected: object, what: str) -> None:
    if found != expected:
        raise BrokenError(f"{what} should be {expected!r:.200}, and is {found!r:.200}")


class _Refusal:
    """What was raised."""

    error: Exception | None = None


@contextlib.contextmanager
def _raises(kind: type[Exception], what: str) -> Iterator[_Refusal]:
    refusal = _Refusal()
    try:
        yield refusal
    except kind as error:
        refusal.error = error
        return
    except Exception as error:
        raise BrokenError(f"{what} should raise {kind.__name__}, and raised {type(error).__name__}: {error}") from error
    raise BrokenError(f"{what} should raise {kind.__name__}, and did not")
