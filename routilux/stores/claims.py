"""The lock file by which one runner has a job.

Owns the wait for it. Never writes into the file: who has the lock is recorded elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable

from routilux.stores import locks
from routilux.stores.base import Owner
from routilux.stores.errors import JobOwnedError
from routilux.stores.folders import Folder
from routilux.stores.leases import HeldLease, LeaseStore
from routilux.stores.owners import is_seen_alive

TAKEOVER_SECONDS = 5.0
"""How long a job is waited for whose runner has ended: its workers, which hold the lock too, end soon after (arbitrary,
more than a worker's grace for its end)."""

_FIRST_PAUSE = 0.001
_LONGEST_PAUSE = 0.05


class Claim:
    """The lock of a job, held.

    Args:
        descriptor: the lock file, locked; this object closes it.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._pid = os.getpid()

    def fileno(self) -> int:
        """Give the descriptor, for workers to inherit."""
        return self._descriptor

    @property
    def is_copied(self) -> bool:
        """True in a forked copy of the program: the lock is still its parent's, and gives no right to write."""
        return os.getpid() != self._pid

    def is_of(self, found: os.stat_result | None) -> bool:
        """True if `found` is the file that is locked, and not another one in its place."""
        return found is not None and os.path.samestat(os.fstat(self._descriptor), found)

    def release(self) -> None:
        """Give the lock back; once only."""
        if not self.is_copied:
            with contextlib.suppress(OSError):
                locks.unlock(self._descriptor)
        os.close(self._descriptor)


class ClaimedLease(HeldLease):
    """A job whose lock is held.

    Args:
        store: the store.
        job_id: the job.
        generation: this runner's.
        claim: the job's lock.
    """

    def __init__(self, store: LeaseStore, job_id: str, generation: int, claim: Claim) -> None:
        super().__init__(store, job_id, generation)
        self.claim: Claim | None = claim
        """None once it is given back."""

    def fileno(self) -> int | None:
        claim = self.claim
        return None if claim is None else claim.fileno()

    def release_claim(self) -> None:
        """Give the lock back; nothing happens the second time."""
        if self.claim is not None:
            self.claim.release()
            self.claim = None


def take_claim(folder: Folder, name: str, job_id: str, read_owner: Callable[[], Owner | None], seconds: float) -> Claim:
    """Lock the file `name` in `folder`, which is made where it is not there.

    Waits at most `seconds` while the lock is held and its owner is not seen alive.

    Raises:
        JobOwnedError: the owner is alive, or the lock was held all the time.
        OSError: there can be no such file or lock.
    """
    # A thread that is blocked in `flock` cannot be called back: nothing but a signal wakes it (which Python answers by
    # blocking again), and for the end of processes that are not our children there is no event to wait for. So look
    # again, after pauses that grow.
    end, pause, never = time.monotonic() + seconds, _FIRST_PAUSE, threading.Event()
    while True:
        claim = _try_claim(folder, name)
        if claim is not None:
            return claim
        # The one who has it may have written its record only now: read anew each time.
        owner = read_owner()
        if owner is not None and is_seen_alive(owner):
            raise JobOwnedError(job_id, owner)
        left = end - time.monotonic()
        if left <= 0:
            raise JobOwnedError(job_id, owner, is_alive=False)
        never.wait(min(pause, left))
        pause = min(2 * pause, _LONGEST_PAUSE)


def is_claimed(folder: Folder, name: str) -> bool:
    """True while somebody holds the lock file `name`."""
    try:
        descriptor = folder.open_file(name)
    except FileNotFoundError:
        return False
    try:
        return locks.is_locked(descriptor)
    finally:
        os.close(descriptor)


def _try_claim(folder: Folder, name: str) -> Claim | None:
    descriptor, is_ours = _open(folder, name), False
    try:
        is_ours = locks.try_lock(descriptor)
    finally:
        if not is_ours:
            os.close(descriptor)
    if not is_ours:
        return None
    claim = Claim(descriptor)
    if claim.is_of(folder.find(name)):
        return claim
    claim.release()  # the job was removed, with its lock file, between the opening and the lock
    return None


def _open(folder: Folder, name: str) -> int:
    while True:
        with contextlib.suppress(FileNotFoundError):
            return folder.open_file(name, os.O_RDWR)
        with contextlib.suppress(FileExistsError):  # another one was faster
            return folder.create(name, os.O_RDWR)
