"""One incarnation of a worker, seen from its parent: channel, output, page, death.

Owns the descriptors of one child process and what has to happen before its end is told: what
had arrived is taken in, its process tree is ended, it is reaped, everything is closed. Lives on
its actor's thread: all callbacks come from that thread's `Poller`. Never starts another child.
"""

from __future__ import annotations

import contextlib
import math
import os
import selectors
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from msgspec import Raw

from supervisors.errors import FrameError, RequestTooLongError, StartError
from supervisors.parking import Poller
from supervisors.places.base import CLOSED, Lost
from supervisors.places.process.inbound import ATTACHED_AT_ONCE, CHANNEL_BROKEN
from supervisors.places.process.launch import BY_DEFAULT, Launch
from supervisors.places.process.link import Link
from supervisors.places.process.logs import log_as_own, own_levels, root_level
from supervisors.places.process.output import LineBuffer
from supervisors.places.process.page import PageView
from supervisors.places.process.reap import Ended, count_oom_kills, describe_death, end_session, end_tree
from supervisors.places.process.segment_pool import Party
from supervisors.places.process.segments import Segment
from supervisors.places.process.spawn import Birth, spawner
from supervisors.reasons import Killed, ProtocolError, Reason, StartFailed, record_error
from supervisors.wire.frames import (
    FRAME_OVERHEAD_BYTES,
    SMALL_BYTES,
    Attach,
    Boot,
    BootFailed,
    Bye,
    Deliver,
    Detach,
    Done,
    Failed,
    FromWorker,
    Full,
    Go,
    Gone,
    Grant,
    Hold,
    Kept,
    Lend,
    Log,
    ParentReader,
    Parked,
    Part,
    Ready,
    Reclaim,
    Spawned,
    Stop,
    ToWorker,
    Want,
    encode_frame,
)
from supervisors.wire.outside import LeasedBody

GOODBYE_SECONDS = 1.0
"""What a worker gets to end by itself after it was told to stop, or has closed its channel."""
_READS = 16
"""Reads in a row from one descriptor before the others get their turn (arbitrary)."""
_LAST_READS = 1_024
"""Reads in a row of what a dead child has left in its channel: far more than that can hold."""
_PIPE_BYTES = 65_536
"""Bytes of output taken at once: some 30,000 lines of one character, and thus some 20 ms."""
_LAST_OUTPUT_READS = 16
"""Reads in a row of what a dead child has left in a pipe, 1 MiB: the most that a pipe holds, and
not without end, since what escaped from its session may go on writing."""
_BATCH_BYTES = 1024 * 1024
"""Bytes of requests a frame carries before the next one begins, and that may wait to be written."""
_ITEM_BYTES = 32  # a request's number and lengths, rounded up
_MEASURED: frozenset[type[Any]] = frozenset({bytes, Raw, LeasedBody})
"""Classes of bodies that are encoded; all others are small."""


class Owner(Protocol):
    """Who is told what a child reports."""

    def on_child_ready(self, child: Child) -> None:
        """It takes requests."""

    def on_child_part(self, child: Child, seq: int, body: bytes) -> None:
        """The request it is on handed over a part."""

    def on_child_done(self, child: Child, seqs: list[int], bodies: list[Any], seconds: list[float]) -> None:
        """Requests were run, in this order, each in so many seconds."""

    def on_child_failed(self, child: Child, seq: int, body: bytes, returned: tuple[int, ...]) -> None:
        """A request raised."""

    def on_child_returned(self, child: Child, seqs: tuple[int, ...]) -> None:
        """It is held, and gave these back unbegun."""

    def on_child_wants(self, child: Child) -> None:
        """It waits for shared memory, or does no more."""

    def on_child_output(self, child: Child, stream: str, line: str) -> None:
        """It printed a line."""

    def on_child_silent(self, child: Child) -> None:
        """Its channel has ended; most often it has too, which is about to be noticed."""

    def on_child_leaving(self, child: Child) -> None:
        """It has finished, as it was told to, and is about to end by itself."""

    def on_child_gone(self, child: Child, reason: Reason, lost: Lost) -> None:
        """It has ended, and nothing of it is left; `link.doubted` is for the next incarnation."""


