"""Files that an earlier version wrote are read, value for value."""

from __future__ import annotations

import hashlib

import pytest

from routilux.records.format import read_checkpoint, read_contents
from routilux.records.history_log import read_facts, read_log_header
from routilux.records.log import LogReader
from tests.records.golden.contents import FACTS, IMAGE, KEY, LARGE, LOG_HEADER
from tests.records.golden.write import FOLDER

STATE = "state-" + hashlib.blake2b(LARGE, digest_size=32).hexdigest()


def fetch(name: str, limit: int) -> bytes:
    assert name == STATE
    assert limit == len(LARGE) + 1
    return LARGE


@pytest.mark.parametrize(("name", "key"), [("checkpoint-1.rtx", None), ("checkpoint-1-sealed.rtx", KEY)])
def test_a_checkpoint_of_format_1_is_read(name: str, key: bytes | None) -> None:
    data = (FOLDER / name).read_bytes()

    image = read_checkpoint(data, fetch, key=key)

    # Part for part, so that a failure is short.
    assert image.header == IMAGE.header
    assert image.topology == IMAGE.topology
    assert image.job == IMAGE.job
    assert image.routines == IMAGE.routines
    assert image.states == IMAGE.states
    assert read_contents(data, key=key).header == IMAGE.header


def test_a_history_log_of_format_1_is_read() -> None:
    data = (FOLDER / "history-1.log").read_bytes()
    reader = LogReader(lambda offset, limit: data[offset : offset + limit])

    header, *batches = [record.body for record in reader]

    assert reader.problem is None
    assert read_log_header(header) == LOG_HEADER
    assert [fact for batch in batches for fact in read_facts(batch, LOG_HEADER.names)] == FACTS


def test_the_files_are_those_that_were_written_once() -> None:
    digests = {file.name: hashlib.sha256(file.read_bytes()).hexdigest()[:16] for file in FOLDER.glob("*-1*")}

    assert digests == {
        "checkpoint-1.rtx": "7d276bfa52e9d041",
        "checkpoint-1-sealed.rtx": "9e1356ccb64418e4",
        "history-1.log": "e7e92ffa2f9e85d4",
    }
