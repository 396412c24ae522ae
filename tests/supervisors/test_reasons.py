from __future__ import annotations

import msgspec
import pytest

from supervisors.reasons import (
    Crashed,
    DeadlineExceeded,
    ErrorRecord,
    OutOfMemory,
    ProtocolError,
    Raised,
    Reason,
    record_error,
)


@pytest.mark.parametrize(
    "record",
    [
        ErrorRecord("E" * 257, "", ""),
        ErrorRecord("E", "x" * 8_193, ""),
        ErrorRecord("E", "", "x" * 32_769),
        ErrorRecord("E", "", "", ("x" * 8_193,)),
        ErrorRecord("E", "", "", ("x",) * 19),
        ErrorRecord("E", "", "", (), ("x" * 513,)),
        ErrorRecord("E", "", "", (), ("x",) * 18),
    ],
    ids=["type", "text", "traceback", "note", "notes", "line", "chain"],
)
def test_a_record_that_is_longer_than_records_are_is_not_decoded(record: ErrorRecord) -> None:
    with pytest.raises(msgspec.ValidationError, match="length"):
        msgspec.msgpack.decode(msgspec.msgpack.encode(record), type=ErrorRecord)


def test_a_note_more_fits_into_a_record() -> None:
    error = ValueError()
    error.__notes__ = ["x" * 10_000] * 100
    record = record_error(error).with_note("y" * 10_000)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(record), type=ErrorRecord) == record


def test_the_record_of_an_error_travels_whatever_its_text_holds() -> None:
    name = "caf\udce9"
    error = ValueError(name)
    error.add_note(name)
    record = record_error(error)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(Raised(record)), type=Reason) == Raised(record)
    assert (record.text, record.notes) == ("caf\\udce9", ("caf\\udce9",))


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (OutOfMemory(12, 5 * 2**20), "process 12 was ended by the system as memory ran out at 5 MiB"),
        (OutOfMemory(12), "process 12 was ended by the system as memory ran out"),
        (OutOfMemory(12, 1_100 * 2**20, 2**30), "process 12 held 1,100 MiB, over its memory_limit of 1,024 MiB"),
        (OutOfMemory(12, None, 2**30), "process 12 held more than its memory_limit of 1,024 MiB"),
        (
            OutOfMemory(12, None, None, "10.0.0.3"),
            "process 12 on node 10.0.0.3 was ended by the system as memory ran out",
        ),
        (
            Crashed(pid=12, detail="it\x1b[2J was away", node="10.0.0.3"),
            "process 12 on node 10.0.0.3 was lost: it\\x1b[2J was away",
        ),
        (Crashed(exit_code=3, pid=12), "process 12 exited with code 3 without finishing its work"),
        (DeadlineExceeded(2.5, 12, "Thread 0x1:\n  File ..."), "took longer than 2.5 s and was ended"),
        (ProtocolError("got 'a\n\x1b[2J'", 12), "broke the channel's protocol: got 'a\\n\\x1b[2J'"),
    ],
)
def test_an_end_is_told_in_one_line(reason: Reason, text: str) -> None:
    assert str(reason) == text
