"""A request that is run on a loop, beside others: its coroutines, step by step, and what it may do meanwhile.

Owns what is true of one request, its clock, and the gate at which it waits for grants and the end of a hold. Knows no
event loop: how a coroutine waits, and what carries reports, is its `Loop`'s.

Theory of operation. A request belongs to its loop's thread, which alone runs its coroutine. What the place reads of it
on the actor's thread are single references that are swapped: the clock, the number of the hold that it is parked by.
One that has handed over much goes no further than its next `await` while that is not granted, whichever of its
coroutines it was (`drive` brings each of them to the gate). It is the same with a hold: once the request has handed
over something, none of them goes on. Nothing here ever blocks the loop but `confirm`.

Where order is kept, what a request hands over is told in its turn, and so is granted late. Therefore it does not wait
for each grant, but for room below `PART_BOUND`: it may have in its hands what the request at the head waits for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any, NamedTuple, Protocol

from supervisors.errors import InternalError
from supervisors.places.base import PART_BOUND, RequestAbandoned
from supervisors.places.copies import generation
from supervisors.places.reports import Part
from supervisors.reasons import Reason

CANCEL_SECONDS = 0.5
"""What a request that was cancelled for its time gets to come to its end (arbitrary)."""


class Stop(NamedTuple):
    """A request has come to a stop, and handed over a part there."""

    seq: int
    body: Any


class Confirm(NamedTuple):
    """A request handed over a part out of turn, and waits for the answer."""

    seq: int
    body: Any


class Cancelled(NamedTuple):
    """A request that was cancelled has ended, whatever it has made of that."""

    seq: int


class Late(NamedTuple):
    """A request was cancelled `CANCEL_SECONDS` ago, on a loop that went on meanwhile, and has not ended."""

    seq: int


class Overdue(NamedTuple):
    """A request was cancelled for its time, and has ended by that or was left behind; what a place makes of that."""

    seq: int
    reason: Reason


class Broken(NamedTuple):
    """The loop could not do what it was asked to: it is to be given up."""

    reason: Reason


class Closed(NamedTuple):
    """The loop has ended.

    Args:
        reason: what went wrong; None where it ended as asked.
    """

    reason: Reason | None


class Loop(Protocol):
    """Runs requests beside one another, elsewhere. Called on the actor's thread, but for what says otherwise."""

    def start(self) -> None:
        """Start it; `Ready` is told once its service has booted.

        Raises:
            RuntimeError, OSError: the system gave no thread, or no descriptors.
        """

    def make_request(self, seq: int, body: Any) -> Request:
        """Make a request for `submit`."""

    def submit(self, requests: list[Request]) -> None:
        """Begin requests, in order."""

    def cancel(self, request: Request) -> None:
        """Cancel a request: its next step raises inside of it. `Cancelled` is told when it has ended, or `Late`."""

    def take(self, request: Request) -> None:
        """Let it know that its listener took what it handed over at its stop."""

    def answer(self, confirm: Confirm, *, is_taken: bool) -> None:
        """Let a request go on that waits for the answer to a part."""

    def settle(self, request: Request, *, accepted: bool) -> None:
        """Let it know that its result was taken, or was not."""

    def grant(self, request: Request) -> None:
        """Grant the oldest part that is not."""

    def hold(self, number: int) -> None:
        """Let no request pass the gate."""

    def release(self) -> None:
        """Let them pass."""

    def close(self, reason: Reason) -> None:
        """End it: no request is in it any more. `Closed` is told."""

    def abandon(self) -> None:
        """Cancel all it runs, and let it end by itself when that has ended; nothing is wanted of it any more."""

    def next_report(self) -> Any | None:
        """Take the oldest report; None where there is none."""

    def has_reports(self) -> bool:
        """Whether a report waits."""

    def is_over(self) -> bool:
        """Whether everything it ran has ended."""

    def find_stack(self, request: Request | None) -> str:
        """Give where a request is, or for None the loop's thread."""

    def find_current(self) -> int | None:
        """Give the number of the request whose own code runs at this moment."""

    def count_steps(self) -> int:
        """Give how many steps its requests have made: while none is made it is idle, or blocked."""

    def join(self) -> None:
        """Wait for its thread, which has told that it ended."""


