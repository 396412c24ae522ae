"""`Filter`: lets some messages pass. Remembers nothing."""

from __future__ import annotations

from typing import Any, ClassVar

from routilux.model.state_policy import NONE
from routilux.routines.asking import OUTPUT, Asked, Question, input_slot
from routilux.routines.ready_made import ReadyMade


class Filter(ReadyMade):
    """Lets the messages pass for which a function gives something true, as they came.

    Slot `input`, event `output`. What does not pass is handled, and goes nowhere; `ConditionalRouter` sends it
    elsewhere.

    Args:
        predicate: asked of each message, which it takes by the rules of a handler; or the name of a parameter, which
            is then looked at itself.

    Raises:
        HandlerError: the function cannot be called with a message, is `async`, or yields.
        InvalidNameError, OptionError: it is neither a function nor the name of a parameter.

    In a job:
        SlotArgumentError: the message lacks a parameter.
        What the function raises.

    Example:
        >>> from routilux import Flow
        >>> flow = Flow("even")
        >>> _ = flow.add_routine(Filter(lambda n: n % 2 == 0), "even")
        >>> _ = flow.output("even", "output")
        >>> with flow.start(keep_open=True) as job:
        ...     for n in range(4):
        ...         job.send("even", "input", n=n)
        >>> job.state.outputs["even", "output"]
        [{'n': 0}, {'n': 2}]
    """

    state_policy: ClassVar[str] = NONE

    def __init__(self, predicate: Asked) -> None:
        super().__init__()
        self.predicate = predicate
        self._question = Question(predicate, "the predicate of Filter")
        self._add_slot(input_slot(self, self.take, [self._question]))
        self.define_event(OUTPUT)

    def take(self, data: dict[str, Any]) -> None:
        """Handle one message."""
        if self._question(data):
            self.emit(OUTPUT, **data)
