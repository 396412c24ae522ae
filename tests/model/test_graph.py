# ruff: noqa: ARG005  what a handler takes is what matters here, not what it does

from __future__ import annotations

from typing import Any

import pytest

from routilux import routine
from routilux.errors import (
    DuplicateConnectionError,
    DuplicateOutputError,
    DuplicateRoutineError,
    InvalidNameError,
    MappingError,
    NotInitializedError,
    OptionError,
    UnknownEventError,
    UnknownRoutineError,
    UnknownSlotError,
    WiringError,
)
from routilux.model.error_handler import ErrorHandler, ErrorStrategy
from routilux.model.graph import FlowGraph
from routilux.model.routine import Routine


class Read(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", lambda root: root)
        self.define_event("file", ["name", "text"])
        self.define_event("anything")


class Parse(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.define_slot("source", lambda path, text, depth=1: None)
        self.define_slot("one", lambda path: None)
        self.define_slot("whole", lambda data: None)
        self.define_slot("rest", lambda path, **rest: None)
        self.define_slot("none", lambda: None)
        self.define_slot("merged", lambda path, text: None, merge_strategy=lambda old, new: {**old, **new})
        self.define_event("parsed", ["path"])


@routine
def score(path: Any, depth: Any) -> None: ...


def wired() -> FlowGraph:
    graph = FlowGraph("census")
    graph.add_routine(Read(), "read")
    graph.add_routine(Parse(), "parse")
    return graph


# -- add_routine


def test_routines_keep_their_order_and_options() -> None:
    graph = wired()
    assert graph.add_routine(score, placement="process", workers=2) == "score"
    assert list(graph.routines) == ["read", "parse", "score"]
    assert (graph.options["score"].placement, graph.options["score"].workers) == ("process", 2)
    assert graph.options["read"].placement == "thread"


def test_without_an_id_the_class_or_function_gives_it() -> None:
    graph = FlowGraph()
    assert graph.add_routine(Read()) == "read"
    assert graph.add_routine(score) == "score"
    with pytest.raises(DuplicateRoutineError, match=r"has a routine 'read' already: <Read: .*>; give this one an id"):
        graph.add_routine(Read())


def test_an_id_is_taken_once() -> None:
    with pytest.raises(
        DuplicateRoutineError,
        match=r"flow 'census' has a routine 'read' already: <Read: slots trigger; events file, anything>$",
    ):
        wired().add_routine(Parse(), "read")


def test_an_object_is_added_once_but_a_function_as_often_as_one_likes() -> None:
    graph, parse = wired(), Parse()
    graph.add_routine(parse, "a")
    with pytest.raises(DuplicateRoutineError, match=r"this very object is routine 'a' already; make another Parse\(\)"):
        graph.add_routine(parse, "b")
    graph.add_routine(score, "c")
    graph.add_routine(score, "d")
    FlowGraph().add_routine(parse, "in-another-flow")


@pytest.mark.parametrize("routine_id", ["", "_a", "a b", "a/b", "a" * 65, 7])
def test_an_id_that_cannot_be_is_refused(routine_id: Any) -> None:
    graph = wired()
    with pytest.raises(InvalidNameError, match="the id of a routine"):
        graph.add_routine(score, routine_id)
    assert list(graph.routines) == ["read", "parse"]


@pytest.mark.parametrize("flow_id", ["", "a b", 7])
def test_a_flow_id_that_cannot_be_is_refused(flow_id: Any) -> None:
    with pytest.raises(InvalidNameError, match="the id of a flow"):
        FlowGraph(flow_id)


def test_a_flow_without_an_id_makes_one_up() -> None:
    assert FlowGraph().flow_id != FlowGraph().flow_id


def test_a_wrong_option_is_refused_and_nothing_added() -> None:
    graph = wired()
    with pytest.raises(OptionError, match=r"routine 'score': there is no option 'worker'.*did you mean 'workers'"):
        graph.add_routine(score, worker=2)
    assert "score" not in graph.routines
    assert "score" not in graph.options


class Forgetful(Routine):
    def __init__(self) -> None:
        pass


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (Parse, r"expected a Routine object, got .*Parse.*; write Parse\(\)"),
        (len, "decorate the function with @routine"),
        ("parse", "expected a Routine object, got 'parse'$"),
    ],
)
def test_what_is_no_routine_is_refused(given: Any, words: str) -> None:
    with pytest.raises(WiringError, match=words):
        wired().add_routine(given)


