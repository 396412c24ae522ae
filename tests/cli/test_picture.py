from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from routilux.cli.picture import (
    WORKERS_SHOWN,
    Column,
    draw_job,
    lay_out,
    tell_bytes,
    tell_percent,
    tell_progress,
    tell_rate,
    tell_seconds,
)
from routilux.figures import RoutineFigures
from routilux.observe import WorkerView
from tests.cli.views import busy_job, routine

AT_120 = """\
1,790 files
census, job ab12: running, 12.3 s, this program cpu 12 % 40 MiB
routine  status           waiting  in hand  handled  per s  failed  dead  retries  restarts  workers    cpu   memory
read     running                0        1        0      0       0     0        0         0   thread
parse    error_continued      987        2   12,345    101       9     4        5         3        2  186 %  115 MiB
tally    running                0        0   12,340    2.5       0     0        0         0   thread
  parse[0]  pid 4321  cpu 98 % 55 MiB
  parse[1]  pid 4322  cpu 88 % 60 MiB"""

AT_80 = """\
1,790 files
census, job ab12: running, 12.3 s, this program cpu 12 % 40 MiB
routine  status           waiting  handled  per s  restarts    cpu   memory
read     running                0        0      0         0
parse    error_continued      987   12,345    101         3  186 %  115 MiB
tally    running                0   12,340    2.5         0
  parse[0]  pid 4321  cpu 98 % 55 MiB
  parse[1]  pid 4322  cpu 88 % 60 MiB"""


def drawn(width: int, headline: str = "1,790 files") -> str:
    return "\n".join(line.text for line in draw_job(busy_job(), width, headline))


def test_a_job_is_drawn_at_120_columns() -> None:
    assert drawn(120) == AT_120


def test_a_job_is_drawn_at_80_columns_without_what_matters_least() -> None:
    assert drawn(80) == AT_80


@given(st.integers(1, 150))
def test_no_line_is_longer_than_the_terminal_is_wide_down_to_what_cannot_be_cut(width: int) -> None:
    assert all(len(line) <= max(width, 16) for line in drawn(width).split("\n"))


def test_without_a_headline_the_job_itself_is_the_head() -> None:
    first, *_ = draw_job(busy_job(), 80)
    assert first == ("census, job ab12: running, 12.3 s, this program cpu 12 % 40 MiB", "head")


def test_a_failed_routine_stands_out() -> None:
    view = busy_job()._replace(routines=(routine("a"), routine("b", status="failed"), routine("c", status="skipped")))
    assert [line.part for line in draw_job(view, 80)] == ["head", "titles", "row", "bad", "bad"]


def test_only_so_many_workers_get_a_line() -> None:
    workers = tuple(WorkerView(number, 100 + number) for number in range(WORKERS_SHOWN + 3))
    lines = draw_job(busy_job()._replace(routines=(routine(workers=workers),)), 80)
    assert len(lines) == 3 + WORKERS_SHOWN + 1
    assert lines[-1].text == "  and 3 more workers"


def test_a_worker_without_a_process_is_starting() -> None:
    lines = draw_job(busy_job()._replace(routines=(routine(workers=(WorkerView(0),)),)), 80)
    assert lines[-1].text == "  parse  starting"


def test_progress_is_one_line() -> None:
    assert tell_progress(busy_job()) == (
        "read 0 handled, 0/s"
        " | parse 12,345 handled, 987 waiting, 101/s, 2 workers, cpu 186 %, 115 MiB, 4 dead, 3 restarts"
        " | tally 12,340 handled, 2.5/s"
    )


def test_what_a_terminal_would_obey_is_escaped() -> None:
    text = "".join(line.text for line in draw_job(busy_job(), 80, "evil\x1b[2J"))
    assert "\x1b" not in text


def test_columns_go_by_rank_and_the_first_is_cut_last() -> None:
    columns: list[Column[str]] = [
        Column("name", str, 0, is_text=True),
        Column("much", lambda _: "much", 2),
        Column("more", lambda _: "more", 1),
    ]
    assert lay_out(columns, ["a" * 12], 24) == (
        "name          much  more",
        ["aaaaaaaaaaaa  much  more"],
    )
    assert lay_out(columns, ["a" * 12], 23) == ("name          more", ["aaaaaaaaaaaa  more"])
    assert lay_out(columns, ["a" * 12], 10) == ("name", ["aaaaaaa..."])


def test_figures_read_as_people_write_them() -> None:
    assert [tell_rate(rate) for rate in (None, 0.0, 0.25, 9.96, 1234.5)] == ["", "0", "0.2", "10.0", "1,234"]
    assert [tell_percent(percent) for percent in (None, 0.0, 187.4)] == ["", "0 %", "187 %"]
    assert [tell_bytes(count) for count in (None, 0, 55 * 2**20, 20 * 2**30)] == ["", "0 MiB", "55 MiB", "20.0 GiB"]
    seconds = [tell_seconds(value) for value in (0.04, 59.94, 60.0, 125.4, 3720.0)]
    assert seconds == ["0.0 s", "59.9 s", "1 min 00 s", "2 min 05 s", "1 h 02 min"]


def test_threads_that_were_abandoned_are_told_in_the_line_of_progress() -> None:
    view = busy_job()._replace(routines=(routine("parse", figures=RoutineFigures(handled=2, abandoned=1)),))
    assert tell_progress(view) == "parse 2 handled, 1 abandoned"
