"""What holds for workers on any other machine holds for those on Ray: the same tests, and Ray's own words."""

from __future__ import annotations

import inspect
import os
import re
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.machines import Machines
from supervisors.errors import StartError
from supervisors.places.ray.cluster import RayCluster
from supervisors.places.ray.engine import Demand, Engine
from supervisors.reasons import Crashed, StartFailed
from tests.supervisors.places import test_remote as shared
from tests.supervisors.places.test_remote import driven, find_pids

pytestmark = pytest.mark.ray

globals().update(
    (name, test)
    for name, test in vars(shared).items()
    if name.startswith("test_") and "cluster" in inspect.signature(test).parameters
)


@pytest.fixture
def cluster(joined: Machines) -> Iterator[Engine]:
    """Give Ray, which nobody uses any more at the end."""
    cluster = RayCluster()
    yield cluster
    assert cluster._users == 0
    assert cluster._keeper is None


@pytest.mark.parametrize(
    ("demand", "expected"),
    [
        ({"num_cpus": 64.0}, "needs CPU 64; the cluster has CPU 12 of 12 free"),
        ({"num_cpus": 6.0}, "needs CPU 6; the cluster has CPU 12 of 12 free (at most 4 on one node)"),
        ({"num_gpus": 1.0}, "needs CPU 1, GPU 1; the cluster has CPU 12 of 12 free, GPU 0"),
        ({"resources": {"tape": 2.0}, "num_cpus": 0.0}, "needs tape 2; the cluster has tape 0"),
        (
            {"label_selector": {"zone": "north"}, "num_cpus": 0.0},
            "needs a node with zone=north; the cluster has no node with zone",
        ),
    ],
)
def test_what_ray_has_not_is_told(cluster: Engine, demand: dict[str, Any], expected: str) -> None:
    with driven(cluster, demand=Demand(**demand), within=1.0) as driver:
        (_number, reason, _lost) = driver.lost[0]
        assert isinstance(reason, StartFailed)
        assert reason.error.text == f"the cluster did not start it within 1 s: it {expected}"


@pytest.mark.parametrize(
    ("conda", "expected"),
    [
        ("/no/such/file.yml", r"Ray refused to start 'bench-0-1': Can't find conda YAML file /no/such/file.yml.$"),
        ("nowhere", r"Failed to set up runtime environment. (?!.*File \").*\[Node [0-9.]+\].*conda"),
    ],
)
def test_an_environment_that_cannot_be_is_refused_with_what_ray_says(
    cluster: Engine, conda: str, expected: str
) -> None:
    with driven(cluster, demand=Demand(runtime_env={"conda": conda})) as driver:
        (_number, reason, _lost) = driver.lost[0]
        assert isinstance(reason, StartFailed)
        assert re.match(expected, reason.error.text)


def test_a_name_that_is_taken_is_refused(cluster: Engine, joined: Machines) -> None:
    cluster.enter()
    agent = cluster.start_agent("bench-0-1", "tests", Demand())
    agent.say_hello(20.0)
    with driven(cluster) as driver:
        (_number, reason, _lost) = driver.lost[0]
        assert isinstance(reason, StartFailed)
        assert "Ray refused to start 'bench-0-1': The name bench-0-1 (namespace=tests) is already taken" in str(reason)
    agent.end()
    cluster.leave()


def test_what_ray_says_of_an_end_is_told_without_what_nobody_can_use(cluster: Engine, joined: Machines) -> None:
    with driven(cluster, workers=2, demand=Demand(num_cpus=0.5)) as driver:
        os.kill(find_pids(driver)[0], signal.SIGKILL)
        driver.run(lambda: len(driver.lost) == 1)
        assert joined.kill_actor("bench-1-1", "tests")
        driver.run(lambda: len(driver.lost) == 2)
        killed, ended = (reason for _number, reason, _lost in driver.lost)
        assert isinstance(killed, Crashed)
        assert killed.detail == (
            "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: "
            "Worker unexpectedly exits with a connection error code 2. End of file"
        )
        assert isinstance(ended, Crashed)
        assert ended.detail == "The actor is dead because it was killed by `ray.kill`"


def test_nothing_of_it_is_printed(cluster: Engine, capfd: pytest.CaptureFixture[str]) -> None:
    with driven(cluster) as driver:
        driver.ask("kill", signal.SIGKILL)
        driver.run(lambda: bool(driver.lost))
        threading.Event().wait(1.0)  # Ray says it when it likes
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("address", ["127.0.0.1:1", "[::1]:1", "nobody.invalid:6379"])
def test_a_cluster_that_is_not_there_is_no_long_wait(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(StartError, match=rf"^Ray could not join the cluster at '{re.escape(address)}': "):
        RayCluster().enter()