def test_a_routine_that_forgot_its_base_is_refused() -> None:
    with pytest.raises(NotInitializedError, match="Forgetful"):
        wired().add_routine(Forgetful())


# -- connect


def test_a_connection_is_given_and_listed() -> None:
    graph, mapping = wired(), {"name": "path"}
    link = graph.connect("read", "file", "parse", "source", param_mapping=mapping)
    assert graph.connections == (link,)
    assert (link.source_id, link.event, link.target_id, link.slot) == ("read", "file", "parse", "source")
    mapping["name"] = "changed"
    assert link.param_mapping == {"name": "path"}


@pytest.mark.parametrize(
    ("ends", "kind", "words"),
    [
        (
            ("raed", "file", "parse", "source"),
            UnknownRoutineError,
            "source_id: .*'raed'.*'read', 'parse'; did you mean 'read'",
        ),
        (
            ("read", "fiel", "parse", "source"),
            UnknownEventError,
            "routine 'read' has no event 'fiel'.*did you mean 'file'",
        ),
        (("read", "file", "prase", "source"), UnknownRoutineError, "target_id: .*'prase'.*did you mean 'parse'"),
        (
            ("read", "file", "parse", "sorce"),
            UnknownSlotError,
            "routine 'parse' has no slot 'sorce'.*did you mean 'source'",
        ),
        (("read", "file", "read", ""), UnknownSlotError, "routine 'read' has no slot ''; its slots are 'trigger'"),
    ],
)
def test_an_end_that_does_not_exist_names_what_does(ends: tuple[str, str, str, str], kind: Any, words: str) -> None:
    graph = wired()
    with pytest.raises(kind, match=words):
        graph.connect(*ends)
    assert graph.connections == ()


@pytest.mark.parametrize(
    ("event", "slot", "mapping"),
    [
        ("file", "source", {"name": "path", "text": "text"}),
        ("file", "source", {"name": "path", "text": "path"}),
        ("file", "source", {"name": "depth"}),
        ("file", "one", {"name": "anything"}),
        ("file", "whole", {"name": "anything"}),
        ("file", "rest", {"name": "anything"}),
        ("file", "merged", {"name": "anything"}),
        ("anything", "source", {"undeclared": "path"}),
        ("file", "none", {}),
        ("file", "none", None),
    ],
)
def test_a_mapping_that_can_work_is_taken(event: str, slot: str, mapping: Any) -> None:
    assert wired().connect("read", event, "parse", slot, mapping).param_mapping == (mapping or {})


@pytest.mark.parametrize(
    ("slot", "mapping", "words"),
    [
        ("source", {"nam": "path"}, "from 'nam', but the event declares 'name', 'text'; did you mean 'name'"),
        (
            "source",
            {"name": "pth"},
            "to 'pth', but the slot's handler takes 'path', 'text', 'depth'; did you mean 'path'",
        ),
        ("none", {"name": "path"}, "to 'path', but the slot's handler takes no parameters"),
        ("whole", {"nam": "path"}, "the event declares 'name', 'text'"),
        ("source", {"name": 7}, "expected names mapped to names, got 'name': 7"),
        ("source", {7: "path"}, "expected names mapped to names, got 7: 'path'"),
        ("source", "name", "expected a dict from names to names or None, got 'name'"),
        ("source", [("name", "path")], "expected a dict"),
        ("source", "", "expected a dict"),
    ],
)
def test_a_mapping_that_cannot_work_is_refused(slot: str, mapping: Any, words: str) -> None:
    graph = wired()
    with pytest.raises(MappingError, match=words):
        graph.connect("read", "file", "parse", slot, mapping)
    assert graph.connections == ()


def test_the_very_same_connection_is_made_once() -> None:
    graph = wired()
    graph.connect("read", "file", "parse", "source", {"name": "path"})
    graph.connect("read", "file", "parse", "source")
    graph.connect("read", "file", "parse", "whole")
    with pytest.raises(DuplicateConnectionError, match=r"read\.file -> parse\.source with this mapping exists already"):
        graph.connect("read", "file", "parse", "source", {"name": "path"})
    assert len(graph.connections) == 3


def test_the_order_of_a_mapping_counts_since_the_last_source_wins() -> None:
    graph = wired()
    graph.connect("read", "file", "parse", "source", {"name": "path", "text": "path"})
    graph.connect("read", "file", "parse", "source", {"text": "path", "name": "path"})
    assert [list(link.param_mapping) for link in graph.connections] == [["name", "text"], ["text", "name"]]


