"""What is asked of a cluster: that an agent be started somewhere, spoken with, and ended.

Owns the protocols between the parent of workers on other machines and the engine that has these machines, and the
words in which both speak. Never knows which engine that is: `cluster` has Ray behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from supervisors.places.base import Used

OBJECTS_ASKED = 4
"""For how many objects an agent is asked at once, whenever it could put no more than these (arbitrary: each question is
a call that waits, and calls that are made together cost less)."""
OBJECTS_UNTOLD = OBJECTS_ASKED - 1
"""How many it may put before it tells of them, with whatever it tells next or else by themselves: fewer than it can put
at the least, so that it is asked for more before it waits."""


class Demand(NamedTuple):
    """What a worker needs of a cluster.

    Args:
        num_cpus: processors that are set aside for it; fractions and 0 are possible.
        num_gpus: graphics processors, likewise.
        memory: bytes that are set aside; None for none in particular.
        resources: what else it needs, by the names that the cluster has for it.
        label_selector: labels that its node has to have.
        runtime_env: what its process needs of files, packages and variables; None for what the program's job has.
        scheduling_strategy: how its node is chosen; None for the engine's own way.
    """

    num_cpus: float = 1.0
    num_gpus: float = 0.0
    memory: int | None = None
    resources: Mapping[str, float] = {}
    label_selector: Mapping[str, str] = {}
    runtime_env: Mapping[str, Any] | None = None
    scheduling_strategy: Any = None


class Terms(NamedTuple):
    """As what an agent is to be a worker.

    Args:
        incarnation: the worker's.
        max_frame_bytes: the longest frame in either direction.
        search_path: where modules may be found, if that is there too.
        is_weighed: whether its memory is told.
        is_direct: whether its parent is connected to it.
    """

    incarnation: int
    max_frame_bytes: int
    search_path: Sequence[str]
    is_weighed: bool
    is_direct: bool


class DirectAddress(NamedTuple):
    """Where an agent listens for its parent (`direct`).

    Args:
        host: its machine's address, as others of the cluster reach it.
        port: the port there.
        token: what the parent says first, so that it is known.
    """

    host: str
    port: int
    token: bytes


class Hello(NamedTuple):
    """What an agent says first.

    Args:
        version: of what it speaks with the parent.
        pid: its process, on its node.
        node: that node, as people call it in the cluster.
        node_id: what tells that node from all others, also from those that had its name before.
        address: where it listens; None: it does not.
    """

    version: int
    pid: int
    node: str
    node_id: str
    address: DirectAddress | None = None


Reference = Any
"""An object in the engine's store: who has it may fetch that, anywhere in the cluster; the object lasts as long."""


Group = Sequence[tuple[int, bytes]]
"""The objects that one request names: the number of each, and its reference as it is carried (`Engine.pack`)."""


class News(NamedTuple):
    """What is seen of a worker, beside its frames.

    Args:
        stdout: what was printed.
        stderr: likewise.
        stack: the Python stacks of its threads, where they were asked for.
        resident_bytes: memory that it and all it has started hold; 0 where nobody wants to know.
        dropped: numbers of objects that it has put and will not name.
        used: what it uses, about once a second while it is busy, and at its end; None in between.
    """

    stdout: bytes
    stderr: bytes
    stack: str | None
    resident_bytes: int
    dropped: tuple[int, ...] = ()
    used: Used | None = None


class Piece(NamedTuple):
    """What an agent tells at once.

    Args:
        channel: bytes of frames.
        put: how many objects it has put or is putting that it has not told of, the next of those that it was asked
            for; what it tells from here on may name them.
        page: what its worker is on by then: the request or None, the parent's clock since when, how many have run.
        news: what else there is to tell; None for nothing.
    """

    channel: bytes | memoryview
    put: int
    page: tuple[int | None, float, int]
    news: News | None


class Parcel(NamedTuple):
    """An object that an agent was asked for, before it is there.

    Args:
        buffers: reference of the object.
        number: reference of the number by which what the agent tells names it; the object is there when that is.
    """

    buffers: Reference
    number: Reference


