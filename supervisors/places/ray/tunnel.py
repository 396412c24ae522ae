"""A worker on another machine, as if it were a process here: all that goes to and fro is carried by an engine's calls.

Owns the threads and descriptors that stand between a `Child`, which reads and writes a socket, and an agent, which is
called. Knows nothing of what the bytes mean. Never replaces a worker.

Theory of operation. Each worker has three threads. One has the agent started, then takes what it tells by the engine;
at the end it closes the pipe that tells of a death, behind all that was said. The second takes what the `Child` has
written, and hands it over. Where the two are connected (`direct`), pieces do not come by the engine, and the third
takes them. They are put where the place's poller looks: into the socket, into the pipes of the output. Objects are
answers that the agent was asked for ahead; whoever takes the piece that tells of one waits for it. All end with the
descriptors that they wait at, or with the agent. Whatever goes wrong with an agent, on whichever thread, is its loss:
it is ended, since it may be lost to this program alone, and what is noted first is what is told. Why a connection
ends is for the engine to say; where it says nothing for a while, since the agent has not heard of that end, the
connection alone is lost, and the agent with it.

A start may take minutes, and whoever gives it up does not wait: the `Child` goes at once, and the thread undoes what it
had begun when that comes to an end.

What a worker was on when it was lost is not known: the page that tells it is on the other machine. So several in its
hands count as begun, all of them, and none as the culprit (`Link.lose_unseen`).
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from supervisors.errors import StartError
from supervisors.places.base import Used
from supervisors.places.process.heap import keep_freed
from supervisors.places.process.page import NOTHING, PageView
from supervisors.places.process.reap import Ended
from supervisors.places.process.segments import Segment
from supervisors.places.ray.agent import VERSION
from supervisors.places.ray.direct import DirectClient, connect
from supervisors.places.ray.engine import (
    OBJECTS_ASKED,
    AgentLostError,
    Demand,
    Engine,
    Hello,
    News,
    Parcel,
    Piece,
    Reference,
    RemoteAgent,
    Terms,
)
from supervisors.places.ray.membership import Membership
from supervisors.places.ray.nodes import Nodes, Tenant
from supervisors.places.ray.objects import ObjectLease, ObjectTable
from supervisors.reasons import Crashed, ErrorRecord, OutOfMemory, Reason, record_error
from supervisors.wire.frames import Spawned, encode_frame
from supervisors.wire.outside import Holder
from supervisors.wire.values import describe

BROKEN_SECONDS = 30.0
"""What the engine gets to say why a connection has ended (arbitrary: a node that is lost it misses within that)."""
PIECES_AHEAD = 2
"""For how many pieces it is asked before it has them (arbitrary: the next one is told while one is on its way)."""
_READ_BYTES = 1024 * 1024
_END_SECONDS = 2.0
"""What a worker's threads get to end behind its agent, where its place ends at once (arbitrary)."""


class RemoteStarter:
    """Starts workers by an engine (`Starter`).

    Args:
        engine: has the machines.
        label: what the workers are called there, beside their numbers.
        namespace: where they are called so.
        demand: what each needs.
        timeout: seconds until its agent must be there.
        is_weighed: whether the memory of each is told.
        objects: what the workers of this owner put into the engine's store; None: they have one of their own.
        nodes: the owner's books of who is on which node; None: nobody asks.
    """

    def __init__(
        self,
        engine: Engine,
        label: str,
        namespace: str,
        demand: Demand,
        *,
        timeout: float,
        is_weighed: bool,
        objects: ObjectTable | None = None,
        nodes: Nodes | None = None,
    ) -> None:
        self._engine = engine
        self._label = label
        self._namespace = namespace
        self._demand = demand
        self._timeout = timeout
        self.is_weighed = is_weighed
        self.objects = ObjectTable(engine) if objects is None else objects
        keep_freed()  # what goes by a connection is copied on its way
        self._nodes = nodes
        self.membership = Membership(engine)

    def begin(self) -> None:
        """Do nothing: the cluster is entered where nobody waits for it."""

    def close(self) -> None:
        """Need the cluster no more, once the last worker's thread has ended."""
        self.membership.close()

    def make_birth(self, number: int, incarnation: int, max_frame_bytes: int) -> RemoteBirth:
        """Give what an agent is started by."""
        return RemoteBirth(self, Tenant(self._label, number, incarnation), max_frame_bytes)

    def start(self, name: str) -> RemoteAgent:
        """Have an agent started; it is the caller's to end. Raises `StartError` if the engine refuses that."""
        return self._engine.start_agent(name, self._namespace, self._demand)

    def greet(self, agent: RemoteAgent) -> Hello:
        """Wait until an agent is there.

        Raises:
            StartError: there was no room for it, or it is another version's.
            AgentLostError: it could not be started, or was ended meanwhile.
        """
        try:
            hello = agent.say_hello(self._timeout)
        except TimeoutError as error:
            lack = self._engine.describe_lack(self._demand)
            raise StartError(f"the cluster did not start it within {self._timeout:g} s: it {lack}") from error
        if hello.version != VERSION:
            message = f"node {hello.node} has another version of this package ({hello.version}, here {VERSION})"
            raise StartError(message)
        return hello

    def note_start(self, tenant: Tenant, hello: Hello) -> None:
        """Note where a worker is."""
        if self._nodes is not None:
            self._nodes.enter(hello.node_id, hello.node, tenant)

    def note_end(self, tenant: Tenant, hello: Hello, loss: AgentLostError | None) -> None:
        """Note that a worker has ended, and see whether its node did; None: it ended by itself, or was ended here."""
        nodes, node_id = self._nodes, hello.node_id
        if nodes is None:
            return

        def settle(why: str) -> None:
            if why:
                nodes.lose(node_id, why)
            else:
                nodes.leave(node_id, tenant)

        if loss is not None and loss.is_in_doubt:
            self._engine.watch_node(node_id, settle)
        else:
            settle("" if loss is None else loss.node_lost)


