"""References to Pykka actors that somebody else started, and that run on Pykka's own loop.

Owns the watching of such actors: nothing can be done to them but what any Pykka user can. Never
starts one, never stops one but by Pykka's own `stop`.

Theory of operation. Pykka has no monitors, but sets each actor's `actor_stopped`: one thread an
actor, started when it is first watched, waits for that and ends with it. Why the actor ended is
known by two of its methods, which are wrapped on the instance, reached by the ref's weak
reference, when it is first referred to: `_handle_failure`, called with what ended it, and
`_stop`, called with an exception in hand if that was a `SystemExit` or the like. (`on_failure`
would come too late, after the flag, and not at all when `on_start` raised.) Both run on the actor's
thread before the flag is set, so whoever sees the flag knows the reason; and they tell what to
wait for until the actor's last hook has returned too.

What cannot be known: why an actor ended that was dead, or just ending, when it was first referred
to, which counts as `Normal`; and that a `SystemExit` in `on_start` killed its thread, since for
Pykka that actor is alive.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pykka

from supervisors.behavior import Ref
from supervisors.errors import InternalError, StartError
from supervisors.inbox import Inbox
from supervisors.messages import Exit, GetState, Kill, Linked, Resume, Suspend, Terminate, Unlinked
from supervisors.reasons import ErrorRecord, Killed, Normal, Raised, Reason, is_clean, record_error
from supervisors.ref import LifeRef

_KEY = "_supervisors_end"
"""The attribute under which an actor's own `pykka.ActorRef` keeps what is known of its end."""


class ForeignRef:
    """The address of an actor that runs on Pykka's own loop (`Ref`). Any thread may use it.

    Args:
        actor_ref: the actor as Pykka knows it.
    """

    __slots__ = ("_end", "_is_subscribed", "_lock", "_reason", "_watchers", "_watches", "actor_ref", "name")

    def __init__(self, actor_ref: pykka.ActorRef[Any]) -> None:
        self.actor_ref = actor_ref
        """The actor as Pykka knows it."""
        self.name = str(actor_ref)
        """Its class and its URN."""
        self._end = _end_of(actor_ref)
        # Guards what follows; held before the lock of the end, never after it.
        self._lock = threading.Lock()
        self._reason: Reason | None = None
        self._is_subscribed = False
        self._watchers: dict[int, Callable[[Reason], object]] = {}
        self._watches = 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    @property
    def path(self) -> str:
        """Its class and its URN: it is below nobody."""
        return self.name

    @property
    def reason(self) -> Reason | None:
        """Why it ended: `Normal`, or `Raised` when it failed; `Killed` once it is fenced off; None while it lives."""
        if self._reason is None:
            reason = self._end.reason
            if reason is not None:
                self._settle(reason)
        return self._reason

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self.reason is None

    def tell(self, message: object) -> bool:
        """Tell it `message`; False if it takes no more messages."""
        if self._reason is not None:
            return False
        try:
            self.actor_ref.tell(message)
        except pykka.ActorDeadError:
            return False
        return True

    def signal(self, message: object) -> bool:
        """Do what `message` says, as far as Pykka can; tells whether.

        `Terminate`, and an `Exit` that is no clean one, stop it after what it was told before;
        `Kill` fences it off. It cannot be suspended, and has no second lane: a message that is
        none of the hosts' own is told to it in order.
        """
        if self._reason is not None or not self.actor_ref.is_alive():
            return False
        match message:
            case Terminate():
                _ = self.actor_ref.stop(block=False)
            case Exit(_, reason, link):
                if link.is_tied and not is_clean(reason):
                    _ = self.actor_ref.stop(block=False)
            case Linked() | Unlinked():
                pass  # its end is told by `watch`
            case Kill():
                self.kill()
            case Suspend() | Resume() | GetState():
                return False
            case _:
                return self.tell(message)
        return True

    def watch(self, notify: Callable[[Reason], object]) -> Callable[[], bool]:
        """Call `notify` exactly once with the reason of its end, at once if it has ended.

        The call comes when its last hook has returned, on a thread of its watchers' own (for
        `kill`, on the caller's); it must be short and raise nothing.

        Returns:
            What takes the watch back: True if `notify` was not called and never will be.

        Raises:
            StartError: the system gave no thread to wait with.
        """
        with self._lock:
            reason = self._reason
            if reason is None and not self._is_subscribed:
                # Whoever it calls at the end waits for the lock that is held.
                self._reason = reason = self._end.subscribe(self._tell)
                self._is_subscribed = True
            if reason is None:
                self._watches = key = self._watches + 1
                self._watchers[key] = notify
        if reason is not None:
            notify(reason)
            return _never

        def unwatch() -> bool:
            with self._lock:
                return self._watchers.pop(key, None) is not None

        return unwatch

    def kill(self) -> None:
        """Fence it off: those who watch by this ref are told `Killed`, and it reaches the actor no more.

        The actor itself goes on, since a thread cannot be ended from outside. Nothing happens
        when it has ended.
        """
        if self.reason is None:
            self._tell(self._settle(Killed()))

    def _settle(self, reason: Reason) -> Reason:
        """Let `reason` be why it ended, unless that is known; gives what it is."""
        with self._lock:
            if self._reason is None:
                self._reason = reason
            return self._reason

    def _tell(self, reason: Reason) -> None:
        settled = self._settle(reason)
        with self._lock:
            watchers = list(self._watchers.values())
            self._watchers.clear()
        self._end.unsubscribe(self._tell)
        for notify in watchers:
            notify(settled)


