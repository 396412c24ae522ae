"""The main program of a zygote: a bare process that becomes two whenever a worker is wanted.

Owns the imports that all its workers share, the forks, and the statuses of those that have ended. Never runs anything
of the program: a copy leaves this module's loop for `worker` at once.

Theory of operation. A fork copies one thread, and the locks of all others as they are: so this process, made by a fresh
interpreter, has one thread and sees to it that it stays so. It answers one question after another, in order
(`supervisors.wire.forking`), and looks at nothing else: a worker that has ended stays as it is until the program says
`Reap`, or its number might name another process while the program still ends what the worker has started.

What a worker has from the one that starts it is what the program has at that moment: the zygote takes that over before
each fork, if it has changed (`surroundings`). So it costs no worker any time or memory.

It ends with its program, and its workers with it, by the kernel's doing (`PR_SET_PDEATHSIG`); also when the program
closes the channel.
"""

from __future__ import annotations

import errno
import gc
import os
import random
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from typing import NoReturn

from supervisors.errors import PreloadError
from supervisors.loading import loading
from supervisors.places.process import worker
from supervisors.places.process.holes import fill_holes
from supervisors.places.process.packets import receive_packet, send_packet
from supervisors.places.process.page import read_told
from supervisors.places.process.preloading import preload
from supervisors.places.process.reap import reap
from supervisors.places.process.rehearsal import rehearse
from supervisors.places.process.stack import answer_stack_requests
from supervisors.places.process.surroundings import (
    Surroundings,
    enter_surroundings,
    forget_folders,
    ignore_children,
)
from supervisors.reasons import record_error
from supervisors.renewals import renewals
from supervisors.wire.forking import (
    STANDARD_FDS,
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
    decode_request,
    encode_packet,
)
from supervisors.wire.frames import prepare_reader


def main(channel_fd: int, told_fd: int, program_pid: int) -> NoReturn:
    """Be a zygote until the program ends. Called by `zygote_program`."""
    worker.end_with_parent(program_pid)
    worker.set_up()
    os.close(told_fd)
    os.set_inheritable(channel_fd, False)
    # For all its workers: the page's file of each comes to be at this number. It is the lowest one, and so within
    # whatever limit a worker has.
    stack_fd = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(stack_fd, number)
    answer_stack_requests(stack_fd)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # or the system would throw the statuses away
    prepare_reader(bytes)
    gc.disable()
    renewals.are_due = False  # it has one thread, and what the workers would make anew was never used
    Server(socket.socket(fileno=channel_fd)).serve().run(stack_fd)


class Server:
    """Answers the program.

    Args:
        channel: a blocking socket that keeps the bounds of packets.
    """

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._told = b""
        self._entered: Surroundings | None = None
        """What it has taken over last."""

    def serve(self) -> Newborn:
        """Answer until the program ends. Comes back in a forked worker alone, with what it is to become."""
        while True:
            request, fds = self._receive()
            match request:
                case Preload(modules):
                    self._warm(modules)
                case Fork():
                    newborn = self._fork(request, fds)
                    if newborn is not None:
                        return newborn
                case Reap(pid):
                    self._send(_reap(pid))
                case Discard(pid):
                    self._send(_discard(pid))

    def _receive(self) -> tuple[ToZygote, list[int]]:
        data, fds = receive_packet(self._channel)
        if not data:
            os._exit(0)  # the program has ended, or needs no workers from here any more: none is left
        return decode_request(data), fds

    def _send(self, packet: FromZygote, *fds: int) -> None:
        send_packet(self._channel, encode_packet(packet), fds)

    def _warm(self, modules: list[str]) -> None:
        for module in modules:
            self._send(Importing(module))
            try:
                with loading.going_on():
                    _import(module)
            except PreloadError as error:
                self._send(NotWarm(record_error(error)))
                os._exit(1)
        rehearse()
        forget_folders()  # for good: nothing is imported in here any more
        os.chdir("/")  # what it stands in could not be removed
        # What is there now stays shared by all: no collection writes to it, and nothing new comes between.
        gc.collect()
        fill_holes()
        gc.freeze()
        self._send(Warm())

    def _fork(self, request: Fork, fds: list[int]) -> Newborn | None:
        """Fork; gives what to become in the worker, None in the zygote."""
        own_pid = os.getpid()
        try:
            _check_complete(fds, request)
            entered = self._enter(read_told(fds[1]))
            pid = os.fork()  # noqa: TID251  this is the process that was made for it
            if pid == 0:
                self._channel.close()
                return Newborn(request, fds, own_pid, entered)
            self._tell_forked(pid)
        except (OSError, MemoryError) as error:
            self._send(Refused(record_error(error)))
        finally:
            if os.getpid() == own_pid:
                for fd in fds:
                    os.close(fd)
        return None

    def _enter(self, told: bytes) -> Surroundings:
        if self._entered is None or told != self._told:
            self._told, self._entered = told, enter_surroundings(told)
        return self._entered

    def _tell_forked(self, pid: int) -> None:
        try:
            death_fd = os.pidfd_open(pid)
            try:
                self._send(Forked(pid), death_fd)
            finally:
                os.close(death_fd)
        except OSError:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise


class Newborn:
    """A worker that has just been forked.

    Args:
        request: what was asked for.
        fds: what came with it.
        zygote_pid: its parent.
        entered: the surroundings that it has.
    """

    def __init__(self, request: Fork, fds: list[int], zygote_pid: int, entered: Surroundings) -> None:
        self._request = request
        self._fds = fds
        self._zygote_pid = zygote_pid
        self._entered = entered

    def run(self, stack_fd: int) -> NoReturn:
        """Have what a process started by the program itself would have, and be a worker.

        Args:
            stack_fd: the descriptor that stacks are written to when they are asked for.
        """
        request = self._request
        channel_fd, page_fd, stdout, stderr, folder, *_inherited = self._fds
        worker.end_with_parent(self._zygote_pid)
        os.setsid()
        gc.enable()
        renewals.are_due = True
        for fd, number in ((stdout, 1), (stderr, 2)):
            os.dup2(fd, number)
            os.close(fd)
        os.dup2(page_fd, stack_fd, inheritable=False)
        os.close(page_fd)
        ignore_children(self._entered)
        os.fchdir(folder)
        os.close(folder)
        _reseed()
        worker.run(channel_fd, stack_fd, request.incarnation, request.max_frame_bytes)


def _check_complete(fds: Sequence[int], request: Fork) -> None:
    if len(fds) < len(STANDARD_FDS) + request.inherited:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))  # the system has dropped some


def _import(module: str) -> None:
    preload(module)
    if threading.active_count() > 1:
        names = ", ".join(sorted(thread.name for thread in threading.enumerate()[1:]))
        raise PreloadError(module, f"it starts threads ({names}), which a copy of the process has not")


def _reap(pid: int) -> Reaped | Running:
    ended = reap(pid, 0)  # a copy counts what it has by itself
    return Running() if ended is None else Reaped(*ended)


def _discard(pid: int) -> Reaped | Running:
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return _reap(pid)


def _reseed() -> None:
    """Let each worker draw other numbers."""
    random.seed()
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:  # it was preloaded
        numpy_random.seed()
