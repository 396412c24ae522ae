from __future__ import annotations

import threading
from typing import Any

import pytest

from routilux import Ray, routine
from routilux.errors import OptionError, UnknownRoutineError
from routilux.model.graph import FlowGraph
from routilux.model.placing import place
from routilux.model.routine import Routine


class Stage(Routine):
    def __init__(self, held: Any = None) -> None:
        super().__init__()
        self.held = held
        self.define_slot("input", handler=self.take)

    def take(self, n: int) -> None: ...


class Changing(Stage):
    state_policy = "in_place"


@routine
async def ask(url: Any) -> None: ...


def one(stage: Routine | None = None, **options: Any) -> FlowGraph:
    graph = FlowGraph("f")
    graph.add_routine(stage or Stage(), "stage", **options)
    return graph


@pytest.mark.parametrize("placement", ["thread", "process", "ray"])
def test_a_routine_moves_by_one_word_and_keeps_its_other_options(placement: str) -> None:
    graph = one(capacity=7, timeout=3)
    assert place(graph, "stage", placement) == []
    options = graph.options["stage"]
    assert (options.placement, options.capacity, options.timeout) == (placement, 7, 3)


def test_what_means_nothing_there_is_left_behind_and_named() -> None:
    graph = one(
        placement="process", workers=(1, 4), start_method="spawn", niceness=3, memory_limit=2**30, preload=["re"]
    )
    assert place(graph, "stage", "ray") == ["start_method", "niceness"]
    assert graph.options["stage"].changed() == {
        "placement": "ray",
        "workers": (1, 4),
        "memory_limit": 2**30,
        "preload": ["re"],
    }
    assert place(graph, "stage", "thread") == ["workers", "memory_limit", "preload"]
    assert graph.options["stage"].changed() == {}


def test_what_was_asked_of_ray_is_left_behind_on_the_way_back() -> None:
    graph = one(placement="ray", ray=Ray(num_gpus=1))
    assert place(graph, "stage", "process") == ["ray"]
    assert graph.options["stage"].changed() == {"placement": "process"}


@pytest.mark.parametrize(
    ("stage", "options", "placement", "told"),
    [
        (Stage(threading.Lock()), {}, "ray", r"cannot travel to its worker: stage\.held: a _thread\.lock"),
        (Changing(), {}, "ray", "state_policy 'in_place' is for threads"),
        (ask.again(), {"concurrency": 4}, "ray", r"its option concurrency=4 has to be 1 on Ray \(workers=n"),
        (Stage(), {"placement": "ray", "partition_by": "n"}, "thread", "its option partition_by='n' has to be None"),
    ],
)
def test_what_cannot_run_there_stays_as_it_was(
    stage: Routine, options: dict[str, Any], placement: str, told: str
) -> None:
    graph = one(stage, **options)
    before = graph.options["stage"]
    with pytest.raises(OptionError, match=f"^{told}"):
        place(graph, "stage", placement)
    assert graph.options["stage"] == before


def test_options_of_a_routine_that_is_there_are_changed_and_the_others_stay() -> None:
    graph = one(capacity=7)
    graph.set_options("stage", placement="ray", workers=8, ray={"num_cpus": 0})
    options = graph.options["stage"]
    assert (options.capacity, options.placement, options.workers, options.ray) == (7, "ray", 8, Ray(num_cpus=0))
    with pytest.raises(OptionError, match="expected ray to be None in a process of this machine"):
        graph.set_options("stage", placement="process")
    with pytest.raises(OptionError, match=r"there is no option 'wokers'.*did you mean 'workers'"):
        graph.set_options("stage", wokers=1)
    with pytest.raises(OptionError, match="concurrency=2 is for 'async def' handlers"):
        graph.set_options("stage", placement="thread", workers=1, ray=None, concurrency=2)
    with pytest.raises(UnknownRoutineError, match=r"'stag'.*did you mean 'stage'"):
        graph.set_options("stag", placement="ray")
    assert graph.options["stage"] == options
