"""Flows and jobs as notebooks show them: HTML of a picture and a small table. Pure.

Owns what is shown, which is what `diagram` draws and what went wrong. It neither runs nor fetches anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from routilux.drawing.diagram import Diagram, draw_flow, draw_job
from routilux.drawing.markup import to_text
from routilux.drawing.svg import to_svg
from routilux.model.graph import FlowGraph
from routilux.tracking.performance import RoutinePerformance
from routilux.tracking.tracker import ExecutionTracker
from supervisors.text import cut

ERROR_SHOWN = 300
"""Characters of an error that are shown (arbitrary: some lines)."""
TITLES = ("routine", "status", "handled", "left", "failed", "dead", "last error")


def show_flow(graph: FlowGraph) -> str:
    """Give a flow as its author wired it."""
    return _frame([_picture(draw_flow(graph), repr(graph).strip("<>"))])


def show_job(
    tracker: ExecutionTracker, error: str | None, errors: Mapping[str, str | None], notes: Iterable[str]
) -> str:
    """Give a job with its numbers.

    Args:
        tracker: how it does.
        error: why it ended badly; None where it did not.
        errors: of each routine the last failure in one line.
        notes: what else there is to tell, a line each.
    """
    diagram = draw_job(tracker)
    parts = [_picture(diagram, diagram.caption)]
    parts += [_paragraph(cut(error, ERROR_SHOWN))] if error else []
    parts.append(_table(tracker, errors))
    parts += map(_paragraph, notes)
    return _frame(parts)


def _picture(diagram: Diagram, instead: str) -> str:
    """Give the picture; of a large diagram a line instead."""
    return _paragraph(instead) if diagram.is_large else _scrolled(to_svg(diagram))


def _table(tracker: ExecutionTracker, errors: Mapping[str, str | None]) -> str:
    head = "".join(f"<th>{title}</th>" for title in TITLES)
    found = (tracker.get_routine_performance(routine_id) for routine_id in tracker.routine_ids)
    rows = "".join(_row(one, errors.get(one.routine_id)) for one in found if one is not None)
    return _scrolled(f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>")


def _row(one: RoutinePerformance, error: str | None) -> str:
    left = one.waiting + one.in_hand + one.in_retry + one.merging
    texts = (one.routine_id, one.status, *(f"{count:,}" for count in (one.handled, left, one.failed, one.dead)))
    cells = "".join(f"<td>{to_text(text)}</td>" for text in texts)
    return f'<tr>{cells}<td style="text-align:left">{to_text(cut(error or "", ERROR_SHOWN))}</td></tr>'


def _frame(parts: Iterable[str]) -> str:
    return f"<div>{''.join(parts)}</div>"


def _paragraph(text: str) -> str:
    return f"<p>{to_text(text)}</p>"


def _scrolled(content: str) -> str:
    return f'<div style="overflow-x:auto">{content}</div>'
