"""routilux beside the limits of the machine and beside its peers, row by row.

The command `python -m benchmarks.compare`, which `make bench` runs. Owns its options.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from benchmarks.command import run_command
from benchmarks.rows import ROWS


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 0 if every contestant of ours did its work."""
    return run_command("benchmarks.compare", __doc__ or "", ROWS, argv, rounds=3)


if __name__ == "__main__":
    sys.exit(main())
