"""How a routine's actor takes messages at a pace: through here instead of straight from the ledger.

Owns the one timer by which the actor wakes when it may take what it could not take before. Whatever else changes (a
message comes, the gate opens, there is room) wakes it anyway, and each look is made anew: so nothing polls, and a timer
that is out of date costs a look. Never decides how many they are (see `pacing`).
"""

from __future__ import annotations

from routilux.accounts import Account
from routilux.ledger import Ledger
from routilux.messages import Message
from routilux.pacing import Pace
from routilux.runtime.commands import PaceDue
from supervisors.behavior import Context, Timer


class Turnstile:
    """Where the messages of one routine are taken.

    Args:
        pace: the routine's.
        ledger: the job's.
        ctx: the actor's, which is sent `PaceDue` when it is to look again.
    """

    def __init__(self, pace: Pace, ledger: Ledger, ctx: Context) -> None:
        self._pacer = pace.begin()
        self._ledger = ledger
        self._ctx = ctx
        self._timer: Timer | None = None

    def take(self, account: Account, limit: int = 1) -> list[tuple[int, Message]]:
        """Take as many as may be taken now, as `Ledger.take`."""
        now = self._ctx.now()
        with self._ledger.lock:  # senders append meanwhile
            allowed, look_at = self._pacer.allow(account.mailbox.data, limit, now)
        if look_at is not None:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._ctx.set_timer(max(0.0, look_at - now), PaceDue())
        return self._note(self._ledger.take(account, allowed)) if allowed else []

    def take_forward(self, account: Account, ticket: int) -> list[tuple[int, Message]]:
        """Take what has to come ahead of all, as `Ledger.take_forward`: it does not wait, and counts."""
        return self._note(self._ledger.take_forward(account, ticket))

    def _note(self, taken: list[tuple[int, Message]]) -> list[tuple[int, Message]]:
        if taken:
            # Read anew: it may have been taken a little later, and what follows is not to come too early after it.
            self._pacer.note(len(taken), self._ctx.now())
        return taken
