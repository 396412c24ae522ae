"""Old checkpoints are let go, and state objects that no checkpoint refers to any more.

Kept are the newest good checkpoint, more behind it as told, and those of pauses. A fork needs nothing of the job it
was made from: it has a copy of its own of all that it began with. History logs are kept whole.
"""

from __future__ import annotations

from routilux.errors import InternalError, OptionError
from routilux.keeping.finding import latest, start_of
from routilux.keeping.listing import KeptCheckpoint, checkpoint_name, list_checkpoints, list_states
from routilux.records.errors import DamagedError, NoCheckpointError, UnsupportedFormatError
from routilux.records.format import Contents
from routilux.stores.base import Lease, Store

KEEP_LAST = 3
"""Checkpoints that are kept beside those of pauses (arbitrary: there are two to fall back on)."""
PAUSE = "pause"
"""What the header of a pause's checkpoint gives as its cause."""


def prune(
    store: Store, lease: Lease, *, keep_last: int = KEEP_LAST, newest: str | None = None, key: bytes | None = None
) -> list[str]:
    """Let go what is not needed any more; the newest good checkpoint stays, and all that is newer than it.

    It may be stopped at any moment: the next call goes on. Nobody may save for the lease meanwhile.

    Args:
        store: where.
        lease: the right to.
        keep_last: how many checkpoints to keep, the newest good one included; those of pauses are kept beside them.
        newest: the checkpoint that was just saved, which so is known to be good; None: the newest good one is looked
            for, by reading it.
        key: what the checkpoints are sealed with, to look for it.

    Returns:
        The names of the objects that are gone, oldest first.

    Raises:
        OptionError: `keep_last` is less than 1.
        KeptError: as `finding.latest`, but that there is none: then nothing is let go.
        FencedError: the job was taken over.
    """
    if keep_last < 1:
        raise OptionError(f"keep_last is 1 or more, got {keep_last!r}")
    job_id = lease.job_id
    checkpoints = list_checkpoints(store, job_id)
    good = newest or _find_good(store, job_id, key)
    if good is None:
        return []
    names = [kept.name for kept in checkpoints]
    if good not in names:
        raise InternalError(f"job {job_id!r} has no checkpoint {good!r}, which was to be the newest")
    at = names.index(good)
    contents = _read_starts(store, job_id, checkpoints)
    older = checkpoints[at + 1 :]
    readable = [kept for kept in older if isinstance(contents[kept], Contents)]
    wanted = {*checkpoints[: at + 1], *readable[: keep_last - 1], *(k for k in older if _is_kept_anyway(contents[k]))}
    gone = [kept.name for kept in reversed(older) if kept not in wanted]
    for name in gone:
        store.delete(lease, name)
    return gone + _sweep_states(store, lease, [contents[kept] for kept in checkpoints if kept in wanted])


def _find_good(store: Store, job_id: str, key: bytes | None) -> str | None:
    try:
        header = latest(store, job_id, key=key).image.header
    except NoCheckpointError:
        return None
    return checkpoint_name(header.generation, header.number)


_Start = Contents | DamagedError | UnsupportedFormatError


def _read_starts(store: Store, job_id: str, checkpoints: list[KeptCheckpoint]) -> dict[KeptCheckpoint, _Start]:
    starts: dict[KeptCheckpoint, _Start] = {}
    for kept in checkpoints:
        try:
            starts[kept] = start_of(store, job_id, kept)
        except (DamagedError, UnsupportedFormatError) as error:
            starts[kept] = error
    return starts


def _is_kept_anyway(start: _Start) -> bool:
    match start:
        case Contents():
            return start.header.cause == PAUSE
        case UnsupportedFormatError():
            return True  # What it is for, a newer version knows.
        case DamagedError():
            return False


def _sweep_states(store: Store, lease: Lease, starts: list[_Start]) -> list[str]:
    if any(isinstance(start, UnsupportedFormatError) for start in starts):
        return []  # What it refers to cannot be read.
    needed = {
        section.object_name
        for start in starts
        if isinstance(start, Contents)
        for section in start.sections
        if section.is_object
    }
    gone = sorted(list_states(store, lease.job_id).keys() - needed)
    for name in gone:
        store.delete(lease, name)
    return gone
