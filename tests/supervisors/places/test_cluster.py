"""A program that has left its cluster joins no other one behind the back of whoever left it."""

from __future__ import annotations

import pytest

from supervisors.errors import StartError
from supervisors.places.ray.cluster import RayAgent, RayCluster
from supervisors.places.ray.engine import AgentLostError, Demand
from tests.rays import hide_ray, show_ray

LEFT = r"^this program has left its cluster \(ray.shutdown\)$"


def test_nothing_is_asked_of_ray_by_who_is_in_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    show_ray(monkeypatch)  # it has nothing else that could be asked
    cluster = RayCluster()
    with pytest.raises(StartError, match=LEFT):
        cluster.start_agent("a", "tests", Demand())
    for ask in (lambda: cluster.put([]), lambda: cluster.fetch("reference")):
        with pytest.raises(OSError, match=LEFT):
            ask()
    import ray  # noqa: PLC0415  the one that is shown

    agent = RayAgent(ray, object())
    for call in (agent.ask_stack, lambda: agent.deliver(b"", 0.0), lambda: agent.give([])):
        with pytest.raises(AgentLostError, match=LEFT):
            call()
    agent.end()


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    hide_ray(monkeypatch)
    with pytest.raises(StartError, match=r"pip install 'routilux\[ray\]'$"):
        RayCluster().enter()
