"""What a turn has emitted and not yet let out (R3).

Owns the order of emissions, the bounds at which they are released early, and the dropping of those
a former run of the same turn had released. Never sends anything, and reads time only by the clock
it is given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from routilux.messages import Emission
from supervisors.wire.outside import OUTSIDE_TAG, count_outside

COUNT_BOUND = 1_000
"""Emissions held before they are released early (R3)."""
BYTES_BOUND = 1024 * 1024
"""Encoded bytes held before they are released early (R3)."""
OUTSIDE_SHARE = 4
"""One of so many bytes in shared memory counts, as that has a bound of its own: 4 MiB are held (arbitrary).

None of those of the first emission: a turn that emits one array does so at its commit, however large that is.
"""
FULL_WEIGHT = 250
"""Messages that a full outbox weighs by its bytes: so many of them fill what may be out without a grant (arbitrary)."""
SECONDS_BOUND = 0.05
"""Seconds between two releases of a turn that goes on emitting (R3)."""


NOTHING: list[Emission] = []
"""What a turn commits that emitted nothing; never changed."""


class Outbox:
    """The emissions of one turn at a time.

    Seconds are counted from the last release. A turn that has released nothing has none: there
    they are counted from its first emission, so that a turn which computes for long and emits at its
    end does so at its commit.

    Args:
        clock: gives seconds on a clock that never goes back.
        atomic: never release early.
        replays: whether a generator that is run again emits from its start, for want of a state to keep a cursor in:
            then what former runs committed at their steps is dropped too.
    """

    __slots__ = ("_bytes", "_due", "_emissions", "clock", "is_atomic", "replays", "to_drop")

    def __init__(self, clock: Callable[[], float], *, atomic: bool, replays: bool = False) -> None:
        self.clock = clock
        """As given."""
        self.is_atomic = atomic
        """Whether nothing is released early."""
        self.replays = replays
        """Whether what was committed at steps comes again."""
        self._emissions: list[Emission] = []
        self._bytes = 0
        self.to_drop = 0
        """How many emissions a former run has released that this one has not emitted so far."""
        self._due: float | None = None
        """Clock reading from which on the next emission releases what is held."""

    def __len__(self) -> int:
        return len(self._emissions)

    def begin(self, released: int) -> None:
        """Start a turn, of which a former run has released so many emissions."""
        if self._emissions:
            self._emissions = []
        self._bytes = 0
        self.to_drop = released
        self._due = None

    def drop_next(self) -> bool:
        """Count one emission; True if it went out in a former run and is to be dropped.

        An emission's position in its turn is its identity.
        """
        if not self.to_drop:
            return False
        self.to_drop -= 1
        return True

    def add(self, event: int, reference: dict[str, Any] | None, encoded: bytes | None, keys: tuple[str, ...]) -> bool:
        """Hold one emission (see `Emission`); True if what is held must be released now.

        For an atomic turn, which releases nothing: if it is time to see whether anybody still wants what it holds.
        """
        # A turn that emits many does little else.
        emissions = self._emissions
        emissions.append((event, reference, encoded, keys))
        count = len(emissions)
        if self.is_atomic:
            return count % COUNT_BOUND == 0
        if encoded:
            self._bytes += len(encoded) if encoded[0] != OUTSIDE_TAG or count == 1 else _weigh_outside(encoded)
        now = self.clock()
        if self._due is None:
            self._due = now + SECONDS_BOUND
        return now >= self._due or count >= COUNT_BOUND or self._bytes >= BYTES_BOUND

    def adopt(self, emissions: list[Emission], since: float) -> None:
        """Take over what the present turn has emitted, the first of it at clock reading `since`."""
        self._emissions = emissions
        self._bytes = sum(
            [
                len(encoded) if at == 0 or encoded[0] != OUTSIDE_TAG else _weigh_outside(encoded)
                for at, (_event, _reference, encoded, _keys) in enumerate(emissions)
                if encoded
            ]
        )
        self._due = since + SECONDS_BOUND if emissions else None
        self.to_drop = 0

    @property
    def held_bytes(self) -> int:
        """Encoded bytes of what is held."""
        if not self.is_atomic:
            return self._bytes
        return sum([len(encoded) for _event, _reference, encoded, _keys in self._emissions if encoded])

    @property
    def has_outside(self) -> bool:
        """Whether something of what is held lies in shared memory."""
        return any(encoded and encoded[0] == OUTSIDE_TAG for _event, _reference, encoded, _keys in self._emissions)

    @property
    def is_full(self) -> bool:
        """Whether what is held must be released now for its size."""
        return self._bytes >= BYTES_BOUND and not self.is_atomic

    @property
    def weight(self) -> int:
        """What the release of what is held weighs, in messages: a few that are large weigh as much as many."""
        return max(len(self._emissions), self._bytes * FULL_WEIGHT // BYTES_BOUND)

    def release(self) -> list[Emission]:
        """Take what is held, to be let out before the commit."""
        self._due = self.clock() + SECONDS_BOUND
        self._bytes = 0
        emissions, self._emissions = self._emissions, []
        return emissions

    def commit_step(self) -> list[Emission]:
        """Take what is held, to be let out by a step's commit, as `commit`; what comes again is still to be dropped."""
        to_drop = self.to_drop if self.replays else 0
        emissions = self.commit()
        self.to_drop = to_drop
        return emissions

    def commit(self) -> list[Emission]:
        """Take what is held, to be let out by a commit: what comes after is the start of a new turn."""
        self.to_drop = 0
        emissions = self._emissions
        if not emissions:
            return NOTHING
        self._emissions = []
        self._bytes = 0
        self._due = None
        return emissions


def _weigh_outside(encoded: bytes) -> int:
    return len(encoded) + count_outside(encoded) // OUTSIDE_SHARE