class RemoteBirth:
    """A worker on another machine being started, and what its place then has of it (`Birth`).

    Args:
        starter: what starts it.
        tenant: which worker it is, by which it is called in the cluster; its frames carry the incarnation.
        max_frame_bytes: the longest frame in either direction.

    Raises:
        OSError: no descriptors are left.
    """

    def __init__(self, starter: RemoteStarter, tenant: Tenant, max_frame_bytes: int) -> None:
        self._starter = starter
        self._tenant = tenant
        self._name = "-".join(map(str, tenant))
        self._incarnation = tenant.incarnation
        self._max_frame_bytes = max_frame_bytes
        self.pid = 0
        self.node = ""
        self.failure: ErrorRecord | None = None
        with contextlib.ExitStack() as stack:
            self.channel, self._far_end = socket.socketpair()
            stack.callback(self.channel.close)
            stack.callback(self._far_end.close)
            self.channel.setblocking(False)
            self.death_fd, self._alive = _pipe(stack)
            self.stdout_fd, stdout = _pipe(stack)
            self.stderr_fd, stderr = _pipe(stack)
            stack.pop_all()
        self._writers = (stdout, stderr)
        # Guards the agent, which is to be ended whichever comes first: its start or the wish that it end.
        self._lock = threading.Lock()
        self._agent: RemoteAgent | None = None
        self._direct: DirectClient | None = None
        """Where it may be spoken with directly."""
        self._is_unwanted = False
        self._is_half_gone = False
        """Whether its thread has ended, or its place has closed it."""
        self._groups: deque[list[tuple[int, Reference]]] = deque()
        """What requests name that were written, or are about to be, and not delivered."""
        self._parcels: deque[Parcel] = deque()
        """The objects that it was asked for and has not told of, in their order; for the thread that takes pieces."""
        self._is_told = threading.Event()
        """Whether the engine has nothing more to tell of it."""
        self._page = NOTHING
        self._stack = ""
        self._resident_bytes = 0
        self._used: Used | None = None
        self._exit_code: int | None = None
        self._loss: AgentLostError | None = None
        self._thread = threading.Thread(target=self._live, name=f"supervisors-remote-{self._name}", daemon=True)
        self._sender: threading.Thread | None = None
        self._hearer: threading.Thread | None = None

    def begin(self) -> None:
        """Have a thread start it."""
        try:
            self._thread.start()
        except RuntimeError as error:  # there are too many
            self.failure = record_error(error)
            self._close_far_side()

    def read_page(self) -> PageView:
        """Give what it was on when it told last."""
        return self._page

    def ask_stack(self) -> None:
        """Ask for its Python stacks."""
        self._stack = ""
        agent = self._agent
        if agent is not None:
            with contextlib.suppress(AgentLostError):  # whoever takes in what it tells hears of its end
                agent.ask_stack()

    def read_stack(self) -> str:
        """Give the stacks that it was asked for."""
        return self._stack

    def present(self, leases: Sequence[Holder]) -> Sequence[Segment]:
        """Have the references go with the delivery that the request goes with, or with one before."""
        self._groups.append([(lease.id, lease.reference) for lease in leases if isinstance(lease, ObjectLease)])
        return ()

    def count_resident(self) -> int:
        """Give what it told last."""
        return self._resident_bytes

    def read_used(self) -> Used | None:
        """Give what it told last."""
        return self._used

    def terminate(self) -> None:
        """End it: there is no gentler way."""
        self.end()

    def end(self) -> None:
        """Have the engine end it."""
        with self._lock:
            self._is_unwanted = True
            agent, direct = self._agent, self._direct
        if agent is not None:
            agent.end()
        if direct is not None:
            direct.end()

    def give_up(self) -> None:
        """Have the engine end it, and end the channel."""
        self.end()
        with contextlib.suppress(OSError):  # it has ended already
            self.channel.shutdown(socket.SHUT_RD)

    def end_rest(self) -> None:
        """Have the engine end it, which may be lost to this program alone."""
        self.end()

    def reap(self) -> Ended:
        """Give how it ended, and what it used as far as it has told."""
        used = self._used
        if used is None:
            return Ended(None, self._exit_code, None)
        return Ended(None, self._exit_code, used.peak_bytes, used.cpu_seconds)

    def read_last_page(self) -> None:
        """Give nothing: what it was on was known where it was."""

    def describe_death(self, ended: Ended, last_output: tuple[str, ...]) -> Reason:
        """Tell its loss as a reason."""
        loss = self._loss
        if loss is not None and loss.is_memory:
            return OutOfMemory(self.pid, self._resident_bytes or ended.peak_bytes, None, self.node)
        detail = "" if loss is None else loss.detail
        return Crashed(ended.signal, ended.exit_code, self.pid, ended.peak_bytes, last_output, detail, self.node)

    def abort(self, *, is_begun: bool) -> None:
        """Have the engine end it."""
        self.end()
        self._leave_streams()
        if self._thread.ident is not None:
            self._thread.join(_END_SECONDS if is_begun else 0.0)

    def close(self) -> None:
        """Close the descriptors of this side; the threads close theirs."""
        self._leave_streams()
        self._leave_objects()
        os.close(self.death_fd)
        self.death_fd = -1

    def _leave_streams(self) -> None:
        self.channel.close()
        for fd in (self.stdout_fd, self.stderr_fd):
            if fd != -1:
                os.close(fd)
        self.stdout_fd = self.stderr_fd = -1

    # -- The threads

    def _live(self) -> None:
        """Have it started, and take what it tells until its end."""
        try:
            self._starter.membership.hold()
            try:
                self._start_and_listen()
            except BaseException as error:  # noqa: BLE001 - it is told to the maker
                self._note_failure(error)
            finally:
                self.end()
                if self._hearer is not None:
                    self._hearer.join()  # it tells of objects, which need the cluster
                self._starter.membership.let_go()
        except BaseException as error:  # noqa: BLE001 - likewise
            self._note_failure(error)
        finally:
            self._leave_objects()
            self._close_far_side()

    def _leave_objects(self) -> None:
        """Let go of what nobody claimed: once all that it told was read, and nothing more comes, whichever is last."""
        with self._lock:
            is_last, self._is_half_gone = self._is_half_gone, True
        if is_last:
            self._starter.objects.leave(self)

    def _note_failure(self, error: BaseException) -> None:
        """Note why it could not be started; where it was given up that is nobody's failure."""
        if not self._is_unwanted:
            self.failure = record_error(error)

    def _close_far_side(self) -> None:
        # Nobody may be reading at a number that is given out again. Death is told last: behind it there is nothing.
        with contextlib.suppress(OSError):  # the other side is closed, which some systems mind
            self._far_end.shutdown(socket.SHUT_RDWR)
        for fd in (*self._writers, self._alive):
            os.close(fd)
        if self._sender is not None:
            self._sender.join()
        self._far_end.close()
        with self._lock:
            direct, self._direct = self._direct, None
        if direct is not None:
            direct.close()

    def _start_and_listen(self) -> None:
        self._hold_wanted()
        agent = self._starter.start(self._name)
        with self._lock:
            self._agent = agent
        self._hold_wanted()
        hello = self._starter.greet(agent)
        self.pid, self.node = hello.pid, hello.node
        self._starter.note_start(self._tenant, hello)
        try:
            self._direct = connect(hello.address)
            self._serve(agent)
        finally:
            # Ahead of its death, which is told as the pipe is closed.
            self._starter.note_end(self._tenant, hello, self._loss)

    def _serve(self, agent: RemoteAgent) -> None:
        is_direct = self._direct is not None
        terms = Terms(self._incarnation, self._max_frame_bytes, tuple(sys.path), self._starter.is_weighed, is_direct)
        self._far_end.sendall(encode_frame(Spawned(), self._incarnation))
        try:
            agent.serve(terms)
            self._listen(agent)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the loss of this agent
            self._note_loss(error)

    def _hold_wanted(self) -> None:
        with self._lock:
            if self._is_unwanted:
                raise StartError("it was ended before it was started")

    def _listen(self, agent: RemoteAgent) -> None:
        self._ask_objects(agent)
        self._sender = self._begin_thread("sender", self._deliver, agent, self._direct)
        if self._direct is not None:
            self._hearer = self._begin_thread("hearer", self._hear, agent, self._direct)
        try:
            asked = deque(agent.ask_piece() for _ in range(PIECES_AHEAD))
            while (piece := agent.read(asked.popleft())) is not None:
                asked.append(agent.ask_piece())
                if not self._take_in(agent, piece):
                    return
        finally:
            self._is_told.set()
        if self._hearer is not None:
            self._hearer.join()  # its last words may be many: an agent that has told all ends the connection itself
        self._exit_code = 0

    def _hear(self, agent: RemoteAgent, direct: DirectClient) -> None:
        try:
            for piece in direct.hear():
                if not self._take_in(agent, piece):
                    break
        except Exception as error:  # noqa: BLE001 - as above
            self._note_loss(error)
        if not self._is_told.wait(BROKEN_SECONDS):
            self._note_loss(AgentLostError("the connection to it broke", is_in_doubt=True))

    def _begin_thread(self, what: str, target: Callable[..., None], *arguments: Any) -> threading.Thread:
        name = f"{self._thread.name}-{what}"
        thread = threading.Thread(target=target, args=arguments, name=name, daemon=True)
        thread.start()
        return thread

    def _note_loss(self, error: Exception) -> None:
        """Note why it is lost, unless that is known, and end it."""
        with self._lock:
            if self._loss is None and not self._is_unwanted:
                self._loss = error if isinstance(error, AgentLostError) else AgentLostError(describe(error))
        self.end()

    def _take_in(self, agent: RemoteAgent, piece: Piece) -> bool:
        """Take a piece in, with the objects that it tells of.

        Returns:
            Whether anybody hears it: its place may have closed its side.
        """
        for _ in range(piece.put):
            # A name is worth nothing before the object that it names is the program's own.
            parcel = self._parcels.popleft()
            self._starter.objects.note(self, agent.receive(parcel), parcel.buffers)
        self._page = PageView(*piece.page)
        try:
            if piece.news is not None:
                self._take_in_news(piece.news)
            if piece.channel:
                self._far_end.sendall(piece.channel)
        except ConnectionError:
            return False
        self._ask_objects(agent)
        return True

    def _ask_objects(self, agent: RemoteAgent) -> None:
        """Ask for more objects, several at once, where no more than these are left."""
        while len(self._parcels) <= OBJECTS_ASKED:
            self._parcels.extend(agent.ask_object() for _ in range(OBJECTS_ASKED))

    def _take_in_news(self, news: News) -> None:
        if news.stack is not None:
            self._stack = news.stack
        self._resident_bytes = news.resident_bytes
        if news.used is not None:
            self._used = news.used
        if news.dropped:
            self._starter.objects.drop(self, news.dropped)
        for fd, data in zip(self._writers, (news.stdout, news.stderr), strict=True):
            _write_all(fd, data)

    def _deliver(self, agent: RemoteAgent, direct: DirectClient | None) -> None:
        space = memoryview(bytearray(_READ_BYTES))
        pack = self._starter.objects.engine.pack
        while data := self._receive(space):
            try:
                named = [self._groups.popleft() for _ in range(len(self._groups))]
                groups = [[(number, pack(reference)) for number, reference in group] for group in named]
                if direct is None:
                    agent.deliver(bytes(data), time.monotonic(), groups)
                else:
                    direct.send(data, time.monotonic(), groups)
            except Exception as error:  # noqa: BLE001 - as above; behind what was not delivered nothing may be
                self._note_loss(error)
                return

    def _receive(self, space: memoryview) -> memoryview:
        try:
            return space[: self._far_end.recv_into(space)]
        except OSError:  # its place has closed its side
            return space[:0]


def _pipe(stack: contextlib.ExitStack) -> tuple[int, int]:
    """Make a pipe whose reading end does not block; both are closed if `stack` is."""
    reader, writer = os.pipe()
    for fd in (reader, writer):
        stack.callback(os.close, fd)
    os.set_blocking(reader, False)
    return reader, writer


def _write_all(fd: int, data: bytes) -> None:
    view: Any = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
