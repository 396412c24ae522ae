"""Programs of their own for tests of what would hurt the test run: their limits, and their output."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60.0
"""What a program may take (arbitrary)."""


def run_program(text: str, folder: Path, *arguments: str, stdout: int = subprocess.PIPE) -> tuple[int, str, str]:
    """Run a program as a script; give its exit status, what it printed and what it told on stderr."""
    script = folder / "program.py"
    script.write_text(textwrap.dedent(text), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script), *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return done.returncode, done.stdout or "", done.stderr
