"""What was measured of a job, as its owner reads it: plain values with names, seconds and shares. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from routilux.tracking.sketch import Sketch

SHARES = (0.5, 0.95, 0.99)
"""Which quantiles are told."""


class Distribution(msgspec.Struct, frozen=True):
    """How durations are distributed, in seconds; all None but for `count` where there were none.

    Args:
        count: how many there were.
        mean: their mean, exact.
        p50, p95, p99: what half, 95 and 99 % of them are not above, within 0.4 % of itself.
        max: the greatest, exact.
    """

    count: int
    mean: float | None = None
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    max: float | None = None

    @classmethod
    def of(cls, sketch: Sketch) -> Distribution:
        """Give what a sketch tells."""
        if not sketch.count:
            return cls(0)
        p50, p95, p99 = sketch.quantiles(SHARES)
        return cls(sketch.count, sketch.mean, p50, p95, p99, sketch.greatest)


class WorkerUsage(msgspec.Struct, frozen=True):
    """What one worker of a routine uses; the worker with that number may be its second process, or its tenth.

    Args:
        number: its number, from 0.
        cpu_seconds: processor time of all its processes so far.
        pid: its process; None while there is none.
        rss_bytes: memory that this holds now; None where there is none.
        peak_bytes: memory that one of its processes held at most, as far as that is known; 0 where it is not.
        node: the machine that its process is on, as that is called in its cluster; empty for this one.
    """

    number: int
    cpu_seconds: float = 0.0
    pid: int | None = None
    rss_bytes: int | None = None
    peak_bytes: int = 0
    node: str = ""


class RoutinePerformance(msgspec.Struct, frozen=True):
    """How one routine does. Counts are the ledger's, and exact.

    Args:
        routine_id: which.
        status: its word.
        handled: messages whose turn committed.
        failed: tries that ended badly, deaths of the process included.
        retries: messages that were set aside to be tried again.
        restarts: workers that were replaced.
        dead: messages that were given up.
        skipped: messages passed over since the routine is skipped.
        emitted: emissions that went out.
        waiting: messages in its mailbox, now.
        peak_waiting: messages in its mailbox, at most.
        in_hand: messages being handled, now.
        in_retry: messages that wait for their next try, now.
        merging: messages that wait for others to be handled with, now.
        merged: those of the handled ones that were handled beside another one, in its turn.
        success_rate: which share of all tries committed; None before the first.
        throughput: messages handled a second, while the job ran; None before it did.
        recent_throughput: turns a second, for the last minute that it ran.
        execution_time: how long the turns took that committed.
        waiting_time: how long their messages waited: from when each was sent until it was handled, but for the turn
            that committed. So tries that failed, and waits for the next one, are part of it.
        workers: what its processes use; empty for a routine on a thread.
    """

    routine_id: str
    status: str
    handled: int
    failed: int
    retries: int
    restarts: int
    dead: int
    skipped: int
    emitted: int
    waiting: int
    peak_waiting: int
    in_hand: int
    in_retry: int
    merging: int
    merged: int
    success_rate: float | None
    throughput: float | None
    recent_throughput: float | None
    execution_time: Distribution
    waiting_time: Distribution
    workers: tuple[WorkerUsage, ...]

    @property
    def executions(self) -> int:
        """Tries in all: those that committed and those that did not."""
        return self.handled - self.merged + self.failed

    @property
    def cpu_seconds(self) -> float:
        """Processor time of all its processes."""
        return sum(worker.cpu_seconds for worker in self.workers)

    @property
    def rss_bytes(self) -> int:
        """Memory that its processes hold now."""
        return sum(worker.rss_bytes or 0 for worker in self.workers)


class FlowPerformance(msgspec.Struct, frozen=True):
    """How a whole job does: the sums over its routines, and the distributions of all together.

    Its fields are those of `RoutinePerformance`, but for these.

    Args:
        seconds: how long it has run, in all its programs together; pauses do not count.
        routines: how many it has.
        sent: messages sent by all its connections.
    """

    seconds: float
    routines: int
    sent: int
    handled: int
    failed: int
    retries: int
    restarts: int
    dead: int
    skipped: int
    emitted: int
    waiting: int
    in_hand: int
    in_retry: int
    merging: int
    merged: int
    success_rate: float | None
    throughput: float | None
    recent_throughput: float | None
    execution_time: Distribution
    waiting_time: Distribution
    cpu_seconds: float
    rss_bytes: int

    @property
    def executions(self) -> int:
        """Tries in all."""
        return self.handled - self.merged + self.failed


class EventFlow(msgspec.Struct, frozen=True):
    """What went along one connection. Counts are the ledger's: `count` is the sum of the other four.

    Args:
        source: the routine that emits; empty for messages from outside.
        event: its event; empty for messages from outside.
        target: the routine that receives; empty for a declared output.
        slot: its slot; empty for its entry, and for an output.
        count: messages sent.
        handled: those that were handled, or read from the output.
        waiting: those that wait, are being handled, or wait for another try.
        dead: those that were given up.
        skipped: those that were passed over.
        first_at, last_at: when the first and the last were sent, in seconds since the epoch; None for never.
        label: how people read it, such as `read.file -> parse.source`; of a connection that the flow has no more, all
            that is left of it.
    """

    source: str
    event: str
    target: str
    slot: str
    count: int
    handled: int
    waiting: int
    dead: int
    skipped: int
    first_at: float | None
    last_at: float | None
    label: str


def sum_sent(flows: Iterable[EventFlow]) -> list[tuple[dict[str, str], int]]:
    """Give how many messages went from where to where, each pair of places once.

    Several connections may have the same ends, with different mappings; and those that a flow has no more have none.
    """
    sums: dict[tuple[str, str, str, str], int] = {}
    for flow in flows:
        ends = (flow.source, flow.event, flow.target, flow.slot)
        sums[ends] = sums.get(ends, 0) + flow.count
    return [(dict(zip(("source", "event", "target", "slot"), ends, strict=True)), sent) for ends, sent in sums.items()]


def to_plain(value: object) -> Any:
    """Give dicts, lists, numbers and text, which `json.dump` takes."""
    return msgspec.to_builtins(value)


def share_of(part: int, whole: int) -> float | None:
    """Give which share of the whole a part is; None where there is no whole."""
    return part / whole if whole else None


def rate_of(count: int, seconds: float) -> float | None:
    """Give how many there were a second; None where no time has passed."""
    return count / seconds if seconds > 0 else None


def count_of(figures: Mapping[str, int], name: str) -> int:
    """Give a count by its name; 0 where it was not counted yet."""
    return figures.get(name, 0)
