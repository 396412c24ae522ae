from __future__ import annotations

from routilux.model.connection import Connection


def test_a_connection_reads_as_its_two_ends() -> None:
    assert str(Connection("read", "file", "parse", "source", {"name": "path"})) == "read.file -> parse.source"
