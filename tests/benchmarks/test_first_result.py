"""What a fresh program waits for is measured, and told with how many modules it has loaded."""

from __future__ import annotations

import pytest

from benchmarks.first_result import main


@pytest.mark.processes
def test_a_fresh_program_is_measured_from_its_import_to_its_first_result(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--runs", "1"]) == 0
    machine, *lines = capsys.readouterr().out.splitlines()
    assert "python" in machine.casefold()
    assert [line[45:].split()[-1] for line in lines] == ["modules", "modules", "s", "s", "s", "s"]
    package, with_names = (int(line[45:].split()[0]) for line in lines[:2])
    assert package < with_names <= 200
