"""Pieces of a static page: HTML that neither runs nor fetches anything. Pure.

Owns the frame, its style and the tables. All text goes through `to_text`; what is HTML already says so by its type.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, NewType

from routilux.drawing.diagram import TONES, Tone
from routilux.drawing.markup import to_text

Html = NewType("Html", str)
"""Text that is HTML already."""

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""What a browser may do for the page: show it."""
STYLE = """
:root{color-scheme:light dark;--back:#fff;--soft:#f4f6f8;--line:#dde2e8;--text:#1b1f26;--quiet:#626b78;
--busy:#1f5fbf;--good:#1f7a46;--warn:#a65f00;--bad:#c02a35}
@media (prefers-color-scheme:dark){:root{--back:#16181d;--soft:#1e222a;--line:#343a45;--text:#e6e9ee;--quiet:#98a0ad;
--busy:#7fb0ff;--good:#6fcf97;--warn:#f0b252;--bad:#ff8189}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--text);
font:14px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main{max-width:1120px;margin:0 auto;padding:24px 20px 60px}
h1{font-size:22px;margin:0 0 4px;overflow-wrap:anywhere}
h2{font-size:16px;margin:34px 0 10px;padding-bottom:4px;border-bottom:1px solid var(--line)}
p{margin:6px 0;overflow-wrap:anywhere}
.quiet{color:var(--quiet)}.busy{color:var(--busy)}.good{color:var(--good)}.warn{color:var(--warn)}.bad{color:var(--bad)}
.badge{display:inline-block;border:1.5px solid currentColor;border-radius:4px;padding:0 8px;font-weight:600}
.facts{display:grid;grid-template-columns:repeat(auto-fill,minmax(140px,1fr));gap:8px;margin:16px 0 0;padding:0}
.facts div{background:var(--soft);border-radius:6px;padding:8px 10px;min-width:0}
.facts dt{color:var(--quiet);font-size:12px}
.facts dd{margin:0;font-size:16px;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:13px}
th,td{padding:4px 10px 4px 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--line);white-space:nowrap}
td.long{white-space:normal;overflow-wrap:anywhere;min-width:240px}
th{color:var(--quiet);font-weight:500}
.number{text-align:right;font-variant-numeric:tabular-nums}
details{border:1px solid var(--line);border-radius:6px;margin:8px 0;padding:6px 12px}
summary{cursor:pointer;overflow-wrap:anywhere}
pre{background:var(--soft);border-radius:6px;padding:10px;overflow-x:auto;font-size:12px;margin:6px 0}
code{background:var(--soft);border-radius:4px;padding:1px 5px}
.key span{margin-right:16px;white-space:nowrap}
.key i{display:inline-block;width:12px;height:12px;border-radius:2px;margin-right:5px;vertical-align:-1px}
"""


class Cell(NamedTuple):
    """One cell of a table: its text, how it is meant, and whether it is a number or a text of several lines."""

    text: str
    tone: Tone = Tone.PLAIN
    kind: str = ""


def frame(title: str, body: Iterable[Html]) -> Iterator[str]:
    """Give a page in parts.

    Args:
        title: its title.
        body: what is in it.
    """
    yield (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{to_text(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
    )
    for part in body:
        yield f"{part}\n"
    yield "</main>\n</body>\n</html>\n"


def heading(text: str) -> Html:
    """Give the heading of a section."""
    return Html(f"<h2>{to_text(text)}</h2>")


def paragraph(text: str, style: str = "") -> Html:
    """Give a paragraph."""
    return Html(f'<p class="{style}">{to_text(text)}</p>' if style else f"<p>{to_text(text)}</p>")


def badge(status: str) -> Html:
    """Give a status in its colour."""
    return Html(f'<span class="badge {TONES.get(status, Tone.PLAIN)}">{to_text(status)}</span>')


def facts(pairs: Iterable[tuple[str, str]]) -> Html:
    """Give names and values side by side, as many in a row as have room."""
    parts = [f"<div><dt>{to_text(name)}</dt><dd>{to_text(value)}</dd></div>" for name, value in pairs if value]
    return Html(f'<dl class="facts">{"".join(parts)}</dl>')


def wide(content: str) -> Html:
    """Give what may be wider than the page: then it is scrolled by itself."""
    return Html(f'<div class="wide">{content}</div>')


def table(titles: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Html:
    """Give a table; the columns of numbers are those in whose cells are numbers."""
    listed = list(rows)
    kinds = [cell.kind for cell in listed[0]] if listed else [""] * len(titles)
    head = "".join(
        f'<th class="{kind}">{to_text(title)}</th>' if kind else f"<th>{to_text(title)}</th>"
        for title, kind in zip(titles, kinds, strict=True)
    )
    body = "\n".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in listed)
    return wide(f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>")


def folded(summary: str, notes: Iterable[str], texts: Iterable[tuple[str, str]]) -> Html:
    """Give a line that unfolds to notes of a line each, and to texts, each with what it is."""
    inner = "".join(map(paragraph, notes))
    inner += "".join(f'<p class="quiet">{to_text(name)}</p><pre>{_lines(text)}</pre>' for name, text in texts)
    return Html(f"<details><summary>{to_text(summary)}</summary>{inner}</details>")


def _cell(cell: Cell) -> str:
    style = " ".join(filter(None, (cell.kind, "" if cell.tone is Tone.PLAIN else cell.tone)))
    return f'<td class="{style}">{to_text(cell.text)}</td>' if style else f"<td>{to_text(cell.text)}</td>"


def _lines(text: str) -> str:
    return "\n".join(to_text(line.expandtabs(4)) for line in text.splitlines())
