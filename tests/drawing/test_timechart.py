"""The timeline as a picture."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from routilux.drawing.timechart import LANES_SHOWN, Moments, draw_timeline, tell_tick
from routilux.drawing.timeline import Timeline
from routilux.executions import ExecutionRecord
from supervisors.reasons import Crashed, ErrorRecord, Raised

SVG = "{http://www.w3.org/2000/svg}"


def drawn(timeline: Timeline, moments: Moments | None = None) -> ET.Element:
    return ET.fromstring(draw_timeline(timeline, moments or Moments()))


def styles(svg: ET.Element) -> list[str]:
    return [part.get("class", "") for part in svg.iter() if part.tag != f"{SVG}text"]


def test_each_routine_has_a_lane_with_what_it_did_and_what_failed() -> None:
    timeline = Timeline(0.0, ["read", "parse"])
    timeline.add(ExecutionRecord("parse", "completed", 1.0, seconds=0.5))
    timeline.add(ExecutionRecord("parse", "error", 2.0, reason=Raised(ErrorRecord("ValueError", "", ""))))
    timeline.add(ExecutionRecord("parse", "error", 3.0, reason=Crashed(signal=9)))
    svg = drawn(timeline)
    assert [text.text for text in svg.iter(f"{SVG}text")][:2] == ["read", "parse"]
    assert [title.text for title in svg.iter(f"{SVG}title")][1:] == [
        "read, 0 turns",
        "parse, 1 turn, 1 failure, 1 death",
    ]
    assert [style for style in styles(svg) if style in {"rt-lane", "rt-busy", "rt-fail", "rt-death"}] == [
        *("rt-lane", "rt-lane", "rt-busy", "rt-fail", "rt-death"),
    ]


def test_pauses_and_checkpoints_are_marked_and_the_word_is_not_written_over_itself() -> None:
    timeline = Timeline(100.0, ["read"])
    timeline.reach(200.0)
    svg = drawn(timeline, Moments([150.0, 150.1, 190.0], [200.0]))
    assert (styles(svg).count("rt-pause"), styles(svg).count("rt-kept")) == (3, 1)
    assert [text.text for text in svg.iter(f"{SVG}text")].count("paused") == 2


def test_of_many_routines_the_busiest_are_shown_in_their_order() -> None:
    timeline = Timeline(0.0, [f"r{number}" for number in range(LANES_SHOWN + 5)])
    timeline.add(ExecutionRecord(f"r{LANES_SHOWN + 4}", "completed", 1.0, seconds=0.5))
    lanes = [title.text for title in drawn(timeline).iter(f"{SVG}title")][1:]
    assert len(lanes) == LANES_SHOWN
    assert (lanes[0], lanes[-1]) == ("r0, 0 turns", f"r{LANES_SHOWN + 4}, 1 turn")


def test_a_job_of_which_nothing_is_known_is_drawn() -> None:
    assert styles(drawn(Timeline(0.0))).count("rt-lane") == 0


def test_names_are_escaped() -> None:
    svg = draw_timeline(Timeline(0.0, ["<script>\x1b"]), Moments())
    assert "&lt;script&gt;\\x1b" in svg


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "0"), (0.0005, "0.5 ms"), (0.25, "250 ms"), (1.5, "1.5 s"), (90, "1.5 min"), (7200, "2 h"), (172800, "2 d")],
)
def test_times_have_units_that_fit(seconds: float, told: str) -> None:
    assert tell_tick(seconds) == told
