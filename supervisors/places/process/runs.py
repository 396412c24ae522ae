"""Numbers in the order in which they came, most of them one behind the other.

Owns them in the form in which they came: hundreds that are consecutive cost what one does. Pure.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain, islice


class Runs:
    """Numbers, oldest first."""

    __slots__ = ("_runs", "_skipped", "count")

    def __init__(self) -> None:
        self._runs: deque[range | list[int]] = deque()
        """As they came; none is empty."""
        self._skipped = 0
        """How many of the first are gone."""
        self.count = 0
        """How many there are."""

    def __iter__(self) -> Iterator[int]:
        return islice(chain.from_iterable(self._runs), self._skipped, None)

    @property
    def oldest(self) -> int | None:
        """The first; None where there is none."""
        return self._runs[0][self._skipped] if self.count else None

    def add(self, numbers: Iterable[int]) -> None:
        """Append numbers; they are copied."""
        run = numbers if isinstance(numbers, range) else list(numbers)
        if run:
            self._runs.append(run)
            self.count += len(run)

    def try_take(self, numbers: range | list[int]) -> bool:
        """Take numbers out, if they are the oldest; tells whether they were."""
        count = len(numbers)
        if count > self.count:
            return False
        at = ended = 0
        skipped = self._skipped
        for run in self._runs:
            if at == count:
                break
            part = run[skipped : skipped + count - at]
            if not _are_same(part, numbers[at : at + len(part)]):
                return False
            at += len(part)
            skipped += len(part)
            if skipped == len(run):
                ended, skipped = ended + 1, 0
        for _ in range(ended):
            self._runs.popleft()
        self._skipped = skipped
        self.count -= count
        return True

    def take_all(self) -> tuple[int, ...]:
        """Take all out, and give them."""
        numbers = tuple(self)
        self._runs.clear()
        self._skipped = self.count = 0
        return numbers


def _are_same(some: range | list[int], others: range | list[int]) -> bool:
    return some == others if some.__class__ is others.__class__ else list(some) == list(others)
