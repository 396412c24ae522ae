"""The picture: well formed, with all that is in the diagram, and nothing in it that runs or is fetched."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from routilux.drawing.diagram import Box, Diagram, Kind, Line, Link, Tone, draw_flow, draw_job
from routilux.drawing.svg import MOST_WIDTH, to_svg
from tests.drawing.test_diagram import drawn, tracked

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    return [text.text or "" for text in ET.fromstring(svg).iter(f"{SVG}text")]


def test_a_flow_has_its_boxes_and_labels() -> None:
    svg = to_svg(draw_flow(drawn()))
    assert texts(svg) == [
        *("read", "parse", "2 processes", "score", "1 process", "output"),
        *("out \u2192 in", "(name=path, body=text)", 'out \u2192 odd "slot" <b> #1 & \\', "out"),
    ]
    assert svg == to_svg(draw_flow(drawn())), "the same is drawn the same"


def test_processes_and_pools_are_drawn_as_such() -> None:
    def shapes(kind: Kind) -> list[str]:
        svg = ET.fromstring(to_svg(Diagram("f", (Box("a", "a", kind),), ())))
        return [part.tag.removeprefix(SVG) for part in svg.iter() if "rx-shape" in part.get("class", "")]

    assert shapes(Kind.THREAD) == ["rect"]
    assert shapes(Kind.PROCESS) == ["rect", "path", "path"]
    assert shapes(Kind.POOL) == ["rect", "rect", "rect", "path", "path"]
    assert shapes(Kind.OUTPUT) == ["rect"]


def test_a_job_has_its_numbers_in_their_colours() -> None:
    picture = to_svg(draw_job(tracked()))
    assert texts(picture)[0] == "census, job ab12: failed"
    svg = ET.fromstring(picture)
    styles = {text.text: text.get("class") for text in svg.iter(f"{SVG}text")}
    assert styles["failed"] == styles["2 failed, 1 dead"] == styles["1 dead"] == "rx-bad"
    assert styles["completed"] == "rx-good"
    assert styles["1,241, 6 left"] == "rx-plain"


def test_what_is_cut_is_told_in_full_when_pointed_at() -> None:
    name = "a_routine_with_a_name_that_is_longer_than_there_is_room_for_it"
    svg = to_svg(Diagram("f", (Box(name, name, Kind.THREAD),), ()))
    assert texts(svg)[0].endswith("\u2026")
    assert f"<title>{name}</title>" in svg


def test_nothing_in_it_runs_or_is_fetched() -> None:
    odd = "<script>alert(1)</script>&\"'\x00\x1b[2J\ud800]]>"
    boxes = (Box("a", odd, Kind.PROCESS, odd, (Line(odd, Tone.BAD),)), Box("b", "b", Kind.THREAD))
    svg = to_svg(Diagram(odd, boxes, (Link("a", "b", odd, odd, odd, (Line(odd),)),)))
    parts = list(ET.fromstring(svg).iter())
    assert {part.tag for part in parts} == {
        SVG + name for name in ("svg", "title", "style", "rect", "g", "path", "text")
    }
    assert not any(name.startswith("on") or name.endswith("href") for part in parts for name in part.attrib)
    assert re.findall(r"url\(|@import|https?:", svg) == ["http:"], "but for the name of the language"
    assert svg.isascii()


def test_a_long_flow_is_drawn_from_above_to_below() -> None:
    boxes = tuple(Box(f"r{number}", f"r{number}", Kind.THREAD) for number in range(30))
    links = tuple(Link(f"r{number}", f"r{number + 1}", "done", "input") for number in range(29))
    svg = ET.fromstring(to_svg(Diagram("f", boxes, links)))
    assert float(svg.get("width", "")) < MOST_WIDTH / 2
    assert float(svg.get("height", "")) > MOST_WIDTH / 2


@given(st.text(st.characters(codec=None), max_size=30))
def test_any_text_makes_a_well_formed_picture(text: str) -> None:
    ET.fromstring(to_svg(Diagram(text, (Box("a", text, Kind.THREAD),), (Link("a", "a", text, text),))))
