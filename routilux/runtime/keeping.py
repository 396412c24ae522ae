"""What a program says of how a job is to be kept, checked; and the custody that follows from it.

Owns the options. Never reads or writes a checkpoint.
"""

from __future__ import annotations

import math
import os
import secrets
import time
from typing import NamedTuple, TypedDict

from routilux.errors import OptionError
from routilux.jobs.recorder import Custody
from routilux.keeping.listing import list_checkpoints
from routilux.keeping.origin import record_origin
from routilux.quantities import is_number, is_whole
from routilux.records.format import check_key
from routilux.records.schema import HistoryPosition, PausePoint, Topology
from routilux.runtime.defaults import KEEP_CHECKPOINTS
from routilux.serial.carried import Carried
from routilux.serial.registry import default as registry
from routilux.stores.base import Lease, Store, checked_job_id
from routilux.stores.errors import JobExistsError
from routilux.stores.opening import open_store
from routilux.stores.owners import this_process


class ResumeKeeping(TypedDict, total=False):
    """How a job is kept that goes on; all may be left out.

    Keys:
        checkpoint_every: seconds between two checkpoints, from the end of one to the beginning of the next; None:
            one at the start, one at the end, one for each pause, and those that are asked for.
        keep_checkpoints: how many of the newest are kept; those of the ten newest pauses are kept besides.
        key: 16 to 64 secret bytes with which checkpoints are sealed, so that one that anybody else wrote is refused.
        allow_pickle: whether values that are neither plain nor of registered classes may go as pickles.
        on_checkpoint_error: what follows when a checkpoint could not be written: `continue`, or `stop` the job.
        target: what `routilux resume` finds the flow by when it is not told, such as `/home/ada/flows.py:nightly`; only
            on this machine, for this user.
    """

    checkpoint_every: float | None
    keep_checkpoints: int
    key: bytes | None
    allow_pickle: bool
    on_checkpoint_error: str
    target: str


class Keeping(ResumeKeeping, total=False):
    """How a new job is kept; all may be left out.

    Keys:
        store: where: a store, or a path, see `routilux.stores.open_store`. None: nowhere; all else then means nothing.
        job_id: the job's id; made up when None.
    """

    store: Store | str | os.PathLike[str] | None
    job_id: str | None


class Kept(NamedTuple):
    """A job that is kept, or to be.

    Args:
        store: where.
        lease: the right to write there.
        codec: of the user's values.
        key: what checkpoints are sealed with.
        keep_last: how many are kept.
        every: seconds between two.
        stops_on_error: whether the job stops when one could not be written.
        created_at: when the job was made, in seconds since the epoch.
        forked_from: the checkpoint of another job it began with.
        base: how far its history had come.
        number: that of its last checkpoint.
        pause_points: the pauses it had.
    """

    store: Store
    lease: Lease
    codec: Carried
    key: bytes | None
    keep_last: int
    every: float | None
    stops_on_error: bool
    created_at: float
    forked_from: str | None = None
    base: HistoryPosition | None = None
    number: int = 0
    pause_points: tuple[PausePoint, ...] = ()

    def custody(self, topology: Topology, wall_offset: float) -> Custody:
        """Give what its recorder goes by."""
        return Custody(
            store=self.store,
            lease=self.lease,
            codec=self.codec,
            topology=topology,
            key=self.key,
            keep_last=self.keep_last,
            created_at=self.created_at,
            forked_from=self.forked_from,
            base=self.base,
            wall_offset=wall_offset,
        )


def make_job_id() -> str:
    """Make up the id of a job that is given none."""
    return secrets.token_hex(6)


def begin_kept(options: Keeping) -> Kept | None:
    """Take a new job's place in its store; None for a job without one.

    Raises:
        OptionError: an option cannot be that.
        JobExistsError: there is a job of that id.
        JobOwnedError: somebody runs it.
        StoreWriteError: the store could not be written.
    """
    named = options.get("store")
    if named is None:
        given = [name for name in options if name != "store" and options.get(name) is not None]
        if given:
            raise OptionError(f"{', '.join(given)} means nothing for a job without a store: give store=... too")
        return None
    check_options(options)
    job_id = options.get("job_id") or make_job_id()
    store = open_store(named)
    lease = take_new(store, checked_job_id(job_id))
    try:
        note_target(store, lease, options)
    except BaseException:
        lease.release()
        raise
    return keep_with(store, lease, options, time.time())


def check_options(options: Keeping) -> None:
    """Raise `OptionError` for an option that cannot be that, before anything is written or taken."""
    _check(
        options.get("checkpoint_every"),
        options.get("keep_checkpoints", KEEP_CHECKPOINTS),
        options.get("on_checkpoint_error", "continue"),
    )
    check_key(options.get("key"))


def note_target(store: Store, lease: Lease, options: Keeping) -> None:
    """Keep from where the job is run, if that is known. Raises `StoreWriteError`."""
    if target := options.get("target"):
        record_origin(store, lease, target)


def keep_with(store: Store, lease: Lease, options: Keeping, created_at: float) -> Kept:
    """Give how a job is kept whose lease is held, by options that have been checked."""
    return Kept(
        store=store,
        lease=lease,
        codec=Carried(registry, allow_pickle=bool(options.get("allow_pickle", False))),
        key=options.get("key"),
        keep_last=options.get("keep_checkpoints", KEEP_CHECKPOINTS),
        every=options.get("checkpoint_every"),
        stops_on_error=options.get("on_checkpoint_error", "continue") == "stop",
        created_at=created_at,
    )


def take_new(store: Store, job_id: str) -> Lease:
    """Take a new job's place in its store.

    Raises:
        JobExistsError: there is a job of that id.
        JobOwnedError: somebody runs it.
        StoreWriteError: the store could not be written.
    """
    owner = this_process()
    try:
        return store.acquire(job_id, owner, create=True)
    except JobExistsError:
        # One whose program was killed before its first checkpoint was written has not begun.
        if list_checkpoints(store, job_id):
            raise
        return store.acquire(job_id, owner, create=False)


def _check(every: object, keep_last: object, on_error: object) -> None:
    if every is not None and not (is_number(every) and 0 < every < math.inf):
        raise OptionError(f"expected checkpoint_every to be a number of seconds above 0, got {every!r}")
    if not is_whole(keep_last):
        raise OptionError(f"expected keep_checkpoints to be a number of at least 1, got {keep_last!r}")
    if on_error not in ("continue", "stop"):
        raise OptionError(f"expected on_checkpoint_error to be 'continue' or 'stop', got {on_error!r}")
