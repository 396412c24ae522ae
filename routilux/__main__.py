"""`python -m routilux`."""

from __future__ import annotations

import sys

from routilux.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
