"""What a place is: somewhere that numbered requests are run, one at a time per worker, or several on a loop.

Owns the protocols between whoever hands requests out (the listener) and the places that run
them: the actor's own thread, an event loop, child processes, or a script in the tests. Knows nothing of what
a request means: requests and results are opaque, numbered by their sender.

A worker has a number (0, 1, ...) that stays, and an incarnation that is new with every start.
A request that was submitted comes back exactly once: by `on_done`, by `on_failed`, or among the
numbers that `on_failed`, `on_lost` or `on_returned` give back. One that its listener refused (`on_part`) does not.

A place can be held: then no request's own code goes on past its next part or stop, wherever it runs, until the
place is released; what was not begun comes back, and nothing else is taken. A worker that waits so is *parked*. On a
loop nothing waits inside of a part: there the request goes on to its next `await`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from enum import Enum
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

from supervisors.errors import UndescribedError
from supervisors.places.copies import Mark
from supervisors.reasons import Reason, Shutdown, record_error

CLOSED = Shutdown("closed")
"""Why workers end that are closed, unless their owner says otherwise."""
PART_BOUND = 1_000
"""Weight of parts that may be on their way without a grant (the bound of R3: 1,000 messages)."""

Finished = tuple[int, Any, float, float]
"""A request that was run: its number, its result, the seconds it took besides those parked, and a clock reading: at its
end, or when that was noticed."""

_Body = TypeVar("_Body")


class RequestAbandoned(BaseException):
    """Raised inside a request that waits for a grant which will not come, or that its listener does not want.

    Derived from `BaseException`, so that an `except Exception` in a request lets it pass.
    """


class Lost(NamedTuple):
    """What was in a worker's hands when it ended.

    Args:
        suspect: the request it was on, or that it was ended for; None if it was idle, or nobody can tell.
        ran: requests that had run but whose results had not arrived, oldest first.
        unbegun: requests it had not begun, oldest first. Where the worker was ended by `ProtocolError` or
            `DeadlineExceeded`, it may have begun some of them before its end came.
    """

    suspect: int | None
    ran: tuple[int, ...]
    unbegun: tuple[int, ...]


class Used(NamedTuple):
    """What a worker on another machine has told that it uses.

    Args:
        cpu_seconds: processor time so far, of what it has started and waited for too.
        cpu_percent: share of one core in about the second before, 100.0 being all of it, without what it has started.
        rss_bytes: resident memory then, likewise.
        peak_bytes: resident memory at most.
    """

    cpu_seconds: float
    cpu_percent: float
    rss_bytes: int
    peak_bytes: int


class Worker(NamedTuple):
    """A worker as seen from outside, for listings.

    Args:
        number: its place in the pool.
        incarnation: how often it was started, from 1.
        pid: process id, or None on a thread or while it starts.
        is_ready: whether it takes requests.
        in_hand: requests it holds.
        current: the request it is on, or None.
        since: clock reading at which it took that one, waits for a grant left out; infinite while it waits for one,
            None where it is on none.
        node: the machine that it is on, as that is called in its cluster; empty for this one.
        used: what it uses, as it has told; None on this machine, where that can be looked at, and before it did.
    """

    number: int
    incarnation: int
    pid: int | None
    is_ready: bool
    in_hand: int
    current: int | None
    since: float | None
    node: str = ""
    used: Used | None = None


class Listener(Protocol):
    """Who hands requests out. All calls come on the actor's own thread, but for `on_done` of what a batch came to.

    What cannot read the `body` of a process raises `FrameError` before it does anything else: then the
    worker is ended for it, and the request that the call was about is the suspect that `on_lost` names. A call about
    several is made again for each of them.
    """

    def on_ready(self, number: int) -> None:
        """The worker has booted and takes requests."""

    def on_part(self, number: int, seq: int, body: Any) -> bool:
        """A request that is still running handed over a part; answer it with `grant`, unless it is not wanted.

        Returns:
            Whether the part was taken. If not, nobody waits for the request any more: where it runs in this program,
            this and each further part raise `RequestAbandoned` inside of it, it is settled as failed when it has
            ended, nothing more is told of it, and what was not begun behind it comes back by `on_returned`.
            A place of processes ignores it: there a request is ended by `kill`.
        """

    def on_done(self, number: int, finished: Sequence[Finished]) -> bool:
        """Requests were run, in this order.

        Returns:
            Whether the results were committed. If not, a service in this program settles the last request as failed,
            and what was not begun behind it comes back by `on_returned`. A place of processes ignores it.
        """

    def on_returned(self, number: int, seqs: tuple[int, ...]) -> None:
        """The worker gave these back, unbegun, oldest first: it is held, or a request before them was refused."""

    def on_failed(self, number: int, seq: int, body: Any, returned: tuple[int, ...]) -> None:
        """A request raised; `body` describes how. The worker gave `returned`, unbegun, back."""

    def on_lost(self, number: int, reason: Reason, lost: Lost) -> None:
        """The worker ended; it stays away until it is started again.

        After `close` this is told of workers alone that held something, or that did not end as asked.
        """

    def on_closed(self) -> None:
        """Every worker has ended after `close`."""


class LoopListener(Listener, Protocol):
    """Who hands requests to a worker that runs several at once."""

    def on_overdue(self, number: int, seq: int, reason: Reason) -> None:
        """A request was ended, or given up, for the time that it took; its worker goes on.

        Elsewhere a worker ends with its request (`on_lost`).
        """


class Place(Protocol):
    """Where requests are run."""

    def start(self, number: int, boot: Any) -> None:
        """Start a new incarnation of a worker; `on_ready` or `on_lost` follows.

        Args:
            number: which worker; it must not be running.
            boot: what its service is booted with (bytes for a process).
        """

    def room(self, number: int) -> int:
        """How many more requests the worker takes now; 0 if it is not ready."""

    def submit(self, number: int, requests: Iterable[tuple[int, Any]]) -> None:
        """Hand requests to a worker that has room for them: pairs of (seq, request), in order.

        Results never come inside this call.

        Raises:
            RequestTooLongError: one is longer than this place carries; the worker was given those before it alone.
        """

    def flush(self) -> None:
        """Send what was submitted; called once after a round of `submit`."""

    def advance(self) -> bool:
        """Run a bounded piece of work here, if there is any; False when there is none."""

    def grant(self, number: int, seq: int) -> None:
        """Let the sender of the oldest unanswered part go on."""

    def pass_by(self, number: int) -> None:
        """Go on without the request that failed last, where those behind it were begun and wait for it.

        Of places alone that run several requests at once and keep their order: there nothing is told of those that
        were submitted after one that failed, until it is submitted again, which has to come next, or is passed by.
        Elsewhere they have come back with the failure, and nothing happens.
        """

    def hold(self) -> None:
        """Let no request go on past its next part or stop, also if it is granted; nothing if that is so already.

        Until `release` no worker has room, and what was submitted and not begun comes back by `on_returned`: maybe
        inside this call, and at the latest when the request that the worker is on has ended or is parked.
        Time spent parked is no part of a limit of time. Workers may be started, killed and closed meanwhile; a
        parked request is then lost, or given back, as one that waits for a grant.
        """

    def release(self) -> None:
        """Let everything go on that `hold` keeps; parts granted meanwhile count. Nothing if it is not held."""

    @property
    def is_still(self) -> bool:
        """Whether no request's own code runs: each worker has no request in hand, or is parked on the only one it has.

        It may become true by what is told to the listener, by `hold`, or, of a parked worker, in between: then the
        actor is woken as for any other event, so a look after each of its steps misses nothing. While the place is
        held and nothing is killed or closed, it stays true. A worker that was given up (`kill`, a deadline) does not
        count once its loss was told, also if its thread still runs.
        """

    def kill(self, number: int, reason: Reason) -> None:
        """End a worker now; `on_lost` follows with `reason`. Nothing if it is not running."""

    def close(self, timeout: float, reason: Reason = CLOSED) -> None:
        """Ask all workers to end after the request they are on; `on_closed` follows.

        Called again, it leaves those that have not ended less time.

        What a worker held is told by `on_lost`, with `CLOSED` where it ended as asked.

        Args:
            timeout: seconds until those that have not ended are ended by force; infinite for never.
            reason: what their services are told.
        """

    def abort(self) -> None:
        """End everything before returning, telling nobody; nothing when all is closed.

        For an actor that ends before its place has closed.
        """

    def next_deadline(self) -> float | None:
        """Clock reading at which `on_tick` is to be called; None when nothing is timed."""

    def on_tick(self, now: float) -> None:
        """End what has run out of its time at clock reading `now`."""

    def workers(self) -> tuple[Worker, ...]:
        """List the workers, by number. Any thread may ask; others than the place's own hear of a moment ago."""


