"""A fixed piece of pure Python, by whose processor time that of others is told: it differs as the machine does.

Pure. Not to be changed: every bound of `benchmarks.gate` is a multiple of one turn of it.
"""

from __future__ import annotations

from collections import deque

TURNS = 300_000
"""How often it goes round to be measured: a tenth of a second or two."""


def run_loop() -> int:
    """Build small dicts, queue them, take them out again and call a function with each: what a message is made of."""
    queue: deque[dict[str, object]] = deque()
    total = 0
    for number in range(TURNS):
        queue.append({"n": number, "text": "tiny"})
        item = queue.popleft()
        total += _add_one(number) if item["text"] == "tiny" else 0
    return total


def _add_one(number: int) -> int:
    return number + 1
