"""The interpreters that are installed, for what is to be done under each version.

`python -m tests.pythons` prints their folders, to be put in front of PATH.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

VERSIONS = ("3.11", "3.12", "3.13")


def find_pythons() -> dict[str, Path]:
    """Give the interpreters that are installed, by version."""
    found = {}
    for version in VERSIONS:
        installed = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
        named = shutil.which(f"python{version}")
        for candidate in (*map(str, installed[-1:]), *([named] if named else [])):
            # Each is run, not just looked up: a version manager puts commands on PATH that only print an error.
            told = subprocess.run(
                [candidate, "-c", "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"],
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
            if told.stdout.strip() == version:
                found[version] = Path(candidate)
                break
    return found


if __name__ == "__main__":
    print(os.pathsep.join(str(python.parent) for python in find_pythons().values()))
