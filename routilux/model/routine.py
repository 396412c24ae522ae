"""`Routine`: the base of everything that handles messages in a flow."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from routilux.context import Turn, current_turn
from routilux.errors import (
    DuplicateEventError,
    DuplicateSlotError,
    EmitOutsideTurnError,
    EntryError,
    HandlerError,
    NotInitializedError,
    OutsideTurnError,
    StateError,
    UnknownEventError,
    UnknownSlotError,
)
from routilux.model.error_handler import ErrorHandler, ErrorStrategy
from routilux.model.event import Event
from routilux.model.names import checked_name, checked_names
from routilux.model.slot import MergeStrategy, Slot

TRIGGER = "trigger"
"""The slot that takes a job's first message."""


class Routine:
    """Slots, events and a declared state; subclass it and define them in `__init__`.

    `self.state` is the declared state (R5): a dict, or an object of the class that `state_type`
    names. Inside a handler it is what was last committed plus what this turn did; set in
    `__init__` it is what each job begins with. Other attributes live as long as the object, or as
    its copy in a worker, and are not rolled back.
    """

    state_type: ClassVar[type | None] = None
    """A `msgspec.Struct` or dataclass that can be made without arguments; None for a dict."""

    def __init__(self) -> None:
        self._slots: dict[str, Slot] = {}
        self._events: dict[str, Event] = {}
        self._config: dict[str, Any] = {}
        self._initial_state: Any = {} if self.state_type is None else self.state_type()
        self.error_handler: ErrorHandler | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    # -- Definition

    def define_slot(
        self, name: str, handler: Callable[..., Any] | None = None, merge_strategy: MergeStrategy = "override"
    ) -> Slot:
        """Define an input.

        Args:
            name: its name, unique in the routine.
            handler: called with each message's data, see `Binding`; None for the method of that
                name, or `on_` and that name.
            merge_strategy: `override`, `append` or a function, see `Slot`.

        Raises:
            DuplicateSlotError: there is a slot of that name.
            HandlerError: there is no handler, or it cannot be one.
        """
        slots = self._defined("_slots")
        checked_name(name, "a slot")
        if name in slots:
            raise DuplicateSlotError(f"{type(self).__name__} defines slot {name!r} already")
        chosen = handler or getattr(self, name, None) or getattr(self, f"on_{name}", None)
        if chosen is None:
            raise HandlerError(
                f"slot {name!r} of {type(self).__name__} has no handler: give one, or write a method {name!r}"
            )
        slot = slots[name] = Slot(name, chosen, merge_strategy, owner=type(self).__name__)
        return slot

    def define_event(self, name: str, params: Iterable[str] = ()) -> Event:
        """Define an output.

        Args:
            name: its name, unique in the routine.
            params: names of the parameters it is emitted with; none where that is left open.

        Raises:
            DuplicateEventError: there is an event of that name.
        """
        events = self._defined("_events")
        checked_name(name, "an event")
        if name in events:
            raise DuplicateEventError(f"{type(self).__name__} defines event {name!r} already")
        event = events[name] = Event(name, checked_names(params, f"parameters of event {name!r}"))
        return event

    @property
    def slots(self) -> Mapping[str, Slot]:
        """The slots by name."""
        return MappingProxyType(self._defined("_slots"))

    @property
    def events(self) -> Mapping[str, Event]:
        """The events by name."""
        return MappingProxyType(self._defined("_events"))

    def get_slot(self, name: str) -> Slot:
        """Give a slot; raises `UnknownSlotError` when there is none of that name."""
        if name not in self.slots:
            raise UnknownSlotError(name, type(self).__name__, self.slots)
        return self.slots[name]

    def get_event(self, name: str) -> Event:
        """Give an event; raises `UnknownEventError` when there is none of that name."""
        if name not in self.events:
            raise UnknownEventError(name, type(self).__name__, self.events)
        return self.events[name]

    def entry_slot(self) -> Slot:
        """Give the slot of a job's first message: `trigger`, else one around `__call__`.

        Raises:
            EntryError: the class has neither.
        """
        if TRIGGER in self.slots:
            return self.slots[TRIGGER]
        if callable(self):
            return Slot("__call__", self.__call__, owner=type(self).__name__)
        raise EntryError(
            f"{type(self).__name__} cannot be the entry: it has no slot 'trigger' and no __call__; "
            f"its slots are {list(self.slots)}, which Job.send reaches"
        )

    @property
    def default_id(self) -> str:
        """The id it gets in a flow when none is given: its class's name in lower case."""
        return re.sub(r"[^A-Za-z0-9_.-]+", "-", type(self).__name__).strip("-_.").lower() or "routine"

    # -- Inside a handler

    def emit(self, event: str, /, **data: Any) -> None:
        """Emit an event. It goes out when the turn commits, and not at all if the turn fails (R3).

        Args:
            event: the event's name.
            data: its parameters; immutable from here on, by contract.

        Raises:
            EmitOutsideTurnError: no handler of this routine is running on this thread.
            UnknownEventError: there is no such event.
            ValueEncodingError: the data cannot be carried to a process that receives it.
        """
        turn = current_turn()
        if turn is None or turn.routine is not self:
            found = "no turn runs" if turn is None else f"a turn of routine {turn.routine_id!r} runs"
            raise EmitOutsideTurnError(type(self).__name__, event, found)
        if event not in self._events:
            raise UnknownEventError(event, turn.routine_id, self._events)
        turn.emit(event, data)

    @property
    def state(self) -> Any:
        """The declared state: in a handler the turn's, elsewhere what each job begins with."""
        turn = current_turn()
        if turn is not None and turn.routine is self:
            return turn.state
        return self._defined("_initial_state")

    @state.setter
    def state(self, value: Any) -> None:
        turn = current_turn()
        if turn is not None and turn.routine is self:
            turn.set_state(value)
            return
        expected = dict if self.state_type is None else self.state_type
        if not isinstance(value, expected):
            raise StateError(
                f"state of {type(self).__name__}: expected {expected.__name__}, got {type(value).__name__}"
            )
        self._initial_state = value

    @property
    def message_id(self) -> str:
        """Id of the message being handled: the same each time it is run."""
        return self._turn("message_id").message_id

    @property
    def attempt(self) -> int:
        """Which try of this message it is, from 1."""
        return self._turn("attempt").attempt

    @property
    def redelivered(self) -> bool:
        """Whether the message may have been run before without its commit having arrived."""
        return self._turn("redelivered").redelivered

    # -- Settings

    def set_error_handler(self, handler: ErrorHandler | None) -> None:
        """Set what follows this routine's failures; None: the flow's."""
        self.error_handler = handler

    def set_as_optional(self, strategy: ErrorStrategy | str = ErrorStrategy.CONTINUE) -> None:
        """Let the job go on when this routine fails."""
        self.error_handler = ErrorHandler(strategy)

    def set_as_critical(self, max_retries: int = 3, retry_delay: float = 1.0, retry_backoff: float = 2.0) -> None:
        """Retry this routine's failures, and stop the job when that does not help."""
        self.error_handler = ErrorHandler("retry", max_retries, retry_delay, retry_backoff, is_critical=True)

    def set_config(self, **values: Any) -> None:
        """Set configuration values, which the handlers read by `get_config`."""
        self._defined("_config").update(values)

    def get_config(self, key: str | None = None, default: Any = None) -> Any:
        """Give one configuration value, or a copy of all when `key` is None."""
        config: dict[str, Any] = self._defined("_config")
        return dict(config) if key is None else config.get(key, default)

    def _turn(self, what: str) -> Turn:
        turn = current_turn()
        if turn is None or turn.routine is not self:
            raise OutsideTurnError(f"{type(self).__name__}.{what} exists only while a handler of that routine runs")
        return turn

    def _defined(self, name: str) -> Any:
        try:
            return self.__dict__[name]
        except KeyError:
            raise NotInitializedError(type(self).__name__) from None
