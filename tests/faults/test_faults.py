"""Whatever a routine does, only its message pays: every fault of the table, at each placement, by each strategy."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.measure import Companion, measure
from tests.faults.table import ERRORS, FAULTS, HARMLESS, OTHER_ERRORS, STRATEGIES, Fault, Kind

pytestmark = [pytest.mark.faults, pytest.mark.processes]


def rows(faults: list[Fault], strategies: tuple[str, ...]) -> list[Any]:
    return [
        pytest.param(
            fault,
            placement,
            strategy,
            id=f"{fault.name}-{placement}-{strategy}",
            marks=[pytest.mark.stress] if is_for_the_long_run(fault, placement, strategy) else [],
        )
        for fault in faults
        for placement in fault.placements
        for strategy in strategies
    ]


def is_for_the_long_run(fault: Fault, placement: str, strategy: str) -> bool:
    # What follows from an error is decided outside of the process that it is raised in; threads show it sooner.
    is_known = placement == "process" and (fault in OTHER_ERRORS or (fault in ERRORS and strategy != "continue"))
    return fault.long or is_known or strategy not in fault.strategies


@pytest.mark.parametrize(("fault", "placement", "strategy"), rows(FAULTS, STRATEGIES))
def test_a_fault_costs_its_message_alone(
    fault: Fault,
    placement: str,
    strategy: str,
    companion: Companion,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    measure(fault, strategy, placement, companion, capfd, caplog)


@pytest.mark.parametrize(("fault", "placement", "strategy"), rows(HARMLESS, ("continue",)))
def test_what_is_no_fault_costs_nothing(
    fault: Fault,
    placement: str,
    strategy: str,
    companion: Companion,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    measure(fault, strategy, placement, companion, capfd, caplog)


def test_every_fault_has_a_name_of_its_own() -> None:
    names = [fault.name for fault in (*FAULTS, *HARMLESS)]
    assert len(set(names)) == len(names)
    assert all((fault.told != ()) == (fault.kind is not Kind.HARMLESS) for fault in (*FAULTS, *HARMLESS))
