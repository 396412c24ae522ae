"""`routilux report`: a page that stands by itself, with all that there is to tell."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from routilux import Flow
from routilux.cli import story
from routilux.cli.failures import FailureKind
from routilux.cli.main import main
from routilux.cli.page import Cell, frame, heading, paragraph, table
from routilux.drawing.diagram import PARTS_DRAWN, Tone
from routilux.tracking.meters import Measured
from routilux.tracking.tracker import ExecutionTracker, RoutineTrack
from tests.cli.test_metrics import in_a_folder, started
from tests.drawing.test_diagram import flow_of
from tests.tracking.samples import one, pairs, wait_until

__all__ = ["in_a_folder"]  # a fixture, which is used by its name

VOID = {"meta", "rect", "path"}


class Page(HTMLParser):
    """Reads a page: its tags, its attributes and its text; each tag that is opened has to be closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append(data.strip())


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Page, str]:
    status = main(["report", "a", "--store", "jobs", *words])
    out, err = capsys.readouterr()
    return status, Page(out), err


def leave_one() -> None:
    """Leave a job that was paused twice, in which something failed."""
    job = started()
    job.send("pair", "trigger", n=13)
    wait_until(job, lambda tracker: one(tracker, "pair").failed == 1)
    job.pause("lunch <b>", {"after": "the soup"})
    job.resume()
    job.leave("home")


def test_a_page_tells_all_of_a_job(capsys: pytest.CaptureFixture[str]) -> None:
    leave_one()
    status, page, err = told(capsys)
    assert (status, err) == (0, "")
    assert page.texts[0] == "pairs, job a"  # the title, and again the heading
    text = "\n".join(page.texts)
    for wanted in (
        *("paused", "routilux resume a --store jobs", "messages handled", "Timeline", "item \u2192 input"),
        *("Errors (1)", "1 x pair: raised ValueError (1 x continue)", "in handle", "raised ValueError: 13"),
        *("Dead letters (1)", "Pauses (2)", "lunch <b>", "{'after': 'the soup'}", "home"),
    ):
        assert wanted in text, wanted
    assert re.search(r"Checkpoints \([0-9]+\)", text)


def test_it_runs_nothing_fetches_nothing_and_imports_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    leave_one()
    before = set(sys.modules)
    _status, page, _err = told(capsys)
    assert not {"script", "link", "img", "iframe", "object", "embed", "form"} & page.tags
    assert not any(name.startswith("on") or name in {"src", "href"} for name, _ in page.attributes)
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes
    assert not {module for module in set(sys.modules) - before if not module.startswith(("routilux", "supervisors"))}


def test_it_is_written_to_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    started().leave()
    assert main(["report", "a", "--store", "jobs", "-o", "a.html"]) == 0
    assert capsys.readouterr() == ("", "wrote a.html\n")
    assert Path("a.html").read_text().startswith("<!DOCTYPE html>")
    assert Path("a.html").read_text().isascii()


def test_the_whole_history_is_in_it_over_all_programs(capsys: pytest.CaptureFixture[str]) -> None:
    started().leave()
    flow, _pair = pairs()
    with Flow.resume("jobs", "a", flow=flow) as job:
        job.send("pair", "trigger", n=2)
    text = "\n".join(told(capsys)[1].texts)
    assert "sum, 4 turns" in text
    assert "completed" in text
    assert "routilux resume" not in text


def test_a_job_that_runs_is_told_as_it_was_kept_and_that_it_runs(capsys: pytest.CaptureFixture[str]) -> None:
    job = started()
    job.checkpoint()
    status, page, err = told(capsys)
    assert (status, err) == (0, "")
    assert "running" in page.texts
    assert any(text.startswith("run by process ") for text in page.texts)
    assert "routilux resume" not in "".join(page.texts)
    job.close_entry()
    job.wait()


def test_a_job_that_does_not_exist_is_refused_and_damage_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    started().leave()
    assert main(["report", "b", "--store", "jobs"]) == 2
    assert "its jobs are 'a'" in capsys.readouterr().err
    newest = max(Path("jobs/a").rglob("checkpoint-*"))
    newest.write_bytes(newest.read_bytes()[:-9])
    status, page, err = told(capsys)
    assert status == 1
    assert "the checkpoint is damaged" in err
    assert "What could not be read" in page.texts


def test_of_many_kinds_of_failures_the_most_frequent_are_told() -> None:
    kinds = [FailureKind("parse", f"raised E{number}", 1, 0.0, 0.0, None, {}) for number in range(60)]
    parts = list(story._tell_failures(kinds))
    assert len(parts) == 1 + story.KINDS_SHOWN + 1
    assert "and 10 more kinds" in parts[-1]


def test_a_flow_is_drawn_as_long_as_it_is_not_too_large_with_its_connections() -> None:
    tracks = tuple(RoutineTrack(name, "completed", {}, Measured()) for name in ("a", "b"))
    flows = tuple(flow_of("a", f"e{number}", "b", "in") for number in range(PARTS_DRAWN - 1))
    tracker = ExecutionTracker("j", "f", "completed", 100.0, 2.0, tracks, flows)
    assert list(story._tell_graph(tracker))[1:] == [
        paragraph(
            "It has 2 routines and 299 connections, too many for a picture here: `routilux graph` draws it.", "quiet"
        )
    ]
    drawn = msgspec.structs.replace(tracker, flows=flows[1:])
    assert "<svg" in list(story._tell_graph(drawn))[1]


def test_whatever_is_in_a_page_is_escaped() -> None:
    odd = '<script>\x1b&"\ud800'
    text = "".join(frame(odd, [heading(odd), table([odd], [[Cell(odd, Tone.BAD, "number")]])]))
    assert Page(text).texts.count('<script>\\x1b&"\\ud800') == 4
