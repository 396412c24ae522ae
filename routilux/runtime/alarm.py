"""A timer of an actor that is set again and again, to whichever time comes first. Pure.

Owns the one time for which it is set. One that was set for a later time is not taken back: it costs a look.
"""

from __future__ import annotations

from supervisors.behavior import Context


class Alarm:
    """What wakes an actor in time.

    Args:
        ctx: the actor's.
        message: what the actor is sent then; it has to call `reset`.
    """

    def __init__(self, ctx: Context, message: object) -> None:
        self._ctx = ctx
        self._message = message
        self._at: float | None = None

    def set(self, at: float | None) -> None:
        """See to it that the actor is woken at `at`, a clock reading, at the latest; None changes nothing."""
        if at is not None and (self._at is None or at < self._at):
            self._at = at
            self._ctx.set_timer(max(0.0, at - self._ctx.now()), self._message)

    def reset(self) -> None:
        """Note that the message has come."""
        self._at = None
