"""A diagram in Graphviz's language. Pure."""

from __future__ import annotations

from routilux.drawing.diagram import Box, Diagram, Kind, Link, Tone

COLOURS = {
    Tone.QUIET: "#8a8a8a",
    Tone.BUSY: "#2f6fd0",
    Tone.GOOD: "#2e8b57",
    Tone.WARN: "#c77700",
    Tone.BAD: "#c8323c",
}


def to_dot(diagram: Diagram) -> str:
    """Give a diagram in Graphviz's language."""
    lines = [f"digraph {_quote(diagram.name)} {{", "    rankdir=LR;", "    node [shape=box];"]
    lines += [f"    label={_quote(diagram.caption)};", "    labelloc=t;"] if diagram.caption else []
    lines += [f"    {_quote(box.id)} [{_attributes(box)}];" for box in diagram.boxes]
    lines += [
        f"    {_quote(link.source)} -> {_quote(link.target)} [label={_quote(_label(link))}];" for link in diagram.links
    ]
    return "\n".join([*lines, "}"]) + "\n"


def _attributes(box: Box) -> str:
    title = f"{box.title} ({box.about})" if box.about else box.title
    label = "\n".join([title, *(line.text for line in box.lines)])
    parts = [f"label={_quote(label)}"]
    if box.kind in {Kind.OUTPUT, Kind.OUTSIDE}:
        parts.append("shape=oval")
    if box.tone in COLOURS:
        parts += [f'color="{COLOURS[box.tone]}"', "penwidth=2"]
    return ", ".join(parts)


def _label(link: Link) -> str:
    return "\n".join([link.tell(), *(line.text for line in link.lines)])


def _quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
