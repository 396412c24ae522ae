"""The text for Prometheus: its lines are what the format says, and its numbers those of the tracker."""

from __future__ import annotations

import re

from msgspec.structs import replace

from tests.tracking.samples import tracker

_LABEL = r'[a-z_]+="(?:[^"\\\n]|\\["\\n])*"'
_SAMPLE = re.compile(rf"routilux_[a-z_]+\{{{_LABEL}(?:,{_LABEL})*\}} [-+.0-9e]+")


def test_each_line_is_one_of_the_format() -> None:
    lines = tracker().to_prometheus().splitlines()
    comments = [line for line in lines if line.startswith("#")]
    assert [line for line in lines if not line.startswith("#") and not _SAMPLE.fullmatch(line)] == []
    kinds = {line.split()[2]: line.split()[3] for line in comments if line.startswith("# TYPE")}
    assert set(kinds.values()) == {"counter", "gauge", "summary"}
    assert all((kind == "counter") == name.endswith("_total") for name, kind in kinds.items())
    for line in lines:
        if not line.startswith("#"):
            name = line.partition("{")[0]
            assert name in kinds or name.removesuffix("_sum").removesuffix("_count") in kinds


def test_its_numbers_are_those_of_the_tracker() -> None:
    lines = tracker().to_prometheus().splitlines()
    whole = 'job_id="nightly",flow_id="census"'
    where = f'{whole},routine="parse"'
    for line in (
        f"routilux_handled_total{{{where}}} 3",
        f"routilux_failed_total{{{where}}} 1",
        f"routilux_waiting_peak{{{where}}} 7",
        f'routilux_turn_seconds{{{where},quantile="1"}} 1.0',
        f"routilux_turn_seconds_sum{{{where}}} 2.0",
        f"routilux_turn_seconds_count{{{where}}} 3",
        f"routilux_wait_seconds_count{{{where}}} 0",
        f'routilux_worker_cpu_seconds_total{{{where},worker="0"}} 12.5',
        f'routilux_worker_resident_bytes{{{where},worker="0"}} {1 << 20}',
        f'routilux_sent_total{{{whole},source="read",event="file",target="parse",slot="source"}} 5',
        f"routilux_run_seconds_total{{{whole}}} 30.0",
    ):
        assert line in lines, line


def test_connections_with_the_same_ends_are_one_series_and_so_are_those_that_are_gone() -> None:
    found = tracker()
    (flow,) = found.flows
    gone = replace(flow, source="", event="", target="", slot="", count=3)
    lines = replace(found, flows=(flow, replace(flow, count=4), gone, gone)).to_prometheus().splitlines()
    assert [line.partition(",source=")[2] for line in lines if line.startswith("routilux_sent_total")] == [
        '"read",event="file",target="parse",slot="source"} 9',
        '"",event="",target="",slot=""} 6',
    ]


def test_text_of_others_stays_within_its_label() -> None:
    text = tracker('a"} 1\nb\\ \udc80').to_prometheus()
    text.encode()
    assert [line for line in text.splitlines() if not line.startswith("#") and not _SAMPLE.fullmatch(line)] == []
    assert 'routine="a\\"} 1\\nb\\\\ ?"' in text
