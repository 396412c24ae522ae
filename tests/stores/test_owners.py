"""Whether an owner is seen alive."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from msgspec.structs import replace

from routilux.stores.owners import (
    decode_owner,
    encode_owner,
    is_from_here,
    is_seen_alive,
    is_seen_dead,
    this_process,
)


def test_this_process_is_alive() -> None:
    owner = this_process("/run/socket")
    assert (owner.pid, owner.control) == (os.getpid(), "/run/socket")
    assert is_seen_alive(owner)
    assert is_from_here(owner)
    assert not is_seen_dead(owner)
    assert str(owner) == f"process {os.getpid()} on {os.uname().nodename}"


@pytest.mark.parametrize(
    "change",
    [{"started_at": 12345.0}, {"boot_id": "another run"}, {"host": "another machine"}, {"pid": 2**22 + 1}],
    ids=str,
)
def test_another_one_of_that_number_is_not_the_owner(change: dict[str, Any]) -> None:
    owner = replace(this_process(), **change)
    assert not is_seen_alive(owner)
    is_elsewhere = not change.keys().isdisjoint({"boot_id", "host"})
    assert is_from_here(owner) is is_seen_dead(owner) is not is_elsewhere  # of another machine nothing is known here


@pytest.mark.processes
def test_a_process_that_has_ended_is_not_alive_reaped_or_not() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        me = this_process()
        from_outside = replace(me, pid=process.pid, started_at=me.started_at)
        assert not is_seen_alive(replace(from_outside, started_at=0.0))
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not is_seen_alive(from_outside)
    assert not is_seen_alive(from_outside)


def test_a_record_that_cannot_be_is_none() -> None:
    owner = this_process("/run/socket")
    assert decode_owner(encode_owner(owner)) == owner
    odd = [b"", b"{}", b"\xff", b'{"host": "\xff"}', b"[" * 100_000, encode_owner(this_process("/run/\0"))]
    assert [decode_owner(data) for data in odd] == [None] * len(odd)
