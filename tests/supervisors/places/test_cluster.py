"""What is asked of Ray, and what its answers mean.

A program that has left its cluster joins no other one behind the back of whoever left it.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from supervisors.errors import StartError
from supervisors.places.ray.agent import Agent
from supervisors.places.ray.cluster import RayAgent, RayCluster
from supervisors.places.ray.engine import AgentLostError, Demand, Terms
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


class RayError(Exception):
    """What Ray raises."""


class Answer:
    """A reference: of what is raised where it is read, or of what is not."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error


class Told(list[Answer]):
    """What a generator of Ray's gives; its own reference comes last, if the actor is lost."""

    def __init__(self, items: list[Answer], end: Answer) -> None:
        super().__init__([*items, end] if end.error else items)
        self.end = end

    def completed(self) -> Answer:
        return self.end


class Serving:
    """An actor of Ray's that has told all.

    Args:
        told: what its long call has given.
        failure: what that has raised.
    """

    def __init__(self, told: Told, failure: Exception | None = None) -> None:
        self.serve = self._method(told)
        self.check_end = self._method(Answer(failure))

    def _method(self, answer: Any) -> Any:
        return SimpleNamespace(options=lambda **_options: SimpleNamespace(remote=lambda *_arguments: answer))


def hear(actor: Serving, *, is_direct: bool) -> Iterator[Answer]:
    """Hear what it tells, by a Ray that has answers for all that it is asked."""

    def get(answer: Answer) -> None:
        if answer.error is not None:
            raise answer.error

    exceptions = SimpleNamespace(RayError=RayError, OutOfMemoryError=(), ActorUnavailableError=())
    ray = SimpleNamespace(is_initialized=lambda: True, get=get, nodes=list, exceptions=exceptions)
    return RayAgent(ray, actor).serve(Terms(0, 0, (), is_weighed=False, is_direct=is_direct))


@pytest.mark.parametrize("is_direct", [False, True])
def test_the_end_of_an_actor_is_no_object_of_those_that_it_has_given(is_direct: bool) -> None:
    given = Answer()
    told = hear(Serving(Told([given], Answer(RayError("killed by whoever")))), is_direct=is_direct)
    assert next(told) is given
    with pytest.raises(AgentLostError, match=r"^killed by whoever$"):
        next(told)


def test_what_an_agent_has_raised_is_told_where_nobody_reads_what_it_gives() -> None:
    failure = RayError("the connection to its parent broke")
    given = [Answer(), Answer(failure)]
    told = hear(Serving(Told(given, Answer()), failure), is_direct=True)
    assert [next(told), next(told)] == given
    with pytest.raises(AgentLostError, match=r"^the connection to its parent broke$"):
        next(told)


@pytest.mark.parametrize("is_direct", [False, True])
def test_an_agent_that_has_told_all_is_not_lost(is_direct: bool) -> None:
    given = [Answer(), Answer()]
    assert list(hear(Serving(Told(given, Answer())), is_direct=is_direct)) == given


TERMS = Terms(0, 0, (), is_weighed=False, is_direct=True)


class Telling(Agent):
    """Has one thing to tell, and maybe a failure."""

    def __init__(self, failure: Exception | None) -> None:
        self._failure, self._has_told_all = None, False
        self._own = failure

    def _be_worker(self, terms: Terms) -> Iterator[Any]:
        yield "object"
        if self._own is not None:
            raise self._own


def test_an_agent_knows_how_its_telling_has_ended() -> None:
    whole, broken, left = Telling(None), Telling(ConnectionAbortedError("it broke")), Telling(None)
    assert list(whole.serve(TERMS)) == ["object"]
    whole.check_end()
    with pytest.raises(ConnectionAbortedError, match=r"^it broke$"):
        list(broken.serve(TERMS))
    with pytest.raises(ConnectionAbortedError, match=r"^it broke$"):
        broken.check_end()
    told = left.serve(TERMS)
    next(told)
    del told  # as an engine does that could not keep the object
    with pytest.raises(ConnectionAbortedError, match=r"^what it had to tell was not taken to its end$"):
        left.check_end()
