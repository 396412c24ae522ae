"""An engine without a cluster: its agents are processes of this machine, spoken with over a pipe.

What a cluster does to agents it does when it is told: it has no room, it mixes up the order of calls, it ends agents
and says why, it loses nodes, at once or after a while of doubt. Everything else is the real thing: the agent, in a
process of its own, and the parent's side of it.
"""

from __future__ import annotations

import os
import queue
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, Pipe
from typing import Any

from supervisors.errors import StartError
from supervisors.places.ray.agent import Agent
from supervisors.places.ray.engine import AgentLostError, Demand, Hello, Piece, Stored

_MAIN = "from tests.supervisors.places.fake_cluster import be_agent; be_agent({fd}, {seed}, {node!r})"
_SWAPPED = 0.3
"""How often a delivery is overtaken by the next one."""


class FakeCluster:
    """An engine (`Engine`).

    Args:
        cpus: how many processors it has for agents.
        seed: how the order of calls is mixed up; None: not at all.
        nodes: names of its nodes, on which agents are placed in turn, but for those that select one as
            `node` which is there.
    """

    def __init__(self, cpus: float = 8.0, seed: int | None = None, nodes: Sequence[str] = ("fake",)) -> None:
        self.cpus = cpus
        self.seed = seed
        self.users = 0
        self.objects: dict[int, list[bytes]] = {}
        """What is in its store. It does not know who has references, so nothing goes by itself."""
        self.stored = 0
        self.agents: list[FakeAgent] = []
        """All that were started."""
        self.refusal = ""
        """Why no agent is started."""
        self.absence = ""
        """Why it cannot be entered."""
        self.nodes = list(nodes)
        """Those that are there."""
        self.doubts: list[tuple[str, Callable[[str], None]]] = []
        """The nodes of which somebody wants to know whether they are lost."""

    def enter(self) -> None:
        if self.absence:
            raise StartError(self.absence)
        self.users += 1

    def leave(self) -> None:
        self.users -= 1

    def start_agent(self, name: str, namespace: str, demand: Demand) -> FakeAgent:
        assert self.users
        if self.refusal:
            raise StartError(self.refusal)
        busy = sum(agent.demand.num_cpus for agent in self.agents if agent.process.poll() is None)
        wanted = demand.label_selector.get("node")
        node = wanted if wanted in self.nodes else self.nodes[len(self.agents) % len(self.nodes)]
        agent = FakeAgent(self, name, demand, node, has_room=busy + demand.num_cpus <= self.cpus)
        self.agents.append(agent)
        return agent

    def lose_node(self, node: str, why: str) -> None:
        """Lose a node, with all agents there, and know it at once."""
        self._take_down(node, AgentLostError(f"its node was lost: {why}", node_lost=why))

    def cut_off(self, node: str) -> None:
        """Lose a node, and know no more than that its agents cannot be reached, until `settle`."""
        self._take_down(node, AgentLostError("the actor is unavailable", is_in_doubt=True))

    def settle(self, node: str, why: str) -> None:
        """Find out that a node that was cut off is lost, or, without a why, that it is there."""
        settled = [settle for doubted, settle in self.doubts if doubted == node]
        self.doubts = [doubt for doubt in self.doubts if doubt[0] != node]
        for settle in settled:
            settle(why)

    def watch_node(self, node_id: str, settle: Callable[[str], None]) -> None:
        self.doubts.append((node_id, settle))

    def put(self, buffers: Sequence[memoryview]) -> int:
        return self.keep([bytes(buffer) for buffer in buffers])

    def fetch(self, reference: int) -> list[memoryview]:
        try:
            return [memoryview(buffer) for buffer in self.objects[reference]]
        except KeyError as error:
            raise OSError(f"object {reference} is lost") from error

    def keep(self, buffers: list[bytes]) -> int:
        """Keep an object; its reference."""
        self.stored += 1
        self.objects[self.stored] = buffers
        return self.stored

    def _take_down(self, node: str, loss: AgentLostError) -> None:
        self.nodes.remove(node)
        for agent in self.agents:
            if agent.node == node:
                agent.loss = loss
                agent.process.kill()

    def describe_lack(self, demand: Demand) -> str:
        return f"needs CPU {demand.num_cpus:g}; the cluster has CPU {self.cpus:g}"

    def close(self) -> None:
        """Hold that nobody needs it any more, and nothing is left of it."""
        assert self.users == 0
        for agent in self.agents:
            agent.process.wait(10.0)
            agent.connection.close()