class Gate(Protocol):
    """What a request needs of its loop, on the loop's own thread."""

    current: Request | None
    """Whose code runs."""
    steps: int
    """How many steps its requests have made."""
    held_by: int
    """The number of the hold that is in force; 0 for none."""
    generation: int
    """That of the program in which it was started (`copies`)."""

    def now(self) -> float:
        """Give the time in seconds."""

    def tell(self, report: Any) -> None:
        """Hand a report to the actor."""

    def wait_at_gate(self, request: Request, is_open: Callable[[], bool]) -> Generator[Any, Any, Any]:
        """Wait until the gate is open for a coroutine of the request; to be delegated to, and to be cancelled."""

    def tell_parked(self) -> None:
        """Make the actor look whether all is still."""

    def wait_answered(self, confirm: Confirm) -> bool:
        """Wait for the answer; gives whether the part was taken."""


class Clock(NamedTuple):
    """What is known of a request's time.

    Args:
        begun_at: when it began; None before.
        waited: seconds that it has waited at the gate since.
        waiting_since: since when it waits there now; None while it does not.
    """

    begun_at: float | None = None
    waited: float = 0.0
    waiting_since: float | None = None


class Request:
    """One request in a loop's hands (the `Turnstile` of its own code).

    Args:
        seq: its number.
        body: the request itself.
        gate: its loop.
    """

    __slots__ = (
        "_at_gate",
        "_gate",
        "_looks",
        "_on_taken",
        "body",
        "clock",
        "execution",
        "granted",
        "has_ended",
        "is_cancel_heard",
        "is_cancelled",
        "is_expired",
        "is_given_up",
        "is_warned",
        "judged_at",
        "parked_by",
        "seq",
        "stack",
        "steps",
        "task",
        "ungranted",
        "work",
    )

    def __init__(self, seq: int, body: Any, gate: Gate) -> None:
        self.seq = seq
        self.body = body
        self._gate = gate
        # Of its loop.
        self.task: Any = None
        self.execution: Any = None
        self.work: Coroutine[Any, Any, None] | None = None
        """Its own coroutine while that runs."""
        self.ungranted: deque[int] = deque()
        """The weights of what it has handed over that was not granted."""
        self._looks = False
        self._at_gate = 0
        """How many of its coroutines wait at the gate."""
        self._on_taken: Callable[[], None] | None = None
        self.is_cancel_heard = False
        """Whether it was cancelled, by its place or with its loop, and has come to know that: the gate lets it pass."""
        # Of its loop, and read by its place.
        self.clock = Clock()
        self.parked_by = 0
        """The number of the hold that it is parked by; 0 while it goes on."""
        # Of its place, and read by its loop.
        self.is_given_up = False
        # Of its place alone.
        self.has_ended = False
        """Whether its end was reported, told or not."""
        self.is_expired = False
        """Whether its time is over, and it was cancelled for that."""
        self.stack = ""
        """Where it was then."""
        self.steps = 0
        self.judged_at = 0.0
        """How many steps its loop had made, and when it is looked at again whether it makes any."""
        self.is_cancelled = False
        self.is_warned = False
        self.granted: deque[bool] = deque()
        """Of each part that was told and is not granted, whether its sender waits for that grant."""

    # -- Turnstile

    def part(self, body: Any, weight: int) -> None:
        """Send `body` ahead; while too much is not granted the next `await` waits."""
        self.check()
        if generation.number != self._gate.generation:
            return  # nobody takes what a copy hands over
        self._hand_over(Part(self.seq, body), weight)

    def confirm(self, body: Any) -> None:
        """Send `body` ahead, out of turn, and wait until it was taken."""
        self.check()
        if generation.number != self._gate.generation:
            return
        confirm = Confirm(self.seq, body)
        self._gate.tell(confirm)
        if not self._gate.wait_answered(confirm):
            raise RequestAbandoned

    def check(self) -> None:
        """Raise `RequestAbandoned` if nobody wants the request any more."""
        if self.is_given_up:
            raise RequestAbandoned

    def stop_with(self, body: Any, weight: int) -> None:
        """Refuse; raises `InternalError`."""
        raise InternalError("a request on a loop stops by `stop`")

    async def stop(self, body: Any, weight: int, on_taken: Callable[[], None]) -> None:
        """Send `body` ahead and wait until it was taken, while too much is not granted, and while the place is held."""
        self.check()
        self._on_taken = on_taken
        self._hand_over(Stop(self.seq, body), weight)
        await _Pass(self)

    def _hand_over(self, report: Part | Stop, weight: int) -> None:
        self.ungranted.append(weight)
        self._looks = True
        self._gate.tell(report)

    # -- For its loop

    def take_stop(self) -> None:
        """Its listener took what it handed over at its stop."""
        on_taken, self._on_taken = self._on_taken, None
        if on_taken is not None:
            on_taken()

    def take_grant(self) -> None:
        """The oldest of what it handed over was granted."""
        if self.ungranted:
            self.ungranted.popleft()

    def end(self) -> None:
        """Its own coroutine has ended: what is left of its tasks waits for nobody."""
        self.work = None
        self.ungranted.clear()
        self._looks = False

    def pass_gate(self) -> Generator[Any, Any, None]:
        """Wait at the gate for as long as none of its coroutines may pass."""
        return self._wait(self._may_pass)

    def wait_taken(self) -> Generator[Any, Any, None]:
        """Wait until what it handed over at its stop was taken, and it may pass."""
        # A grant may be heard of before the word that what it is for was taken.
        return self._wait(lambda: self._on_taken is None and self._may_pass())

    def _may_pass(self) -> bool:
        if not self._looks or self.is_cancel_heard:
            return True
        return self._gate.held_by == 0 and sum(self.ungranted) < PART_BOUND

    def _wait(self, is_open: Callable[[], bool]) -> Generator[Any, Any, None]:
        gate, raised = self._gate, None
        if not is_open():
            self._enter_gate()
            try:
                while not is_open():
                    self.note_hold(gate.held_by)
                    try:
                        yield from gate.wait_at_gate(self, is_open)
                    except GeneratorExit:
                        raise
                    except BaseException as error:
                        if self.is_cancel_heard or not gate.held_by:
                            raise
                        raised = error  # a time of its own that is over: it hears of that when it goes on
            finally:
                self._leave_gate()
        self._looks = bool(self.ungranted)
        if raised is not None:
            raise raised

    def _enter_gate(self) -> None:
        self._at_gate += 1
        if self._at_gate == 1:
            self.clock = self.clock._replace(waiting_since=self._gate.now())

    def _leave_gate(self) -> None:
        self._at_gate -= 1
        begun_at, waited, since = self.clock
        if self._at_gate == 0 and since is not None:
            self.parked_by = 0
            self.clock = Clock(begun_at, waited + self._gate.now() - since, None)

    def note_hold(self, number: int) -> None:
        """It waits at the gate: with the hold of that number it is parked."""
        self.parked_by = number
        if number:
            self._gate.tell_parked()

    @property
    def looks_at_gate(self) -> bool:
        """Whether it has handed over something since it last passed the gate, or that is not granted."""
        return self._looks

    # -- For its place

    def due_at(self, seconds: float, now: float) -> float:
        """Give the clock reading at which it will have run for `seconds`, waits at the gate left out.

        While it waits there, or has not begun, it is what that would be if it went on now.
        """
        begun_at, waited, waiting_since = self.clock
        if begun_at is None:
            return now + seconds
        if waiting_since is None:
            return begun_at + waited + seconds
        return now + max(0.0, begun_at + waited + seconds - waiting_since)

    @property
    def is_running(self) -> bool:
        """Whether its clock goes on."""
        return self.clock.begun_at is not None and self.clock.waiting_since is None

    def is_over(self) -> bool:
        """Tell whether its code, which has begun, has come to its end."""
        return self.work is None

    def is_still(self, hold: int) -> bool:
        """Tell whether none of its code runs before the end of that hold."""
        return self.has_ended or self.parked_by == hold


class _Pass:
    """Awaits the end of a stop."""

    def __init__(self, request: Request) -> None:
        self._request = request

    def __await__(self) -> Generator[Any, Any, None]:
        yield from self._request.wait_taken()
