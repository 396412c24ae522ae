"""What is to be reached: as ratios within a run, and for starts, deaths and memory as such.

Pure. A goal is shown beside what was measured. It fails nothing: what fails is `benchmarks.gate`, by ratios alone.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from benchmarks.contest import OURS


class Goal(NamedTuple):
    """One figure of one contestant, and what it should be.

    Args:
        row: the row's name.
        figure: the figure's name.
        entry: the contestant that the goal is shown beside.
        kind: what is bounded: `ahead`, how many times better the row's reference is, by what it should be at least;
            `within`, the same by what it should be at most; `most`, the figure itself by what it should be at most.
        bound: by which.
    """

    row: str
    figure: str
    entry: str
    kind: Literal["ahead", "within", "most"]
    bound: float

    @property
    def text(self) -> str:
        """The goal in a few words."""
        match self.kind:
            case "ahead":
                return f"x {self.bound:g}"
            case "within":
                return f"within x {self.bound:g}"
            case "most":
                return f"at most {self.bound:g}"

    def is_reached(self, median: float, ratio: float | None) -> bool:
        """Tell whether a median is good enough, or a ratio, of which None is not."""
        match self.kind:
            case "ahead":
                return ratio is not None and ratio >= self.bound
            case "within":
                return ratio is not None and ratio <= self.bound
            case "most":
                return median <= self.bound


GOALS: tuple[Goal, ...] = (
    Goal("hops-threads", "rate", "Pykka", "ahead", 3.0),
    Goal("hops-processes", "rate", "multiprocessing.Pipe", "ahead", 2.5),
    Goal("hops-processes", "rate", "ProcessPoolExecutor", "ahead", 50.0),
    Goal("hops-processes", "rate", "Ray", "ahead", 100.0),
    Goal("hops-processes", "rate", "limit: batches over raw pipes", "ahead", 0.33),
    *(
        Goal(row, "p50", entry, "ahead", ahead)
        for row in ("trip-one-core", "trip-two-cores")
        for entry, ahead in (("ProcessPoolExecutor", 1.0), ("limit: a pipe there and back", 0.4))
    ),
    *(
        Goal("arrays", f"{size} MB", entry, "ahead", ahead)
        for size in (1, 16, 64)
        for entry, ahead in (("limit: raw shared memory", 0.6), ("Ray", 1.0))
    ),
    Goal("start", "one more", OURS, "most", 10.0),
    Goal("start", "16 more", OURS, "most", 60.0),
    Goal("start", "USS each", OURS, "most", 3.0),
    Goal("cpu", "over ideal", "limit: two bare processes", "ahead", 0.97),
    Goal("kill", "median", OURS, "most", 30.0),
    Goal("state", "cpu", "100,000 keys", "within", 1.2),
    Goal("routines", "cpu", "200", "within", 1.3),
    Goal("queue", "cpu", "1,000,000", "within", 1.3),
    Goal("idle", "share", OURS, "most", 0.1),
)
"""From the issue that asked for the data plane."""


def find_goal(row: str, figure: str, entry: str) -> Goal | None:
    """Find the goal of a figure; None if it has none."""
    return next((goal for goal in GOALS if goal[:3] == (row, figure, entry)), None)
