"""An engine without a cluster: its agents are processes of this machine, spoken with over a pipe.

What a cluster does to agents it does when it is told: it has no room, it ends agents and says why, it loses nodes, at
once or after a while of doubt, its machines' clocks are others. Everything else is the real thing: the agent, in a
process of its own, and the parent's side of it.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, Pipe
from typing import Any, NamedTuple

from supervisors.errors import StartError
from supervisors.places.ray.agent import Agent, ParentClock
from supervisors.places.ray.engine import AgentLostError, Demand, Hello, Piece, Terms
from supervisors.wire.values import describe
from tests.supervisors.places.fake_node import node as machine


class Clock(NamedTuple):
    """How a machine's monotonic clock differs from this one's.

    Args:
        ahead: seconds.
        rate: its seconds in one of this one's.
    """

    ahead: float = 0.0
    rate: float = 1.0


class Nature(NamedTuple):
    """What the process of an agent is made with.

    Args:
        clock: its machine's.
        node: what that is called.
        host: its address, where agents listen; None: they do not.
    """

    clock: Clock = Clock()
    node: str = ""
    host: str | None = "127.0.0.1"


class FakeCluster:
    """An engine (`Engine`).

    Args:
        cpus: how many processors it has for agents.
        clock: its machines'.
        agent_type: what stands for an agent here.
        nodes: names of its nodes, on which agents are placed in turn, but for those that select one as `node` which is
            there.
        is_open: whether agents may be connected to, and not only called.
    """

    def __init__(
        self,
        cpus: float = 8.0,
        clock: Clock = Clock(),  # noqa: B008  it is immutable
        agent_type: type[FakeAgent] | None = None,
        nodes: Sequence[str] = ("fake",),
        *,
        is_open: bool = True,
    ) -> None:
        self.cpus = cpus
        self.nature = Nature(clock, host="127.0.0.1" if is_open else None)
        self.agent_type = FakeAgent if agent_type is None else agent_type
        # Guards the counts: each worker has threads of its own.
        self._lock = threading.Lock()
        self.users = 0
        self.entered = 0
        """How often it was entered."""
        self.objects: dict[int, list[bytes]] = {}
        """What is in its store. It does not know who has references, so nothing goes by itself."""
        self.stored = 0
        """How many objects were put."""
        self.is_full = False
        """Whether its store takes nothing more from this program."""
        self.loses: set[int] = set()
        """Which of the objects that are put are lost at once, counted from 1."""
        self.agents: list[FakeAgent] = []
        """All that were started."""
        self.refusal = ""
        """Why no agent is started."""
        self.absence = ""
        """Why it cannot be entered."""
        self.is_begun = threading.Event()
        """Entering it waits for this; it is set unless a test clears it."""
        self.is_begun.set()
        self.nodes = list(nodes)
        """Those that are there."""
        self.doubts: list[tuple[str, Callable[[str], None]]] = []
        """The nodes of which somebody wants to know whether they are lost."""

    def enter(self) -> None:
        self.is_begun.wait(_PATIENCE)
        if self.absence:
            raise StartError(self.absence)
        with self._lock:
            self.users += 1
            self.entered += 1

    def leave(self) -> None:
        with self._lock:
            self.users -= 1
            assert self.users >= 0

    def start_agent(self, name: str, namespace: str, demand: Demand) -> FakeAgent:
        assert self.users
        if self.refusal:
            raise StartError(self.refusal)
        with self._lock:
            busy = sum(agent.demand.num_cpus for agent in self.agents if agent.process.is_alive())
            wanted = demand.label_selector.get("node")
            found = wanted if wanted in self.nodes else self.nodes[len(self.agents) % len(self.nodes)]
            agent = self.agent_type(self, name, demand, found, has_room=busy + demand.num_cpus <= self.cpus)
            self.agents.append(agent)
        return agent

    def lose_node(self, name: str, why: str) -> None:
        """Lose a node, with all agents there, and know it at once."""
        self._take_down(name, AgentLostError(f"its node was lost: {why}", node_lost=why))

    def cut_off(self, name: str) -> None:
        """Lose a node, and know no more than that its agents cannot be reached, until `settle`."""
        self._take_down(name, AgentLostError("the actor is unavailable", is_in_doubt=True))

    def settle(self, name: str, why: str) -> None:
        """Find out that a node that was cut off is lost, or, without a why, that it is there."""
        settled = [settle for doubted, settle in self.doubts if doubted == name]
        self.doubts = [doubt for doubt in self.doubts if doubt[0] != name]
        for settle in settled:
            settle(why)

    def watch_node(self, node_id: str, settle: Callable[[str], None]) -> None:
        self.doubts.append((node_id, settle))

    def put(self, buffers: Sequence[memoryview]) -> int:
        if self.is_full or not self.users:
            raise OSError("the store is full" if self.users else "there is no cluster any more")
        return self.keep([bytes(buffer) for buffer in buffers])

    def fetch(self, reference: int) -> list[memoryview]:
        if not self.users:
            raise OSError("there is no cluster any more")
        try:
            return [memoryview(buffer) for buffer in self.objects[reference]]
        except KeyError as error:
            raise OSError(f"object {reference} is lost") from error

    def keep(self, buffers: list[bytes]) -> int:
        """Keep an object; its reference."""
        with self._lock:
            self.stored += 1
            if self.stored not in self.loses:
                self.objects[self.stored] = buffers
            return self.stored

    def _take_down(self, name: str, loss: AgentLostError) -> None:
        with self._lock:
            self.nodes.remove(name)
            for agent in self.agents:
                if agent.node == name:
                    agent.loss = loss
                    agent.process.kill()

    def describe_lack(self, demand: Demand) -> str:
        return f"needs CPU {demand.num_cpus:g}; the cluster has CPU {self.cpus:g}"

    def kill(self, number: int = -1) -> None:
        """End an agent as whatever may befall it does."""
        self.agents[number].process.kill()

    def wait_until_unused(self) -> None:
        """Wait for the threads that still start a worker, or end one."""
        for thread in threading.enumerate():
            if thread.name.startswith("supervisors-remote"):
                thread.join(_PATIENCE)
                assert not thread.is_alive(), thread.name
        assert self.users == 0

    def close(self) -> None:
        """Hold that nobody needs it any more, and nothing is left of it."""
        self.wait_until_unused()
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
        self.is_ended = threading.Event()
        """Whether it was to end."""
        self._delivered: queue.SimpleQueue[None] = queue.SimpleQueue()
        # Calls come from several threads.
        self._calling = threading.Lock()
        self.connection, far_end = Pipe()
        with far_end:
            self.process = machine.fork(far_end)
        self._call(*cluster.nature._replace(node=self.node))

    def say_hello(self, timeout: float) -> Hello:
        if not self.has_room:
            if self.is_ended.wait(timeout):
                raise self.loss
            raise TimeoutError
        self._call("say_hello")
        if not self.connection.poll(timeout):
            raise TimeoutError
        return Hello(*self._receive())

    def serve(self, terms: Terms) -> Iterator[Any]:
        self._call("serve", terms)
        return self._told()

    def read(self, reference: Piece) -> Piece:
        return reference

    def give(self, objects: list[list[tuple[int, int]]]) -> None:
        # There is no store in there: the references of its agents are the objects.
        self._call(
            "give", [[(named, self.cluster.objects.get(reference)) for named, reference in group] for group in objects]
        )

    def deliver(self, data: bytes, now: float) -> None:
        self._call("deliver", data, now)
        self._delivered.get()

    def ask_stack(self) -> None:
        self._call("tell_stack")

    def end(self) -> None:
        self.is_ended.set()
        self.process.kill()

    def _told(self) -> Iterator[Any]:
        """Take what it tells, for all who wait for some of it. A piece is its own reference."""
        try:
            while (told := self._receive()) is not None:
                what, content = told
                if what == "delivered":
                    self._delivered.put(None)
                elif what == "raised":
                    raise AgentLostError(content)
                else:
                    yield Piece(*content) if what == "piece" else self.cluster.keep(content)
        finally:
            self._delivered.put(None)

    def _call(self, *call: Any) -> None:
        try:
            with self._calling:
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

    def fetch(self, reference: list[bytes] | None) -> list[memoryview]:
        if reference is None:
            raise OSError("the object is lost")
        return [memoryview(part) for part in reference]


def be_agent(connection: Connection) -> None:
    """Be the process of an agent, until the other end of its connection is closed."""
    with contextlib.suppress(EOFError, OSError):
        nature = Nature(*connection.recv())
        agent = _make_agent(Clock(*nature.clock), nature)
        deliveries: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
        saying = threading.Lock()

        def say(*said: Any) -> None:
            with saying:
                connection.send(said)

        def serve(*arguments: Any) -> None:
            try:
                for piece in agent.serve(*arguments):
                    if isinstance(piece, Piece):
                        say("piece", tuple(piece))
                    else:
                        say("object", [bytes(memoryview(part)) for part in piece])
                connection.send(None)
            except OSError as error:
                say("raised", describe(error))

        def deliver() -> None:
            while True:
                agent.deliver(*deliveries.get())
                say("delivered", None)

        verbs: dict[str, Callable[..., object]] = {
            "say_hello": lambda: connection.send(tuple(agent.say_hello())),
            "serve": lambda *arguments: threading.Thread(target=serve, args=arguments, daemon=True).start(),
            "give": agent.give,
            "deliver": lambda *arguments: deliveries.put(arguments),
            "tell_stack": agent.tell_stack,
        }
        threading.Thread(target=deliver, daemon=True).start()
        while True:
            verb, *arguments = connection.recv()
            verbs[verb](*arguments)


def _make_agent(clock: Clock, nature: Nature) -> Agent:
    agent = _Agent(nature.node, nature.node, nature.host)
    if clock != Clock():
        true, began = time.monotonic, time.monotonic()
        # All that it reads of time is its machine's.
        time.monotonic = lambda: began + clock.ahead + (true() - began) * clock.rate
        agent._clock = ParentClock(time.monotonic)
    return agent


_PATIENCE = 30.0
"""Seconds that anything may take before it is given up (arbitrary, generous on a busy machine)."""
