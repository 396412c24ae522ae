"""routilux on Ray: the flows of `flows`, with their routines in a cluster like that of Ray's own actors."""

from __future__ import annotations

from benchmarks.peers import flows
from benchmarks.peers.ray import begin_cluster, end_cluster


class _OnRay:
    """A flow that joins the cluster which the program has begun."""

    def __init__(self) -> None:
        super().__init__(placement="ray")  # type: ignore[call-arg]  # that of the flow behind it

    def prepare(self) -> None:
        begin_cluster(2)
        super().prepare()  # type: ignore[misc]  # likewise

    def close(self) -> None:
        super().close()  # type: ignore[misc]
        end_cluster()


class Pipeline(_OnRay, flows.Pipeline):
    """Source -> A -> B -> sink, with A and B on Ray."""


class Echo(_OnRay, flows.Echo):
    """One request after another."""


class EchoAhead(_OnRay, flows.EchoAhead):
    """Requests of which several are on their way at a time."""
