"""What happens in trees of actors, told to whoever listens.

Owns the list of handlers. An event is a name, measurements (numbers) and metadata (whatever helps);
handlers are called in the thread in which it happened, at once, in the order in which they were
attached. One that raises is detached, logged, and told of as `telemetry.handler_failed`: it never
harms whom it listens to. The idea is that of Erlang's telemetry library.

| event | measurements | metadata |
| --- | --- | --- |
| `actor.started` | | `path`, `pid` |
| `actor.ended` | `seconds` (its life) | `path`, `reason` |
| `actor.undelivered` | `count` | `path`, `messages` (data it had not taken), `error` (if one does not travel) |
| `actor.abandoned` | | `path`, `stack` |
| `child.started` | `restarts`, `seconds` (its start) | `path`, `supervisor`, `id` |
| `child.start_failed` | | `supervisor`, `id`, `reason` |
| `child.ended` | `seconds` (its life) | `path`, `supervisor`, `id`, `reason`, `is_expected` |
| `child.restarting` | `delay` (seconds), `streak` | `supervisor`, `id`, `group` (ids that are started again with it) |
| `supervisor.escalated` | `max_restarts`, `period` | `supervisor`, `id`, `reason` |
| `telemetry.handler_failed` | | `handler`, `event`, `error` |
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from supervisors.errors import SpecError
from supervisors.renewals import renewals
from supervisors.report import reporter

Handler = Callable[[str, dict[str, float], dict[str, Any]], object]
"""Called with the event's name, its measurements and its metadata; must not change them."""

EVENTS = (
    "actor.started",
    "actor.ended",
    "actor.undelivered",
    "actor.abandoned",
    "child.started",
    "child.start_failed",
    "child.ended",
    "child.restarting",
    "supervisor.escalated",
    "telemetry.handler_failed",
)
"""Every event there is."""

_log = reporter("supervisors")


class _Attached(NamedTuple):
    id: str
    events: frozenset[str]
    handler: Handler


class Telemetry:
    """The handlers of one program, or of one host. Any thread may call its methods."""

    def __init__(self) -> None:
        # Guards the making of a new tuple; whoever tells an event reads the tuple without it.
        self._lock = threading.Lock()
        self._attached: tuple[_Attached, ...] = ()

    def attach(self, id: str, events: Iterable[str], handler: Handler) -> None:  # noqa: A002  the field's word
        """Have `handler` called for `events` from now on.

        Args:
            id: names it, for `detach`.
            events: names out of `EVENTS`.
            handler: called in the thread in which the event happened; it must be quick.

        Raises:
            SpecError: the id is taken, or there is no such event.
        """
        names = (events,) if isinstance(events, str) else tuple(events)
        unknown = [name for name in names if name not in EVENTS]
        if unknown:
            raise SpecError(f"events: there is no {unknown[0]!r}; there are {list(EVENTS)}")
        with self._lock:
            if any(attached.id == id for attached in self._attached):
                raise SpecError(f"id: a handler {id!r} is attached already")
            self._attached = (*self._attached, _Attached(id, frozenset(names), handler))

    def detach(self, id: str) -> bool:  # noqa: A002  as above
        """Call the handler no more; tells whether there was one. A call under way goes on."""
        return self._remove(lambda attached: attached.id == id)

    def handlers(self) -> tuple[str, ...]:
        """The ids of the attached handlers, in order."""
        return tuple(attached.id for attached in self._attached)

    def tell(self, event: str, measurements: dict[str, float], metadata: dict[str, Any]) -> None:
        """Call the handlers attached for `event`; never raises."""
        for attached in self._attached:
            # One that was called before it may have detached it.
            if event in attached.events and attached in self._attached:
                self._call(attached, event, measurements, metadata)

    def _call(self, attached: _Attached, event: str, measurements: dict[str, float], metadata: dict[str, Any]) -> None:
        try:
            attached.handler(event, measurements, metadata)
        except BaseException as error:  # noqa: BLE001  whatever a listener raises is the listener's
            if not self._remove(lambda each: each is attached):  # by itself: its id may be another's by now
                return  # another thread has met the same and has told it
            _log.exception("telemetry handler %r raised on %r and was detached", attached.id, event)
            self.tell(
                "telemetry.handler_failed", {}, {"handler": attached.id, "event": event, "error": type(error).__name__}
            )

    def renew_lock(self) -> None:
        """Take a new lock, in a forked copy of the program: the old one may have been held."""
        self._lock = threading.Lock()

    def _remove(self, is_unwanted: Callable[[_Attached], bool]) -> bool:
        with self._lock:
            kept = tuple(attached for attached in self._attached if not is_unwanted(attached))
            found = len(kept) != len(self._attached)
            self._attached = kept
        return found


telemetry = Telemetry()
"""The handlers of this program."""

renewals.add(telemetry.renew_lock)
attach = telemetry.attach
detach = telemetry.detach