class Child:
    """One incarnation of a worker.

    Args:
        owner: who is told.
        number: its place in the pool.
        incarnation: from 1.
        poller: where its descriptors are watched.
        max_frame_bytes: the longest frame in either direction.
        launch: how it is started.
        doubted: how many requests it gets one at a time at first.
        inherited: descriptors that it is born with.
        result_type: what its results are read as.
        party: what it has of its owner's shared memory; None where that shares none.

    Raises:
        OSError: no descriptors are left.
    """

    def __init__(  # noqa: PLR0913  what a process is born with, spelled out once
        self,
        owner: Owner,
        number: int,
        incarnation: int,
        poller: Poller,
        max_frame_bytes: int,
        launch: Launch,
        *,
        doubted: int = 0,
        inherited: tuple[int, ...] = (),
        result_type: Any = bytes,
        party: Party | None = None,
    ) -> None:
        self.number = number
        self.party = party
        self.want: Want | None = None
        """The shared memory that it waits for."""
        self.incarnation = incarnation
        self.link = Link(doubted)
        self.is_ready = False
        self.is_stopping = False
        self._stop = Stop(CLOSED)
        self.end_at: float | None = None
        """Clock reading at which it is ended with `end_reason`, unless it ends before."""
        self.end_reason: Reason = CLOSED
        self.ended: Ended | None = None
        """How its process ended, once it was reaped."""
        self._owner = owner
        self._poller = poller
        self._birth = Birth(incarnation, max_frame_bytes, launch, inherited)
        self._reader = ParentReader(incarnation, max_frame_bytes, result_type)
        self._max_frame_bytes = max_frame_bytes
        self._body_bound = max_frame_bytes - FRAME_OVERHEAD_BYTES
        self._batch_bound = min(_BATCH_BYTES, max_frame_bytes // 2)
        self._label = ""
        self._boot = bytearray()
        self._waiting: deque[tuple[memoryview, Sequence[Segment]]] = deque()
        """What is to be written, and the segments whose descriptors go with it."""
        self._waiting_bytes = 0
        self._seqs: list[int] = []
        """What was submitted and leaves with the next flush; its bodies likewise."""
        self._bodies: list[Any] = []
        self._batch_bytes = 0
        self._is_spawned = False
        self._is_channel_open = True
        self._reason: Reason | None = None
        self._culprit: int | None = None
        """The request that it is ended for, if one is known; reports of it and of those behind do not count."""
        self._is_heard = True
        self._ungranted = 0
        self._holds = 0
        self._is_held = False
        self._parked = 0
        """The number of the last hold that it has told to be parked by."""
        self._streams: dict[int, tuple[str, LineBuffer]] = {}
        self._errors = LineBuffer()
        self._is_blocked = False
        """Whether what waits to be written waits for the channel."""
        poller.watch(self._birth.channel.fileno(), selectors.EVENT_READ, self._on_channel)

    @property
    def pid(self) -> int | None:
        """Its process id; None until it was started."""
        return self._birth.pid if self._is_spawned else None

    @property
    def room(self) -> int:
        """How many more requests it takes now."""
        if not self.is_ready or self.is_stopping or self.is_ending or self._waiting_bytes > _BATCH_BYTES:
            return 0
        return self.link.room

    @property
    def is_ending(self) -> bool:
        """Whether its end has been decided; it is about to be told."""
        return self._reason is not None

    @property
    def owes_grants(self) -> bool:
        """Whether the request it is on has handed over parts that are not granted."""
        return self._ungranted > 0

    @property
    def is_parked(self) -> bool:
        """Whether it is held, and has told that it is where it stays until it is let go."""
        return self._is_held and self._parked == self._holds

    @property
    def is_still(self) -> bool:
        """Whether it has no request, or is parked on the only one; one whose end was decided may be anywhere."""
        return not self.link or (self.is_parked and len(self.link) == 1 and not self.is_ending)

    def begin(self, boot: bytearray, label: str) -> None:
        """Have it started, and tell it then what to become.

        Args:
            boot: the `Boot` frame, encoded.
            label: what it is called as a process in log records.
        """
        self._label, self._boot = label, boot
        spawner.start(self._birth)

    def submit(self, requests: Iterable[tuple[int, Any]]) -> None:
        """Add requests to the batch that `flush` sends.

        Raises:
            RequestTooLongError: one is longer than a frame may be; those before it alone were added.
        """
        seqs, bodies, begin = self._seqs, self._bodies, len(self._seqs)
        try:
            for seq, body in requests:
                if body.__class__ in _MEASURED:
                    if body.__class__ is LeasedBody:
                        body = self._attach(body)  # noqa: PLW2901  what is left of it
                    self._batch_bytes += self._measure(seq, body)
                else:
                    self._batch_bytes += SMALL_BYTES
                seqs.append(seq)
                bodies.append(body)
        finally:
            self.link.send(seqs[begin:])

    def _measure(self, seq: int, body: bytes | Raw) -> int:
        size = memoryview(body).nbytes
        if size > self._body_bound:
            raise RequestTooLongError(seq, size, self._body_bound)
        return size + _ITEM_BYTES

    def flush(self) -> None:
        """Send the batch."""
        if not self._seqs:
            return
        if self.party is not None and self.party.has_orders:
            self.send_orders()
        seqs, bodies, size = self._seqs, self._bodies, self._batch_bytes
        self._drop_batch()
        if size <= self._batch_bound:
            self._send(Deliver(self.link.epoch, seqs, bodies))
        else:
            self._send_in_pieces(seqs, bodies)

    def _send_in_pieces(self, seqs: list[int], bodies: list[Any]) -> None:
        begin = size = 0
        for index, (seq, body) in enumerate(zip(seqs, bodies, strict=True)):
            weight = self._measure(seq, body) if body.__class__ in _MEASURED else SMALL_BYTES
            if index > begin and size + weight > self._batch_bound:
                self._send(Deliver(self.link.epoch, seqs[begin:index], bodies[begin:index]))
                begin, size = index, 0
            size += weight
        self._send(Deliver(self.link.epoch, seqs[begin:], bodies[begin:]))

    def _drop_batch(self) -> None:
        self._seqs, self._bodies, self._batch_bytes = [], [], 0

    def grant(self, seq: int) -> None:
        """Let the request go on past its oldest part."""
        if seq == self.link.oldest:
            self._ungranted -= 1
        self._send(Grant(seq))

    def hold(self) -> None:
        """Let it begin nothing, and stay at its next part or stop; it is told once it is ready, with nothing before."""
        self._holds += 1
        self._is_held = True
        if self.is_ready:
            self.flush()
            self._send(Hold(self._holds))

    def release(self) -> None:
        """Let it go on."""
        self._is_held = False
        if self.is_ready:
            self._send(Go())

    def stop(self, reason: Reason) -> None:
        """Ask it to end after the request it is on, or at that request's next stop, because of `reason`."""
        self.is_stopping = True
        self._stop = Stop(reason)
        if self._is_spawned:
            self._send(self._stop)

    def kill(self, reason: Reason) -> None:
        """End it and all it has started, now; its end is told when it has come."""
        if self._reason is None:
            self._reason = reason
        if self._is_spawned:
            end_tree(self._birth.pid)

    def terminate(self, seq: int, reason: Reason, until: float) -> None:
        """Let it end by SIGTERM for what request `seq` does, unless that is over; kill it at clock reading `until`.

        It is told to begin nothing else, and nothing of `seq` counts from now on. What it has started is not told.
        """
        self._read(_READS)
        if self._reason is not None or self.page().seq != seq:
            return
        self._reason, self._culprit = reason, seq
        self.end_at, self.end_reason = until, reason
        self.stop(Killed(self.pid))
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._birth.pid, signal.SIGTERM)

    def kill_silent(self, reason: Reason) -> None:
        """End it as `kill` does, unless there is word from it that was not taken in so far."""
        held = len(self.link), self._ungranted, self._parked
        self._read(_READS)
        if self._reason is None and held == (len(self.link), self._ungranted, self._parked):
            self.kill(reason)

    def ask_stack(self) -> None:
        """Ask for its Python stacks, which come some milliseconds later, if they do."""
        if self._birth.stack is not None:
            self._birth.stack.ask(self._birth.pid)

    def read_stack(self) -> str:
        """Give the stacks that it was asked for; empty if none have come."""
        return "" if self._birth.stack is None else self._birth.stack.read()

    def page(self) -> PageView:
        """What it is on."""
        page = self._birth.page
        return page.read() if self._is_spawned and page is not None else PageView(None, 0.0, 0)

    def abort(self) -> None:
        """End it and give everything back before returning, telling nobody; waits for its end."""
        birth = self._birth
        if not self._is_spawned and self._is_channel_open:
            birth.channel.setblocking(True)
            with contextlib.suppress(OSError):
                birth.channel.recv(1)  # the spawner's word, or the end of the channel
        if birth.pid:
            end_tree(birth.pid)
            spawner.unguard(birth.pid)
            birth.wait_reaped()
        self._close()

    # -- Shared memory

    def send_orders(self) -> None:
        """Tell it what has changed about the segments that it has, or may have."""
        if self.party is None:
            return
        orders = self.party.take_orders()
        if orders.detach:
            self._send(Detach(orders.detach))
        self._send_segments(orders.attach)
        if orders.lend:
            self._send(Lend(orders.lend))
            self.want = None
        if orders.is_reclaiming:
            self._send(Reclaim())

    def tell_full(self) -> None:
        """Tell it that what it waits for will not come."""
        if self.want is not None:
            self._send(Full(self.want.number))
            self.want = None

    def _attach(self, body: LeasedBody) -> bytes | Raw:
        """Have it given, ahead of a request, the segments that this names."""
        if self.party is not None:
            self._send_segments(self.party.present(body.leases))
        return body.body

    def _send_segments(self, segments: Sequence[Segment]) -> None:
        for at in range(0, len(segments), ATTACHED_AT_ONCE):
            some = segments[at : at + ATTACHED_AT_ONCE]
            items = [(segment.id, segment.size, segment.writer is self.party) for segment in some]
            self._send(Attach(items), some)

    def _take_in_memory(self, party: Party, frame: Want | Kept | Gone) -> None:
        match frame:
            case Want(_, size, returned):
                if returned:
                    party.let_go(returned)
                self.want = frame if size else None
                self._owner.on_child_wants(self)
            case Kept(ids):
                party.keep(ids)
            case Gone(ids):
                party.let_go(ids)

    # -- The channel

    def _send(self, frame: ToWorker, segments: Sequence[Segment] = ()) -> None:
        if self._is_channel_open:
            self._send_bytes(encode_frame(frame, self.incarnation, self._max_frame_bytes), segments)

    def _send_bytes(self, data: bytearray, segments: Sequence[Segment] = ()) -> None:
        """Write at once if the channel is idle; what waits already goes first."""
        self._waiting.append((memoryview(data), segments))
        self._waiting_bytes += len(data)
        if not self._is_blocked:
            self._write()

    def _write(self) -> None:
        channel, waiting = self._birth.channel, self._waiting
        try:
            while waiting:
                data, segments = waiting[0]
                if segments:
                    sent = socket.send_fds(channel, [data], [segment.fd for segment in segments])
                else:
                    sent = channel.send(data)
                self._waiting_bytes -= sent
                if sent == len(data):
                    waiting.popleft()
                else:
                    # The descriptors have gone with the first of it.
                    waiting[0] = data[sent:], ()
        except BlockingIOError:
            pass
        except OSError:
            # It is going: its death is noticed where deaths are, and the ledger has all that was sent.
            waiting.clear()
            self._waiting_bytes = 0
        if self._is_blocked != bool(waiting):
            self._is_blocked = not self._is_blocked
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._is_blocked else 0)
            self._poller.watch(channel.fileno(), events, self._on_channel)

    def _on_channel(self, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._write()
        if events & selectors.EVENT_READ:
            self._read(_READS)

    def _read(self, times: int, *, is_last: bool = False) -> None:
        """Take in what has come, in some reads at most; all of it, where it is the last time."""
        channel = self._birth.channel
        while self._is_channel_open and times > 0:
            times -= 1
            space = self._reader.space()
            try:
                count = channel.recv_into(space)
            except BlockingIOError:
                return
            except OSError:
                count = 0
            if count == 0:
                self._on_channel_end()
                return
            has_more = is_last or count == len(space)
            space.release()
            try:
                for frame in self._reader.received(count):
                    self._take_in(frame)
            except FrameError as error:
                self._stop_reading()
                self.kill(ProtocolError(str(error), self.pid))
                return
            if not has_more:
                return  # it was read empty: what came since is told by the poller

    def _stop_reading(self) -> None:
        self._is_channel_open = False
        self._poller.unwatch(self._birth.channel.fileno())

    def _on_channel_end(self) -> None:
        self._stop_reading()
        if not self._is_spawned:
            failure = self._birth.failure or record_error(StartError("its channel closed before it was started"))
            reason = self._reason or StartFailed(failure)
            self._close()
            self._owner.on_child_gone(self, reason, self.link.lose(PageView(None, 0.0, 0)))
        elif self.end_at is None or self.end_at == math.inf:
            self._owner.on_child_silent(self)

    def _take_in(self, frame: FromWorker) -> None:
        match frame:
            case Done(seqs, bodies, seconds):
                self._take_in_results(seqs, bodies, seconds)
            case Part(seq, _weight, body):
                self._take_in_part(seq, body)
            case Failed(seq, body, seconds):
                self._take_in_failure(seq, body, seconds)
            case Parked(hold, seq) if self._parked < hold <= self._holds:
                self._take_in_parked(hold, seq)
            case _:
                self._take_in_word(frame)

    def _take_in_word(self, frame: FromWorker) -> None:
        """Take in what is not about its requests."""
        match frame:
            case Want() | Kept() | Gone() if self.party is not None:
                self._take_in_memory(self.party, frame)
            case Log():
                log_as_own(frame, self.pid, self._label)
            case Spawned() if not self._is_spawned:
                self._on_spawned()
            case Ready() if not self.is_ready:
                self.is_ready = True
                if self._is_held:
                    self._send(Hold(self._holds))
                self._owner.on_child_ready(self)
            case BootFailed(error) if not self.is_ready:
                self._reason = self._reason or StartFailed(error)
            case Bye() if self.is_stopping:
                self._owner.on_child_leaving(self)
            case _:
                raise FrameError(f"it sent a {type(frame).__name__} frame when none was to come")

    def _take_in_results(self, seqs: list[int], bodies: list[Any], seconds: list[float]) -> None:
        if self._culprit is not None or not self._is_heard:
            count = sum(map(self._counts, seqs))
            if not count:
                return
            seqs, bodies, seconds = seqs[:count], bodies[:count], seconds[:count]
        seconds = self.link.done(seqs, seconds)
        self._ungranted = 0
        try:
            self._owner.on_child_done(self, seqs, bodies, seconds)
        except FrameError:
            # Nothing was done with any of them.
            self.link.take_back(seqs)
            if len(seqs) == 1:
                self._culprit = seqs[0]
                raise
            for seq, body, took in zip(seqs, bodies, seconds, strict=True):
                self._take_in_results([seq], [body], [took])

    def _take_in_part(self, seq: int, body: bytes) -> None:
        if not self._counts(seq):
            return
        self.link.part(seq)
        self._ungranted += 1
        try:
            self._owner.on_child_part(self, seq, body)
        except FrameError:
            self._culprit = seq
            raise

    def _take_in_failure(self, seq: int, body: bytes, seconds: float) -> None:
        if not self._counts(seq):
            return
        returned = self.link.failed(seq, seconds)
        self._ungranted = 0
        self._drop_batch()  # all in it is behind, and back
        try:
            self._owner.on_child_failed(self, seq, body, returned)
        except FrameError:
            self.link.take_back([seq], returned)
            self._culprit = seq
            raise

    def _take_in_parked(self, hold: int, seq: int | None) -> None:
        if not (self._is_heard if seq is None else self._counts(seq)):
            return
        returned = self.link.parked(seq)
        self._parked = hold
        self._drop_batch()  # all in it is behind, and back
        if returned:
            self._owner.on_child_returned(self, returned)

    def _counts(self, seq: int) -> bool:
        """Whether a report of `seq` is heard: none is from that of the culprit on, which comes in order."""
        self._is_heard = self._is_heard and seq != self._culprit
        return self._is_heard

    # -- Its life

    def _on_spawned(self) -> None:
        self._is_spawned = True
        birth = self._birth
        self._streams = {birth.stdout_fd: ("stdout", LineBuffer()), birth.stderr_fd: ("stderr", self._errors)}
        for fd in self._streams:
            self._poller.watch(fd, selectors.EVENT_READ, _reader_of(self, fd))
        self._poller.watch(birth.death_fd, selectors.EVENT_READ, self._on_death)
        if self._reason is not None:
            end_tree(birth.pid)
            return
        # Not before: what a worker says must not come ahead of `Spawned`.
        boot, self._boot = self._boot, bytearray()
        self._send_bytes(boot)
        if self.is_stopping:
            self._send(self._stop)

    def read_stream(self, fd: int, times: int = 1) -> None:
        """Take in what it has printed on one of its streams."""
        name, lines = self._streams[fd]
        for _ in range(times):
            try:
                data = os.read(fd, _PIPE_BYTES)
            except BlockingIOError:
                return
            if not data:
                self._poller.unwatch(fd)
                return
            for line in lines.feed(data):
                self._owner.on_child_output(self, name, line)

    def _on_death(self, _events: int) -> None:
        birth = self._birth
        # First those who could go on writing. What the channel holds is there all the same, and counts:
        # commits that were sent before the death are commits.
        end_session(birth.pid)
        self._read(_LAST_READS, is_last=True)
        spawner.unguard(birth.pid)
        self.ended = ended = birth.reap()
        if ended is None:
            return  # not quite over; the descriptor stays ready
        for fd, (name, lines) in self._streams.items():
            self.read_stream(fd, _LAST_OUTPUT_READS)
            for line in lines.finish():
                self._owner.on_child_output(self, name, line)
        reason = self._reason or self._find_reason(ended)
        lost = self._lose(reason)
        self._close()
        self._owner.on_child_gone(self, reason, lost)

    def _find_reason(self, ended: Ended) -> Reason:
        if self.is_stopping and ended.exit_code == 0:
            return CLOSED
        if ended.exit_code == CHANNEL_BROKEN:
            # It has said why on its last line.
            return ProtocolError(": ".join(["it has lost its channel", *self._errors.last[-1:]]), self._birth.pid)
        oom_kills = count_oom_kills() - self._birth.oom_kills
        return describe_death(ended, self._birth.pid, self._errors.last, oom_kills=oom_kills)

    def _lose(self, reason: Reason) -> Lost:
        if self._culprit is not None:
            return self.link.lose_for(self._culprit)
        if isinstance(reason, ProtocolError):
            return self.link.lose_for_breach(self.page())
        return self.link.lose(self.page())

    def _close(self) -> None:
        birth = self._birth
        self._is_channel_open = False
        for fd in (birth.channel.fileno(), birth.death_fd, birth.stdout_fd, birth.stderr_fd):
            if fd != -1:
                self._poller.unwatch(fd)
        self._streams = {}
        self.want = None
        if self.party is not None:
            self.party.leave()
        birth.close()


def _reader_of(child: Child, fd: int) -> Callable[[int], None]:
    return lambda _events: child.read_stream(fd)


def make_boot(
    number: int, name: str, service: bytes, boot: bytes, memory_limit: int | None = None, launch: Launch = BY_DEFAULT
) -> Boot:
    """Give what a worker is to become, with this program's name and log levels."""
    argv0 = str(sys.argv[0] if sys.argv else "").encode("utf-8", "surrogatepass")
    return Boot(
        number,
        name,
        argv0,
        root_level(),
        own_levels(),
        service,
        boot,
        memory_limit,
        launch.preload,
        launch.cpus_of(number),
        launch.niceness,
    )
