"""The execution tracker: how a job does, as a snapshot that never changes under its reader. Pure.

Owns what a user may ask of it. Never counts anything: it is made of the ledger's counts and of what was measured
(`jobs.tracks`), by the same way for a job that runs, one that is over, and one that is kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from routilux.serial.naming import built_in
from routilux.serial.serializable import SerializableStruct
from routilux.tracking.meters import Measured
from routilux.tracking.performance import (
    Distribution,
    EventFlow,
    FlowPerformance,
    RoutinePerformance,
    WorkerUsage,
    count_of,
    rate_of,
    share_of,
    to_plain,
)
from routilux.tracking.prometheus import write_metrics
from routilux.tracking.sketch import Sketch


class RoutineTrack(msgspec.Struct, frozen=True):
    """What is known of one routine: its counts by the names of `RoutineFigures`, what was measured, where it runs."""

    routine_id: str
    status: str
    figures: dict[str, int]
    measured: Measured
    workers: tuple[WorkerUsage, ...] = ()
    placement: str = "thread"


@built_in.register("routilux.ExecutionTracker")
class ExecutionTracker(SerializableStruct, frozen=True):
    """How a job did up to one moment: executions of each routine, flow of events, metrics.

    `Job.tracker` gives it, and `JobState.tracker` as it was with the rest of the state.

    Args:
        job_id: the job.
        flow_id: its flow.
        status: the job's word.
        at: which moment, in seconds since the epoch.
        seconds: how long the job has run, in all its programs together; pauses do not count.
        tracks: its routines, in the flow's order.
        flows: its connections, in the flow's order.
    """

    job_id: str
    flow_id: str
    status: str
    at: float
    seconds: float
    tracks: tuple[RoutineTrack, ...]
    flows: tuple[EventFlow, ...]

    @property
    def routine_ids(self) -> list[str]:
        """The ids of its routines, in the flow's order."""
        return [track.routine_id for track in self.tracks]

    def get_routine_performance(self, routine_id: str) -> RoutinePerformance | None:
        """Tell how a routine does; None for an unknown id."""
        for track in self.tracks:
            if track.routine_id == routine_id:
                return self._tell(track)
        return None

    def get_flow_performance(self) -> FlowPerformance:
        """Tell how the job does as a whole."""
        turns, waits = Sketch(), Sketch()
        for track in self.tracks:
            turns.merge(track.measured.turns)
            waits.merge(track.measured.waits)
        handled, merged, failed = (self._sum(name) for name in ("handled", "merged", "failed"))
        recent_seconds = max((track.measured.recent_seconds for track in self.tracks), default=0.0)
        return FlowPerformance(
            seconds=self.seconds,
            routines=len(self.tracks),
            sent=sum(flow.count for flow in self.flows),
            handled=handled,
            failed=failed,
            retries=self._sum("retries"),
            restarts=self._sum("restarts"),
            dead=self._sum("dead"),
            skipped=self._sum("skipped"),
            emitted=self._sum("emitted"),
            waiting=self._sum("waiting"),
            in_hand=self._sum("in_hand"),
            in_retry=self._sum("in_retry"),
            merging=self._sum("merging"),
            merged=merged,
            success_rate=share_of(handled - merged, handled - merged + failed),
            throughput=rate_of(handled, self.seconds),
            recent_throughput=rate_of(sum(track.measured.recent for track in self.tracks), recent_seconds),
            execution_time=Distribution.of(turns),
            waiting_time=Distribution.of(waits),
            cpu_seconds=sum(worker.cpu_seconds for worker in self._workers()),
            rss_bytes=sum(worker.rss_bytes or 0 for worker in self._workers()),
        )

    def event_flow(self, routine_id: str | None = None) -> list[EventFlow]:
        """Give what went along each connection, in the flow's order.

        Args:
            routine_id: only those that this routine sends or receives by; None for all.
        """
        return [flow for flow in self.flows if routine_id is None or routine_id in (flow.source, flow.target)]

    def to_prometheus(self) -> str:
        """Give all that is told here as text that Prometheus reads (its exposition format, version 0.0.4)."""
        performances = [self._tell(track) for track in self.tracks]
        return write_metrics({"job_id": self.job_id, "flow_id": self.flow_id}, self.seconds, performances, self.flows)

    def to_dict(self) -> dict[str, Any]:
        """Give all that is told here as dicts, lists, numbers and text, which `json.dump` takes."""
        return {
            "job_id": self.job_id,
            "flow_id": self.flow_id,
            "status": self.status,
            "at": self.at,
            "flow": to_plain(self.get_flow_performance()),
            "routines": {track.routine_id: to_plain(self._tell(track)) for track in self.tracks},
            "event_flow": to_plain(self.flows),
        }

    def _tell(self, track: RoutineTrack) -> RoutinePerformance:
        figures, measured = track.figures, track.measured
        handled, merged, failed = (count_of(figures, name) for name in ("handled", "merged", "failed"))
        return RoutinePerformance(
            routine_id=track.routine_id,
            status=track.status,
            handled=handled,
            failed=failed,
            retries=count_of(figures, "retries"),
            restarts=count_of(figures, "restarts"),
            dead=count_of(figures, "dead"),
            skipped=count_of(figures, "skipped"),
            emitted=count_of(figures, "emitted"),
            waiting=count_of(figures, "waiting"),
            peak_waiting=count_of(figures, "peak_waiting"),
            in_hand=count_of(figures, "in_hand"),
            in_retry=count_of(figures, "in_retry"),
            merging=count_of(figures, "merging"),
            merged=merged,
            success_rate=share_of(handled - merged, handled - merged + failed),
            throughput=rate_of(handled, self.seconds),
            recent_throughput=rate_of(measured.recent, measured.recent_seconds),
            execution_time=Distribution.of(measured.turns),
            waiting_time=Distribution.of(measured.waits),
            workers=track.workers,
        )

    def _sum(self, name: str) -> int:
        return sum(count_of(track.figures, name) for track in self.tracks)

    def _workers(self) -> Iterable[WorkerUsage]:
        return (worker for track in self.tracks for worker in track.workers)
