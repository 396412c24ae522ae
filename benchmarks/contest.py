"""What is compared: rows, the contestants of a row, and what each contestant can do.

Pure: names and values. A contestant's class is named here and loaded by `benchmarks.trial`, in a process of its own, so
that what is not installed costs only its own entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Protocol

OURS = "routilux"
"""What our own entry is called, in rows that have one that others are measured against."""


class Contestant(Protocol):
    """One way of doing the work of a row; made, prepared, run and closed once, in a process of its own."""

    def prepare(self) -> None:
        """Start all that is needed, so that work begins at once when `run` is called."""

    def run(self, n: int) -> None:
        """Do `n` pieces of work, and return when the last one is done; called several times."""

    def close(self) -> None:
        """End all that was started."""


class Carrier(Contestant, Protocol):
    """Sends a payload to a process and takes what it answers, `n` times one after another.

    Args:
        payload: what is sent; the measure sets it between two runs.
        answer: what came back last; the measure looks whether it is right.
    """

    payload: Any
    answer: Any


class Starter(Contestant, Protocol):
    """Starts `n` more process actors, and has each answer once. The first one is started by `prepare`.

    Args:
        pids: the processes of those that the last run started.
    """

    pids: list[int]


class Entry(NamedTuple):
    """One contestant of a row.

    Args:
        name: what the table calls it.
        made_by: its class, as `module:Class` below `benchmarks.peers`.
        needs: modules that must be installed.
        divisor: it gets the work of the row divided by this, for those that would take too long.
        every: it takes part in one of so many rounds, for those that take seconds to start and to end.
        options: what its class is called with.
    """

    name: str
    made_by: str
    needs: tuple[str, ...] = ()
    divisor: int = 1
    every: int = 1
    options: Mapping[str, Any] = {}


class Figure(NamedTuple):
    """One thing that a measure finds out about each contestant.

    Args:
        name: unique within its row.
        unit: of the values.
        better: whether more of it is better, or less.
    """

    name: str
    unit: str
    better: Literal["more", "less"] = "less"


class Row(NamedTuple):
    """Contestants that do the same work, and how it is measured.

    Args:
        name: how it is selected.
        title: what is done, in one line.
        measure: a name in `benchmarks.measures.MEASURES`.
        size: how much work a trial has; what of, the measure says.
        figures: what the measure gives, in the order of the table.
        entries: who takes part.
        reference: the entry that the others are compared with; empty for none.
        cores: processors that a trial is pinned to; None for all.
    """

    name: str
    title: str
    measure: str
    size: int
    figures: tuple[Figure, ...]
    entries: tuple[Entry, ...]
    reference: str = OURS
    cores: int | None = None
