"""Whatever a routine does on a remote worker, only its message pays, by each strategy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.faults import deeds
from tests.faults.measure import Companion, measure
from tests.faults.table import FAULTS, HARMLESS, STRATEGIES
from tests.supervisors.places.fake_cluster import FakeCluster

pytestmark = pytest.mark.processes
KNOWN = {fault.deed: fault for fault in (*FAULTS, *HARMLESS)}
ROWS = [
    *((deeds.raise_plainly, strategy) for strategy in STRATEGIES),
    *((deeds.be_killed, strategy) for strategy in STRATEGIES),
    (deeds.end_main_thread_with_fork, "continue"),
    (deeds.make_dying_on_arrival, "retry"),
    (deeds.make_unpicklable, "continue"),
    (deeds.make_too_large, "continue"),
    (deeds.hang, "continue"),
    (deeds.hold_memory, "continue"),
    (deeds.fork_and_return, "continue"),
]


@pytest.fixture(scope="module")
def companion() -> Iterator[Companion]:
    """Give an innocent job that runs beside all."""
    companion = Companion()
    yield companion
    companion.close()


@pytest.mark.parametrize(("deed", "strategy"), ROWS, ids=lambda given: getattr(given, "__name__", given))
def test_a_fault_costs_its_message_alone(
    cluster: FakeCluster,
    deed: object,
    strategy: str,
    companion: Companion,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    fault = KNOWN[deed]  # type: ignore[index]  a deed
    if any(words in fault.told for words in ("SIGKILL", "exited with code 7")):
        fault = replace(fault, told=("was lost: the actor died unexpectedly",))
    if deed is not deeds.raise_plainly:
        fault = replace(fault, is_unseen=True)
    measure(fault, strategy, "ray", companion, capfd, caplog)
    assert cluster.agents
