"""What is asked of Ray, and what its answers mean.

A program that has left its cluster joins no other one behind the back of whoever left it.
"""

from __future__ import annotations

import pickle
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from supervisors.errors import StartError
from supervisors.places.process.page import NOTHING
from supervisors.places.ray.agent import Agent, Rendezvous
from supervisors.places.ray.cluster import RayAgent, RayCluster
from supervisors.places.ray.engine import AgentLostError, Demand, Parcel, Piece
from tests.rays import hide_ray, show_ray

LEFT = r"^this program has left its cluster \(ray.shutdown\)$"


def test_nothing_is_asked_of_ray_by_who_is_in_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    show_ray(monkeypatch)  # it has nothing else that could be asked
    cluster = RayCluster()
    with pytest.raises(StartError, match=LEFT):
        cluster.start_agent("a", "tests", Demand())
    for ask in (lambda: cluster.put([]), lambda: cluster.pack("reference"), lambda: cluster.fetch("reference")):
        with pytest.raises(OSError, match=LEFT):
            ask()
    import ray  # noqa: PLC0415  the one that is shown

    agent = RayAgent(ray, Handle())
    parcel = Parcel("buffers", "number")
    calls = (agent.ask_stack, agent.ask_piece, agent.ask_object, lambda: agent.receive(parcel))
    for call in (*calls, lambda: agent.deliver(b"", 0.0, [])):
        with pytest.raises(AgentLostError, match=LEFT):
            call()
    agent.end()


class Handle:
    """That of an actor of Ray's, which is not to be called."""

    def __getattr__(self, verb: str) -> Any:
        return SimpleNamespace(options=lambda **_options: None)


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    hide_ray(monkeypatch)
    with pytest.raises(StartError, match=r"pip install 'routilux\[ray\]'$"):
        RayCluster().enter()


def test_an_agent_that_cannot_tell_all_says_why_where_its_end_is_waited_for() -> None:
    told = Telling()
    told.tell()
    assert told.take_piece() is None
    broken = Telling(ConnectionAbortedError("it broke"))
    broken.tell()
    with pytest.raises(ConnectionAbortedError, match=r"^it broke$"):
        broken.take_piece()


class Telling(Agent):
    """Has one thing to tell directly, and maybe a failure."""

    def __init__(self, failure: Exception | None = None) -> None:
        self._failure = None
        self._told = threading.Event()
        self._teller: Any = SimpleNamespace(next=self._next)
        self._pieces = [Piece(b"", 0, NOTHING, None), failure]

    def tell(self) -> None:
        self._tell_directly(SimpleNamespace(finish=lambda: None), self._told)  # type: ignore[arg-type]

    def _next(self) -> Piece | None:
        piece = self._pieces.pop(0)
        if isinstance(piece, Exception):
            raise piece
        return piece


def test_an_object_is_given_back_when_the_engine_has_copied_it_and_not_before() -> None:
    rendezvous = Rendezvous()
    put: list[int] = []

    def put_all() -> None:
        for number in (1, 2):
            rendezvous.put(number, [memoryview(b"buffer"), memoryview(bytes([number]))])
            put.append(number)

    thread = threading.Thread(target=put_all)
    thread.start()
    taken = rendezvous.take()
    assert taken is not None
    assert taken[1] == 1
    assert pickle.loads(pickle.dumps(taken[0], 5)) == [b"buffer", b"\x01"]
    thread.join(0.05)
    assert put == []
    del taken
    taken = rendezvous.take()
    assert taken is not None
    assert (taken[1], put) == (2, [1])
    rendezvous.close()  # its worker is given up
    thread.join(30.0)
    assert put == [1, 2]


def test_who_waits_for_an_object_is_let_go_when_none_comes() -> None:
    rendezvous = Rendezvous()
    rendezvous.close()
    assert rendezvous.take() is None
