"""routilux: flows whose routines are on threads of this process, or in processes of their own.

The source and the sink of a pipeline are on threads of this process, as they are for every other contestant.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.work import AHEAD, DEADLINE, TINY, Tally, WrongResultError, answer, burn, die_once, step_a, step_b
from routilux import ErrorHandler, Flow, Job, Routine, buffers


class Source(Routine):
    """Emits as many messages as it is told, in one turn."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.handle)
        self.define_event("item", ["n", "text"])

    def handle(self, messages: int) -> None:
        for number in range(messages):
            self.emit("item", n=number, text="tiny")


class _StageA(Routine):
    """Works on the number of each message."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)
        self.define_event("item", ["n", "text"])

    def handle(self, n: int, text: str) -> None:
        self.emit("item", n=step_a(n), text=text)


class _StageB(Routine):
    """Works on the number of each message once more."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)
        self.define_event("item", ["n", "text"])

    def handle(self, n: int, text: str) -> None:
        self.emit("item", n=step_b(n), text=text)


class Sink(Routine):
    """Hands the number of each message to the tally, which it keeps: on a thread it is this very object that runs."""

    def __init__(self, tally: Tally) -> None:
        super().__init__()
        self._tally = tally
        self.define_slot("input", handler=self.handle)

    def handle(self, n: int, text: str) -> None:
        self._tally.take(n)


class Running:
    """A job that takes messages until it is closed."""

    job: Job

    def start(self, flow: Flow, **options: Any) -> None:
        self.job = flow.start(keep_open=True, **options)

    def close(self) -> None:
        self.job.close_entry()
        state = self.job.wait(timeout=DEADLINE)
        if state.status != "completed":
            raise WrongResultError(f"the job ended as {state.status}: {state.error}")


class Counted(Running):
    """A job whose source emits all that is to be done, and which is done when that has arrived."""

    def __init__(self) -> None:
        self._tally = Tally()

    def run(self, n: int) -> None:
        self._tally.expect(n)
        self.job.send("source", "trigger", messages=n)
        self._tally.wait_done()


def _place(placement: str) -> dict[str, Any]:
    """Give the options of routines there; on Ray they need no processor of their own, as its bare actors do."""
    return {"placement": placement, **({"ray": {"num_cpus": 0}} if placement == "ray" else {})}


class Pipeline(Counted):
    """Source -> A -> B -> sink.

    Args:
        placement: of A and B.
        kept: whether the job has a store.
    """

    def __init__(self, placement: str, kept: bool = False) -> None:  # noqa: FBT001, FBT002  options of an entry
        super().__init__()
        self._placement = placement
        self._folder = tempfile.TemporaryDirectory() if kept else None

    def prepare(self) -> None:
        flow = Flow("pipeline")
        flow.add_routine(Source(), "source")
        flow.add_routine(_StageA(), "a", **_place(self._placement))
        flow.add_routine(_StageB(), "b", **_place(self._placement))
        flow.add_routine(Sink(self._tally), "sink")
        flow.connect("source", "item", "a", "input")
        flow.connect("a", "item", "b", "input")
        flow.connect("b", "item", "sink", "input")
        self.start(flow, **({"store": Path(self._folder.name)} if self._folder else {}))
        self.run(1)

    def close(self) -> None:
        super().close()
        if self._folder:
            self._folder.cleanup()


