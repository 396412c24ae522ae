"""What a checkpoint takes: bytes, and the time to encode and to read it, beside pickle and JSON of the same content.

The command `python -m benchmarks.checkpoint`. Owns the job that is written, and what it prints.

The job has 100 routines, 1,000 pending messages and 10,000 history records, by default. All three begin with the same
objects, payloads and states as the program holds them, and end with bytes. Rounds are interleaved, and a ratio is
taken within its round. pickle and JSON write the history into each checkpoint, as most do; here it is a log of its own,
of which a checkpoint adds what is new: both are shown. JSON does not give types back, and pickle runs code.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from routilux import __version__
from routilux.facts import Fact
from routilux.ids import to_bytes
from routilux.records.format import WrittenCheckpoint, read_checkpoint, write_checkpoint
from routilux.records.history_log import write_facts
from routilux.records.schema import (
    EdgeImage,
    Header,
    HistoryPosition,
    Image,
    JobImage,
    KeptState,
    MessageImage,
    RoutineImage,
    RoutineShape,
    RoutineSummary,
    StateImage,
    Topology,
)
from supervisors.wire import values

FACTS_BATCH = 512
"""Facts that are appended to a history log at once."""
RECORDS_PER_FACT = 3
"""Each fact of the history is a turn that emitted once: a start, an emission, a completion."""


class Content(NamedTuple):
    """A job as the program holds it: the payloads in `image` and the states are values, not bytes yet."""

    image: Image
    states: list[tuple[str, dict[str, Any]]]
    facts: list[Fact]


class Result(NamedTuple):
    """One way of writing, in one round: seconds and bytes."""

    encode: float
    read: float
    size: int


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 1 if what is read is not what was written."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.checkpoint", description=__doc__)
    parser.add_argument("--routines", type=_positive, default=100, help="routines (default: %(default)s)")
    parser.add_argument("--messages", type=_positive, default=1_000, help="pending messages (default: %(default)s)")
    parser.add_argument("--records", type=_positive, default=10_000, help="history records (default: %(default)s)")
    parser.add_argument("--rounds", type=_positive, default=15, help="interleaved rounds (default: %(default)s)")
    options = parser.parse_args(argv)
    print(
        f"Python {platform.python_version()}, routilux {__version__}, msgspec {msgspec.__version__}, "
        f"{platform.machine()}, {os.cpu_count()} processors"
    )
    facts = -(-options.records // RECORDS_PER_FACT)
    print(f"{options.routines} routines, {options.messages:,} messages, {facts * RECORDS_PER_FACT:,} history records")
    content = make_content(options.routines, options.messages, facts)
    written = _write(content)
    if _read(written) != _encoded(content):
        print("wrong result: what was read is not what was written", file=sys.stderr)
        return 1
    kept = written.states
    ways: dict[str, Callable[[], Result]] = {
        "checkpoint": lambda: _measure(lambda: _write(content), _read, _size),
        "checkpoint, states unchanged": lambda: _measure(lambda: _write(content, kept), _read, _size),
        "history log, all of it": lambda: _measure(lambda: _write_history(content.facts), len, len),
        "pickle": lambda: _measure(lambda: pickle.dumps(content, 5), pickle.loads, len),
        "JSON": lambda: _measure(lambda: _to_json(content), json.loads, len),
    }
    results: dict[str, list[Result]] = {name: [] for name in ways}
    for number in range(options.rounds):
        order = list(ways)
        for name in order[number % len(order) :] + order[: number % len(order)]:
            results[name].append(ways[name]())
    _print_table(results)
    return 0


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not 1 or more")
    return number


def make_content(routines: int, messages: int, facts: int) -> Content:
    """Make a ring of routines, the messages spread over them."""
    ids = [f"routine{number:03}" for number in range(routines)]
    names = list(zip(ids, ids[1:] + ids[:1], strict=True))
    edges = [EdgeImage(one, "done", other, "input", f"{one}.done -> {other}.input", []) for one, other in names]
    waiting: list[list[MessageImage]] = [[] for _ in ids]
    for seq in range(messages):
        payload: Any = {"path": f"src/package/module_{seq}.py", "row": seq, "score": seq / 7, "tags": ["a", "b"]}
        waiting[seq % routines].append(MessageImage(seq % routines, seq, seq.to_bytes(16, "big"), payload))
    shape = ("thread", 1, {"input": "override"}, ["done"], "dict", "encoded")
    counts = [facts] * routines
    image = Image(
        Header(
            job_id="nightly",
            flow_id="ring",
            generation=1,
            number=1,
            status="running",
            error=None,
            cause="interval",
            job_created_at=1.7e9,
            created_at=1.7e9,
            forked_from=None,
            python=platform.python_version(),
            version=__version__,
            needs=[],
            routines=[
                RoutineSummary(id_, "running", None, len(own), 0, 1) for id_, own in zip(ids, waiting, strict=True)
            ],
            messages=messages,
        ),
        Topology("ring", [RoutineShape(id_, "Stage", *shape) for id_ in ids], edges, {}),
        JobImage(counts, counts, counts, counts, True, [], HistoryPosition(1, 1_000_000), []),
        [
            RoutineImage(id_, "running", None, False, [], own, [], [], {"handled": 40, "emitted": 41, "failed": 0})
            for id_, own in zip(ids, waiting, strict=True)
        ],
        [],
    )
    states = [
        (id_, {"count": number, "seen": {f"key{key}": key / 3 for key in range(20)}}) for number, id_ in enumerate(ids)
    ]
    history = [
        Fact("committed", n % routines, n % routines, to_bytes(n), 1, n / 1000, 0.001, (0,)) for n in range(facts)
    ]
    return Content(image, states, history)


def _write(content: Content, kept: Sequence[KeptState] = ()) -> WrittenCheckpoint:
    """Encode the values, then the checkpoint; where states are kept none is encoded."""
    image = (
        _encoded(content) if not kept else msgspec.structs.replace(content.image, routines=_encoded_routines(content))
    )
    return write_checkpoint(image, kept=kept)


def _encoded(content: Content) -> Image:
    states = [StateImage(id_, 0, values.encode(state)) for id_, state in content.states]
    return msgspec.structs.replace(content.image, routines=_encoded_routines(content), states=states)


def _encoded_routines(content: Content) -> list[RoutineImage]:
    replace = msgspec.structs.replace
    return [
        replace(
            routine,
            waiting=[replace(message, payload=values.encode(message.payload)) for message in routine.waiting],
        )
        for routine in content.image.routines
    ]


def _read(written: WrittenCheckpoint) -> Image:
    objects = dict(written.objects)
    return read_checkpoint(b"".join(written.parts), lambda name, limit: objects[name][:limit])


def _size(written: WrittenCheckpoint) -> int:
    return sum(map(len, written.parts))


def _write_history(facts: list[Fact]) -> bytes:
    batches = range(0, len(facts), FACTS_BATCH)
    return b"".join(write_facts(facts[first : first + FACTS_BATCH]) for first in batches)


def _to_json(content: Content) -> bytes:
    return json.dumps(msgspec.to_builtins(content)).encode()


def _measure(encode: Callable[[], Any], read: Callable[[Any], object], size: Callable[[Any], int]) -> Result:
    start = time.perf_counter()
    encoded = encode()
    middle = time.perf_counter()
    read(encoded)
    return Result(middle - start, time.perf_counter() - middle, size(encoded))


def _print_table(results: dict[str, list[Result]]) -> None:
    print(f"{'':30}{'bytes':>12}{'encode, ms':>12}{'read, ms':>10}")
    for name, rounds in results.items():
        encode = statistics.median(result.encode for result in rounds)
        read = statistics.median(result.read for result in rounds)
        told = f"{read * 1e3:10.2f}" if name != "history log, all of it" else f"{'':>10}"
        print(f"{name:30}{rounds[0].size:12,}{encode * 1e3:12.2f}{told}")
    print()
    _print_ratios("checkpoint and all of its history, to", ["checkpoint", "history log, all of it"], results)
    _print_ratios(
        "a later checkpoint, which leaves its history where it is, to", ["checkpoint, states unchanged"], results
    )


def _print_ratios(title: str, ours: list[str], results: dict[str, list[Result]]) -> None:
    for other in ("pickle", "JSON"):
        ratios = [
            sum(results[name][number].encode for name in ours) / theirs.encode
            for number, theirs in enumerate(results[other])
        ]
        size = sum(results[name][0].size for name in ours) / results[other][0].size
        low, high = min(ratios), max(ratios)
        print(f"{title} {other}: size x {size:.2f}, encode x {statistics.median(ratios):.2f} ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    sys.exit(main())
