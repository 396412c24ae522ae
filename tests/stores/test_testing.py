"""The conformance kit: it passes the stores that keep the rules, and names the rule that another one breaks."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from routilux.stores import FileStore, Lease, MemoryStore, ObjectInfo, Owner
from routilux.stores.errors import UnknownJobError
from routilux.stores.rules import RULES, Bench, BrokenError
from routilux.testing import StoreRuleError, check_store
from tests.stores.deeds import make_store, reopen, take_over


def _fresh(kind: str, folder: Path) -> Callable[[], Any]:
    numbers = iter(range(1000))
    return lambda: make_store(kind, folder / str(next(numbers)))


@pytest.mark.parametrize("kind", ["files", "sqlite"])
def test_a_store_on_disk_keeps_the_rules(kind: str, tmp_path: Path) -> None:
    check_store(_fresh(kind, tmp_path), reopen=reopen, take_over=take_over)


def test_the_store_in_memory_keeps_the_rules() -> None:
    check_store(MemoryStore)


# ---- stores that do not


class _UnsortedJobs(MemoryStore):
    def jobs(self) -> list[str]:
        return super().jobs()[::-1]


class _AnyName(MemoryStore):
    def put(self, lease: Lease, name: str, parts: Iterable[bytes]) -> int:
        return super().put(lease, name.replace("/", "") or "empty", parts)


class _UnknownIsEmpty(MemoryStore):
    def objects(self, job_id: str) -> list[ObjectInfo]:
        return super().objects(job_id) if job_id in self.jobs() else []


class _NewOverOld(MemoryStore):
    def acquire(self, job_id: str, owner: Owner, *, create: bool) -> Any:
        if create and job_id in self.jobs():
            self._jobs.pop(job_id)
        return super().acquire(job_id, owner, create=create)


class _TwoLeases(MemoryStore):
    def acquire(self, job_id: str, owner: Owner, *, create: bool) -> Any:
        if job_id in self._jobs:
            self._jobs[job_id].lease = None
        return super().acquire(job_id, owner, create=create)


class _SilentAboutOwners(MemoryStore):
    def owner(self, job_id: str) -> Owner | None:
        super().owner(job_id)
        return None


class _SameGeneration(MemoryStore):
    def acquire(self, job_id: str, owner: Owner, *, create: bool) -> Any:
        lease = super().acquire(job_id, owner, create=create)
        lease._generation = 1
        return lease


class _Unfenced(MemoryStore):
    def _leased_held(self, lease: Lease) -> Any:
        return self._jobs[lease.job_id]


class _FencedChecksAlone(_Unfenced):
    def check(self, lease: Any) -> None:
        MemoryStore._leased_held(self, lease)


class _OnlyFirstPart(MemoryStore):
    def put(self, lease: Lease, name: str, parts: Iterable[bytes]) -> int:
        return super().put(lease, name, list(parts)[:1])


class _SharedBuffer(MemoryStore):
    def put(self, lease: Lease, name: str, parts: Iterable[bytes]) -> int:
        parts = list(parts)
        size = super().put(lease, name, parts)
        if len(parts) == 1:
            entry = self._jobs[lease.job_id].objects[name]
            self._jobs[lease.job_id].objects[name] = entry._replace(data=parts[0])
        return size


class _Overwriting(MemoryStore):
    def put(self, lease: Lease, name: str, parts: Iterable[bytes]) -> int:
        self.delete(lease, name)
        return super().put(lease, name, parts)


class _Torn(MemoryStore):
    def put(self, lease: Lease, name: str, parts: Iterable[bytes]) -> int:
        kept: list[bytes] = []
        try:
            kept.extend(parts)
        finally:
            size = super().put(lease, name, kept)
        return size


class _VisibleTooEarly(MemoryStore):
    def put(self, lease: Lease, name: str, parts: Iterable[bytes]) -> int:
        super().put(lease, name, [])
        try:
            whole = list(parts)
        finally:
            self.delete(lease, name)
        return super().put(lease, name, whole)


class _UnsortedObjects(MemoryStore):
    def objects(self, job_id: str) -> list[ObjectInfo]:
        return super().objects(job_id)[::-1]


class _LogsAmongObjects(MemoryStore):
    def objects(self, job_id: str) -> list[ObjectInfo]:
        return sorted(super().objects(job_id) + super().logs(job_id))


class _MissingIsEmpty(MemoryStore):
    def get(self, job_id: str, name: str) -> bytes:
        try:
            return super().get(job_id, name)
        except UnknownJobError:
            raise
        except LookupError:
            return b""


class _DeletesOnce(MemoryStore):
    def delete(self, lease: Lease, name: str) -> None:
        if name not in [info.name for info in self.objects(lease.job_id) + self.logs(lease.job_id)]:
            raise KeyError(name)
        super().delete(lease, name)


class _AppendsInFront(MemoryStore):
    def append(self, lease: Lease, log: str, data: bytes, *, durable: bool) -> int:
        size = super().append(lease, log, data, durable=durable)
        if log == "log" and size > len(data):
            found = self._jobs[lease.job_id].logs[log]
            found.data[:] = found.data[-len(data) :] + found.data[: -len(data)] if data else found.data
        return size


class _NoLimit(MemoryStore):
    def read(self, job_id: str, log: str, offset: int = 0, limit: int | None = None) -> bytes:
        return super().read(job_id, log, offset)


class _AppendsInBits(MemoryStore):
    def append(self, lease: Lease, log: str, data: bytes, *, durable: bool) -> int:
        if len(data) == 100:  # what threads append, as if they had come between each other
            data = data[:50] + data[:50].lower()
        return super().append(lease, log, data, durable=durable)


class _OneForAll(MemoryStore):
    def delete(self, lease: Lease, name: str) -> None:
        super().delete(lease, name)
        for job in self._jobs.values():
            job.objects.pop(name, None)


class _RemovesHalf(MemoryStore):
    def remove(self, lease: Lease) -> None:
        kept = self._jobs[lease.job_id]
        super().remove(lease)
        self._ghost = kept.objects

    def acquire(self, job_id: str, owner: Owner, *, create: bool) -> Any:
        lease = super().acquire(job_id, owner, create=create)
        if create and job_id == "job":
            self._jobs[job_id].objects.update(getattr(self, "_ghost", {}))
        return lease


class _KeepsLeases(MemoryStore):
    def close(self) -> None:
        pass


BROKEN = {
    _UnsortedJobs: "jobs are listed, sorted",
    _AnyName: "ids and names are checked",
    _UnknownIsEmpty: "a job that is not there is unknown",
    _NewOverOld: "a new job is new",
    _TwoLeases: "one runner has a job",
    _SilentAboutOwners: "the owner is told",
    _SameGeneration: "generations count up by one",
    _Unfenced: "a lease that was released writes nothing",
    _FencedChecksAlone: "a lease that was released writes nothing",
    _OnlyFirstPart: "an object is what was put",
    _SharedBuffer: "what was put does not change with the caller's buffer",
    _Overwriting: "objects are never written over",
    _Torn: "an object is there whole or not at all",
    _VisibleTooEarly: "an object is there whole or not at all",
    _UnsortedObjects: "objects are listed, sorted, without the logs",
    _LogsAmongObjects: "objects are listed, sorted, without the logs",
    _MissingIsEmpty: "what is not there is missing",
    _DeletesOnce: "what is deleted is gone, and may be deleted again",
    _AppendsInFront: "a log is what was appended, in order",
    _NoLimit: "a log is what was appended, in order",
    _AppendsInBits: "threads do not get into each other's way",
    _OneForAll: "jobs do not share what they keep",
    _RemovesHalf: "a job that is removed is gone",
    _KeepsLeases: "a store that is closed has no leases",
}


@pytest.mark.parametrize(("store", "rule"), BROKEN.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_a_store_that_breaks_a_rule_is_told_which(store: Any, rule: str) -> None:
    with pytest.raises(StoreRuleError) as failed:
        check_store(store)
    assert failed.value.rule == rule


def test_a_store_that_forgets_is_told_so(tmp_path: Path) -> None:
    emptier = iter(range(1000))
    with pytest.raises(StoreRuleError) as failed:
        check_store(_fresh("files", tmp_path / "a"), reopen=lambda _: FileStore(tmp_path / "b" / str(next(emptier))))
    assert failed.value.rule == "one runner has a job"


class _Forgetful(FileStore):
    def append(self, lease: Lease, log: str, data: bytes, *, durable: bool) -> int:
        size = super().append(lease, log, data, durable=durable)
        if (self.root / "job" / "object.rtx").exists():
            (self.root / "job" / "object.rtx").write_bytes(b"")
        return size

    def get(self, job_id: str, name: str) -> bytes:
        return super().get(job_id, name) or b"from a cache"


def test_an_object_that_is_lost_when_the_store_is_opened_again_is_told_so(tmp_path: Path) -> None:
    numbers: Iterator[int] = iter(range(1000))
    check: Any = RULES["what was kept stays"]
    store = _Forgetful(tmp_path / str(next(numbers)))
    with pytest.raises(BrokenError, match="should be b'kept object', and is b''"):
        check(Bench(store, reopen, None))
    store.close()


class _NeverTakenOver(FileStore):
    def _leased(self, lease: Any, what: str) -> Any:
        lease._generation = int((self.root / lease.job_id / "generation").read_text())
        return super()._leased(lease, what)


def test_a_store_without_fencing_is_told_so(tmp_path: Path) -> None:
    numbers = iter(range(1000))
    with pytest.raises(StoreRuleError) as failed:
        check_store(lambda: _NeverTakenOver(tmp_path / str(next(numbers))), take_over=take_over)
    assert failed.value.rule == "a lease that was taken over writes nothing"
    assert failed.value.how == "check() with a lease whose job was taken over should raise FencedError, and did not"


def test_every_rule_has_a_store_that_breaks_it() -> None:
    shown = {*BROKEN.values(), "what was kept stays", "a lease that was taken over writes nothing"}
    assert shown == set(RULES)


def test_what_a_broken_rule_raises_is_an_assertion_that_travels() -> None:
    error = pickle.loads(pickle.dumps(StoreRuleError("the rule", "how")))
    assert isinstance(error, AssertionError)
    assert str(error) == "the store breaks the rule 'the rule': how"
