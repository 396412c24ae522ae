"""A cluster that is none, in Ray's place, for whole jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from supervisors.places.ray.engine import chosen
from tests.rays import show_ray
from tests.supervisors.places.fake_cluster import FakeCluster


@pytest.fixture
def make_cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., FakeCluster]]:
    """Give what makes the cluster that routines on Ray run on from then on; nothing of any is left at the end."""
    made: list[FakeCluster] = []

    def make(**options: Any) -> FakeCluster:
        made.append(FakeCluster(**options))
        chosen.engine = made[-1]
        return made[-1]

    show_ray(monkeypatch)
    try:
        yield make
    finally:
        chosen.engine = None
    for cluster in made:
        cluster.close()


@pytest.fixture
def cluster(make_cluster: Callable[..., FakeCluster]) -> FakeCluster:
    """Give the cluster that routines on Ray run on."""
    return make_cluster()
