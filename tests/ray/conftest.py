"""What tests on Ray share: the cluster, and a leak check that knows what Ray itself leaves in a program."""

from __future__ import annotations

import importlib.util
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.machines import SETTINGS, Machines
from supervisors.places.ray.cluster import RayCluster
from tests import leaks

collect_ignore_glob = [] if importlib.util.find_spec("ray") else ["test_*.py"]
"""Without Ray there is nothing here, not even to be left out by its mark."""


@pytest.fixture(scope="session", autouse=True)
def settings() -> None:
    """Have what Ray reads of the environment be the same for all."""
    os.environ.update(SETTINGS)
    os.environ.pop("RAY_ADDRESS", None)


@pytest.fixture(scope="session")
def machines(settings: None) -> Iterator[Machines]:
    """Give three nodes. A program that has joined them once keeps what Ray never gives back: that is done here."""
    machines = Machines()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", machines.address)
        first = RayCluster()
        first.enter()
        first.leave()
    yield machines
    machines.close()


@pytest.fixture
def joined(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machines]:
    """Have Ray's place join the three nodes, and no actor of it be left there."""
    monkeypatch.setenv("RAY_ADDRESS", machines.address)
    yield machines
    assert machines.list_actors() == []


@pytest.fixture(autouse=True)
def no_leaks() -> Iterator[None]:
    """Fail a test that leaves something behind, other than Ray does.

    Ray never closes the logs of a session that was left, nor the connections that it has to its other parts.
    """
    before = leaks.take_stock()
    yield
    left = leaks.find_leaks(before, is_foreign=_is_of_ray)
    if left:
        pytest.fail("left behind:\n  " + "\n  ".join(left), pytrace=False)


def _is_of_ray(leak: str) -> bool:
    target = leak.removeprefix("descriptor of ")
    if target.startswith("socket:"):
        return target in _list_connections()
    return target.startswith("/tmp/ray/")


def _list_connections() -> set[str]:
    """List the sockets of this program that lead out of it: what it has itself for its workers has no address."""
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        try:
            target = str(link.readlink())
            if not target.startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(int(link.name))) as connection:
                if connection.family != socket.AF_UNIX or connection.getpeername():
                    found.add(target)
        except OSError:  # closed meanwhile, or it leads nowhere
            continue
    return found