def as_ref(value: object) -> Ref | None:
    """Give the address of the actor that `value` refers to.

    Args:
        value: a `LifeRef` or a `ForeignRef`, which is given back; or a `pykka.ActorRef`, of an
            actor of ours or of any other.

    Returns:
        The one address of an actor of ours; a new `ForeignRef` for another; None if `value`
        refers to no actor.
    """
    if isinstance(value, LifeRef | ForeignRef):
        return value
    if not isinstance(value, pykka.ActorRef):
        return None
    inbox = value.actor_inbox
    return inbox.life.ref if isinstance(inbox, Inbox) else ForeignRef(value)


class _ForeignEnd:
    """The end of one foreign actor, as all its refs share it. Never holds the actor.

    Args:
        actor_ref: the actor.
        is_gone: whether its object is no more.
    """

    def __init__(self, actor_ref: pykka.ActorRef[Any], *, is_gone: bool) -> None:
        self._name = str(actor_ref)
        self._stopped = actor_ref.actor_stopped
        self._is_gone = is_gone
        # Written by the actor's thread before it sets `_stopped`, read by others after.
        self._failure: ErrorRecord | None = None
        self._failed_on: threading.Thread | None = None
        self._last_hook: threading.Event | None = None
        # Guards the waiting thread's start, and whom it tells.
        self._lock = threading.Lock()
        self._is_waiting = False
        self._subscribers: list[Callable[[Reason], object]] = []

    @property
    def reason(self) -> Reason | None:
        """Why the actor ended; None until its last hook has returned."""
        if self._is_gone and not self._stopped.is_set():
            return Killed()  # something ended its thread, unknown to Pykka
        if not self._is_over():
            return None
        return Normal() if self._failure is None else Raised(self._failure)

    def subscribe(self, tell: Callable[[Reason], object]) -> Reason | None:
        """Have `tell` called at the end, on the one thread that waits for it; gives the reason if that was before.

        Raises:
            StartError: the system gave no thread.
        """
        with self._lock:
            reason = self.reason
            if reason is None:
                self._start_waiting()
                self._subscribers.append(tell)
            return reason

    def unsubscribe(self, tell: Callable[[Reason], object]) -> None:
        """Do not call `tell`; nothing happens if it was called."""
        with self._lock:
            if tell in self._subscribers:
                self._subscribers.remove(tell)

    def note_failure(self, error: BaseException | None) -> None:
        """Note what ends the actor; on its own thread, which calls `on_failure` yet, and then ends."""
        # A second failure is one of its last hooks, and ends nothing.
        if error is not None and not self._stopped.is_set():
            self._failure = record_error(error)
            self._failed_on = threading.current_thread()

    def note_stop(self, error: BaseException | None) -> threading.Event:
        """Note that the actor's last hook follows; gives what is to be set after it."""
        if self._last_hook is None:
            if error is not None and not self._stopped.is_set():
                self._failure = record_error(error)
            self._last_hook = threading.Event()
        return self._last_hook

    def _is_over(self) -> bool:
        if not self._stopped.is_set():
            return False
        if self._last_hook is not None:
            return self._last_hook.is_set()
        return self._failed_on is None or not self._failed_on.is_alive()

    def _start_waiting(self) -> None:
        if self._is_waiting:
            return
        try:
            threading.Thread(target=self._wait, name=f"watch of {self._name}", daemon=True).start()
        except RuntimeError as error:
            raise StartError(f"actor {self._name} cannot be watched: {error}") from error
        self._is_waiting = True

    def _wait(self) -> None:
        self._stopped.wait()
        if self._last_hook is not None:
            # Not for the thread: after a SystemExit it goes on to stop every actor of the program,
            # and some of them may wait to be told of this end.
            self._last_hook.wait()
        elif self._failed_on is not None:
            self._failed_on.join()
        with self._lock:
            subscribers, self._subscribers = self._subscribers, []
        reason = self.reason
        for tell in subscribers:
            # None: the actor had set the flag itself, and then did what Pykka calls a failure.
            tell(reason or Normal())


def _end_of(actor_ref: pykka.ActorRef[Any]) -> _ForeignEnd:
    actor = actor_ref._actor_weakref()  # noqa: SLF001  there is no other way to the instance
    # Kept by the ref, which outlives the actor: whoever asks later is told the same.
    kept = vars(actor_ref if actor is None else actor.actor_ref)
    end: _ForeignEnd | None = kept.get(_KEY)
    if end is None:
        made = _ForeignEnd(actor_ref, is_gone=actor is None)
        end = kept.setdefault(_KEY, made)  # another thread may have been first
        if end is made and actor is not None:
            _wrap(actor, end)
    return end


def _wrap(actor: pykka.Actor, end: _ForeignEnd) -> None:
    cls = type(actor)
    # The instance must not hold itself: Pykka's actors are freed as soon as nobody refers to them.
    find = weakref.ref(actor)

    def stop() -> None:
        error = sys.exc_info()[1]
        last_hook = end.note_stop(None if isinstance(error, Exception) else error)
        try:
            cls._stop(_found(find))
        finally:
            last_hook.set()

    def handle_failure(kind: Any, error: BaseException | None, trace: Any) -> None:
        end.note_failure(error)
        cls._handle_failure(_found(find), kind, error, trace)

    vars(actor).update(_stop=stop, _handle_failure=handle_failure)


def _found(find: weakref.ref[pykka.Actor]) -> pykka.Actor:
    actor = find()
    if actor is None:
        raise InternalError("an actor that runs is gone")
    return actor


def _never() -> bool:
    """Say that the watch cannot be taken back any more."""
    return False
