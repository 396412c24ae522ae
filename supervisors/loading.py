"""Whether this process is only loading code, which something runs later.

Owns that one fact: workers and zygotes say so while they import modules and make what they are to run. Never refuses
anything: that is for those who ask.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class Loading:
    """Any thread may ask. One thread of a process loads."""

    def __init__(self) -> None:
        self._depth = 0

    def __bool__(self) -> bool:
        return self._depth > 0

    @contextlib.contextmanager
    def going_on(self) -> Iterator[None]:
        """Say that code is loaded, until the body ends."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1


loading = Loading()
"""That of this process."""
