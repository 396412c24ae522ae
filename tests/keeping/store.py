"""A store in a dict, that can be spoilt."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from routilux.stores.base import ObjectInfo, Owner
from routilux.stores.errors import MissingObjectError, StoreWriteError, UnknownJobError


class FakeLease(NamedTuple):
    job_id: str
    generation: int

    def check(self) -> None:
        pass

    def announce(self, owner: Owner) -> None:
        pass

    def fileno(self) -> int | None:
        return None

    def release(self) -> None:
        pass


class FakeStore:
    """What `keeping` needs of a store.

    It notes what is written, deleted and read, in order, in `calls`; writes of what is in `full` fail.
    """

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, bytes]] = {}
        self.appended: dict[str, dict[str, bytes]] = {}
        self.calls: list[tuple[str, str]] = []
        self.full: set[str] = set()
        self.on_get: dict[str, str] = {}
        """What is deleted when a name is asked for: somebody else prunes."""

    def __str__(self) -> str:
        return "a dict"

    def lease(self, job_id: str = "nightly", generation: int = 1) -> FakeLease:
        self.kept.setdefault(job_id, {})
        self.appended.setdefault(job_id, {})
        return FakeLease(job_id, generation)

    def jobs(self) -> list[str]:
        return sorted(self.kept)

    def put(self, lease: FakeLease, name: str, parts: Iterable[bytes]) -> int:
        self.calls.append(("put", name))
        if any(name.startswith(start) for start in self.full):
            raise StoreWriteError(name, "no space left")
        if name in self.kept[lease.job_id]:
            raise ValueError(name)
        self.kept[lease.job_id][name] = b"".join(parts)
        return len(self.kept[lease.job_id][name])

    def get(self, job_id: str, name: str, limit: int | None = None) -> bytes:
        self.calls.append(("get", name))
        for gone in self.on_get.pop(name, "").split():
            del self.kept[job_id][gone]
        if name not in self._of(self.kept, job_id):
            raise MissingObjectError(job_id, name, str(self))
        return self.kept[job_id][name][:limit]

    def objects(self, job_id: str) -> list[ObjectInfo]:
        return [ObjectInfo(name, len(body), 1.0) for name, body in sorted(self._of(self.kept, job_id).items())]

    def delete(self, lease: FakeLease, name: str) -> None:
        self.calls.append(("delete", name))
        self.kept[lease.job_id].pop(name, None)

    def append(self, lease: FakeLease, log: str, data: bytes, *, durable: bool) -> int:
        logs = self.appended[lease.job_id]
        logs[log] = logs.get(log, b"") + data
        return len(logs[log])

    def read(self, job_id: str, log: str, offset: int = 0, limit: int | None = None) -> bytes:
        if log not in self._of(self.appended, job_id):
            raise MissingObjectError(job_id, log, str(self))
        end = None if limit is None else offset + limit
        return self.appended[job_id][log][offset:end]

    def logs(self, job_id: str) -> list[ObjectInfo]:
        return [ObjectInfo(name, len(body), 1.0) for name, body in sorted(self._of(self.appended, job_id).items())]

    def flip(self, name: str, at: int = -1, job_id: str = "nightly") -> None:
        """Change a bit of an object or a log; the last byte's where nothing else is said."""
        for things in (self.kept[job_id], self.appended[job_id]):
            if name in things:
                body = bytearray(things[name])
                body[at] ^= 1
                things[name] = bytes(body)

    def names(self, job_id: str = "nightly") -> list[str]:
        return sorted(self.kept[job_id])

    def did(self, verb: str) -> list[str]:
        return [name for call, name in self.calls if call == verb]

    def _of(self, things: dict[str, dict[str, bytes]], job_id: str) -> dict[str, bytes]:
        if job_id not in things:
            raise UnknownJobError(job_id, str(self))
        return things[job_id]
