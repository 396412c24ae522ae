"""What a copy makes does not come to lie between what it shares with its original."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

_FILLED = """
import sys
from itertools import pairwise
from supervisors.places.process.holes import fill_holes

size = int(sys.argv[1])
length = size - sys.getsizeof(b"")
old = [bytes(length) for _ in range(4_000)]
del old[::2]
fill_holes()
made = [bytes(length) for _ in range(16)]
print(sum(id(other) == id(one) + size for one, other in pairwise(made)))
"""


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="it knows how CPython gives out memory")
@pytest.mark.parametrize("size", [48, 112, 256, 512])
def test_new_objects_lie_side_by_side_though_every_second_old_one_was_given_back(size: int) -> None:
    # In a fresh process, as a zygote is.
    told = subprocess.run([sys.executable, "-c", _FILLED, str(size)], check=True, capture_output=True, text=True)
    assert int(told.stdout) >= 12  # but where a block of the allocator's ends, or one was free besides


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="as above")
@pytest.mark.parametrize("allocator", ["debug", "malloc"])
def test_nothing_is_taken_where_another_allocator_puts_no_objects_side_by_side(allocator: str) -> None:
    asked = "from supervisors.places.process import holes; holes.fill_holes(); print(len(holes._kept))"
    surroundings = {**os.environ, "PYTHONMALLOC": allocator}
    told = subprocess.run([sys.executable, "-c", asked], env=surroundings, check=True, capture_output=True, text=True)
    assert told.stdout == "0\n"
