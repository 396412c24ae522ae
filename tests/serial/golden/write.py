"""Writes the golden files of the plain form anew: `python -m tests.serial.golden.write`, for a new format alone."""

from __future__ import annotations

import json
from pathlib import Path

from tests.serial.golden.contents import flow, snapshot, values

FOLDER = Path(__file__).parent


def main() -> None:
    """Write them."""
    for name, made in (("flow-1.json", flow()), ("state-1.json", snapshot()), ("values-1.json", values())):
        text = json.dumps(made.serialize(), indent=1, allow_nan=False) + "\n"
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
