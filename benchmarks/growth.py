"""What one message costs, and the memory that is needed, as something grows: routines, receivers, payloads, queues.

The command `python -m benchmarks.growth`. Owns the curves; each is a row whose contestants are its points, and a ratio
tells how much better the point is that the others are compared with.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from benchmarks.command import run_command
from benchmarks.contest import Entry, Figure, Row

_FIGURES = (
    Figure("rate", "messages/s", "more"),
    Figure("cpu", "us of CPU a message"),
    Figure("memory", "MB at its peak"),
)

CURVES: tuple[Row, ...] = (
    Row(
        "routines",
        "a chain of routines on threads; a message counts at each of them",
        "rate",
        40_000,
        _FIGURES,
        tuple(Entry(f"{count}", "growing:Chain", options={"routines": count}) for count in (1, 2, 10, 50, 100, 200)),
        reference="10",
    ),
    Row(
        "stream",
        "a chain of routines on threads, and as long a stream through each; a message counts at each of them",
        "rate",
        800_000,
        _FIGURES,
        tuple(
            Entry(f"{count}", "growing:Chain", divisor=200 // count, options={"routines": count})
            for count in (1, 2, 10, 50, 100, 200)
        ),
        reference="10",
    ),
    Row(
        "work",
        "a chain of routines on threads whose turns take some 20 us each; a message counts at each of them",
        "rate",
        100_000,
        _FIGURES,
        tuple(Entry(f"{count}", "growing:Working", options={"routines": count}) for count in (10, 50, 100, 200)),
        reference="10",
    ),
    Row(
        "jobs",
        "jobs of routines on threads, each of which starts, carries one message, and ends; a routine of each counts",
        "rate",
        400,
        (
            Figure("rate", "routines/s", "more"),
            Figure("cpu", "us of CPU a routine"),
            Figure("memory", "MB at its peak"),
        ),
        tuple(Entry(f"{count}", "growing:Brief", options={"routines": count}) for count in (1, 2, 10, 50, 100, 200)),
        reference="10",
    ),
    Row(
        "fan-out",
        "one event to several routines on threads; a message counts at each of them",
        "rate",
        40_000,
        _FIGURES,
        tuple(Entry(f"{count}", "growing:Fan", options={"sinks": count}) for count in (1, 2, 10, 50, 100)),
        reference="10",
    ),
    Row(
        "payload",
        "bytes to a process and back",
        "rate",
        1_000,
        _FIGURES,
        tuple(
            Entry(name, "growing:Payload", divisor=divisor, options={"size_bytes": size})
            for name, size, divisor in (
                ("10 B", 10, 1),
                ("1 kB", 1_000, 1),
                ("64 kB", 64_000, 1),
                ("1 MB", 1_000_000, 10),
                ("16 MB", 16_000_000, 100),
                ("256 MB", 256_000_000, 1_000),
            )
        ),
        reference="1 MB",
    ),
    Row(
        "queue",
        "so many messages wait for a routine on a thread, which then takes them; in and out",
        "rate",
        1_000_000,
        _FIGURES,
        tuple(
            Entry(f"{length:,}", "growing:Queue", divisor=divisor, options={"length": length})
            for length, divisor in ((1, 500), (100, 25), (1_000, 25), (10_000, 25), (100_000, 10), (1_000_000, 1))
        ),
        reference="1,000",
    ),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 0 if every point was reached."""
    return run_command("benchmarks.growth", __doc__ or "", CURVES, argv, rounds=3)


if __name__ == "__main__":
    sys.exit(main())
