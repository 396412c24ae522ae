"""What people hold of a supervisor and of its children, from outside of the tree.

Owns nothing: a handle asks its supervisor, and follows a child from one incarnation to the next.
Any thread may use one, but for an actor of the same tree an ask to a supervisor that waits for it is
refused (`DeadlockError`). Every call ends when the supervisor does (`ActorEndedError`), and raises
`AskTimeoutError` when the answer takes longer than the handle's `timeout`: what was asked is carried
out all the same.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self, TypeVar, overload

from supervisors.actor import PykkaHost, PykkaRef
from supervisors.behavior import Ref
from supervisors.calls import (
    AwaitChild,
    ChildCounts,
    ChildInfo,
    CountChildren,
    DeleteChild,
    FindChild,
    GetChildSpec,
    Reconfigure,
    RestartChild,
    StartChild,
    TerminateChild,
    WhichChild,
    WhichChildren,
)
from supervisors.children import Child
from supervisors.clock import MonotonicClock
from supervisors.errors import AskTimeoutError, ChildStateError, SpecError
from supervisors.messages import Terminate
from supervisors.policy import Intensity
from supervisors.reasons import Reason, Shutdown
from supervisors.ref import LifeRef
from supervisors.spec import AutoShutdown, ChildSpec
from supervisors.supervisor import Supervisor
from supervisors.tree import TreeNode, read_tree

H = TypeVar("H", bound="SupervisorHandle")

CALL_SECONDS = 60.0
"""What a call to a supervisor may take, unless its handle says otherwise: longer than most starts."""


class ChildHandle:
    """One child of a supervisor, whichever incarnation of it lives.

    Args:
        child: the child.
        supervisor: who keeps it.
    """

    def __init__(self, child: Child, supervisor: SupervisorHandle) -> None:
        self._child = child
        self._supervisor = supervisor

    def __repr__(self) -> str:
        return f"<ChildHandle {self.id} {self._child.state.value}>"

    @property
    def id(self) -> str:
        """Its id."""
        return self._child.name

    @property
    def ref(self) -> Ref:
        """The address of its live incarnation.

        Raises:
            ChildStateError: there is none at this moment.
        """
        ref = self._child.ref
        if ref is None:
            raise ChildStateError(f"child {self.id!r} does not run at this moment; wait_running waits for it")
        return ref

    @property
    def info(self) -> Any:
        """What its start handed over beside its reference; for a plain Pykka actor, its `pykka.ActorRef`."""
        return self._child.info

    @property
    def is_supervisor(self) -> bool:
        """Whether it is a supervisor, by its spec."""
        return self._child.spec.is_supervisor

    @property
    def pid(self) -> int | None:
        """The process that does its work, if that is another one and it runs."""
        return self._child.pid

    @property
    def restarts(self) -> int:
        """How often it was started again."""
        return self._child.restarts

    def tell(self, message: object, timeout: float | None = None) -> bool:
        """Put `message` into its data lane; False if it does not run at this moment.

        Args:
            message: what to put.
            timeout: seconds to wait for room where its mailbox lets its senders wait; None for no end but its own.

        Raises:
            MailboxFullError: the data lane is at its bound, and was for `timeout` seconds where senders wait.
        """
        ref = self._child.ref
        return ref is not None and (ref.tell(message, timeout) if isinstance(ref, LifeRef) else ref.tell(message))

    def ask(self, message: object, timeout: float | None = None) -> Any:
        """Ask its live incarnation; raises as `LifeRef.ask`, and `ChildStateError` if there is none."""
        return self._actor("ask it").ask(message, timeout)

    def get_state(self, timeout: float | None = 5.0) -> Any:
        """Ask, ahead of all data and also while it is suspended, what its state is; raises as `ask`."""
        return self._actor("look at it").get_state(timeout)

    def suspend(self) -> bool:
        """Let its live incarnation take no data and fire no timer until `resume`; raises as `ref`."""
        return self._actor("suspend it").suspend()

    def resume(self) -> bool:
        """Let it go on with what has come meanwhile; raises as `ref`."""
        return self._actor("resume it").resume()

    def wait_running(self, timeout: float | None = None, *, after: Ref | None = None) -> ChildInfo:
        """Wait until it runs.

        Args:
            timeout: seconds to wait at most; None: as long as the supervisor's handle waits.
            after: an incarnation that is known to end: the next one is waited for. What went wrong is
                told to an asker before the asked one has ended, so that without this, a wait right
                after an ask that failed may find the old incarnation running.

        Raises:
            ChildStateError: it is stopped, and not about to be started again.
            UnknownChildError: it was temporary, and has been forgotten.
            StartError: it did not start.
            TimeoutError: it did not run within `timeout` seconds.
        """
        clock = MonotonicClock()
        seconds = self._supervisor.timeout if timeout is None else timeout
        deadline = None if seconds is None else clock.now() + seconds
        if after is not None:
            ended = threading.Event()
            unwatch = after.watch(lambda _reason: ended.set())
            if not ended.wait(seconds):
                unwatch()
                raise AskTimeoutError(f"child {self.id!r} was still {after.path} after {seconds:g} s")
        while True:
            left = None if deadline is None else max(0.0, deadline - clock.now())
            info: ChildInfo = self._supervisor.call(AwaitChild(self.id), left)
            # Its supervisor is the first to be told of an end, but may hear of it after this call.
            if after is None or info.ref is not after:
                return info

    def _actor(self, what: str) -> LifeRef:
        ref = self.ref
        if not isinstance(ref, LifeRef):
            raise SpecError(f"child {self.id!r} was not started here: {what} through its own reference")
        return ref


class SupervisorHandle:
    """A supervisor, to those outside of its tree.

    As a context manager it stops the tree at the end of its block.

    Args:
        find: gives its live incarnation.
        timeout: seconds that a call may take; None for no end.
    """

    def __init__(self, find: Callable[[], Ref], timeout: float | None = CALL_SECONDS) -> None:
        self._find = find
        self._timeout = timeout

    @property
    def timeout(self) -> float | None:
        """Seconds that a call may take; None for no end."""
        return self._timeout

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._find().path}>"

    @property
    def ref(self) -> LifeRef:
        """The supervisor's address.

        Raises:
            ChildStateError: it is a child and does not run at this moment.
        """
        ref = self._find()
        if not isinstance(ref, LifeRef):
            raise SpecError(f"{ref.path} is no supervisor")
        return ref

    # -- children

    def start_child(self, spec: ChildSpec) -> ChildInfo:
        """Add a child, start it, and wait until it is ready.

        Raises:
            ChildExistsError: there is a child of that id, running or not.
            StartError: it did not start; it was not added.
            SpecError: it cannot be a child of this supervisor.
        """
        return self.call(StartChild(spec))  # type: ignore[no-any-return]  # a call knows its answer

    def terminate_child(self, id: str) -> None:  # noqa: A002  the field's word
        """End a child and wait for its end. It stays stopped; a temporary one is forgotten.

        Raises:
            UnknownChildError: there is none of that id.
        """
        self.call(TerminateChild(id))

    def restart_child(self, id: str) -> ChildInfo:  # noqa: A002  as above
        """Start a stopped child, and wait until it is ready.

        Raises:
            UnknownChildError: there is none of that id.
            ChildStateError: it runs, or waits to be started again.
            StartError: it did not start; it stays stopped.
        """
        return self.call(RestartChild(id))  # type: ignore[no-any-return]  # a call knows its answer

    def delete_child(self, id: str) -> None:  # noqa: A002  as above
        """Forget a stopped child.

        Raises:
            UnknownChildError: there is none of that id.
            ChildStateError: it runs, or waits to be started again.
        """
        self.call(DeleteChild(id))

    def which_children(self) -> tuple[ChildInfo, ...]:
        """List the children, in the order in which they are started."""
        return self.call(WhichChildren())  # type: ignore[no-any-return]  # a call knows its answer

    def which_child(self, id: str) -> ChildInfo:  # noqa: A002  as above
        """Tell one child.

        Raises:
            UnknownChildError: there is none of that id.
        """
        return self.call(WhichChild(id))  # type: ignore[no-any-return]  # a call knows its answer

    def count_children(self) -> ChildCounts:
        """Count the children."""
        return self.call(CountChildren())  # type: ignore[no-any-return]  # a call knows its answer

    def get_child_spec(self, id: str) -> ChildSpec:  # noqa: A002  as above
        """Give a child's spec.

        Raises:
            UnknownChildError: there is none of that id.
        """
        return self.call(GetChildSpec(id))  # type: ignore[no-any-return]  # a call knows its answer

    def child(self, id: str) -> ChildHandle:  # noqa: A002  as above
        """Give a handle that follows a child from incarnation to incarnation.

        Raises:
            UnknownChildError: there is none of that id.
        """
        return ChildHandle(self.call(FindChild(id)), self)

    @overload
    def supervisor(self, id: str) -> SupervisorHandle: ...
    @overload
    def supervisor(self, id: str, kind: type[H]) -> H: ...
    def supervisor(self, id: str, kind: type[SupervisorHandle] | None = None) -> SupervisorHandle:  # noqa: A002  as above
        """Give a handle for a child that is a supervisor itself.

        Args:
            id: its id.
            kind: the handle's class: `PoolHandle` for a pool, `DynamicHandle` for a dynamic supervisor.

        Raises:
            UnknownChildError: there is none of that id.
            SpecError: it is a worker.
        """
        handle = self.child(id)
        if not handle.is_supervisor:
            raise SpecError(
                f"child {id!r} is a worker; what starts a supervisor and is no such class says so by type='supervisor'"
            )
        make = SupervisorHandle if kind is None else kind
        return make(lambda: handle.ref, timeout=self._timeout)

    # -- the supervisor itself

    def reconfigure(
        self,
        *,
        strategy: str | None = None,
        intensity: Intensity | None = None,
        auto_shutdown: AutoShutdown | None = None,
        children: Iterable[ChildSpec] = (),
    ) -> None:
        """Change a running supervisor; what is None stays as it is.

        Args:
            strategy: which children are started again when one is lost, from now on.
            intensity: how many restarts are allowed; the count begins anew.
            auto_shutdown: when it ends because of its children.
            children: specs that replace those of the same id from their next start on; new ones are
                added and not started, children that are not named stay as they are.

        Raises:
            SpecError: a value cannot be; nothing was changed.
        """
        self.call(Reconfigure(strategy, intensity, auto_shutdown, tuple(children)))

    def get_state(self, timeout: float | None = 5.0) -> Any:
        """Ask, ahead of all calls that wait, for its flags, its children, and how many threads it left behind."""
        return self.ref.get_state(timeout)

    def tree(self) -> TreeNode:
        """Read the tree below this supervisor, asking nobody: it also tells of those that are stuck."""
        return read_tree(self.ref)

    def stop(self, timeout: float | None = None) -> bool:
        """End the children, the last started first, then the supervisor; tells whether all is gone.

        It is not where a thread was left behind, which has been reported.

        Args:
            timeout: seconds to wait at most; None: no end of waiting but the children's own deadlines.
        """
        ref = self.ref
        if isinstance(ref, PykkaRef):
            return ref.stop(timeout) and not ref.has_threads()
        ref.signal(Terminate(Shutdown("stopped")))
        return ref.reason is not None

    def wait(self, timeout: float | None = None) -> Reason | None:
        """Wait until the supervisor has ended, by `stop` or by itself; gives why, None after `timeout` seconds."""
        ref = self.ref
        if isinstance(ref, PykkaRef) and not ref.wait_terminated(timeout):
            return None
        return ref.reason

    def call(self, message: object, timeout: float | None = None) -> Any:
        """Ask the supervisor; for subclasses with calls of their own."""
        return self.ref.ask(message, self._timeout if timeout is None else timeout)


def start_supervisor(
    supervisor: Supervisor | Iterable[ChildSpec],
    name: str = "supervisor",
    *,
    host: PykkaHost | None = None,
    timeout: float | None = None,
    **options: Any,
) -> SupervisorHandle:
    """Start a tree, and wait until all its children are ready.

    Args:
        supervisor: a supervisor, or the specs of its children.
        name: its name.
        host: where it runs; None for threads of this program.
        timeout: seconds to wait at most; None for no end but the children's own deadlines.
        options: of the supervisor, where specs were given (`Supervisor`).

    Raises:
        StartError: a child did not start; those that had were ended again, in reverse order.
        SpecError: a spec or an option has a value that it cannot have.
        TimeoutError: not all was ready within `timeout` seconds; the tree is being ended.
    """
    if not isinstance(supervisor, Supervisor):
        supervisor = Supervisor(supervisor, **options)
    elif options:
        raise SpecError(f"options: expected none beside a supervisor that is made, got {sorted(options)}")
    ref = (PykkaHost() if host is None else host).start_ready(supervisor, name, timeout)
    return SupervisorHandle(lambda: ref)
