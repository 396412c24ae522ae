"""An engine without a cluster: its agents are processes of this machine, spoken with over a pipe.

What a cluster does to agents it does when it is told: it has no room, it ends agents and says why, it loses nodes, at
once or after a while of doubt, its machines' clocks are others. Everything else is the real thing: the agent, in a
process of its own, and the parent's side of it.
"""

from __future__ import annotations

import contextlib
import pickle
import queue
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from multiprocessing.connection import Connection, Pipe
from typing import Any, NamedTuple

from supervisors.errors import StartError
from supervisors.places.ray.agent import Agent, ParentClock
from supervisors.places.ray.engine import AgentLostError, Demand, Group, Hello, Parcel, Terms
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
        self._references = 0
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
        reference = self.reserve()
        self.keep(reference, [bytes(buffer) for buffer in buffers])
        return reference

    def pack(self, reference: int) -> bytes:
        # There is no store in there: the references of its agents are the objects.
        return pickle.dumps(self.objects.get(reference))

    def fetch(self, reference: int) -> list[memoryview]:
        if not self.users:
            raise OSError("there is no cluster any more")
        try:
            return [memoryview(buffer) for buffer in self.objects[reference]]
        except KeyError as error:
            raise OSError(f"object {reference} is lost") from error

    def reserve(self) -> int:
        """Give the reference of an object that is to come."""
        with self._lock:
            self._references += 1
            return self._references

    def keep(self, reference: int, buffers: list[bytes]) -> None:
        """Keep an object."""
        with self._lock:
            self.stored += 1
            if self.stored not in self.loses:
                self.objects[reference] = buffers

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
        # Guards what was asked: calls come from several threads, and go on at once, as answers do.
        self._asking = threading.Lock()
        self._asked: dict[str, deque[Future[Any]]] = defaultdict(deque)
        self._is_gone = False
        self.connection, far_end = Pipe()
        with far_end:
            self.process = machine.fork(far_end)
        self.connection.send(tuple(cluster.nature._replace(node=self.node)))
        threading.Thread(target=self._hear, name="supervisors-remote-fake", daemon=True).start()

    def say_hello(self, timeout: float) -> Hello:
        if not self.has_room:
            if self.is_ended.wait(timeout):
                raise self.loss
            raise TimeoutError
        return Hello(*self._ask("say_hello").result(timeout))

    def serve(self, terms: Terms) -> None:
        self._ask("serve", terms).result()

    def ask_piece(self) -> Future[Any]:
        return self._ask("take_piece")

    def ask_object(self) -> Parcel:
        reference = self.cluster.reserve()
        number: Future[bytes] = Future()

        def keep(taken: Future[Any]) -> None:
            if (error := taken.exception()) is not None:
                number.set_exception(error)
                return
            buffers, told = taken.result()
            if told:
                self.cluster.keep(reference, buffers)
            number.set_result(told)

        self._ask("take_object").add_done_callback(keep)
        return Parcel(reference, number)

    def receive(self, parcel: Parcel) -> int:
        return int.from_bytes(parcel.number.result())

    def read(self, reference: Future[Any]) -> Any:
        return reference.result()

    def deliver(self, data: bytes, now: float, groups: Sequence[Group]) -> None:
        self._ask("deliver", data, now, groups).result()

    def ask_stack(self) -> None:
        self._ask("tell_stack")

    def end(self) -> None:
        self.is_ended.set()
        self.process.kill()

    def _ask(self, verb: str, *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        with self._asking:
            if self._is_gone:
                raise self.loss
            self._asked[verb].append(future)
            with contextlib.suppress(OSError):  # whoever hears it notices
                self.connection.send((verb, *arguments))
        return future

    def _hear(self) -> None:
        """Take its answers, each kind of which comes in the order of the calls, until there are no more."""
        with contextlib.suppress(EOFError, OSError):
            while True:
                verb, answer, error = self.connection.recv()
                with self._asking:
                    future = self._asked[verb].popleft()
                if error is None:
                    future.set_result(answer)
                else:
                    future.set_exception(AgentLostError(error))
        self.process.wait()
        with self._asking:
            self._is_gone = True
            left = [future for asked in self._asked.values() for future in asked]
        for future in left:
            future.set_exception(self.loss)


class _Agent(Agent):
    """An agent whose references are the objects."""

    def fetch(self, carried: bytes) -> list[memoryview]:
        buffers = pickle.loads(carried)
        if buffers is None:
            raise OSError("the object is lost")
        return [memoryview(part) for part in buffers]


def be_agent(connection: Connection) -> None:
    """Be the process of an agent, until the other end of its connection is closed."""
    with contextlib.suppress(EOFError, OSError):
        nature = Nature(*connection.recv())
        agent = _make_agent(Clock(*nature.clock), nature)
        saying = threading.Lock()

        def take_object() -> tuple[list[bytes] | None, bytes]:
            handout, number = agent.take_object()
            # Copied as an engine does; it is given back when this ends.
            copied = None if handout is None else pickle.loads(pickle.dumps(handout, pickle.HIGHEST_PROTOCOL))
            return copied, number

        def answer(call: Callable[..., Any], verb: str, *arguments: Any) -> None:
            told, error = None, None
            try:
                told = call(*arguments)
            except OSError as raised:
                error = describe(raised)
            with saying, contextlib.suppress(OSError):
                connection.send((verb, told, error))

        groups: list[dict[str, Callable[..., Any]]] = [
            {"serve": agent.serve, "take_piece": agent.take_piece},
            {"take_object": take_object},
            {"deliver": agent.deliver},
            {"say_hello": lambda: tuple(agent.say_hello()), "tell_stack": agent.tell_stack},
        ]
        calls: dict[str, tuple[queue.SimpleQueue[Any], Callable[..., Any]]] = {}
        for group in groups:
            asked: queue.SimpleQueue[Any] = queue.SimpleQueue()
            calls.update({verb: (asked, call) for verb, call in group.items()})
            threading.Thread(target=_answer_all, args=(asked, answer), daemon=True).start()
        while True:
            verb, *arguments = connection.recv()
            asked, call = calls[verb]
            asked.put((call, verb, *arguments))


def _answer_all(asked: queue.SimpleQueue[Any], answer: Callable[..., None]) -> None:
    while True:
        answer(*asked.get())


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
