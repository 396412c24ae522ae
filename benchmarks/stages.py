"""Where the processor time of a message goes, by stage of its way through the house.

The command `python -m benchmarks.stages`. Processor time is that of a run that nobody looks into. What of it is spent
in the kernel, on waking, writing and reading, the system tells. The rest is shared out by samples, which py-spy takes
in another run of who holds the interpreter's lock, worker processes included: a sample counts for the innermost of our
modules on its stack, so that what the standard library does counts for who called it. A sampler leaves the shares as
they are, which a tracing profiler does not: that makes small functions dear.

Owns which module belongs to which stage.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from benchmarks import machine
from benchmarks import report as reports
from benchmarks.command import tell
from benchmarks.report import EntryRecord, FigureRecord, Report, RowRecord
from benchmarks.rounds import TRIAL, try_once
from benchmarks.table import to_text
from benchmarks.trial import Trial

STAGES: dict[str, tuple[str, ...]] = {
    "handlers, and what feeds them": ("benchmarks/",),
    "emit: outbox and encoding": ("routilux/turn/outbox", "routilux/turn/codec", "routilux/turn/values"),
    "a turn: binding, state, calls": ("routilux/turn/", "routilux/model/", "routilux/context", "routilux/executions"),
    "ledger: take, commit, route": ("routilux/",),
    "the routine's actor": ("routilux/runtime/",),
    "history and tracking": ("routilux/jobs/", "routilux/tracking/", "routilux/facts", "routilux/records/"),
    "mailboxes, threads, waking": ("supervisors/",),
    "places": ("supervisors/places/",),
    "wire: frames and values": ("supervisors/wire/", "supervisors/places/process/", "routilux/packed"),
}
"""Stages, and how the paths of their modules begin. The longest beginning that fits counts."""
_KERNEL = "the kernel: waking, writing, reading"
_REST = "others"

_STACK = re.compile(r"(.*?) (\d+)\n", re.DOTALL)
_FRAME = re.compile(r"\((?P<path>[^()]*?)(?::\d+)?\)$")
_PACKAGE = re.compile(r"(?:^|/)(?P<path>(?:routilux|supervisors|benchmarks)/[^/].*\.py)$")
_RATE = 200
"""Samples a second: more disturb what they look at (arbitrary)."""


def main(argv: Sequence[str] | None = None) -> int:
    """Sample and print; 1 if py-spy is not installed, or may not look."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stages", description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000, help="messages of a run (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="runs (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was measured to FILE too")
    options = parser.parse_args(argv)
    spy = shutil.which("py-spy", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if spy is None:
        print("py-spy is not installed", file=sys.stderr)
        return 1
    date = datetime.now(UTC).isoformat(timespec="seconds")
    rows = [_measure(spy, placement, options.messages, options.rounds) for placement in ("thread", "process")]
    report = Report("python -m benchmarks.stages", date, machine.describe(), options.rounds, rows)
    print(to_text(report))
    if options.json is not None:
        reports.write(report, options.json)
    return 0


def _measure(spy: str, placement: str, messages: int, rounds: int) -> RowRecord:
    trial = Trial("rate", messages, "flows:Pipeline", {"placement": placement})
    entries = {stage: EntryRecord(stage) for stage in (*STAGES, _REST, _KERNEL)}
    for number in range(rounds):
        found = try_once(trial)
        if isinstance(found, str):
            raise RuntimeError(found)  # noqa: TRY004  it is what went wrong
        samples = fold(_sample(spy, trial))
        tell(f"round {number + 1}, {placement}: {found['cpu']:.1f} us of CPU a message, {samples.total()} samples")
        for stage, time in share_out(samples, found["cpu"], found["kernel"]).items():
            entries[stage].rounds.append({"time": time, "share": time / found["cpu"] * 100})
    figures = [FigureRecord("time", "us of CPU a message", "less"), FigureRecord("share", "%", "less")]
    title = f"source -> A -> B -> sink, A and B placed on {placement}, three hops a message"
    return RowRecord(f"stages-{placement}", title, "", figures, list(entries.values()))


def _sample(spy: str, trial: Trial) -> str:
    """Sample a trial; stacks from the outermost frame to the innermost, with how often each was seen."""
    with tempfile.TemporaryDirectory(prefix="routilux-bench-") as folder:
        stacks, figures = Path(folder, "stacks"), Path(folder, "figures")
        command = [spy, "record", "--gil", "--subprocesses", "--full-filenames", "--nolineno", f"--rate={_RATE}"]
        command += ["--format=raw", f"--output={stacks}", "--", sys.executable, "-c", TRIAL]
        ended = subprocess.run(  # noqa: S603  our own
            [*command, msgspec.json.encode(trial).decode(), str(figures)], capture_output=True, text=True, check=False
        )
        if not stacks.exists():
            raise RuntimeError(f"py-spy could not look: {ended.stderr.strip()}")
        return stacks.read_text(encoding="utf-8")


def fold(stacks: str) -> Counter[str]:
    """Count samples by stage, but for those of imports, which come before the work.

    Args:
        stacks: as py-spy writes them: frames with semicolons between, the innermost last, a blank, a number, a line's
            end. The first frame of a worker process is its command, which may have several lines.
    """
    counts: Counter[str] = Counter()
    for stack, count in _STACK.findall(stacks):
        if "<frozen importlib" not in stack:
            counts[find_stage(stack.split(";"))] += int(count)
    return counts


def share_out(samples: Counter[str], cpu: float, kernel: float) -> dict[str, float]:
    """Give each stage its part of the processor time, in its unit: that outside of the kernel as the samples say."""
    times = {stage: samples[stage] / samples.total() * (cpu - kernel) for stage in (*STAGES, _REST)}
    return {**times, _KERNEL: kernel}


def find_stage(frames: Sequence[str]) -> str:
    """Find the stage of a stack: that of the innermost frame that is in one of our modules."""
    for frame in reversed(frames):
        place = _FRAME.search(frame)
        module = _PACKAGE.search(place["path"]) if place else None
        if module is not None:
            fits = {
                beginning: stage
                for stage, beginnings in STAGES.items()
                for beginning in beginnings
                if module["path"].startswith(beginning)
            }
            return fits[max(fits, key=len)]
    return _REST


if __name__ == "__main__":
    sys.exit(main())
