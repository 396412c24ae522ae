"""The job that runs beside those of the fault suite."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.measure import Companion


@pytest.fixture(scope="module")
def companion() -> Iterator[Companion]:
    """Give an innocent job that runs as long as the module's tests do."""
    companion = Companion()
    yield companion
    companion.close()
