"""`ConditionalRouter`: sends each message where conditions say. Remembers nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from routilux.errors import OptionError
from routilux.model.state_policy import NONE
from routilux.routines.asking import Asked, Question, input_slot
from routilux.routines.ready_made import ReadyMade

FIRST, ALL = "first", "all"


class ConditionalRouter(ReadyMade):
    """Emits each message, as it came, on the event of the route whose condition holds.

    Slot `input`; an event for each route, of its name, and one for what no route takes. Conditions are functions, or
    names of parameters that are looked at themselves; never text that is evaluated. They are asked in the order in
    which they stand.

    Args:
        routes: conditions by the names of their events.
        default: the event of messages for which no condition holds; None: these go nowhere.
        match: `first`: on the first route that fits; `all`: on each that fits.

    Raises:
        DuplicateEventError: `default` is the name of a route.
        HandlerError: a function cannot be called with a message, is `async`, or yields.
        InvalidNameError: a name cannot be one of an event, or of a parameter.
        OptionError: there are no routes, a condition is neither a function nor a name, or `match` is no such word.

    In a job:
        SlotArgumentError: the message lacks a parameter of a condition that was asked.
        What a condition raises, with a note of its route.

    Example:
        >>> from routilux import Flow
        >>> flow = Flow("sizes")
        >>> router = ConditionalRouter({"small": lambda n: n < 10, "large": lambda n: n > 99}, default="rest")
        >>> _ = flow.add_routine(router, "router")
        >>> for event in router.events:
        ...     _ = flow.output("router", event)
        >>> with flow.start(keep_open=True) as job:
        ...     for n in (5, 50, 500):
        ...         job.send("router", "input", n=n)
        >>> {event: items for (_, event), items in job.state.outputs.items()}
        {'small': [{'n': 5}], 'large': [{'n': 500}], 'rest': [{'n': 50}]}
    """

    state_policy: ClassVar[str] = NONE

    def __init__(self, routes: Mapping[str, Asked], *, default: str | None = None, match: str = FIRST) -> None:
        super().__init__()
        given: object = routes  # what came may be anything
        if not isinstance(given, Mapping) or not given:
            raise OptionError(f"ConditionalRouter: expected routes to be conditions by their events, got {routes!r}")
        if match not in (FIRST, ALL):
            raise OptionError(f"ConditionalRouter: expected match to be {FIRST!r} or {ALL!r}, got {match!r}")
        self.routes = dict(routes)
        self.default = default
        self.match = match
        self._questions = {name: Question(asked, f"the condition of route {name!r}") for name, asked in routes.items()}
        # What the first one needs every message has to have; the others may not be asked.
        self._add_slot(input_slot(self, self.take, list(self._questions.values())[:1]))
        for event in [*routes, *([] if default is None else [default])]:
            self.define_event(event)

    def take(self, data: dict[str, Any]) -> None:
        """Handle one message."""
        fits = False
        for event, question in self._questions.items():
            if self._holds(event, question, data):
                fits = True
                self.emit(event, **data)
                if self.match == FIRST:
                    return
        if not fits and self.default is not None:
            self.emit(self.default, **data)

    @staticmethod
    def _holds(event: str, question: Question, data: dict[str, Any]) -> bool:
        try:
            return bool(question(data))
        except Exception as error:
            error.add_note(f"It was raised by the condition of route {event!r}.")
            raise
