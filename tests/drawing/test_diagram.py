"""What is drawn of a flow and of a job, and both as Mermaid and as DOT."""
# ruff: noqa: ARG005  what a handler takes is what matters here, not what it does

from __future__ import annotations

from routilux.drawing.diagram import Diagram, Kind, Line, Tone, draw_flow, draw_job
from routilux.drawing.dot import to_dot
from routilux.drawing.mermaid import to_mermaid
from routilux.model.graph import FlowGraph
from routilux.model.routine import Routine
from routilux.tracking.meters import Measured
from routilux.tracking.performance import EventFlow, WorkerUsage
from routilux.tracking.tracker import ExecutionTracker, RoutineTrack


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


def flow_of(source: str, event: str, target: str, slot: str, **counts: int) -> EventFlow:
    given = {"count": 0, "handled": 0, "waiting": 0, "dead": 0, "skipped": 0, **counts}
    return EventFlow(source, event, target, slot, **given, first_at=None, last_at=None, label="a label")


def tracked() -> ExecutionTracker:
    """A job in which one routine has failed, with a connection that its flow has no more."""
    tracks = (
        RoutineTrack("read", "completed", {"handled": 1}, Measured()),
        RoutineTrack(
            "parse",
            "failed",
            {"handled": 1234, "waiting": 5, "in_hand": 1, "failed": 2, "dead": 1, "restarts": 3},
            Measured(),
            (WorkerUsage(0), WorkerUsage(1)),
            "process",
        ),
    )
    flows = (
        flow_of("", "", "read", "", count=1, handled=1),
        flow_of("", "", "read", "trigger", count=2, handled=2),
        flow_of("read", "out", "parse", "in", count=1241, handled=1234, waiting=6, dead=1),
        flow_of("parse", "out", "", "", count=7, waiting=7),
        flow_of("", "", "", "", count=9, handled=9),
        flow_of("gone", "out", "parse", "in", count=9, handled=9),
    )
    return ExecutionTracker("ab12", "census", "failed", 100.0, 2.0, tracks, flows)


def test_a_flow_as_mermaid() -> None:
    assert to_mermaid(draw_flow(drawn())) == (
        "flowchart LR\n"
        '    r0["read"]\n'
        '    r1["parse (2 processes)"]\n'
        '    r2["score (1 process)"]\n'
        '    r3(["output"])\n'
        '    r0 -- "out to in (name=path, body=text)" --> r1\n'
        '    r1 -- "out to odd #quot;slot#quot; #lt;b#gt; #35;1 #amp; \\" --> r2\n'
        '    r2 -- "out" --> r3\n'
    )


def test_a_flow_as_dot() -> None:
    assert to_dot(draw_flow(drawn())) == (
        'digraph "census" {\n'
        "    rankdir=LR;\n"
        "    node [shape=box];\n"
        '    "read" [label="read"];\n'
        '    "parse" [label="parse (2 processes)"];\n'
        '    "score" [label="score (1 process)"];\n'
        '    " output 0" [label="output", shape=oval];\n'
        '    "read" -> "parse" [label="out to in (name=path, body=text)"];\n'
        '    "parse" -> "score" [label="out to odd \\"slot\\" <b> #1 & \\\\"];\n'
        '    "score" -> " output 0" [label="out"];\n'
        "}\n"
    )


def test_an_empty_flow_is_drawn_empty() -> None:
    diagram = draw_flow(FlowGraph("f"))
    assert diagram == Diagram("f", (), ())
    assert to_mermaid(diagram) == "flowchart LR\n"
    assert to_dot(diagram) == 'digraph "f" {\n    rankdir=LR;\n    node [shape=box];\n}\n'


def test_a_pool_that_grows_is_told_by_its_bounds() -> None:
    graph = FlowGraph("f")
    graph.add_routine(Stage(), "parse", placement="process", workers=(1, 4))
    assert draw_flow(graph).boxes[0][2:4] == (Kind.POOL, "1 to 4 processes")


def test_workers_on_ray_are_told_as_such() -> None:
    graph = FlowGraph("f")
    graph.add_routine(Stage(), "parse", placement="ray", workers=(1, 4))
    graph.add_routine(Stage(), "score", placement="ray")
    assert [box[2:4] for box in draw_flow(graph).boxes] == [
        (Kind.POOL, "1 to 4 workers on Ray"),
        (Kind.PROCESS, "1 worker on Ray"),
    ]
    track = RoutineTrack("parse", "running", {}, Measured(), (WorkerUsage(0), WorkerUsage(1)), "ray")
    (box,) = draw_job(ExecutionTracker("ab12", "f", "running", 100.0, 2.0, (track,), ())).boxes
    assert (box.kind, box.about) == (Kind.POOL, "2 workers on Ray")


def test_a_job_is_drawn_with_its_numbers() -> None:
    diagram = draw_job(tracked())
    assert diagram.name == "census, job ab12"
    read, parse, *others = diagram.boxes
    assert read == ("read", "read", Kind.THREAD, "", (Line("completed", Tone.GOOD), Line("1 handled")), Tone.GOOD)
    assert (parse.kind, parse.about, parse.tone) == (Kind.POOL, "2 processes", Tone.BAD)
    assert parse.lines == (
        Line("failed", Tone.BAD),
        Line("1,234 handled"),
        Line("5 waiting, 1 in hand"),
        Line("2 failed, 1 dead", Tone.BAD),
        Line("3 restarts", Tone.WARN),
    )
    assert [(box.kind, box.title) for box in others] == [(Kind.OUTSIDE, "from outside"), (Kind.OUTPUT, "output")]


def test_what_went_along_each_connection_is_told_and_those_that_are_gone_are_not_drawn() -> None:
    diagram = draw_job(tracked())
    outside, output = diagram.boxes[2].id, diagram.boxes[3].id
    assert [(link.source, link.target, link.tell()) for link in diagram.links] == [
        (outside, "read", "entry"),
        (outside, "read", "trigger"),
        ("read", "parse", "out to in"),
        ("parse", output, "out"),
    ]
    assert diagram.links[2].lines == (Line("1,241, 6 left"), Line("1 dead", Tone.BAD))
    assert [link.tone for link in diagram.links[1:3]] == [Tone.PLAIN, Tone.BAD]


def test_a_job_as_mermaid_and_as_dot_has_its_numbers_and_colours() -> None:
    diagram = draw_job(tracked())
    mermaid, dot = to_mermaid(diagram), to_dot(diagram)
    assert '    r0["read<br/>completed<br/>1 handled"]\n' in mermaid
    assert '    r0 -- "out to in<br/>1,241, 6 left<br/>1 dead" --> r1\n' in mermaid
    assert "    class r1 bad\n" in mermaid
    assert mermaid.startswith('---\ntitle: "census, job ab12: failed"\n---\nflowchart LR\n')
    assert '    label="census, job ab12: failed";\n' in dot
    assert '    "read" [label="read\\ncompleted\\n1 handled", color="#2e8b57", penwidth=2];\n' in dot
    assert '    "read" -> "parse" [label="out to in\\n1,241, 6 left\\n1 dead"];\n' in dot
