"""Each behaviour that OTP documents for supervisors, on seeded schedules, on threads and on processes.

Section of the documentation, and the scenario that shows it:

TABLE
"""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisors.spec import Backing
from tests.supervisors import otp_calls, otp_many  # noqa: F401  they register their scenarios
from tests.supervisors.drivers import StepDriver, ThreadDriver
from tests.supervisors.otp import SCENARIOS, Scenario

SEEDS = 100
STRESS_SEEDS = 1_000
HURRY = 0.05
IDS = {"argvalues": SCENARIOS, "ids": [scenario.name for scenario in SCENARIOS]}


def run_seeds(scenario: Scenario, seeds: range, backing: Backing) -> None:
    for seed in seeds:
        # Every other schedule is that of a slow machine.
        hurry = HURRY if scenario.is_hurried and seed % 2 else 0.0
        driver = StepDriver(seed, backing, hurry)
        try:
            scenario.run(driver)
            driver.close()
        except BaseException as error:
            error.add_note(f"{scenario.name}, seed {seed}, hurry {hurry}")
            raise


@pytest.mark.parametrize("scenario", **IDS)
def test_on_seeded_schedules(scenario: Scenario) -> None:
    run_seeds(scenario, range(SEEDS), "thread")


@pytest.mark.parametrize("scenario", **IDS)
def test_on_threads(scenario: Scenario, tmp_path: Path) -> None:
    driver = ThreadDriver(tmp_path)
    try:
        scenario.run(driver)
    finally:
        driver.close()
