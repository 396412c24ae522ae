"""Where the programs of the server are.

`python -m tests.postgres.programs` prints that; exit status 1 where there are none, and then what to do.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

PATTERNS = ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin", "usr/local/pgsql/bin", "opt/homebrew/opt/postgresql*/bin")
"""Where systems put them, which need not be on the path."""
HOW_TO_INSTALL = (
    "there is no server of PostgreSQL here: neither are initdb and pg_ctl on the path, nor in "
    f"/{', /'.join(PATTERNS)}; install it, for instance by: apt-get install postgresql"
)


def find_programs() -> Path | None:
    """Give the folder of the server's programs, of the newest version; None where there is none."""
    on_path = shutil.which("initdb")
    found = [Path(on_path).parent] if on_path else []
    for pattern in PATTERNS:
        found += sorted(Path("/").glob(pattern), key=lambda folder: (len(str(folder)), str(folder)), reverse=True)
    return next((folder for folder in found if (folder / "initdb").exists() and (folder / "pg_ctl").exists()), None)


if __name__ == "__main__":
    programs = find_programs()
    print(HOW_TO_INSTALL if programs is None else programs)
    sys.exit(programs is None)
