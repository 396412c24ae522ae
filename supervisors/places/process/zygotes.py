"""Zygotes seen from the program: starting one, having it fork, learning how a worker ended.

Owns the processes, the channel to each, and which of them stay warm. What one does is in `zygote`; what is said, in
`supervisors.wire.forking`.

Theory of operation. A zygote hands on what a process cannot change later: its interpreter with the flags and variables
that it started by, its user, its imports. So there is one for each of these that is asked for; what else a program may
have changed meanwhile goes with each fork (`surroundings`). The spawner's thread alone starts zygotes and has them
fork. Any thread reaps, so the exchange of question and answer is under a lock, held for as long as one fork takes at
most. A zygote that ends, or does not answer, is lost, and its workers with it: the kernel ends them, and how they
ended is not known. Nor are their numbers kept for them then: they are free once the system has reaped them, and only
the hundreds of thousands of others that come first keep another process from being taken for one of them in the
milliseconds until its end is looked after. The next worker gets a new zygote.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import struct
import subprocess
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from supervisors.errors import FrameError, PreloadError, StartError
from supervisors.places.process.interpreter import command_of, interpreter, told_search_path
from supervisors.places.process.packets import receive_packet, send_packet
from supervisors.places.process.page import create_page_file
from supervisors.places.process.reap import Ended
from supervisors.reasons import ErrorRecord, signal_name
from supervisors.wire.forking import (
    Discard,
    Fork,
    Forked,
    FromZygote,
    Importing,
    NotWarm,
    Preload,
    Reap,
    Reaped,
    Refused,
    Running,
    ToZygote,
    Warm,
    decode_reply,
    encode_packet,
)

IDLE_LIMIT = 4
"""Zygotes without a worker that stay warm (arbitrary: each takes some 25 MB, most of it shared files)."""
_WARM_SECONDS = 60.0
"""What a zygote gets to import one module (arbitrary: the largest take a third of that from a slow disk)."""
_ANSWER_SECONDS = 30.0
"""What a zygote gets to answer (arbitrary: as a worker gets to start)."""
_UNKNOWN = Ended(None, None, None)
_READ_BY_INTERPRETERS = (b"PYTHON", b"LC_", b"LANG")
"""Beginnings of the names of variables that an interpreter reads as it starts."""


class ZygoteLostError(StartError):
    """A zygote has ended, or does not answer."""


class RefusedError(StartError):
    """A zygote had no worker to give.

    Args:
        record: what it met.
    """

    def __init__(self, record: ErrorRecord) -> None:
        self.record = record
        super().__init__(str(record))


class Zygote:
    """One zygote.

    Args:
        modules: what it imports; to be had by `warm`.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, modules: Sequence[str]) -> None:
        # Guards the channel: one question and its answer at a time.
        self._lock = threading.Lock()
        self._modules = list(modules)
        self._importing = ""
        self._workers: set[int] = set()
        """Those that were not reaped; each change is one step of the interpreter."""
        self.is_lost = False
        self._channel, far_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        limit = struct.pack("@ll", int(_ANSWER_SECONDS), 0)
        self._channel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        try:
            with far_end:
                self.pid, self._last_words = _start(far_end.fileno())
        except BaseException:
            self._channel.close()
            raise

    @property
    def is_idle(self) -> bool:
        """Whether none of its workers is left."""
        return not self._workers

    def warm(self) -> None:
        """Have it import its modules, and wait for that.

        Raises:
            StartError: it could not; a `PreloadError` if one of them ended it. The zygote is lost.
        """
        with self._lock:
            try:
                self._send(Preload(self._modules), ())
                self._wait_warm()
            except (OSError, FrameError) as error:
                how = self._describe_end(error)
                if self._importing:
                    raise PreloadError(self._importing, f"the process that imported it {how}") from error
                raise StartError(f"a zygote {how} before it was warm: {_read_last_line(self._last_words)}") from error
            except StartError:
                self._lose()
                raise
            finally:
                os.close(self._last_words)

    def fork(self, request: Fork, fds: Sequence[int]) -> tuple[int, int]:
        """Have a worker; gives its process id, and a descriptor that tells of its death and is the caller's.

        Raises:
            ZygoteLostError: the zygote is lost; nothing is left of what it has forked.
            StartError: the system gave no process, or the zygote no descriptors.
            OSError: a descriptor is not one, or none is left here; nothing is left of a worker.
        """
        answer, got = self._ask(request, fds)
        match answer:
            case Forked(pid):
                self._workers.add(pid)
            case Refused(error):
                raise RefusedError(error)
            case _:
                raise self._breach(answer)
        if not got:
            self.discard(pid)
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return pid, got[0]

    def reap(self, pid: int) -> Ended | None:
        """Take the status of a worker that has ended; None while it still runs. Of a lost zygote none is known."""
        return self._take_status(Reap(pid))

    def discard(self, pid: int) -> None:
        """Kill a worker, wait for its end, and take its status."""
        self._take_status(Discard(pid))

    def close(self) -> None:
        """End it, and what workers it has; waits for its end, which comes at once."""
        with contextlib.suppress(OSError):
            self._channel.shutdown(socket.SHUT_RDWR)  # whoever waits for an answer waits no longer
        with self._lock:
            self._lose()

    def disown(self) -> None:
        """Let go of it in a forked copy of the program: it is the original's."""
        self._channel.close()

    def _wait_warm(self) -> None:
        while True:
            told, _ = self._receive(_WARM_SECONDS)
            match told:
                case Importing(module):
                    self._importing = module
                case Warm():
                    return
                case NotWarm(error):
                    raise RefusedError(error)
                case _:
                    raise FrameError(f"a {type(told).__name__} packet before it was warm")

    def _take_status(self, request: Reap | Discard) -> Ended | None:
        try:
            answer, _ = self._ask(request, ())
            match answer:
                case Running():
                    return None
                case Reaped():
                    ended = Ended(answer.signal, answer.exit_code, answer.peak_bytes, answer.cpu_seconds)
                case _:
                    raise self._breach(answer)
        except ZygoteLostError:
            ended = _UNKNOWN
        except OSError:
            return None  # no memory to ask with: it will be asked again
        self._workers.discard(request.pid)
        return ended

    def _ask(self, request: ToZygote, fds: Sequence[int]) -> tuple[FromZygote, list[int]]:
        with self._lock:
            if self.is_lost:
                raise ZygoteLostError("its zygote has ended")
            try:
                self._send(request, fds)
            except (ConnectionError, BlockingIOError) as error:
                raise self._lost(error) from error
            try:
                return self._receive(_ANSWER_SECONDS)
            except (OSError, FrameError) as error:
                raise self._lost(error) from error
            except BaseException:  # Ctrl-C: the answer would be taken for that to the next question
                self._lose()
                raise

    def _send(self, packet: ToZygote, fds: Sequence[int]) -> None:
        send_packet(self._channel, encode_packet(packet), fds)

    def _receive(self, seconds: float) -> tuple[FromZygote, list[int]]:
        # The kernel's own timeout: Python's waits by a call that fails where the program may have no descriptors.
        whole, part = divmod(seconds, 1.0)
        limit = struct.pack("@ll", int(whole), int(part * 1e6))
        self._channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        try:
            data, fds = receive_packet(self._channel)
        except BlockingIOError:
            raise TimeoutError(f"it did not answer within {seconds:g} s") from None
        if not data:
            raise ConnectionResetError("it closed its channel")
        return decode_reply(data), fds

    def _breach(self, answer: FromZygote) -> ZygoteLostError:
        with self._lock:
            return self._lost(FrameError(f"a {type(answer).__name__} packet when none was to come"))

    def _lost(self, error: Exception) -> ZygoteLostError:
        return ZygoteLostError(f"its zygote {self._describe_end(error)}")

    def _describe_end(self, error: Exception) -> str:
        """End it, and tell how it ended, or what it did that it had to."""
        code = self._lose()
        if code is None or not isinstance(error, ConnectionError):
            return f"failed: {error}"
        return f"was ended by {signal_name(-code)}" if code < 0 else f"exited with code {code}"

    def _lose(self) -> int | None:
        """End it; gives its exit code (a signal is negative), or None where somebody else took that. Under the lock."""
        if self.is_lost:
            return None
        self.is_lost = True
        self._channel.close()
        with contextlib.suppress(ChildProcessError):
            os.kill(self.pid, signal.SIGKILL)  # no harm to one that has ended: it is not reaped
            return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return None


