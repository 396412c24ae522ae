"""What a flow's workers need is asked before a job starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from routilux import Flow, routine
from routilux.errors import MissingExtraError
from routilux.runtime.workers import require_ray
from routilux.stores import MemoryStore
from tests.rays import hide_ray, show_ray


@routine(events={"out": ["n"]})
def double(n: int = 1) -> int:
    return 2 * n


def flow_on(placement: str) -> Flow:
    flow = Flow("f")
    flow.add_routine(double, "first")
    flow.add_routine(double, "double", placement=placement)
    flow.connect("first", "out", "double", "input")
    flow.output("double", "out")
    return flow


def test_a_job_on_ray_does_not_start_without_and_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    hide_ray(monkeypatch)
    told = r"^routine 'double' has placement='ray', which needs Ray: pip install 'routilux\[ray\]'$"
    with pytest.raises(MissingExtraError, match=told):
        flow_on("ray").start("first", {"n": 1}, store=(store := MemoryStore()), job_id="j")
    assert store.jobs() == []
    flow_on("thread").execute("first", {"n": 1}, store=store, job_id="j")
    with pytest.raises(MissingExtraError, match=told):
        Flow.resume(store, "j", flow=flow_on("ray"))
    assert store.owner("j") is None


def test_nothing_is_asked_of_a_flow_without_ray_or_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hide_ray(monkeypatch)
    require_ray(flow_on("process").options)
    show_ray(monkeypatch)
    require_ray(flow_on("ray").options)
