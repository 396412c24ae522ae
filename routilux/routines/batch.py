"""`Batch`: several messages as one. Remembers nothing: what waits for others waits in the ledger."""

from __future__ import annotations

from typing import Any, ClassVar

from routilux.model.merging import batch
from routilux.model.state_policy import NONE
from routilux.routines.asking import INPUT, ITEMS, OUTPUT
from routilux.routines.ready_made import ReadyMade


class Batch(ReadyMade):
    """Makes one message of so many, in the order in which they came.

    Slot `input`; event `output` with `items`, the messages as dicts, and `count`, how many these are. A batch goes out
    when it has `size` messages; when `seconds` are over since its first one came; and when nothing else can come. What
    waits for it waits in no worker, so there may be any number of them.

    One turn handles a batch: its messages are acknowledged together, and where it fails for good each is a dead letter
    of its own.

    Args:
        size: messages of a batch. All of them must fit into one message (255 MiB).
        seconds: how long after its first one a smaller batch goes out; None: when nothing else can come.

    Raises:
        OptionError: `size` is no number of at least 1, or `seconds` no number above 0.

    Example:
        >>> from routilux import Flow
        >>> flow = Flow("pairs")
        >>> _ = flow.add_routine(Batch(2), "pairs")
        >>> _ = flow.output("pairs", "output")
        >>> with flow.start(keep_open=True) as job:
        ...     for n in range(3):
        ...         job.send("pairs", "input", n=n)
        >>> job.state.outputs["pairs", "output"]
        [{'items': [{'n': 0}, {'n': 1}], 'count': 2}, {'items': [{'n': 2}], 'count': 1}]
    """

    state_policy: ClassVar[str] = NONE

    def __init__(self, size: int, seconds: float | None = None) -> None:
        super().__init__()
        self.size = size
        self.seconds = seconds
        self.define_slot(INPUT, self.take, batch(size, seconds, into=ITEMS))
        self.define_event(OUTPUT, [ITEMS, "count"])

    def take(self, items: list[dict[str, Any]]) -> None:
        """Handle one batch."""
        self.emit(OUTPUT, items=items, count=len(items))
