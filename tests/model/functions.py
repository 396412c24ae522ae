"""Function routines in a module that can be imported, as a program has them."""

from __future__ import annotations

import threading
from typing import Any

from routilux import routine

LOCK = threading.Lock()
"""A global that cannot be pickled: whoever carries `double` by value fails."""


@routine(events={"doubled": ["x"]})
def double(x: int) -> int:
    """Give twice of it."""
    with LOCK:
        return 2 * x


def plain(x: int) -> dict[str, Any]:
    return {"x": x}


wrapped = routine(name="other-name")(plain)
"""Its name is not the function's, which is still a plain function."""


class Shelf:
    @staticmethod
    def make() -> Any:
        @routine
        def inside(x: int) -> dict[str, Any]:
            return {"x": x}

        return inside

    @routine
    def on_a_class(x: int) -> dict[str, Any]:  # noqa: N805 - a routine, not a method
        return {"x": x}
