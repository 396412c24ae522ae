"""Which workers of one owner are on which node, and the telling of a node that is lost: once, with all that were there.

Owns these books. Workers of a lost node end one by one, each found out by the thread that listens to it; here they are
one loss. Never finds out itself that a node is lost (`watching`, the engine), and never replaces a worker.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple


class Tenant(NamedTuple):
    """A worker, as one of a node.

    Args:
        label: what the workers of its place are called.
        number: which of these.
        incarnation: how often it was started, from 1.
    """

    label: str
    number: int
    incarnation: int


class LostNode(NamedTuple):
    """A node that was lost.

    Args:
        node: what it is called in its cluster.
        why: what the engine says of it.
        workers: those that it took: of each label their numbers, in order.
    """

    node: str
    why: str
    workers: tuple[tuple[str, tuple[int, ...]], ...]


class Nodes:
    """The nodes of one owner's workers. Any thread may call it.

    Args:
        tell: called with each node that is lost, on the thread that has found that out.
    """

    def __init__(self, tell: Callable[[LostNode], None]) -> None:
        self._tell = tell
        # Guards the two below.
        self._lock = threading.Lock()
        self._tenants: dict[str, tuple[str, set[Tenant]]] = {}
        """By the id of a node: what it is called, and who is there; those too of whom that is in doubt."""
        self._lost: set[str] = set()

    def enter(self, node_id: str, node: str, tenant: Tenant) -> None:
        """Note that a worker is on a node, which is called `node`."""
        with self._lock:
            self._tenants.setdefault(node_id, (node, set()))[1].add(tenant)

    def leave(self, node_id: str, tenant: Tenant) -> None:
        """Note that a worker has ended, and not with its node; nothing if that was lost before."""
        with self._lock:
            _node, tenants = self._tenants.get(node_id, ("", set()))
            tenants.discard(tenant)
            if not tenants:
                self._tenants.pop(node_id, None)

    def close(self) -> None:
        """Forget who is where: the owner is gone, and nobody is to be told of what is found out later."""
        with self._lock:
            self._tenants.clear()

    def lose(self, node_id: str, why: str) -> None:
        """Tell that a node is lost, with all that were there; nothing if it was told before, or nobody was there."""
        with self._lock:
            node, tenants = self._tenants.pop(node_id, ("", set()))
            is_first = bool(tenants) and node_id not in self._lost
            self._lost.add(node_id)
        if is_first:
            numbers: dict[str, set[int]] = {}
            for tenant in tenants:
                numbers.setdefault(tenant.label, set()).add(tenant.number)
            self._tell(LostNode(node, why, tuple((label, tuple(sorted(numbers[label]))) for label in sorted(numbers))))
