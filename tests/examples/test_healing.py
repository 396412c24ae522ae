from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples import healing

ROOT = Path(__file__).resolve().parents[2]


def test_the_sieve_and_trial_division_agree() -> None:
    counts = healing.primes_by_block()
    assert len(counts) == healing.BLOCKS
    for block in (0, 1, healing.BLOCKS - 1):
        first = block * healing.BLOCK
        assert counts[block] == sum(map(healing.is_prime, range(first, first + healing.BLOCK)))


@pytest.fixture
def quiet_log() -> Iterator[None]:
    """Give the log back its level: the example is a program, and sets it for itself."""
    logger = logging.getLogger("supervisors")
    level = logger.level
    yield
    logger.setLevel(level)


@pytest.mark.processes
@pytest.mark.usefixtures("quiet_log")
def test_the_tree_is_whole_and_no_answer_wrong_after_workers_were_killed(capsys: pytest.CaptureFixture[str]) -> None:
    # Seed 5: the first attacks are kills, and come soon.
    status = healing.main(["--seconds", "2.5", "--kill-every", "0.2", "--workers", "2", "--seed", "5", "--plain"])
    out, err = capsys.readouterr()
    assert status == 0, out + err
    figures = {
        name.strip(): int(figure.replace(",", "")) for name, figure in re.findall(r"(.{16}) {2,}([\d,]+)\n", out)
    }
    assert figures["right"] == figures["blocks counted"] > 0
    assert figures["wrong"] == 0
    assert figures["by Crashed"] > 0
    assert figures["deaths"] <= figures["restarts"]
    assert figures["alive"] == figures["workers"] == 2 + 1 + 4
    assert re.search(r"counter-\d  worker running, pid \d+, .*the last end: process \d+ was ended by SIGKILL", out)


@pytest.mark.processes
def test_without_harm_nothing_is_started_again() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "healing.py", "--seconds", "0.5", "--kill-every", "0", "--workers", "1"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=60,
    )
    assert done.stdout.startswith("healing  supervisor running\n├─ counters  supervisor running\n")
    assert "restarts            0\n" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    "words", [["--workers", "0"], ["--seconds", "0"], ["--seconds", "nan"], ["--kill-every", "-1"]]
)
def test_what_cannot_be_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        healing.main(words)
    assert caught.value.code == 2
    assert "error: " in capsys.readouterr().err
