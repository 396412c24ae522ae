"""How worker processes are started: by one thread that outlives them all.

Owns the descriptors a worker is born with, and the spawner thread with what it keeps: zygotes and the guardian. Never
talks to a worker, never ends one that was started well.

Theory of operation. A process that asks the kernel to be killed when its parent ends is killed when the *thread* that
started it ends. So every process is started by one thread, which is started when it is first needed and lives as long
as the program; an actor's thread may come and go. That thread is also why a start does not keep an actor waiting.

What a worker gets of the program's own (`Moment`) is read once for all whose start was asked for before: a job starts
its workers together, and reading it takes longer than anything else about a start that is done here.

A worker is forked by a zygote (`zygotes`), which is the parent that it ends with, or run by a fresh interpreter. There
is no `fork` here: the program has threads, and locks that they hold.

How it went comes on the channel itself, where the actor looks anyway: a `Spawned` frame, written
into the worker's side before the worker is told anything; or the end of the channel, and then
`ProcessBirth.failure` says why.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import queue
import signal
import socket
import subprocess
import threading
from collections.abc import Sequence
from functools import cached_property

from supervisors.errors import StartError
from supervisors.places.process.guardian import Guardian
from supervisors.places.process.interpreter import command_of, told_search_path
from supervisors.places.process.launch import Launch
from supervisors.places.process.page import NOTHING, Page, PageView, create_page_file
from supervisors.places.process.reap import (
    Ended,
    TreeMemory,
    count_oom_kills,
    describe_death,
    end_session,
    end_tree,
    own_peak_bytes,
    reap,
    watch_death,
)
from supervisors.places.process.segments import Segment
from supervisors.places.process.stack import StackReader
from supervisors.places.process.surroundings import open_folder, read_surroundings
from supervisors.places.process.zygotes import Kind, RefusedError, Zygote, Zygotes, read_kind
from supervisors.reasons import ErrorRecord, Reason, record_error
from supervisors.renewals import renewals
from supervisors.wire.forking import Fork
from supervisors.wire.frames import Spawned, encode_frame
from supervisors.wire.outside import Holder

_CLOSE_SECONDS = 5.0
"""What the thread gets to finish a start when the program ends (arbitrary)."""


class Moment:
    """What the program has while some workers are started, each part read when the first of them needs it."""

    @cached_property
    def surroundings(self) -> bytes:
        """What a forked worker takes over from it."""
        return read_surroundings()

    @cached_property
    def kind(self) -> Kind:
        """Which zygotes can fork them."""
        return read_kind()

    @cached_property
    def oom_kills(self) -> int:
        """How many processes the system had ended before, as memory ran out."""
        return count_oom_kills()


class ProcessBirth:
    """A worker process being started, and what the parent then holds of it (`Birth`).

    The spawner fills it in; the maker may read `pid` and what follows it once the channel has said
    `Spawned`, and `failure` once the channel has ended without it. `close` gives everything back.

    Args:
        incarnation: carried by every frame of this worker.
        max_frame_bytes: the longest frame the worker takes.
        launch: how it is started.
        inherited: more descriptors that the worker gets; they stay the caller's.

    Raises:
        OSError: no descriptors are left for a channel.
    """

    def __init__(self, incarnation: int, max_frame_bytes: int, launch: Launch, inherited: tuple[int, ...] = ()) -> None:
        self.incarnation = incarnation
        self.max_frame_bytes = max_frame_bytes
        self._launch = launch
        self._inherited = inherited
        self.pid = 0
        self.node = ""
        self.death_fd = -1
        self.stdout_fd = -1
        self.stderr_fd = -1
        self.failure: ErrorRecord | None = None
        self._page: Page | None = None
        self._stack: StackReader | None = None
        self._memory: TreeMemory | None = None
        self._oom_kills = 0
        """How many processes the system had ended before as memory ran out."""
        self._own_peak_bytes = 0
        self._zygote: Zygote | None = None
        """Its parent; None: this program."""
        self.channel, self._far_end = socket.socketpair()
        self.channel.setblocking(False)

    def begin(self) -> None:
        """Have the spawner start it."""
        spawner.start(self)

    def perform(self, zygotes: Zygotes, guardian: Guardian, moment: Moment) -> None:
        """Start the process and report on the channel; the spawner's call. Never raises."""
        try:
            self._start(zygotes, moment)
            guardian.add(self.pid)
            self._far_end.send(encode_frame(Spawned(), self.incarnation))
        except RefusedError as error:
            self.failure = error.record
        except BaseException as error:  # noqa: BLE001 - it is told to the maker
            self._undo_start()
            self.failure = record_error(error)
        finally:
            self._far_end.close()

    def read_page(self) -> PageView:
        """Give what its page says."""
        page = self._page
        if page is None:
            return NOTHING
        try:
            return page.read()
        except ValueError:  # given back by now: asked on another thread, as whoever lists workers may
            return NOTHING

    def read_last_page(self) -> PageView:
        """Give what its page says, which outlives it."""
        return self.read_page()

    def ask_stack(self) -> None:
        """Ask for its Python stacks by a signal."""
        if self._stack is not None:
            self._stack.ask(self.pid)

    def read_stack(self) -> str:
        """Give the stacks that it has told."""
        return "" if self._stack is None else self._stack.read()

    def present(self, leases: Sequence[Holder]) -> Sequence[Segment]:
        """Give nothing: a process of a place that shares memory has a part in that, which gives it."""
        return ()

    def count_resident(self) -> int:
        """Give the bytes that it and all it has started hold resident."""
        if self._memory is None:
            self._memory = TreeMemory(self.pid)
        return self._memory.read()

    def read_used(self) -> None:
        """Give nothing: whoever wants to know looks at the process."""

    def terminate(self) -> None:
        """Send SIGTERM to the process alone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)

    def end(self) -> None:
        """Kill the process tree."""
        end_tree(self.pid)

    def give_up(self) -> None:
        """Do nothing: it is there in a moment, and ended then."""

    def end_rest(self) -> None:
        """Kill what is left in its session."""
        end_session(self.pid)

    def reap(self) -> Ended | None:
        """Take the status of the process, which frees its number; None while it still runs."""
        spawner.unguard(self.pid)
        if self._zygote is not None:
            return self._zygote.reap(self.pid)
        return reap(self.pid, self._own_peak_bytes)

    def describe_death(self, ended: Ended, last_output: tuple[str, ...]) -> Reason:
        """Tell how the process ended as a reason."""
        return describe_death(ended, self.pid, last_output, oom_kills=count_oom_kills() - self._oom_kills)

    def abort(self, *, is_begun: bool) -> None:
        """Kill the process tree, and reap the process."""
        if not is_begun:
            self.channel.setblocking(True)
            with contextlib.suppress(OSError):
                self.channel.recv(1)  # the spawner's word, or the end of the channel
        if self.pid:
            end_tree(self.pid)
            spawner.unguard(self.pid)
            self._wait_reaped()

    def close(self) -> None:
        """Close every descriptor the parent holds. The process must have been reaped."""
        self.channel.close()
        for fd in (self.death_fd, self.stdout_fd, self.stderr_fd):
            if fd != -1:
                os.close(fd)
        self.death_fd = self.stdout_fd = self.stderr_fd = -1
        if self._page is not None:
            self._page.close()
        if self._stack is not None:
            self._stack.close()
            self._stack = None

    def _start(self, zygotes: Zygotes, moment: Moment) -> None:
        is_forked = self._launch.is_forked
        self._oom_kills = moment.oom_kills
        with contextlib.ExitStack() as stack:
            page_fd = create_page_file(moment.surroundings if is_forked else told_search_path())
            self._stack = StackReader(page_fd)
            self._page = Page(page_fd)
            self._page.clear()
            self.stdout_fd, stdout = os.pipe()
            stack.callback(os.close, stdout)
            self.stderr_fd, stderr = os.pipe()
            stack.callback(os.close, stderr)
            os.set_blocking(self.stdout_fd, False)
            os.set_blocking(self.stderr_fd, False)
            if is_forked:
                self._fork(zygotes, moment.kind, page_fd, stdout, stderr)
            else:
                self._run_interpreter(page_fd, stdout, stderr)

    def _fork(self, zygotes: Zygotes, kind: Kind, page_fd: int, stdout: int, stderr: int) -> None:
        request = Fork(self.incarnation, self.max_frame_bytes, len(self._inherited))
        folder = open_folder()
        try:
            fds = (self._far_end.fileno(), page_fd, stdout, stderr, folder, *self._inherited)
            self._zygote, self.pid, self.death_fd = zygotes.fork(kind, self._launch.preload, request, fds)
        finally:
            os.close(folder)

    def _run_interpreter(self, page_fd: int, stdout: int, stderr: int) -> None:
        self._own_peak_bytes = own_peak_bytes()
        channel_fd = self._far_end.fileno()
        numbers = (self.incarnation, self.max_frame_bytes, os.getpid(), *self._inherited)
        process = subprocess.Popen(  # noqa: S603 - our own interpreter with our own words
            command_of("worker", channel_fd, page_fd, *numbers),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            pass_fds=(channel_fd, page_fd, *self._inherited),
            close_fds=True,
            start_new_session=True,
        )
        # `reap` waits for it, with the figures of wait4; the object would otherwise do so too.
        process.returncode = 0
        self.pid = process.pid
        self.death_fd = watch_death(self.pid)

    def _undo_start(self) -> None:
        if self.pid:
            end_tree(self.pid)
            self._wait_reaped()
            self.pid = 0

    def _wait_reaped(self) -> None:
        """Wait for the end of the process, which was killed, and reap it."""
        if self._zygote is not None:
            self._zygote.discard(self.pid)
            return
        with contextlib.suppress(ChildProcessError):  # somebody else reaped it
            os.waitpid(self.pid, 0)


class ProcessStarter:
    """Starts processes of this machine (`Starter`).

    Args:
        launch: how.
        inherited: descriptors that each keeps open; they stay the caller's.
    """

    def __init__(self, launch: Launch, inherited: tuple[int, ...] = ()) -> None:
        self._launch = launch
        self._inherited = inherited

    def begin(self) -> None:
        """Have the spawner there."""
        spawner.begin()

    def make_birth(self, number: int, incarnation: int, max_frame_bytes: int) -> ProcessBirth:
        """Give what the spawner starts a worker by."""
        return ProcessBirth(incarnation, max_frame_bytes, self._launch, self._inherited)

    def close(self) -> None:
        """Do nothing: the spawner is everybody's."""


