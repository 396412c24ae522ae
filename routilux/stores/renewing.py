"""The thread that renews the leases of one store, while it has any.

Owns when that is done, and what is told where it cannot be. Never decides that a lease is lost: who writes sees that.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from routilux.stores.errors import StoreError
from supervisors.report import reporter

TRY_AGAIN_SECONDS = 1.0
"""After a renewal that failed (arbitrary, well below the time a lease lasts)."""
END_SECONDS = 15.0
"""How long its end is waited for: it may be in the middle of connecting (arbitrary)."""

_log = reporter("routilux")


class Renewer:
    """Renews leases until it is closed.

    Args:
        renew: renews them all, once.
        done: called at the end, on the thread.
        seconds: from one time to the next.
        store: what it is called on the log.
    """

    def __init__(self, renew: Callable[[], None], done: Callable[[], None], seconds: float, store: str) -> None:
        self._renew = renew
        self._done = done
        self._seconds = seconds
        self._store = store
        self._closing = threading.Event()
        # A daemon: a program that ends without having released its leases does not wait for it.
        self._thread = threading.Thread(target=self._run, name="routilux-leases", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread, and wait for it."""
        self._closing.set()
        if self._thread is not threading.current_thread():
            self._thread.join(END_SECONDS)

    def _run(self) -> None:
        is_failing, pause = False, self._seconds
        try:
            while not self._closing.wait(pause):
                try:
                    self._renew()
                except StoreError as error:
                    if not is_failing:
                        _log.warning(
                            "leases of %s are not renewed now; it is tried again until another program takes the jobs: "
                            "%s",
                            self._store,
                            error,
                        )
                    is_failing, pause = True, min(self._seconds, TRY_AGAIN_SECONDS)
                else:
                    if is_failing:
                        _log.warning("leases of %s are renewed again", self._store)
                    is_failing, pause = False, self._seconds
        finally:
            self._done()
