"""The turns of a block's messages, one after the other, for as long as nothing else has to be done for them.

Owns the loop that runs them, and what they came to so far. Never commits: whoever runs it tells of that, also while
the loop goes on, on another thread.

Theory of operation. A turn is *plain* when its handler returned, and has handed nothing over ahead. What plain turns
emitted is kept in one list, when each ended in another, and what they changed of the state in a third: the next turn
begins with the state as this one has left it. A turn that turns out to be anything else (it is a generator, raises)
becomes one as `TurnExecution` runs it, with what it has emitted so far; those before it stay what they are, and the
loop goes on behind it.
"""

from __future__ import annotations

import math
from collections.abc import Sized
from itertools import repeat
from typing import Any

from routilux.blocks import Block, Keys
from routilux.context import cell
from routilux.messages import Message, Once, TurnResults
from routilux.packed import Packed
from routilux.turn.execution import RUNNABLE, TurnExecution
from routilux.turn.incarnation import Incarnation, Route
from routilux.turn.outbox import BYTES_BOUND, NOTHING
from routilux.turn.state import StateTurn
from routilux.turn.steps import Steps
from supervisors.places.base import Port, Ran, Watch
from supervisors.wire.outside import OUTSIDE_TAG
from supervisors.wire.values import PLAIN_TAG, decode_plain, decode_together, encode_parameters


