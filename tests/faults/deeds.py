"""What the faulty routine of the fault suite does: errors, values and deaths of every kind.

Owns the deeds alone; which words they are told in, and where they make sense, stands in `table`. A deed is called
without arguments: in the handler after its `emit`, or to make the value that is emitted or received.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import mmap
import os
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from supervisors.wire.values import MAX_VALUE_BYTES

FOREVER = threading.Event()
"""Never set: what waits for it waits until it is ended."""
MEMORY_LIMIT = 128 * 2**20
LONG_TEXT = 8 * 2**20
CHAIN = 500

# -- Errors


class Unpicklable(Exception):
    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)
        self.lock = threading.Lock()
        self.second = second


class OneWay(Exception):
    """Pickles, and is refused by its own constructor when it comes back."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


class MuteForGood(Exception):
    def __str__(self) -> str:
        raise SystemExit("no words")

    __repr__ = __str__


class Nameless(Exception):
    def __str__(self) -> str:
        return 7  # type: ignore[return-value]  # noqa: PLE0307  that is what is wrong with it


class Secretive(Exception):
    @property
    def __notes__(self) -> NoReturn:
        raise RuntimeError("no notes")


class LeavesOnPickling(Exception):
    def __reduce__(self) -> NoReturn:
        sys.exit(4)


class DiesOnPickling(Exception):
    def __reduce__(self) -> NoReturn:
        os._exit(5)


class Own(BaseException):
    pass


def raise_plainly() -> None:
    raise ValueError("the message is bad")


def raise_unpicklable() -> None:
    raise Unpicklable("cannot", "travel")


def raise_one_way() -> None:
    raise OneWay("no way", "back")


def raise_mute() -> None:
    raise Mute


def raise_mute_for_good() -> None:
    raise MuteForGood


def raise_nameless() -> None:
    raise Nameless


def raise_secretive() -> None:
    raise Secretive("in words")


def raise_that_leaves_on_pickling() -> None:
    raise LeavesOnPickling("on its way")


def raise_that_dies_on_pickling() -> None:
    raise DiesOnPickling("on its way")


def raise_long() -> None:
    raise ValueError("long " + "x" * LONG_TEXT)


def raise_long_notes() -> None:
    error = ValueError("noted")
    for _ in range(1_000):
        error.add_note("y" * 10_000)
    raise error


def raise_with_terminal_codes() -> None:
    raise ValueError("a title \x1b]0;owned\x07 and a line\nbreak")


def raise_lone_surrogate() -> None:
    raise OSError(2, "no such file", "name-\udcff")


def raise_chain() -> None:
    error = ValueError("the first of many")
    for n in range(CHAIN):
        follower = ValueError(f"number {n}")
        follower.__cause__ = error
        error = follower
    raise error


def raise_cyclic_context() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__context__, second.__context__ = second, first
    raise first


def raise_cyclic_cause() -> None:
    error = ValueError("of itself")
    error.__cause__ = error
    raise error


def raise_group() -> None:
    inner = ExceptionGroup("inner", [KeyError("a"), ValueError("b")])
    raise ExceptionGroup("outer", [inner, OSError("c")])


def raise_deep_group() -> None:
    error: Exception = ValueError("the core")
    for _ in range(CHAIN):
        error = ExceptionGroup("a shell", [error])
    raise error


def exit_softly() -> None:
    sys.exit(3)


def exit_with_words() -> None:
    sys.exit("farewell")


def interrupt() -> None:
    raise KeyboardInterrupt


def end_generator() -> None:
    raise GeneratorExit


def stop_iterating() -> None:
    raise StopIteration(1)


def be_cancelled() -> None:
    raise asyncio.CancelledError


def raise_own() -> None:
    raise Own("not an Exception")


def recurse() -> None:
    recurse()


def want_memory() -> None:
    bytearray(2**62)


def fail_to_assert() -> None:
    raise AssertionError


# -- Values


class Explosive:
    """A value that travels, and does something when it is unpickled."""

    def __init__(self, deed: Callable[[], object]) -> None:
        self.deed = deed

    def __reduce__(self) -> tuple[Any, ...]:
        return self.deed, ()


class Reluctant:
    """A value that does something when it is pickled."""

    def __init__(self, deed: Callable[[], object]) -> None:
        self.deed = deed

    def __reduce__(self) -> Any:
        self.deed()


def make_unpicklable() -> Any:
    return {"items": [1, threading.Lock()]}


