"""Each behaviour that OTP documents for supervisors, on seeded schedules, on threads and on processes.

Section of OTP's `supervisor` (of Elixir's modules, or of what OTP has not), and the scenario that shows it:

| section | scenario |
| --- | --- |
| Starting and stopping | children_are_started_in_order |
| Starting and stopping | children_are_ended_in_reverse_order |
| Starting and stopping | a_failed_start_ends_those_before_in_reverse_order_and_tells_the_cause |
| Starting and stopping | a_tree_is_started_depth_first_and_ended_in_reverse |
| Starting and stopping | a_start_that_fails_deep_in_a_tree_fails_the_whole_of_it |
| Starting and stopping | a_supervisor_that_is_ended_while_it_starts_ends_what_it_has_started |
| Restart strategy | one_for_one_starts_the_lost_child_alone_again |
| Restart strategy | one_for_all_ends_all_others_and_starts_all_again_in_order |
| Restart strategy | rest_for_one_ends_those_after_and_starts_them_again_in_order |
| Restart strategy | all_that_are_lost_at_once_come_back_one_for_one |
| Restart strategy | all_that_are_lost_at_once_come_back_one_for_all |
| Restart strategy | all_that_are_lost_at_once_come_back_rest_for_one |
| Restart strategy | a_restart_that_fails_counts_and_is_tried_again |
| Restart strategy | one_for_all_starts_all_again_when_one_of_them_does_not_start |
| Restart strategy | rest_for_one_goes_on_from_the_one_that_did_not_start |
| Child specification: restart | the_restart_type_says_after_which_end_a_child_is_started_again |
| Child specification: restart | a_temporary_child_is_forgotten_also_when_its_siblings_are_the_cause |
| Child specification: restart | a_group_brings_back_what_had_ended_or_was_terminated |
| Maximum restart intensity | more_restarts_than_allowed_end_all_children_and_the_supervisor |
| Maximum restart intensity | no_restart_at_all_may_be_allowed |
| Maximum restart intensity | restarts_before_the_period_are_forgotten |
| Maximum restart intensity | waits_before_restarts_hide_no_death_from_the_count |
| Maximum restart intensity | starts_that_never_work_again_end_the_supervisor |
| Maximum restart intensity | an_escalation_goes_up_until_a_supervisor_copes |
| Maximum restart intensity | an_escalation_that_nobody_copes_with_ends_the_tree |
| Automatic shutdown | by_default_a_supervisor_outlives_all_its_children |
| Automatic shutdown | the_first_significant_child_that_ends_by_itself_may_end_the_supervisor |
| Automatic shutdown | the_last_significant_child_that_ends_by_itself_may_end_the_supervisor |
| Automatic shutdown | children_that_are_terminated_by_hand_end_no_supervisor |
| Automatic shutdown | one_terminated_by_hand_is_not_waited_for_by_the_last_one |
| Automatic shutdown | an_automatic_shutdown_may_go_up_the_tree |
| Automatic shutdown | a_permanent_supervisor_is_started_again_after_its_automatic_shutdown |
| Automatic shutdown | significant_children_are_refused_where_that_means_nothing |
| start: ignore | a_child_that_is_not_needed_counts_as_started |
| start: ignore | a_temporary_child_that_is_not_needed_is_forgotten |
| start_child/2 | a_child_that_is_not_needed_is_kept_and_may_be_asked_for_again |
| start_child/2 | a_child_that_is_added_comes_last |
| start_child/2 | a_second_child_of_the_same_id_is_refused_whatever_the_first_does |
| start_child/2 | a_child_that_does_not_start_is_not_added |
| terminate_child/2 | a_terminated_child_stays_down_and_a_temporary_one_is_forgotten |
| terminate_child/2 | terminating_a_child_that_waits_to_be_started_again_keeps_it_down |
| terminate_child/2 | terminating_one_of_a_group_that_waits_leaves_the_others_to_be_started |
| terminate_child/2 | terminating_a_child_that_starts_is_told_to_who_started_it |
| restart_child/2 | only_a_stopped_child_can_be_restarted |
| restart_child/2 | a_restart_asked_for_that_fails_leaves_the_child_stopped |
| delete_child/2 | only_a_stopped_child_can_be_deleted |
| which_children/1, count_children/1 | children_are_listed_and_counted_by_what_they_are |
| get_childspec/2 | a_spec_is_given_as_it_was |
| beyond OTP: wait_running | who_waits_for_a_child_is_answered_when_it_runs_however_often_that_fails |
| beyond OTP: wait_running | who_waits_for_a_child_that_is_given_up_is_told |
| beyond OTP: wait_running | who_waits_for_a_temporary_child_that_its_siblings_take_along_is_told |
| Child specification: shutdown | a_child_to_be_killed_is_not_asked |
| Child specification: shutdown | a_child_that_does_not_end_in_its_time_is_left_behind_and_the_rest_goes_on |
| Child specification: shutdown | a_child_without_a_deadline_is_waited_for |
| Child specification: shutdown | a_supervisor_is_given_all_the_time_its_children_need |
| Child specification: start | a_child_that_is_not_ready_in_time_has_not_started |
| Child specification: start | a_child_that_is_ready_after_its_time_is_not_taken_for_running |
| Child specification: start | what_a_child_tells_when_it_is_ready_is_given_with_it |
| beyond OTP: nothing waits inside a supervisor | a_supervisor_answers_while_a_child_starts_and_another_ends |
| start_link/2: the end of a supervisor | who_still_waits_when_a_supervisor_ends_is_told |
| start: a pid, or a pid with information | a_start_may_hand_over_a_reference_and_information |
| start: a pid, or a pid with information | what_was_handed_over_is_one_supervisors_and_ends_with_it |
| code_change/3: changed flags | flags_can_be_changed_while_children_run |
| code_change/3: changed specifications | specs_are_replaced_from_the_next_start_on_and_new_ones_are_added |
| code_change/3: changed flags | a_change_that_cannot_be_changes_nothing |
| DynamicSupervisor.start_child/2 | dynamic_children_are_started_on_demand_with_arguments_of_their_own |
| DynamicSupervisor: :max_children | no_more_dynamic_children_are_started_than_there_may_be |
| DynamicSupervisor: restart values | dynamic_children_are_started_again_by_their_restart_type_or_forgotten |
| DynamicSupervisor.start_child/2 | a_dynamic_child_that_does_not_start_is_not_added |
| DynamicSupervisor.start_child/2 | a_dynamic_child_that_does_not_start_again_is_tried_again |
| DynamicSupervisor.terminate_child/2 | a_dynamic_child_is_ended_by_its_name_or_its_live_incarnation |
| DynamicSupervisor: shutdown | dynamic_children_are_all_ended_at_once |
| DynamicSupervisor: :max_restarts | too_many_restarts_end_a_dynamic_supervisor |
| DynamicSupervisor: shutdown | no_dynamic_child_is_started_while_the_supervisor_ends |
| DynamicSupervisor: counting | a_dynamic_child_that_waits_is_told_as_such_and_can_be_waited_for |
| DynamicSupervisor: what it does not do | a_dynamic_supervisor_refuses_the_calls_of_others |
| PartitionSupervisor: :with_arguments | partitions_are_numbered_and_told_so |
| PartitionSupervisor.resize!/2 | a_pool_grows_in_order_and_shrinks_from_the_end |
| PartitionSupervisor.resize!/2 | a_pool_that_grows_again_waits_for_those_that_are_still_ending |
| PartitionSupervisor.resize!/2 | a_partition_that_is_taken_away_while_it_fails_is_not_started_again |
| PartitionSupervisor: what it does not do | the_children_of_a_pool_are_its_partitions_and_no_others |
| PartitionSupervisor.resize!/2 | who_waits_for_a_partition_that_is_taken_away_is_told |
"""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisors.spec import Backing
from tests.supervisors import otp_calls, otp_many  # noqa: F401  they register their scenarios
from tests.supervisors.drivers import StepDriver, ThreadDriver
from tests.supervisors.otp import SCENARIOS, Scenario

