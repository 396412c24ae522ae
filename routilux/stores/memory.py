"""A store in memory, for tests and for jobs that are only copied within one program.

It keeps the rules of every store, but for what is said of the program's end: all of it goes with the object.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from routilux.stores.base import Lease, ObjectInfo, Owner, checked_job_id, checked_name
from routilux.stores.errors import (
    FencedError,
    JobExistsError,
    JobOwnedError,
    MissingObjectError,
    ObjectExistsError,
    UnknownJobError,
)
from routilux.stores.leases import HeldLease


class _Object(NamedTuple):
    """An object."""

    data: bytes
    written_at: float


class _Log:
    """A log; it grows in place."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.written_at = 0.0

    def append(self, data: bytes) -> int:
        self.data += data
        self.written_at = time.time()
        return len(self.data)


class _Job:
    """What is kept of a job."""

    def __init__(self) -> None:
        self.generation = 0
        self.lease: HeldLease | None = None
        self.owner: Owner | None = None
        self.objects: dict[str, _Object] = {}
        self.logs: dict[str, _Log] = {}


class MemoryStore:
    """Jobs in memory. All is done under one lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the jobs and what is in them
        self._jobs: dict[str, _Job] = {}

    def __str__(self) -> str:
        return "the memory of this program"

    def jobs(self) -> list[str]:
        with self._lock:
            return sorted(self._jobs)

    def acquire(self, job_id: str, owner: Owner, *, create: bool) -> HeldLease:
        checked_job_id(job_id)
        with self._lock:
            if create and job_id in self._jobs:
                raise JobExistsError(job_id, str(self))
            job = _Job() if create else self._job_held(job_id)
            if job.lease is not None:
                raise JobOwnedError(job_id, job.owner)
            job.generation += 1
            job.lease, job.owner = HeldLease(self, job_id, job.generation), owner
            self._jobs[job_id] = job
            return job.lease

    def owner(self, job_id: str) -> Owner | None:
        with self._lock:
            job = self._job_held(job_id)
            return None if job.lease is None else job.owner

    def put(self, lease: Lease, name: str, parts: Iterable[bytes]) -> int:
        checked_name(name)
        data = b"".join(parts)  # outside the lock: making the parts is the caller's code
        with self._lock:
            job = self._leased_held(lease)
            if name in job.objects or name in job.logs:
                raise ObjectExistsError(lease.job_id, name, str(self))
            job.objects[name] = _Object(data, time.time())
        return len(data)

    def get(self, job_id: str, name: str, limit: int | None = None) -> bytes:
        with self._lock:
            entry = self._job_held(job_id).objects.get(name)
            if entry is None:
                raise MissingObjectError(job_id, name, str(self))
            return entry.data if limit is None else entry.data[:limit]

    def objects(self, job_id: str) -> list[ObjectInfo]:
        with self._lock:
            return _describe(self._job_held(job_id).objects)

    def delete(self, lease: Lease, name: str) -> None:
        with self._lock:
            job = self._leased_held(lease)
            job.objects.pop(name, None)
            job.logs.pop(name, None)

    def append(self, lease: Lease, log: str, data: bytes, *, durable: bool) -> int:
        checked_name(log)
        with self._lock:
            job = self._leased_held(lease)
            if log in job.objects:
                raise ObjectExistsError(lease.job_id, log, str(self))
            return job.logs.setdefault(log, _Log()).append(data)

    def read(self, job_id: str, log: str, offset: int = 0, limit: int | None = None) -> bytes:
        with self._lock:
            found = self._job_held(job_id).logs.get(log)
            if found is None:
                raise MissingObjectError(job_id, log, str(self))
            return bytes(found.data[offset : None if limit is None else offset + limit])

    def logs(self, job_id: str) -> list[ObjectInfo]:
        with self._lock:
            return _describe(self._job_held(job_id).logs)

    def remove(self, lease: Lease) -> None:
        with self._lock:
            self._leased_held(lease)
            del self._jobs[lease.job_id]

    def close(self) -> None:
        with self._lock:
            for job in self._jobs.values():
                job.lease = None

    # ---- for its leases

    def check(self, lease: Lease) -> None:
        with self._lock:
            self._leased_held(lease)

    def announce(self, lease: Lease, owner: Owner) -> None:
        with self._lock:
            self._leased_held(lease).owner = owner

    def release(self, lease: Lease) -> None:
        with self._lock:
            job = self._jobs.get(lease.job_id)
            if job is not None and job.lease is lease:
                job.lease = None

    def _job_held(self, job_id: str) -> _Job:
        job = self._jobs.get(checked_job_id(job_id))
        if job is None:
            raise UnknownJobError(job_id, str(self))
        return job

    def _leased_held(self, lease: Lease) -> _Job:
        job = self._jobs.get(lease.job_id)
        if job is None or job.lease is not lease:
            raise FencedError(lease.job_id, lease.generation, None if job is None else job.generation)
        return job


def _describe(entries: Mapping[str, _Object | _Log]) -> list[ObjectInfo]:
    return [ObjectInfo(name, len(entry.data), entry.written_at) for name, entry in sorted(entries.items())]
