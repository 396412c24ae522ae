"""`FlowGraph`: routines, connections and outputs, checked as they are added. It runs nothing."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from routilux.errors import (
    DuplicateConnectionError,
    DuplicateOutputError,
    DuplicateRoutineError,
    InvalidNameError,
    MappingError,
    OptionError,
    UnknownEventError,
    UnknownRoutineError,
    UnknownSlotError,
    WiringError,
)
from routilux.model.check import Problem, check_graph
from routilux.model.connection import Connection
from routilux.model.error_handler import ErrorHandler
from routilux.model.function import FunctionRoutine
from routilux.model.options import RoutineOptions
from routilux.model.routine import Routine

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class OutputDeclaration(NamedTuple):
    """An event whose emissions are results of the job; `capacity` of them wait at most."""

    routine_id: str
    event: str
    capacity: int | None


class FlowGraph:
    """A flow as its author wires it.

    Args:
        flow_id: its name; made up when None.

    Raises:
        InvalidNameError: the name does not match `[A-Za-z0-9][A-Za-z0-9_.-]{0,63}`.
    """

    def __init__(self, flow_id: str | None = None) -> None:
        self.flow_id = _checked_id("flow_id", flow_id or f"flow-{secrets.token_hex(4)}")
        self.error_handler: ErrorHandler | None = None
        self._routines: dict[str, Routine] = {}
        self._options: dict[str, RoutineOptions] = {}
        self._connections: list[Connection] = []
        self._outputs: list[OutputDeclaration] = []

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.flow_id!r}: {', '.join(self._routines) or 'no routines'}>"

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
        return tuple(self._connections)

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
            DuplicateRoutineError: the id, or the object, is in the flow already.
            InvalidNameError: the id cannot be one.
            OptionError: an option is unknown or has a value it cannot have.
            NotInitializedError: its class forgot `super().__init__()`.
        """
        if not isinstance(routine, Routine):
            raise WiringError(f"add_routine: expected a Routine object, got {routine!r}")
        chosen = _checked_id("routine_id", routine.default_id if routine_id is None else routine_id)
        if chosen in self._routines:
            raise DuplicateRoutineError(
                f"flow {self.flow_id!r} has a routine {chosen!r} already: {self._routines[chosen]!r}"
            )
        if not isinstance(routine, FunctionRoutine):
            for other_id, other in self._routines.items():
                if other is routine:
                    raise DuplicateRoutineError(
                        f"this very object is routine {other_id!r} already; "
                        f"make another {type(routine).__name__}() for {chosen!r}"
                    )
        _ = routine.slots
        self._options[chosen] = RoutineOptions.of(chosen, options)
        self._routines[chosen] = routine
        return chosen

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
            param_mapping: parameters of the event that get another name in the slot.

        Raises:
            UnknownRoutineError, UnknownEventError, UnknownSlotError: there is no such thing; they
                name what there is.
            MappingError: the mapping names a parameter that the event or the handler lacks.
            DuplicateConnectionError: that connection exists already.
        """
        self._require_event(source_id, event, "source_id")
        if target_id not in self._routines:
            raise UnknownRoutineError(target_id, self._routines, "target_id")
        if slot not in self._routines[target_id].slots:
            raise UnknownSlotError(slot, target_id, self._routines[target_id].slots)
        link = Connection(source_id, event, target_id, slot, dict(param_mapping or {}))
        self._check_mapping(link)
        if link in self._connections:
            raise DuplicateConnectionError(
                f"connection {link} with this mapping exists already: each message would come twice"
            )
        self._connections.append(link)
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
        """
        self._require_event(routine_id, event, "routine_id")
        given: object = capacity  # what came may be anything
        if given is not None and (isinstance(given, bool) or not isinstance(given, int) or given < 1):
            raise OptionError(f"output: expected capacity to be a number of at least 1 or None, got {capacity!r}")
        if any((output.routine_id, output.event) == (routine_id, event) for output in self._outputs):
            raise DuplicateOutputError(f"{routine_id}.{event} is an output already")
        self._outputs.append(OutputDeclaration(routine_id, event, capacity))

    def set_error_handler(self, handler: ErrorHandler | None) -> None:
        """Set what follows failures of routines that have no handler of their own; None: STOP."""
        self.error_handler = handler

    def effective_error_handler(self, routine_id: str) -> ErrorHandler:
        """Give the handler in force for a routine: its option, its own, the flow's, or STOP."""
        own = self._options[routine_id].error_handler
        return own or self._routines[routine_id].error_handler or self.error_handler or ErrorHandler()

    def check(self) -> list[Problem]:
        """Find everything that is wrong or odd, all at once, errors first."""
        return check_graph(self)

    def _require_event(self, routine_id: str, event: str, where: str) -> None:
        if routine_id not in self._routines:
            raise UnknownRoutineError(routine_id, self._routines, where)
        if event not in self._routines[routine_id].events:
            raise UnknownEventError(event, routine_id, self._routines[routine_id].events)

    def _check_mapping(self, link: Connection) -> None:
        declared = self._routines[link.source_id].events[link.event].params
        binding = self._routines[link.target_id].slots[link.slot].binding
        mapping: dict[Any, Any] = {**link.param_mapping}  # what came may be anything
        for source, target in mapping.items():
            if not isinstance(source, str) or not isinstance(target, str):
                raise MappingError(
                    f"connection {link}: expected param_mapping from names to names, got {source!r}: {target!r}"
                )
            if declared and source not in declared:
                raise MappingError(
                    f"connection {link}: the event declares {list(declared)}, the mapping is from {source!r}"
                )
            if not binding.takes_any and target not in binding.parameters:
                raise MappingError(
                    f"connection {link}: the slot's handler takes {list(binding.parameters)}, "
                    f"the mapping is to {target!r}"
                )


def _checked_id(field: str, value: object) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise InvalidNameError(
            f"{field}: expected letters, digits, '_', '.', '-' (at most 64, the first a letter or digit), got {value!r}"
        )
    return value
