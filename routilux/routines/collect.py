"""`CollectSink`: keeps what comes in its state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from routilux.errors import OptionError
from routilux.quantities import is_whole
from routilux.routines.asking import Question, input_slot
from routilux.routines.one_worker import OneWorker

_ITEM, _COUNT = "item ", "count"


class CollectSink(OneWorker):
    """Keeps what comes, in order, in its state: for tests, and for results that fit into memory.

    Slot `input`. What it has is exact whatever was killed, and is read by `items`, also while the job runs and of one
    that is kept in a store. A message costs the same however much is there; each checkpoint holds all of it. Results
    that go on into the program are better declared by `Flow.output`, which can press back. It takes one worker, on a
    thread or in a process.

    Args:
        parameter: the parameter that is kept; None: the whole message, as a dict.
        keep: how many of the newest are kept; None for all.

    Raises:
        InvalidNameError: `parameter` cannot be the name of one.
        OptionError: `keep` is no number of at least 1.

    In a job:
        SlotArgumentError: the message lacks the parameter.
        ValueEncodingError: the value cannot be kept.

    Example:
        >>> from routilux import Flow
        >>> flow = Flow("numbers")
        >>> _ = flow.add_routine(CollectSink("n"), "numbers")
        >>> with flow.start(keep_open=True) as job:
        ...     for n in range(3):
        ...         job.send("numbers", "input", n=n)
        >>> CollectSink.items(job.state.routine_states["numbers"]["state"])
        [0, 1, 2]
    """

    keeps: ClassVar[str] = "what it collects in its state"

    def __init__(self, parameter: str | None = None, *, keep: int | None = None) -> None:
        super().__init__()
        if keep is not None and not is_whole(keep):
            raise OptionError(f"CollectSink: expected keep to be a number of at least 1, or None, got {keep!r}")
        self.parameter = parameter
        self.keep = keep
        self._question = None if parameter is None else Question(parameter, "what CollectSink collects")
        self._add_slot(input_slot(self, self.take, [] if self._question is None else [self._question]))

    def take(self, data: dict[str, Any]) -> None:
        """Keep one message."""
        # A key for each: a commit costs what a turn touches, and one list of all would be written anew each time.
        number = self.state.get(_COUNT, 0)
        self.state[f"{_ITEM}{number}"] = data if self._question is None else self._question(data)
        self.state[_COUNT] = number + 1
        if self.keep is not None and number >= self.keep:
            del self.state[f"{_ITEM}{number - self.keep}"]

    @staticmethod
    def items(state: Mapping[str, Any]) -> list[Any]:
        """Give what was collected, oldest first.

        Args:
            state: the routine's state, as `JobState.routine_states` has it under `state`.
        """
        count = state.get(_COUNT, 0)
        first = count - sum(key.startswith(_ITEM) for key in state)
        return [state[f"{_ITEM}{number}"] for number in range(first, count)]