class BatchPlace(Place, Protocol):
    """A place that takes many requests at once, which its service runs one behind the other."""

    def submit_batch(self, first: int, batch: Sized) -> None:
        """Hand over as many requests as `batch` is long, numbered from `first`; there must be room for them."""


class WorkerAt(NamedTuple):
    """Where a worker is in its code.

    Args:
        number: which worker.
        pid: its process; None where it is in this one.
        seq: the request it is on; None for none.
        since: clock reading since when; None where it is on none.
        text: the stacks of its threads, innermost frame first, or that of one of several requests, innermost frame
            last; "" where it has not told.
        node: the machine that it is on, as that is called in its cluster; empty for this one.
    """

    number: int
    pid: int | None
    seq: int | None
    since: float | None
    text: str
    node: str = ""


@runtime_checkable
class Inspectable(Protocol):
    """A place that can tell where its workers are in their code."""

    def ask_stacks(self) -> None:
        """Have them tell, which takes some milliseconds; one that is stopped never does."""

    def read_stacks(self) -> list[WorkerAt]:
        """Give what they have told so far."""


@runtime_checkable
class LatePlace(Protocol):
    """A place with one worker, to which another thread than the actor's may write while the actor goes on."""

    def flush_later(self) -> Callable[[], bool]:
        """Make ready what was submitted; gives what has to be called once, on the same thread, to send it.

        The call of who acts for the actor (`Context.run_here`), instead of `flush`. What it gives is called when the
        actor may go on; it tells whether all was sent: else the actor is to be woken, whose place sends the rest.
        """


