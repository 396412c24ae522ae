"""What notebooks show of flows and jobs."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from routilux import Flow
from routilux.drawing.diagram import PARTS_DRAWN
from routilux.drawing.display import show_flow, show_job
from routilux.model.graph import FlowGraph
from tests.cli.views import state
from tests.drawing.test_diagram import Stage, drawn, tracked
from tests.tracking.samples import one, pairs, wait_until

SVG = "{http://www.w3.org/2000/svg}"


def texts(html: str) -> list[str]:
    return [text.strip() for text in ET.fromstring(html).itertext() if text.strip()]


def pictures(html: str) -> int:
    return len(list(ET.fromstring(html).iter(f"{SVG}svg")))


def test_a_flow_is_its_picture() -> None:
    html = show_flow(drawn())
    assert pictures(html) == 1
    assert {"read", "parse", "2 processes", "out \u2192 in"} <= set(texts(html))
    flow = Flow("f")
    flow.add_routine(Stage(), "read")
    assert "read" in texts(flow._repr_html_())


def test_a_flow_that_is_too_large_is_told_in_a_line() -> None:
    graph = FlowGraph("large")
    for number in range(PARTS_DRAWN + 1):
        graph.add_routine(Stage(), f"r{number}")
    html = show_flow(graph)
    assert pictures(html) == 0
    assert texts(html)[0].startswith(f"FlowGraph 'large': {PARTS_DRAWN + 1} routines (r0, r1")


def test_a_job_is_its_picture_a_table_and_what_went_wrong() -> None:
    html = show_job(tracked(), "routine 'parse' <failed>", {"parse": "raised <b>\x1b"}, ["3 results"])
    assert pictures(html) == 1
    rows = [[cell.text or "" for cell in row] for row in ET.fromstring(html).iter("tr")]
    assert rows[0] == ["routine", "status", "handled", "left", "failed", "dead", "last error"]
    assert rows[1:] == [
        ["read", "completed", "1", "0", "0", "0", ""],
        ["parse", "failed", "1,234", "6", "2", "1", "raised <b>\\x1b"],
    ]
    assert {"routine 'parse' <failed>", "3 results", "census, job ab12: failed"} <= set(texts(html))


def test_a_job_and_its_state_show_the_same_numbers() -> None:
    flow, _pair = pairs()
    flow.output("pair", "item")
    job = flow.start("pair", {"n": 13}, keep_open=True)
    job.send("pair", "trigger", n=1)
    wait_until(job, lambda tracker: one(tracker, "sum").handled == 2)
    while_running = texts(job._repr_html_())
    assert {"pairs, job " + job.id + ": running", "raised ValueError: 13"} <= set(while_running)
    job.close_entry()
    job.collect()
    final = texts(job.wait()._repr_html_())
    assert {"pairs, job " + job.id + ": completed", "raised ValueError: 13"} <= set(final)
    assert "2 results of pair.item" in final
    assert job._repr_html_().startswith("<div>")


def test_a_state_of_which_nothing_was_measured_is_shown() -> None:
    html = state(error="it failed")._repr_html_()
    assert texts(html)[-8:] == ["it failed", "routine", "status", "handled", "left", "failed", "dead", "last error"]
