# ruff: noqa: ARG005  what a handler takes is what matters here, not what it does

from __future__ import annotations

from routilux.drawing import to_dot, to_mermaid
from routilux.model.graph import FlowGraph
from routilux.model.routine import Routine


class Stage(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.define_slot("in", lambda data: None)
        self.define_slot('odd "slot" <b> #1 & \\', lambda data: None)
        self.define_event("out")


def drawn() -> FlowGraph:
    graph = FlowGraph("census")
    graph.add_routine(Stage(), "read")
    graph.add_routine(Stage(), "parse", placement="process", workers=2)
    graph.add_routine(Stage(), "score", placement="process")
    graph.connect("read", "out", "parse", "in", {"name": "path", "body": "text"})
    graph.connect("parse", "out", "score", 'odd "slot" <b> #1 & \\')
    graph.output("score", "out")
    return graph


def test_a_flow_as_mermaid() -> None:
    assert to_mermaid(drawn()) == (
        "flowchart LR\n"
        '    r0["read"]\n'
        '    r1["parse (2 processes)"]\n'
        '    r2["score (1 process)"]\n'
        '    r0 -- "out to in (name=path, body=text)" --> r1\n'
        '    r1 -- "out to odd #quot;slot#quot; #lt;b#gt; #35;1 #amp; \\" --> r2\n'
        '    r2 -- "out" --> o0(["output"])\n'
    )


def test_a_flow_as_dot() -> None:
    assert to_dot(drawn()) == (
        'digraph "census" {\n'
        "    rankdir=LR;\n"
        "    node [shape=box];\n"
        '    "read" [label="read"];\n'
        '    "parse" [label="parse (2 processes)"];\n'
        '    "score" [label="score (1 process)"];\n'
        '    "read" -> "parse" [label="out to in (name=path, body=text)"];\n'
        '    "parse" -> "score" [label="out to odd \\"slot\\" <b> #1 & \\\\"];\n'
        '    " output 0" [label="output", shape=oval];\n'
        '    "score" -> " output 0" [label="out"];\n'
        "}\n"
    )


def test_an_empty_flow_is_drawn_empty() -> None:
    graph = FlowGraph("f")
    assert to_mermaid(graph) == "flowchart LR\n"
    assert to_dot(graph) == 'digraph "f" {\n    rankdir=LR;\n    node [shape=box];\n}\n'
