"""Every message of a job, in exactly one place (R1, R2, R7).

Theory of operation. A job has one lock, shared by this ledger and the mailboxes of all its
routines: whoever holds it sees no message between two places. Each method below is one step
from one consistent picture to the next; nothing is encoded, decoded or run while the lock is
held, and readers that were rung are woken after it was let go. A message that was taken is *in
hand* under a delivery number until it is committed, put back, set aside for a retry, dead or
skipped; a commit that names a number which is not in hand comes too late and is refused, which
is how everything that was given up is fenced off.

A ledger stands on four others: `holdings` are the places and the books, `dispositions` what becomes
of messages that were not handled, `merging` how one turn handles several, `committing` what turns leave behind. What
goes in and out, and who takes what, is here.

Pure but for the lock it is given: no thread, no clock (times are handed in), no file.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from msgspec.structs import replace

from routilux.accounts import Account, Output, Tap, Watch
from routilux.blocks import Block, join, messages_of
from routilux.committing import Committing
from routilux.ids import key_of_child, key_of_text, key_of_turn
from routilux.messages import Message, Once, Payload
from supervisors.errors import InternalError
from supervisors.mailbox import Mailbox


class Admission(Enum):
    """What became of a message from outside."""

    ADMITTED = "admitted"
    FULL = "full"
    CLOSED = "closed"


class Ledger(Committing):
    """The places of all messages of one job: what goes in, through and out of them.

    Its arguments are those of `Holdings`.
    """

    __slots__ = ()

    # -- What goes in

    def admit(
        self, edge: int, payload: Payload, name: str | None = None, at: float = 0.0, partition: str = ""
    ) -> Admission:
        """Append a message from outside, if its receiver has room for it.

        Args:
            edge: the connection by which it comes in.
            payload: its data.
            name: what it is known by outside, from which its id follows; None: its id is its own alone.
            at: clock reading.
            partition: its key, see `Message`.
        """
        rung: list[Mailbox] = []
        way = self._ways[edge]
        with self.outside:
            if not self._entry_open or self._is_ending:
                return Admission.CLOSED
            if way.receiver.is_pressing or (not self._gate_open and self.hold):
                return Admission.FULL
            base = key_of_turn(self._outside_key, way.sent) if name is None else key_of_text(f"{self.job_id}:{name}")
            self._append(way, payload, key_of_child(base, way.key), at, rung, partition)
            self._last_at[edge] = at
            if self._first_at[edge] is None:
                self._first_at[edge] = at
        if rung and way.account is not None and way.account.hand_out_here():
            rung.clear()
        if rung or self._overflow:
            self._wake(rung)
        return Admission.ADMITTED

    def close_entry(self) -> None:
        """Take no more messages from outside; the job ends when the last one is handled."""
        rung: list[Mailbox] = []
        with self.outside:
            self._entry_open = False
            self._open_lanes(rung)
            quiet = self._has_become_quiet()
        self._wake(rung)
        if quiet:
            self._notify_quiet()

    def begin(self) -> None:
        """Let messages be taken, in a ledger that waits for that; nothing happens if the gate is held, or was."""
        with self.lock:
            if self._hold or self._is_ending:
                return
            self._gate_open = True
            self._let_in_place_go()
        self._ring_receivers()

    def hold_gate(self) -> int:
        """Let nothing be taken and nothing come in until `open_gate`: what is in hand may come to its end.

        Messages from outside wait meanwhile, and so do those who read results: what is there stays there.

        Returns:
            The number of this hold, by which those who come to rest name it.
        """
        with self.lock:
            self._gate_open = False
            self._hold += 1
            self._stop_in_place()
        self._ring_receivers()
        return self._hold

    def open_gate(self) -> None:
        """Let messages be taken again after `hold_gate`; nothing happens if the job is ending."""
        with self.lock:
            self._gate_open = not self._is_ending
            if not self._is_stopping_in_place:
                self._let_in_place_go()
        self._ring_receivers()
        self.ring_outside()

    def stop_in_place(self) -> None:
        """Let routines whose state is read in place stop at their next boundary; each tells when it is there."""
        with self.lock:
            self._is_stopping_in_place = True
            self._stop_in_place()
        self._ring_receivers()  # one that waits for room goes on to its boundary without

    def let_in_place_go(self) -> None:
        """Let them go on, unless the gate is held."""
        with self.lock:
            self._is_stopping_in_place = False
            if not self._gate_open:
                return
            self._let_in_place_go()
        self._ring_receivers()

    def close_gate(self) -> None:
        """Let no routine take another message, ever, and wake those that wait for room."""
        with self.lock:
            self._gate_open = False
            self._is_ending = True
        self._ring_receivers()
        self.ring_outside()

    def ring_outside(self) -> None:
        """Let everyone who waits from outside look again: readers of results and taps, senders."""
        with self.outside:
            rung = [*self.results_bell.ring_held(), *self.room_bell.ring_held()]
            for account in self.accounts:
                for taps in account.taps.values():
                    rung += [tap.mailbox for tap in taps if tap.mailbox.ring_held()]
        self._wake(rung)

    @property
    def is_open(self) -> bool:
        """Whether routines may take messages."""
        return self._gate_open

    @property
    def hold(self) -> int:
        """The number of the hold that is in force; 0 while the gate is open, or closed for good."""
        return 0 if self._gate_open or self._is_ending else self._hold

    @property
    def is_ending(self) -> bool:
        """Whether the gate is closed for good."""
        return self._is_ending

    # -- A message's way through a routine

    def take(self, account: Account, limit: int = 1) -> list[tuple[int, Message]]:
        """Take the routine's next messages in hand.

        Args:
            account: the routine's.
            limit: how many at most.

        Returns:
            Pairs of (delivery number, message), oldest first; none when none waits, the gate is
            closed, or a receiver downstream is above its bound.
        """
        waiting = account.mailbox.data
        if not waiting or waiting[0].__class__ is Block:
            return []
        if account.joins:
            return self._take_joined(account, limit)
        rung: list[Mailbox] = []
        try_acquire, release = self._try_acquire, self._release
        if not try_acquire():
            self.lock.wait()
        try:
            if not self._gate_open or account.is_stopping or account.is_pressed:
                return []
            account.peak_waiting = max(account.peak_waiting, len(waiting) + account.mailbox.surplus)
            taken: list[tuple[int, Message]] = []
            while waiting and len(taken) < limit and waiting[0].__class__ is not Block:
                self._delivery += 1
                taken.append((self._delivery, waiting.popleft()))
            account.in_hand.update(taken)
            for watch in account.watches:
                watch.show_taken_held([message for _, message in taken], rung)
            if account.is_pressing:
                self._relieve(account, rung)
        finally:
            release()
        if rung:
            self._wake(rung)
        return taken

    def take_blocks(self, account: Account, limit: int) -> list[tuple[int, Block]]:
        """As `take`, where blocks are next.

        Returns:
            Pairs of (delivery number of the first message, block), oldest first.
        """
        waiting, mailbox = account.mailbox.data, account.mailbox
        if not waiting or waiting[0].__class__ is not Block:
            return []
        rung: list[Mailbox] = []
        blocks: list[Block] = []
        taken: list[tuple[int, Block]] = []
        with self.lock:
            if not self._gate_open or account.is_stopping or account.is_pressed:
                return []
            account.peak_waiting = max(account.peak_waiting, len(mailbox))
            while limit and waiting and waiting[0].__class__ is Block:
                if blocks and len(waiting[0]) > limit:
                    break  # what came together is not cut up without need
                block: Block = waiting.popleft()
                mailbox.surplus -= len(block) - 1
                if len(block) > limit:
                    rest = block.between(block.start + limit, block.stop)
                    block = block.between(block.start, rest.start)
                    waiting.appendleft(rest)
                    mailbox.surplus += len(rest) - 1
                blocks.append(block)
                limit -= len(block)
            for block in blocks if len(blocks) == 1 else join(blocks):
                taken.append((self._delivery + 1, block))
                account.blocks.append((self._delivery + 1 - block.start, block))
                self._delivery += len(block)
            for watch in account.watches:
                watch.show_taken_held(messages_of(blocks), rung)
            if account.is_pressing:
                self._relieve(account, rung)
        if rung:
            self._wake(rung)
        return taken

    def take_forward(self, account: Account, ticket: int) -> list[tuple[int, Message]]:
        """Take in hand what was set aside, ahead of all that is in hand: for turns that commit in their order.

        Args:
            account: the routine's.
            ticket: of what was set aside.

        Returns:
            As `take`; none either if there is no such ticket any more.
        """
        rung: list[Mailbox] = []
        with self.lock:
            if not self._gate_open or account.is_stopping or account.is_pressed or ticket not in account.in_retry:
                return []
            wait = account.in_retry.pop(ticket)
            taken = list(enumerate(wait.messages, self._delivery + 1))
            self._delivery += len(taken)
            for watch in account.watches:
                watch.show_taken_held(wait.messages, rung)
            behind = account.in_hand.copy()
            account.in_hand.clear()
            account.in_hand.update(taken)
            account.in_hand.update(behind)
        if rung:
            self._wake(rung)
        return taken

    def has_room(self, account: Account) -> bool:
        """Whether a turn of the routine that streams may release more (R3); while the gate is held it may not."""
        with self.lock:
            if account.is_stopping:
                return not account.is_at_boundary  # the way there has to be free
            return self._gate_open and not account.is_pressed

    def record_once(self, account: Account, delivery: int, once: Once) -> Message | None:
        """Keep with a message in hand what its handler did that is not to be done again.

        Returns:
            The message as it is now; None if it is no longer in hand.
        """
        with self.lock:
            message = account.in_hand.get(delivery)
            if message is None:
                return None
            if any(recorded.key == once.key for recorded in message.once):
                detail = f"once({once.key!r}) of message {message.id} was recorded twice"
                raise InternalError(detail)
            account.in_hand[delivery] = message = replace(message, once=(*message.once, once))
        return message

    # -- What comes out

    def take_output(self, output: Output) -> Message | None:
        """Take the oldest result of a declared output; None when none waits, or the gate is held."""
        rung: list[Mailbox] = []
        with self.outside:
            message = self._take_result(output, rung)
        if rung:
            self._wake(rung)
        return message

    def collect_output(self, output: Output) -> Message | None:
        """As `take_output`, for a result that is to be part of the job's final state."""
        rung: list[Mailbox] = []
        with self.outside:
            message = self._take_result(output, rung)
            if message is not None and output.keeps_collected:
                output.collected.append(message)
        self._wake(rung)
        return message

    def add_tap(self, routine: int, event: int, tap: Tap) -> None:
        """Copy what the event emits to `tap`, from now on."""
        with self.outside:
            self.accounts[routine].taps.setdefault(event, []).append(tap)

    def remove_tap(self, routine: int, event: int, tap: Tap) -> None:
        """Stop copying to `tap`."""
        with self.outside:
            self._remove_tap(self.accounts[routine], event, tap)

    def add_watch(self, routine: int, watch: Watch) -> Callable[[], None]:
        """Copy all that passes the routine to `watch`, from now on; gives what ends that."""
        account = self.accounts[routine]
        taps = [(event, watch.event(event)) for event in range(len(account.plan.events))]
        with self.outside:
            account.watches += (watch,)
            for event, tap in taps:
                account.taps.setdefault(event, []).append(tap)

        def remove() -> None:
            with self.outside:
                account.watches = tuple(other for other in account.watches if other is not watch)
                for event, tap in taps:
                    self._remove_tap(account, event, tap)

        return remove

    # -- Private

    def _ring_receivers(self) -> None:
        with self.lock:
            rung = [receiver.mailbox for receiver in self._receivers if receiver.mailbox.ring_held()]
        self._wake(rung)

    # -- Private; the lock is held

    def _remove_tap(self, account: Account, event: int, tap: Tap) -> None:
        taps = account.taps.get(event, [])
        if tap in taps:
            taps.remove(tap)
        if not taps:
            account.taps.pop(event, None)  # what nobody taps goes the short way again

    def _stop_in_place(self) -> None:
        for account in self.accounts:
            account.is_stopping = account.is_in_place

    def _let_in_place_go(self) -> None:
        for account in self.accounts:
            account.is_stopping = account.is_at_boundary = False

    def _take_result(self, output: Output, rung: list[Mailbox]) -> Message | None:
        if not output.mailbox.data or not (self._gate_open or self._is_ending):
            return None
        message: Message = output.mailbox.take_held()
        self._handled[message.edge] += 1
        if output.is_pressing:
            self._relieve(output, rung)
        return message
