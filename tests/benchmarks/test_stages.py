"""Which stage a sample counts for."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.stages import STAGES, fold, share_out

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("frames", "stage"),
    [
        ("run (/x/routilux/ledger.py)", "ledger: take, commit, route"),
        ("emit (/x/routilux/turn/outbox.py)", "emit: outbox and encoding"),
        ("call (/x/routilux/turn/execution.py)", "a turn: binding, state, calls"),
        ("put (/x/supervisors/mailbox.py);wait (/usr/lib/python3.11/threading.py)", "mailboxes, threads, waking"),
        ("read (/x/supervisors/places/process/inbound.py:12)", "wire: frames and values"),
        ("step (/x/supervisors/places/thread.py)", "places"),
        ("handle (/x/benchmarks/peers/flows.py);step_a (/x/benchmarks/work.py)", "handlers, and what feeds them"),
        ("main (<string>);other (/usr/lib/python3.11/json/decoder.py)", "others"),
        ('process 7:"python -c import sys\nmain()";run (/x/routilux/runtime/tree.py)', "the routine's actor"),
    ],
)
def test_a_sample_counts_for_the_innermost_module_of_ours(frames: str, stage: str) -> None:
    assert fold(f"{frames} 3\n") == {stage: 3}


def test_imports_count_for_nothing() -> None:
    stack = "main (/x/benchmarks/trial.py);_find_and_load (<frozen importlib._bootstrap>)"
    assert fold(f"{stack} 9\nrun (/x/routilux/ledger.py) 1\n").total() == 1


def test_what_the_kernel_did_not_take_is_shared_out_by_samples() -> None:
    samples = fold("run (/x/routilux/ledger.py) 3\nput (/x/supervisors/mailbox.py) 1\n")
    times = share_out(samples, cpu=50.0, kernel=10.0)
    assert times["ledger: take, commit, route"] == 30.0
    assert times["mailboxes, threads, waking"] == 10.0
    assert sum(times.values()) == 50.0


@pytest.mark.parametrize("beginning", sorted({beginning for all_ in STAGES.values() for beginning in all_}))
def test_each_stage_has_modules(beginning: str) -> None:
    assert list(ROOT.glob(f"{beginning}*"))
