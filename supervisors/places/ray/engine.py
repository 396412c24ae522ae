"""What is asked of a cluster: that an agent be started somewhere, spoken with, and ended.

Owns the protocols between the parent of workers on other machines and the engine that has these machines, and the
words in which both speak. Never knows which engine that is: `cluster` has Ray behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from supervisors.places.base import Used


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


class Piece(NamedTuple):
    """What an agent tells at once.

    Args:
        channel: bytes of frames.
        stdout: what was printed.
        stderr: likewise.
        stack: the Python stacks of its threads, where they were asked for.
        page: what its worker is on: the request or None, the parent's clock since when, how many have run.
        resident_bytes: memory that it and all it has started hold; 0 where nobody wants to know.
        dropped: numbers of objects that it has put and will not name.
        stored: the number by which what it tells later names an object that it has put; the reference is what `serve`
            gives next.
        used: what it uses, about once a second while it is busy, and at its end; None in between.
    """

    channel: bytes
    stdout: bytes
    stderr: bytes
    stack: str | None
    page: tuple[int | None, float, int]
    resident_bytes: int
    dropped: tuple[int, ...] = ()
    stored: int | None = None
    used: Used | None = None


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

    def serve(self, terms: Terms) -> Iterator[Reference]:
        """Have it be a worker, and give what it tells by the engine, as it comes: references that are the parent's own.

        They are of pieces, and of the objects that it puts, each behind its piece; where it tells its pieces directly,
        of objects alone. That of an object outlives the agent. It ends with the worker, and raises `AgentLostError`
        when the agent is lost.
        """

    def read(self, reference: Reference) -> Piece:
        """Give a piece that it has told by the engine. Raises `AgentLostError` if that is not to be had."""

    def give(self, objects: list[list[tuple[int, Reference]]]) -> None:
        """Send what requests name that are to come, without waiting.

        Args:
            objects: a list for each request that names any.

        Raises:
            AgentLostError: it is lost.
        """

    def deliver(self, data: bytes, now: float) -> None:
        """Send bytes of frames, and wait until they are there.

        Args:
            data: the bytes.
            now: the parent's clock.

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