class Port(Protocol):
    """What a running request may do besides returning: hand over a part of its result."""

    def part(self, body: Any, weight: int) -> None:
        """Send `body` ahead; waits while the parts not yet granted weigh `PART_BOUND` or more, or the place is held.

        Args:
            body: the part, opaque.
            weight: how much it weighs, in messages it carries (at least 1).
        """

    def confirm(self, body: Any) -> None:
        """Send `body` ahead, and wait until it was granted, and all that was sent before it.

        For what must be known to have arrived before the request goes on.
        """

    def check(self) -> None:
        """Raise `RequestAbandoned` if nobody wants the request any more; for one that goes on without handing over."""

    def stop_with(self, body: Any, weight: int) -> None:
        """Send `body` ahead at a stop, just before `advance` returns False; never waits.

        The place waits instead, before the next `advance`, by the same bound or while it is held.
        """


class Execution(Protocol):
    """One request being run. Advanced until it is done, by one thread."""

    def advance(self) -> bool:
        """Run to the next stop; True when the request is done and `result` may be read."""

    @property
    def result(self) -> Any:
        """The result of a finished request."""

    @property
    def touched(self) -> bool:
        """Whether the service is to be told that the finished request was reported as done (`Service.settle`)."""


class Service(Protocol):
    """What a worker runs; made anew, by `boot`, for each incarnation.

    An execution is the service's own, which may take it up again for the next request.

    To a process requests and results go as bytes, or as parts of the frames that carry them
    (`supervisors.wire.frames`).
    """

    @property
    def request_type(self) -> Any:
        """What a process takes its requests as: `bytes`, or a type that msgspec decodes."""

    @property
    def result_type(self) -> type:
        """The class of results that a process sends as parts of frames: `bytes`, or one whose objects are small.

        Objects of such a class can be encoded by msgspec for sure, within `SMALL_BYTES`. A result that may not be so
        is given encoded, as `msgspec.Raw`.
        """

    @property
    def batch_type(self) -> Any:
        """What a process takes batches of requests as, a type that msgspec decodes; None for one that takes none."""

    def boot(self, number: int, boot: Any) -> None:
        """Prepare; called before the first request, and again where results were refused that others were built on."""

    def begin(self, request: Any, port: Port) -> Execution:
        """Take up a request. Whatever it or its execution raises is the request's failure."""

    def settle(self, *, accepted: bool) -> None:
        """The request just run, of a batch all that were, was reported as done (True) or as failed (False).

        Of several in a row that were done and have `touched` nothing, it may be told once.
        """

    def describe_failure(self, error: BaseException) -> Any:
        """Turn what a request raised into the body of its failure (bytes for a process).

        Where this raises, it is called once more with an `UndescribedError` (`tell_failure`).
        """

    def close(self, reason: Reason) -> None:
        """The worker ends as it was asked to; the last call, and none where it ends otherwise.

        No request is in progress; one that was, between two of its stops, was settled before.
        """


