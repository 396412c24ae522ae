"""What people hold of the supervisors whose children are many of one kind.

Owns nothing: the handles ask their supervisor, and a pool's handle sends straight to the partition
it chose. Any thread may use one (see `handles`).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from supervisors.actor import PykkaHost
from supervisors.behavior import Ref
from supervisors.calls import ChildInfo
from supervisors.children import Child
from supervisors.dynamic import DynamicSupervisor, StartDynamic, TerminateDynamic
from supervisors.errors import SpecError
from supervisors.handles import CALL_SECONDS, ChildHandle, SupervisorHandle
from supervisors.partition import GetPartitions, PartitionRouter, PartitionSupervisor, Resize, Routing
from supervisors.spec import ChildSpec


class DynamicHandle(SupervisorHandle):
    """A dynamic supervisor, to those outside of its tree."""

    def start_child(self, *args: Any, spec: ChildSpec | None = None, **kwargs: Any) -> ChildInfo:
        """Start one more child, and wait until it is ready.

        Args:
            args: arguments for `start`, after those of the template.
            spec: how it is started; None: by the template.
            kwargs: named arguments for `start`, over those of the template.

        Raises:
            MaxChildrenError: there are as many as there may be.
            StartError: it did not start; it was not added.
            SpecError: there is neither a template nor a spec, or it is significant.
        """
        return self.call(StartDynamic(spec, args, kwargs))  # type: ignore[no-any-return]  # a call knows its answer

    def terminate_child(self, id: str | Ref) -> None:  # noqa: A002  the field's word
        """End a child for good, by its name or by the reference of its live incarnation.

        Raises:
            UnknownChildError: there is none, or that incarnation is no more.
        """
        self.call(TerminateDynamic(id))


class PoolHandle(SupervisorHandle):
    """A pool, to those outside of its tree.

    Args:
        find: gives its live incarnation.
        routing: how a message without a key finds its partition.
        timeout: seconds that a call may take; None for no end.
    """

    def __init__(
        self, find: Callable[[], Ref], routing: Routing = "round_robin", timeout: float | None = CALL_SECONDS
    ) -> None:
        super().__init__(find, timeout)
        self._router = PartitionRouter(routing)

    @property
    def partitions(self) -> tuple[ChildHandle, ...]:
        """The partitions, in the order of their numbers."""
        return tuple(ChildHandle(child, self) for child in self._children)

    def partition(self, key: Hashable) -> ChildHandle:
        """Give the partition that `key` belongs to.

        Raises:
            SpecError: the key is of a type that is not written the same everywhere.
        """
        return ChildHandle(self._router.choose_by_key(self._children, key), self)

    def choose(self) -> ChildHandle:
        """Give the partition that is next by the pool's routing."""
        return ChildHandle(self._router.choose(self._children), self)

    def tell(self, message: object, timeout: float | None = None, *, key: Hashable = None) -> bool:
        """Put `message` into one partition's data lane; False if that does not run at this moment.

        Args:
            message: what to put.
            timeout: seconds to wait for room where its mailbox lets its senders wait; None for no end but its own.
            key: chooses the partition; None: by the pool's routing.

        Raises:
            MailboxFullError: the data lane is at its bound.
        """
        return (self.choose() if key is None else self.partition(key)).tell(message, timeout)

    def ask(self, message: object, timeout: float | None = None, *, key: Hashable = None) -> Any:
        """Ask one partition, chosen as by `tell`; raises as `ChildHandle.ask`."""
        return (self.choose() if key is None else self.partition(key)).ask(message, timeout)

    def broadcast(self, message: object) -> int:
        """Put `message` into the data lane of every partition; gives how many took it.

        Raises:
            MailboxFullError: a data lane is at its bound; those before it have it.
        """
        return sum(partition.tell(message) for partition in self.partitions)

    def resize(self, partitions: int) -> None:
        """Have so many partitions: new ones are started, or the last ones ended; waits for that.

        One that does not start is started again by its restart type, and not waited for.

        Raises:
            SpecError: it is no number of partitions.
        """
        self.call(Resize(partitions))

    @property
    def _children(self) -> tuple[Child, ...]:
        behavior = self.ref.life.behavior
        if isinstance(behavior, PartitionSupervisor):
            return behavior.children
        return self.call(GetPartitions())  # type: ignore[no-any-return]  # it has not begun yet: it answers when it has


def start_dynamic_supervisor(
    supervisor: DynamicSupervisor | ChildSpec | None = None,
    name: str = "supervisor",
    *,
    host: PykkaHost | None = None,
    **options: Any,
) -> DynamicHandle:
    """Start a supervisor of children that come and go.

    Args:
        supervisor: a supervisor, or the template of its children, or None: each comes with its spec.
        name: its name.
        host: where it runs; None for threads of this program.
        options: of the supervisor, where a template or None was given (`DynamicSupervisor`).

    Raises:
        SpecError: an option has a value that it cannot have.
    """
    if not isinstance(supervisor, DynamicSupervisor):
        supervisor = DynamicSupervisor(supervisor, **options)
    elif options:
        raise SpecError(f"options: expected none beside a supervisor that is made, got {sorted(options)}")
    ref = (PykkaHost() if host is None else host).start_ready(supervisor, name)
    return DynamicHandle(lambda: ref)


def start_pool(
    template: ChildSpec,
    partitions: int,
    name: str = "pool",
    *,
    routing: Routing = "round_robin",
    host: PykkaHost | None = None,
    timeout: float | None = None,
    **options: Any,
) -> PoolHandle:
    """Start a pool, and wait until all its partitions are ready.

    Args:
        template: how a partition is started.
        partitions: how many there are at first.
        name: the pool's name.
        routing: how a message without a key finds its partition: `round_robin` or `least_busy`.
        host: where it runs; None for threads of this program.
        timeout: seconds to wait at most; None for no end but the partitions' own deadlines.
        options: of the supervisor (`PartitionSupervisor`).

    Raises:
        StartError: a partition did not start; those that had were ended again.
        SpecError: an option has a value that it cannot have.
        TimeoutError: not all were ready within `timeout` seconds; the pool is being ended.
    """
    supervisor = PartitionSupervisor(template, partitions, **options)
    ref = (PykkaHost() if host is None else host).start_ready(supervisor, name, timeout)
    return PoolHandle(lambda: ref, routing)
