"""Routines that most flows need, ready made: `from routilux.routines import Map, LinesSource, ...`.

| what | |
| --- | --- |
| one message from another | `Map`, `FlatMap`, `Split` |
| which messages go where | `Filter`, `ConditionalRouter`, `Deduplicate` |
| when messages go on | `Delay`, `Throttle` |
| many to one | `Aggregate`, `Batch`, `Join` |
| in | `DirectorySource`, `FileSource`, `LinesSource` |
| out | `JsonLinesSink`, `CsvSink`, `CollectSink` |

They take in by the slot `input`, sources by `trigger`, `Join` by one for each side; they give by the event `output`,
the router by the events of its routes. Each is a `Routine` like any other, for any placement: what it must remember is
in its declared state, so it is exact under crashes, retries, pauses and resumes. Those that remember something take one
worker.

Never imports anything of a job: these are routines such as users write.
"""

from __future__ import annotations

from routilux.routines.aggregate import Aggregate
from routilux.routines.batch import Batch
from routilux.routines.collect import CollectSink
from routilux.routines.conditional_router import ConditionalRouter
from routilux.routines.deduplicate import Deduplicate
from routilux.routines.delay import Delay
from routilux.routines.directory import DirectorySource
from routilux.routines.errors import FileError, FileReadError, FileWriteError, RecordError
from routilux.routines.filter import Filter
from routilux.routines.join import Join
from routilux.routines.map import FlatMap, Map, Split
from routilux.routines.sinks import CsvSink, JsonLinesSink
from routilux.routines.sources import FileSource, LinesSource
from routilux.routines.throttle import Throttle
from routilux.serial.naming import built_in

__all__ = [
    "Aggregate",
    "Batch",
    "CollectSink",
    "ConditionalRouter",
    "CsvSink",
    "Deduplicate",
    "Delay",
    "DirectorySource",
    "FileError",
    "FileReadError",
    "FileSource",
    "FileWriteError",
    "Filter",
    "FlatMap",
    "Join",
    "JsonLinesSink",
    "LinesSource",
    "Map",
    "RecordError",
    "Split",
    "Throttle",
]

for _cls in (
    *(
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
    ),
    *(FlatMap, Join, JsonLinesSink, LinesSource, Map, Split, Throttle),
):
    built_in.register(f"routilux.{_cls.__name__}")(_cls)
