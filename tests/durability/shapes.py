"""Flows that keep books of their own: each routine numbers what it emits, and checks the numbers of what it takes.

Everything they know is declared state. So after any number of kills and resumes their last checkpoint alone tells
whether a message was lost, doubled or overtaken, in effect; and what they counted is compared with a plain loop.
Owns the flows, the trouble in them and the loop. Starts and kills nothing.
"""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from routilux import ErrorHandler, Flow, Routine

MASK = (1 << 61) - 1
KEY = b"a key of these tests alone, no other"
MARKS_EVERY = 40
"""So often something goes to a slot that appends."""
ONCE_EVERY = 20
"""So often something is done that is to happen once: it waits for the disk."""
RETRY = ErrorHandler("retry", max_retries=4, retry_delay=0.003, retry_backoff=1.5, then="continue")


class Trouble(NamedTuple):
    """What goes wrong in a run, by its own doing.

    Args:
        is_flaky: whether some messages fail at their first try.
        is_poisoned: whether some fail at each.
        dies: whether some kill their process at their first try.
        once: file in which each effect is noted that is to happen once; empty for none.
    """

    is_flaky: bool = False
    is_poisoned: bool = False
    dies: bool = False
    once: str = ""


CALM = Trouble()


def value_of(seq: int) -> int:
    """Give what the message of a number carries."""
    return (seq * 2_654_435_761 + 12_345) % 1_000_003


def is_poison(seq: int) -> bool:
    return seq % 61 == 17


class Step(Routine):
    """Takes numbered messages on any slot, keeps books, works for about a millisecond, and sends on."""

    def __init__(self, trouble: Trouble = CALM, *, seconds: float = 0.001, is_ordered: bool = True) -> None:
        super().__init__()
        self.trouble, self.seconds, self.is_ordered = trouble, seconds, is_ordered
        self.define_slot("input", self.take)
        self.define_slot("second", self.take_second)
        self.define_slot("marks", self.take_marks, merge_strategy="append")
        self.define_event("out", ["seq", "n"])
        self.define_event("mark", ["seq"])

    def take(self, seq: int, n: int) -> None:
        self.note("input", seq, n)
        self.meet_trouble(seq)
        self.send("out", n)
        if n % MARKS_EVERY == 0:
            self.send_mark()

    def take_second(self, seq: int, n: int) -> None:
        self.note("second", seq, n)
        self.send("out", n)

    def take_marks(self, seq: list[int]) -> None:
        count = self.state["marks"] = self.state.get("marks", 0) + 1
        if seq != list(range(1, count + 1)):
            self.state["wrong"] = [*self.state.get("wrong", ()), ["marks", count, seq]]

    def note(self, path: str, seq: int, n: int) -> None:
        """Keep the books of what came by one connection."""
        state = self.state
        if self.is_ordered:
            expected = state.get(f"last:{path}", 0) + 1
            while self.trouble.is_poisoned and path == "input" and is_poison(expected):
                expected += 1
            if seq != expected and len(state.get("wrong", ())) < 10:
                state["wrong"] = [*state.get("wrong", ()), [path, expected, seq]]
            state[f"last:{path}"] = seq
        state["count"] = state.get("count", 0) + 1
        state["sum"] = state.get("sum", 0) + n
        state["mixed"] = (state.get("mixed", 0) + n * n) & MASK

    def meet_trouble(self, seq: int) -> None:
        trouble = self.trouble
        if trouble.once and seq % ONCE_EVERY == 0:
            token = self.once("effect", lambda: note_effect(trouble.once, f"{self.message_id} {seq}", self.attempt))
            self.state["tokens"] = self.state.get("tokens", 0) + (token == seq)
        threading.Event().wait(self.seconds)
        if trouble.is_poisoned and is_poison(seq):
            raise ValueError(f"poison {seq}")
        if trouble.is_flaky and self.attempt == 1 and seq % 29 == 3:
            raise ValueError(f"flaky {seq}")
        if trouble.dies and self.attempt == 1 and seq % 197 == 50:
            os.kill(os.getpid(), signal.SIGKILL)

    def send(self, event: str, n: int) -> None:
        number = self.state[f"sent:{event}"] = self.state.get(f"sent:{event}", 0) + 1
        self.emit(event, seq=number, n=n)

    def send_mark(self) -> None:
        number = self.state["sent:mark"] = self.state.get("sent:mark", 0) + 1
        self.emit("mark", seq=number)


