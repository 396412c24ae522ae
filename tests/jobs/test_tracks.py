"""The workers of a routine as the tracker tells of them."""

from __future__ import annotations

import pytest

from routilux import Flow, Routine
from routilux.figures import RoutineFigures
from routilux.jobs.actor import RoutineCut
from routilux.jobs.tracks import _read_workers
from routilux.routing import compile_plan
from routilux.tracking.meters import Spent
from supervisors.places.base import Used, Worker
from supervisors.places.process.reap import Usage


class Stage(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=lambda: None)


@pytest.mark.parametrize(
    ("placement", "told"),
    [
        ("thread", []),
        ("process", [(0, 3.0, 11, 200, 200), (1, 2.0, None, None, 50)]),
        ("ray", [(0, 8.0, 11, 300, 400), (1, 2.0, None, None, 50)]),
    ],
)
def test_what_a_process_uses_is_read_where_it_is_one_of_this_machine(
    placement: str, told: list[tuple[int, ...]]
) -> None:
    flow = Flow("f")
    flow.add_routine(Stage(), "stage", placement=placement)
    away = (Worker(0, 1, 11, True, 0, None, None, "ten", Used(7.0, 99.0, 300, 400)),) if placement == "ray" else ()
    cut = RoutineCut("running", RoutineFigures(), (), None, (11, None), (Spent(1.0, 100), Spent(2.0, 50)), away)
    workers = list(_read_workers(compile_plan(flow).routines[0], cut, {11: Usage(5.0, 2.0, 200)}.get))
    assert {own.node for own in workers if own.pid} <= {"ten" if placement == "ray" else ""}
    assert [(own.number, own.cpu_seconds, own.pid, own.rss_bytes, own.peak_bytes) for own in workers] == told
