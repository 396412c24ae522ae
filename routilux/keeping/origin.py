"""What a job was started from, as text that is kept with it.

A store decides nothing of what code runs. What is kept here is a suggestion to one who could start it anyway: it is
given only on the machine and to the user that wrote it, whoever brings a store from elsewhere.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec

from routilux.records.errors import DamagedError
from routilux.records.packing import Unpacker, pack
from routilux.stores.base import Lease, Store
from routilux.stores.errors import MissingObjectError

NAME = "origin"
"""What its object is called."""
_LIMIT_BYTES = 64 * 1024


class Origin(msgspec.Struct, frozen=True):
    """What a job was started from.

    Args:
        target: the flow, as the command line names it.
        place: digest of the machine and the user.
    """

    target: str
    place: str


_read = Unpacker(Origin, DamagedError).unpack


def record_origin(store: Store, lease: Lease, target: str) -> None:
    """Keep what a job was started from, in the place of what was kept. Raises `StoreWriteError`."""
    store.delete(lease, NAME)
    store.put(lease, NAME, [pack(Origin(target, this_place()))])


def copy_origin(store: Store, job_id: str, lease: Lease) -> None:
    """Keep with another job what is kept with this one."""
    data = _get(store, job_id)
    if data is not None:
        store.put(lease, NAME, [data])


def find_target(store: Store, job_id: str) -> str | None:
    """Give what a job was started from on this machine by this user; None where nothing says so.

    Raises:
        UnknownJobError: there is no such job.
    """
    data = _get(store, job_id)
    if data is None:
        return None
    try:
        origin = _read(data, NAME)
    except DamagedError:
        return None  # it only spares somebody a word
    return origin.target if origin.place == this_place() else None


def this_place() -> str:
    """Give a digest of this machine and this user."""
    try:
        machine = Path("/etc/machine-id").read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        machine = ""
    told = f"{machine or os.uname().nodename} {os.geteuid()}"
    return hashlib.blake2b(told.encode(), digest_size=16).hexdigest()


def _get(store: Store, job_id: str) -> bytes | None:
    try:
        return store.get(job_id, NAME, _LIMIT_BYTES)
    except MissingObjectError:
        return None
