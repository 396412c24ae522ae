"""`FlowGraph`: routines, connections and outputs, checked as they are added.

Owns what the author wired, and refuses at once what cannot work. Never runs anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple
from uuid import uuid4

from routilux.errors import (
    DuplicateConnectionError,
    DuplicateOutputError,
    DuplicateRoutineError,
    MappingError,
    OptionError,
    UnknownEventError,
    UnknownRoutineError,
    UnknownSlotError,
    WiringError,
)
from routilux.hints import describe_names
from routilux.model.check import Problem, check_graph
from routilux.model.concurrency import find_unfit
from routilux.model.connection import Connection
from routilux.model.error_handler import ErrorHandler, checked_handler
from routilux.model.function import FunctionRoutine
from routilux.model.merging import Batching
from routilux.model.names import checked_id
from routilux.model.options import RoutineOptions
from routilux.model.routine import Routine
from routilux.model.state_policy import check_policy
from routilux.quantities import is_whole
from routilux.serial.kinds import fill_attributes, take_attributes
from routilux.serial.serializable import Serializable

NAMES_SHOWN = 8
"""Routines that are named where a flow is told of in one line (arbitrary: what has room in a line)."""


class OutputDeclaration(NamedTuple):
    """An event whose emissions are results of the job; `capacity` of them wait at most."""

    routine_id: str
    event: str
    capacity: int | None


class FlowGraph(Serializable):
    """A flow as its author wires it.

    Args:
        flow_id: its name; made up when None.

    Raises:
        InvalidNameError: the name does not match `[A-Za-z0-9][A-Za-z0-9_.-]{0,63}`.
    """

    _own_attributes: ClassVar[frozenset[str]] = frozenset(
        {"flow_id", "_connections", "_error_handler", "_ids_of_objects", "_options", "_outputs", "_routines"}
    )
    """Those that are written as what they mean, and not as attributes."""

    def __init__(self, flow_id: str | None = None) -> None:
        self.flow_id = checked_id(f"flow-{uuid4().hex[:8]}" if flow_id is None else flow_id, "flow")
        self._error_handler: ErrorHandler | None = None
        self._routines: dict[str, Routine] = {}
        self._options: dict[str, RoutineOptions] = {}
        # A dict for its order and its look-up: a flow of many thousand connections is no quadratic affair.
        self._connections: dict[tuple[object, ...], Connection] = {}
        self._ids_of_objects: dict[int, str] = {}
        self._outputs: list[OutputDeclaration] = []

    def __repr__(self) -> str:
        names = [*self._routines][:NAMES_SHOWN]
        if len(names) < len(self._routines):
            names.append(f"{len(self._routines) - len(names)} more")
        routines = _count(len(self._routines), "routine") + (f" ({', '.join(names)})" if names else "")
        return f"<{type(self).__name__} {self.flow_id!r}: {routines}, {_count(len(self._connections), 'connection')}>"

    @property
    def routines(self) -> Mapping[str, Routine]:
        """The routines by id, in the order in which they were added."""
        return MappingProxyType(self._routines)

    @property
    def options(self) -> Mapping[str, RoutineOptions]:
        """The options of each routine, by id."""
        return MappingProxyType(self._options)

    @property
    def connections(self) -> Sequence[Connection]:
        """The connections, in the order in which they were made."""
        return tuple(self._connections.values())

    @property
    def outputs(self) -> Sequence[OutputDeclaration]:
        """The declared outputs."""
        return tuple(self._outputs)

    def add_routine(self, routine: Routine, routine_id: str | None = None, **options: Any) -> str:
        """Add a routine.

        Args:
            routine: the object; on a thread it is the very one that runs.
            routine_id: its id in the flow; its class's or function's name when None.
            options: placement and the like, see `RoutineOptions`.

        Returns:
            The id.

        Raises:
            DuplicateRoutineError: the id, or the object, is in the flow already (the object of a
                function may be there several times).
            InvalidNameError: the id cannot be one.
            OptionError: an option is unknown or has a value it cannot have, also for this routine (`concurrency`), or
                its class's `state_policy` has.
            NotInitializedError: its class forgot `super().__init__()`.
            FlowRunningError: a job of the flow runs.
        """
        self._before_change("add_routine")
        _require_routine(routine)
        chosen = checked_id(routine.default_id if routine_id is None else routine_id, "routine")
        if chosen in self._routines:
            hint = "; give this one an id of its own" if routine_id is None else ""
            raise DuplicateRoutineError(
                f"flow {self.flow_id!r} has a routine {chosen!r} already: {self._routines[chosen]!r}{hint}"
            )
        other_id = self._ids_of_objects.get(id(routine), "")
        if self._routines.get(other_id) is routine and not isinstance(routine, FunctionRoutine):
            raise DuplicateRoutineError(
                f"this very object is routine {other_id!r} already; "
                f"make another {type(routine).__name__}() for {chosen!r}"
            )
        check_policy(routine, f"routine {chosen!r}")
        self._options[chosen] = _checked_options(routine, chosen, options)
        self._routines[chosen] = routine
        self._ids_of_objects[id(routine)] = chosen
        return chosen

    def set_options(self, routine_id: str, **options: Any) -> None:
        """Change options of a routine of the flow; those that are not named stay as they are.

        So a flow of somebody else's runs elsewhere: `flow.set_options("parse", placement="ray", workers=8)`.

        Args:
            routine_id: the routine.
            options: as for `add_routine`.

        Raises:
            UnknownRoutineError: there is no such routine.
            OptionError: an option is unknown, has a value it cannot have, or does not go with those that stay.
            FlowRunningError: a job of the flow runs.
        """
        self._before_change("set_options")
        if routine_id not in self._routines:
            raise UnknownRoutineError(routine_id, self._routines, "set_options")
        given = {**self._options[routine_id].changed(), **options}
        self._options[routine_id] = _checked_options(self._routines[routine_id], routine_id, given)

    def connect(
        self,
        source_id: str,
        event: str,
        target_id: str,
        slot: str,
        param_mapping: Mapping[str, str] | None = None,
    ) -> Connection:
        """Connect an event to a slot; every event to any number of slots, and every slot to any of events.

        Args:
            source_id: id of the routine that emits.
            event: name of its event.
            target_id: id of the routine that receives.
            slot: name of its slot.
            param_mapping: parameters of the event that get another name in the slot; copied.

        Raises:
            UnknownRoutineError, UnknownEventError, UnknownSlotError: there is no such thing; they
                name what there is.
            MappingError: the mapping names a parameter that the event or the handler lacks.
            DuplicateConnectionError: that connection exists already.
            FlowRunningError: a job of the flow runs.
        """
        self._before_change("connect")
        self._require_event(source_id, event, "source_id")
        if target_id not in self._routines:
            raise UnknownRoutineError(target_id, self._routines, "target_id")
        if slot not in self._routines[target_id].slots:
            raise UnknownSlotError(slot, target_id, self._routines[target_id].slots)
        link = Connection(source_id, event, target_id, slot, _copy_mapping(param_mapping))
        self._check_mapping(link)
        # The order of a mapping is part of it: of several sources of one target the last wins.
        key = (source_id, event, target_id, slot, tuple(link.param_mapping.items()))
        if key in self._connections:
            raise DuplicateConnectionError(
                f"connection {link} with this mapping exists already: each message would come twice"
            )
        self._connections[key] = link
        return link

    def output(self, routine_id: str, event: str, capacity: int | None = None) -> None:
        """Declare that what an event emits is a result of the job.

        Args:
            routine_id: the routine.
            event: the name of its event.
            capacity: results that wait to be read before they press back; None collects them all.

        Raises:
            UnknownRoutineError, UnknownEventError: there is no such thing.
            DuplicateOutputError: it is declared already.
            OptionError: the capacity is not a positive number.
            FlowRunningError: a job of the flow runs.
        """
        self._before_change("output")
        self._require_event(routine_id, event, "routine_id")
        if capacity is not None and not is_whole(capacity):
            raise OptionError(f"output: expected capacity to be a number of at least 1 or None, got {capacity!r}")
        if any((output.routine_id, output.event) == (routine_id, event) for output in self._outputs):
            raise DuplicateOutputError(f"{routine_id}.{event} is an output already")
        self._outputs.append(OutputDeclaration(routine_id, event, capacity))

    @property
    def error_handler(self) -> ErrorHandler | None:
        """What follows failures of routines that have no handler of their own; None: STOP."""
        return self._error_handler

    @error_handler.setter
    def error_handler(self, handler: ErrorHandler | None) -> None:
        self._before_change("error_handler")
        self._error_handler = checked_handler(handler, f"flow {self.flow_id!r}")

    def set_error_handler(self, handler: ErrorHandler | None) -> None:
        """Set what follows failures of routines that have no handler of their own; None: STOP.

        Raises:
            OptionError: it is no `ErrorHandler`.
            FlowRunningError: a job of the flow runs.
        """
        self.error_handler = handler

    def effective_error_handler(self, routine_id: str) -> ErrorHandler:
        """Give the handler in force for a routine: its option, its own, the flow's, or STOP.

        Raises:
            UnknownRoutineError: there is no such routine.
        """
        if routine_id not in self._routines:
            raise UnknownRoutineError(routine_id, self._routines, "routine_id")
        own = self._options[routine_id].error_handler
        return own or self._routines[routine_id].error_handler or self._error_handler or ErrorHandler()

    def check(self) -> list[Problem]:
        """Find everything that is wrong or odd, all at once, errors first."""
        return check_graph(self)

    def _take_fields(self) -> dict[str, Any]:
        own = {name: part for name, part in take_attributes(self).items() if name not in self._own_attributes}
        fields = {
            "flow_id": self.flow_id,
            "error_handler": self._error_handler,
            "routines": dict(self._routines),
            "options": {
                routine_id: changed for routine_id, options in self._options.items() if (changed := options.changed())
            },
            "connections": list(self._connections.values()),
            "outputs": [list(output) for output in self._outputs],
        }
        return {**fields, "attributes": own} if own else fields

    def _fill_fields(self, fields: dict[str, Any]) -> None:
        FlowGraph.__init__(self, fields["flow_id"])
        self.set_error_handler(fields["error_handler"])
        options = fields["options"]
        for routine_id, routine in fields["routines"].items():
            self.add_routine(routine, routine_id, **options.get(routine_id, {}))
        for link in fields["connections"]:
            self.connect(link.source_id, link.event, link.target_id, link.slot, link.param_mapping)
        for output in fields["outputs"]:
            self.output(*output)
        fill_attributes(self, fields.get("attributes", {}))

    def _before_change(self, attempted: str) -> None:
        """Raise if the graph must not be changed now; for subclasses that run it.

        Args:
            attempted: the method that is about to change it.
        """

    def _require_event(self, routine_id: str, event: str, where: str) -> None:
        if routine_id not in self._routines:
            raise UnknownRoutineError(routine_id, self._routines, where)
        if event not in self._routines[routine_id].events:
            raise UnknownEventError(event, routine_id, self._routines[routine_id].events)

    def _check_mapping(self, link: Connection) -> None:
        declared = tuple(self._routines[link.source_id].events[link.event].params)
        slot = self._routines[link.target_id].slots[link.slot]
        strategy = slot.merge_strategy
        # What a merge function makes of the names is its own affair, and a list of messages has room for any.
        is_open = callable(strategy) or (isinstance(strategy, Batching) and strategy.into is not None)
        takes_any = slot.binding.takes_any or is_open
        for source, target in link.param_mapping.items():
            if declared and source not in declared:
                known = describe_names(source, declared, "the event declares", "")
                raise MappingError(f"connection {link}: the mapping is from {source!r}, but {known}")
            if not takes_any and target not in slot.binding.parameters:
                known = describe_names(
                    target,
                    slot.binding.parameters,
                    "the slot's handler takes",
                    "the slot's handler takes no parameters",
                )
                raise MappingError(f"connection {link}: the mapping is to {target!r}, but {known}")


def _checked_options(routine: Routine, routine_id: str, given: dict[str, Any]) -> RoutineOptions:
    options = RoutineOptions.of(routine_id, given)
    unfit = find_unfit(routine, options)
    if unfit:
        raise OptionError(f"routine {routine_id!r}: {unfit}")
    return options


def _count(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _require_routine(routine: object) -> None:
    if isinstance(routine, Routine):
        _ = routine.slots  # raises NotInitializedError
        return
    hint = ""
    if isinstance(routine, type) and issubclass(routine, Routine):
        hint = f"; write {routine.__name__}()"
    elif callable(routine):
        hint = "; decorate the function with @routine"
    raise WiringError(f"add_routine: expected a Routine object, got {routine!r}{hint}")


def _copy_mapping(mapping: Any) -> dict[str, str]:
    copied = {} if mapping is None else mapping
    if not isinstance(copied, Mapping):
        raise MappingError(f"param_mapping: expected a dict from names to names or None, got {mapping!r}")
    for source, target in copied.items():
        if not isinstance(source, str) or not isinstance(target, str):
            raise MappingError(f"param_mapping: expected names mapped to names, got {source!r}: {target!r}")
    return dict(copied)
