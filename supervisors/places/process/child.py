"""One incarnation of a worker, seen from its parent: channel, output, page, death.

Owns the channel of one worker and what has to happen before its end is told: what
had arrived is taken in, its process tree is ended, it is reaped, everything is closed. Lives on
its actor's thread: all callbacks come from that thread's `Poller`. Never starts another child.
"""

from __future__ import annotations

import math
import os
import selectors
import sys
from collections.abc import Callable, Sized
from typing import Any, Protocol

from supervisors.errors import FrameError, StartError
from supervisors.parking import Poller
from supervisors.places.base import CLOSED, BatchResults, Lost, Used
from supervisors.places.process.birth import Birth
from supervisors.places.process.inbound import CHANNEL_BROKEN
from supervisors.places.process.launch import BY_DEFAULT, Launch
from supervisors.places.process.link import Link
from supervisors.places.process.logs import log_as_own, own_levels, root_level
from supervisors.places.process.outgoing import Outgoing
from supervisors.places.process.output import LineBuffer
from supervisors.places.process.page import NOTHING, PageView
from supervisors.places.process.reap import Ended
from supervisors.places.process.segment_pool import Party
from supervisors.reasons import Killed, ProtocolError, Reason, StartFailed, record_error
from supervisors.wire.frames import (
    Boot,
    BootFailed,
    Bye,
    Done,
    DoneBatch,
    Failed,
    FromWorker,
    Go,
    Gone,
    Grant,
    Hold,
    Kept,
    Log,
    ParentReader,
    Parked,
    Part,
    Ready,
    Spawned,
    Stop,
    ToWorker,
    Want,
)

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