def make_raising_on_pickling() -> Any:
    return {"items": [1, Reluctant(raise_plainly)]}


def make_leaving_on_pickling() -> Any:
    return Reluctant(exit_softly)


def make_dying_on_pickling() -> Any:
    return Reluctant(exit_hard_with_code)


def make_raising_on_arrival() -> Any:
    return [Explosive(raise_plainly)]


def make_leaving_on_arrival() -> Any:
    return [Explosive(exit_softly)]


def make_dying_on_arrival() -> Any:
    return [Explosive(exit_hard_with_code)]


def make_too_large() -> Any:
    return bytes(MAX_VALUE_BYTES)


def make_gigabyte() -> Any:
    return bytes(2**30)


def make_deep() -> Any:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


# -- Deaths


def exit_hard() -> None:
    os._exit(0)


def exit_hard_with_code() -> None:
    os._exit(7)


def be_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Signal:
    """Sends its own process a signal, with the default disposition restored where Python has changed it."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __call__(self) -> None:
        if self.number not in {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(self.number, signal.SIG_DFL)
        os.kill(os.getpid(), self.number)
        FOREVER.wait(10)


def segfault() -> None:
    ctypes.string_at(0)


def abort() -> None:
    os.abort()


def die_in_a_large_frame() -> bytes:
    """Be killed while the frame of what is emitted next is on its way."""
    threading.Thread(target=_die_when_writing, daemon=True).start()
    return bytes(64 * 2**20)


def _die_when_writing() -> None:
    channel = own_channel()
    written = bytearray(4)
    while not struct.unpack("i", written)[0]:
        fcntl.ioctl(channel, termios.TIOCOUTQ, written)
    be_killed()


def shut_channel() -> None:
    with socket.socket(fileno=os.dup(own_channel())) as channel:
        channel.shutdown(socket.SHUT_RDWR)
    FOREVER.wait(10)


def close_channel() -> None:
    os.close(own_channel())


def write_garbage() -> None:
    with contextlib.suppress(OSError):
        os.write(own_channel(), b"\xff" * 64)
    FOREVER.wait(10)


def end_main_thread_with_fork() -> None:
    """Die, leaving a copy behind that holds all that the worker had open."""
    if os.fork() == 0:  # noqa: TID251  what users' code may do is what is tested
        FOREVER.wait(600)
        os._exit(0)
    be_killed()


def own_channel() -> int:
    """The descriptor that leads to the parent: the worker's only socket."""
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if str(link.readlink()).startswith("socket:"):
                return int(link.name)
    raise LookupError("this process has no channel")


# -- Memory


def hold_memory() -> None:
    """Hold more than the limit where no limit of the process itself counts it."""
    held = mmap.mmap(-1, MEMORY_LIMIT + 2**26)
    for at in range(0, len(held), mmap.PAGESIZE):
        held[at] = 1
    FOREVER.wait(60)


def take_memory() -> None:
    bytes(2 * MEMORY_LIMIT)


# -- Hangs


def hang() -> None:
    FOREVER.wait(60)


def dawdle() -> None:
    """Come back long after the time is over, on a thread that was left behind."""
    FOREVER.wait(1.0)


def spin() -> None:
    """Hold the interpreter's lock in C, where no signal handler of Python's is run."""
    sum(range(10**12))


def ignore_signals_and_hang() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    hang()


def stand_still() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


# -- What does no harm


def fork_and_return() -> None:
    """Come back out of the handler twice."""
    os.fork()  # noqa: TID251  as above


def leave_a_copy() -> None:
    if os.fork() == 0:  # noqa: TID251  as above
        FOREVER.wait(600)
        os._exit(0)


def leave_a_program() -> None:
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], stdin=subprocess.DEVNULL)


def leave_a_thread() -> None:
    threading.Thread(target=FOREVER.wait, args=(600,), daemon=False).start()


def flood() -> None:
    sys.stdout.write(("z" * 99 + "\n") * 20_000)


def flood_without_lines() -> None:
    sys.stdout.write("z" * 2_000_000)


def close_output() -> None:
    os.close(1)
    os.close(2)


def forget_output() -> None:
    sys.stdout = sys.stderr = None  # type: ignore[assignment]


def ignore_the_polite_signals() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)


def change_the_surroundings() -> None:
    os.chdir("/")
    os.environ.clear()
    os.umask(0o777)
    sys.path.clear()
    socket.setdefaulttimeout(0.001)