def note_effect(path: str, told: str, attempt: int) -> int:
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(f"{told}\n")
    return int(told.split()[1])


class Source(Routine):
    """Sends so many numbered messages, a part for each; its place is its state."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", self.go)
        self.define_event("out", ["seq", "n"])

    def go(self, upto: int) -> Iterator[None]:
        for seq in range(self.state.get("next", 1), upto + 1):
            self.state["next"] = seq + 1
            self.emit("out", seq=seq, n=value_of(seq))
            yield


class Burst(Routine):
    """Sends all at once, in one turn that streams (R3)."""

    def __init__(self, hops: int) -> None:
        super().__init__()
        self.hops = hops
        self.define_slot("trigger", self.go)
        self.define_event("out", ["seq", "n", "hops"])

    def go(self, upto: int) -> None:
        for seq in range(1, upto + 1):
            self.emit("out", seq=seq, n=value_of(seq), hops=self.hops)


class Ring(Step):
    """Sends each message round, changed, until it has made its hops."""

    def __init__(self, trouble: Trouble = CALM, *, seconds: float = 0.001) -> None:
        super().__init__(trouble, seconds=seconds)
        self.define_slot("enter", self.enter)
        self.define_slot("round", self.go_round)
        self.define_event("on", ["seq", "n", "hops"])
        self.define_event("off", ["seq", "n"])

    def enter(self, seq: int, n: int, hops: int) -> None:
        self.pass_on("enter", seq, n, hops)

    def go_round(self, seq: int, n: int, hops: int) -> None:
        self.pass_on("round", seq, n, hops)

    def pass_on(self, path: str, seq: int, n: int, hops: int) -> None:
        self.note(path, seq, n)
        self.meet_trouble(seq)
        if hops == 0:
            self.send("off", n)
            return
        number = self.state["sent:on"] = self.state.get("sent:on", 0) + 1
        self.emit("on", seq=number, n=(n * 31 + hops) % 1_000_003, hops=hops - 1)


class Books(NamedTuple):
    """What a routine is to have counted at the end."""

    count: int
    sum: int
    mixed: int

    @classmethod
    def of(cls, numbers: list[int]) -> Books:
        """Count as a plain loop does."""
        mixed = 0
        for n in numbers:
            mixed = (mixed + n * n) & MASK
        return cls(len(numbers), sum(numbers), mixed)


class Shape(NamedTuple):
    """A flow, and what is to come of it.

    Args:
        make: makes the flow, given the trouble and the number of messages.
        expected: by routine, what the plain loop gives; given the same.
        entry: the routine that begins; None where messages are sent from outside until the entry is closed.
        count: how many messages begin it.
        deadly: whether there is a process that may kill itself.
    """

    make: Callable[[Trouble, int], Flow]
    expected: Callable[[Trouble, int], dict[str, Books]]
    entry: str | None
    count: int
    deadly: bool


# ---- the five


def _chain(trouble: Trouble, count: int) -> Flow:
    flow = Flow("chain")
    flow.add_routine(Step(trouble), "a", error_handler=RETRY)
    flow.add_routine(Step(), "b", capacity=20)
    flow.add_routine(Step(seconds=0.0005), "c")
    flow.connect("a", "out", "b", "input")
    flow.connect("b", "out", "c", "input")
    flow.connect("a", "mark", "c", "marks")
    flow.output("c", "out", capacity=50)
    return flow


def _survivors(trouble: Trouble, count: int) -> list[int]:
    return [value_of(seq) for seq in range(1, count + 1) if not (trouble.is_poisoned and is_poison(seq))]


def _chain_books(trouble: Trouble, count: int) -> dict[str, Books]:
    return dict.fromkeys("abc", Books.of(_survivors(trouble, count)))


def _fan(trouble: Trouble, count: int) -> Flow:
    flow = Flow("fan")
    flow.add_routine(Source(), "source")
    flow.add_routine(Step(trouble), "x", error_handler=RETRY, placement="process", max_restarts=1_000)
    flow.add_routine(Step(), "y", capacity=5)
    flow.add_routine(Step(seconds=0.0007), "z")
    flow.add_routine(Three(), "sink")
    for branch, slot in (("x", "input"), ("y", "second"), ("z", "third")):
        flow.connect("source", "out", branch, "input")
        flow.connect(branch, "out", "sink", slot)
    return flow


class Three(Step):
    """Takes what comes by a third connection too."""

    def __init__(self) -> None:
        super().__init__(seconds=0.0)
        self.define_slot("third", self.take_third)

    def take_third(self, seq: int, n: int) -> None:
        self.note("third", seq, n)


def _fan_books(trouble: Trouble, count: int) -> dict[str, Books]:
    every = [value_of(seq) for seq in range(1, count + 1)]
    left = _survivors(trouble, count)
    return {"x": Books.of(left), "y": Books.of(every), "z": Books.of(every), "sink": Books.of([*left, *every, *every])}


def _loop(trouble: Trouble, count: int) -> Flow:
    flow = Flow("loop")
    flow.add_routine(Burst(hops=23), "burst")
    calm = trouble._replace(is_poisoned=False)
    flow.add_routine(Ring(calm, seconds=0.0005), "one", error_handler=RETRY, capacity=2)
    flow.add_routine(Ring(seconds=0.0005), "two", capacity=2)
    flow.add_routine(Ring(seconds=0.0003), "three", capacity=2)
    flow.add_routine(Step(seconds=0.0), "sink")
    flow.connect("burst", "out", "one", "enter")
    for source, target in (("one", "two"), ("two", "three"), ("three", "one")):
        flow.connect(source, "on", target, "round")
    flow.connect("three", "off", "sink", "input")  # 23 hops end there
    return flow


def _loop_books(trouble: Trouble, count: int) -> dict[str, Books]:
    came: dict[str, list[int]] = {"one": [], "two": [], "three": []}
    for seq in range(1, count + 1):
        n, hops, at = value_of(seq), 23, 0
        while True:
            came[("one", "two", "three")[at]].append(n)
            if hops == 0:
                break
            n, hops, at = (n * 31 + hops) % 1_000_003, hops - 1, (at + 1) % 3
    last = [numbers_at_the_end(value_of(seq)) for seq in range(1, count + 1)]
    return {**{name: Books.of(numbers) for name, numbers in came.items()}, "sink": Books.of(last)}


def numbers_at_the_end(n: int) -> int:
    """Give what a number of the loop is after all its hops."""
    for hops in range(23, 0, -1):
        n = (n * 31 + hops) % 1_000_003
    return n


def _diamond(trouble: Trouble, count: int) -> Flow:
    flow = Flow("diamond")
    flow.add_routine(Source(), "source")
    flow.add_routine(Step(trouble), "left", error_handler=RETRY)
    flow.add_routine(Renamed(), "right", placement="process")
    flow.add_routine(Step(), "join")
    flow.connect("source", "out", "left", "input")
    flow.connect("source", "out", "right", "renamed", {"n": "number", "seq": "position"})
    flow.connect("left", "out", "join", "input")
    flow.connect("right", "done", "join", "second", {"number": "n", "position": "seq"})
    flow.connect("left", "mark", "join", "marks")
    flow.output("join", "out")
    return flow


class Renamed(Step):
    """Takes and sends under other names."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("renamed", self.take_renamed)
        self.define_event("done", ["position", "number"])

    def take_renamed(self, position: int, number: int) -> None:
        self.note("renamed", position, number)
        number_sent = self.state["sent:done"] = self.state.get("sent:done", 0) + 1
        self.emit("done", position=number_sent, number=number + 1)


