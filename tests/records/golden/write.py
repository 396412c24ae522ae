"""Wrote the golden files, once: `python -m tests.records.golden.write`. One that is there is never written again."""

from __future__ import annotations

from pathlib import Path

from routilux.records.format import write_checkpoint
from routilux.records.history_log import write_facts, write_log_header
from tests.records.golden.contents import FACTS, IMAGE, KEY, LOG_HEADER

FOLDER = Path(__file__).parent


def main() -> None:
    """Write those files that are not there."""
    files = {
        "checkpoint-1.rtx": b"".join(write_checkpoint(IMAGE).parts),
        "checkpoint-1-sealed.rtx": b"".join(write_checkpoint(IMAGE, key=KEY).parts),
        "history-1.log": write_log_header(LOG_HEADER) + write_facts(FACTS[:5]) + write_facts(FACTS[5:]),
    }
    for name, data in files.items():
        if not (FOLDER / name).exists():
            (FOLDER / name).write_bytes(data)


if __name__ == "__main__":
    main()
