"""`Routine`: the base of everything that handles messages in a flow.

Owns a routine's slots, events, settings and the state its jobs begin with. Never runs a handler, and
keeps nothing of a job: what a handler sees of its turn comes from `routilux.context`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Self, TypeVar, overload

from routilux.context import Stats, Turn, cell, current_turn, is_astray
from routilux.conversion import annotations_of
from routilux.errors import (
    ConfigInUseError,
    DuplicateEventError,
    DuplicateSlotError,
    EmitOutsideTurnError,
    EntryError,
    HandlerError,
    NotInitializedError,
    OutsideTurnError,
    UnknownEventError,
    UnknownSlotError,
    WiringError,
)
from routilux.model.arguments import named_arguments
from routilux.model.error_handler import ErrorHandler, ErrorStrategy, checked_handler
from routilux.model.event import Event
from routilux.model.merging import MergeStrategy
from routilux.model.names import checked_name, id_from
from routilux.model.options import RoutineOptions
from routilux.model.slot import Slot
from routilux.model.state_policy import ENCODED, NONE, checked_default, make_default, no_state
from routilux.model.stats import HasStats, InitialStats, Number
from routilux.pacing import Pace
from routilux.serial.kinds import fill_attributes, take_attributes
from routilux.serial.naming import built_in
from routilux.serial.serializable import Serializable

TRIGGER = "trigger"
"""The slot that takes a job's first message."""
OWN_PREFIX = "_Routine__"
"""How the names of the attributes begin that a routine keeps for itself (Python's name mangling)."""
_ARGUMENTS = f"{OWN_PREFIX}arguments"
_JOBS = f"{OWN_PREFIX}jobs"
_SLOTS = f"{OWN_PREFIX}slots"
_T = TypeVar("_T")