SEEDS = 15
STRESS_SEEDS = 1_000
HURRY = 0.05
IDS = {"argvalues": SCENARIOS, "ids": [scenario.name for scenario in SCENARIOS]}
ON_PROCESSES = [scenario for scenario in SCENARIOS if "process" in scenario.backings]
PROCESS_IDS = {"argvalues": ON_PROCESSES, "ids": [scenario.name for scenario in ON_PROCESSES]}
FIRST_OF_SECTION = {scenario.section: scenario for scenario in reversed(ON_PROCESSES)}
"""A real process takes a tenth of a second to start: `make test` runs one scenario of each section on some."""


def run_seeds(scenario: Scenario, seeds: range, backing: Backing) -> None:
    for seed in seeds:
        # Every other schedule is that of a slow machine.
        hurry = HURRY if scenario.is_hurried and seed % 2 else 0.0
        driver = StepDriver(seed, backing, hurry)
        try:
            scenario.run(driver)
            driver.close()
        except BaseException as error:
            error.add_note(f"{scenario.name}, seed {seed}, hurry {hurry}, backing {backing}")
            raise


def run_on_threads(scenario: Scenario, folder: Path, backing: Backing) -> None:
    driver = ThreadDriver(folder, backing)
    try:
        scenario.run(driver)
    finally:
        driver.close()


@pytest.mark.parametrize("scenario", **IDS)
def test_on_seeded_schedules(scenario: Scenario) -> None:
    run_seeds(scenario, range(SEEDS), "thread")


@pytest.mark.parametrize("scenario", **PROCESS_IDS)
def test_on_seeded_schedules_with_simulated_processes(scenario: Scenario) -> None:
    run_seeds(scenario, range(SEEDS // 5), "process")


@pytest.mark.stress
@pytest.mark.parametrize("scenario", **IDS)
def test_on_many_seeded_schedules(scenario: Scenario) -> None:
    run_seeds(scenario, range(SEEDS, STRESS_SEEDS), "thread")


@pytest.mark.stress
@pytest.mark.parametrize("scenario", **PROCESS_IDS)
def test_on_many_seeded_schedules_with_simulated_processes(scenario: Scenario) -> None:
    run_seeds(scenario, range(SEEDS // 5, STRESS_SEEDS), "process")


@pytest.mark.parametrize("scenario", **IDS)
def test_on_threads(scenario: Scenario, tmp_path: Path) -> None:
    run_on_threads(scenario, tmp_path, "thread")


SOME_FIRSTS = list(FIRST_OF_SECTION.values())[::2]
"""What `make test` takes of the scenarios on real processes, of every second section."""


@pytest.mark.processes
@pytest.mark.parametrize(
    "scenario",
    [pytest.param(scenario, marks=() if scenario in SOME_FIRSTS else pytest.mark.stress) for scenario in ON_PROCESSES],
    ids=PROCESS_IDS["ids"],
)
def test_on_processes(scenario: Scenario, tmp_path: Path) -> None:
    run_on_threads(scenario, tmp_path, "process")


def test_the_table_names_every_scenario() -> None:
    assert __doc__ is not None
    rows = [f"| {scenario.section} | {scenario.name} |" for scenario in SCENARIOS]
    assert [row for row in rows if row not in __doc__] == []
