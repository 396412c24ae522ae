"""A fast source into slow workers: memory stays flat, and the workers are never without work.

`ROUTILUX_STRESS=1` (`make stress`) sends a million messages instead of 15,000.
"""

from __future__ import annotations

import os
from typing import Any

import psutil
import pytest

from routilux import Flow, Routine
from supervisors.places.ordered import line_limit

IS_STRESS = os.environ.get("ROUTILUX_STRESS") == "1"
COUNT = 1_000_000 if IS_STRESS else 15_000
PAYLOAD = "x" * 4_000
SAMPLES = 200
GROWTH_BYTES = 24 * 1024 * 1024
"""What it may grow by; all messages together have more than twice as much in the short form, and 4 GB in the long."""

pytestmark = [pytest.mark.processes, pytest.mark.timeout(1_800 if IS_STRESS else 300)]


class Fast(Routine):
    """Emits the numbers below `count` as fast as it can, each with something to carry."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.produce)
        self.define_event("number", ["n", "text"])

    def produce(self, count: int) -> None:
        for n in range(count):
            self.emit("number", n=n, text=PAYLOAD)


class Slow(Routine):
    """Takes longer for a number than its source."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)
        self.define_event("number", ["n"])

    def handle(self, n: int, text: str) -> None:
        sum(range(2_000))
        self.emit("number", n=n)


@pytest.mark.parametrize("options", [{}, {"workers": 2}, {"workers": 2, "ordered": True}], ids=str)
def test_a_fast_source_into_slow_workers_holds_memory_flat_and_keeps_them_busy(options: dict[str, Any]) -> None:
    flow = Flow("flat")
    flow.add_routine(Fast(), "fast")
    flow.add_routine(Slow(), "slow", placement="process", **options)
    flow.connect("fast", "number", "slow", "input")
    flow.output("slow", "number", capacity=1_000)
    job = flow.start("fast", {"count": COUNT})
    slow = job.ledger.accounts[1]
    program = psutil.Process()
    sizes: list[int] = []
    backlogs: list[int] = []
    handled = 0
    for handled, _item in enumerate(job.results(), 1):
        if handled % (COUNT // SAMPLES) == 0:
            sizes.append(program.memory_info().rss)
            with job.ledger.lock:
                backlogs.append(len(slow.mailbox) + slow.count_in_hand)
    assert job.wait(60).status == "completed"
    assert handled == COUNT
    settled = SAMPLES // 10
    assert max(sizes[settled:]) - sizes[settled] < GROWTH_BYTES
    # The mailbox's bound, a release of a turn over it, and what is in the workers' hands.
    assert max(backlogs) <= slow.mailbox.capacity + 1_000 + line_limit(options.get("workers", 1))
    # Until the source comes to its end there is always more to do than they have in hand.
    busy = backlogs[settled : SAMPLES * 9 // 10]
    assert sum(backlog > 0 for backlog in busy) >= 0.95 * len(busy)
