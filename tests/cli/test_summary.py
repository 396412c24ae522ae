from __future__ import annotations

from routilux.cli.summary import CAUSES_SHOWN, group_causes, kind_of, summarize
from routilux.jobs.machine import JobStatus
from tests.cli.views import letter, state

CENSUS = """\
census, job ab12: completed after 2.0 s
routine  status     handled  per s  failed  retries  restarts  dead  skipped  left
parse    completed      200    100       3        1         1     2        0     0
given up: 2
  2 x parse: raised SyntaxError (such as invalid syntax (a.py, line 3))"""


def test_a_summary_tells_the_end_the_figures_and_the_causes() -> None:
    letters = [letter("raised SyntaxError: invalid syntax (a.py, line 3)"), letter("raised SyntaxError: null bytes")]
    assert summarize(state(dead_letters=letters)) == CENSUS


def test_a_narrow_summary_leaves_columns_out() -> None:
    lines = summarize(state(), 50).split("\n")
    assert lines[1] == "routine  handled  failed  restarts  dead"


def test_the_error_of_a_failed_job_is_told_escaped() -> None:
    text = summarize(state(status=JobStatus.FAILED, error="routine 'parse': raised ValueError: \x1b[2J"))
    assert text.split("\n")[1] == r"  routine 'parse': raised ValueError: \x1b[2J"


def test_causes_are_grouped_by_routine_and_kind_the_most_frequent_first() -> None:
    letters = [
        letter("raised ValueError: row 1", "load"),
        letter("process 12 was ended by SIGKILL"),
        letter("raised ValueError: row 1"),
        letter("process 13 was ended by SIGKILL"),
        letter("raised ValueError: row 2"),
        letter("raised ValueError: row 3"),
    ]
    assert group_causes(letters) == [
        ("parse", "raised ValueError", 3, "raised ValueError: row 1"),
        ("parse", "process was ended by SIGKILL", 2, "process 12 was ended by SIGKILL"),
        ("load", "raised ValueError", 1, "raised ValueError: row 1"),
    ]


def test_the_kind_of_a_cause_leaves_out_what_is_different_each_time() -> None:
    assert kind_of("raised mine.Odd: a\nb: c") == "raised mine.Odd"
    assert kind_of("raised KeyError") == "raised KeyError"
    assert kind_of("process 7 exited with code 3 without finishing its work") == (
        "process exited with code 3 without finishing its work"
    )
    assert kind_of("took longer than 2 s and was ended") == "took longer than 2 s and was ended"


def test_only_so_many_causes_get_a_line() -> None:
    letters = [letter(f"raised E{number}: x") for number in range(CAUSES_SHOWN + 2)]
    assert summarize(state(dead_letters=letters)).split("\n")[-1] == "  and 2 more causes"


def test_results_are_counted() -> None:
    assert summarize(state(outputs={("a", "done"): [1, 2]})).split("\n")[-1] == "results: a.done 2"


def test_dead_letters_that_were_not_kept_are_still_counted() -> None:
    lines = summarize(state(dead_letters=[letter("raised KeyError: 1")])).split("\n")
    assert "given up: 2, of which the newest 1 were kept" in lines


def test_threads_that_were_left_behind_are_told_by_routine() -> None:
    given = state()
    given.routine_states["parse"]["stats"]["abandoned"] = 2
    assert summarize(given).split("\n")[-1] == "threads left behind in their handlers: parse 2"
