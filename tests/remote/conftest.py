"""A cluster that is none, in Ray's place, for whole jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from routilux import Job
from routilux.runtime.running import running
from supervisors.places.ray.engine import chosen
from tests.rays import show_ray
from tests.supervisors.places.fake_cluster import FakeCluster

PATIENCE = 30.0
"""Seconds that the end of a cancelled job may take (arbitrary)."""


@pytest.fixture
def make_cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., FakeCluster]]:
    """Give what makes the cluster that routines on Ray run on from then on; nothing of any is left at the end.

    Jobs that a failed test has left running are ended: they would have to be waited for here, and be in the way later.
    """
    made: list[FakeCluster] = []
    others = set(running._jobs)

    def make(**options: Any) -> FakeCluster:
        made.append(FakeCluster(**options))
        chosen.engine = made[-1]
        return made[-1]

    show_ray(monkeypatch)
    try:
        yield make
    finally:
        try:
            for cluster in made:
                cluster.is_begun.set()
            _end([job for job_id, job in tuple(running._jobs.items()) if job_id not in others])
        finally:
            chosen.engine = None
    for cluster in made:
        cluster.close()


@pytest.fixture
def cluster(make_cluster: Callable[..., FakeCluster]) -> FakeCluster:
    """Give the cluster that routines on Ray run on."""
    return make_cluster()


def _end(jobs: Sequence[Job]) -> None:
    for job in jobs:
        job.cancel("its test is over", shutdown=0.0)
    for job in jobs:
        job.wait(PATIENCE)