def _diamond_books(trouble: Trouble, count: int) -> dict[str, Books]:
    every = [value_of(seq) for seq in range(1, count + 1)]
    left = _survivors(trouble, count)
    return {
        "left": Books.of(left),
        "right": Books.of(every),
        "join": Books.of([*left, *(n + 1 for n in every)]),
    }


def _mixed(trouble: Trouble, count: int) -> Flow:
    flow = Flow("mixed")
    flow.add_routine(Source(), "source")
    flow.add_routine(Step(trouble), "process", error_handler=RETRY, placement="process", max_restarts=1_000)
    flow.add_routine(Step(seconds=0.0005), "timed", timeout=20.0)
    flow.add_routine(Step(seconds=0.0, is_ordered=False), "pool", placement="process", workers=2, capacity=10)
    flow.add_routine(Step(seconds=0.0, is_ordered=False), "sink")
    flow.connect("source", "out", "process", "input")
    flow.connect("process", "out", "timed", "input")
    flow.connect("timed", "out", "pool", "input")
    flow.connect("pool", "out", "sink", "input")
    return flow


def _mixed_books(trouble: Trouble, count: int) -> dict[str, Books]:
    return dict.fromkeys(("process", "timed", "pool", "sink"), Books.of(_survivors(trouble, count)))