class Turnstile(Protocol):
    """What a running request may do where several run at once, on a loop: a `Port` at which nothing blocks the loop.

    What it hands over is told in its turn, where the place keeps order.
    """

    def part(self, body: Any, weight: int) -> None:
        """Send `body` ahead, and go on; the next `await` waits where a `Port` would: for room, or the end of a hold."""

    def confirm(self, body: Any) -> None:
        """Send `body` ahead, out of turn, and wait until it was taken: for what takes a moment, not for room."""

    def check(self) -> None:
        """Raise `RequestAbandoned` if nobody wants the request any more."""

    def stop_with(self, body: Any, weight: int) -> None:
        """Refuse: a request on a loop stops by `stop`."""

    async def stop(self, body: Any, weight: int, on_taken: Callable[[], None]) -> None:
        """Send `body` ahead and wait until it was taken, and for what `part` waits for.

        Args:
            body: the part, opaque.
            weight: how much it weighs, in messages it carries (at least 1).
            on_taken: called on the loop once the listener has taken it, in the order in which it took what others sent.
        """


class LoopExecution(Protocol):
    """One request being run on a loop, beside others."""

    async def run(self) -> None:
        """Run to the end; what it raises is the request's failure, and leaves nothing behind."""

    @property
    def result(self) -> Any:
        """The result of a finished request."""

    def conclude(self, *, accepted: bool) -> None:
        """The result was taken (True), or is nobody's (False); on the loop, in the order in which results are taken."""


class Ran(Enum):
    """How far a batch was run.

    Args:
        PLAIN: what was run is among its results.
        APART: that too, but for the last one, whose result it has by itself.
        STOPPED: that too, but for the last one, which is at a stop.
        COPIED: this is a copy of the process, made by the last one.
    """

    PLAIN = "plain"
    APART = "apart"
    STOPPED = "stopped"
    COPIED = "copied"


class Watch(NamedTuple):
    """Who looks on while a batch is run: all of it is asked or told for each request, at the price of a built-in call.

    Args:
        clock: gives clock readings.
        mark: tells this process from copies that a request makes of it.
        note: told of each as it begins: how many have run before it, since when it runs, and its number; None where
            nobody asks.
        ran: what it is told for the first one of the batch.
        first: the number of that one.
    """

    clock: Callable[[], float]
    mark: Mark
    note: Callable[[int, float, int], None] | None = None
    ran: int = 0
    first: int = 0


class BatchExecution(Execution, Protocol):
    """Many requests that are run one after the other. Belongs to one thread, but for `take_results`."""

    @property
    def position(self) -> int:
        """How many of them are done with."""

    def run(self, watch: Watch, urgent: Sized, until: float) -> Ran:
        """Run requests, of which the first may be one that was at a stop; what one raises is its failure.

        Args:
            watch: who looks on.
            urgent: not empty when no other one shall begin.
            until: clock reading from which on none shall.
        """

    def take_results(self) -> tuple[int, BatchResults, float, float] | None:
        """Give what plain ones came to that was not given before: (position of the first, results, seconds, at).

        Any thread may call it, one at a time, also while the next one runs. None where there is nothing.
        """

    def take_rest(self, behind: bool) -> tuple[int, Sized]:  # noqa: FBT001
        """Leave out what was not begun: gives (position of the first of these, the batch of them).

        Args:
            behind: whether the present one was begun.
        """

    @property
    def since(self) -> float:
        """Clock reading when the present one was begun."""


class BatchResults(Sized, Protocol):
    """What plain requests of a batch came to that were run one behind the other."""

    def one_by_one(self, first: int) -> Iterator[Finished]:
        """Give each, numbered from `first`."""


class BatchService(Service, Protocol):
    """A service that takes many requests at once."""

    def begin_batch(self, batch: Any, port: Port, now: float) -> BatchExecution:
        """Take up a batch, as it was submitted or as `take_rest` gave it, at clock reading `now`."""


class LoopService(Protocol):
    """What a worker runs that has a loop: as `Service`, with several requests at once."""

    def boot(self, number: int, boot: Any) -> None:
        """Prepare; called once, before the first request."""

    def begin(self, request: Any, port: Turnstile) -> LoopExecution:
        """Take up a request. Whatever it or its execution raises is the request's failure."""

    def describe_failure(self, error: BaseException) -> Any:
        """Turn what a request raised into the body of its failure, as `Service.describe_failure`."""

    def close(self, reason: Reason) -> None:
        """The worker ends as it was asked to; the last call, and none where it ends otherwise."""


def tell_failure(describe: Callable[[BaseException], _Body], error: BaseException) -> _Body:
    """Describe what a request raised; where that raises in turn, describe an `UndescribedError` that tells of both."""
    try:
        return describe(error)
    except BaseException as second:  # noqa: BLE001  it is recorded beside the first
        told = UndescribedError(str(record_error(error)))
        told.add_note(f"describing it raised {record_error(second)}")
        told.__cause__ = error
        return describe(told)
