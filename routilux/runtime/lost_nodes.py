"""What is told of a machine of a cluster that was lost with workers of a job: one record, and one line on the log.

Never decides anything: each worker that it took fails by itself, as any other, and is told of behind this.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from routilux.ledger import Ledger
from routilux.routing import Plan
from routilux.runtime.reports import tell_lost_node

if TYPE_CHECKING:
    from supervisors.places.ray.nodes import LostNode, Nodes


def open_nodes(plan: Plan, ledger: Ledger, write: Callable[[str], None]) -> Nodes | None:
    """Give the books of where the workers of a job are, as far as they are in a cluster; None where none can be.

    Args:
        plan: the job's.
        ledger: keeps the record.
        write: writes the line.
    """
    if not any(routine.options.placement == "ray" for routine in plan.routines):
        return None
    from supervisors.places.ray.nodes import Nodes  # noqa: PLC0415  all others start without

    def tell(lost: LostNode) -> None:
        told = tell_lost_node(lost.node, lost.why, lost.workers, plan)
        ledger.note_lost_node(told, time.monotonic())
        write(told)

    return Nodes(tell)