def test_routines_may_be_connected_in_cycles_and_to_themselves() -> None:
    graph = wired()
    graph.connect("parse", "parsed", "parse", "one")
    graph.connect("parse", "parsed", "read", "trigger")
    graph.connect("read", "file", "parse", "whole")
    assert len(graph.connections) == 3


# -- output


def test_outputs_are_listed_with_their_capacity() -> None:
    graph = wired()
    graph.output("parse", "parsed")
    graph.output("read", "file", capacity=1)
    assert [tuple(output) for output in graph.outputs] == [("parse", "parsed", None), ("read", "file", 1)]


def test_an_output_is_declared_once() -> None:
    graph = wired()
    graph.output("parse", "parsed")
    with pytest.raises(DuplicateOutputError, match=r"parse\.parsed is an output already"):
        graph.output("parse", "parsed", 5)


@pytest.mark.parametrize("capacity", [0, -1, 1.5, True, "1"])
def test_an_output_has_room_for_one_at_least(capacity: Any) -> None:
    with pytest.raises(OptionError, match=f"capacity .*got {capacity!r}"):
        wired().output("parse", "parsed", capacity)


def test_an_output_of_what_does_not_exist_names_what_does() -> None:
    with pytest.raises(UnknownRoutineError, match=r"routine_id: .*did you mean 'parse'"):
        wired().output("prase", "parsed")
    with pytest.raises(UnknownEventError, match="its events are 'parsed'"):
        wired().output("parse", "done")


# -- error handlers


def test_the_option_comes_before_the_routines_own_handler_then_the_flows_then_stop() -> None:
    graph, own, option, whole = FlowGraph(), ErrorHandler("skip"), ErrorHandler("retry"), ErrorHandler("continue")
    with_own = Parse()
    with_own.set_error_handler(own)
    with_both = Parse()
    with_both.set_error_handler(own)
    graph.add_routine(Parse(), "none")
    graph.add_routine(with_own, "own")
    graph.add_routine(with_both, "both", error_handler=option)
    assert graph.effective_error_handler("none").strategy is ErrorStrategy.STOP
    graph.set_error_handler(whole)
    assert graph.effective_error_handler("none") is whole
    assert graph.effective_error_handler("own") is own
    assert graph.effective_error_handler("both") is option
    with pytest.raises(UnknownRoutineError, match="did you mean 'none'"):
        graph.effective_error_handler("nome")


def test_only_an_error_handler_can_be_set_as_one() -> None:
    with pytest.raises(OptionError, match=r"flow 'census': expected error_handler .* write ErrorHandler\('retry'\)"):
        wired().set_error_handler("retry")  # type: ignore[arg-type]  # that is the point
    with pytest.raises(OptionError, match="expected error_handler to be an ErrorHandler"):
        wired().error_handler = "retry"  # type: ignore[assignment]  # that is the point


# -- views


def test_nothing_can_be_changed_through_the_views() -> None:
    graph = wired()
    for view in (graph.routines, graph.options):
        with pytest.raises(TypeError):
            view["x"] = None  # type: ignore[index]  # that is the point
    assert isinstance(graph.connections, tuple)
    assert isinstance(graph.outputs, tuple)
    assert repr(graph) == "<FlowGraph 'census': 2 routines (read, parse), 0 connections>"


def test_a_flow_and_its_parts_say_in_one_line_what_they_are() -> None:
    graph = wired()
    graph.connect("read", "file", "parse", "source", {"name": "path"})
    assert repr(graph).endswith("2 routines (read, parse), 1 connection>")
    assert repr(graph.connections[0]) == "<Connection read.file -> parse.source (name=path)>"
    assert repr(graph.routines["read"]) == "<Read: slots trigger; events file, anything>"
    assert repr(score) == "<routine score: slots input; events output>"
    for number in range(20):
        graph.add_routine(Read(), f"read{number}")
    assert repr(graph).endswith(
        "22 routines (read, parse, read0, read1, read2, read3, read4, read5, 14 more), 1 connection>"
    )
    assert repr(FlowGraph("f")) == "<FlowGraph 'f': 0 routines, 0 connections>"
    assert repr(Read.__new__(Read)) == "<Read>", "also of one whose class forgot super().__init__()"
