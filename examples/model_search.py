"""Searches for the best model of handwritten digits: proposes, cross-validates in worker processes, refines, again.

    python examples/model_search.py [--rows N] [--timeout SECONDS] [--into FILE]

The digits are scikit-learn's, the models support vector machines, which differ by C and gamma. What it needs is
installed by `pip install "routilux[examples]"`.

    propose ─► validate ─► propose ─► ... until there is no gain
       └─────► plot                                     model_search.png, drawn anew as rounds come

- A round is the points of a grid around the best model so far. Where one of them is better, the next round is around
  that; where none is, the grid becomes finer (compass search: Kolda, Lewis and Torczon, SIAM Review 45, 2003).
- One model of the first round never comes to its end: its tolerance is one that cannot be reached. After `timeout`
  seconds its process is ended and replaced; after another try it is given up, and the search goes on without it.
- `propose` takes the scores of a round as one batch. It is handed over when all have come, and when nothing moves any
  more: then some were given up, and the round is those that are there.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from routilux import ErrorHandler, Flow, JobState, RoutiluxError, Routine, batch, usable_cpus
from routilux.cli.live import watch
from routilux.observe import JobView

try:
    import numpy as np
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter
    from sklearn.datasets import load_digits
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.svm import SVC
    from threadpoolctl import threadpool_limits
except ImportError as error:
    sys.exit(f"{error}; what the examples need is installed by: pip install 'routilux[examples]'")

START = (0.0, -10.0)
"""Where the search begins: log2 of C and of gamma. Far from what is best, so that there is something to find."""
FIRST_STEP, LAST_STEP = 4.0, 1.0
"""Between two points of the first grid and of the finest one."""
TOLERANCE = 1e-3
"""When a fit is taken to be at its end: scikit-learn's default."""
HANGS = (4.0, -6.0, 1e-300)
"""The model that never is: rounding alone keeps it further from its end than that."""
SHARES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Errors that are written beside the plot, of those that are in it."""
ROUND = 10
"""Models in a round, at most: a grid of nine, and in the first one that which hangs."""

Model = tuple[float, float, float]
"""log2 of C, log2 of gamma, and the tolerance."""

# ---- The flow: three routines, two of them in a circle


class Propose(Routine):
    """Proposes models, a round at a time, and keeps what became of each in its state."""

    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.begin)
        self.define_slot("score", handler=self.refine, merge_strategy=batch(ROUND, into="scores"))
        self.define_event("model", ["model"])
        self.define_event("round", ["rounds"])

    def begin(self) -> None:
        """Propose the first round."""
        self.propose(first_round())

    def refine(self, scores: list[dict[str, Any]]) -> None:
        """Take in what came of a round, and propose the next one if there is any."""
        scored = {tuple(item["model"]): item["score"] for item in scores}
        done = {**self.state["asked"], "scores": [scored.get(tuple(model)) for model in self.state["asked"]["models"]]}
        self.state["rounds"] = [*self.state.get("rounds", []), done]
        self.emit("round", rounds=self.state["rounds"])
        following = next_round(self.state["rounds"])
        if following is not None:
            self.propose(following)

    def propose(self, asked: dict[str, Any]) -> None:
        """Send out the models of a round."""
        self.state["asked"] = asked
        for model in asked["models"]:
            self.emit("model", model=model)


class Validate(Routine):
    """Cross-validates a model.

    Args:
        rows: how many digits it takes; None: all.
    """

    def __init__(self, rows: int | None) -> None:
        super().__init__()
        self.rows = rows
        self.define_slot("model", handler=self.validate)
        self.define_event("score", ["model", "score"])

    def validate(self, model: Sequence[float]) -> None:
        """Give the mean score of a model."""
        # One worker a processor is enough: without this each would start as many threads as there are processors.
        with threadpool_limits(limits=1):
            self.emit("score", model=model, score=cross_validate(model, *read_digits(self.rows)))


class Plot(Routine):
    """Draws the search while it goes on. Of the rounds that come within a second of each other the last one tells all.

    Args:
        into: the file; its ending says of which kind.
    """

    def __init__(self, into: str) -> None:
        super().__init__()
        self.into = into
        self.define_slot("round", handler=self.draw, merge_strategy=batch(100, seconds=1.0))

    def draw(self, rounds: list[list[dict[str, Any]]]) -> None:
        """Draw the rounds so far; of each message there is a list of them."""
        draw_search(rounds[-1]).savefig(self.into)


def flow(
    into: str = "model_search.png", workers: int | None = None, rows: int | None = None, timeout: float = 10.0
) -> Flow:
    """Wire the search. Also for the command line: `routilux run examples/model_search.py:flow`."""
    # One more try for a model whose worker was ended: by its own fault, as when it hangs, or by another's.
    lenient = ErrorHandler("retry", max_retries=1, retry_delay=0.1, retryable_exceptions=(), then="continue")
    # All workers are copies of a process that has imported these: who replaces another is there at once.
    modules = ["sklearn.datasets", "sklearn.model_selection", "sklearn.svm", "matplotlib.figure"]
    search = Flow("model_search")
    search.add_routine(Propose(), "propose")
    placed: dict[str, Any] = {"placement": "process", "preload": modules}
    validating = {**placed, "workers": workers or usable_cpus(), "timeout": timeout, "error_handler": lenient}
    search.add_routine(Validate(rows), "validate", **validating)
    search.add_routine(Plot(into), "plot", **placed)
    search.connect("propose", "model", "validate", "model")
    search.connect("validate", "score", "propose", "score")
    search.connect("propose", "round", "plot", "round")
    return search


# ---- What is searched, and how


@cache
def read_digits(rows: int | None) -> tuple[Any, Any]:
    """Give pictures of digits, a row of 64 shades from 0 to 1 each, and which digits they are. A worker reads once."""
    pictures, digits = load_digits(return_X_y=True)
    return pictures[:rows] / 16, digits[:rows]


def cross_validate(model: Sequence[float], pictures: Any, digits: Any) -> float:
    """Give the share of digits that a model tells, mean of five: each time it learns from four fifths of them."""
    log_c, log_gamma, tolerance = model
    machine = SVC(C=2.0**log_c, gamma=2.0**log_gamma, tol=tolerance)
    return float(cross_val_score(machine, pictures, digits, cv=StratifiedKFold(5)).mean())


def first_round() -> dict[str, Any]:
    """Give the first round: how wide its grid is, and its models. That which hangs is first: the others do not wait."""
    return {"step": FIRST_STEP, "models": [HANGS, *grid(START, FIRST_STEP)]}


def next_round(rounds: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Give the round that follows: around the best model, as wide as the last one if that has brought a gain.

    Args:
        rounds: all so far, with the `scores` of each; None is the score of a model that was given up.

    Returns:
        None: the finest grid has brought no gain.
    """
    step = rounds[-1]["step"]
    best = best_model(rounds)
    if len(rounds) > 1 and best == best_model(rounds[:-1]):
        step /= 2
    known = {tuple(model) for past in rounds for model in past["models"]}
    while step >= LAST_STEP:
        models = [model for model in grid((best[1], best[2]), step) if model not in known]
        if models:
            return {"step": step, "models": models}
        step /= 2
    return None


