"""Jobs go on under another version of Python (`make pythons` tells more)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runtime.other_pythons import VERSIONS, check_all, find_pythons


@pytest.mark.stress
@pytest.mark.timeout(900)
def test_what_one_version_has_left_goes_on_under_all_others(tmp_path: Path) -> None:
    there = find_pythons()
    if len(there) < 2:
        pytest.skip(f"of Python {', '.join(VERSIONS)} only {', '.join(there) or 'none'} is installed")
    assert len(check_all(tmp_path)) == 2 * len(there) ** 2
