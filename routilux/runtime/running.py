"""Which jobs run in this program, and on which routine objects.

Owns the one list of them: what a flow asks before it is changed, what a job is refused by whose routine
objects are in use, and where a job is found by its id. Never starts, ends or waits for one.

A forked copy of the program has none of the threads, so none of the jobs: there they are known as the
original's alone, and their handles say so.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

from routilux.errors import RoutineInUseError
from routilux.model.function import FunctionRoutine
from routilux.model.graph import FlowGraph
from routilux.model.routine import Routine
from supervisors.renewals import renewals

if TYPE_CHECKING:  # a flow asks before any job is there
    from routilux.routing import Plan
    from routilux.runtime.job import Job


class _Entry(NamedTuple):
    graph: FlowGraph
    on_threads: dict[int, str]
    """Ids of the routines whose very objects run, by the object's identity."""
    routines: tuple[Routine, ...]


class RunningJobs:
    """The jobs of this program that are not over. Any thread may call its methods."""

    def __init__(self) -> None:
        # Guards the look at all entries together with the new one.
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}
        self._jobs: dict[str, Job] = {}
        self._originals: dict[str, Job] = {}
        """In a forked copy: the jobs that the original has."""

    def enter(self, job_id: str, graph: FlowGraph, plan: Plan) -> None:
        """Note that a job starts.

        Raises:
            RoutineInUseError: the object of one of its routines runs on a thread for a job of another flow.
        """
        # A function keeps nothing between two messages: it may be anywhere, as it may be twice in one flow.
        objects = {
            id(routine.routine): routine.id
            for routine in plan.routines
            if not routine.runs_apart and not isinstance(routine.routine, FunctionRoutine)
        }
        with self._lock:
            for other_id, other in self._entries.items():
                shared = objects.keys() & other.on_threads.keys()
                if shared and other.graph is not graph:
                    one = min(shared, key=list(objects).index)
                    raise RoutineInUseError(
                        objects[one], graph.flow_id, other.on_threads[one], other.graph.flow_id, other_id
                    )
            self._entries[job_id] = entry = _Entry(graph, objects, tuple(graph.routines.values()))
            for routine in entry.routines:
                routine.note_job(job_id)

    def hold(self, job: Job) -> None:
        """Keep the handle of a job until it is over; nothing happens if it is."""
        self._jobs[job.id] = job
        if job.id not in self._entries:
            self._jobs.pop(job.id, None)

    def leave(self, job_id: str) -> None:
        """Note that a job is over."""
        with self._lock:
            entry = self._entries.pop(job_id, None)
            self._jobs.pop(job_id, None)
            for routine in () if entry is None else entry.routines:
                routine.forget_job(job_id)

    def of(self, graph: FlowGraph) -> tuple[str, ...]:
        """Give the ids of the running jobs of a flow, oldest first."""
        with self._lock:
            return tuple(job_id for job_id, entry in self._entries.items() if entry.graph is graph)

    def find(self, job_id: str) -> Job | None:
        """Give a job that runs, here or in the program this one is a copy of; None if there is none of that id."""
        return self._jobs.get(job_id) or self._originals.get(job_id)

    def start_anew(self) -> None:
        """Know no job as running here, in a forked copy of the program."""
        self._lock = threading.Lock()  # it may have been held
        self._originals.update(self._jobs)
        for job_id, entry in self._entries.items():
            for routine in entry.routines:
                routine.forget_job(job_id)
        self._entries.clear()
        self._jobs.clear()


running = RunningJobs()
"""The one list of this program."""

renewals.add(running.start_anew)
