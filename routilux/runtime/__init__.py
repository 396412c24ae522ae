"""A job at run time: its actors, and the handle by which its owner holds it.

What a flow takes of it is below, and is loaded when the first job starts: a program that makes flows, and a worker that
imports its module, need none of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisors.deferred import deferred

if TYPE_CHECKING:
    from routilux.keeping.copying import unpack_job
    from routilux.routing import compile_plan
    from routilux.runtime.keeping import begin_kept, make_job_id
    from routilux.runtime.loading import refuse_while_loading
    from routilux.runtime.resuming import Wanted, fork_job, pack_paused, resume_job
    from routilux.runtime.signals import ending_on_signals, note_resume
    from routilux.runtime.tree import Beginning, First, check_flow, start_job
    from routilux.runtime.workers import give_head_start, require_ray

__all__ = [
    "Beginning",
    "First",
    "Wanted",
    "begin_kept",
    "check_flow",
    "compile_plan",
    "ending_on_signals",
    "fork_job",
    "give_head_start",
    "make_job_id",
    "note_resume",
    "pack_paused",
    "refuse_while_loading",
    "require_ray",
    "resume_job",
    "start_job",
    "unpack_job",
]

__getattr__ = deferred(
    __name__,
    {
        "Beginning": ".tree",
        "First": ".tree",
        "Wanted": ".resuming",
        "begin_kept": ".keeping",
        "check_flow": ".tree",
        "compile_plan": "routilux.routing",
        "ending_on_signals": ".signals",
        "fork_job": ".resuming",
        "give_head_start": ".workers",
        "make_job_id": ".keeping",
        "note_resume": ".signals",
        "pack_paused": ".resuming",
        "refuse_while_loading": ".loading",
        "require_ray": ".workers",
        "resume_job": ".resuming",
        "start_job": ".tree",
        "unpack_job": "routilux.keeping.copying",
    },
)