def best_model(rounds: Sequence[dict[str, Any]]) -> tuple[float, float, float]:
    """Give the best score, and log2 of C and gamma of the model that has it; of equal ones, that with the least C."""
    scored = [
        (score, model[0], model[1])
        for past in rounds
        for model, score in zip(past["models"], past["scores"], strict=True)
        if score is not None
    ]
    return max(scored, key=lambda found: (found[0], -found[1], -found[2]))


def grid(centre: tuple[float, float], step: float) -> list[Model]:
    """Give the nine models around a point."""
    steps = (-step, 0.0, step)
    return [(centre[0] + right, centre[1] + up, TOLERANCE) for right in steps for up in steps]


def draw_search(rounds: Sequence[dict[str, Any]]) -> Figure:
    """Draw where models were tried, how good they were, and how that grew. It opens no window, and needs no pyplot."""
    figure = Figure(figsize=(11, 4.8), dpi=110, layout="constrained")
    where, when = figure.subplots(1, 2, width_ratios=(1.15, 1))
    points = [
        (number, *model[:2], score)
        for number, past in enumerate(rounds, start=1)
        for model, score in zip(past["models"], past["scores"], strict=True)
    ]
    scored = np.array([point for point in points if point[3] is not None])
    errors = np.maximum(1.0 - scored[:, 3], 1e-4)  # of which a logarithm can be taken
    best = [best_model(rounds[: number + 1]) for number in range(len(rounds))]

    where.plot([found[1] for found in best], [found[2] for found in best], color="0.6", zorder=1)
    dots = where.scatter(
        scored[:, 1], scored[:, 2], c=errors, s=90, cmap="viridis_r", norm=LogNorm(), edgecolors="white", zorder=2
    )
    percent = PercentFormatter(1.0, decimals=None)
    figure.colorbar(dots, ax=where, label="digits that it gets wrong", ticks=SHARES, format=percent).minorticks_off()
    lost = [point for point in points if point[3] is None]
    where.scatter(
        [p[1] for p in lost], [p[2] for p in lost], marker="x", c="crimson", s=160, zorder=3, label="given up"
    )
    where.scatter(*best[-1][1:], marker="*", c="crimson", s=160, zorder=4, label="best")
    where.set(xlabel="log2 of C", ylabel="log2 of gamma", title="Where models were tried")
    where.legend(loc="upper right")

    numbers = range(1, len(rounds) + 1)
    when.scatter(scored[:, 0], errors, c="0.7", s=20, label="a model")
    when.plot(numbers, [max(1.0 - found[0], 1e-4) for found in best], "o-", color="crimson", label="the best so far")
    when.set(xlabel="round", yscale="log", title="Digits that are got wrong", xticks=list(numbers))
    when.yaxis.set(major_locator=FixedLocator(SHARES), minor_locator=NullLocator(), major_formatter=percent)
    when.legend()
    return figure