class Kind(NamedTuple):
    """What a process that was forked has from its zygote for good, but for the modules."""

    command: tuple[str, ...]
    variables: tuple[tuple[bytes, bytes], ...]
    user: tuple[int, ...]
    groups: tuple[int, ...]


def read_kind() -> Kind:
    """Give the kind that a zygote has which this process starts now."""
    names = sorted(name for name in os.environb if name.startswith(_READ_BY_INTERPRETERS))
    variables = tuple((name, os.environb.get(name, b"")) for name in names)
    groups = (*os.getresgid(), *os.getgroups())
    return Kind(tuple(interpreter()), variables, os.getresuid(), groups)


_Key = tuple[Kind, tuple[str, ...]]
"""Of a zygote: its kind and its modules."""


class Zygotes:
    """The zygotes of this program, by what their workers begin with. One thread alone calls `fork` and `warm`."""

    def __init__(self) -> None:
        self._zygotes: OrderedDict[_Key, Zygote] = OrderedDict()
        """Those used last at the end."""

    def fork(self, kind: Kind, modules: Sequence[str], request: Fork, fds: Sequence[int]) -> tuple[Zygote, int, int]:
        """Have a worker of a zygote of that kind that has imported `modules`, which is started if there is none.

        One that turns out to be lost is replaced, once: the worker that it may have forked has heard nothing.

        Returns:
            The zygote, which knows how the worker ends; its process id; a descriptor that tells of its death.

        Raises:
            StartError: a module could not be imported, or there was no process to be had.
            OSError: no descriptor is left, or one that was given is none.
        """
        zygote = self._get(kind, modules)
        try:
            return zygote, *zygote.fork(request, fds)
        except ZygoteLostError:
            zygote = self._get(kind, modules)
            return zygote, *zygote.fork(request, fds)

    def warm(self, kind: Kind, modules: Sequence[str]) -> None:
        """Have a zygote of that kind that has imported `modules`; as `fork`, and raises as that."""
        self._get(kind, modules)

    def close(self) -> None:
        """End all; any thread may call it."""
        while self._zygotes:
            with contextlib.suppress(KeyError):
                self._zygotes.popitem()[1].close()

    def disown(self) -> None:
        """Let go of all in a forked copy of the program."""
        for zygote in self._zygotes.values():
            zygote.disown()

    def _get(self, kind: Kind, modules: Sequence[str]) -> Zygote:
        key = (kind, tuple(modules))
        if not self._is_there(key):
            # Anew: the program may have changed since it was read, by a module that another zygote was to import.
            key = (read_kind(), tuple(modules))
        if not self._is_there(key):
            self._make_room()
            zygote = self._zygotes[key] = Zygote(modules)
            zygote.warm()
        self._zygotes.move_to_end(key)
        return self._zygotes[key]

    def _is_there(self, key: _Key) -> bool:
        zygote = self._zygotes.get(key)
        return zygote is not None and not zygote.is_lost

    def _make_room(self) -> None:
        for key, zygote in tuple(self._zygotes.items()):
            if zygote.is_lost:
                del self._zygotes[key]
        idle = [key for key, zygote in self._zygotes.items() if zygote.is_idle]
        for key in idle[: max(0, len(idle) - IDLE_LIMIT + 1)]:
            self._zygotes.pop(key).close()


def _start(channel_fd: int) -> tuple[int, int]:
    """Start one; gives its process id, and where it writes what keeps it from becoming a zygote."""
    with contextlib.ExitStack() as stack:
        told_fd = create_page_file(told_search_path())
        stack.callback(os.close, told_fd)
        last_words, writer = os.pipe()
        stack.callback(os.close, writer)
        try:
            process = subprocess.Popen(  # noqa: S603  our own interpreter with our own words
                command_of("zygote_program", channel_fd, told_fd, os.getpid()),
                stdin=subprocess.DEVNULL,
                stdout=writer,  # a pipe, as its workers have: Python's streams are made for what they find
                stderr=writer,
                pass_fds=(channel_fd, told_fd),
                close_fds=True,
                start_new_session=True,
            )
        except BaseException:
            os.close(last_words)
            raise
    process.returncode = 0  # it is waited for when it is lost; the object would otherwise do so too
    os.set_blocking(last_words, False)
    return process.pid, last_words


def _read_last_line(fd: int) -> str:
    with contextlib.suppress(BlockingIOError):
        lines = os.read(fd, 65_536).decode("utf-8", "backslashreplace").split("\n")
        return next((line for line in reversed(lines) if line), "it said nothing")
    return "it said nothing"
