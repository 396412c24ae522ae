"""How a tree of actors looks at this moment.

Owns the reading of supervisors and of their children from outside, without asking any of them: what
is stuck is told like everything else. Never changes anything.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

from supervisors.behavior import Ref
from supervisors.calls import ChildInfo
from supervisors.places.process.reap import read_usage
from supervisors.ref import LifeRef


class TreeNode(NamedTuple):
    """One actor and those below it.

    Args:
        id: its id below its supervisor.
        type: `worker` or `supervisor`.
        state: `running`, `starting`, `stopping`, `restarting`, `stopped` or `suspended`.
        mailbox: messages that wait for it; None where that cannot be known.
        pid: the process that does its work, if that is another one.
        memory_bytes: resident memory of that process.
        restarts: how often it was started again.
        last_reason: its last end, in words; empty if it has never ended.
        children: those below it, in the order in which they are started.
    """

    id: str
    type: str
    state: str
    mailbox: int | None
    pid: int | None
    memory_bytes: int | None
    restarts: int
    last_reason: str
    children: tuple[TreeNode, ...]

    def __str__(self) -> str:
        return "\n".join(_draw(self))


@runtime_checkable
class ListsChildren(Protocol):
    """A behaviour that keeps children."""

    def list_children(self) -> tuple[ChildInfo, ...]:
        """List them; any thread may call it."""


def read_tree(ref: LifeRef) -> TreeNode:
    """Read the tree below an actor.

    Args:
        ref: its root: a supervisor.
    """
    info = ChildInfo(
        ref.name, "running" if ref.is_alive else "stopped", ref, ref.pid, "supervisor", 0, ref.reason, None
    )
    return _read(info)


def _read(info: ChildInfo) -> TreeNode:
    ref = info.ref
    used = None if info.pid is None else read_usage(info.pid)
    return TreeNode(
        info.id,
        info.type,
        "suspended" if info.state == "running" and isinstance(ref, LifeRef) and ref.is_suspended else info.state,
        ref.mailbox_stats.waiting if isinstance(ref, LifeRef) else None,
        info.pid,
        None if used is None else used.rss_bytes,
        info.restarts,
        "" if info.last_reason is None else str(info.last_reason),
        tuple(map(_read, _children_of(ref))),
    )


def _children_of(ref: Ref | None) -> tuple[ChildInfo, ...]:
    behavior = ref.life.behavior if isinstance(ref, LifeRef) else None
    return behavior.list_children() if isinstance(behavior, ListsChildren) else ()


def _draw(node: TreeNode) -> list[str]:
    lines = [_describe(node)]
    for child in node.children:
        is_last = child is node.children[-1]
        first, *rest = _draw(child)
        lines.append(f"{'└─ ' if is_last else '├─ '}{first}")
        lines.extend(f"{'   ' if is_last else '│  '}{line}" for line in rest)
    return lines


def _describe(node: TreeNode) -> str:
    parts = [f"{node.id}  {node.type} {node.state}"]
    if node.pid is not None:
        parts.append(f"pid {node.pid}")
    if node.memory_bytes is not None:
        parts.append(f"{node.memory_bytes / 2**20:.0f} MiB")
    if node.mailbox:
        parts.append(f"{node.mailbox} waiting")
    if node.restarts:
        times = "once" if node.restarts == 1 else f"{node.restarts} times"
        parts.append(f"restarted {times}, the last end: {node.last_reason}")
    return ", ".join(parts)
