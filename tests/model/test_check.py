# ruff: noqa: ARG005  what a handler takes is what matters here, not what it does

from __future__ import annotations

import threading
from typing import Any

import pytest

from routilux import routine
from routilux.model.check import Problem
from routilux.model.graph import FlowGraph
from routilux.model.merging import batch
from routilux.model.options import RoutineOptions
from routilux.model.routine import Routine
from tests.rays import hide_ray, show_ray


class Source(Routine):
    def __init__(self, *params: str) -> None:
        super().__init__()
        self.define_slot("trigger", lambda: None)
        self.define_event("out", params)


class Relay(Routine):
    def __init__(self, handler: Any = lambda data: None, merge_strategy: Any = "override") -> None:
        super().__init__()
        self.define_slot("in", handler, merge_strategy)
        self.define_event("out")


class Sink(Routine):
    def __init__(self, handler: Any = lambda data: None, merge_strategy: Any = "override") -> None:
        super().__init__()
        self.define_slot("in", handler, merge_strategy)


def pair(source: Routine, target: Routine, mapping: dict[str, str] | None = None, **options: Any) -> FlowGraph:
    graph = FlowGraph("f")
    graph.add_routine(source, "source")
    graph.add_routine(target, "target", **options)
    graph.connect("source", "out", "target", "in", mapping)
    return graph


def told(graph: FlowGraph) -> list[str]:
    return [str(problem) for problem in graph.check()]


def test_a_flow_that_is_all_right_has_no_problems() -> None:
    assert told(pair(Source("a"), Sink())) == []


def test_a_flow_without_routines_has_one() -> None:
    assert FlowGraph("f").check() == [Problem("error", "flow 'f'", "has no routines; add some with add_routine")]


class Picky(Sink):
    def objection_to(self, options: RoutineOptions) -> str | None:
        return f"not with {options.workers} workers" if options.workers > 1 else None


def test_a_routine_may_object_to_options_of_its_flow() -> None:
    assert told(pair(Source("a"), Picky())) == []
    graph = pair(Source("a"), Picky(), placement="process", workers=2)
    assert told(graph) == ["error: routine 'target': not with 2 workers"]


# -- Parameters


def needs(path: Any, text: Any, depth: Any = 1) -> None: ...


def with_rest(path: Any, **rest: Any) -> None: ...


def one(path: Any) -> None: ...


@pytest.mark.parametrize(
    ("params", "handler", "mapping"),
    [
        ((), needs, {}),
        (("path", "text"), needs, {}),
        (("text", "name", "more"), needs, {"name": "path"}),
        (("x",), one, {}),
        (("path",), with_rest, {}),
        (("x",), lambda data: None, {}),
        (("x",), lambda: None, {}),
    ],
)
def test_declared_parameters_that_will_do_are_no_problem(params: Any, handler: Any, mapping: Any) -> None:
    assert told(pair(Source(*params), Sink(handler), mapping)) == []


@pytest.mark.parametrize(
    ("params", "handler", "mapping", "missing"),
    [
        (("path",), needs, {}, ["text"]),
        (("x", "depth"), needs, {}, ["path", "text"]),
        (("path", "text"), needs, {"path": "depth"}, ["path"]),
        (("x",), with_rest, {}, ["path"]),
    ],
)
def test_declared_parameters_that_cannot_satisfy_the_handler_are_an_error(
    params: Any, handler: Any, mapping: Any, missing: list[str]
) -> None:
    (problem,) = pair(Source(*params), Sink(handler), mapping).check()
    assert problem.severity == "error"
    assert problem.where == "connection source.out -> target.in"
    assert f"needs {missing}, and the event declares {list(params)}" in problem.message


@pytest.mark.parametrize("merge_strategy", ["append", lambda old, new: {**old, **new}], ids=["append", "function"])
def test_a_slot_that_gathers_may_get_the_rest_from_elsewhere(merge_strategy: Any) -> None:
    (problem,) = pair(Source("path"), Sink(needs, merge_strategy)).check()
    assert problem.severity == "warning"


# -- Ends


