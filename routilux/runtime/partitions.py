"""Which keys of a partitioned routine are where, and what each worker has of their states.

Owns what its actor knows of that, by delivery numbers. Pure. The states themselves are the ledger's; a message is
handed to its worker by the place.

Theory of operation. A key goes to whom it belongs by `partitioning.find_owner`. A request brings the state of its key
unless its worker is known to have it, which it is from then on: that copy follows from the turns it runs. What was
dropped with a request that was not begun, or that failed, is known no more. The least recently used keys are forgotten
over a bound, but never one whose messages are still in the line: what is committed of it lacks what those did.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple

from routilux.partitioning import find_owner
from routilux.turn.keyed import write_keyed

KEYS_KNOWN = 1_000
"""Keys whose states a worker keeps, and more where it has more of them in the line (arbitrary)."""
_OWNERS_KEPT = 65_536
"""Keys whose owner need not be found anew (arbitrary)."""


class _Sent(NamedTuple):
    """What a request brought beside its message."""

    brought_state: bool
    forgot: tuple[str, ...]


class _Worker:
    """What is known of one worker."""

    def __init__(self) -> None:
        self.known: OrderedDict[str, None] = OrderedDict()
        """Keys whose states it has, those that were used last at the end."""
        self.forgets: dict[str, None] = {}
        """Keys that it is to forget with the next request."""


class Partitions:
    """The keys of one routine.

    Args:
        workers: how many workers there are.
        known: keys whose states a worker keeps; None for `KEYS_KNOWN`.
    """

    def __init__(self, workers: int, known: int | None = None) -> None:
        self._used = range(workers)
        self._workers = [_Worker() for _ in range(workers)]
        self._lines: dict[str, tuple[int, int]] = {}
        """Of each key in the line its worker, and how many messages it has there."""
        self._pinned: dict[str, int] = {}
        """Workers that keys stay with whose messages have failed."""
        self._bound = KEYS_KNOWN if known is None else known
        self._owners: dict[str, int] = {}
        self._keys: dict[int, tuple[int, str]] = {}
        """Of each message in the line its worker and its key."""
        self._sent: dict[int, _Sent] = {}

    def use(self, workers: range) -> None:
        """Have keys belong to these workers from now on; each stays where it is until nothing of it is in the line."""
        self._used = workers
        self._owners.clear()

    def find_owner(self, key: str) -> int:
        """Give the worker that the next message of a key goes to."""
        if key in self._lines:
            return self._lines[key][0]
        if key in self._pinned:
            return self._pinned[key]
        number = self._owners.get(key)
        if number is None:
            if len(self._owners) >= _OWNERS_KEPT:
                self._owners.clear()
            number = self._owners[key] = find_owner(key, self._used)
        return number

    def assign(self, delivery: int, key: str, number: int | None = None) -> int:
        """Let a message enter the line; gives its worker.

        Args:
            delivery: its number.
            key: its key.
            number: the worker that is to try it again; None for a new message.
        """
        if number is None:
            number = self.find_owner(key)
        else:
            self.unpin(key)
        self._lines[key] = (number, self._lines.get(key, (number, 0))[1] + 1)
        self._keys[delivery] = (number, key)
        return number

    def pin(self, key: str, number: int) -> None:
        """Let a key stay with a worker."""
        self._pinned[key] = number

    def unpin(self, key: str) -> None:
        """Let it stay there no longer than its messages do."""
        self._pinned.pop(key, None)

    def request(self, delivery: int, request: Any, states: Mapping[str, Any]) -> Any:
        """Give a request as its worker is to get it.

        Args:
            delivery: of a message in the line; one that comes here again was dropped before.
            request: the message, as its carrier gives it.
            states: the committed states, by key.
        """
        self._take_back(delivery)
        number, key = self._keys[delivery]
        worker = self._workers[number]
        brings_state = key not in worker.known
        if brings_state:
            for other in self._workers:
                if key in other.known:  # it was there before: that copy is out of date
                    del other.known[key]
                    other.forgets[key] = None
        worker.known[key] = None
        worker.known.move_to_end(key)
        worker.forgets.pop(key, None)
        self._evict(worker)
        forgets, worker.forgets = tuple(worker.forgets), {}
        self._sent[delivery] = _Sent(brings_state, forgets)
        state = states.get(key) if brings_state else None
        return write_keyed(key, request, brings_state=brings_state, state=state, forgets=forgets)

    def leave(self, delivery: int, *, is_done: bool) -> None:
        """Let a message leave the line, which its worker has run to its end, or not; nothing if it is not in there."""
        if delivery not in self._keys:
            return
        if not is_done:
            self._take_back(delivery)
        self._sent.pop(delivery, None)
        number, key = self._keys.pop(delivery)
        count = self._lines[key][1] - 1
        if count:
            self._lines[key] = (number, count)
        else:
            del self._lines[key]

    def restart(self, number: int) -> None:
        """Note that a worker begins anew, and has the state of no key."""
        worker = self._workers[number]
        worker.known.clear()
        worker.forgets.clear()
        for delivery, (owner, _key) in self._keys.items():
            if owner == number:
                self._sent.pop(delivery, None)

    def _take_back(self, delivery: int) -> None:
        """Take what a request brought for not having come."""
        sent = self._sent.pop(delivery, None)
        if sent is None:
            return
        number, key = self._keys[delivery]
        worker = self._workers[number]
        if sent.brought_state:
            worker.known.pop(key, None)
        worker.forgets.update((forgot, None) for forgot in sent.forgot if forgot not in worker.known)

    def _evict(self, worker: _Worker) -> None:
        over = len(worker.known) - self._bound
        while over > 0:
            over -= 1
            key, _ = worker.known.popitem(last=False)
            if key in self._lines:
                worker.known[key] = None
            else:
                worker.forgets[key] = None
