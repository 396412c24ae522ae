"""Which job is meant, where several run: all in this program, which a socket does not care about."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from routilux import Flow, Job, routine
from routilux.cli.errors import UsageError
from routilux.cli.lookup import find_all, find_job, split_words
from routilux.cli.main import main


@routine
def work(n: int) -> None:
    """Do nothing."""


@routine
def broken(n: int) -> None:
    raise ValueError(n)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    runtime = tmp_path_factory.mktemp("r")
    monkeypatch.setattr("routilux.control.folder._folders", lambda: [runtime / "routilux"])
    monkeypatch.delenv("ROUTILUX_STORE", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def start(job_id: str | None, store: str | None = "jobs") -> Job:
    flow = Flow("working")
    flow.add_routine(work, "work")
    if store is None:
        return flow.start(keep_open=True, takes_commands=True)
    return flow.start(keep_open=True, store=store, job_id=job_id)


@pytest.fixture
def jobs() -> Iterator[dict[str, Job]]:
    """Give three jobs that run, one of them without a store, and beside them one that nobody runs."""
    with ExitStack() as stack:
        started = {job_id: start(job_id) for job_id in ("night-1", "night-2", "left")}
        started.pop("left").leave()
        started["none"] = start(None, None)
        for job in started.values():
            stack.callback(job.cancel_and_wait)
        yield started


def options(job: str | None = None, store: str | None = None) -> argparse.Namespace:
    return argparse.Namespace(job=job, store=store)


def refused(given: argparse.Namespace) -> str:
    with pytest.raises(UsageError) as raised:
        find_job(given)
    return str(raised.value)


@pytest.mark.parametrize("store", ["jobs", None])
def test_a_job_is_found_by_its_id_and_by_a_beginning_that_is_of_no_other(
    jobs: dict[str, Job], store: str | None, folder: Path
) -> None:
    for named in ("night-1", "night-2"):
        given = options(named, store)
        assert find_job(given).job_id == given.job == named
        assert given.store == (store or str(folder / "jobs"))
    assert "'night-1', 'night-2'" in refused(options("nigh", store)).replace(f" in process {_pid()}", "")
    assert "no job 'day'" in refused(options("day", store))
    assert find_job(options("night-1", store)).owner is not None


def _pid() -> str:
    return f"{os.getpid()} on {os.uname().nodename}"


def test_without_a_store_those_that_run_are_known_and_no_others(jobs: dict[str, Job]) -> None:
    found = find_job(options(jobs["none"].id[:8]))
    assert (found.job_id, found.store, found.store_path) == (jobs["none"].id, None, "")
    assert "no job 'left' of yours runs here now" in refused(options("left"))
    assert "say which job is meant: these run now: " in refused(options())
    assert find_job(options("left", "jobs")).owner is None
    assert {job.job_id for job, _owner in find_all(options())} == {"night-1", "night-2", jobs["none"].id}
    assert {job.job_id for job, _owner in find_all(options(store="jobs"))} == {"night-1", "night-2"}


def test_the_only_one_need_not_be_named(jobs: dict[str, Job]) -> None:
    jobs["night-2"].leave()
    assert find_job(options(store="jobs")).job_id == "night-1"
    jobs["night-1"].leave()
    assert "none of its jobs runs" in refused(options(store="jobs"))
    assert find_job(options()).job_id == jobs["none"].id


def test_the_store_of_the_environment_comes_behind_the_one_named(
    jobs: dict[str, Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("other").mkdir()
    monkeypatch.setenv("ROUTILUX_STORE", "jobs")
    assert find_job(options("left")).store_path == "jobs"
    assert find_job(options(jobs["none"].id)).store_path == "", "it runs, though it is not in there"
    assert "has no job 'left'" in refused(options("left", "other"))
    monkeypatch.setenv("ROUTILUX_STORE", "other")
    assert find_job(options("night-1")).owner is not None
    assert "has no job 'left'" in refused(options("left"))


@pytest.mark.parametrize(
    ("given", "job", "words"),
    [
        (["night-1", "work"], "night-1", ["work"]),
        (["work"], None, ["work"]),
        (["ni", "work"], "ni", ["work"]),
        ([], None, []),
    ],
)
def test_the_first_word_is_the_job_if_it_names_one(
    jobs: dict[str, Job], given: list[str], job: str | None, words: list[str]
) -> None:
    jobs["night-2"].leave()
    found = argparse.Namespace(words=given, store="jobs", job=None)
    split_words(found)
    assert (found.job, found.words) == (job, words)


def test_where_several_run_the_first_word_is_the_job(jobs: dict[str, Job], capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("stack", "tap", "logs"):
        assert main([command, "work"]) == 2
        assert "no job 'work' of yours runs here now; those that do are " in capsys.readouterr().err
    assert main(["tap", "night-1"]) == 2
    assert "say which routine of job 'night-1'" in capsys.readouterr().err


def test_dead_letters_of_a_job_that_nobody_runs(jobs: dict[str, Job], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["retry", "left", "--store", "jobs"]) == 0
    assert capsys.readouterr().err == "job left has no dead letters\n"
    assert main(["retry", "left", "12", "--store", "jobs"]) == 2
    assert "message '12' is not among the dead letters of the job" in capsys.readouterr().err
    assert main(["skip", "left", "--all", "--store", "jobs"]) == 0
    assert capsys.readouterr().err == "job left has no dead letters\n"
    main(["cancel", "left", "--store", "jobs"])
    capsys.readouterr()
    assert main(["retry", "left", "--all", "--store", "jobs"]) == 1
    assert "it is cancelled, and not resumed any more; `routilux fork` makes a new job" in capsys.readouterr().err
    assert main(["retry", "left", "12", "--all", "--store", "jobs"]) == 2
    for command in ("ps", "top", "stack", "logs"):
        assert main([command, "left", "--store", "jobs"]) == 1
        assert capsys.readouterr().err.endswith("nobody runs it, and it is cancelled\n")


def test_of_a_failed_job_that_nobody_runs_it_is_said_how_to_go_on(
    jobs: dict[str, Job], capsys: pytest.CaptureFixture[str]
) -> None:
    flow = Flow("broken")
    flow.add_routine(broken, "work")
    assert flow.start("work", {"n": 1}, store="jobs", job_id="broken").wait().status == "failed"
    assert main(["stack", "broken", "--store", "jobs"]) == 1
    told = "nobody runs it, and it is failed; go on with it by: routilux resume broken --store jobs\n"
    assert capsys.readouterr().err.endswith(told)


def test_a_job_and_one_routine_are_all_that_is_looked_at(
    jobs: dict[str, Job], capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("stack", "logs"):
        assert main([command, "night-1", "work", "more", "--store", "jobs"]) == 2
        assert "expected a job and a routine at most, got work more too" in capsys.readouterr().err
