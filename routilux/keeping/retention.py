"""Old checkpoints are let go, and state objects that no checkpoint refers to any more.

Kept are the newest good checkpoint, more behind it as told, and those of the newest pauses. A fork needs nothing of the
job it was made from: it has a copy of its own of all that it began with. History logs are kept whole.
"""

from __future__ import annotations

from typing import NamedTuple

from routilux.errors import InternalError, OptionError
from routilux.keeping.finding import latest, start_of
from routilux.keeping.listing import KeptCheckpoint, checkpoint_name, list_checkpoints, list_states
from routilux.records.errors import DamagedError, NoCheckpointError, UnsupportedFormatError
from routilux.stores.base import Lease, Store

KEEP_LAST = 3
"""Checkpoints that are kept beside those of pauses (arbitrary: there are two to fall back on)."""
KEEP_PAUSES = 10
"""Checkpoints of pauses that are kept besides, the newest (arbitrary: who pauses a job a thousand times wants to go on
with it, and a full disk would be the end of that)."""
PAUSE = "pause"
"""What the header of a pause's checkpoint gives as its cause."""


class Retention:
    """What of a job is kept, by one who has its lease. One thread at a time may use it.

    It remembers what checkpoints refer to, which never changes: each is looked into once.

    Args:
        store: where.
        lease: the right to.
        keep_last: how many checkpoints to keep, the newest good one included; those of the newest
            `KEEP_PAUSES` pauses are kept beside them.
        key: what the checkpoints are sealed with.

    Raises:
        OptionError: `keep_last` is less than 1.
    """

    def __init__(self, store: Store, lease: Lease, *, keep_last: int = KEEP_LAST, key: bytes | None = None) -> None:
        if keep_last < 1:
            raise OptionError(f"keep_last is 1 or more, got {keep_last!r}")
        self._store = store
        self._lease = lease
        self._keep_last = keep_last
        self._key = key
        self._uses: dict[str, _Use | None] = {}

    def prune(self, newest: str | None = None) -> list[str]:
        """Let go what is not needed any more; the newest good checkpoint stays, and all that is newer than it.

        It may be stopped at any moment: the next call goes on. Nobody may save for the lease meanwhile.

        Args:
            newest: the checkpoint that was just saved, which so is known to be good; None: the newest good one is
                looked for, by reading it.

        Returns:
            The names of the objects that are gone: checkpoints, oldest first, then states.

        Raises:
            KeptError: as `finding.latest`, but that there is none: then nothing is let go.
            FencedError: the job was taken over.
        """
        checkpoints = list_checkpoints(self._store, self._lease.job_id)
        good = newest or self._find_good()
        if good is None:
            return []
        names = [kept.name for kept in checkpoints]
        if good not in names:
            raise InternalError(f"job {self._lease.job_id!r} has no checkpoint {good!r}, which was to be the newest")
        self._uses = {kept.name: self._look_into(kept) for kept in checkpoints}
        behind = names[names.index(good) + 1 :]
        last = [name for name in behind if self._uses[name] is not None][: self._keep_last - 1]
        pauses = [name for name in behind if (use := self._uses[name]) is not None and use.is_pause][:KEEP_PAUSES]
        stay = {*last, *pauses, *(name for name in behind if (use := self._uses[name]) and not use.is_known)}
        gone = [name for name in reversed(behind) if name not in stay]
        for name in gone:
            self._store.delete(self._lease, name)
            del self._uses[name]
        return gone + self._sweep_states()

    def _find_good(self) -> str | None:
        try:
            header = latest(self._store, self._lease.job_id, key=self._key).image.header
        except NoCheckpointError:
            return None
        return checkpoint_name(header.generation, header.number)

    def _look_into(self, kept: KeptCheckpoint) -> _Use | None:
        """Tell what a checkpoint is for; None where its beginning is damaged, so that nobody can use it."""
        if kept.name in self._uses:
            return self._uses[kept.name]
        try:
            contents = start_of(self._store, self._lease.job_id, kept)
        except DamagedError:
            return None
        except UnsupportedFormatError:
            return _Use(is_known=False, is_pause=False, states=frozenset())
        states = frozenset(section.object_name for section in contents.sections if section.is_object)
        return _Use(is_known=True, is_pause=contents.header.cause == PAUSE, states=states)

    def _sweep_states(self) -> list[str]:
        uses = [use for use in self._uses.values() if use is not None]
        if not all(use.is_known for use in uses):
            return []
        gone = sorted(
            list_states(self._store, self._lease.job_id).keys() - {name for use in uses for name in use.states}
        )
        for name in gone:
            self._store.delete(self._lease, name)
        return gone


class _Use(NamedTuple):
    """What a checkpoint is for.

    Args:
        is_known: whether it can be told; not of one that a newer version wrote.
        is_pause: whether it was written for a pause.
        states: the state objects it refers to.
    """

    is_known: bool
    is_pause: bool
    states: frozenset[str]
