"""Whether a lost child is started again, when, and what is told of it.

Owns the count of restarts of one supervisor. Pure but for what it notes. Never starts anything.
"""

from __future__ import annotations

from collections.abc import Iterable

from supervisors.behavior import Context
from supervisors.children import Child
from supervisors.errors import RestartIntensityError, SpecError
from supervisors.policy import Intensity, IntensityWindow, decide_lost_child
from supervisors.reasons import Reason, is_clean

STEADY_SECONDS = 60.0
"""A child that lived so long has its restarts' waits begin anew (arbitrary)."""


class Restarts:
    """The restarts of one supervisor's children, all together.

    Args:
        intensity: how many there may be within how many seconds.

    Raises:
        SpecError: it is no intensity.
    """

    def __init__(self, intensity: Intensity) -> None:
        if not isinstance(intensity, Intensity):
            raise SpecError(f"intensity: expected an Intensity, got {intensity!r}")
        self._window = IntensityWindow(intensity)

    @property
    def intensity(self) -> Intensity:
        """How many there may be."""
        return self._window.intensity

    def decide(self, child: Child, reason: Reason, group: Iterable[Child], ctx: Context) -> float:
        """Count the restart of a lost child; gives the seconds to wait before it.

        The wait never hides the death: it is counted now.

        Args:
            child: the child that was lost.
            reason: its end.
            group: the children that are started again with it, it among them.
            ctx: the supervisor's.

        Raises:
            RestartIntensityError: there have been more than may be.
        """
        now = ctx.now()
        lost = decide_lost_child(
            self._window,
            child.spec.backoff,
            streak=0 if child.ready_at is not None and now - child.ready_at >= STEADY_SECONDS else child.streak,
            is_fruitful=False,
            now=now,
            random=ctx.random,
        )
        child.streak = lost.streak
        if lost.escalates:
            limit = self.intensity
            ctx.note(
                "supervisor.escalated",
                {"max_restarts": limit.max_restarts, "period": limit.period},
                {"supervisor": ctx.ref.path, "id": child.name, "reason": reason},
            )
            raise RestartIntensityError(child.name, limit.max_restarts, limit.period, str(reason))
        ctx.note(
            "child.restarting",
            {"delay": lost.delay, "streak": lost.streak},
            {"supervisor": ctx.ref.path, "id": child.name, "group": tuple(member.name for member in group)},
        )
        return lost.delay


def is_restarted_after(child: Child, reason: Reason) -> bool:
    """Tell whether a child that ended by itself is to be started again, by its restart type."""
    match child.spec.restart:
        case "permanent":
            return True
        case "transient":
            return not is_clean(reason)
        case "temporary":
            return False
