"""Built-in routines are written with their arguments, in data and in files, and made again of them."""

from __future__ import annotations

import json
import operator
from pathlib import Path
from typing import Any

import pytest

from routilux import Flow, Routine, ValueEncodingError
from routilux.routines import (
    Aggregate,
    Batch,
    CollectSink,
    ConditionalRouter,
    CsvSink,
    Deduplicate,
    Delay,
    DirectorySource,
    FileSource,
    Filter,
    FlatMap,
    Join,
    JsonLinesSink,
    LinesSource,
    Map,
    Split,
    Throttle,
)
from routilux.serial.serializable import register_serializable


@register_serializable("routines.double")
def double(n: int) -> dict[str, int]:
    return {"n": 2 * n}


def is_even(n: int) -> bool:
    return n % 2 == 0


MADE: list[Any] = [
    Map(double, into="d"),
    FlatMap(double),
    Split("items"),
    Filter(is_even),
    ConditionalRouter({"even": is_even}, default="odd"),
    Deduplicate("n", keep=3),
    Delay(1.5),
    Throttle(2, seconds=0.5),
    Aggregate("sum", key="n", value="n", window=2),
    pytest.param(Aggregate(seconds=0.5, most=100), id="Aggregate by time"),
    Batch(5, 1.5),
    Join("n", sides=["a", "b"]),
    DirectorySource(pattern="*.txt"),
    LinesSource(),
    FileSource(),
    JsonLinesSink("x.jsonl"),
    CsvSink("x.csv", columns=["n"]),
    CollectSink(),
]


@pytest.mark.parametrize("made", MADE, ids=lambda made: type(made).__name__)
def test_a_built_in_routine_comes_back(made: Routine) -> None:
    made.set_config(level=3)
    data = made.serialize()
    assert data["$type"] == f"routilux.{type(made).__name__}"
    back = type(made).deserialize(json.loads(json.dumps(data)), allow_modules=[__name__])
    assert back.serialize() == data
    assert (list(back.slots), list(back.events.values())) == (list(made.slots), list(made.events.values()))


def test_a_flow_of_built_in_routines_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("to be or not to be\n")
    (tmp_path / "flow.toml").write_text(
        """
        [routines.lines]
        use = "routilux.LinesSource"
        [routines.slower]
        use = "routilux.Throttle"
        with = { count = 5, seconds = 0.01 }
        [routines.later]
        use = "routilux.Delay"
        with = { seconds = 0 }
        [routines.sink]
        use = "routilux.CollectSink"
        [[connections]]
        from = "lines.output"
        to = "slower.input"
        [[connections]]
        from = "slower.output"
        to = "later.input"
        [[connections]]
        from = "later.output"
        to = "sink.input"
        """
    )
    flow = Flow.from_file(tmp_path / "flow.toml")
    state = flow.execute("lines", {"path": str(tmp_path / "words.txt")})
    assert state.status == "completed", state.error
    assert state.routine_states["sink"]["handled"] == 1
    flow.to_file(tmp_path / "again.json")
    assert Flow.from_file(tmp_path / "again.json").serialize() == flow.serialize()


def test_a_flow_that_joins_and_batches_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "flow.toml").write_text(
        """
        [routines.join]
        use = "routilux.Join"
        with = { key = "n", sides = ["a", "b"] }
        [routines.batch]
        use = "routilux.Batch"
        with = { size = 2, seconds = 3600.0 }
        [[connections]]
        from = "join.output"
        to = "batch.input"
        [[outputs]]
        event = "join.unmatched"
        [[outputs]]
        event = "batch.output"
        """
    )
    flow = Flow.from_file(tmp_path / "flow.toml")
    flow.to_file(tmp_path / "again.json")
    again = Flow.from_file(tmp_path / "again.json")
    assert again.serialize() == flow.serialize()
    for one in (flow, again, Flow.deserialize(flow.serialize())):
        with one.start(keep_open=True) as job:
            for n in range(3):
                job.send("join", "a", n=n)
            job.send("join", "b", n=1, of="b")
        assert job.state.status == "completed", job.state.error
        assert job.state.outputs["batch", "output"] == [{"items": [{"n": 1, "of": "b"}], "count": 1}]
        assert [left["key"] for left in job.state.outputs["join", "unmatched"]] == [0, 2]


def test_a_function_without_a_name_is_refused_with_its_path() -> None:
    flow = Flow("f")
    flow.add_routine(Map(lambda n: n), "map")
    with pytest.raises(ValueEncodingError) as raised:
        flow.serialize()
    assert raised.value.path == "Flow.routines['map'].with['function']"


def test_functions_of_the_standard_library_are_named_by_their_modules() -> None:
    data = Filter(operator.truth).serialize()
    assert data["with"] == {"predicate": {"$function": "_operator:truth"}}
    assert Filter.deserialize(data, allow_modules=["_operator"]).predicate is operator.truth