class FakeAgent:
    """An agent (`RemoteAgent`), and how to do to it what a cluster may do."""

    def __init__(self, cluster: FakeCluster, name: str, demand: Demand, node: str, *, has_room: bool) -> None:
        self.cluster, self.name, self.demand, self.node = cluster, name, demand, node
        self.loss = AgentLostError("the actor died unexpectedly before finishing this task")
        """What is said once it has ended."""
        self.has_room = has_room
        self.connection, far_end = Pipe()
        command = _MAIN.format(fd=far_end.fileno(), seed=cluster.seed, node=node)
        self.process = subprocess.Popen(
            [sys.executable, "-c", command],
            pass_fds=[far_end.fileno()],
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        far_end.close()

    def say_hello(self, timeout: float) -> Hello:
        if not self.has_room:
            threading.Event().wait(timeout)
            raise TimeoutError
        self._call("say_hello")
        if not self.connection.poll(timeout):
            raise TimeoutError
        return Hello(*self._receive())

    def serve(
        self, incarnation: int, max_frame_bytes: int, search_path: list[str], *, is_weighed: bool
    ) -> Iterator[Piece | Stored]:
        self._call("serve", incarnation, max_frame_bytes, search_path, is_weighed)
        return self._pieces()

    def deliver(self, number: int, data: bytes, now: float, objects: list[list[tuple[int, int]]]) -> None:
        # There is no store in there: the references of its agents are the objects.
        sent = [[(named, self.cluster.objects[reference]) for named, reference in group] for group in objects]
        self._call("deliver", number, data, now, sent)

    def ask_stack(self) -> None:
        self._call("tell_stack")

    def end(self) -> None:
        self.process.kill()

    def _pieces(self) -> Iterator[Piece | Stored]:
        while (told := self._receive()) is not None:
            piece = Piece(*told)
            yield piece
            if piece.stored is not None:
                yield Stored(piece.stored, self.cluster.keep(self._receive()))

    def _call(self, *call: Any) -> None:
        try:
            self.connection.send(call)
        except OSError as error:
            raise self.loss from error

    def _receive(self) -> Any:
        try:
            return self.connection.recv()
        except (EOFError, OSError) as error:
            self.process.wait()
            raise self.loss from error


class _Agent(Agent):
    """An agent whose references are the objects."""

    def fetch(self, reference: list[bytes]) -> list[memoryview]:
        return [memoryview(part) for part in reference]


def be_agent(fd: int, seed: int | None, node: str) -> None:
    """Be the process of an agent, until the other end of the pipe is closed."""
    os.set_inheritable(fd, False)
    connection = Connection(fd)
    agent = _Agent(node, node)
    deliveries: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()

    def serve(*arguments: Any) -> None:
        for piece in agent.serve(*arguments):
            connection.send(tuple(piece) if isinstance(piece, Piece) else [bytes(memoryview(part)) for part in piece])
        connection.send(None)

    verbs: dict[str, Callable[..., object]] = {
        "say_hello": lambda: connection.send(tuple(agent.say_hello())),
        "serve": lambda *arguments: threading.Thread(target=serve, args=arguments, daemon=True).start(),
        "deliver": lambda *arguments: deliveries.put(arguments),
        "tell_stack": agent.tell_stack,
    }
    threading.Thread(target=_deliver, args=(agent, deliveries, seed), daemon=True).start()
    try:
        while True:
            verb, *arguments = connection.recv()
            verbs[verb](*arguments)
    except (EOFError, OSError):
        os._exit(0)


def _deliver(agent: Agent, deliveries: queue.SimpleQueue[tuple[Any, ...]], seed: int | None) -> None:
    drawn = random.Random(seed)
    while True:
        calls = [deliveries.get()]
        if seed is not None and drawn.random() < _SWAPPED and not deliveries.empty():
            calls.insert(0, deliveries.get())
        for call in calls:
            agent.deliver(*call)
