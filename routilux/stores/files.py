"""A store in files: a folder for each job, a file for each object and each log.

    <root>/<job>/job.lock          who has it locked runs the job
    <root>/<job>/generation        how many runners the job has had
    <root>/<job>/owner.json        who runs it
    <root>/<job>/<name>.rtx        an object
    <root>/<job>/<name>.log        a log
    <root>/<job>/.tmp-...          a file that is not whole yet, or left over from a crash

Owns the layout. A job is there when its `generation` is: what a crash leaves of a job that was being made or removed
is no job, and goes when one of that name is made. Whatever is done opens the job's folder anew, so that a lease whose
folder was moved away or copied back meanwhile does not write into the wrong one.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from routilux.stores.base import JOB_ID, OBJECT_NAME, Lease, ObjectInfo, Owner, checked_job_id, checked_name
from routilux.stores.claims import TAKEOVER_SECONDS, Claim, ClaimedLease, is_claimed, take_claim
from routilux.stores.errors import (
    DamagedStoreError,
    FencedError,
    JobOwnedError,
    MissingObjectError,
    ObjectExistsError,
    StoreError,
    UnknownJobError,
)
from routilux.stores.file_logs import FileLog
from routilux.stores.folders import TEMPORARY, Folder, reading, writing
from routilux.stores.leases import checked_generation, checked_lease
from routilux.stores.owners import decode_owner, encode_owner
from routilux.stores.syscalls import Syscalls

LOCK = "job.lock"
GENERATION = "generation"
OWNER = "owner.json"
OBJECT = ".rtx"
LOG = ".log"
_GENERATION = re.compile(rb"[0-9]{1,11}\n")


class FileLease(ClaimedLease):
    """A job of a `FileStore`, taken. As `ClaimedLease`."""

    def __init__(self, store: FileStore, job_id: str, generation: int, claim: Claim) -> None:
        super().__init__(store, job_id, generation, claim)
        self.lock = threading.RLock()  # guards the claim and the logs, and makes writes of it follow one another
        self.logs: dict[str, FileLog] = {}
        """Those that are open."""


class FileStore:
    """Jobs in files below a folder. What only its owner may write is read; all else is refused.

    Args:
        root: the folder; it is made, with those above it, when the first job is.
        takeover_seconds: how long to wait for a job whose runner has ended, while workers of it still live.
        calls: what changes the file system.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        takeover_seconds: float = TAKEOVER_SECONDS,
        calls: Syscalls | None = None,
    ) -> None:
        self.root = Path(root).absolute()
        self._takeover_seconds = takeover_seconds
        self._calls = calls or Syscalls()
        self._lock = threading.Lock()  # guards the leases
        self._leases: set[FileLease] = set()

    def __str__(self) -> str:
        return f"the folder {str(self.root)!r}"

    def jobs(self) -> list[str]:
        with reading(str(self)), contextlib.suppress(FileNotFoundError), Folder.open(self.root, self._calls) as root:
            return sorted(name for name in root.names() if JOB_ID.fullmatch(name) and _is_job(root, name))
        return []

    def acquire(self, job_id: str, owner: Owner, *, create: bool) -> FileLease:
        checked_job_id(job_id)
        with writing(f"job {job_id!r} in {self}"):
            lease = None
            while lease is None:
                if create:
                    self._make(job_id)
                try:
                    lease = self._take(job_id, owner, create=create)
                except (FileNotFoundError, UnknownJobError):  # it is not there, or was removed while it was being taken
                    if not create:
                        raise UnknownJobError(job_id, str(self)) from None
        with self._lock:
            self._leases.add(lease)
        return lease

    def owner(self, job_id: str) -> Owner | None:
        with self._reading(job_id, f"the owner of job {job_id!r}") as folder:
            return _read_owner(folder) if is_claimed(folder, LOCK) else None

    def put(self, lease: Lease, name: str, parts: Iterable[bytes]) -> int:
        file = checked_name(name) + OBJECT
        with self._leased(lease, f"{name!r} of job {lease.job_id!r}") as folder:
            if folder.find(name + LOG) is not None:
                raise ObjectExistsError(lease.job_id, name, str(self))
            if folder.find(file) is not None:  # before it is all written in vain
                raise ObjectExistsError(lease.job_id, name, str(self))
            try:
                return folder.put(file, parts)
            except FileExistsError as error:
                raise ObjectExistsError(lease.job_id, name, str(self)) from error

    def get(self, job_id: str, name: str, limit: int | None = None) -> bytes:
        return self._read(job_id, name, OBJECT, 0, limit)

    def objects(self, job_id: str) -> list[ObjectInfo]:
        return self._list(job_id, OBJECT)

    def delete(self, lease: Lease, name: str) -> None:
        held = checked_lease(lease, FileLease, self)
        checked_name(name)
        with self._leased(held, f"{name!r} of job {lease.job_id!r}") as folder:
            log = held.logs.pop(name, None)
            if log is not None:
                log.close()
            folder.remove(name + OBJECT)
            folder.remove(name + LOG)

    def append(self, lease: Lease, log: str, data: bytes, *, durable: bool) -> int:
        held = checked_lease(lease, FileLease, self)
        checked_name(log)
        what = f"{log!r} of job {lease.job_id!r}"
        with self._leased(held, what) as folder:
            if log not in held.logs:
                if folder.find(log + OBJECT) is not None:
                    raise ObjectExistsError(lease.job_id, log, str(self))
                held.logs[log] = FileLog.open(folder, log + LOG, what, self._calls)
            return held.logs[log].append(data, folder, durable=durable)

    def read(self, job_id: str, log: str, offset: int = 0, limit: int | None = None) -> bytes:
        return self._read(job_id, log, LOG, offset, limit)

    def logs(self, job_id: str) -> list[ObjectInfo]:
        return self._list(job_id, LOG)

    def remove(self, lease: Lease) -> None:
        held = checked_lease(lease, FileLease, self)
        what = f"the removal of job {lease.job_id!r}"
        with held.lock:
            with self._leased(held, what) as folder:
                folder.remove(GENERATION)
                folder.sync()  # from here on it is no job, whatever stays of it
                for name in folder.names():
                    folder.remove(name)
            self._drop_held(held)
        with writing(what), Folder.open(self.root, self._calls) as root:
            root.remove_folder(lease.job_id)

    def close(self) -> None:
        with self._lock:
            leases = list(self._leases)
        for lease in leases:
            self.release(lease)

    # ---- for its leases

    def check(self, lease: Lease) -> None:
        with self._leased(lease, f"job {lease.job_id!r}"):
            pass

    def announce(self, lease: Lease, owner: Owner) -> None:
        with self._leased(lease, f"the owner of job {lease.job_id!r}") as folder:
            folder.replace(OWNER, [encode_owner(owner)])

    def release(self, lease: Lease) -> None:
        held = checked_lease(lease, FileLease, self)
        with held.lock:
            if held.claim is None:
                return
            # A record that stays says nothing once the lock is free.
            with (
                contextlib.suppress(StoreError),
                self._leased(held, f"the owner of job {lease.job_id!r}") as folder,
            ):
                folder.remove(OWNER)
            self._drop_held(held)

    def _drop_held(self, lease: FileLease) -> None:
        """Let the lock and the open logs go."""
        lease.release_claim()
        while lease.logs:
            lease.logs.popitem()[1].close()
        with self._lock:
            self._leases.discard(lease)

    @contextlib.contextmanager
    def _leased(self, lease: Lease, what: str) -> Iterator[Folder]:
        """Give the job's folder, for one thread at a time and only while the lease is in force."""
        held = checked_lease(lease, FileLease, self)
        with held.lock, writing(f"{what} in {self}"), self._open_leased(held) as folder:
            claim = held.claim
            is_ours = claim is not None and not claim.is_copied and claim.is_of(folder.find(LOCK))
            held.check_found(_read_generation(folder), is_ours=is_ours)
            yield folder

    def _open_leased(self, lease: FileLease) -> Folder:
        try:
            return self._open(lease.job_id)
        except UnknownJobError:
            raise FencedError(lease.job_id, lease.generation, None) from None

    def _make(self, job_id: str) -> None:
        with Folder.make(self.root, self._calls) as root:
            root.make_folder(job_id).close()

    def _take(self, job_id: str, owner: Owner, *, create: bool) -> FileLease:
        with self._open(job_id) as folder:
            self._check_there(folder, job_id, create=create)
            try:
                claim = take_claim(folder, LOCK, job_id, lambda: _read_owner(folder), self._takeover_seconds)
            except JobOwnedError:
                self._check_there(folder, job_id, create=create)
                raise
            try:
                return self._begin(folder, job_id, owner, claim, create=create)
            except BaseException:
                claim.release()
                raise

    def _begin(self, folder: Folder, job_id: str, owner: Owner, claim: Claim, *, create: bool) -> FileLease:
        """Take the job whose lock is held: the generation first."""
        # Somebody else may have made, run and released it, or removed it, since it was looked for.
        generation = self._check_there(folder, job_id, create=create) + 1
        if create:
            _empty(folder, "")
        folder.replace(GENERATION, [b"%d\n" % generation])
        folder.replace(OWNER, [encode_owner(owner)])
        _empty(folder, TEMPORARY)
        return FileLease(self, job_id, generation, claim)

    def _check_there(self, folder: Folder, job_id: str, *, create: bool) -> int:
        return checked_generation(_read_generation(folder), job_id, self, create=create)

    def _open(self, job_id: str) -> Folder:
        checked_job_id(job_id)
        try:
            with Folder.open(self.root, self._calls) as root:
                return root.enter(job_id)
        except FileNotFoundError:
            raise UnknownJobError(job_id, str(self)) from None

    @contextlib.contextmanager
    def _reading(self, job_id: str, what: str) -> Iterator[Folder]:
        with reading(what), self._open(job_id) as folder:
            if folder.find(GENERATION) is None:
                raise UnknownJobError(job_id, str(self))
            yield folder

    def _read(self, job_id: str, name: str, ending: str, offset: int, limit: int | None) -> bytes:
        checked_name(name)
        with self._reading(job_id, f"{name!r} of job {job_id!r}") as folder:
            try:
                return folder.read(name + ending, offset, limit)
            except FileNotFoundError:
                raise MissingObjectError(job_id, name, str(self)) from None

    def _list(self, job_id: str, ending: str) -> list[ObjectInfo]:
        infos = []
        with self._reading(job_id, f"job {job_id!r}") as folder:
            for file in folder.names():
                name = file.removesuffix(ending)
                if name == file or not OBJECT_NAME.fullmatch(name):
                    continue
                found = folder.find(file)
                if found is not None:  # else it was deleted a moment ago
                    infos.append(ObjectInfo(name, found.st_size, found.st_mtime))
        return sorted(infos)


def _is_job(root: Folder, name: str) -> bool:
    found = root.find(name)
    if found is None or not stat.S_ISDIR(found.st_mode):
        return False
    try:
        return root.find(f"{name}/{GENERATION}") is not None
    except OSError:
        return True  # one that cannot be looked into; whoever asks for it is told why, and the others are listed


def _read_generation(folder: Folder) -> int | None:
    try:
        text = folder.read(GENERATION)
    except FileNotFoundError:
        return None
    if _GENERATION.fullmatch(text):
        return int(text)
    raise DamagedStoreError(f"{str(folder.path / GENERATION)!r} should hold a number, and holds {text[:40]!r}")


def _read_owner(folder: Folder) -> Owner | None:
    with contextlib.suppress(FileNotFoundError):
        return decode_owner(folder.read(OWNER))
    return None


def _empty(folder: Folder, beginning: str) -> None:
    """Remove all files whose names begin so, but for the lock."""
    for name in folder.names():
        if name.startswith(beginning) and name != LOCK:
            folder.remove(name)
