"""`Throttle`: passes messages on at a bounded rate. Remembers nothing: what is held back waits in the mailbox."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from routilux.errors import OptionError
from routilux.model.state_policy import NONE
from routilux.pacing import Throttled
from routilux.quantities import is_number, is_whole
from routilux.routines.asking import OUTPUT, input_slot
from routilux.routines.ready_made import ReadyMade


class Throttle(ReadyMade):
    """Passes messages on as they came, and takes at most so many in any `seconds`.

    Slot `input`, event `output`. The window slides: `Throttle(100, 60)` lets a hundred pass at once, and the next when
    the first of these was a minute ago; `Throttle(1, 0.6)` lets them pass one by one. As with `Delay`, no handler
    sleeps: what is held back waits in the mailbox, and holds back those who send when that is full.

    It counts what it takes, each time, so a message that is tried again counts again. All workers count together. A
    resumed job begins with nothing counted.

    Args:
        count: how many messages are taken at most in any `seconds`.
        seconds: the length of that time.

    Raises:
        OptionError: `count` is no number of at least 1, or `seconds` no number above 0.

    Example:
        >>> from routilux import Flow
        >>> flow = Flow("slowly")
        >>> _ = flow.add_routine(Throttle(2, seconds=0.05), "slowly")
        >>> _ = flow.output("slowly", "output")
        >>> with flow.start(keep_open=True) as job:
        ...     for n in range(3):
        ...         job.send("slowly", "input", n=n)
        >>> job.state.outputs["slowly", "output"]
        [{'n': 0}, {'n': 1}, {'n': 2}]
    """

    state_policy: ClassVar[str] = NONE

    def __init__(self, count: int, seconds: float = 1.0) -> None:
        super().__init__()
        self.count = _checked_count(count)
        self.seconds = _checked_seconds(seconds)
        self._add_slot(input_slot(self, self.take))
        self.define_event(OUTPUT)

    def own_pace(self) -> Throttled:
        """Let so many messages be taken in any window."""
        return Throttled(self.count, self.seconds)

    def take(self, data: dict[str, Any]) -> None:
        """Pass one message on."""
        self.emit(OUTPUT, **data)


def _checked_count(count: object) -> int:
    if is_whole(count):
        return count
    raise OptionError(f"Throttle: expected count to be a number of messages of at least 1, got {count!r}")


def _checked_seconds(seconds: object) -> float:
    if is_number(seconds) and 0 < seconds < math.inf:
        return seconds
    raise OptionError(f"Throttle: expected seconds to be a number above 0, got {seconds!r}")
