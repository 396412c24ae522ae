"""Routines that flow files of the tests name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from routilux import Routine, register_serializable, routine


@register_serializable("mill.Lines")
class Lines(Routine):
    """Gives the lines of a file."""

    def __init__(self, path: Path, limit: int = 1_000, *, marks: list[str] | None = None) -> None:
        super().__init__()
        self.path = path
        self.limit = limit
        self.marks = marks or []
        self.define_slot("trigger", self.read)
        self.define_event("line", ["text"])

    def read(self) -> None:
        """Emit them."""
        for text in self.path.read_text("utf-8").splitlines()[: self.limit]:
            self.emit("line", text=text)


@register_serializable("mill.count")
@routine(events={"counted": ["n"]})
def count(text: str) -> int:
    """Count letters."""
    return len(text)


@register_serializable("mill.plain")
def plain(n: int) -> dict[str, int]:
    """No routine by itself."""
    return {"n": n + 1}


class Unregistered(Routine):
    """Named by its module."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = options
        self.define_slot("input", self.take)

    def take(self, n: int) -> None:
        """Let it be."""