def test_an_event_that_goes_nowhere_is_odd_unless_it_is_an_output() -> None:
    graph = FlowGraph("f")
    graph.add_routine(Source(), "source")
    assert told(graph) == ["warning: routine 'source': event 'out' goes nowhere: it is counted and dropped"]
    graph.output("source", "out")
    assert told(graph) == []


def test_a_slot_that_nothing_feeds_is_odd_unless_it_is_the_entry() -> None:
    graph = pair(Source(), Sink())
    graph.add_routine(Sink(), "lonely")
    assert told(graph) == [
        "warning: slot 'in' of routine 'lonely': nothing is connected to it: only Job.send reaches it"
    ]


def test_a_slot_that_hears_of_the_end_needs_nothing_that_feeds_it() -> None:
    sink = Sink()
    sink.define_slot("end", lambda: None, at_end=True)
    assert told(pair(Source(), sink)) == []


def test_a_slot_that_takes_nothing_is_a_signal_that_may_be_for_job_send_alone() -> None:
    sink = Sink()
    sink.define_slot("flush", lambda: None)
    assert told(pair(Source(), sink)) == []


@routine(events=[])
def function(a: Any) -> None: ...


def test_a_function_is_an_entry() -> None:
    graph = FlowGraph("f")
    graph.add_routine(function)
    assert told(graph) == []


def test_a_loop_that_no_entry_leads_to_is_odd() -> None:
    graph = pair(Source(), Sink())
    for routine_id in ("a", "b"):
        graph.add_routine(Relay(), routine_id)
    graph.connect("a", "out", "b", "in")
    graph.connect("b", "out", "a", "in")
    text = "no entry (a slot 'trigger', or a __call__) leads to it: it runs only by Job.send"
    assert told(graph) == [f"warning: routine '{routine_id}': {text}" for routine_id in ("a", "b")]
    graph.connect("source", "out", "b", "in")
    assert told(graph) == []


class Useless(Routine):
    """Defines nothing."""


def test_a_routine_that_nothing_can_reach_is_odd() -> None:
    graph = FlowGraph("f")
    graph.add_routine(Useless())
    (problem,) = graph.check()
    assert problem.severity == "warning"
    assert "no slots and no entry" in problem.message


def test_workers_that_gather_each_for_itself_are_odd() -> None:
    graph = pair(Source("a"), Sink(merge_strategy="append"), placement="process", workers=2)
    assert told(graph) == [
        "warning: slot 'in' of routine 'target': it gathers, and each of the 2 workers gathers for itself"
    ]


# -- Travelling


class Locked(Sink):
    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


def test_a_process_routine_that_does_not_travel_is_an_error_that_names_the_attribute() -> None:
    (problem,) = pair(Source(), Locked(), placement="process").check()
    assert problem.severity == "error"
    assert problem.where == "routine 'target'"
    assert "target.lock: a _thread.lock" in problem.message
    assert "placement='thread'" in problem.message
    assert told(pair(Source(), Locked())) == []


def test_what_a_function_holds_and_does_not_travel_is_named_too() -> None:
    lock = threading.Lock()

    @routine(events=[])
    def holds(a: Any) -> None:
        with lock:
            pass

    graph = FlowGraph("f")
    graph.add_routine(holds, placement="process")
    (problem,) = graph.check()
    assert problem.severity == "error"
    assert "holds._function.<variable lock>: a _thread.lock" in problem.message


