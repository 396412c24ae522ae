"""What a handler costs that could wait and does not: async ones beside plain ones.

The command `python -m benchmarks.waiting`. Owns its flow and what it prints.

Messages go from a source over one routine to a sink that counts: a plain handler, and async ones with several
concurrencies, in order and as they come. Rounds are interleaved. What async handlers are for, waiting, is not measured:
that is as long as it is.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Sequence
from typing import Any

from routilux import Flow, Routine, __version__


class Source(Routine):
    """Emits numbered messages."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.handle)
        self.define_event("item", ["n"])

    def handle(self, count: int) -> None:
        """Emit them."""
        for n in range(count):
            self.emit("item", n=n)


class Plain(Routine):
    """Hands each message on."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)
        self.define_event("item", ["n"])

    def handle(self, n: int) -> Any:
        """Hand it on."""
        self.emit("item", n=n)


class Async(Plain):
    """Hands each message on, by an async handler that waits for nothing."""

    async def handle(self, n: int) -> None:
        """Hand it on."""
        self.emit("item", n=n)


class Sink(Routine):
    """Takes what comes."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)

    def handle(self, n: int) -> None:
        """Take it."""


CASES: dict[str, tuple[type[Plain], dict[str, Any]]] = {
    "plain": (Plain, {}),
    "async, one at a time": (Async, {}),
    "async, 10 at once": (Async, {"concurrency": 10}),
    "async, 1,000 at once": (Async, {"concurrency": 1_000}),
    "async, 1,000 at once, as they come": (Async, {"concurrency": 1_000, "ordered": False}),
}


def run(kind: type[Plain], options: dict[str, Any], messages: int) -> float:
    """Run the flow; gives messages a second."""
    flow = Flow("waiting")
    flow.add_routine(Source(), "source")
    flow.add_routine(kind(), "stage", **options)
    flow.add_routine(Sink(), "sink")
    flow.connect("source", "item", "stage", "input")
    flow.connect("stage", "item", "sink", "input")
    began = time.perf_counter()
    flow.execute("source", {"count": messages})
    return messages / (time.perf_counter() - began)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.waiting", description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000, help="messages a run")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each case, interleaved")
    options = parser.parse_args(argv)
    print(f"routilux {__version__}, Python {platform.python_version()}, {options.messages:,} messages a run")
    rates: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(options.rounds):
        for name, (kind, chosen) in CASES.items():
            rates[name].append(run(kind, chosen, options.messages))
    for name, found in rates.items():
        print(f"{name}: {statistics.median(found):,.0f} messages/s ({min(found):,.0f} to {max(found):,.0f})")


if __name__ == "__main__":
    main()