class BatchExecution(TurnExecution):
    """Runs a block's messages: a `BatchExecution` for the place, a `Turn` for each handler.

    Belongs to the thread that calls `run`, but for `take_results`. It is taken up again for the next block.

    Args:
        incarnation: the routine that it runs turns of.
    """

    __slots__ = (
        "_at",
        "_ats",
        "_began_at",
        "_block",
        "_clock",
        "_emitted_at",
        "_ends",
        "_first",
        "_held_bytes",
        "_is_all_plain",
        "_is_apart",
        "_is_marked",
        "_out",
        "_payloads",
        "_single",
        "_states",
        "_stop",
        "_taken",
        "_turn_from",
        "_uses_outbox",
    )

    _block: Block
    _payloads: list[Any]
    """The block's payloads, or what was decoded of all of them at once."""
    _at: int
    """Index in the block's payloads of the present message, or of the next one."""
    _stop: int
    """Behind the last that is to be run."""
    _first: int
    """Index of the first turn that `_ats` tells of."""
    _began_at: float
    """When that began."""
    _single: Message | None
    """The present message, once it was asked for."""
    _is_apart: bool
    """Whether the present turn has handed over something ahead."""
    _is_all_plain: bool
    """Whether it is known that all that was emitted is plain."""
    _is_marked: bool
    """Whether anything at all is to be seen to when the present turn ends."""
    _uses_outbox: bool
    """Whether what the present turn emits goes to the outbox, which knows the bounds of R3."""

    def __init__(self, incarnation: Incarnation) -> None:
        self._ats: list[float] = []
        """When each plain turn ended. The last of its traces: by its length `take_results` knows what is complete."""
        self._ends: list[int] = []
        """For each of them, how much had been emitted by its end."""
        self._out: list[Any] = []
        """What they and the present turn emitted: the payloads, where they are `_is_uniform`, else the emissions; and
        None in the place of each that `take_results` has given."""
        self._taken = 0
        """How many of them `take_results` has given."""
        self._turn_from = 0
        """How much had been emitted as the present turn began."""
        self._at = self._stop = 0
        self._clock = incarnation.outbox.clock
        self._held_bytes = 0
        """Bytes, in a process, of what is to be sent of plain turns, as far as they are not few."""
        self._states: list[tuple[int, Any]] = []
        """What turns have changed that was not given: the index of each in `_ats`, and its changes."""
        self._emitted_at = 0.0
        """When the present turn emitted first, if it did: from then on it has the seconds of R3."""
        super().__init__(incarnation)

    @property
    def _message(self) -> Message:
        if self._single is None:
            self._is_marked = True
            self._single = self._block.message(self._at)
        return self._single

    @_message.setter
    def _message(self, message: Message) -> None:
        self._single = message

    def begin_block(self, route: Route, block: Block, port: Port, now: float) -> None:
        """Take up a block.

        Args:
            route: the connection it came by.
            block: the messages.
            port: takes the parts that go out before a turn's end.
            now: clock reading.
        """
        self._route, self._block, self._port = route, block, port
        self._at, self._stop = block.start, block.stop
        self._payloads = _open(block)
        self._begin_columns(now)
        self._is_marked = route.gather is not None

    @property
    def position(self) -> int:
        """How many of the block's messages are done with."""
        return self._at - self._block.start

    def run(  # noqa: C901, PLR0912  what each turn passes is spelled out here
        self, watch: Watch, urgent: Sized, until: float
    ) -> Ran:
        """Run turns, of which the first may be one that was not over.

        Args:
            watch: who looks on.
            urgent: not empty when no other turn shall begin.
            until: clock reading from which on none shall.
        """
        if self._steps is not None:
            return Ran.APART if self.advance() else Ran.STOPPED
        route, payloads, start = self._route, self._payloads, self._block.start
        call, decode = route.call, self._decode
        clock, mark, note, ran, first = watch
        ran, first = ran - start, first - start
        ats, ends, out = self._ats, self._ends, self._out
        before = cell.turn
        cell.turn = self
        self._held_bytes = 0
        now = clock()
        try:
            # What every short turn costs here: no function is called, and no attribute asked for, that need not be.
            for at in range(self._at, self._stop):
                self._at = at
                if note is not None:
                    note(ran + at, now, first + at)
                if call is None:
                    returned = self._call_handler()
                else:
                    data = payloads[at]
                    if data.__class__ is not dict:
                        plain = decode_plain(data)
                        data = plain if plain.__class__ is dict else decode(data)
                    try:
                        returned = call(data)
                    except KeyError as missing:
                        if route.has_all(data):
                            raise
                        returned = self._call_after(missing)  # `bind` finds out which did not come
                if not mark[0]:
                    return Ran.COPIED
                if self._is_marked or returned is not None:
                    if not self._is_plain(returned):
                        break
                    if self._held_bytes >= BYTES_BOUND:
                        until = -math.inf
                now = clock()
                self._turn_from = end = len(out)
                ends.append(end)
                ats.append(now)
                if urgent or now >= until:
                    self._at = at + 1
                    return Ran.PLAIN
            else:
                self._at = self._stop
                return Ran.PLAIN
        except BaseException:
            self.discard()
            raise
        finally:
            cell.turn = before
        return self._go_on_apart(returned)

    def take_results(self) -> tuple[int, TurnResults, float, float] | None:
        """Give what plain turns came to that was not given before: (position of the first, results, seconds, at).

        Any thread may call it, one at a time.
        """
        first, stop = self._taken, len(self._ats)
        if first == stop:
            return None
        ats = self._ats[first:stop]
        began_at = self._ats[first - 1] if first else self._began_at
        start = self._ends[first - 1] if first else 0
        ends = self._ends[first:stop]
        end = ends[-1]
        emitted = self._out[start:end]
        # A block of large data would hold all of it otherwise, and be the end of a process with a memory limit.
        self._out[start:end] = [None] * len(emitted)
        if ends == list(range(start + 1, start + 1 + len(ats))):
            ends = _ONE_EACH
        elif start:
            ends = [end - start for end in ends]
        self._taken = stop
        states = [(turn - first, ops) for turn, ops in self._states if turn < stop]
        times = self._incarnation.codec.times(ats)
        del self._states[: len(states)]
        if self._is_uniform:
            # Of what is encoded on a thread some may hold shared memory.
            payloads = Packed.of(emitted, is_plain=self._is_all_plain) if emitted and not self._is_local else emitted
            results = TurnResults(began_at, times, NOTHING, ends, payloads or None, states)
        else:
            results = TurnResults(began_at, times, emitted, ends, None, states)
        return self._first - self._block.start + first, results, ats[-1] - began_at, ats[-1]

    def take_rest(self, behind: bool) -> tuple[int, Block]:  # noqa: FBT001
        """Leave out what was not begun: gives (position of the first of these, the block of them).

        Args:
            behind: whether the present message is being handled, or was.
        """
        start, stop = self._at + behind, self._stop
        self._stop = start
        return start - self._block.start, self._block.between(start, stop)

    @property
    def since(self) -> float:
        """Clock reading when the present turn began. Any thread may ask."""
        ats = self._ats
        return ats[-1] if ats else self._began_at

    def record(self, once: Once) -> None:
        """Have it written down, and wait for that."""
        self._is_apart = self._is_marked = True
        super().record(once)

    def emit(self, event: str, data: dict[str, Any]) -> None:
        """Hold one emission, as `TurnExecution.emit`."""
        out = self._out
        if event == self._sent_event and len(out) == self._turn_from and not self._uses_outbox:
            # As in `_emit`: nearly all data is plain, and little, and each call more is felt here.
            body = encode_parameters(data, self._sent_path)
            if body is not None and len(body) < _LITTLE:
                out.append(body)
                self._emitted_at = self._clock()
                return
        self._emit(event, data)

    def _emit(self, event: str, data: dict[str, Any]) -> None:
        out = self._out
        if self._uses_outbox or len(out) != self._turn_from:
            self._move_to_outbox()
            super().emit(event, data)
            return
        held, body = self._hold(event, data)
        out.append(held)
        self._emitted_at = self._clock()
        if body is None:
            return
        self._is_all_plain &= body[0] == PLAIN_TAG
        if len(body) < _LITTLE and body[0] != OUTSIDE_TAG:
            return
        self._is_marked = True
        if body[0] == OUTSIDE_TAG or (len(body) >= BYTES_BOUND and not self._outbox.is_atomic):
            # What holds shared memory is let go with its own turn, and not when all the block has been run.
            self._is_apart = True
            self._move_to_outbox()
            if self._outbox.is_full:
                self._release()
        elif not self._is_local:
            self._held_bytes += len(body)

    def let_go(self) -> None:
        """Keep nothing of what is done with."""
        self._begin_columns(0.0)
        self._block, self._payloads = _NO_BLOCK, []
        super().let_go()

    def discard(self) -> None:
        """Leave nothing behind of the present turn, if there is one."""
        if self._block is _NO_BLOCK:
            return
        del self._out[self._turn_from :]
        self._uses_outbox = False
        self._undo()

    def _begin_columns(self, now: float) -> None:
        self._first, self._began_at = self._at, now
        self._ats, self._ends, self._out, self._states = [], [], [], []
        self._taken = self._turn_from = self._held_bytes = 0
        self._state = self._steps = self._broken = self._doing = self._single = None
        self._uses_outbox = self._is_apart = self._is_marked = False
        self._is_all_plain = True

    def _move_to_outbox(self) -> None:
        """Have the present turn emit as one that runs by itself does."""
        if not self._uses_outbox:
            self._uses_outbox = self._is_marked = True
            self._outbox.adopt(self._out[self._turn_from :], self._emitted_at)
            self._outbox.is_all_plain = self._is_all_plain
            del self._out[self._turn_from :]

    def _release(self) -> None:
        self._is_apart = True
        super()._release()

    def _open_state(self) -> StateTurn:
        self._is_marked = True
        return super()._open_state()

    def _is_plain(self, returned: Any) -> bool:
        """Tell whether a turn that stands out is a plain one all the same."""
        if isinstance(returned, RUNNABLE) or self._is_apart or self._broken is not None:
            return False
        has_state = self._state is not None or self._route.gather is not None
        if has_state and not self._keep_changes():
            return False
        if self._uses_outbox and not self._keep_emissions():
            return False
        if has_state:
            self.settle()
            self._state = None
        self._single = None
        self._is_marked = self._route.gather is not None
        return True

    def _keep_changes(self) -> bool:
        """Keep what the present turn has changed, to be sent, and go on from there; False if that is too much."""
        self._ops = ops = self._prepare_ops(self._state, self._route.gather)
        if not ops:
            return True
        changes, size = self._incarnation.codec.changes(ops)
        if size >= BYTES_BOUND:
            return False
        self._states.append((len(self._ats), changes))
        self._held_bytes += size
        return True

    def _keep_emissions(self) -> bool:
        """Keep what the outbox holds with what others have emitted; False if that is too much, or in shared memory."""
        if self._outbox.has_outside:
            return False
        if not self._is_local:
            size = self._outbox.held_bytes
            if size >= BYTES_BOUND:
                return False
            self._held_bytes += size
        self._is_all_plain &= self._outbox.is_all_plain
        self._out += self._outbox.commit()
        self._uses_outbox = False
        return True

    def _go_on_apart(self, returned: Any) -> Ran:
        """Have a turn that is not plain go on, or end, as one that runs by itself does."""
        self._move_to_outbox()
        if isinstance(returned, RUNNABLE):
            self._steps = Steps(self._checked(returned))
            return Ran.APART if self.advance() else Ran.STOPPED
        try:
            if self._broken is not None:
                raise self._broken  # noqa: TRY301  the handler swallowed it, but what it was to let out is gone
            self._prepare_result()
        except BaseException:
            self.discard()
            raise
        return Ran.APART


def _open(block: Block) -> list[Any]:
    """Decode all data at once, if all of it is plain, which costs two thirds of what it does one by one.

    Gives the payloads of the block, each in its place; ahead of those, and behind them, whatever there is.
    """
    payloads, start, stop = block.payloads, block.start, block.stop
    if not isinstance(payloads, Packed):
        return payloads
    if stop - start < len(payloads):
        payloads = payloads.between(start, stop)
    return [*repeat(None, start), *(decode_together(payloads.data, stop - start) or payloads)]


_ONE_EACH: list[int] = []
"""The ends of turns of which each has emitted one; never changed."""
_LITTLE = 2_048
"""Encoded data that is little: all the turns of a block may emit so much each (arbitrary)."""
_NO_BLOCK = Block(-1, 0, [], Keys(0, 0), 0.0, 0, 0)
