"""Metrics for OpenTelemetry: by its own SDK where that is installed (`make test` installs it), and without it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from routilux import Flow, Job, RoutiluxError, routine, telemetry
from routilux.errors import MissingExtraError
from routilux.telemetry import export_metrics


@routine(events={"number": ["n"]})
def count(upto: int) -> Iterator[int]:
    yield from range(upto)


@routine(events={"square": ["n"]})
def square(n: int) -> int:
    return n * n


def finished() -> Job:
    flow = Flow("squares")
    flow.add_routine(count, "count")
    flow.add_routine(square, "square")
    flow.connect("count", "number", "square", "input")
    job = flow.start("count", {"upto": 5})
    job.wait()
    return job


class FakeMeter:
    """Keeps what was made with it."""

    def __init__(self) -> None:
        self.made: dict[str, tuple[str, Callable[[Any], list[Any]], str]] = {}

    def create_observable_counter(self, name: str, callbacks: Any, unit: str, description: str) -> None:
        self.made[name] = ("counter", callbacks[0], unit)

    def create_observable_gauge(self, name: str, callbacks: Any, unit: str, description: str) -> None:
        self.made[name] = ("gauge", callbacks[0], unit)


class Observation:
    """As OpenTelemetry's."""

    def __init__(self, value: float, attributes: dict[str, str]) -> None:
        self.value, self.attributes = value, attributes


@pytest.fixture
def meter(monkeypatch: pytest.MonkeyPatch) -> FakeMeter:
    monkeypatch.setitem(sys.modules, "opentelemetry", type(sys)("opentelemetry"))
    metrics = type(sys)("opentelemetry.metrics")
    metrics.Observation = Observation  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "opentelemetry.metrics", metrics)
    return FakeMeter()


def test_each_instrument_tells_what_the_tracker_tells(meter: FakeMeter) -> None:
    job = finished()
    export_metrics(meter, lambda: [job])
    kind, observe, unit = meter.made["routilux.handled"]
    base = {"job_id": job.id, "flow_id": "squares"}
    assert [(seen.value, seen.attributes) for seen in observe(None)] == [
        (1, {**base, "routine": "count"}),
        (5, {**base, "routine": "square"}),
    ]
    assert (kind, unit) == ("counter", "{message}")
    sent = {seen.attributes["target"]: seen.value for seen in meter.made["routilux.sent"][1](None)}
    assert sent == {"square": 5, "count": 1}
    told = job.tracker.get_routine_performance("square")
    assert told is not None
    quantiles = {
        seen.attributes["quantile"]: seen.value
        for seen in meter.made["routilux.turn.duration"][1](None)
        if seen.attributes["routine"] == "square"
    }
    assert quantiles == {
        "0.5": told.execution_time.p50,
        "0.95": told.execution_time.p95,
        "0.99": told.execution_time.p99,
        "1": told.execution_time.max,
    }
    assert {name: kind for name, (kind, _, _) in meter.made.items() if "total" in name} == {}


def test_all_instruments_of_a_collection_share_one_look(meter: FakeMeter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "SHARED_SECONDS", 3_600.0)
    job, looks = finished(), []

    def jobs() -> list[Job]:
        looks.append(1)
        return [job]

    export_metrics(meter, jobs)
    for _kind, observe, _unit in meter.made.values():
        observe(None)
    assert (len(looks), len(meter.made) > 10) == (1, True)


def test_without_the_library_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.setitem(sys.modules, "opentelemetry.metrics", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'routilux\[otel\]'") as caught:
        export_metrics(FakeMeter(), list)
    assert isinstance(caught.value, RoutiluxError)
    assert isinstance(caught.value, ImportError)


def test_the_library_itself_collects_it() -> None:
    sdk = pytest.importorskip("opentelemetry.sdk.metrics")
    export = pytest.importorskip("opentelemetry.sdk.metrics.export")
    job, reader = finished(), export.InMemoryMetricReader()
    provider = sdk.MeterProvider([reader], shutdown_on_exit=False)
    try:
        export_metrics(provider.get_meter("test"), lambda: [job])
        data = reader.get_metrics_data()
        found = {
            metric.name: [point.value for point in metric.data.data_points]
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }
    finally:
        provider.shutdown()
    assert (found["routilux.handled"], sorted(found["routilux.sent"])) == ([1, 5], [1, 5])