class AgentLostError(Exception):
    """An agent has ended, or cannot be reached any more.

    Args:
        detail: what the engine says of it.
        is_memory: whether the engine ended it as memory ran out.
        node_lost: why its node is lost, and it with that; empty where it alone is, as far as the engine knows.
        is_in_doubt: whether it cannot be reached, which is all that is known: its node may turn out to be lost.
    """

    def __init__(self, detail: str, *, is_memory: bool = False, node_lost: str = "", is_in_doubt: bool = False) -> None:
        self.detail, self.is_memory, self.node_lost, self.is_in_doubt = detail, is_memory, node_lost, is_in_doubt
        super().__init__(detail)


class RemoteAgent(Protocol):
    """An agent, as its parent has it."""

    def say_hello(self, timeout: float) -> Hello:
        """Wait until it is there.

        Raises:
            TimeoutError: it was not within `timeout` seconds.
            AgentLostError: it could not be started.
        """

    def serve(self, terms: Terms) -> None:
        """Have it be a worker. Raises `AgentLostError` if it is lost, or cannot be one."""

    def ask_piece(self) -> Reference:
        """Ask for the next piece that it tells, without waiting.

        It answers with None when its worker has ended and all was told; where it tells its pieces directly, with
        nothing else.
        """

    def ask_object(self) -> Parcel:
        """Ask for the next object that it puts, without waiting. What is put outlives the agent."""

    def receive(self, parcel: Parcel) -> int:
        """Wait until an object is there, and give its number. Raises `AgentLostError` if it never will be."""

    def read(self, reference: Reference) -> Any:
        """Wait for a piece, and give it. Raises `AgentLostError` if there is none any more."""

    def deliver(self, data: bytes, now: float, groups: Sequence[Group]) -> None:
        """Send bytes of frames, and wait until they are there.

        Args:
            data: the bytes.
            now: the parent's clock.
            groups: the objects of each request that names any, in their order: of those in `data`, or in what follows.

        Raises:
            AgentLostError: it is lost; whether it has got them is not known.
        """

    def ask_stack(self) -> None:
        """Have it tell its stacks, without waiting."""

    def end(self) -> None:
        """End it now, and let its name go; may be called again."""


class Engine(Protocol):
    """What starts agents. Any thread may call it."""

    def enter(self) -> None:
        """Take part in the cluster, from now until `leave`; waits while that begins.

        Raises:
            StartError: there is none.
        """

    def leave(self) -> None:
        """Need the cluster no more; what was begun by the first `enter` ends with the last `leave`."""

    def start_agent(self, name: str, namespace: str, demand: Demand) -> RemoteAgent:
        """Have an agent started where there is room for it, without waiting.

        Args:
            name: what it is called in the cluster, by itself in its namespace.
            namespace: the owner's.
            demand: what it needs.

        Raises:
            StartError: the engine refuses that.
        """

    def put(self, buffers: Sequence[memoryview]) -> Reference:
        """Put buffers into the store, which copies them. Raises `OSError` if there is no room."""

    def pack(self, reference: Reference) -> bytes:
        """Give a reference as it is carried: an agent finds the object by that, as long as this program has the other.

        Raises:
            OSError: the object is lost, or there is no cluster any more.
        """

    def fetch(self, reference: Reference) -> Sequence[memoryview]:
        """Give the buffers of an object, to be read, from wherever they are. Raises `OSError` if they are lost."""

    def watch_node(self, node_id: str, settle: Callable[[str], None]) -> None:
        """Find out what became of a node of which an agent cannot be reached.

        Args:
            node_id: its id, as an agent there has said it.
            settle: called once, on a thread of the engine: with why the node is lost, or with "" where it is still
                there after a while. Not called any more after the last `leave`.
        """

    def describe_lack(self, demand: Demand) -> str:
        """Say what is needed, and what of it the cluster has and has free.

        Such as: `needs GPU 1, CPU 1; the cluster has CPU 2 of 4 free, GPU 0`.
        """


class Chosen:
    """Which engine the program uses."""

    engine: Engine | None = None
    """None for Ray. Whatever is here when a place is made is that place's."""


chosen = Chosen()
