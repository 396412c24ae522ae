"""routilux, as something grows: routines, receivers, payloads, queues. A piece of work is one message handled.

All on threads but for payloads, which go to a process and back.
"""

from __future__ import annotations

import threading
from typing import Any

from benchmarks.peers.flows import Counted, Echo, Running, Sink, Source
from benchmarks.work import DEADLINE, Tally, WrongResultError, step_a, step_b
from routilux import Flow, Routine


class _Relay(Routine):
    """Hands each message on."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)
        self.define_event("item", ["n", "text"])

    def handle(self, n: int, text: str) -> None:
        self.emit("item", n=n, text=text)


_WORK = 1_000
"""Turns of a loop that make a turn one of some 20 us (arbitrary)."""


class _Worker(_Relay):
    """Computes a little, and hands each message on."""

    def handle(self, n: int, text: str) -> None:
        for _ in range(_WORK):
            pass
        super().handle(n, text)


class _Last(Sink):
    """Takes what no stage has worked on."""

    def handle(self, n: int, text: str) -> None:
        super().handle(step_b(step_a(n)), text)


class Chain(Counted):
    """A source, and a chain of routines through which each message goes.

    Args:
        routines: how many, the last one included, which counts.
    """

    relay: type[Routine] = _Relay
    """What the routines in between are."""

    def __init__(self, routines: int) -> None:
        super().__init__()
        self._routines = routines

    def prepare(self) -> None:
        flow = Flow("chain")
        previous = flow.add_routine(Source(), "source")
        for number in range(self._routines - 1):
            relay = flow.add_routine(self.relay(), f"relay{number}")
            flow.connect(previous, "item", relay, "input")
            previous = relay
        flow.add_routine(_Last(self._tally), "last")
        flow.connect(previous, "item", "last", "input")
        self.start(flow)
        self.run(1)

    def run(self, n: int) -> None:
        super().run(max(1, n // self._routines))


class Working(Chain):
    """A chain whose routines compute a little, all but the last."""

    relay = _Worker


class Brief:
    """Chains one after the other, each of which starts, carries one message, and ends.

    Args:
        routines: how many each has.
    """

    def __init__(self, routines: int) -> None:
        self._routines = routines

    def prepare(self) -> None:
        self.run(1)

    def run(self, n: int) -> None:
        for _ in range(max(1, n // self._routines)):
            chain = Chain(self._routines)
            chain.prepare()
            chain.close()

    def close(self) -> None:
        """Do nothing: each has ended."""


class Fan(Running):
    """A source, each of whose messages goes to several routines.

    Args:
        sinks: how many.
    """

    def __init__(self, sinks: int) -> None:
        self._tallies = [Tally() for _ in range(sinks)]

    def prepare(self) -> None:
        flow = Flow("fan")
        flow.add_routine(Source(), "source")
        for number, tally in enumerate(self._tallies):
            sink = flow.add_routine(_Last(tally), f"sink{number}")
            flow.connect("source", "item", sink, "input")
        self.start(flow)
        self.run(1)

    def run(self, n: int) -> None:
        messages = max(1, n // len(self._tallies))
        for tally in self._tallies:
            tally.expect(messages)
        self.job.send("source", "trigger", messages=messages)
        for tally in self._tallies:
            tally.wait_done()


class Payload(Echo):
    """Bytes to a process and back.

    Args:
        size_bytes: how many.
    """

    def __init__(self, size_bytes: int) -> None:
        super().__init__()
        self.payload = bytes(size_bytes)

    def run(self, n: int) -> None:
        super().run(n)
        if self.answer != self.payload:
            raise WrongResultError(f"{len(self.payload)} bytes came back as {len(self.answer)}")


class _Feeding(Source):
    """Tells when it has emitted all."""

    def __init__(self) -> None:
        super().__init__()
        self.emitted = threading.Event()

    def handle(self, messages: int) -> None:
        super().handle(messages)
        self.emitted.set()


class _Held(_Last):
    """Takes messages, but for one, at which it waits until it is let go."""

    def __init__(self, tally: Tally) -> None:
        super().__init__(tally)
        self.define_slot("hold", handler=self.hold)
        self.holding, self.let_go = threading.Event(), threading.Event()

    def hold(self) -> None:
        self.holding.set()
        if not self.let_go.wait(DEADLINE):
            raise WrongResultError(f"held for {DEADLINE:g} s")


class Queue(Running):
    """A source, and a routine that takes nothing until so many messages wait for it, and then takes all.

    Args:
        length: how many.
    """

    def __init__(self, length: int) -> None:
        self._length = length
        self._tally = Tally()
        self._source, self._held = _Feeding(), _Held(self._tally)

    def prepare(self) -> None:
        flow = Flow("queue")
        flow.add_routine(self._source, "source")
        flow.add_routine(self._held, "held", capacity=2 * self._length + 10)
        flow.connect("source", "item", "held", "input")
        self.start(flow)
        self.run(1)

    def run(self, n: int) -> None:
        for first in range(0, n, self._length):
            self._fill_and_drain(min(self._length, n - first))

    def _fill_and_drain(self, messages: int) -> None:
        for event in (self._held.holding, self._held.let_go, self._source.emitted):
            event.clear()
        self._tally.expect(messages)
        self.job.send("held", "hold")
        self._wait(self._held.holding)
        self.job.send("source", "trigger", messages=messages)
        self._wait(self._source.emitted)
        self._held.let_go.set()
        self._tally.wait_done()

    def _wait(self, event: threading.Event) -> Any:
        if not event.wait(DEADLINE):
            raise WrongResultError(f"nothing happened for {DEADLINE:g} s")