# ---- The program


def headline(view: JobView) -> str:
    """Tell the progress in one line."""
    validate = view.routine("validate").figures
    lost = f", {validate.dead} given up" if validate.dead else ""
    return f"model search: {validate.handled} models scored{lost}, {validate.left} of this round left"


def report(state: JobState) -> Iterator[str]:
    """Tell in lines how the search went, and what was given up."""
    rounds = state.routine_states["propose"]["state"].get("rounds", [])
    yield f"{'round':>6} {'step':>5} {'models':>7} {'best score':>11} {'log2 C':>7} {'log2 gamma':>11}"
    for number, past in enumerate(rounds, start=1):
        score, log_c, log_gamma = best_model(rounds[:number])
        models = len(past["models"])
        yield f"{number:>6} {past['step']:>5g} {models:>7} {score:>11.5f} {log_c:>7g} {log_gamma:>11g}"
    for letter in state.dead_letters:
        log_c, log_gamma, tolerance = letter.data["model"]
        yield (
            f"given up after {letter.attempts} tries: log2 C {log_c:g}, log2 gamma {log_gamma:g}, "
            f"tolerance {tolerance:g}: {letter.cause}"
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Search as the command line says; gives the exit status."""
    options = read_options(argv)
    try:
        job = flow(options.into, options.workers, options.rows, options.timeout).start("propose")
        state = watch(job, plain=options.plain or None, headline=headline)
    except RoutiluxError as error:
        print(f"model search: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    print("\n".join(report(state)))
    if state.status != "completed":
        print(f"model search: {state.status}: {state.error}", file=sys.stderr)
        return 1
    print(f"drawn in {options.into}", file=sys.stderr)
    return 0


def read_options(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        epilog="Example: python examples/model_search.py --rows 300 --timeout 5",
    )
    parser.add_argument(
        "--rows", type=int, metavar="N", help="take the first N digits, 100 or more; default: all 1,797"
    )
    parser.add_argument(
        "--timeout", type=float, default=10.0, metavar="SECONDS", help="that a model may take; default: 10"
    )
    parser.add_argument(
        "--into", default="model_search.png", metavar="FILE", help="the plot; default: model_search.png"
    )
    parser.add_argument("--workers", type=int, help="processes that validate; default: one for each processor")
    parser.add_argument("--plain", action="store_true", help="plain lines instead of the live view")
    options = parser.parse_args(argv)
    if options.rows is not None and options.rows < 100:  # noqa: PLR2004  five parts with each digit in all of them
        parser.error("--rows: expected 100 or more")
    if not Path(options.into).absolute().parent.is_dir():
        parser.error(f"--into: there is no folder for {options.into!r}")
    if Path(options.into).suffix[1:].lower() not in Figure().canvas.get_supported_filetypes():
        parser.error(f"--into: expected a kind of file that matplotlib writes, such as {parser.get_default('into')}")
    if not options.timeout > 0:
        parser.error("--timeout: expected a number of seconds above 0")
    if options.workers is not None and options.workers < 1:
        parser.error("--workers: expected 1 or more")
    return options


if __name__ == "__main__":
    sys.exit(main())
