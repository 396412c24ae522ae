"""The base of built-in routines that know something: there is one worker of each.

Owns the objection to several. Never looks at a flow.
"""

from __future__ import annotations

from typing import ClassVar

from routilux.model.options import RoutineOptions
from routilux.routines.ready_made import ReadyMade


class OneWorker(ReadyMade):
    """A routine of which each worker would know a part only."""

    keeps: ClassVar[str]
    """What there must be one of, as the objection names it."""

    def objection_to(self, options: RoutineOptions) -> str | None:
        """Object to several workers."""
        if options.pool == 1:
            return None
        return (
            f"{type(self).__name__} keeps {self.keeps}, and each of {options.pool} workers would keep its own; "
            "leave workers out"
        )
