"""Metrics of jobs for OpenTelemetry: the door to that library, which is an extra (`pip install routilux[otel]`).

Owns the instruments and their names. All are observable: nothing is recorded while messages are handled, and a job is
looked at when the reader of the meter asks, on its thread. One look serves all instruments of a collection. The names
and units follow OpenTelemetry's conventions: no unit in a name, and no `_total`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Protocol

from routilux.errors import MissingExtraError
from routilux.runtime.job import Job
from routilux.tracking.performance import Distribution, RoutinePerformance, sum_sent
from routilux.tracking.prometheus import METRICS
from routilux.tracking.tracker import ExecutionTracker

SHARED_SECONDS = 0.1
"""How long one look serves: all instruments of a collection are asked one after another (arbitrary)."""

Attributes = dict[str, str]
Found = Iterator[tuple[float, Attributes]]
Read = Callable[[ExecutionTracker], Found]


class Meter(Protocol):
    """What is needed of an `opentelemetry.metrics.Meter`."""

    def create_observable_counter(self, name: str, callbacks: Any, unit: str, description: str) -> Any:
        """Make a counter that is asked for its value."""

    def create_observable_gauge(self, name: str, callbacks: Any, unit: str, description: str) -> Any:
        """Make a gauge that is asked for its value."""


def export_metrics(meter: Meter, jobs: Callable[[], Iterable[Job]]) -> None:
    """Let a meter tell how jobs do, from now on.

    A meter keeps its instruments for good, so this is called once for each meter, and `jobs` says which jobs those are
    by then.

    Args:
        meter: of `opentelemetry.metrics`, such as `get_meter("nightly")` gives.
        jobs: gives the jobs that are told of; called at each collection, on the thread of the meter's reader.

    Raises:
        MissingExtraError: OpenTelemetry is not installed.
    """
    try:
        from opentelemetry.metrics import Observation  # noqa: PLC0415  an optional extra
    except ImportError as error:
        raise MissingExtraError(f"metrics for OpenTelemetry need opentelemetry-api ({error})", "otel") from error
    look = _Look(jobs)

    def observe(read: Read, _options: object) -> list[Any]:
        return [
            Observation(value, {"job_id": tracker.job_id, "flow_id": tracker.flow_id, **attributes})
            for tracker in look.take()
            for value, attributes in read(tracker)
        ]

    for kind, name, unit, told, read in _instruments():
        create = meter.create_observable_counter if kind == "counter" else meter.create_observable_gauge
        create(name, [partial(observe, read)], unit, told)


class _Look:
    """What was seen of the jobs, for all instruments of one collection."""

    def __init__(self, jobs: Callable[[], Iterable[Job]]) -> None:
        self._jobs = jobs
        self._seen: tuple[float, list[ExecutionTracker]] = (float("-inf"), [])

    def take(self) -> list[ExecutionTracker]:
        at, trackers = self._seen
        if time.monotonic() - at > SHARED_SECONDS:
            trackers = [job.tracker for job in self._jobs()]
            self._seen = (time.monotonic(), trackers)
        return trackers


def _instruments() -> Iterator[tuple[str, str, str, str, Read]]:
    """Give each instrument's kind, name, unit, meaning, and what reads it."""
    for metric in METRICS:
        name = "routilux." + metric.name.removesuffix("_total")
        yield metric.kind, name, metric.unit, metric.told, partial(_read_field, metric.field)
    for name, field, what in (
        ("routilux.turn", "execution_time", "turns took that committed"),
        ("routilux.wait", "waiting_time", "messages of these had waited"),
    ):
        yield "gauge", f"{name}.duration", "s", f"How long the {what}, by quantile.", partial(_read_quantiles, field)
        yield "counter", f"{name}.time", "s", f"How long the {what}, in sum.", partial(_read_sum, field)
    yield "counter", "routilux.sent", "{message}", "Messages sent from an event to a slot.", _read_flows
    yield "counter", "routilux.worker.cpu.time", "s", "Processor time of a worker's processes.", _read_cpu
    yield "gauge", "routilux.worker.memory", "By", "Memory that a worker's process holds.", _read_memory


def _routines(tracker: ExecutionTracker) -> Iterator[RoutinePerformance]:
    found = map(tracker.get_routine_performance, tracker.routine_ids)
    return (one for one in found if one is not None)


def _read_field(field: str, tracker: ExecutionTracker) -> Found:
    for one in _routines(tracker):
        yield getattr(one, field), {"routine": one.routine_id}


def _read_quantiles(field: str, tracker: ExecutionTracker) -> Found:
    for one in _routines(tracker):
        found: Distribution = getattr(one, field)
        for share, value in (("0.5", found.p50), ("0.95", found.p95), ("0.99", found.p99), ("1", found.max)):
            if value is not None:
                yield value, {"routine": one.routine_id, "quantile": share}


def _read_sum(field: str, tracker: ExecutionTracker) -> Found:
    for one in _routines(tracker):
        found: Distribution = getattr(one, field)
        yield (found.mean or 0.0) * found.count, {"routine": one.routine_id}


def _read_flows(tracker: ExecutionTracker) -> Found:
    for ends, sent in sum_sent(tracker.event_flow()):
        yield sent, ends


def _read_cpu(tracker: ExecutionTracker) -> Found:
    for one in _routines(tracker):
        for worker in one.workers:
            yield worker.cpu_seconds, {"routine": one.routine_id, "worker": str(worker.number)}


def _read_memory(tracker: ExecutionTracker) -> Found:
    for one in _routines(tracker):
        for worker in one.workers:
            yield worker.rss_bytes or 0, {"routine": one.routine_id, "worker": str(worker.number)}
