"""The runs of tests/durability with their routines on Ray, or where these are moved later.

Owns which routine is moved, and with which options. What a run is to come to, and the check of what was kept of it, are
those of `tests.durability`: where routines run changes neither.
"""

from __future__ import annotations

from typing import Any

from routilux import ErrorHandler, Flow, Ray
from tests.durability.shapes import Run

PATIENT = ErrorHandler("retry", max_retries=100, retry_delay=0.003, retry_backoff=1.0, then="continue")
"""A message that dies with its worker is tried again, however often that happens by chance."""
STERN = ErrorHandler("retry", max_retries=12, retry_delay=0.003, retry_backoff=1.0, then="continue")
"""So too where some are poisonous: those are given up after that many tries."""
WANTED = Ray(num_cpus=0.25, scheduling_strategy="SPREAD")
STAYING = {"mixed": ("source", "timed", "sink")}
"""Routines by shape that stay on their threads; all of the others move all."""


class PlacedRun(Run):
    """A run whose routines are moved.

    Args:
        as for `Run`; the class says where to.
    """

    placement = "thread"

    def flow(self) -> Flow:
        """Give the flow, placed."""
        flow = super().flow()
        flow.set_error_handler(PATIENT)
        for routine_id in flow.routines:
            options: dict[str, Any] = {"max_restarts": 1_000}
            if flow.options[routine_id].error_handler is not None:
                options["error_handler"] = STERN
            if routine_id not in STAYING.get(self.shape, ()):
                pool = flow.options[routine_id].workers if self.placement != "thread" else 1
                ray = WANTED if self.placement == "ray" else None
                options |= {"placement": self.placement, "workers": pool, "ray": ray}
            flow.set_options(routine_id, **options)
        return flow


class RunOnRay(PlacedRun):
    """On Ray."""

    placement = "ray"


class RunInProcesses(PlacedRun):
    """In processes of this machine."""

    placement = "process"


class RunOnThreads(PlacedRun):
    """On threads of the program."""


RUNS: dict[str, type[PlacedRun]] = {run.placement: run for run in (RunOnRay, RunInProcesses, RunOnThreads)}