class Owner(Protocol):
    """Who is told what a child reports."""

    def on_child_ready(self, child: Child) -> None:
        """It takes requests."""

    def on_child_part(self, child: Child, seq: int, body: bytes) -> None:
        """The request it is on handed over a part."""

    def on_child_done(self, child: Child, seqs: list[int], bodies: list[Any], seconds: list[float]) -> None:
        """Requests were run, in this order, each in so many seconds; a batch of them counts as one (`Listener`)."""

    def on_child_failed(self, child: Child, seq: int, body: bytes, returned: tuple[int, ...]) -> None:
        """A request raised."""

    def on_child_log(self, child: Child, frame: Log) -> None:
        """It has logged something, which the program has been told."""

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
        birth: what it is started by, with the same incarnation and bound of frames.
        doubted: how many requests it gets one at a time at first.
        result_type: what its results are read as.
        results_type: what those of a batch are read as; None: it is given none.
        party: what it has of its owner's shared memory; None where that shares none.
    """

    def __init__(  # noqa: PLR0913  what a process is born with, spelled out once
        self,
        owner: Owner,
        number: int,
        incarnation: int,
        poller: Poller,
        max_frame_bytes: int,
        birth: Birth,
        *,
        doubted: int = 0,
        result_type: Any = bytes,
        results_type: Any = None,
        party: Party | None = None,
    ) -> None:
        self.number = number
        self.party = party
        self.incarnation = incarnation
        self.link = Link(doubted)
        self.is_ready = False
        self.is_stopping = False
        self._has_finished = False
        self._stop = Stop(CLOSED)
        self.end_at: float | None = None
        """Clock reading at which it is ended with `end_reason`, unless it ends before."""
        self.end_reason: Reason = CLOSED
        self.ended: Ended | None = None
        """How its process ended, once it was reaped."""
        self._owner = owner
        self._poller = poller
        self._birth = birth
        self._reader = ParentReader(incarnation, max_frame_bytes, result_type, results_type)
        self._max_frame_bytes = max_frame_bytes
        self._label = ""
        self._boot = bytearray()
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
        present = birth.present if party is None else party.present
        self._outgoing = Outgoing(
            birth.channel, incarnation, max_frame_bytes, self.link, party, present, self._watch_channel
        )
        self.submit = self._outgoing.submit
        """Adds requests to those that `flush` sends. Raises `RequestTooLongError` if one is longer than a frame may be;
        those before it alone were added."""
        self.flush = self._outgoing.flush
        """Sends what was submitted."""
        self.flush_later = self._outgoing.flush_later
        """Makes it ready, to be sent by another thread than the actor's; see there."""
        self.write = self._outgoing.write
        """Writes what waits to be written."""
        poller.watch(birth.channel.fileno(), selectors.EVENT_READ, self._on_channel)

    @property
    def pid(self) -> int | None:
        """Its process id; None until it was started."""
        return self._birth.pid if self._is_spawned else None

    @property
    def node(self) -> str:
        """The machine that it is on, as that is called in its cluster; empty for this one, and until it was started."""
        return self._birth.node if self._is_spawned else ""

    @property
    def used(self) -> Used | None:
        """What it has told that it uses; None on this machine, and before it did."""
        return self._birth.read_used() if self._is_spawned else None

    @property
    def room(self) -> int:
        """How many more requests it takes now."""
        if not self.is_ready or self.is_stopping or self._reason is not None or self._outgoing.is_full:
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
        self._birth.begin()

    def submit_batch(self, first: int, batch: Sized) -> None:
        """Add a batch, whose requests are numbered from `first`, to what `flush` sends."""
        self._outgoing.submit_batch(first, len(batch), batch)

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
        else:
            self._birth.give_up()

    def kill(self, reason: Reason) -> None:
        """End it and all it has started, now; its end is told when it has come."""
        if self._reason is None:
            self._reason = reason
        if self._is_spawned:
            self._birth.end()
        else:
            self._birth.give_up()

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
        self._birth.terminate()

    def kill_silent(self, reason: Reason) -> None:
        """End it as `kill` does, unless there is word from it that was not taken in so far."""
        held = len(self.link), self._ungranted, self._parked
        self._read(_READS)
        if self._reason is None and held == (len(self.link), self._ungranted, self._parked):
            self.kill(reason)

    def ask_stack(self) -> None:
        """Ask for its Python stacks, which come some milliseconds later, if they do."""
        self._birth.ask_stack()

    def read_stack(self) -> str:
        """Give the stacks that it was asked for; empty if none have come."""
        return self._birth.read_stack()

    def page(self) -> PageView:
        """What it is on."""
        return self._birth.read_page() if self._is_spawned else NOTHING

    def count_resident(self) -> int:
        """The bytes that it and all it has started hold resident; 0 where that is not known."""
        return self._birth.count_resident() if self._is_spawned else 0

    def abort(self) -> None:
        """End it and give everything back before returning, telling nobody; waits for its end."""
        is_begun = self._is_spawned or not self._is_channel_open
        self._stop_watching()  # while its descriptors are open
        self._birth.abort(is_begun=is_begun)
        self._close()

    # -- Shared memory

    @property
    def want(self) -> Want | None:
        """The shared memory that it waits for."""
        return self._outgoing.want

    def send_orders(self) -> None:
        """Tell it what has changed about the segments that it has, or may have."""
        self._outgoing.send_orders()

    def tell_full(self) -> None:
        """Tell it that what it waits for will not come."""
        self._outgoing.tell_full()

    def _take_in_memory(self, party: Party, frame: Want | Kept | Gone) -> None:
        match frame:
            case Want(_, size, returned):
                if returned:
                    party.let_go(returned)
                self._outgoing.want = frame if size else None
                self._owner.on_child_wants(self)
            case Kept(ids):
                party.keep(ids)
            case Gone(ids):
                party.let_go(ids)

    # -- The channel

    def _send(self, frame: ToWorker) -> None:
        self._outgoing.send(frame)

    def _watch_channel(self, is_blocked: bool) -> None:  # noqa: FBT001
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if is_blocked else 0)
        self._poller.watch(self._birth.channel.fileno(), events, self._on_channel)

    def _on_channel(self, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._outgoing.write()
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

    def _close_channel(self) -> None:
        self._is_channel_open = False
        self._outgoing.close()

    def _stop_reading(self) -> None:
        self._close_channel()
        self._poller.unwatch(self._birth.channel.fileno())

    def _on_channel_end(self) -> None:
        self._stop_reading()
        if not self._is_spawned:
            reason = self._reason or self._find_unborn_reason()
            self._close()
            self._owner.on_child_gone(self, reason, self.link.lose(PageView(None, 0.0, 0)))
        elif self.end_at is None or self.end_at == math.inf:
            self._owner.on_child_silent(self)

    def _take_in(self, frame: FromWorker) -> None:
        match frame:
            case Done(seqs, bodies, seconds):
                self._take_in_results(seqs, bodies, seconds)
            case DoneBatch(first, results, took):
                self._take_in_batch(first, results, took)
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
                self._owner.on_child_log(self, frame)
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
                self._has_finished = True
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

    def _take_in_batch(self, first: int, results: BatchResults, took: float) -> None:
        if self._culprit is None and self._is_heard:
            took = self.link.done_together(first, len(results), took)
            self._ungranted = 0
            try:
                self._owner.on_child_done(self, [first], [results], [took])
            except FrameError:
                # Nothing was done with any of them: which of them it is for is found out one by one.
                self.link.take_back(range(first, first + len(results)))
            else:
                return
        for seq, result, seconds, _at in results.one_by_one(first):
            self._take_in_results([seq], [result], [seconds])

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
        self._outgoing.drop()  # all in it is behind, and back
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
        self._outgoing.drop()  # all in it is behind, and back
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
            birth.end()
            return
        # Not before: what a worker says must not come ahead of `Spawned`.
        boot, self._boot = self._boot, bytearray()
        self._outgoing.send_bytes(boot)
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
        birth.end_rest()
        self._read(_LAST_READS, is_last=True)
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

    def _find_unborn_reason(self) -> Reason:
        failure = self._birth.failure
        if failure is None and self.is_stopping:
            return CLOSED
        return StartFailed(failure or record_error(StartError("its channel closed before it was started")))

    def _find_reason(self, ended: Ended) -> Reason:
        if self.is_stopping and ended.exit_code == 0:
            return CLOSED
        if ended.exit_code == CHANNEL_BROKEN:
            # It has said why on its last line.
            return ProtocolError(": ".join(["it has lost its channel", *self._errors.last[-1:]]), self._birth.pid)
        return self._birth.describe_death(ended, self._errors.last)

    def _lose(self, reason: Reason) -> Lost:
        if self._culprit is not None:
            return self.link.lose_for(self._culprit)
        # Who says goodbye has told what it was cut short in: nothing is run after that.
        page = self._birth.read_page() if self._has_finished else self._birth.read_last_page()
        if page is None:
            return self.link.lose_unseen()
        if isinstance(reason, ProtocolError):
            return self.link.lose_for_breach(page)
        return self.link.lose(page)

    def _close(self) -> None:
        self._stop_watching()
        self._streams = {}
        self._outgoing.want = None
        if self.party is not None:
            self.party.leave()
        self._birth.close()

    def _stop_watching(self) -> None:
        birth = self._birth
        self._close_channel()
        for fd in (birth.channel.fileno(), birth.death_fd, birth.stdout_fd, birth.stderr_fd):
            if fd != -1:
                self._poller.unwatch(fd)


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
