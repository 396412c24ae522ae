"""What the golden files of format 1 hold; each field has a value that is not its default.

A field that is added to a shape does not appear here. Whoever has to change something else here has broken the
reading of files that exist.
"""

from __future__ import annotations

from routilux.executions import Names, RoutineNames
from routilux.facts import Fact
from routilux.ids import to_bytes
from routilux.records.history_log import LogHeader
from routilux.records.schema import (
    DeadLetterImage,
    EdgeImage,
    Header,
    HistoryPosition,
    Image,
    JobImage,
    MessageImage,
    OutputImage,
    PausePoint,
    RetryImage,
    RoutineImage,
    RoutineShape,
    RoutineSummary,
    StateImage,
    Topology,
    TypeShape,
)
from supervisors.reasons import (
    Abandoned,
    Crashed,
    DeadlineExceeded,
    ErrorRecord,
    Killed,
    Normal,
    OutOfMemory,
    ProtocolError,
    Raised,
    Reason,
    Shutdown,
    StartFailed,
)

KEY = b"the key of the golden checkpoint"
LARGE = b"0123456789abcdef" * 4096

ERROR = ErrorRecord("ValueError", "row 17", "Traceback ...", ("a note",), ("KeyError: 'x'",))
REASONS: list[Reason] = [
    Normal(),
    Shutdown("the end"),
    Raised(ERROR),
    Crashed(9, None, 4321, 2**31, ("last words",)),
    Crashed(None, 3, 4322),
    OutOfMemory(4321, 2**31, 2**30),
    Killed(4321),
    DeadlineExceeded(1.5, 4321, "a stack"),
    ProtocolError("noise", 4321),
    StartFailed(ERROR),
    Abandoned("a stack"),
]


def _message(edge: int, seq: int) -> MessageImage:
    return MessageImage(edge, seq, bytes(range(16)), b"\x01\xa4data", 1, 2, True, 3, 4, {"charge": b"\xc3"})


IMAGE = Image(
    Header(
        job_id="nightly",
        flow_id="census",
        generation=2,
        number=12,
        status="failed",
        error="routine 'parse': raised ValueError: row 17",
        cause="pause",
        job_created_at=1_700_000_000.5,
        created_at=1_700_000_600.25,
        forked_from="nightly/1-11",
        python="3.11",
        version="0.1.0",
        needs=["pickle", "cpython-3.11"],
        routines=[RoutineSummary("parse", "failed", "raised ValueError: row 17", 5, 11, 31)],
        messages=18,
    ),
    Topology(
        "census",
        [RoutineShape("parse", "Parse", "process", 2, {"source": "append"}, ["parsed"], "dict", "value", "ab12")],
        [
            EdgeImage("parse", "parsed", "parse", "source", "parse.parsed -> parse.source", [("name", "path")]),
            EdgeImage("parse", "parsed", "", "", "parse.parsed -> output", []),
        ],
        {"census.Point": TypeShape(2, ["x", "y"])},
    ),
    JobImage(
        [40, 31],
        [31, 30],
        [2, 0],
        [3, 1],
        True,
        [PausePoint(1_700_000_600.0, "lunch", b"\xa4note", 2, 12)],
        HistoryPosition(2, 4_096),
        [OutputImage("parse", "parsed", [_message(1, 31)], [_message(1, 30)])],
    ),
    [
        RoutineImage(
            id="parse",
            status="failed",
            error="raised ValueError: row 17",
            is_skipped=True,
            in_hand=[_message(0, 1)],
            waiting=[_message(0, 2), _message(0, 3)],
            retries=[RetryImage([_message(0, 4)], 0.75, True)],
            dead_letters=[DeadLetterImage(_message(0, 5 + at), why, 3, 1_700.5) for at, why in enumerate(REASONS)],
            figures={"handled": 31, "failed": 5, "skipped": 3, "dead": 2, "retries": 3, "restarts": 1, "emitted": 60},
        )
    ],
    [StateImage("parse", 0, LARGE), StateImage("parse", 1, b"\x81\xa5files\x1f")],
)

LOG_HEADER = LogHeader(
    generation=2,
    base=HistoryPosition(1, 321),
    names=Names((RoutineNames("parse", ("parsed",)),), ("parse.parsed -> parse.source", "parse.parsed -> output")),
    wall_offset=1_700_000_000.5,
)
FACTS = [
    Fact("committed", 0, 0, to_bytes(1), 1, 5.0, 0.25, (0, 0)),
    *[Fact("failed", 0, 0, to_bytes(2), 3, 6.0, 0.5, (0,), reason) for reason in REASONS],
    Fact("skipped", 0, -1, b"", 0, 7.0, count=3),
]
