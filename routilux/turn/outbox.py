"""What a turn has emitted and not yet let out (R3).

Owns the order of emissions, the bounds at which they are released early, and the dropping of those
a former run of the same turn had released. Never sends anything, and reads time only by the clock
it is given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from routilux.messages import Emission, Payload
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
        uniform: whether all is of one event, and in one form for all who receive it: then the data alone is held.
    """

    __slots__ = ("_bytes", "_due", "_held", "clock", "is_all_plain", "is_atomic", "is_uniform", "replays", "to_drop")

    def __init__(
        self, clock: Callable[[], float], *, atomic: bool, replays: bool = False, uniform: bool = False
    ) -> None:
        self.clock = clock
        """As given."""
        self.is_atomic = atomic
        """Whether nothing is released early."""
        self.replays = replays
        """Whether what was committed at steps comes again."""
        self.is_uniform = uniform
        """Whether data alone is held."""
        self.is_all_plain = True
        """Whether it is known that all that is held is encoded and plain, where it is encoded; for who adds to say."""
        self._held: list[Any] = []
        """Emissions, or the data of each."""
        self._bytes = 0
        self.to_drop = 0
        """How many emissions a former run has released that this one has not emitted so far."""
        self._due: float | None = None
        """Clock reading from which on the next emission releases what is held."""

    def __len__(self) -> int:
        return len(self._held)

    def begin(self, released: int) -> None:
        """Start a turn, of which a former run has released so many emissions."""
        self._empty()
        self.to_drop = released

    def drop_next(self) -> bool:
        """Count one emission; True if it went out in a former run and is to be dropped.

        An emission's position in its turn is its identity.
        """
        if not self.to_drop:
            return False
        self.to_drop -= 1
        return True

    def add(self, held: Emission | Payload, encoded: bytes | None) -> bool:
        """Hold one emission, or its data where it `is_uniform`; True if what is held must be released now.

        For an atomic turn, which releases nothing: if it is time to see whether anybody still wants what it holds.

        Args:
            held: the emission, or its data.
            encoded: what is encoded of it.
        """
        # A turn that emits many does little else.
        all_held = self._held
        all_held.append(held)
        count = len(all_held)
        if self.is_atomic:
            return count % COUNT_BOUND == 0
        if encoded:
            self._bytes += len(encoded) if encoded[0] != OUTSIDE_TAG or count == 1 else _weigh_outside(encoded)
        now = self.clock()
        if self._due is None:
            self._due = now + SECONDS_BOUND
        return now >= self._due or count >= COUNT_BOUND or self._bytes >= BYTES_BOUND

    def add_plain(self, body: bytes) -> bool:
        """As `add`, of data that is encoded and plain, where data alone is held: of nearly all that is sent."""
        if self.is_atomic:
            return self.add(body, body)
        held = self._held
        held.append(body)
        self._bytes = size = self._bytes + len(body)
        now = self.clock()
        if self._due is None:
            self._due = now + SECONDS_BOUND
        return now >= self._due or len(held) >= COUNT_BOUND or size >= BYTES_BOUND

    def adopt(self, held: list[Any], since: float) -> None:
        """Take over what the present turn has emitted, as it is held here, the first of it at clock reading `since`."""
        self._held = held
        self._bytes = sum(
            [
                len(encoded) if at == 0 or encoded[0] != OUTSIDE_TAG else _weigh_outside(encoded)
                for at, encoded in enumerate(self._encoded())
                if encoded
            ]
        )
        self._due = since + SECONDS_BOUND if held else None
        self.to_drop = 0

    @property
    def held_bytes(self) -> int:
        """Encoded bytes of what is held."""
        if not self.is_atomic:
            return self._bytes
        return sum([len(encoded) for encoded in self._encoded() if encoded])

    @property
    def has_outside(self) -> bool:
        """Whether something of what is held lies in shared memory."""
        return any(encoded and encoded[0] == OUTSIDE_TAG for encoded in self._encoded())

    @property
    def is_full(self) -> bool:
        """Whether what is held must be released now for its size."""
        return self._bytes >= BYTES_BOUND and not self.is_atomic

    @property
    def weight(self) -> int:
        """What the release of what is held weighs, in messages: a few that are large weigh as much as many."""
        return max(len(self._held), self._bytes * FULL_WEIGHT // BYTES_BOUND)

    def release(self) -> list[Any]:
        """Take what is held, to be let out before the commit; `note_released` follows when it is out."""
        return self._empty()

    def note_released(self) -> None:
        """Let the seconds begin anew: what was released has found its room, for which its turn may have waited long.

        Were they counted from before that, the next emission would be released alone, and cost its receiver what a
        thousand together do.
        """
        self._due = self.clock() + SECONDS_BOUND

    def commit_step(self) -> list[Any]:
        """Take what is held, to be let out by a step's commit, as `commit`; what comes again is still to be dropped."""
        to_drop = self.to_drop if self.replays else 0
        held = self.commit()
        self.to_drop = to_drop
        return held

    def commit(self) -> list[Any]:
        """Take what is held, to be let out by a commit: what comes after is the start of a new turn."""
        self.to_drop = 0
        self._due = None  # also where all was released: the next turn has released nothing
        return self._empty() if self._held else NOTHING

    def _empty(self) -> list[Any]:
        held = self._held
        if held:
            self._held = []
        self._bytes = 0
        self._due = None
        self.is_all_plain = True
        return held

    def _encoded(self) -> list[bytes | None]:
        """Give what is encoded of each."""
        if self.is_uniform:
            return [None if held.__class__ is dict else held for held in self._held]
        return [encoded for _event, _reference, encoded, _keys in self._held]


def _weigh_outside(encoded: bytes) -> int:
    return len(encoded) + count_outside(encoded) // OUTSIDE_SHARE
