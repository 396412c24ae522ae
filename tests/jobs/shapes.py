"""Jobs of flows as images, made by hand: what the gates of a resume look at."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from routilux import Flow, Routine
from routilux.jobs.imaging import image_topology
from routilux.records.schema import (
    DeadLetterImage,
    Header,
    Image,
    JobImage,
    MessageImage,
    OutputImage,
    PausePoint,
    RetryImage,
    RoutineImage,
    StateImage,
    Topology,
)
from routilux.routing import compile_plan
from routilux.serial.carried import Carried
from routilux.serial.registry import Registry
from routilux.turn.codec import encode_boot
from supervisors.reasons import ErrorRecord, Raised

CODEC = Carried(Registry())
RAISED = Raised(ErrorRecord("ValueError", "row 17", "at line 3"))


class Node(Routine):
    """Takes and gives what it is told to."""

    def __init__(
        self, slots: dict[str, Any] | None = None, events: tuple[str, ...] = ("out",), state: Any = None
    ) -> None:
        super().__init__()
        for name, strategy in ({"input": "override"} if slots is None else slots).items():
            self.define_slot(name, handler=self.handle, merge_strategy=strategy)
        for name in events:
            self.define_event(name, ["n"])
        if state is not None:
            self.state = state

    def handle(self, n: int = 0) -> None:
        """Nothing."""


class Free(Node):
    """A node without a state."""

    state_policy = "none"


class Valued(Node):
    """A node whose state is one value."""

    state_policy = "value"


class External(Node):
    """A node with a cursor."""

    state_policy = "external"


def chain(*ids: str, **nodes: Node) -> Flow:
    """Give nodes in a row, the last with an output."""
    flow = Flow("chain")
    for id_ in ids:
        flow.add_routine(nodes.get(id_) or Node(), id_)
    for one, other in pairwise(ids):
        flow.connect(one, "out", other, "input")
    flow.output(ids[-1], "out")
    return flow


def topology_of(flow: Flow) -> Topology:
    return image_topology(compile_plan(flow), {})


def message(edge: int, seq: int = 1, payload: Any = None, **parts: Any) -> MessageImage:
    return MessageImage(edge, seq, bytes([edge]) * 8 + seq.to_bytes(8), CODEC.encode(payload or {"n": seq}), **parts)


def image_of(  # noqa: PLR0913  a job has as many parts as it has
    flow: Flow,
    *,
    waiting: dict[str, int] | None = None,
    in_hand: dict[str, int] | None = None,
    retries: dict[str, int] | None = None,
    letters: dict[str, int] | None = None,
    results: int = 0,
    collected: int = 0,
    states: dict[str, Any] | None = None,
    points: tuple[PausePoint, ...] = (),
    payload: Any = None,
    topology: Topology | None = None,
    **header: Any,
) -> Image:
    """Give the image of a job of `flow`: so many messages on the connections of these labels, and these states.

    A state is a dict, or a list of dicts by worker; what slots have gathered is in it under reserved keys.
    """
    topology = topology or topology_of(flow)
    numbers = {edge.label: number for number, edge in enumerate(topology.edges)}
    size = len(topology.edges)
    sent, handled, dead = [0] * size, [5] * size, [0] * size

    def messages(counts: dict[str, int] | None, target: str) -> list[MessageImage]:
        made = []
        for label, count in (counts or {}).items():
            number = numbers[label]
            if topology.edges[number].target == target:
                made += [message(number, sent[number] + seq, payload) for seq in range(1, count + 1)]
                sent[number] += count
        return made

    routines = []
    for shape in topology.routines:
        waits = [RetryImage([one], 2.5, holds=True) for one in messages(retries, shape.id)]
        gone = [DeadLetterImage(one, RAISED, 3, 1_700_000_000.0) for one in messages(letters, shape.id)]
        for letter in gone:
            dead[letter.message.edge] += 1
        routines.append(
            RoutineImage(
                shape.id,
                "running",
                None,
                False,
                messages(in_hand, shape.id),
                messages(waiting, shape.id),
                waits,
                gone,
                {"handled": 5, "failed": 0, "skipped": 0, "dead": len(gone), "retries": 0, "restarts": 0, "emitted": 5},
            )
        )
    outputs = []
    for number, edge in enumerate(topology.edges):
        if edge.source and not edge.target:
            held = [message(number, seq) for seq in range(1, results + 1)]
            kept = [message(number, seq + results) for seq in range(1, collected + 1)]
            sent[number] += results + collected
            handled[number] += collected
            outputs.append(OutputImage(edge.source, edge.event, held, kept))
            sent[number] -= collected
            handled[number] -= collected
    job = JobImage(
        [one + other for one, other in zip(sent, handled, strict=True)],
        handled,
        dead,
        [0] * size,
        False,
        list(points),
        None,
        outputs,
    )
    bodies = [
        StateImage(id_, worker, encode_boot(body))
        for id_, held in (states or {}).items()
        for worker, body in enumerate(held if isinstance(held, list) else [held])
    ]
    given = {
        "job_id": "j1",
        "flow_id": "chain",
        "generation": 1,
        "number": 3,
        "status": "paused",
        "error": None,
        "cause": "pause",
        "job_created_at": 1.0,
        "created_at": 2.0,
        "forked_from": None,
        "python": "3.11",
        "version": "0",
        "needs": [],
        "routines": [],
        "messages": 0,
    }
    return Image(Header(**{**given, **header}), topology, job, routines, bodies)  # type: ignore[arg-type]


def count_held(image: Image) -> list[int]:
    """Count the messages that are still somewhere, by number of the connection."""
    counts = [0] * len(image.job.sent)
    for routine in image.routines:
        waits = [one for wait in routine.retries for one in wait.messages]
        for one in (*routine.in_hand, *routine.waiting, *waits):
            counts[one.edge] += 1
    for output in image.job.outputs:
        for one in output.waiting:
            counts[one.edge] += 1
    return counts


def find_unconserved(image: Image) -> list[str]:
    """Name the connections whose messages do not add up (R7)."""
    job, held = image.job, count_held(image)
    return [
        edge.label
        for number, edge in enumerate(image.topology.edges)
        if job.sent[number] != job.handled[number] + job.dead[number] + job.skipped[number] + held[number]
    ]