SHAPES = {
    "chain": Shape(_chain, _chain_books, None, 1_200, deadly=False),
    "fan": Shape(_fan, _fan_books, "source", 1_200, deadly=True),
    "loop": Shape(_loop, _loop_books, "burst", 240, deadly=False),
    "diamond": Shape(_diamond, _diamond_books, "source", 1_000, deadly=False),
    "mixed": Shape(_mixed, _mixed_books, "source", 1_000, deadly=True),
}


class Run(NamedTuple):
    """One run that is to survive: everything follows from its shape and its seed.

    Args:
        shape: the name of the shape.
        seed: of all that is drawn.
        folder: where its store and its notes are.
        part: of how many messages it has in its full form.
        url: of the database that is its store; empty for one in the folder.
    """

    shape: str
    seed: int
    folder: str
    part: float = 1.0
    url: str = ""

    @property
    def job_id(self) -> str:
        return f"{self.shape}-{self.seed}"

    @property
    def store(self) -> Any:
        return self.url or str(Path(self.folder) / ("jobs.sqlite" if self.seed % 3 == 1 else "jobs"))

    @property
    def trouble(self) -> Trouble:
        draw = random.Random(f"trouble {self.shape} {self.seed}")
        flaky, poisoned, dies, once = (draw.random() < 0.5 for _ in range(4))
        return Trouble(
            is_flaky=flaky,
            is_poisoned=poisoned and self.shape != "loop",
            dies=dies and SHAPES[self.shape].deadly,
            once=str(Path(self.folder) / "effects") if once else "",
        )

    @property
    def count(self) -> int:
        return int(SHAPES[self.shape].count * self.part)

    @property
    def keeping(self) -> dict[str, Any]:
        draw = random.Random(f"keeping {self.shape} {self.seed}")
        return {
            "checkpoint_every": draw.choice([0.02, 0.05, 0.1]),
            "keep_checkpoints": draw.choice([1, 2, 3]),
            "key": KEY if self.seed % 4 == 2 else None,
        }

    def flow(self) -> Flow:
        return SHAPES[self.shape].make(self.trouble, self.count)

    def expected(self) -> dict[str, Books]:
        return SHAPES[self.shape].expected(self.trouble, self.count)
