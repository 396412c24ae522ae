"""A flow as text that others draw: Mermaid and DOT. Pure."""

from __future__ import annotations

from routilux.model.connection import Connection
from routilux.model.graph import FlowGraph


def to_mermaid(graph: FlowGraph) -> str:
    """Give the flow as a Mermaid flowchart."""
    names = {routine_id: f"r{index}" for index, routine_id in enumerate(graph.routines)}
    lines = ["flowchart LR"]
    lines += [f'    {names[routine_id]}["{_escape(_title(graph, routine_id))}"]' for routine_id in graph.routines]
    lines += [
        f'    {names[link.source_id]} -- "{_escape(_label(link))}" --> {names[link.target_id]}'
        for link in graph.connections
    ]
    for index, output in enumerate(graph.outputs):
        lines.append(f'    {names[output.routine_id]} -- "{_escape(output.event)}" --> o{index}(["output"])')
    return "\n".join(lines) + "\n"


def to_dot(graph: FlowGraph) -> str:
    """Give the flow in Graphviz's language."""
    lines = [f"digraph {_quote(graph.flow_id)} {{", "    rankdir=LR;", "    node [shape=box];"]
    lines += [f"    {_quote(routine_id)} [label={_quote(_title(graph, routine_id))}];" for routine_id in graph.routines]
    lines += [
        f"    {_quote(link.source_id)} -> {_quote(link.target_id)} [label={_quote(_label(link))}];"
        for link in graph.connections
    ]
    for index, output in enumerate(graph.outputs):
        lines.append(f'    {_quote(f" output {index}")} [label="output", shape=oval];')
        lines.append(f"    {_quote(output.routine_id)} -> {_quote(f' output {index}')} [label={_quote(output.event)}];")
    return "\n".join([*lines, "}"]) + "\n"


def _title(graph: FlowGraph, routine_id: str) -> str:
    options = graph.options[routine_id]
    if options.placement == "thread":
        return routine_id
    count = f"{options.least}" if options.least == options.pool else f"{options.least} to {options.pool}"
    return f"{routine_id} ({count} process{'es' if options.pool > 1 else ''})"


def _label(link: Connection) -> str:
    mapping = ", ".join(f"{source}={target}" for source, target in link.param_mapping.items())
    return f"{link.event} to {link.slot}" + (f" ({mapping})" if mapping else "")


def _escape(text: str) -> str:
    table = {"&": "#amp;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "\n": " ", "#": "#35;"}
    return "".join(table.get(char, char) for char in text)


def _quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
