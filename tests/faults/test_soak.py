"""A short soak, and that the soak sees what it is there to see."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable

import pytest

from routilux import Flow
from tests.faults.invariants import Ended, violations
from tests.faults.measure import Innocent
from tests.faults.scenarios import Blow, Scenario, Step
from tests.faults.soak import Blows, run_scenario, soak
from tests.faults.watch import pids, wait_for

pytestmark = [pytest.mark.faults, pytest.mark.processes]


@pytest.mark.timeout(300)
def test_a_short_soak_finds_nothing_lost_doubled_or_left() -> None:
    out = io.StringIO()
    assert soak(0.05, seed=7, at_once=2, out=out) == 0, out.getvalue()
    assert out.getvalue().endswith("nothing lost, doubled or left\n")


@pytest.mark.parametrize("start_method", ["spawn", None])
def test_a_blow_meets_a_worker_whoever_has_started_it(start_method: str | None) -> None:
    flow = Flow("blow")
    flow.add_routine(Innocent(), "struck", placement="process", start_method=start_method)
    with flow.start(keep_open=True) as job:
        wait_for(lambda: pids(job))
        Blows(job, [Blow(0.0, "kill", 0.0)], seed=1).run()
        wait_for(lambda: job.ledger.accounts[0].restarts == 1)


def test_a_scenario_is_the_same_for_the_same_seed() -> None:
    told = [str(Scenario(seed)) for seed in range(50)]
    assert told == [str(Scenario(seed)) for seed in range(50)]
    assert len(set(told)) > 40


def lose_one(ended: Ended) -> None:
    told = ended.state.routine_states["sink"]["state"]
    told["from-0.0.mask"] ^= 1 << 5
    told["from-0.0.count"] -= 1


def double_one(ended: Ended) -> None:
    ended.state.routine_states["step-0-0"]["state"]["input.0.count"] += 1


def reorder_one(ended: Ended) -> None:
    ended.state.routine_states["step-0-0"]["state"]["input.0.disorder"] = 1


def invent_one(ended: Ended) -> None:
    told = ended.state.routine_states["sink"]["state"]
    told["from-0.0.mask"] |= 1 << 500


def lose_a_result(ended: Ended) -> None:
    ended.results.pop()


def swap_two_results(ended: Ended) -> None:
    ended.results[3:5] = reversed(ended.results[3:5])


def lose_a_record(ended: Ended) -> None:
    ended.state.routine_states["sink"]["failed"] += 1


@pytest.mark.parametrize(
    ("tamper", "told"),
    [
        (lose_one, "noted"),
        (double_one, "twice"),
        (reorder_one, "out of order"),
        (invent_one, "nobody had sent"),
        (lose_a_result, "results came out"),
        (swap_two_results, "out of order"),
        (lose_a_record, "are recorded"),
    ],
)
def test_what_is_lost_doubled_or_reordered_is_seen(tamper: Callable[[Ended], None], told: str) -> None:
    ended = run_scenario(next(filter(is_plain, map(Scenario, itertools.count()))))
    assert violations(ended) == []
    tamper(ended)
    assert any(told in line for line in violations(ended)), violations(ended)


def is_plain(scenario: Scenario) -> bool:
    """Whether nothing happens in it, on threads alone, along one arm."""
    sink = scenario.nodes[-1]
    return (
        scenario.nodes[0].make is Step
        and len(sink.feeds) == 1
        and scenario.source_options is None
        and not scenario.blows
        and not any(node.harms or node.options["placement"] == "process" for node in scenario.nodes)
    )
