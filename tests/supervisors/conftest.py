"""Both hosts for the tests of what must be the same on threads and in seeded steps."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.supervisors.recorder import World, open_world


@pytest.fixture(params=["threads", "steps"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with open_world(request.param) as opened:
        yield opened


@pytest.fixture
def threads() -> Iterator[World]:
    with open_world("threads") as opened:
        yield opened