class _Answering(Routine):
    """Answers each request."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("input", handler=self.handle)
        self.define_event("answer", ["payload"])

    def handle(self, payload: Any) -> None:
        self.emit("answer", payload=answer(payload))


class _Filling(_Answering):
    """Answers each request, an array by one that it makes where the receiver reads it."""

    def handle(self, payload: Any) -> None:
        import numpy as np  # noqa: PLC0415  all other entries do without

        if isinstance(payload, np.ndarray):
            self.emit("answer", payload=np.add(payload, 1, out=buffers.empty(payload.shape, payload.dtype)))
        else:
            super().handle(payload)


class _Burning(_Answering):
    """Computes, and answers."""

    def handle(self, payload: Any) -> None:
        burn()
        self.emit("answer", payload=payload)


class _Dying(_Answering):
    """Is killed in the middle of each request, and answers when the request comes again."""

    def handle(self, payload: Any) -> None:
        die_once()
        self.emit("answer", payload=payload)


class _Requests(Running):
    """Client -> one routine in a process, or elsewhere -> client."""

    payload: Any = TINY

    def __init__(self, routine: Routine, placement: str = "process", **options: Any) -> None:
        self._routine = routine
        self._options = {**_place(placement), **options}
        self.answer: Any = None

    def prepare(self) -> None:
        flow = Flow("requests")
        flow.add_routine(self._routine, "server", **self._options)
        flow.output("server", "answer")
        self.start(flow)
        self._answers = self.job.results()

    def _send(self) -> None:
        self.job.send("server", "input", payload=self.payload)

    def _wait(self) -> None:
        answer = next(self._answers, None)
        if answer is None:
            raise WrongResultError("the job is over, and there was no answer")
        self.answer = answer["payload"]


class Echo(_Requests):
    """One request after another.

    Args:
        in_place: whether arrays that are answers are made in shared memory.
        placement: of the routine.
    """

    def __init__(self, in_place: bool = False, placement: str = "process") -> None:  # noqa: FBT001, FBT002  an entry's
        super().__init__(_Filling() if in_place else _Answering(), placement)

    def prepare(self) -> None:
        super().prepare()
        self.run(1)

    def run(self, n: int) -> None:
        for _ in range(n):
            self._send()
            self._wait()


class EchoAhead(Echo):
    """Requests of which several are on their way at a time."""

    def run(self, n: int) -> None:
        for number in range(n):
            self._send()
            if number >= AHEAD:
                self._wait()
        for _ in range(min(n, AHEAD)):
            self._wait()


class Tasks(_Requests):
    """CPU-heavy requests, all sent at once, to two processes."""

    def __init__(self) -> None:
        super().__init__(_Burning(), workers=2)

    def prepare(self) -> None:
        super().prepare()
        self.run(2)

    def run(self, n: int) -> None:
        for _ in range(n):
            self._send()
        for _ in range(n):
            self._wait()


class Deaths(_Requests):
    """Requests whose process is killed; each is tried again at once, in the next process."""

    def __init__(self) -> None:
        handler = ErrorHandler("retry", retry_delay=0.0)
        super().__init__(_Dying(), error_handler=handler, max_restarts=1_000_000)

    def run(self, n: int) -> None:
        for _ in range(n):
            self._send()
            self._wait()


class _Keys(Routine):
    """Has a state of so many keys, and changes one of them each turn."""

    def __init__(self, keys: int, tally: Tally) -> None:
        super().__init__()
        self._keys = keys
        self._tally = tally
        self.state.update({f"key{number}": number for number in range(keys)})
        self.define_slot("input", handler=self.handle)

    def handle(self, n: int, text: str) -> None:
        self.state[f"key{n % self._keys}"] = n
        self._tally.take(step_b(step_a(n)))


class State(Counted):
    """A source, and a routine on a thread that touches one of its keys with each message.

    Args:
        keys: how many its state has.
    """

    def __init__(self, keys: int) -> None:
        super().__init__()
        self._keys = keys

    def prepare(self) -> None:
        flow = Flow("state")
        flow.add_routine(Source(), "source")
        flow.add_routine(_Keys(self._keys, self._tally), "keys")
        flow.connect("source", "item", "keys", "input")
        self.start(flow)
        self.run(1)


class Idle(_Requests):
    """A job with two workers and two routines on threads, and nothing to do."""

    def __init__(self) -> None:
        super().__init__(_Answering(), workers=2)

    def run(self, n: int) -> None:
        for _ in range(n):
            self._send()
            self._wait()
