"""What the documentation shows about routines on Ray is done by a real cluster, and Ray's program knows its words.

The pages speak of one cluster at `HEAD`: it is that of the tests, and the one that `auto` finds.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from ray.scripts.scripts import cli

from benchmarks.machines import HEALTH, Machines
from supervisors.places.ray.cluster import RayAgent, RayCluster
from supervisors.places.ray.engine import Demand, chosen
from tests.following import saved_files
from tests.nightly import NO_JOB, Nightly
from tests.test_docs import ROOT, Shown, check_shown, of_ray, on_ray
from tests.typist import Ending, Typist, typing_below

pytestmark = pytest.mark.ray

PAGE = (ROOT / "docs/guides/ray.md").read_text(encoding="utf-8")
HEAD = "10.0.0.1:6379"
MOVED = {"pictures": {"paths", "describe"}, "nightly": {"parse", "upload", "report"}}
"""What `--placement ray` moves of a flow that is shown: all that does not work on files of this machine."""


class NotingCluster(RayCluster):
    """Ray, which notes for which routines it starts actors."""

    def __init__(self) -> None:
        super().__init__()
        self.routines: set[str] = set()

    def start_agent(self, name: str, namespace: str, demand: Demand) -> RayAgent:
        self.routines.add(re.sub(r"-\d+-\d+$", "", name))
        return super().start_agent(name, namespace, demand)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> NotingCluster:
    """What commands have for Ray."""
    monkeypatch.setattr(chosen, "engine", NotingCluster())
    assert isinstance(chosen.engine, NotingCluster)
    return chosen.engine


@pytest.fixture
def typist(joined: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Typist]:
    """Somebody in an empty folder, on a machine of the cluster."""
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray/ray_current_cluster").write_text(joined.address)  # as `ray start` does
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    with typing_below(tmp_path) as typist:
        yield typist


@pytest.mark.parametrize("shown", on_ray(), ids=lambda shown: shown.where)
def test_a_command_does_what_it_says(shown: Shown, cluster: NotingCluster, joined: Machines, typist: Typist) -> None:
    flow, nightly = "pictures" if "pictures" in shown.command else "nightly", Nightly(typist)
    if flow == "pictures":
        (typist.folder / "flows.py").write_text(saved_files(PAGE)["flows.py"])
    if not NO_JOB.match(shown.command):
        nightly.begin()
        nightly.keep()
    typed = nightly.type_kept(shown.command.replace(HEAD, joined.address), Ending(), [])
    assert check_shown(shown, Ending(), typed.status, typed.told) == []
    words = shlex.split(shown.command)
    named = {name for word in words if word.startswith("ray=") for name in word.removeprefix("ray=").split(",")}
    assert cluster.routines == (set() if words[1] == "check" else named or MOVED[flow])


@pytest.mark.parametrize("shown", of_ray(), ids=lambda shown: shown.where)
def test_ray_understands_the_words_of_its_own_program(shown: Shown) -> None:
    command, words = cli, shlex.split(shown.command)[1:]
    while isinstance(command, click.Group):
        assert words[0] in command.commands
        command, words = command.commands[words[0]], words[1:]
    command.make_context(shown.command, words)  # which raises where they are none


def test_the_health_checks_that_are_measured_are_those_of_the_page() -> None:
    assert dict(re.findall(r"(RAY_health_check_\w+)=(\w+)", PAGE)) == HEALTH["tuned"]
