from __future__ import annotations

import msgspec

from supervisors.reasons import Raised, Reason, record_error


def test_the_record_of_an_error_travels_whatever_its_text_holds() -> None:
    name = "caf\udce9"
    error = ValueError(name)
    error.add_note(name)
    record = record_error(error)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(Raised(record)), type=Reason) == Raised(record)
    assert (record.text, record.notes) == ("caf\\udce9", ("caf\\udce9",))
