"""Metrics as text in Prometheus' exposition format, version 0.0.4. Pure.

Owns the names of the metrics, and how text becomes a label. What only grows ends in `_total`, as the format's
conventions have it; durations are summaries, whose quantiles are those of the whole job so far.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from routilux.tracking.performance import Distribution, EventFlow, RoutinePerformance, sum_sent


class Metric(NamedTuple):
    """One metric of a routine.

    Args:
        name: without the prefix of all.
        kind: `counter` or `gauge`.
        field: which field of `RoutinePerformance` it is.
        told: what it means.
        unit: as OpenTelemetry writes it.
    """

    name: str
    kind: str
    field: str
    told: str
    unit: str = "1"


METRICS = (
    Metric("handled_total", "counter", "handled", "Messages whose turn committed.", "{message}"),
    Metric("failed_total", "counter", "failed", "Tries that ended badly, deaths included.", "{try}"),
    Metric("retries_total", "counter", "retries", "Messages set aside to be tried again.", "{message}"),
    Metric("restarts_total", "counter", "restarts", "Workers that were replaced.", "{worker}"),
    Metric("emitted_total", "counter", "emitted", "Emissions that went out.", "{emission}"),
    Metric("dead", "gauge", "dead", "Messages given up and not redelivered.", "{message}"),
    Metric("skipped_total", "counter", "skipped", "Messages passed over by a skipped routine.", "{message}"),
    Metric("waiting", "gauge", "waiting", "Messages in the mailbox.", "{message}"),
    Metric("waiting_peak", "gauge", "peak_waiting", "Messages in the mailbox at most.", "{message}"),
    Metric("in_hand", "gauge", "in_hand", "Messages being handled.", "{message}"),
    Metric("in_retry", "gauge", "in_retry", "Messages that wait for their next try.", "{message}"),
    Metric("merging", "gauge", "merging", "Messages that wait for others to be handled with.", "{message}"),
    Metric("merged_total", "counter", "merged", "Messages handled beside another one in its turn.", "{message}"),
)
"""Those that are one number a routine."""
PREFIX = "routilux_"


def write_metrics(
    labels: dict[str, str],
    seconds: float,
    routines: Sequence[RoutinePerformance],
    flows: Sequence[EventFlow],
) -> str:
    """Give the text, each metric with what it means and one line a value.

    Args:
        labels: what all lines are labelled by.
        seconds: how long the job has run.
        routines: its routines.
        flows: its connections.
    """
    lines = [*_head("run_seconds_total", "counter", "Seconds that the job has run, in all its programs.")]
    lines.append(_line("run_seconds_total", labels, seconds))
    for metric in METRICS:
        lines += _head(metric.name, metric.kind, metric.told)
        lines += [
            _line(metric.name, labels | {"routine": one.routine_id}, getattr(one, metric.field)) for one in routines
        ]
    lines += _head("turn_seconds", "summary", "How long the turns took that committed.")
    for one in routines:
        lines += _summary("turn_seconds", labels | {"routine": one.routine_id}, one.execution_time)
    lines += _head("wait_seconds", "summary", "How long the messages of these had waited.")
    for one in routines:
        lines += _summary("wait_seconds", labels | {"routine": one.routine_id}, one.waiting_time)
    lines += _write_workers(labels, routines)
    lines += _write_flows(labels, flows)
    return "".join(f"{line}\n" for line in lines)


def _write_workers(labels: dict[str, str], routines: Sequence[RoutinePerformance]) -> Iterator[str]:
    workers = [
        (labels | {"routine": one.routine_id, "worker": str(worker.number)}, worker)
        for one in routines
        for worker in one.workers
    ]
    yield from _head("worker_cpu_seconds_total", "counter", "Processor time of a worker's processes.")
    for where, worker in workers:
        yield _line("worker_cpu_seconds_total", where, worker.cpu_seconds)
    yield from _head("worker_resident_bytes", "gauge", "Memory that a worker's process holds.")
    for where, worker in workers:
        yield _line("worker_resident_bytes", where, worker.rss_bytes or 0)


def _write_flows(labels: dict[str, str], flows: Sequence[EventFlow]) -> Iterator[str]:
    yield from _head("sent_total", "counter", "Messages sent from an event to a slot.")
    for ends, sent in sum_sent(flows):  # a line for each connection would give two of the same labels, which is refused
        yield _line("sent_total", labels | ends, sent)


def _head(name: str, kind: str, told: str) -> list[str]:
    return [f"# HELP {PREFIX}{name} {told}", f"# TYPE {PREFIX}{name} {kind}"]


def _summary(name: str, labels: dict[str, str], found: Distribution) -> Iterator[str]:
    for share, value in (("0.5", found.p50), ("0.95", found.p95), ("0.99", found.p99), ("1", found.max)):
        if value is not None:
            yield _line(name, labels | {"quantile": share}, value)
    yield _line(f"{name}_sum", labels, (found.mean or 0.0) * found.count)
    yield _line(f"{name}_count", labels, found.count)


def _line(name: str, labels: dict[str, str], value: float) -> str:
    told = ",".join(f'{label}="{_escape(text)}"' for label, text in labels.items())
    return f"{PREFIX}{name}{{{told}}} {value!r}"


def _escape(text: str) -> str:
    escaped = text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return escaped.encode("utf-8", "replace").decode()
