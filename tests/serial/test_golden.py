"""Plain data that an earlier version wrote is read, value for value, and would be written so again."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from routilux import Flow, JobState
from tests.serial.golden.contents import Holder, flow, snapshot, values
from tests.serial.golden.write import FOLDER
from tests.serial.graphs import assert_same

MODULES = ["tests.model.parts"]


def read(name: str) -> Any:
    return json.loads((FOLDER / name).read_text("utf-8"))


def test_values_of_format_1_are_read() -> None:
    back = Holder.deserialize(read("values-1.json"), allow_modules=MODULES)
    made = values()
    for name, part in vars(made).items():
        if name not in {"itself", "names"}:
            assert_same(getattr(back, name), part)
    assert back.names == made.names  # type: ignore[attr-defined]
    assert back.itself is back  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "cls", "make"),
    [("flow-1.json", Flow, flow), ("state-1.json", JobState, snapshot), ("values-1.json", Holder, values)],
)
def test_an_object_of_format_1_is_read_and_would_be_written_so(name: str, cls: Any, make: Any) -> None:
    data = read(name)
    assert cls.deserialize(data, allow_modules=MODULES).serialize() == data
    assert make().serialize() == data


def test_the_files_are_those_that_were_written_once() -> None:
    digests = {file.name: hashlib.sha256(file.read_bytes()).hexdigest()[:16] for file in FOLDER.glob("*.json")}
    assert digests == {
        "flow-1.json": "060fbc8f08fdbd2a",
        "state-1.json": "d4d09ac69ece520a",
        "values-1.json": "db49ba336785168e",
    }
