"""Scripts that run in a program of their own."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path


def run_script(script: str, folder: Path) -> str:
    """Run a script in a new interpreter in `folder`, which finds what is here; gives what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=folder,
        env={"PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
