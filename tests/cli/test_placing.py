"""`--placement` and `--address`: where routines run, said on the command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from routilux.cli.errors import UsageError
from routilux.cli.main import main
from routilux.cli.placing import place_routines, read_placements, use_address
from routilux.cli.target import load_flow
from routilux.flow import Flow
from tests.rays import hide_ray, show_ray

FLOWS = """
import threading
from routilux import Flow, Routine, routine
from routilux.routines import JsonLinesSink

class Count(Routine):
    def __init__(self):
        super().__init__()
        self.held = threading.Lock()
        self.define_slot("trigger", handler=self.run)
        self.define_event("n", ["n"])

    def run(self, upto=3):
        for n in range(upto):
            self.emit("n", n=n)

@routine(events={"out": ["n"]})
def double(n):
    return 2 * n

flow = Flow("sums")
flow.add_routine(Count(), "count")
flow.add_routine(double, "double", placement="process", workers=2, start_method="spawn", niceness=3)
flow.add_routine(double, "plain")
flow.add_routine(JsonLinesSink("out.jsonl"), "write")
flow.connect("count", "n", "double", "input")
flow.connect("double", "out", "plain", "input")
flow.connect("plain", "out", "write", "input")
"""
COUNT_STAYS = "routine 'count' stays on a thread: cannot travel to its worker: count.held: a _thread.lock"


@pytest.fixture(autouse=True)
def flow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flow]:
    (tmp_path / "pflows.py").write_text(FLOWS)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("RAY_ADDRESS", "before")
    monkeypatch.chdir(tmp_path)
    yield load_flow("pflows:flow")
    sys.modules.pop("pflows", None)


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(list(words))
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def placed(flow: Flow) -> dict[str, str]:
    return {routine_id: own.placement for routine_id, own in flow.options.items()}


def test_all_that_can_move_and_what_stays_says_why(flow: Flow, capsys: pytest.CaptureFixture[str]) -> None:
    place_routines(flow, ["ray"])
    assert placed(flow) == {"count": "thread", "double": "ray", "plain": "ray", "write": "thread"}
    first, second, third = capsys.readouterr().err.splitlines()
    assert first.startswith(COUNT_STAYS)
    assert second == "routine 'double' runs on Ray, without its start_method, niceness, which mean nothing there"
    assert third.startswith("routine 'write' stays on a thread: works on the file '")
    assert third.endswith("/out.jsonl' of this machine; --placement ray=write moves it all the same")
    assert flow.options["double"].workers == 2


def test_those_that_are_named_move_and_no_other(flow: Flow, capsys: pytest.CaptureFixture[str]) -> None:
    place_routines(flow, ["ray=plain,write", "thread=double"])
    assert placed(flow) == {"count": "thread", "double": "thread", "plain": "ray", "write": "ray"}
    told = "routine 'double' runs on a thread, without its workers, start_method, niceness, which mean nothing there\n"
    assert capsys.readouterr().err == told


def test_a_name_goes_before_all_others_wherever_it_stands(flow: Flow) -> None:
    place_routines(flow, ["thread=count,plain", "process", "process=write"])
    assert placed(flow) == {"count": "thread", "double": "process", "plain": "thread", "write": "process"}
    place_routines(flow, [])
    assert placed(flow) == {"count": "thread", "double": "process", "plain": "thread", "write": "process"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["rya"], "--placement: expected WHERE or WHERE=ID,..., got 'rya'; there are .*did you mean 'ray'"),
        (["ray="], "--placement ray=: the flow has no routine ''"),
        (["ray=plian"], "--placement ray=plian: the flow has no routine 'plian'; .*did you mean 'plain'"),
        (["ray", "process"], "--placement: all routines are to run on Ray and in a process"),
        (["ray=plain", "thread=plain"], "--placement: routine 'plain' is to run on Ray and on a thread"),
        (["ray=count"], "--placement ray=count: cannot travel to its worker: count.held: a _thread.lock"),
    ],
)
def test_what_means_nothing_is_an_error_of_usage(flow: Flow, words: list[str], expected: str) -> None:
    before = placed(flow)
    with pytest.raises(UsageError, match=f"^{expected}"):
        place_routines(flow, words)
    assert placed(flow) == before


def test_the_same_may_be_said_twice(flow: Flow) -> None:
    assert read_placements(["ray", "ray", "process=plain", "process=plain,plain"], flow) == (
        "ray",
        {"plain": "process"},
    )


@pytest.mark.parametrize("address", ["auto", "local", "10.0.0.1:6379", "head.example.org:6379", "[::1]:6379"])
def test_an_address_is_told_to_ray_by_its_own_variable(flow: Flow, address: str) -> None:
    place_routines(flow, ["ray=plain"])
    use_address(None, flow)
    assert os.environ["RAY_ADDRESS"] == "before"
    use_address(address, flow)
    assert os.environ["RAY_ADDRESS"] == address


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("ray://head:10001", "--address: expected auto, local or HOST:PORT, got 'ray://head:10001'; Ray Client is not"),
        ("head", "--address: expected auto, local or HOST:PORT, got 'head'$"),
        ("head:", "--address: expected"),
    ],
)
def test_an_address_that_is_none_is_refused(flow: Flow, address: str, expected: str) -> None:
    with pytest.raises(UsageError, match=f"^{expected}"):
        use_address(address, flow)


def test_an_address_goes_with_routines_on_ray(flow: Flow) -> None:
    with pytest.raises(UsageError, match="--address means nothing for a flow without routines on Ray"):
        use_address("auto", flow)
    assert os.environ["RAY_ADDRESS"] == "before"


def test_without_ray_a_run_is_refused_in_a_line_that_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hide_ray(monkeypatch)
    status, out, err = told(capsys, "run", "pflows:flow", "--placement", "ray=plain", "--address", "local")
    assert (status, out) == (1, "")
    assert err == "routilux: routine 'plain' has placement='ray', which needs Ray: pip install 'routilux[ray]'\n"


def test_a_run_is_placed_and_a_resume_may_place_it_otherwise(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hide_ray(monkeypatch)
    kept = ["--store", "jobs", "--plain"]
    status, _, err = told(capsys, "run", "pflows:flow", "--placement", "thread", "--job-id", "j", *kept)
    assert status == 0, err
    assert Path("out.jsonl").read_text().splitlines() == ['{"n": 0}', '{"n": 4}', '{"n": 8}']
    assert told(capsys, "fork", "j", "k", "--checkpoint", "1-1", "--store", "jobs")[0] == 0
    resume = ["resume", "k", "--flow", "pflows:flow", *kept]
    status, _, err = told(capsys, *resume, "--placement", "ray=plain")
    assert (status, "which needs Ray" in err) == (1, True)
    status, _, err = told(capsys, *resume, "--placement", "thread")
    assert status == 0, err
    assert Path("out.jsonl").read_text().splitlines() == ['{"n": 0}', '{"n": 4}', '{"n": 8}']


def test_a_flow_is_checked_as_it_would_be_placed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    show_ray(monkeypatch)
    status, out, err = told(capsys, "check", "pflows:flow", "--placement", "ray")
    assert status == 0
    assert COUNT_STAYS in err
    assert "was started" not in out, "nothing is left that is a process of this machine"
    head, _, *lines = out.splitlines()[:6]
    assert head == "sums: no problems; of those on Ray it was tried whether they travel"
    assert lines == ["  count   on a thread        gets the first message", "  double  on Ray, 2 workers", *lines[2:]]
    status, out, _ = told(capsys, "check", "pflows:flow", "--placement", "thread=double", "--placement", "ray=write")
    assert "warning: routine 'write': works on the file " in out
