"""Kills at random moments of a job on Ray: of its workers' processes, of their actors, of whole nodes.

Owns when and what. A moment is so many messages handled, so that each comes while the job runs, however fast it is.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
from collections import Counter
from typing import Any

import ray

from benchmarks.machines import Machines
from routilux import Job
from tests.ray.placed import PlacedRun

LATER = 0.3
"""Seconds that a kill may come after its moment: also workers that start are killed so."""
PAUSE = 0.02


class Killer(threading.Thread):
    """Kills while a job runs.

    Args:
        job: the job.
        run: what it is to come to.
        deeds: the kills, in any order: `process`, `actor`, `node`.
        machines: the nodes; None where the cluster is one of the job's own.
    """

    def __init__(self, job: Job, run: PlacedRun, deeds: list[str], machines: Machines | None = None) -> None:
        super().__init__(name="killer")
        self._job, self._run = job, run
        self._machines = machines
        self._draw = random.Random(f"killer {run.shape} {run.seed}")
        self._draw.shuffle(deeds)
        total = sum(books.count for books in run.expected().values())
        moments = sorted(self._draw.uniform(0.02, 0.9) * total for _ in deeds)
        self._plan = list(zip(moments, deeds, strict=True))
        self.done: Counter[str] = Counter()
        """The kills, by what was killed."""
        self.failure: BaseException | None = None

    def run(self) -> None:
        """Kill."""
        try:
            for moment, deed in self._plan:
                while self._count_handled() < moment and not self._job.is_over:
                    threading.Event().wait(PAUSE)
                threading.Event().wait(self._draw.uniform(0.0, LATER))
                while not self._job.is_over and not self._kill(deed):
                    threading.Event().wait(PAUSE)
                self.done[deed] += not self._job.is_over
        except BaseException as error:
            self.failure = error
            raise

    def _count_handled(self) -> int:
        return sum(account.handled for account in self._job.ledger.accounts)

    def _kill(self, deed: str) -> bool:
        """Kill something, if there is something to be killed."""
        if deed == "node":
            assert self._machines is not None
            self._machines.replace_node(self._draw.randrange(len(self._machines.nodes)))
            return True
        namespace = f"routilux-{self._run.job_id}"
        names = [
            actor["name"]
            for actor in ray.util.list_named_actors(all_namespaces=True)
            if actor["namespace"] == namespace
        ]
        if not names:
            return False
        name = self._draw.choice(names)
        if deed == "actor" and self._machines is not None:
            return self._machines.kill_actor(name, namespace)
        with contextlib.suppress(ValueError, ray.exceptions.RayError, ProcessLookupError):  # it has just ended
            actor: Any = ray.get_actor(name, namespace)
            hello = ray.get(actor.say_hello.options(concurrency_group="look").remote(), timeout=5.0)
            os.kill(hello[1], signal.SIGKILL)
            return True
        return False
