"""What the workers of routines begin with, and the head start that the first of them get.

Owns the modules that they import, and the refusal where what they run on is not installed. Never starts a worker.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Mapping

from routilux.errors import MissingExtraError
from routilux.model.launching import to_launch
from routilux.model.options import RoutineOptions
from routilux.model.ray import has_ray
from supervisors.places.process.launch import Launch
from supervisors.places.process.spawn import spawner

MODULES = ("routilux.preloaded",)
"""What workers import to become those of a routine."""
_JOB_MODULE = "routilux.runtime.job"
"""What they import too where the program has asked for `routilux.Job`, as a module of its routines then does."""


def launch_of(options: RoutineOptions) -> Launch:
    """Give how the workers of a process routine are started."""
    asked = vars(sys.modules["routilux"])  # not imported: the package as a whole is above this room
    return to_launch(options, (*MODULES, _JOB_MODULE) if "Job" in asked else MODULES)


def require_ray(options: Mapping[str, RoutineOptions]) -> None:
    """Refuse a flow with routines on Ray where Ray is not installed.

    Args:
        options: of each routine, by its id.

    Raises:
        MissingExtraError: it names one of them.
    """
    asking = next((routine_id for routine_id, own in options.items() if own.placement == "ray"), None)
    if asking is not None and not has_ray():
        raise MissingExtraError(f"routine {asking!r} has placement='ray', which needs Ray", "ray")


def give_head_start(options: Iterable[RoutineOptions]) -> None:
    """Have the zygote of a flow's first process routine begin with its imports, if no worker was started yet.

    So it imports what workers need while the program itself imports what runs jobs.
    """
    launches = [launch_of(own) for own in options if own.is_local]
    forked = next((launch for launch in launches if launch.is_forked), None)
    if forked is not None:
        with contextlib.suppress(RuntimeError, OSError):  # no thread, no descriptors: told where a worker is started
            spawner.give_head_start(forked.preload)
