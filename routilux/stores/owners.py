"""Who runs a job, as a record, and whether that one is still there.

Never decides that a job may be taken: that is the lock's to say. A process that is gone, seen by its record, is
only a reason to wait for the lock.
"""

from __future__ import annotations

import os

import msgspec

from routilux.stores.base import Owner
from supervisors.places.process.reap import read_boot_id, read_usage

START_SECONDS = 1.0
"""How far two readings of a process's start may lie apart: it is reckoned from the system's clock, which may be set.

A process id is not given out twice within it, for that all of them would have to be used up (arbitrary).
"""


def this_process(control: str = "") -> Owner:
    """Give the record of this process.

    Args:
        control: where it takes commands; empty where it takes none.
    """
    return process_here(os.getpid(), control)


def process_here(pid: int, control: str = "") -> Owner:
    """Give the record of a process of this machine; `control` as of `this_process`."""
    usage = read_usage(pid)
    return Owner(
        pid=pid,
        started_at=0.0 if usage is None else usage.born_at,
        boot_id=read_boot_id(),
        host=os.uname().nodename,
        control=control,
    )


def is_from_here(owner: Owner) -> bool:
    """True if the owner is a process of this machine, so that it is known here whether it is there.

    Two containers of one machine have the same boot id, but names and process ids of their own.
    """
    return (owner.boot_id, owner.host) == (read_boot_id(), os.uname().nodename)


def is_seen_alive(owner: Owner) -> bool:
    """True if the owner is a process of this machine that runs; False too where it cannot be told."""
    if not is_from_here(owner):
        return False
    usage = read_usage(owner.pid)
    return usage is not None and abs(usage.born_at - owner.started_at) <= START_SECONDS


def is_seen_dead(owner: Owner) -> bool:
    """True if the owner was a process of this machine that is gone; False too where it cannot be told."""
    return is_from_here(owner) and not is_seen_alive(owner)


def encode_owner(owner: Owner) -> bytes:
    """Give the record as JSON."""
    return msgspec.json.encode(owner)


def decode_owner(data: bytes) -> Owner | None:
    """Give the owner of a record; None if it cannot be read, for it only tells what the lock decides."""
    try:
        owner = msgspec.json.decode(data, type=Owner)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return None if "\0" in owner.control else owner  # no path has one
