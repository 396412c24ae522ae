"""What a process of any routine needs, imported and made before it is told which routine that is.

Imported by the processes of routines, and by a zygote for all of them; the program has no use for it. Beside what runs
turns these are the names that modules of users import: what makes flows, and not what runs jobs, which no worker does.
"""

from __future__ import annotations

import routilux
from routilux.turn.codec import Delivered, WireBlock
from routilux.turn.keyed import KeyedRequest
from supervisors.wire.frames import prepare_reader

RUNS_JOBS = "Job"
"""The public name that brings in all that runs jobs."""
NAMES = {name: getattr(routilux, name) for name in routilux.__all__ if name != RUNS_JOBS}
"""What modules of users may import of the package; each is loaded when it is first asked for."""

prepare_reader(Delivered, WireBlock)
prepare_reader(KeyedRequest)
