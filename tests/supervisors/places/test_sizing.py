"""How much memory there is to be shared, and how much of it a process looks at."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from supervisors.places.process.sizing import default_limit, resident_shared_bytes
from supervisors.wire.memory import Mapping, create_segment, writable_view_of

MIB = 1 << 20


def limited(tmp_path: Path, own: str, **files: str) -> int:
    """Give the limit under some control groups, as text by their folders, on a machine of 4,000 MiB."""
    for folder, text in files.items():
        file = tmp_path.joinpath(*folder.split("__"))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (tmp_path / "own").write_text(own)
    return default_limit(tmp_path, tmp_path / "own", 4_000 * MIB) // MIB


def test_a_quarter_of_the_machine_is_shared_where_there_are_no_control_groups(tmp_path: Path) -> None:
    assert default_limit(tmp_path, tmp_path / "none", 4_000 * MIB) == 1_000 * MIB
    assert default_limit() > MIB


def test_a_control_group_and_those_it_is_in_bound_it(tmp_path: Path) -> None:
    inner, outer = f"{800 * MIB}\n", f"{400 * MIB}\n"
    assert limited(tmp_path, "0::/a/b\n", **{"a__b__memory.max": inner, "a__memory.max": "max\n"}) == 200
    assert limited(tmp_path, "0::/a/b\n", **{"a__memory.max": outer}) == 100


def test_control_groups_of_the_first_version_bound_it(tmp_path: Path) -> None:
    own = "3:cpu:/x\n2:memory:/y\n"
    assert limited(tmp_path, own, **{"memory__y__memory.limit_in_bytes": f"{400 * MIB}"}) == 100


def test_a_root_of_control_groups_bounds_it(tmp_path: Path) -> None:
    assert limited(tmp_path, "0::/\n", **{"memory.max": f"{40 * MIB}"}) == 10


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_shared_memory_that_a_process_has_touched_is_told() -> None:
    before = resident_shared_bytes(os.getpid())
    fd = create_segment(4 * MIB)
    mapping = Mapping(fd, 4 * MIB, is_writable=True)
    os.close(fd)
    writable_view_of(mapping.export(), 0, 4 * MIB)[:] = bytes(4 * MIB)
    assert resident_shared_bytes(os.getpid()) >= before + 4 * MIB
    del mapping


def test_of_a_process_that_has_ended_nothing_is_told() -> None:
    assert resident_shared_bytes(2**22 + 1) == 0