class LockedMethod(Routine):
    """Its slot comes before the lock, and its handler holds the object that holds the lock."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("in", self.handle)
        self.lock = threading.Lock()

    def handle(self, a: Any) -> None: ...


def test_the_attribute_is_named_and_not_the_slot_whose_handler_holds_it() -> None:
    (problem,) = pair(Source(), LockedMethod(), placement="process").check()
    assert "target.lock: a _thread.lock" in problem.message


def test_a_handler_that_does_not_travel_is_named_with_its_slot() -> None:
    lock = threading.Lock()
    (problem,) = pair(Source(), Sink(lambda a: (lock, a)), placement="process").check()
    assert "target.slots['in'].handler.<variable lock>: a _thread.lock" in problem.message


def test_all_problems_come_at_once_and_errors_first() -> None:
    graph = pair(Source("path"), Relay(needs))
    graph.add_routine(Locked(), "locked", placement="process")
    severities = [problem.severity for problem in graph.check()]
    assert severities == ["error", "error", "warning", "warning"]


class Typed(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", lambda: None)
        self.define_event("out", {"n": int, "path": str, "free": Any})


def takes(n: str, path: str | None = None, free: bytes = b"") -> None: ...


def takes_number(n: int) -> None: ...


def takes_lists(n: list[int], path: list[bytes]) -> None: ...


@routine(events=())
def takes_text(n: str) -> None: ...


@pytest.mark.parametrize(
    ("target", "mapping", "told"),
    [
        (Sink(takes), None, ["'n' as int, which is no str, as which the handler annotates 'n'"]),
        (Sink(takes), {"n": "path"}, ["'n' as int, which is no str | None, as which the handler annotates 'path'"]),
        (
            Sink(takes),
            {"path": "n", "n": "free"},
            ["'n' as int, which is no bytes, as which the handler annotates 'free'"],
        ),
        (
            Sink(takes_lists, "append"),
            None,
            ["'path' as str, of which the slot makes list[str], which is no list[bytes]"],
        ),
        (
            Sink(takes_number, batch(2)),
            None,
            ["'n' as int, of which the slot makes list[int], which is no int, as which"],
        ),
        (Sink(takes, lambda old, new: new), None, []),
        (Sink(lambda data: None), None, []),
        (Sink(lambda **data: None), None, []),
    ],
)
def test_types_that_cannot_fit_are_told(target: Routine, mapping: dict[str, str] | None, told: list[str]) -> None:
    graph = pair(Typed(), target, mapping)
    found = [problem for problem in graph.check() if "annotates" in problem.message]
    assert [problem.severity for problem in found] == ["warning"] * len(told)
    assert all(says in problem.message for problem, says in zip(found, told, strict=True))


def test_the_annotations_of_a_function_are_used_too() -> None:
    graph = FlowGraph("f")
    graph.add_routine(Typed(), "source")
    graph.add_routine(takes_text, "text")
    graph.connect("source", "out", "text", "input")
    (problem,) = [problem for problem in graph.check() if "annotates" in problem.message]
    assert str(problem) == (
        "warning: connection source.out -> text.input: the event declares 'n' as int, which is no str, as which the "
        "handler annotates 'n'"
    )


# -- Slots that take several messages together


def joined(strategy: Any, handler: Any, *links: tuple[list[str], dict[str, str]], **options: Any) -> FlowGraph:
    """A flow of as many sources as there are links to one sink."""
    graph = FlowGraph("f")
    graph.add_routine(Sink(handler, strategy), "target", **options)
    for number, (params, mapping) in enumerate(links):
        graph.add_routine(Source(*params), f"s{number}")
        graph.connect(f"s{number}", "out", "target", "in", mapping)
    return graph


@pytest.mark.parametrize("strategy", ["all", "latest"])
def test_connections_that_bring_a_parameter_of_one_name_to_a_join_are_told(strategy: str) -> None:
    handler = lambda **data: None  # noqa: E731  two names for one handler
    told_of = (
        f"warning: slot 'in' of routine 'target': it merges by {strategy!r}, and more than one of its connections "
        "brings ['n']: map them to other names, or its turns fail where the values differ"
    )
    assert told(joined(strategy, handler, (["n"], {}), (["n"], {}))) == [told_of]
    assert told(joined(strategy, handler, (["n"], {}), (["m"], {"m": "n"}))) == [told_of]
    assert told(joined(strategy, handler, (["n"], {}), (["n"], {"n": "m"}))) == []
    assert told(joined("override", handler, (["n"], {}), (["n"], {}))) == []


@pytest.mark.parametrize("strategy", ["all", "latest"])
def test_what_a_join_s_handler_needs_may_come_by_any_of_its_connections(strategy: str) -> None:
    handler = lambda a, b: None  # noqa: E731
    assert told(joined(strategy, handler, (["a"], {}), (["b"], {}))) == []
    assert told(joined(strategy, handler, (["a"], {}), ([], {}))) == []
    problems = told(joined(strategy, handler, (["a"], {}), (["c"], {})))
    assert [problem.split(";")[0] for problem in problems] == [
        "warning: connection s0.out -> target.in: the slot needs ['b'], and the event declares ['a']",
        "warning: connection s1.out -> target.in: the slot needs ['b'], and the event declares ['c']",
    ]


def test_a_batch_into_one_parameter_takes_whatever_comes() -> None:
    handler = lambda rows, *, more=(): None  # noqa: E731
    assert told(joined(batch(5, into="rows"), handler, (["a"], {}), (["b"], {"b": "c"}))) == []
    assert "the slot needs ['rows']" in told(joined(batch(5), handler, (["a"], {})))[0]


@pytest.mark.parametrize("strategy", ["all", batch(3)])
def test_messages_taken_together_go_with_any_number_of_workers(strategy: Any) -> None:
    assert told(joined(strategy, len, (["a"], {}), placement="process", workers=2)) == []


@pytest.mark.parametrize("strategy", ["append", "latest", max])
def test_each_worker_gathers_for_itself(strategy: Any) -> None:
    [problem] = told(joined(strategy, len, (["a"], {}), placement="process", workers=2))
    assert problem.endswith("it gathers, and each of the 2 workers gathers for itself")


def test_a_pool_whose_slot_hears_of_the_end_is_warned_about_unless_it_has_no_state() -> None:
    class Ends(Routine):
        def __init__(self) -> None:
            super().__init__()
            self.define_slot("trigger", lambda: None)
            self.define_slot("end", lambda: None, at_end=True)

    class Stateless(Ends):
        state_policy = "none"

    flow = FlowGraph("ends")
    flow.add_routine(Ends(), "ends", placement="process", workers=2)
    flow.add_routine(Ends(), "alone", placement="process")
    flow.add_routine(Stateless(), "stateless", placement="process", workers=2)
    told = [str(problem) for problem in flow.check() if problem.severity == "warning"]
    assert told == [
        (
            "warning: slot 'end' of routine 'ends': one of the 2 workers hears of the end, and has its own state "
            "alone: add up in a routine behind it, or set state_policy to 'none' if it needs none"
        )
    ]


# -- Ray


def on_ray(*stages: Routine, **options: Any) -> FlowGraph:
    graph = FlowGraph("f")
    for number, stage in enumerate(stages):
        graph.add_routine(stage, f"stage{number}", placement="ray", **options)
    return graph


def test_a_flow_on_ray_is_all_right_where_ray_is(monkeypatch: pytest.MonkeyPatch) -> None:
    show_ray(monkeypatch)
    assert told(pair(Source("a"), Sink(), placement="ray", workers=2)) == []


def test_that_ray_is_not_there_is_told_once_and_is_no_error_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    hide_ray(monkeypatch)
    (line,) = told(on_ray(Starting(), Starting()))
    assert line == (
        "warning: routines 'stage0', 'stage1': Ray is not installed, and a job of this flow does not start without: "
        "pip install 'routilux[ray]'"
    )


def test_what_works_on_files_is_told_that_another_machine_may_have_others(monkeypatch: pytest.MonkeyPatch) -> None:
    show_ray(monkeypatch)
    (line,) = told(on_ray(Filing()))
    assert line == (
        "warning: routine 'stage0': works on the file 'a', on whichever machine of the cluster its worker runs: see "
        "that all of them have the same there, or use another placement"
    )


def test_what_keeps_a_routine_from_a_process_keeps_it_from_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    show_ray(monkeypatch)
    locked = Starting()
    locked.lock = threading.Lock()  # type: ignore[attr-defined]
    (problem,) = on_ray(locked).check()
    assert (problem.severity, problem.message[:52]) == ("error", "cannot travel to its worker: stage0.lock: a _thread.")
    (problem,) = on_ray(InPlace()).check()
    assert (problem.severity, problem.message[:36]) == ("error", "state_policy 'in_place' is for threa")


class Starting(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", lambda: None)


class Filing(Starting):
    def needs_here(self) -> str | None:
        return "the file 'a'"


class InPlace(Starting):
    state_policy = "in_place"
