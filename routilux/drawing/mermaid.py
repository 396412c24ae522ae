"""A diagram in Mermaid's language. Pure."""

from __future__ import annotations

from routilux.drawing.diagram import Box, Diagram, Kind, Link, Tone

STYLES = {
    Tone.QUIET: "stroke:#8a8a8a",
    Tone.BUSY: "stroke:#2f6fd0,stroke-width:2px",
    Tone.GOOD: "stroke:#2e8b57,stroke-width:2px",
    Tone.WARN: "stroke:#c77700,stroke-width:2px",
    Tone.BAD: "stroke:#c8323c,stroke-width:3px",
}
"""Borders alone, which can be told apart on light and dark pages."""


def to_mermaid(diagram: Diagram) -> str:
    """Give a diagram as a Mermaid flowchart."""
    names = {box.id: f"r{number}" for number, box in enumerate(diagram.boxes)}
    lines = [*_title(diagram), "flowchart LR"]
    lines += [f"    {names[box.id]}{_shape(box)}" for box in diagram.boxes]
    lines += [f'    {names[link.source]} -- "{_label(link)}" --> {names[link.target]}' for link in diagram.links]
    for tone, style in STYLES.items():
        toned = [names[box.id] for box in diagram.boxes if box.tone is tone]
        if toned:
            lines += [f"    classDef {tone} {style}", f"    class {','.join(toned)} {tone}"]
    return "\n".join(lines) + "\n"


def _title(diagram: Diagram) -> list[str]:
    return ["---", f'title: "{_escape(diagram.caption)}"', "---"] if diagram.caption else []


def _shape(box: Box) -> str:
    text = "<br/>".join(
        map(_escape, [f"{box.title} ({box.about})" if box.about else box.title, *(line.text for line in box.lines)])
    )
    return f'(["{text}"])' if box.kind in {Kind.OUTPUT, Kind.OUTSIDE} else f'["{text}"]'


def _label(link: Link) -> str:
    return "<br/>".join(map(_escape, [link.tell(), *(line.text for line in link.lines)]))


def _escape(text: str) -> str:
    table = {"&": "#amp;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "\n": " ", "#": "#35;"}
    return "".join(table.get(char, char) for char in text)