@built_in.register("routilux.Routine")
class Routine(HasStats, Serializable):
    """Slots, events, a declared state and numbers; subclass it and define them in `__init__`.

    `self.state` is the declared state (R5): a dict, or an object of the class that `state_type`
    names. Inside a handler it is what was last committed plus what this turn did; set in
    `__init__` it is what each job begins with. Other attributes live as long as the object, or as
    its copy in a worker, and are not rolled back.
    """

    state_type: ClassVar[type | None] = None
    """A `msgspec.Struct` or dataclass that can be made without arguments; None for a dict."""

    state_policy: ClassVar[str] = ENCODED
    """How the state is kept from turn to turn.

    - `encoded`: what a turn touched is encoded at its commit; a turn that fails leaves nothing.
    - `value`: the whole state is one immutable object (of any class where `state_type` is None), replaced by
      `self.state = new`. On a thread it is never encoded: what is read is the very object that was set. Whoever
      changes it in place all the same breaks the contract: no commit, no roll-back and no process sees that.
    - `in_place`: for what is large or cannot be replaced. The live object, or dict, stays from turn to turn and is
      changed in place, at no cost. **A turn that fails does not roll it back**: what it had changed by then
      stays, and the next try meets it. Only `self.state = new` waits for the commit. On a thread only, without
      `timeout`; read from outside when the job is over, and by checkpoints between two turns.
    - `external`: a dict of None, bool, int, float and str alone, such as the cursor of what lies elsewhere.
    - `none`: there is no state; using it is a `StateError`.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Note what the object is made with: a flow file tells it."""
        made = super().__new__(cls)
        made._note_arguments(args, kwargs)
        return made

    def __init__(self) -> None:
        # Two underscores: the names with one are likely to be attributes of somebody's routine.
        self.__slots: dict[str, Slot] = {}
        self.__events: dict[str, Event] = {}
        self.__config: dict[str, Any] = {}
        self.__initial_state: Any = make_default(self.state_type, self.state_policy)
        self.__stats = InitialStats()
        self.error_handler: ErrorHandler | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__}{self._tell_ends()}>"

    def _tell_ends(self) -> str:
        """Say what its slots and events are, as far as it has any: it may be one that forgot `super().__init__()`."""
        ends = (("slots", getattr(self, "_Routine__slots", ())), ("events", getattr(self, "_Routine__events", ())))
        told = "; ".join(f"{what} {', '.join(names)}" for what, names in ends if names)
        return f": {told}" if told else ""

    def __getstate__(self) -> Any:
        # What the subclass set comes first, and slots last, so that of a part that does not travel its attribute is
        # named, and not the slot whose handler is a method of the object that holds it.
        state: Any = super().__getstate__()
        attributes = dict((state[0] if isinstance(state, tuple) else state) or {})
        attributes.pop(_ARGUMENTS, None)  # what it made of them travels
        attributes.pop(_JOBS, None)
        ordered = dict(sorted(attributes.items(), key=lambda item: (item[0].startswith(OWN_PREFIX), item[0] == _SLOTS)))
        return (ordered, *state[1:]) if isinstance(state, tuple) else ordered

    # -- Definition

    def define_slot(
        self,
        name: str,
        handler: Callable[..., Any] | None = None,
        merge_strategy: MergeStrategy = "override",
        *,
        at_end: bool = False,
    ) -> Slot:
        """Define an input.

        Args:
            name: its name, unique in the routine.
            handler: called with each message's data, see `Binding`; None for the method `on_` and
                that name, or of that name.
            merge_strategy: `override`, `append`, `latest`, `all`, what `batch` gives, or a function, see `Slot`.
            at_end: whether it is also sent one message, without parameters, when nothing else can come.

        Raises:
            DuplicateSlotError: there is a slot of that name.
            HandlerError: there is no handler, or it cannot be one.
            OptionError: the merge strategy is none, or does not go with `at_end`.
            InvalidNameError: the name cannot be one.
            NotInitializedError: the class forgot `super().__init__()`.
        """
        slots = self.slots
        checked_name(name, "a slot")
        owner = type(self).__name__
        if name in slots:
            raise DuplicateSlotError(f"{owner} has a slot {name!r} already; its slots are {list(slots)}")
        chosen = self._own_method(f"on_{name}", name) if handler is None else handler
        if chosen is None:
            raise HandlerError(
                f"slot {name!r} of {owner} has no handler: give one, or write a method 'on_{name}' or {name!r}"
            )
        return self._add_slot(Slot(name, chosen, merge_strategy, owner=owner, at_end=at_end))

    def define_event(self, name: str, params: Iterable[str] | Mapping[str, Any] = ()) -> Event:
        """Define an output.

        Args:
            name: its name, unique in the routine.
            params: names of the parameters it is emitted with, or a dict of them with their types; none where that
                is left open.

        Raises:
            DuplicateEventError: there is an event of that name.
            InvalidNameError: a name that cannot be one, or a parameter named twice.
            NotInitializedError: the class forgot `super().__init__()`.
        """
        events = self.events
        if name in events:
            raise DuplicateEventError(
                f"{type(self).__name__} has an event {name!r} already; its events are {list(events)}"
            )
        event = Event(name, params)
        self.__events[name] = event
        return event

    @property
    def slots(self) -> Mapping[str, Slot]:
        """The slots by name."""
        self._require_init()
        return MappingProxyType(self.__slots)

    @property
    def events(self) -> Mapping[str, Event]:
        """The events by name."""
        self._require_init()
        return MappingProxyType(self.__events)

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
            EntryError: the class has neither, or its `__call__` cannot take a message.
        """
        if TRIGGER in self.slots:
            return self.slots[TRIGGER]
        if callable(self):
            try:
                return Slot("__call__", self.__call__, owner=type(self).__name__)
            except HandlerError as error:
                raise EntryError(f"{type(self).__name__} cannot be the entry: {error}") from error
        raise EntryError(
            f"{type(self).__name__} cannot be the entry: it has no slot 'trigger' and no __call__; "
            f"its slots are {list(self.slots)}, which Job.send reaches"
        )

    def slot_annotations(self, slot: Slot) -> dict[str, Any]:
        """Give the types that the parameters of a slot's handler are annotated as, by name; none if one is not known.

        Args:
            slot: one of the slots, or the entry.
        """
        return annotations_of(slot.handler)

    def objection_to(self, options: RoutineOptions) -> str | None:
        """Tell why the routine must not run with these options of a flow; None if it may. For subclasses to override.

        `Flow.check` asks, so that such a flow does not start.
        """
        return None

    def own_pace(self) -> Pace | None:
        """Tell at which pace a job takes this routine's messages; None: as fast as it can. For built-in routines."""
        return None

    def needs_alone(self) -> str | None:
        """Tell what it needs to itself in a flow, such as the file it writes; None for nothing. For subclasses.

        `Flow.check` asks, so that a flow does not start in which two routines need the same.
        """
        return None

    def needs_here(self) -> str | None:
        """Tell what of the machine it needs that the program runs on, such as a file; None for nothing. For subclasses.

        On Ray, where it may run on another machine, `Flow.check` warns of it; `routilux run --placement ray` leaves
        such a routine where it is.
        """
        return None

    @property
    def default_id(self) -> str:
        """The id it gets in a flow when none is given: its class's name in lower case."""
        return id_from(type(self).__name__.lower())

    # -- Inside a handler

    def emit(self, event: str, /, **data: Any) -> None:
        """Emit an event. It goes out when the turn commits, and not at all if the turn fails (R3).

        Args:
            event: the event's name.
            data: its parameters; immutable from here on, by contract. The state itself (`self.state`, also within
                dicts, lists and tuples) goes out as a copy of what it holds now; a value that the state holds,
                or an object that holds the state, is handed to routines on threads as it is.

        Raises:
            EmitOutsideTurnError: no handler of this routine is running on this thread, or for this task.
            UnknownEventError: there is no such event.
            ValueEncodingError: the data cannot be carried to a process that receives it.
        """
        turn = cell.turn
        if turn is None or turn.routine is not self:
            turn = self._turn_to_emit(event)
        turn.emit(event, data)

    @property
    def state(self) -> Any:
        """The declared state: in a handler the turn's, elsewhere what each job begins with.

        Raises:
            OutsideTurnError: this runs for an async handler of this routine, after its turn or on another thread.
        """
        turn = current_turn()
        if turn is not None and turn.routine is self:
            return turn.state
        self._require_elsewhere("state")
        if self.state_policy == NONE:
            raise no_state(type(self).__name__)
        return self.__initial_state

    @state.setter
    def state(self, value: Any) -> None:
        turn = current_turn()
        if turn is not None and turn.routine is self:
            turn.set_state(value)
            return
        self._require_elsewhere("state")
        self.__initial_state = checked_default(self, value)

    @property
    def initial_stats(self) -> dict[str, Number]:
        """The numbers that each of its jobs begins with, see `stats`."""
        self._require_init()
        return self.__stats.read()

    @property
    def job_id(self) -> str:
        """Id of the job that the message being handled belongs to."""
        return self._turn("job_id").job_id

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
        """Whether the message may have been run before without its commit having arrived.

        It was in hand when its worker or its program ended; or the program was killed, and it waited in the newest
        checkpoint: what ran after that nobody knows. False does not say that it was not run: a message that a turn
        emits again, since that runs again, is a new one to the job. Go by `message_id` to do a thing once.
        """
        return self._turn("redelivered").redelivered

    @overload
    def once(self, key: str, fn: Callable[[], Coroutine[Any, Any, _T]]) -> Coroutine[Any, Any, _T]: ...
    @overload
    def once(self, key: str, fn: Callable[[], _T]) -> _T: ...
    def once(self, key: str, fn: Callable[[], Any]) -> Any:
        """Run `fn` once for the message being handled: what it gave is recorded, and given again when the message is.

        For what a handler does to the world outside, so that a retry, the death of a worker or a resume of the job
        does not do it a second time. The result is recorded before this returns, and forgotten with the message when
        that is handled. Between the effect of `fn` and the recording lies a moment in which a death makes `fn` run
        again: where even that is too often, hand `self.message_id` to the other side as idempotency key.

        Args:
            key: names what is done, within this message; used again it gives the same result.
            fn: called without arguments; may read `self.state`, and may use `once` with other keys. If it raises,
                nothing is recorded. In an `async def` handler it may be an `async def` itself.

        Returns:
            What `fn` gave, decoded anew at each call; of an `async def` it is to be awaited.

        Raises:
            OutsideTurnError: no handler of this routine is running on this thread.
            OnceError: the key is no text; `fn` gives a coroutine, or is `async` in a plain handler; it uses its own
                key again, or another task is doing the same; it emits, or sets `self.state`.
            ValueEncodingError: the result cannot be carried; the path starts with `once('key')`.
            ValueDecodingError: the result cannot be read again; nothing was recorded.
        """
        return self._turn("once").once(key, fn)

    # -- Settings

    def set_error_handler(self, handler: ErrorHandler | None) -> None:
        """Set what follows this routine's failures; None: the flow's.

        Raises:
            OptionError: it is no `ErrorHandler`.
        """
        self.error_handler = checked_handler(handler, type(self).__name__)

    def set_as_optional(self, strategy: ErrorStrategy | str = ErrorStrategy.CONTINUE) -> None:
        """Let the job go on when this routine fails."""
        self.error_handler = ErrorHandler(strategy)

    def set_as_critical(self, max_retries: int = 3, retry_delay: float = 1.0, retry_backoff: float = 2.0) -> None:
        """Retry this routine's failures, and stop the job when that does not help."""
        self.error_handler = ErrorHandler("retry", max_retries, retry_delay, retry_backoff, is_critical=True)

    def set_config(self, /, **values: Any) -> None:
        """Set configuration values, which the handlers read by `get_config`.

        Raises:
            ConfigInUseError: a job has the routine.
        """
        self._require_init()
        turn = current_turn()
        job_ids = [turn.job_id] if turn is not None and turn.routine is self else vars(self).get(_JOBS, ())
        if job_ids:
            raise ConfigInUseError(type(self).__name__, tuple(job_ids))
        self.__config.update(values)

    def get_config(self, key: str | None = None, default: Any = None) -> Any:
        """Give one configuration value, or a copy of all when `key` is None."""
        self._require_init()
        return dict(self.__config) if key is None else self.__config.get(key, default)

    def note_job(self, job_id: str) -> None:
        """Take note of a job that has the routine now; for those that run it, one at a time."""
        vars(self)[_JOBS] = (*vars(self).get(_JOBS, ()), job_id)

    def forget_job(self, job_id: str) -> None:
        """Take note that a job has it no more."""
        vars(self)[_JOBS] = tuple(other for other in vars(self).get(_JOBS, ()) if other != job_id)

    def _note_arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        vars(self)[_ARGUMENTS] = (args, kwargs)

    def arguments_by_name(self) -> dict[str, Any] | None:
        """Give what the object was made with, by the names of its class's parameters; None where that has none."""
        return named_arguments(type(self), *vars(self).get(_ARGUMENTS, ((), {})))

    # -- As plain data

    def _take_fields(self) -> dict[str, Any]:
        """Give what a flow file has of it: what it defines, and the attributes that its class has put beside."""
        self._require_init()
        return {
            "slots": list(self.__slots.values()),
            "events": list(self.__events.values()),
            **self._take_settings(),
        }

    def _fill_fields(self, fields: dict[str, Any]) -> None:
        Routine.__init__(self)
        for slot in _all_of(fields.pop("slots", ()), Slot):
            self._add_slot(slot)
        for event in _all_of(fields.pop("events", ()), Event):
            self.define_event(event.name, event.declared)
        self._fill_settings(fields)

    def _take_settings(self) -> dict[str, Any]:
        attributes = take_attributes(self)
        settings = {
            "config": self.__config,
            "state": self.__initial_state,
            "stats": self.initial_stats,
            "error_handler": attributes.pop("error_handler"),
            "attributes": {name: part for name, part in attributes.items() if not name.startswith(OWN_PREFIX)},
        }
        return {name: part for name, part in settings.items() if not _is_nothing(part)}

    def _fill_settings(self, fields: dict[str, Any]) -> None:
        self.set_config(**fields.pop("config", {}))
        if "state" in fields:
            self.__initial_state = checked_default(self, fields.pop("state"))
        for name, value in fields.pop("stats", {}).items():
            self.set_stat(name, value)
        self.set_error_handler(fields.pop("error_handler", None))
        fill_attributes(self, fields.pop("attributes", {}))
        if fields:
            raise WiringError(f"a routine has no {list(fields)}")

    def _find_stats(self, attempted: str | None) -> Stats:
        turn = current_turn()
        if turn is not None and turn.routine is self:
            return turn.stats
        self._require_elsewhere("stats")
        if attempted is not None and vars(self).get(_JOBS):
            raise OutsideTurnError(
                f"{type(self).__name__}.{attempted} is for the handlers of the routine, on their own threads, while a "
                f"job has it, as has {list(vars(self)[_JOBS])}"
            )
        return self.__stats

    def _turn_to_emit(self, event: str) -> Turn:
        turn = current_turn()
        if turn is None or turn.routine is not self:
            found = "no turn runs" if turn is None else f"a turn of routine {turn.routine_id!r} runs"
            raise EmitOutsideTurnError(type(self).__name__, event, found)
        return turn

    def _turn(self, what: str) -> Turn:
        turn = current_turn()
        if turn is None or turn.routine is not self:
            raise OutsideTurnError(f"{type(self).__name__}.{what} exists only while a handler of that routine runs")
        return turn

    def _add_slot(self, slot: Slot) -> Slot:
        self.__slots[slot.name] = slot
        return slot

    def _own_method(self, *names: str) -> Callable[..., Any] | None:
        # What every routine has (`state`, `emit`, ...) is not meant by a slot of that name.
        for name in names:
            if not hasattr(Routine, name) and callable(getattr(type(self), name, None)):
                method: Callable[..., Any] = getattr(self, name)
                return method
        return None

    def _require_elsewhere(self, what: str) -> None:
        self._require_init()
        if is_astray(self):
            # What a job begins with is not meant here, and a change to it would be lost without a word.
            raise OutsideTurnError(
                f"{type(self).__name__}.{what}: the turn that began this is over, or runs on another thread"
            )

    def _require_init(self) -> None:
        if f"{OWN_PREFIX}slots" not in self.__dict__:
            raise NotInitializedError(type(self).__name__)


def _is_nothing(part: Any) -> bool:
    return part is None or (type(part) is dict and not part)


def _all_of(parts: Iterable[Any], cls: type[_T]) -> list[_T]:
    found = list(parts)
    for part in found:
        if not isinstance(part, cls):
            raise WiringError(f"expected a {cls.__name__}, got {part!r}")
    return found