class HeadStart:
    """A zygote that is to be warm before its first worker is asked for.

    Args:
        modules: what it imports.
    """

    def __init__(self, modules: Sequence[str]) -> None:
        self._modules = modules

    def perform(self, zygotes: Zygotes, guardian: Guardian, moment: Moment) -> None:
        """Start it; the spawner's call. What goes wrong is met again, and told, where a worker is started."""
        with contextlib.suppress(StartError, OSError):
            zygotes.warm(moment.kind, self._modules)


class Spawner:
    """The thread that starts workers, and what it needs for that. Any thread may call its methods."""

    def __init__(self) -> None:
        # Guards all below.
        self._lock = threading.Lock()
        self._births: queue.SimpleQueue[ProcessBirth | HeadStart | None] | None = None
        self._thread: threading.Thread | None = None
        self._guardian: Guardian | None = None
        self._zygotes = Zygotes()

    def begin(self) -> None:
        """Start the thread, and the guardian with it, unless they are there.

        Raises:
            RuntimeError: no thread can be started.
            OSError: no guardian can be started.
        """
        with self._lock:
            if self._thread is not None:
                return
            births: queue.SimpleQueue[ProcessBirth | HeadStart | None] = queue.SimpleQueue()
            guardian = Guardian()
            thread = threading.Thread(
                target=_serve, args=(births, self._zygotes, guardian), name="supervisors-spawner", daemon=True
            )
            try:
                thread.start()
            except RuntimeError:
                guardian.close()
                raise
            self._births, self._thread, self._guardian = births, thread, guardian

    def give_head_start(self, modules: Sequence[str]) -> None:
        """Have the first zygote begin to import these modules; does nothing once `begin` was called. Raises as that."""
        with self._lock:
            if self._thread is not None:
                return
        self.begin()
        self._put(HeadStart(modules))

    def start(self, birth: ProcessBirth) -> None:
        """Start a worker soon; `begin` was called before."""
        self._put(birth)

    def unguard(self, pid: int) -> None:
        """Note that nothing is left of a worker; to be called before it is reaped."""
        guardian = self._guardian
        if guardian is not None:
            guardian.remove(pid)

    def close(self) -> None:
        """End the thread, the zygotes and the guardian; whatever still runs of workers ends with them."""
        with self._lock:
            thread, births, guardian = self._thread, self._births, self._guardian
            self._thread = self._births = self._guardian = None
        if thread is None or births is None or guardian is None:
            return
        births.put(None)
        self._zygotes.close()
        thread.join(_CLOSE_SECONDS)
        guardian.close()

    def _put(self, work: ProcessBirth | HeadStart) -> None:
        with self._lock:
            if self._births is None:
                raise RuntimeError("the spawner was not begun")
            self._births.put(work)

    def forget(self) -> None:
        """Start anew in a forked copy of the program, which has none of its threads."""
        if self._guardian is not None:
            self._guardian.disown()
        self._zygotes.disown()
        self.__init__()  # type: ignore[misc]  # the lock too: it may have been held


def _serve(births: queue.SimpleQueue[ProcessBirth | HeadStart | None], zygotes: Zygotes, guardian: Guardian) -> None:
    moment, waiting = Moment(), 0
    while (birth := births.get()) is not None:
        if waiting == 0:
            # Nothing of it is read before all these were asked for.
            moment, waiting = Moment(), births.qsize()
        else:
            waiting -= 1
        birth.perform(zygotes, guardian, moment)
        del birth  # do not keep its descriptors alive while waiting


spawner = Spawner()
"""The one spawner of this process."""

# Before the trees that still run are asked to end (`supervisors.program_end`), and so behind them in time.
atexit.register(spawner.close)
renewals.add(spawner.forget)
