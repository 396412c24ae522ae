"""Random jobs for the soak: their flows, their faults, and what is done to them from outside; all from one seed.

Owns the drawing and the routines. Each routine notes in its declared state, by slot and lap, which numbers it has
handled, how many, and whether one came out of order: so whatever is lost, doubled or reordered shows at the end
(`invariants`). The flow is one to three arms of one or two steps between a source and a sink, or a loop.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from routilux import ErrorHandler, Flow, Routine
from tests.faults import deeds

ROUNDS = 3
"""Laps that a number makes in a loop."""
HANG_SECONDS = 0.4
"""What a handler is given where it may hang."""
Harm = tuple[Callable[[], Any], str, int]
"""What is done at a number: the deed; before or after the emission, or by what is emitted; and in how many tries."""

_RAISES = (
    deeds.raise_plainly,
    deeds.raise_unpicklable,
    deeds.raise_one_way,
    deeds.raise_mute,
    deeds.raise_chain,
    deeds.exit_softly,
    deeds.interrupt,
    deeds.raise_own,
    deeds.recurse,
)
_KILLS = (
    deeds.be_killed,
    deeds.exit_hard,
    deeds.exit_hard_with_code,
    deeds.segfault,
    deeds.write_garbage,
    deeds.shut_channel,
    deeds.raise_that_dies_on_pickling,
    deeds.end_main_thread_with_fork,
)
_HANGS = (deeds.hang, deeds.spin, deeds.ignore_signals_and_hang, deeds.stand_still)
_DAWDLES = (deeds.dawdle,)
_NUISANCES = (deeds.flood, deeds.leave_a_copy, deeds.leave_a_program, deeds.leave_a_thread, deeds.fork_and_return)
_CARGOES = (deeds.make_unpicklable, deeds.make_leaving_on_pickling, deeds.make_raising_on_arrival)


class Noting(Routine):
    """Notes what it handles, and does harm at some numbers."""

    def __init__(self, slots: tuple[str, ...], harms: dict[int, Harm]) -> None:
        super().__init__()
        self.harms = harms
        for slot in slots:
            self.define_slot(slot, handler=Noted(self, slot))

    def note(self, slot: str, n: int, lap: int) -> None:
        """Note that `n` is handled."""
        state, key = self.state, f"{slot}.{lap}"
        if n <= state.get(f"{key}.last", -1):
            state[f"{key}.disorder"] = state.get(f"{key}.disorder", 0) + 1
        state[f"{key}.last"] = n
        state[f"{key}.count"] = state.get(f"{key}.count", 0) + 1
        state[f"{key}.mask"] = state.get(f"{key}.mask", 0) | 1 << n

    def run(self, slot: str, n: int, lap: int) -> None:
        """Handle one number."""
        deed, moment, tries = self.harms.get(n, (None, "", 0))
        harms = deed is not None and lap == 0 and self.attempt <= tries
        self.note(slot, n, lap)
        if harms and deed is not None and moment == "before":
            deed()
        self.hand_on(n, lap, deed() if harms and deed is not None and moment == "cargo" else None)
        if harms and deed is not None and moment == "after":
            deed()

    def hand_on(self, n: int, lap: int, cargo: Any) -> None:
        """Emit what is to be emitted."""
        raise NotImplementedError


class Noted:
    """The handler of one slot: its own object, so that it knows the slot."""

    def __init__(self, routine: Noting, slot: str) -> None:
        self.routine = routine
        self.slot = slot

    def __call__(self, n: int, lap: int = 0, cargo: Any = None) -> None:
        self.routine.run(self.slot, n, lap)


class Step(Noting):
    """Hands every number on."""

    def __init__(self, slots: tuple[str, ...], harms: dict[int, Harm]) -> None:
        super().__init__(slots, harms)
        self.define_event("number", ["n", "lap", "cargo"])

    def hand_on(self, n: int, lap: int, cargo: Any) -> None:
        self.emit("number", n=n, lap=lap, cargo=cargo)


class Looper(Noting):
    """Sends a number round `ROUNDS` times, then hands it on."""

    def __init__(self, slots: tuple[str, ...], harms: dict[int, Harm]) -> None:
        super().__init__(slots, harms)
        self.define_event("around", ["n", "lap", "cargo"])
        self.define_event("number", ["n", "lap", "cargo"])

    def hand_on(self, n: int, lap: int, cargo: Any) -> None:
        if lap + 1 < ROUNDS:
            self.emit("around", n=n, lap=lap + 1, cargo=cargo)
        else:
            self.emit("number", n=n, lap=0, cargo=cargo)


class Source(Routine):
    """Emits the numbers below `count`: in one turn, or committing some of them at a time."""

    def __init__(self, batch: int | None) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.produce if batch is None else self.produce_in_batches)
        self.define_event("number", ["n"])
        self.batch = batch

    def produce(self, count: int) -> None:
        for n in range(count):
            self.emit("number", n=n)

    def produce_in_batches(self, count: int) -> Iterator[None]:
        for n in range(self.state.get("next", 0), count):
            self.emit("number", n=n)
            self.state["next"] = n + 1
            if n % (self.batch or 1) == 0:
                yield


@dataclass
class Node:
    """One routine of a scenario that notes what it handles.

    Args:
        id: its id in the flow.
        make: its class.
        feeds: by slot, who feeds it and by which event; the id is empty where that comes from outside.
        options: its options.
        harms: what it does, by number.
        is_ordered: whether what it gets is in order.
    """

    id: str
    make: type[Noting]
    feeds: dict[str, tuple[str, str]]
    options: dict[str, Any] = field(default_factory=dict)
    harms: dict[int, Harm] = field(default_factory=dict)
    is_ordered: bool = True

    @property
    def may_stop(self) -> bool:
        """Whether a failure of it can end the job."""
        handler: ErrorHandler = self.options["error_handler"]
        policy = handler.policy()
        return "stop" in {policy.strategy.value, policy.then.value if policy.strategy.value == "retry" else ""}


@dataclass(frozen=True)
class Blow:
    """One thing done to a running job from outside.

    Args:
        after: seconds after the one before.
        kind: `kill`, `stop` (and go on later), `stop-kill`, `redeliver`, or `cancel`.
        pause: seconds that a stopped process stands still.
    """

    after: float
    kind: str
    pause: float = 0.0


class Scenario:
    """A random job; the same for the same seed.

    Args:
        seed: any number.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._draw = draw = random.Random(seed)
        self.count = draw.choice([20, 60, 150, 400])
        self.source_options: dict[str, Any] | None = None
        self.batch = draw.choice([None, 1, 7, 50])
        if draw.random() < 0.75:
            self.source_options = self._options(draw.choice(["thread", "process"]), ErrorHandler("retry", 1_000, 0.0))
        self.nodes = self._loop() if draw.random() < 0.25 else self._arms()
        for node in self.nodes:
            self._equip(node)
        self.output_capacity = draw.choice([None, 3, 100])
        self.shutdown = draw.choice([0.0, 0.2, 5.0])
        self.blows = tuple(self._blow() for _ in range(draw.choice([0, 0, 2, 6])))
        self._spread_disorder()

    def __str__(self) -> str:
        source = "outside" if self.source_options is None else self.source_options["placement"]
        nodes = " ".join(
            f"{node.id}({node.options['placement'][0]}{node.options.get('workers', 1)} "
            f"{node.options['error_handler'].strategy.value} {len(node.harms)})"
            for node in self.nodes
        )
        return f"{self.count} numbers from {source}: {nodes}; {len(self.blows)} blows"

    def node(self, routine_id: str) -> Node | None:
        """Give a node by id; None for the source."""
        return next((node for node in self.nodes if node.id == routine_id), None)

    @property
    def entries(self) -> list[tuple[str, str]]:
        """Routine and slot of each connection that is fed from outside."""
        return [(node.id, slot) for node in self.nodes for slot, (source, _) in node.feeds.items() if source == ""]

    def build(self) -> Flow:
        """Make the flow."""
        flow = Flow(f"soak-{self.seed}")
        if self.source_options is not None:
            flow.add_routine(Source(self.batch), "source", **self.source_options)
        for node in self.nodes:
            flow.add_routine(node.make(tuple(node.feeds), node.harms), node.id, **node.options)
        for node in self.nodes:
            for slot, (source, event) in node.feeds.items():
                if source:
                    flow.connect(source, event, node.id, slot)
        flow.output("sink", "number", capacity=self.output_capacity)
        return flow

    # -- Drawing

    def _arms(self) -> list[Node]:
        nodes, ends = [], {}
        for arm in range(self._draw.choice([1, 1, 2, 3])):
            before = self._origin()
            for depth in range(self._draw.choice([1, 2])):
                node = Node(f"step-{arm}-{depth}", Step, {"input": (before, "number")})
                nodes.append(node)
                before = node.id
            ends[f"from-{arm}"] = (before, "number")
        return [*nodes, Node("sink", Step, ends)]

    def _loop(self) -> list[Node]:
        looper = {"input": (self._origin(), "number"), "again": ("relay", "number")}
        return [
            Node("looper", Looper, looper),
            Node("relay", Step, {"input": ("looper", "around")}),
            Node("sink", Step, {"input": ("looper", "number")}),
        ]

    def _origin(self) -> str:
        return "" if self.source_options is None else "source"

    def _options(self, placement: str, handler: ErrorHandler) -> dict[str, Any]:
        return {
            "placement": placement,
            "error_handler": handler,
            "capacity": self._draw.choice([1, 10, 100, 1_000]),
            "atomic": self._draw.random() < 0.3,
            "max_restarts": 10_000,
            "max_abandoned": 10_000,
        }

    def _equip(self, node: Node) -> None:
        draw = self._draw
        placement = draw.choice(["thread", "process"])
        strategy = draw.choices(["retry", "continue", "skip", "stop"], [6, 3, 1, 1])[0]
        then = draw.choices(["stop", "continue", "skip"], [1, 4, 1])[0]
        handler = ErrorHandler(
            strategy, draw.choice([3, 20]), 0.0, retryable_exceptions=(BaseException,), then=then, max_retry_delay=0.1
        )
        node.options = self._options(placement, handler)
        if placement == "process" and node.make is Step and draw.random() < 0.25:
            node.options["workers"] = draw.choice([2, 3])
        for _ in range(draw.choice([0, 0, 1, 2, 3])):
            node.harms[draw.randrange(self.count)] = self._harm(node)

    def _harm(self, node: Node) -> Harm:
        draw = self._draw
        tries = draw.choice([1, 1, 2, 5])
        kinds: list[tuple[tuple[Callable[[], Any], ...], str]] = [(_RAISES, "")]
        if node.id != "sink":  # what comes out of the sink is read by the soak itself
            kinds.append((_CARGOES, "cargo"))
        if node.options["placement"] == "process":
            kinds += [(_KILLS, ""), (_KILLS, ""), (_HANGS, ""), (_NUISANCES, "")]
        else:
            kinds.append((_DAWDLES, ""))
        choices, moment = draw.choice(kinds)
        if choices is _HANGS or choices is _DAWDLES:
            node.options["timeout"] = HANG_SECONDS
            tries = min(tries, 2)
        return draw.choice(choices), moment or draw.choice(["before", "after"]), tries

    def _spread_disorder(self) -> None:
        # What a pool hands on is in no order, and neither is what follows from it, round a loop too. What was given
        # up and is put back comes behind what was sent after it.
        is_redelivered = any(blow.kind == "redeliver" for blow in self.blows)
        disordered: set[str] = {node.id for node in self.nodes if is_redelivered and node.harms}
        for _ in self.nodes:
            for node in self.nodes:
                sources = {source for source, _ in node.feeds.values()}
                if node.options.get("workers", 1) > 1 or sources & disordered:
                    disordered.add(node.id)
        for node in self.nodes:
            sources = {source for source, _ in node.feeds.values()}
            node.is_ordered = (
                node.options.get("workers", 1) == 1 and node.id not in disordered and not sources & disordered
            )

    def _blow(self) -> Blow:
        draw = self._draw
        kind = draw.choices(["kill", "stop", "stop-kill", "redeliver", "cancel"], [6, 3, 2, 2, 1])[0]
        return Blow(draw.uniform(0.0, 0.5), kind, draw.uniform(0.0, 0.3))
