"""Behaviours for the tests of process-backed actors. They run in processes, so this module imports little."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from supervisors.behavior import Answer, Behavior, Context
from supervisors.messages import Terminate
from supervisors.reasons import Normal, Reason, Shutdown

FAR = 600.0
"""Seconds of a wait that nobody lets pass."""


class Resident(Behavior):
    """Handles messages `(verb, *arguments)`, and writes down what happens to it.

    Args:
        diary: a file, one line an event; None to keep no diary.
        start: the verb that is carried out in its `on_start`.
        end: the verb that is carried out in its `on_stop`.
    """

    def __init__(self, diary: Path | None = None, start: tuple[Any, ...] = (), end: tuple[Any, ...] = ()) -> None:
        self.diary = diary
        self.start = start
        self.end = end
        self.got: list[Any] = []
        self._owed: list[Answer | None] = []

    def on_start(self, ctx: Context) -> None:
        self.write("start")
        if self.start:
            self.on_message(self.start, ctx)

    def on_message(self, message: object, ctx: Context) -> None:
        match message:
            case (str(verb), *arguments):
                getattr(self, verb)(ctx, *arguments)
            case _:
                self.got.append(message)
                self.write(f"got {message!r}")

    def on_stop(self, reason: Reason, ctx: Context) -> None:
        self.write(f"stop {reason}")
        if self.end:
            self.on_message(self.end, ctx)
            self.write("stopped")

    def get_state(self) -> Any:
        return {"got": list(self.got), "pid": os.getpid()}

    def write(self, line: str) -> None:
        if self.diary is not None:
            with self.diary.open("a") as file:
                file.write(line + "\n")

    # -- verbs

    def give(self, ctx: Context, value: Any) -> None:
        ctx.reply(value)

    def give_made(self, ctx: Context, make: Callable[[], Any]) -> None:
        ctx.reply(make())

    def count(self, ctx: Context, number: int) -> None:
        self.got.append(number)
        ctx.reply(len(self.got))

    def recall(self, ctx: Context) -> None:
        ctx.reply(list(self.got))

    def fail(self, _ctx: Context, text: str = "no") -> None:
        raise ValueError(text)

    def fail_oddly(self, _ctx: Context) -> None:
        raise Odd("one", "two")

    def leave(self, _ctx: Context, code: int) -> None:
        sys.exit(code)

    def sink(self, _ctx: Context, code: int) -> None:
        os._exit(code)

    def kill(self, _ctx: Context, number: int = signal.SIGKILL) -> None:
        os.kill(os.getpid(), number)
        threading.Event().wait(FAR)

    def crash(self, _ctx: Context) -> None:
        ctypes.string_at(0)

    def stop(self, ctx: Context, text: str = "") -> None:
        ctx.stop(Shutdown(text) if text else Normal())

    def wait(self, _ctx: Context, fifo: str) -> None:
        """Wait until somebody opens a named pipe for writing, and closes it."""
        self.write("waits")
        Path(fifo).read_bytes()

    def rest(self, _ctx: Context, seconds: float) -> None:
        """Take a while."""
        threading.Event().wait(seconds)

    def answer_early(self, ctx: Context, fifo: str) -> None:
        ctx.reply("early")
        self.wait(ctx, fifo)

    def owe(self, ctx: Context) -> None:
        self._owed.append(ctx.defer())

    def settle(self, _ctx: Context, value: Any) -> None:
        for answer in self._owed:
            if answer is not None:
                answer.set_reply(value)
        self._owed.clear()

    def alarm(self, ctx: Context, delay: float, message: Any) -> None:
        ctx.set_timer(delay, message)

    def alarms(self, ctx: Context) -> None:
        """Set three timers, and take the second back at once and the third by a message."""
        ctx.set_timer(0.0, "first")
        ctx.set_timer(0.0, "second").cancel()
        third = ctx.set_timer(FAR, "third")
        ctx.ref.tell(("call", third.cancel))
        ctx.ref.tell(("give", None))

    def call(self, _ctx: Context, function: Callable[[], Any]) -> None:
        function()

    def mutter(self, ctx: Context, count: int) -> None:
        """Send itself numbers as data, then what settles what it owes, and a word ahead of them all."""
        for number in range(count):
            ctx.ref.tell(number)
        ctx.ref.tell(("settle", "done"))
        ctx.ref.signal("word")

    def settle_and_mutter(self, ctx: Context, value: Any) -> None:
        self.settle(ctx, value)
        ctx.ref.tell("after")

    def loop(self, ctx: Context) -> None:
        """Send itself a message without end."""
        ctx.ref.tell(("loop",))

    def note(self, ctx: Context, *values: Any) -> None:
        ctx.note("resident.noted", {"count": len(values)}, {"values": list(values), "odd": object})

    def acknowledge(self, ctx: Context, info: Any) -> None:
        ctx.acknowledge(info)

    def identify(self, ctx: Context) -> None:
        ctx.reply((os.getpid(), ctx.ref.name, ctx.ref.path, ctx.random.random()))

    def clock(self, ctx: Context) -> None:
        ctx.reply(ctx.now())

    def use(self, ctx: Context, name: str, *arguments: Any) -> None:
        getattr(ctx, name)(*arguments)

    def use_parker(self, ctx: Context) -> None:
        ctx.parker.park(0.0)

    def mail_oneself(self, ctx: Context) -> None:
        ctx.reply(ctx.ref)

    def tell_from_thread(self, ctx: Context) -> None:
        found: list[BaseException] = []

        def act() -> None:
            try:
                ctx.ref.tell("never")
            except BaseException as error:  # noqa: BLE001
                found.append(error)

        thread = threading.Thread(target=act)
        thread.start()
        thread.join()
        raise found[0]


class Patient(Resident):
    """Is asked to end by a message, and ends when a timer of its own is due."""

    handles_terminate = True

    def on_message(self, message: object, ctx: Context) -> None:
        if isinstance(message, Terminate):
            self.got.append("asked")
            ctx.set_timer(0.0, ("stop", "patiently"))
            return
        super().on_message(message, ctx)


class Late(Resident):
    """Says itself when it is ready."""

    acknowledges = True


class Clumsy(Resident):
    """Hands over something that does not travel."""

    acknowledges = True

    def on_start(self, ctx: Context) -> None:
        ctx.acknowledge(threading.Lock())


class Polling(Resident):
    uses_poller = True


class Trapping(Resident):
    traps_exits = True


class Stepping(Resident):
    def step(self, ctx: Context) -> bool:
        return False


class Secretive(Resident):
    """Keeps a state that does not travel."""

    def get_state(self) -> Any:
        return {"lock": threading.Lock()}


class Silent(Resident):
    """Raises when it is asked for its state."""

    def get_state(self) -> Any:
        raise LookupError("nothing to tell")


class Odd(Exception):
    """Cannot be made again out of its arguments."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first + second)


class Traveller:
    """Becomes, where it is read, the name of the thread that reads it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _thread_name, ()


def _thread_name() -> str:
    return threading.current_thread().name


class Unreadable:
    """Travels, and cannot be read where it arrives."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _refuse, (os.getpid(),)


def _refuse(pid: int) -> Unreadable:
    if os.getpid() != pid:
        raise LookupError("not here")
    return Unreadable()
