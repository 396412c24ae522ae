"""`Delay`: passes messages on later. Remembers nothing: what is delayed waits in the mailbox."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from routilux.errors import OptionError
from routilux.model.state_policy import NONE
from routilux.pacing import Delayed
from routilux.quantities import is_number
from routilux.routines.asking import OUTPUT, input_slot
from routilux.routines.ready_made import ReadyMade


class Delay(ReadyMade):
    """Passes each message on as it came, so many seconds after it came, in their order.

    Slot `input`, event `output`. No handler sleeps: a message that waits is in the mailbox, like any other that nobody
    has taken yet. So a job is paused, kept, cancelled and killed at once, whatever waits here, and has not come to its
    end while something does.

    At most `capacity` messages wait (an option of `add_routine`, 1,000 by itself); then those who send are held back,
    and no more than `capacity / seconds` a second come through.

    A pause counts as waiting. In a job that is resumed each message has waited for as long as it had in the
    checkpoint: time in which no program ran the job does not count. One that is tried again does not wait again.

    Args:
        seconds: how long each message waits, counted from when it came to this routine; 0 for not at all.

    Raises:
        OptionError: `seconds` is no number of at least 0.

    Example:
        >>> from routilux import Flow
        >>> flow = Flow("later")
        >>> _ = flow.add_routine(Delay(0.05), "later")
        >>> _ = flow.output("later", "output")
        >>> with flow.start(keep_open=True) as job:
        ...     job.send("later", "input", n=1)
        >>> job.state.outputs["later", "output"]
        [{'n': 1}]
    """

    state_policy: ClassVar[str] = NONE

    def __init__(self, seconds: float) -> None:
        super().__init__()
        if not is_number(seconds) or not 0 <= seconds < math.inf:
            raise OptionError(f"Delay: expected seconds to be a number of at least 0, got {seconds!r}")
        self.seconds = seconds
        self._add_slot(input_slot(self, self.take))
        self.define_event(OUTPUT)

    def own_pace(self) -> Delayed:
        """Let a message be taken when its delay is over."""
        return Delayed(self.seconds)

    def take(self, data: dict[str, Any]) -> None:
        """Pass one message on."""
        self.emit(OUTPUT, **data)
